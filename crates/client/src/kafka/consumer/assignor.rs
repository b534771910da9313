//! How a group's leader shares partitions out: `range`, `roundrobin` and `sticky`, with Kafka's results for the first two.
//!
//! Plain functions of members and partition counts. Always true of a result: every partition of a topic that some member subscribes to has
//! exactly one owner, who subscribes to it, and every member is in it, perhaps with nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use protocol::types::TopicPartition;

use super::super::config::Strategy;

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupMember {
    /// Given by the coordinator.
    pub id: String,
    /// `group.instance.id`: static members come first, in this order, so that a restart with a new member id changes nothing.
    pub instance_id: Option<String>,
    /// What it subscribes to.
    pub topics: BTreeSet<Arc<str>>,
    /// What it held before (sticky).
    pub owned: Vec<TopicPartition>,
    /// Generation in which it held that.
    pub owned_in: i32,
}

/// Who gets what, by member id.
pub type Assignment = BTreeMap<String, Vec<TopicPartition>>;

/// Shares out the partitions of `counts` (topic to number of partitions) among `members`.
#[must_use]
pub fn assign(strategy: Strategy, members: &[GroupMember], counts: &BTreeMap<Arc<str>, i32>) -> Assignment {
    let mut members: Vec<&GroupMember> = members.iter().collect();
    members.sort_by(|a, b| order(a).cmp(&order(b)));
    let mut assignment: Assignment = members.iter().map(|member| (member.id.clone(), Vec::new())).collect();
    match strategy {
        Strategy::Range => range(&members, counts, &mut assignment),
        Strategy::RoundRobin => round_robin(&members, counts, &mut assignment),
        Strategy::Sticky => sticky(&members, counts, &mut assignment),
    }
    assignment
}

/// Kafka's order of members (`AbstractPartitionAssignor.MemberInfo`).
fn order(member: &GroupMember) -> (bool, &str) {
    match &member.instance_id {
        Some(instance) => (false, instance),
        None => (true, &member.id),
    }
}

/// Topic by topic, each member gets a run of partitions; the first members get one more where it does not divide evenly.
fn range(members: &[&GroupMember], counts: &BTreeMap<Arc<str>, i32>, assignment: &mut Assignment) {
    for (topic, count) in counts {
        let subscribed: Vec<&&GroupMember> = members.iter().filter(|member| member.topics.contains(topic)).collect();
        let (count, takers) = (usize::try_from(*count).unwrap_or(0), subscribed.len());
        if takers == 0 {
            continue;
        }
        let mut next = 0;
        for (index, member) in subscribed.into_iter().enumerate() {
            let share = count / takers + usize::from(index < count % takers);
            let run = (next..next + share).map(|partition| TopicPartition::new(topic.clone(), partition as i32));
            assignment.entry(member.id.clone()).or_default().extend(run);
            next += share;
        }
    }
}

/// Partition by partition over all topics, the next member that subscribes to the topic.
fn round_robin(members: &[&GroupMember], counts: &BTreeMap<Arc<str>, i32>, assignment: &mut Assignment) {
    let mut next = 0;
    for partition in partitions_of(members, counts) {
        while !members[next % members.len()].topics.contains(&partition.topic) {
            next += 1;
        }
        assignment.entry(members[next % members.len()].id.clone()).or_default().push(partition);
        next += 1;
    }
}

