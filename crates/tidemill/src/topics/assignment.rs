//! Which brokers hold which partition (Kafka: `AdminUtils.assignReplicasToBrokers`).

use std::collections::BTreeMap;

use crate::failure::Failure;

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
        return Err(Failure::verbatim(what)
            .cause(format!("brokers registered under /brokers/ids: {}", super::id_list(brokers))));
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
