//! Which brokers get the replicas of a new topic (`AdminUtils.assignReplicasToBrokers`).
//!
//! The first replica goes round the brokers from a random start; the others follow it at a distance that grows with each round, so that the partitions led by one broker
//! have their followers on all the others.

use std::collections::BTreeMap;

/// Spreads `partitions` partitions of `replication` replicas over `brokers`. `start` and `shift` are random numbers; a growing topic passes the first new partition as
/// `first_partition`. Empty if there are fewer brokers than replicas.
#[must_use]
pub fn assign(
    brokers: &[i32],
    partitions: i32,
    replication: usize,
    start: usize,
    shift: usize,
    first_partition: i32,
) -> BTreeMap<i32, Vec<i32>> {
    let count = brokers.len();
    if count == 0 || replication == 0 || replication > count {
        return BTreeMap::new();
    }
    let mut assignment = BTreeMap::new();
    for step in 0..partitions {
        let partition = first_partition.saturating_add(step);
        let at = usize::try_from(partition).unwrap_or_default();
        let round = shift.wrapping_add(at / count);
        let first = start.wrapping_add(at) % count;
        let mut replicas = vec![brokers[first]];
        for follower in 0..replication - 1 {
            // A distance of 1 to count - 1 from the first, so that none is named twice.
            let distance = 1 + round.wrapping_add(follower) % (count - 1);
            replicas.push(brokers[(first + distance) % count]);
        }
        assignment.insert(partition, replicas);
    }
    assignment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_distinct_and_leaders_go_round() {
        for count in 1..6 {
            let brokers: Vec<i32> = (10..10 + count).collect();
            for replication in 1..=brokers.len() {
                let assignment = assign(&brokers, 20, replication, 3, 1, 0);
                assert_eq!(assignment.len(), 20);
                let mut leads: BTreeMap<i32, usize> = BTreeMap::new();
                for replicas in assignment.values() {
                    let mut distinct = replicas.clone();
                    distinct.sort_unstable();
                    distinct.dedup();
                    assert_eq!(distinct.len(), replication, "{replicas:?}");
                    *leads.entry(replicas[0]).or_default() += 1;
                }
                let fewest = 20 / brokers.len();
                assert!(leads.values().all(|leads| (fewest..=fewest + 1).contains(leads)), "{leads:?}");
            }
        }
    }

    #[test]
    fn too_few_brokers_give_nothing() {
        assert!(assign(&[1], 1, 2, 0, 0, 0).is_empty());
        assert!(assign(&[], 1, 1, 0, 0, 0).is_empty());
    }
}
