//! Which brokers hold which partition, as tools are told or propose it. The rule is the controller's own ([`broker::controller::assignment`]).

use std::collections::BTreeMap;

use broker::controller::assignment::assign;
pub use broker::controller::assignment::{Candidate, Start};

use crate::failure::Failure;

/// Spreads the replicas of `partitions` partitions, numbered on from that of `start`, over brokers in the order of their ids, and where all of them have a rack over the
/// racks.
pub fn spread(
    brokers: &[Candidate],
    partitions: i32,
    replicas: i32,
    start: Start,
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
    let mut brokers = brokers.to_vec();
    brokers.sort_unstable_by_key(|broker| broker.id);
    if replicas as usize > count {
        let what = format!("replication factor: {replicas} larger than available brokers: {count}");
        let ids: Vec<i32> = brokers.iter().map(|broker| broker.id).collect();
        return Err(Failure::verbatim(what).cause(format!("brokers registered under /brokers/ids: {}", id_list(&ids))));
    }
    Ok(assign(&brokers, partitions, replicas as usize, start))
}

/// Brokers of which no racks are known, or none count.
pub fn without_racks(ids: &[i32]) -> Vec<Candidate> {
    ids.iter().map(|id| Candidate { id: *id, rack: None }).collect()
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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn replicas_spread_as_kafkas_comment_shows() {
        // Five brokers, ten partitions, three replicas, from broker 0 with shift 0: the table in Kafka's own documentation of the rule.
        let assigned = spread(&without_racks(&[0, 1, 2, 3, 4]), 10, 3, start(0, 0)).unwrap();
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

    fn start(first: usize, shift: usize) -> Start {
        Start { first, shift, partition: 0 }
    }

    fn place(id: i32, rack: Option<&str>) -> Candidate {
        Candidate { id, rack: rack.map(str::to_owned) }
    }

    #[test]
    fn replicas_are_in_as_many_racks_as_there_are() {
        let names = ["r1", "r3", "r3", "r2", "r2", "r1"];
        let places: Vec<Candidate> = (0..).zip(names).map(|(broker, rack)| place(broker, Some(rack))).collect();
        for (replicas, shift) in [(2, 0), (3, 0), (3, 5), (4, 1), (6, 2)] {
            let assigned = spread(&places, 12, replicas, start(2, shift)).unwrap();
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
        let plain = spread(&without_racks(&[0, 1, 2]), 6, 2, start(1, 1)).unwrap();
        assert_eq!(spread(&some, 6, 2, start(1, 1)).unwrap(), plain);
        assert_eq!(spread(&none, 6, 2, start(1, 1)).unwrap(), plain);
        let one = [place(4, Some("a"))];
        assert_eq!(spread(&one, 2, 1, start(0, 0)).unwrap(), BTreeMap::from([(0, vec![4]), (1, vec![4])]));
    }

    #[test]
    fn more_replicas_than_brokers_are_refused() {
        let one = without_racks(&[0]);
        assert!(spread(&one, 1, 2, start(0, 0)).is_err());
        assert!(spread(&[], 1, 1, start(0, 0)).is_err());
        assert!(spread(&one, 0, 1, start(0, 0)).is_err());
        assert!(spread(&one, 1, 0, start(0, 0)).is_err());
    }

    #[test]
    fn assignments_by_hand() {
        assert_eq!(by_hand("0:1,1:0", 0).unwrap(), BTreeMap::from([(0, vec![0, 1]), (1, vec![1, 0])]));
        for wrong in ["", "0:0", "0:1,1", "a"] {
            assert!(by_hand(wrong, 0).is_err(), "{wrong}");
        }
    }
}