/// Every member keeps what it holds, the rest goes to whoever has least, and only then partitions move to even the load out (KIP-54's aim, with an
/// algorithm of our own).
fn sticky(members: &[&GroupMember], counts: &BTreeMap<Arc<str>, i32>, assignment: &mut Assignment) {
    let all: BTreeSet<TopicPartition> = partitions_of(members, counts).collect();
    // Of two members that claim a partition, the one with the newer generation is right.
    let mut owners: HashMap<TopicPartition, usize> = HashMap::new();
    for (index, member) in members.iter().enumerate() {
        for partition in &member.owned {
            if !all.contains(partition) || !member.topics.contains(&partition.topic) {
                continue;
            }
            let newer = owners.get(partition).is_none_or(|other| members[*other].owned_in < member.owned_in);
            if newer {
                owners.insert(partition.clone(), index);
            }
        }
    }
    let mut load = vec![0usize; members.len()];
    for owner in owners.values() {
        load[*owner] += 1;
    }
    let takers = |partition: &TopicPartition| {
        let topic = partition.topic.clone();
        (0..members.len()).filter(move |index| members[*index].topics.contains(&topic))
    };
    let mut homeless: Vec<&TopicPartition> = all.iter().filter(|partition| !owners.contains_key(*partition)).collect();
    // Those with few possible owners first: they have no other place to go.
    homeless.sort_by_key(|partition| takers(partition).count());
    for partition in homeless {
        if let Some(taker) = takers(partition).min_by_key(|index| load[*index]) {
            load[taker] += 1;
            owners.insert(partition.clone(), taker);
        }
    }
    // Each move makes the sum of squared loads smaller, so this ends.
    loop {
        let mut moved = false;
        for partition in &all {
            let Some(owner) = owners.get(partition).copied() else { continue };
            let lightest = takers(partition).min_by_key(|index| load[*index]);
            if let Some(taker) = lightest
                && load[owner] > load[taker] + 1
            {
                load[owner] -= 1;
                load[taker] += 1;
                owners.insert(partition.clone(), taker);
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    for partition in all {
        if let Some(owner) = owners.get(&partition) {
            assignment.entry(members[*owner].id.clone()).or_default().push(partition);
        }
    }
}

/// All partitions that somebody subscribes to, in order.
fn partitions_of<'a>(
    members: &[&GroupMember],
    counts: &'a BTreeMap<Arc<str>, i32>,
) -> impl Iterator<Item = TopicPartition> + use<'a> {
    let subscribed: BTreeSet<Arc<str>> = members.iter().flat_map(|member| member.topics.iter().cloned()).collect();
    counts
        .iter()
        .filter(move |(topic, _)| subscribed.contains(*topic))
        .flat_map(|(topic, count)| (0..*count).map(|partition| TopicPartition::new(topic.clone(), partition)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, topics: &[&str]) -> GroupMember {
        GroupMember {
            id: id.to_string(),
            topics: topics.iter().map(|topic| Arc::from(*topic)).collect(),
            owned_in: -1,
            ..GroupMember::default()
        }
    }

    fn counts(topics: &[(&str, i32)]) -> BTreeMap<Arc<str>, i32> {
        topics.iter().map(|(topic, count)| (Arc::from(*topic), *count)).collect()
    }

    fn check(strategy: Strategy, members: &[GroupMember], topics: &[(&str, i32)], expected: &[&str]) {
        let assignment = assign(strategy, members, &counts(topics));
        let told: Vec<String> = assignment
            .iter()
            .map(|(id, partitions)| {
                let partitions: Vec<String> = partitions.iter().map(TopicPartition::to_string).collect();
                format!("{id}: {}", partitions.join(" "))
            })
            .collect();
        assert_eq!(told, expected, "{strategy:?}");
    }

    #[test]
    fn range_gives_runs_and_the_rest_to_the_first() {
        let range = |members: &[GroupMember], topics: &[(&str, i32)], expected: &[&str]| {
            check(Strategy::Range, members, topics, expected);
        };
        let two = [member("c1", &["t"]), member("c0", &["t"])];
        range(&two, &[("t", 3)], &["c0: t-0 t-1", "c1: t-2"]);
        range(&two, &[("t", 1)], &["c0: t-0", "c1: "]);
        range(&two, &[("t", 0)], &["c0: ", "c1: "]);
        let both = [member("c0", &["t", "u"]), member("c1", &["t", "u"])];
        range(&both, &[("t", 3), ("u", 3)], &["c0: t-0 t-1 u-0 u-1", "c1: t-2 u-2"]);
        let uneven = [member("c0", &["t"]), member("c1", &["t", "u"])];
        range(&uneven, &[("t", 2), ("u", 2)], &["c0: t-0", "c1: t-1 u-0 u-1"]);
        range(&[member("c0", &["gone"])], &[("t", 2)], &["c0: "]);
    }

    #[test]
    fn static_members_come_first_in_the_order_of_their_instances() {
        let mut members = [member("c0", &["t"]), member("c9", &["t"]), member("c5", &["t"])];
        members[1].instance_id = Some("b".to_string());
        members[2].instance_id = Some("a".to_string());
        check(Strategy::Range, &members, &[("t", 4)], &["c0: t-3", "c5: t-0 t-1", "c9: t-2"]);
    }

    #[test]
    fn round_robin_goes_over_all_topics() {
        let both = [member("c0", &["t", "u"]), member("c1", &["t", "u"])];
        check(Strategy::RoundRobin, &both, &[("t", 3), ("u", 3)], &["c0: t-0 t-2 u-1", "c1: t-1 u-0 u-2"]);
        // Kafka's own example of uneven subscriptions (`RoundRobinAssignor`).
        let uneven = [member("c0", &["t0"]), member("c1", &["t0", "t1"]), member("c2", &["t0", "t1", "t2"])];
        let topics = [("t0", 1), ("t1", 2), ("t2", 3)];
        check(Strategy::RoundRobin, &uneven, &topics, &["c0: t0-0", "c1: t1-0", "c2: t1-1 t2-0 t2-1 t2-2"]);
    }

    #[test]
    fn sticky_moves_no_more_than_it_must() {
        let partition = |number| TopicPartition::new("t", number);
        let mut members = [member("c0", &["t"]), member("c1", &["t"]), member("c2", &["t"])];
        members[0].owned = vec![partition(0), partition(1), partition(2)];
        members[1].owned = vec![partition(3), partition(4), partition(5)];
        let assignment = assign(Strategy::Sticky, &members, &counts(&[("t", 6)]));
        for (index, id) in ["c0", "c1"].iter().enumerate() {
            assert_eq!(assignment[*id].len(), 2);
            assert!(assignment[*id].iter().all(|kept| members[index].owned.contains(kept)), "{assignment:?}");
        }
        assert_eq!(assignment["c2"].len(), 2);
    }

    #[test]
    fn the_newer_of_two_claims_wins() {
        let partition = TopicPartition::new("t", 0);
        let mut members = [member("c0", &["t"]), member("c1", &["t"])];
        members[0].owned = vec![partition.clone()];
        members[0].owned_in = 3;
        members[1].owned = vec![partition];
        members[1].owned_in = 4;
        check(Strategy::Sticky, &members, &[("t", 1)], &["c0: ", "c1: t-0"]);
    }

    #[test]
    fn every_partition_has_exactly_one_owner() {
        for strategy in [Strategy::Range, Strategy::RoundRobin, Strategy::Sticky] {
            for takers in 1..6 {
                let members: Vec<_> = (0..takers).map(|n| member(&format!("c{n}"), &["t", "u"])).collect();
                let assignment = assign(strategy, &members, &counts(&[("t", 7), ("u", 4)]));
                let mut all: Vec<_> = assignment.values().flatten().cloned().collect();
                all.sort();
                let before = all.len();
                all.dedup();
                assert_eq!((before, all.len()), (11, 11), "{strategy:?} of {takers}");
            }
        }
    }
}
