//! What is said, once, to someone who waits for records that do not come: the topic is not there, or its records are older than the wait.
//!
//! It goes to stderr and changes nothing; where it cannot find out, it keeps still.

use std::time::Duration;

use client::kafka::consumer::list_offsets;
use client::kafka::{Cluster, IsolationLevel, OffsetSpec};
use protocol::types::TopicPartition;
use runtime::clock::Instant;

use super::options::{Options, Topics};
use crate::tools;

/// Wait before anything is said.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest time spent on finding out.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Whether and when it is to be said.
pub struct Advice {
    due: Option<Instant>,
}

impl Advice {
    /// Advice for a reader that begins now.
    pub fn new() -> Advice {
        Advice { due: Some(runtime::Clock::real().now() + PATIENCE) }
    }

    /// A record came: nothing needs to be said.
    pub fn record_came(&mut self) {
        self.due = None;
    }

    /// Whether it is time; `true` once.
    pub fn is_due(&mut self) -> bool {
        match self.due {
            Some(due) if runtime::Clock::real().now() >= due => {
                self.due = None;
                true
            }
            _ => false,
        }
    }
}

/// Finds out what may be wrong and says it.
pub async fn give(cluster: &Cluster, options: &Options) {
    let deadline = cluster.clock().now() + LOOK_MAX;
    let Ok(Ok(metadata)) = tokio::time::timeout_at(deadline, cluster.refresh_all()).await else { return };
    let Ok(filter) = options.topics.filter() else { return };
    let names = || metadata.topics.keys().map(AsRef::as_ref);
    if !names().any(|name| filter.allows(name, false)) {
        match &options.topics {
            Topics::Named(topic) => {
                eprintln!("note: topic \"{topic}\" does not exist{}", tools::did_you_mean(topic, names()));
            }
            Topics::Include(_) | Topics::Exclude(_) => eprintln!("note: no topic matches"),
        }
        return;
    }
    if options.from_beginning {
        return;
    }
    let partitions = metadata.topics.values().filter(|topic| filter.allows(&topic.name, true)).flat_map(|topic| {
        topic.partitions.iter().map(|partition| TopicPartition::new(topic.name.clone(), partition.partition))
    });
    let partitions: Vec<TopicPartition> = partitions.collect();
    let mut older = 0;
    for (spec, sign) in [(OffsetSpec::Latest, 1), (OffsetSpec::Earliest, -1)] {
        let wanted: Vec<_> = partitions.iter().map(|partition| (partition.clone(), spec)).collect();
        for found in list_offsets(cluster, &wanted, IsolationLevel::ReadUncommitted, deadline).await.into_values() {
            let Ok(Some(found)) = found else { return };
            older += sign * found.offset.0;
        }
    }
    if older > 0 {
        let (noun, verb) = if older == 1 { ("message", "exists") } else { ("messages", "exist") };
        eprintln!("note: {older} older {noun} {verb}; add --from-beginning");
    }
}
