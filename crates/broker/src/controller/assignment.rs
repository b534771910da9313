//! Which brokers get the replicas of new partitions (`AdminUtils.assignReplicasToBrokers`).
//!
//! The first replica goes round the brokers from a start; the others follow it at a distance that grows with each round, so that the partitions led by one broker have their
//! followers on all the others. Where every broker has a rack, the round goes from rack to rack, and no rack gets a second replica of a partition before each has one, as
//! long as there are as many racks as replicas.

use std::collections::{BTreeMap, BTreeSet};

/// A broker that may get replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: i32,
    /// Its rack.
    pub rack: Option<String>,
}

/// How a round begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Place of the broker that gets the first replica of partition 0: a random number for a new topic.
    pub first: usize,
    /// Distance of its second replica, less one.
    pub shift: usize,
    /// The first partition to assign: that of a new topic is 0.
    pub partition: i32,
}

/// Spreads `partitions` partitions of `replication` replicas over brokers. Empty if there are fewer brokers than replicas.
#[must_use]
pub fn assign(brokers: &[Candidate], partitions: i32, replication: usize, start: Start) -> BTreeMap<i32, Vec<i32>> {
    let count = brokers.len();
    if count == 0 || replication == 0 || replication > count {
        return BTreeMap::new();
    }
    // With some racks unknown, they say nothing about which replicas would fall together.
    let racks: Option<BTreeSet<&str>> = brokers.iter().map(|broker| broker.rack.as_deref()).collect();
    let round = if racks.is_some() { by_turns(brokers) } else { brokers.iter().collect() };
    let racks = racks.map_or(0, |racks| racks.len());
    let mut assignment = BTreeMap::new();
    let mut shift = start.shift;
    for step in 0..partitions {
        let partition = start.partition.saturating_add(step);
        let at = usize::try_from(partition).unwrap_or_default();
        if at > 0 && at.is_multiple_of(count) {
            shift = shift.wrapping_add(1);
        }
        let first = start.first.wrapping_add(at) % count;
        assignment.insert(partition, replicas(&round, racks, replication, first, shift));
    }
    assignment
}

/// The replicas of one partition, the first on the broker at `first`. Without racks (none) only the broker counts.
fn replicas(round: &[&Candidate], racks: usize, replication: usize, first: usize, shift: usize) -> Vec<i32> {
    let count = round.len();
    let mut chosen = vec![round[first].id];
    let mut used: BTreeSet<Option<&str>> = BTreeSet::from([round[first].rack.as_deref()]);
    let shift = if racks > 0 { shift.wrapping_mul(racks) } else { shift };
    // Each broker but the first comes up once in a round; two rounds at most are needed, the first of which gives every rack its replica.
    for turn in 0..2 * count {
        if chosen.len() == replication || count == 1 {
            break;
        }
        let distance = 1 + shift.wrapping_add(turn) % (count - 1);
        let candidate = round[(first + distance) % count];
        let is_rack_free = racks == 0 || used.len() >= racks || !used.contains(&candidate.rack.as_deref());
        if is_rack_free && !chosen.contains(&candidate.id) {
            chosen.push(candidate.id);
            used.insert(candidate.rack.as_deref());
        }
    }
    chosen
}

