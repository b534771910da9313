//! What is proposed, what moves where, and what of it is throttled: plain functions of assignments.

use std::collections::{BTreeMap, BTreeSet};

use client::kafka::admin::Reassignment;
use protocol::types::TopicPartition;

use super::file::Assignment;
use crate::assignment::{self, Candidate, Start};
use crate::failure::Failure;

/// Spreads each topic anew over the brokers, with as many replicas as its first partition has (`ReassignPartitionsCommand.calculateAssignment`). `at_random` gives a
/// number below the one it is given.
pub fn propose(
    current: &Assignment,
    places: &[Candidate],
    mut at_random: impl FnMut(usize) -> usize,
) -> Result<Assignment, Failure> {
    let mut topics: BTreeMap<&str, Vec<&Vec<i32>>> = BTreeMap::new();
    for (partition, replicas) in current {
        topics.entry(&partition.topic).or_default().push(replicas);
    }
    let mut proposed = Assignment::new();
    for (topic, partitions) in topics {
        let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        let replicas = partitions.first().map_or(1, |first| i32::try_from(first.len()).unwrap_or(i32::MAX));
        let mut among = || at_random(places.len().max(1));
        let start = Start { first: among(), shift: among(), partition: 0 };
        for (partition, replicas) in assignment::spread(places, count, replicas, start)? {
            proposed.insert(TopicPartition::new(topic, partition), replicas);
        }
    }
    Ok(proposed)
}

/// Where a partition comes from and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMove {
    /// Brokers that have it.
    pub sources: BTreeSet<i32>,
    /// Brokers that get it.
    pub destinations: BTreeSet<i32>,
}

/// All moves, those under way included, which throttles must go on covering.
pub fn moves(
    under_way: &[Reassignment],
    proposed: &Assignment,
    current: &Assignment,
) -> BTreeMap<TopicPartition, PartitionMove> {
    let ids = |brokers: &[protocol::types::BrokerId]| brokers.iter().map(|broker| broker.0).collect::<BTreeSet<i32>>();
    let mut moves: BTreeMap<TopicPartition, PartitionMove> = under_way
        .iter()
        .map(|moving| {
            let destinations = ids(&moving.adding);
            let sources = &ids(&moving.replicas) - &destinations;
            (moving.partition.clone(), PartitionMove { sources, destinations })
        })
        .collect();
    for (partition, replicas) in proposed {
        let sources = match moves.get(partition) {
            Some(moving) => moving.sources.clone(),
            None => current.get(partition).into_iter().flatten().copied().collect(),
        };
        let destinations = replicas.iter().copied().filter(|broker| !sources.contains(broker)).collect();
        moves.insert(partition.clone(), PartitionMove { sources, destinations });
    }
    moves
}

/// `leader.replication.throttled.replicas` and `follower.replication.throttled.replicas` of each topic (KIP-73): `partition:broker`, the brokers that have it leading,
/// those that get it following.
pub fn throttled(moves: &BTreeMap<TopicPartition, PartitionMove>) -> BTreeMap<String, (String, String)> {
    let mut topics: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for (partition, moving) in moves {
        let (leaders, followers) = topics.entry(partition.topic.to_string()).or_default();
        let named = |brokers: &BTreeSet<i32>| -> Vec<String> {
            brokers.iter().map(|broker| format!("{}:{broker}", partition.partition)).collect()
        };
        leaders.extend(named(&moving.sources));
        followers.extend(named(&moving.destinations));
    }
    let joined = |parts: BTreeSet<String>| parts.into_iter().collect::<Vec<_>>().join(",");
    topics.into_iter().map(|(topic, (leaders, followers))| (topic, (joined(leaders), joined(followers)))).collect()
}

/// Every broker that sends or gets something.
pub fn brokers(moves: &BTreeMap<TopicPartition, PartitionMove>) -> BTreeSet<i32> {
    moves.values().flat_map(|moving| moving.sources.iter().chain(&moving.destinations)).copied().collect()
}

/// `t-0,t-1`
pub fn names<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> String {
    partitions.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// `s` of a plural.
pub fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// `t-0: replicas: 1,2,3. adding: 3. removing: 1.`
pub fn listed(moving: &Reassignment) -> String {
    let ids = |brokers: &[protocol::types::BrokerId]| {
        assignment::id_list(&brokers.iter().map(|broker| broker.0).collect::<Vec<_>>())
    };
    let part = |what: &str, brokers: &[protocol::types::BrokerId]| match brokers {
        [] => String::new(),
        brokers => format!(" {what}: {}.", ids(brokers)),
    };
    let Reassignment { partition, replicas, adding, removing } = moving;
    format!("{partition}: replicas: {}.{}{}", ids(replicas), part("adding", adding), part("removing", removing))
}

#[cfg(test)]
mod tests {
    use protocol::types::BrokerId;

    use super::*;
    use crate::assignment::without_racks;

    fn assignment(entries: &[(&str, i32, &[i32])]) -> Assignment {
        entries.iter().map(|(topic, number, ids)| (TopicPartition::new(*topic, *number), ids.to_vec())).collect()
    }

    fn under_way(topic: &str, partition: i32, replicas: &[i32], adding: &[i32], removing: &[i32]) -> Reassignment {
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
        let partition = TopicPartition::new(topic, partition);
        Reassignment { partition, replicas: ids(replicas), adding: ids(adding), removing: ids(removing) }
    }

    #[test]
    fn a_proposal_spreads_each_topic_by_itself() {
        let current = assignment(&[("t", 0, &[0, 1]), ("t", 1, &[1, 0]), ("u", 0, &[0])]);
        let proposed = propose(&current, &without_racks(&[3, 4, 5]), |_| 1).unwrap();
        assert_eq!(proposed, assignment(&[("t", 0, &[4, 3]), ("t", 1, &[5, 4]), ("u", 0, &[4])]));
        let few = propose(&current, &without_racks(&[3]), |_| 0).unwrap_err();
        assert_eq!(few.text(), "replication factor: 2 larger than available brokers: 1");
        assert_eq!(propose(&Assignment::new(), &without_racks(&[3]), |_| 0).unwrap(), Assignment::new());
    }

    #[test]
    fn throttles_cover_what_moves_and_what_was_moving() {
        let current = assignment(&[("t", 0, &[0, 1]), ("u", 2, &[1, 2])]);
        let proposed = assignment(&[("t", 0, &[1, 2]), ("u", 2, &[1, 2])]);
        let moves = moves(
            &[under_way("t", 0, &[3, 0, 1], &[3], &[]), under_way("v", 1, &[4, 5], &[5], &[4])],
            &proposed,
            &current,
        );
        let expected = [("t", ("0:0,0:1", "0:2")), ("u", ("2:1,2:2", "")), ("v", ("1:4", "1:5"))];
        let expected = expected.map(|(topic, (l, f))| (topic.to_owned(), (l.to_owned(), f.to_owned())));
        assert_eq!(throttled(&moves), BTreeMap::from(expected));
        assert_eq!(brokers(&moves), BTreeSet::from([0, 1, 2, 4, 5]));
    }

    #[test]
    fn moves_are_listed_as_in_3_9() {
        assert_eq!(listed(&under_way("t", 0, &[1, 2, 3], &[3], &[1])), "t-0: replicas: 1,2,3. adding: 3. removing: 1.");
        assert_eq!(listed(&under_way("t", 0, &[1, 2], &[], &[])), "t-0: replicas: 1,2.");
        assert_eq!(names(assignment(&[("t", 0, &[]), ("t", 1, &[])]).keys()), "t-0,t-1");
    }
}
