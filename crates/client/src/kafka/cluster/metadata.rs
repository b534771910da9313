//! [`Metadata`]: one answer to "who is there and who leads what", as plain data.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::types::{BrokerId, LeaderEpoch, TopicPartition, Uuid};
use protocol::wire::Str;
use runtime::clock::Instant;

use super::super::config::HostPort;
use super::super::error::{ClientError, Result};
use super::Wanted;

/// A snapshot of the cluster.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// Live brokers.
    pub brokers: BTreeMap<BrokerId, Node>,
    /// The controller; old brokers do not say.
    pub controller: Option<BrokerId>,
    /// The cluster's id; old brokers have none.
    pub cluster_id: Option<String>,
    /// Topics that were asked for, with their errors.
    pub topics: HashMap<Arc<str>, Arc<TopicMetadata>>,
    /// When the brokers were last told.
    pub fetched_at: Instant,
    /// When all topics were last asked for.
    all_topics_at: Option<Instant>,
    /// Whether any broker has answered yet.
    answered: bool,
}

/// A live broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `broker.id`.
    pub id: BrokerId,
    /// Its advertised listener.
    pub address: HostPort,
    /// `broker.rack`.
    pub rack: Option<String>,
}

/// A topic.
#[derive(Debug, Clone)]
pub struct TopicMetadata {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; [`Uuid::ZERO`] from brokers older than topic ids.
    pub id: Uuid,
    /// Whether it is one of Kafka's own, such as `__consumer_offsets`.
    pub is_internal: bool,
    /// Why nothing is known, or [`ErrorCode::NONE`].
    pub error: ErrorCode,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionMetadata>,
    /// When this was told.
    pub fetched_at: Instant,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Its number.
    pub partition: i32,
    /// Its leader, if it has one.
    pub leader: Option<BrokerId>,
    /// Number of that leadership; [`LeaderEpoch::NONE`] from old brokers.
    pub leader_epoch: LeaderEpoch,
    /// Assigned replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Replicas in sync.
    pub isr: Vec<BrokerId>,
    /// Replicas that are down.
    pub offline_replicas: Vec<BrokerId>,
    /// What is wrong with it, or [`ErrorCode::NONE`].
    pub error: ErrorCode,
}

impl TopicMetadata {
    /// Whether there is a partition to write to or read from.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.error.is_none() && self.partitions.iter().any(|partition| partition.leader.is_some())
    }

    /// The reason why it is not usable.
    #[must_use]
    pub fn trouble(&self) -> ErrorCode {
        if !self.error.is_none() {
            return self.error;
        }
        self.partitions
            .iter()
            .map(|partition| partition.error)
            .find(|code| !code.is_none())
            .unwrap_or(ErrorCode::LEADER_NOT_AVAILABLE)
    }
}

impl Metadata {
    pub(super) fn empty(now: Instant) -> Metadata {
        Metadata {
            brokers: BTreeMap::new(),
            controller: None,
            cluster_id: None,
            topics: HashMap::new(),
            fetched_at: now,
            all_topics_at: None,
            answered: false,
        }
    }

