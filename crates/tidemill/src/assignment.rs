//! Which brokers hold which partition (Kafka: `AdminUtils.assignReplicasToBrokers`).

use std::collections::{BTreeMap, BTreeSet};

use crate::failure::Failure;

/// A broker that replicas may be put on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its id.
    pub broker: i32,
    /// `broker.rack`; `None` where it has none, or where racks do not count.
    pub rack: Option<String>,
}

/// Spreads the replicas of `partitions` partitions over brokers, and where all of them have a rack over the racks: a partition has as many of its replicas in
/// different racks as there are racks (KIP-36).
pub fn spread_over(
    places: &[Place],
    partitions: i32,
    replicas: i32,
    start: usize,
    shift: usize,
) -> Result<BTreeMap<i32, Vec<i32>>, Failure> {
    let mut brokers: Vec<i32> = places.iter().map(|place| place.broker).collect();
    brokers.sort_unstable();
    // What is refused is refused alike with and without racks.
    let spread = spread(&brokers, 0, partitions, replicas, start, shift)?;
    let racks: Option<BTreeMap<i32, &str>> =
        places.iter().map(|place| Some((place.broker, place.rack.as_deref()?))).collect();
    Ok(match racks {
        Some(racks) => spread_over_racks(&racks, partitions, replicas as usize, start, shift),
        None => spread,
    })
}

/// The rule of [`spread`] on brokers in an order that goes from rack to rack, leaving out who would put two replicas into one rack while another has none.
fn spread_over_racks(
    racks: &BTreeMap<i32, &str>,
    partitions: i32,
    replicas: usize,
    start: usize,
    shift: usize,
) -> BTreeMap<i32, Vec<i32>> {
    let brokers = from_rack_to_rack(racks);
    let count = brokers.len();
    let rack_count = racks.values().collect::<BTreeSet<_>>().len();
    let mut shift = shift;
    let mut assigned = BTreeMap::new();
    for partition in 0..partitions {
        let number = partition as usize;
        if partition > 0 && number.is_multiple_of(count) {
            shift += 1;
        }
        let leader = (number + start) % count;
        let mut chosen = vec![brokers[leader]];
        let mut used = BTreeSet::from([racks[&brokers[leader]]]);
        // Every broker comes by within one round of `count - 1` steps; those left out because of their rack are taken once all racks are used.
        let mut step = 0;
        while chosen.len() < replicas {
            let distance = 1 + (shift * rack_count + step) % (count - 1);
            let broker = brokers[(leader + distance) % count];
            let rack_is_fine = !used.contains(racks[&broker]) || used.len() == rack_count;
            if rack_is_fine && !chosen.contains(&broker) {
                used.insert(racks[&broker]);
                chosen.push(broker);
            }
            step += 1;
        }
        assigned.insert(partition, chosen);
    }
    assigned
}

/// One broker of each rack in turn, racks and brokers in order, until none is left.
fn from_rack_to_rack(racks: &BTreeMap<i32, &str>) -> Vec<i32> {
    let mut by_rack: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (broker, rack) in racks {
        by_rack.entry(rack).or_default().push(*broker);
    }
    let longest = by_rack.values().map(Vec::len).max().unwrap_or_default();
    (0..longest).flat_map(|turn| by_rack.values().filter_map(move |brokers| brokers.get(turn).copied())).collect()
}

/// Spreads the replicas of `partitions` partitions, numbered from `first`, over the brokers: the first replicas go round the brokers from `start` on, the others follow at
/// a distance that grows with every round, so that the partitions of one broker have their other copies on different brokers.
pub fn spread(
    brokers: &[i32],
    first: i32,
    partitions: i32,
    replicas: i32,
    start: usize,
    shift: usize,
) -> Result<BTreeMap<i32, Vec<i32>>, Failure> {
    if partitions <= 0 {
        return Err(Failure::misuse("number of partitions must be larger than 0"));
    }
    if replicas <= 0 {
        return Err(Failure::misuse("replication factor must be larger than 0"));
    }
    let count = brokers.len();
    if count == 0 {
        return Err(Failure::verbatim("0 brokers registered under /brokers/ids")
            .cause("a topic needs brokers to hold its partitions")
            .help("bin/kafka-server-start.sh config/server.properties"));
    }
    if replicas as usize > count {
        let what = format!("replication factor: {replicas} larger than available brokers: {count}");
        return Err(
            Failure::verbatim(what).cause(format!("brokers registered under /brokers/ids: {}", id_list(brokers)))
        );
    }
    let mut shift = shift;
    let mut assigned = BTreeMap::new();
    for partition in first..first + partitions {
        let number = partition as usize;
        if partition > 0 && number.is_multiple_of(count) {
            shift += 1;
        }
        let leader = (number + start) % count;
        let followers = (0..replicas as usize - 1).map(|replica| {
            let distance = 1 + (shift + replica) % (count - 1);
            brokers[(leader + distance) % count]
        });
        assigned.insert(partition, std::iter::once(brokers[leader]).chain(followers).collect());
    }
    Ok(assigned)
}

