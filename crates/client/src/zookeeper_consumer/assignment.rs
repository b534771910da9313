//! Who reads what (Kafka 0.8.2: `PartitionAssignor`). Every member computes it for itself from the same znodes, so the result must be Kafka's to the
//! letter: members of other makes sit in the same group.

use std::collections::BTreeMap;

use protocol::types::TopicPartition;

use crate::zookeeper::znodes::ConsumerOwner;

/// Why partitions cannot be shared out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssignmentError {
    /// Kafka's rule for roundrobin.
    #[error(
        "Round-robin assignment is allowed only if all consumers in the group subscribe to the same topics, \
         AND if the stream counts across topics are identical for a given consumer instance (topic {topic} differs)"
    )]
    SubscriptionsDiffer {
        /// A topic with other threads than the first one's.
        topic: String,
    },
}

/// What the assignment is computed from.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// The threads of all members, by topic.
    pub threads: BTreeMap<String, Vec<ConsumerOwner>>,
    /// The partitions of all topics somebody subscribes to.
    pub partitions: BTreeMap<String, Vec<i32>>,
}

/// Partitions and the thread that reads each, of one member.
pub type Share = BTreeMap<TopicPartition, i32>;

impl Group {
    /// Threads in Kafka's order, that of their texts: `c-10` comes before `c-2`.
    fn sorted_threads(&self, topic: &str) -> Vec<(String, &ConsumerOwner)> {
        let mut threads: Vec<_> =
            self.threads.get(topic).into_iter().flatten().map(|owner| (owner.to_string(), owner)).collect();
        threads.sort();
        threads
    }

    fn sorted_partitions(&self, topic: &str) -> Vec<i32> {
        let mut partitions = self.partitions.get(topic).cloned().unwrap_or_default();
        partitions.sort_unstable();
        partitions
    }
}

/// Topic by topic, each thread gets a run of partitions; where it does not divide evenly the first threads get one more.
pub fn range(group: &Group, consumer: &str) -> Share {
    let mut share = Share::new();
    for topic in group.threads.keys() {
        let threads = group.sorted_threads(topic);
        let partitions = group.sorted_partitions(topic);
        let each = partitions.len() / threads.len().max(1);
        let with_one_more = partitions.len() % threads.len().max(1);
        for (position, (_, owner)) in threads.iter().enumerate().filter(|(_, (_, owner))| owner.consumer == consumer) {
            let start = each * position + position.min(with_one_more);
            let count = each + usize::from(position < with_one_more);
            let run = partitions.iter().skip(start).take(count);
            share.extend(run.map(|partition| (TopicPartition::new(topic.as_str(), *partition), owner.thread)));
        }
    }
    share
}

/// All partitions of all topics in the order of their Java hash codes, one to each thread in turn.
///
/// # Errors
/// Where the threads are not the same for all topics.
pub fn round_robin(group: &Group, consumer: &str) -> Result<Share, AssignmentError> {
    let mut share = Share::new();
    let Some(first) = group.threads.keys().next() else { return Ok(share) };
    let threads = group.sorted_threads(first);
    for topic in group.threads.keys() {
        if group.sorted_threads(topic) != threads {
            return Err(AssignmentError::SubscriptionsDiffer { topic: topic.clone() });
        }
    }
    let mut partitions: Vec<(i32, TopicPartition)> = Vec::new();
    for topic in group.threads.keys() {
        for partition in group.sorted_partitions(topic) {
            // The hash spreads the partitions of a topic over the members (Kafka's text of a TopicAndPartition).
            let hash = java_hash_code(&format!("[{topic},{partition}]"));
            partitions.push((hash, TopicPartition::new(topic.as_str(), partition)));
        }
    }
    partitions.sort();
    for ((_, partition), (_, owner)) in partitions.into_iter().zip(threads.iter().cycle()) {
        if owner.consumer == consumer {
            share.insert(partition, owner.thread);
        }
    }
    Ok(share)
}