    /// A topic by name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicMetadata>> {
        self.topics.get(name)
    }

    /// A partition.
    #[must_use]
    pub fn partition(&self, partition: &TopicPartition) -> Option<&PartitionMetadata> {
        let topic = self.topics.get(&partition.topic)?;
        topic.partitions.iter().find(|candidate| candidate.partition == partition.partition)
    }

    /// Leader of a partition.
    #[must_use]
    pub fn leader(&self, partition: &TopicPartition) -> Option<(BrokerId, LeaderEpoch)> {
        let partition = self.partition(partition)?;
        Some((partition.leader?, partition.leader_epoch))
    }

    /// Name of the topic with this id.
    #[must_use]
    pub fn topic_name(&self, id: Uuid) -> Option<&Arc<str>> {
        self.topics.values().find(|topic| topic.id == id).map(|topic| &topic.name)
    }

    /// Whether this snapshot answers a question that was asked at `asked_at`.
    pub(super) fn answers(&self, wanted: &Wanted<'_>, asked_at: Instant) -> bool {
        // Not at the very moment of the question: whoever asks because of what was just answered wants to hear more than that.
        let fresh = |at: Instant| self.answered && at > asked_at;
        match wanted {
            Wanted::Brokers => fresh(self.fetched_at),
            Wanted::All => self.all_topics_at.is_some_and(fresh),
            Wanted::Topics { names, .. } => {
                names.iter().all(|name| self.topic(name).is_some_and(|topic| fresh(topic.fetched_at)))
            }
        }
    }

    /// This snapshot with a newer answer put over it.
    pub(super) fn merged_with(&self, mut fresh: Metadata, wanted: &Wanted<'_>) -> Metadata {
        if *wanted == Wanted::All {
            fresh.all_topics_at = Some(fresh.fetched_at);
            return fresh;
        }
        for (name, topic) in &self.topics {
            fresh.topics.entry(name.clone()).or_insert_with(|| topic.clone());
        }
        fresh.all_topics_at = self.all_topics_at;
        fresh
    }

    pub(super) fn without_topic(&self, name: &str) -> Metadata {
        let mut copy = self.clone();
        copy.topics.remove(name);
        copy
    }

    /// Reads a response. Partitions come out sorted by number.
    pub(super) fn from_response(response: &MetadataResponse, now: Instant) -> Result<Metadata> {
        let mut brokers = BTreeMap::new();
        for broker in &response.brokers {
            let port = u16::try_from(broker.port).map_err(|_| ClientError::Malformed {
                what: "Metadata response".to_string(),
                broker: format!("broker {}", broker.node_id),
                cause: format!("port {}", broker.port),
            })?;
            let id = BrokerId(broker.node_id);
            let address = HostPort { host: broker.host.to_string(), port };
            brokers.insert(id, Node { id, address, rack: broker.rack.as_deref().map(str::to_string) });
        }
        let topics = response.topics.iter().filter_map(|topic| read_topic(topic, now));
        Ok(Metadata {
            controller: Some(BrokerId(response.controller_id)).filter(|controller| brokers.contains_key(controller)),
            brokers,
            cluster_id: response.cluster_id.as_deref().map(str::to_string),
            topics: topics.map(|topic| (topic.name.clone(), Arc::new(topic))).collect(),
            fetched_at: now,
            all_topics_at: None,
            answered: true,
        })
    }
}

fn read_topic(topic: &MetadataResponseTopic, now: Instant) -> Option<TopicMetadata> {
    let name: Arc<str> = Arc::from(&**topic.name.as_ref()?);
    let mut partitions: Vec<PartitionMetadata> = topic.partitions.iter().map(read_partition).collect();
    partitions.sort_by_key(|partition| partition.partition);
    partitions.dedup_by_key(|partition| partition.partition);
    Some(TopicMetadata {
        name,
        id: topic.topic_id,
        is_internal: topic.is_internal,
        error: ErrorCode(topic.error_code),
        partitions,
        fetched_at: now,
    })
}

fn read_partition(partition: &MetadataResponsePartition) -> PartitionMetadata {
    let ids = |nodes: &[i32]| nodes.iter().map(|node| BrokerId(*node)).collect();
    PartitionMetadata {
        partition: partition.partition_index,
        leader: (partition.leader_id >= 0).then_some(BrokerId(partition.leader_id)),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        replicas: ids(&partition.replica_nodes),
        isr: ids(&partition.isr_nodes),
        offline_replicas: ids(&partition.offline_replicas),
        error: ErrorCode(partition.error_code),
    }
}

impl Wanted<'_> {
    /// The request in a version. Version 0 has no "no topics": its empty list means all of them.
    pub(super) fn request(&self, version: i16) -> MetadataRequest {
        let topics = match self {
            Wanted::All if version == 0 => Some(Vec::new()),
            Wanted::All => None,
            Wanted::Brokers => Some(Vec::new()),
            Wanted::Topics { names, .. } => {
                let topic = |name: &&str| MetadataRequestTopic { name: Some(Str::from(*name)), ..Default::default() };
                Some(names.iter().map(topic).collect())
            }
        };
        // Versions before 4 have no such field, and the default is what they do.
        let allow_auto_topic_creation = version < 4 || matches!(self, Wanted::Topics { create: true, .. });
        MetadataRequest { topics, allow_auto_topic_creation, ..MetadataRequest::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runtime::Clock;

    use super::*;

    /// Whoever is told that a leader is none asks again at that very moment: the answer it has just been given must not do, or it asks without a pause.
    #[test]
    fn what_came_at_the_moment_of_a_question_does_not_answer_it() {
        let now = Clock::real().now();
        let metadata = Metadata { answered: true, ..Metadata::empty(now) };
        assert!(!metadata.answers(&Wanted::Brokers, now));
        assert!(metadata.answers(&Wanted::Brokers, now - Duration::from_millis(1)));
    }
}