/// Comma-separated ids, as every tool prints replicas.
pub fn id_list(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Reads `--replica-assignment`: partitions by commas, brokers by colons, numbered from `first`.
pub fn by_hand(text: &str, first: i32) -> Result<BTreeMap<i32, Vec<i32>>, Failure> {
    let mut assigned = BTreeMap::new();
    for (number, part) in (first..).zip(text.split(',')) {
        let ids: Result<Vec<i32>, _> = part.split(':').map(|id| id.trim().parse()).collect();
        let ids = ids.map_err(|_| {
            Failure::usage(format!("cannot read the replica assignment {part:?}"))
                .cause("it is written 0:1,1:2 for two partitions on two brokers each")
        })?;
        let mut once = ids.clone();
        once.sort_unstable();
        once.dedup();
        if once.len() != ids.len() {
            return Err(Failure::misuse(format!("Partition replica lists may not contain duplicate entries: {part}")));
        }
        assigned.insert(number, ids);
    }
    if assigned.values().any(|ids| ids.len() != assigned[&first].len()) {
        return Err(Failure::misuse("All partitions should have the same number of replicas."));
    }
    Ok(assigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_spread_as_kafkas_comment_shows() {
        // Five brokers, ten partitions, three replicas, from broker 0 with shift 0: the table in Kafka's own documentation of the rule.
        let assigned = spread(&[0, 1, 2, 3, 4], 0, 10, 3, 0, 0).unwrap();
        let expected: [&[i32]; 10] = [
            &[0, 1, 2],
            &[1, 2, 3],
            &[2, 3, 4],
            &[3, 4, 0],
            &[4, 0, 1],
            &[0, 2, 3],
            &[1, 3, 4],
            &[2, 4, 0],
            &[3, 0, 1],
            &[4, 1, 2],
        ];
        for (partition, replicas) in expected.iter().enumerate() {
            assert_eq!(assigned[&(partition as i32)], *replicas, "partition {partition}");
        }
    }

    fn place(broker: i32, rack: Option<&str>) -> Place {
        Place { broker, rack: rack.map(str::to_owned) }
    }

    #[test]
    fn brokers_of_different_racks_follow_each_other() {
        // Kafka's own example: racks of two brokers each.
        let racks = BTreeMap::from([(0, "r1"), (1, "r3"), (2, "r3"), (3, "r2"), (4, "r2"), (5, "r1")]);
        assert_eq!(from_rack_to_rack(&racks), [0, 3, 1, 5, 4, 2]);
        let uneven = BTreeMap::from([(0, "a"), (1, "a"), (2, "a"), (3, "b")]);
        assert_eq!(from_rack_to_rack(&uneven), [0, 3, 1, 2]);
    }

    #[test]
    fn replicas_are_in_as_many_racks_as_there_are() {
        let names = ["r1", "r3", "r3", "r2", "r2", "r1"];
        let places: Vec<Place> = (0..).zip(names).map(|(broker, rack)| place(broker, Some(rack))).collect();
        for (replicas, shift) in [(2, 0), (3, 0), (3, 5), (4, 1), (6, 2)] {
            let assigned = spread_over(&places, 12, replicas, 2, shift).unwrap();
            for (partition, chosen) in &assigned {
                let brokers: BTreeSet<i32> = chosen.iter().copied().collect();
                let racks: BTreeSet<&str> = chosen.iter().map(|broker| names[*broker as usize]).collect();
                assert_eq!(brokers.len(), replicas as usize, "partition {partition}: {chosen:?}");
                assert_eq!(racks.len(), brokers.len().min(3), "partition {partition}: {chosen:?}");
            }
            let led_by_0 = assigned.values().filter(|chosen| chosen[0] == 0).count();
            assert_eq!(led_by_0, 2, "leaders go round all brokers");
        }
    }

    #[test]
    fn racks_count_only_where_every_broker_has_one() {
        let some = [place(0, Some("a")), place(1, Some("a")), place(2, None)];
        let none = [place(2, None), place(0, None), place(1, None)];
        let plain = spread(&[0, 1, 2], 0, 6, 2, 1, 1).unwrap();
        assert_eq!(spread_over(&some, 6, 2, 1, 1).unwrap(), plain);
        assert_eq!(spread_over(&none, 6, 2, 1, 1).unwrap(), plain);
        let one = [place(4, Some("a"))];
        assert_eq!(spread_over(&one, 2, 1, 0, 0).unwrap(), BTreeMap::from([(0, vec![4]), (1, vec![4])]));
    }

    #[test]
    fn more_replicas_than_brokers_are_refused() {
        assert!(spread(&[0], 0, 1, 2, 0, 0).is_err());
        assert!(spread(&[], 0, 1, 1, 0, 0).is_err());
        assert!(spread(&[0], 0, 0, 1, 0, 0).is_err());
        assert!(spread(&[0], 0, 1, 0, 0, 0).is_err());
    }

    #[test]
    fn assignments_by_hand() {
        assert_eq!(by_hand("0:1,1:0", 0).unwrap(), BTreeMap::from([(0, vec![0, 1]), (1, vec![1, 0])]));
        for wrong in ["", "0:0", "0:1,1", "a"] {
            assert!(by_hand(wrong, 0).is_err(), "{wrong}");
        }
    }
}