/// Java's `String.hashCode`.
fn java_hash_code(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group of members `name:threads` that all read all `topics`.
    fn group(members: &[(&str, i32)], topics: &[(&str, i32)]) -> Group {
        let threads: Vec<ConsumerOwner> = members
            .iter()
            .flat_map(|(name, threads)| {
                (0..*threads).map(move |thread| ConsumerOwner { consumer: (*name).to_owned(), thread })
            })
            .collect();
        Group {
            threads: topics.iter().map(|(topic, _)| ((*topic).to_owned(), threads.clone())).collect(),
            partitions: topics.iter().map(|(topic, count)| ((*topic).to_owned(), (0..*count).collect())).collect(),
        }
    }

    fn text(share: &Share) -> String {
        let parts: Vec<String> = share.iter().map(|(partition, thread)| format!("{partition}@{thread}")).collect();
        parts.join(" ")
    }

    fn check_range(members: &[(&str, i32)], topics: &[(&str, i32)], expected: &[(&str, &str)]) {
        let group = group(members, topics);
        for (consumer, share) in expected {
            assert_eq!(text(&range(&group, consumer)), *share, "{consumer} of {members:?} {topics:?}");
        }
    }

    #[test]
    fn range_gives_the_first_threads_the_remainder() {
        check_range(&[("a", 1)], &[("t", 3)], &[("a", "t-0@0 t-1@0 t-2@0")]);
        check_range(&[("b", 1), ("a", 1)], &[("t", 3)], &[("a", "t-0@0 t-1@0"), ("b", "t-2@0")]);
        check_range(
            &[("a", 1), ("b", 1), ("c", 1)],
            &[("t", 5)],
            &[("a", "t-0@0 t-1@0"), ("b", "t-2@0 t-3@0"), ("c", "t-4@0")],
        );
        check_range(&[("a", 2), ("b", 1)], &[("t", 4)], &[("a", "t-0@0 t-1@0 t-2@1"), ("b", "t-3@0")]);
        check_range(&[("a", 1), ("b", 1)], &[("t", 1)], &[("a", "t-0@0"), ("b", "")]);
        check_range(&[("a", 1), ("b", 1)], &[("t", 0)], &[("a", ""), ("b", "")]);
        check_range(&[("a", 1), ("b", 1)], &[("t", 1), ("u", 1)], &[("a", "t-0@0 u-0@0"), ("b", "")]);
        check_range(&[("a", 1)], &[("t", 1)], &[("stranger", "")]);
    }

    #[test]
    fn threads_are_ordered_as_texts_and_partitions_as_numbers() {
        // Eleven threads for eleven partitions: thread 10 stands between 1 and 2.
        let share = range(&group(&[("a", 11)], &[("t", 11)]), "a");
        let threads: Vec<i32> = share.values().copied().collect();
        assert_eq!(threads, [0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9]);
        let partitions: Vec<i32> = share.keys().map(|partition| partition.partition).collect();
        assert_eq!(partitions, (0..11).collect::<Vec<_>>());
    }

    #[test]
    fn hash_codes_are_javas() {
        assert_eq!(java_hash_code(""), 0);
        assert_eq!(java_hash_code("hello"), 99_162_322);
        assert_eq!(java_hash_code("[topic,0]"), 2_068_025_637);
        assert_eq!(java_hash_code("polygenelubricants"), i32::MIN);
    }

    #[test]
    fn round_robin_goes_by_hash_over_all_topics() {
        let group = group(&[("a", 1), ("b", 1)], &[("t", 2), ("u", 2)]);
        let (a, b) = (round_robin(&group, "a").unwrap(), round_robin(&group, "b").unwrap());
        assert_eq!((text(&a), text(&b)), ("t-0@0 u-0@0".to_owned(), "t-1@0 u-1@0".to_owned()));
        let mut uneven = group.clone();
        uneven.threads.get_mut("u").unwrap().pop();
        let error = AssignmentError::SubscriptionsDiffer { topic: "u".to_owned() };
        assert_eq!(round_robin(&uneven, "a"), Err(error));
        assert_eq!(round_robin(&Group::default(), "a"), Ok(Share::new()));
    }

    #[test]
    fn every_partition_has_exactly_one_reader() {
        for members in 1..6 {
            let names: Vec<String> = (0..members).map(|n| format!("m{n}")).collect();
            let listed: Vec<(&str, i32)> =
                names.iter().enumerate().map(|(n, m)| (m.as_str(), 1 + n as i32 % 3)).collect();
            let group = group(&listed, &[("t", 7), ("u", 4)]);
            type Assign = fn(&Group, &str) -> Share;
            for assign in [range as Assign, |g: &Group, c: &str| round_robin(g, c).unwrap()] {
                let mut all: Vec<TopicPartition> =
                    names.iter().flat_map(|name| assign(&group, name).into_keys()).collect();
                all.sort();
                let count = all.len();
                all.dedup();
                assert_eq!((count, all.len()), (11, 11), "{members} members");
            }
        }
    }
}