/// Brokers of all racks by turns: the first of each rack, then the second (`AdminUtils.getRackAlternatedBrokerList`).
fn by_turns(brokers: &[Candidate]) -> Vec<&Candidate> {
    let mut racks: BTreeMap<Option<&str>, Vec<&Candidate>> = BTreeMap::new();
    for broker in brokers {
        racks.entry(broker.rack.as_deref()).or_default().push(broker);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or_default();
    (0..longest).flat_map(|turn| racks.values().filter_map(move |rack| rack.get(turn).copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Start = Start { first: 3, shift: 1, partition: 0 };

    fn brokers(racks: &[Option<&str>]) -> Vec<Candidate> {
        (10..).zip(racks).map(|(id, rack)| Candidate { id, rack: rack.map(str::to_owned) }).collect()
    }

    #[test]
    fn replicas_are_distinct_and_leaders_go_round() {
        for count in 1..6 {
            let brokers = brokers(&vec![None; count]);
            for replication in 1..=count {
                let assignment = assign(&brokers, 20, replication, START);
                assert_eq!(assignment.len(), 20);
                let mut leads: BTreeMap<i32, usize> = BTreeMap::new();
                for replicas in assignment.values() {
                    assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), replication, "{replicas:?}");
                    *leads.entry(replicas[0]).or_default() += 1;
                }
                let fewest = 20 / count;
                assert!(leads.values().all(|leads| (fewest..=fewest + 1).contains(leads)), "{leads:?}");
            }
        }
    }

    #[test]
    fn without_racks_it_is_kafkas_round() {
        // The example in the comment of Kafka's AdminUtils, with a start of 0 and no shift: five brokers, ten partitions, three replicas.
        let assignment = assign(&brokers(&[None; 5]), 10, 3, Start { first: 0, shift: 0, partition: 0 });
        let expected: [[i32; 3]; 10] = [
            [0, 1, 2],
            [1, 2, 3],
            [2, 3, 4],
            [3, 4, 0],
            [4, 0, 1],
            [0, 2, 3],
            [1, 3, 4],
            [2, 4, 0],
            [3, 0, 1],
            [4, 1, 2],
        ];
        let found: Vec<Vec<i32>> = assignment.into_values().map(|ids| ids.iter().map(|id| id - 10).collect()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn brokers_of_different_racks_follow_each_other() {
        let check = |racks: &[&str], expected: &[i32]| {
            let brokers: Vec<Candidate> =
                (0..).zip(racks).map(|(id, rack)| Candidate { id, rack: Some((*rack).to_owned()) }).collect();
            assert_eq!(by_turns(&brokers).iter().map(|broker| broker.id).collect::<Vec<_>>(), expected);
        };
        // Kafka's own example: racks of two brokers each.
        check(&["r1", "r3", "r3", "r2", "r2", "r1"], &[0, 3, 1, 5, 4, 2]);
        check(&["a", "a", "a", "b"], &[0, 3, 1, 2]);
    }

    #[test]
    fn every_rack_gets_a_replica_before_any_gets_two() {
        let check = |racks: &[Option<&str>], replication: usize| {
            let brokers = brokers(racks);
            let rack_of = |id: &i32| brokers.iter().find(|broker| broker.id == *id).unwrap().rack.as_deref();
            let all: BTreeSet<_> = racks.iter().collect();
            for start in 0..6 {
                let assignment = assign(&brokers, 12, replication, Start { first: start, shift: start, partition: 0 });
                for replicas in assignment.values() {
                    assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), replication, "{replicas:?}");
                    let used: BTreeSet<_> = replicas.iter().map(rack_of).collect();
                    assert_eq!(used.len(), replication.min(all.len()), "{replicas:?} of {racks:?}");
                }
            }
        };
        let (a, b, c) = (Some("a"), Some("b"), Some("c"));
        check(&[a, a, b, b, c, c], 3);
        check(&[a, a, a, b, c], 3);
        check(&[a, b, a, b], 2);
        check(&[a, b, a, b], 3);
        check(&[a, a, a], 3);
    }

    #[test]
    fn racks_that_are_not_all_known_do_not_count() {
        let (some, none) = (brokers(&[Some("a"), None, Some("a")]), brokers(&[None; 3]));
        assert_eq!(assign(&some, 6, 2, START), assign(&none, 6, 2, START));
    }

    #[test]
    fn too_few_brokers_give_nothing() {
        let start = Start { first: 0, shift: 0, partition: 0 };
        assert!(assign(&brokers(&[None]), 1, 2, start).is_empty());
        assert!(assign(&[], 1, 1, start).is_empty());
    }
}
