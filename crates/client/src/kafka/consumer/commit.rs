//! [`GroupCoordinator`]: the broker that keeps a group's offsets and membership, found again whenever it moves.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;

use parking_lot::Mutex;
use protocol::error::ErrorCode;
use protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchResponse};
use protocol::types::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use protocol::wire::Str;
use runtime::clock::Instant;

use super::super::cluster::{Cluster, CoordinatorKind, PrivateLane};
use super::super::connection::Connection;
use super::super::error::{ClientError, Result, check_code};

/// Highest version of OffsetFetch used: from 8 on groups come in lists, which one consumer has no use for.
const OFFSET_FETCH_VERSION_MAX: i16 = 7;

/// An offset to be kept for a group: the next record to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetToCommit {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset to read.
    pub offset: Offset,
    /// Whatever the caller wants to find there again.
    pub metadata: String,
}

impl OffsetToCommit {
    /// An offset without metadata.
    #[must_use]
    pub fn new(partition: TopicPartition, offset: Offset) -> OffsetToCommit {
        OffsetToCommit { partition, offset, metadata: String::new() }
    }
}

/// An offset that is kept for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: Offset,
    /// Leadership of the last record read; [`LeaderEpoch::NONE`] where unknown.
    pub leader_epoch: LeaderEpoch,
    /// What was committed with it.
    pub metadata: String,
}

/// In whose name offsets are committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Given by the coordinator; empty outside a membership.
    pub id: String,
    /// Of the group when the member joined; -1 outside a membership.
    pub generation: i32,
    /// `group.instance.id`.
    pub instance_id: Option<String>,
}

impl Member {
    /// Commits without membership, as a consumer with assigned partitions and the tools do.
    #[must_use]
    pub fn none() -> Member {
        Member { id: String::new(), generation: -1, instance_id: None }
    }
}

/// A group's coordinator.
pub struct GroupCoordinator {
    cluster: Cluster,
    group: String,
    known: Mutex<Option<BrokerId>>,
    lane: PrivateLane,
}

impl GroupCoordinator {
    /// The coordinator of `group`; it is looked for when it is first needed.
    #[must_use]
    pub fn new(cluster: Cluster, group: impl Into<String>) -> GroupCoordinator {
        let lane = cluster.private_lane();
        GroupCoordinator { cluster, group: group.into(), known: Mutex::new(None), lane }
    }

    /// `group.id`.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The coordinating broker.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] at `deadline`.
    pub async fn broker(&self, deadline: Instant) -> Result<BrokerId> {
        if let Some(known) = *self.known.lock() {
            return Ok(known);
        }
        let found = self.cluster.find_coordinator(&self.group, CoordinatorKind::Group, deadline).await?;
        *self.known.lock() = Some(found);
        Ok(found)
    }

    /// A connection to it.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] at `deadline`; [`ClientError::Unreachable`].
    pub async fn connection(&self, deadline: Instant) -> Result<Connection> {
        let broker = self.broker(deadline).await?;
        self.cluster.connection(broker, self.lane.lane()).await.inspect_err(|_| self.forget())
    }

    /// It is not the coordinator any more, or does not answer: look again next time.
    pub fn forget(&self) {
        *self.known.lock() = None;
    }

    /// Forgets the coordinator where `error` says so.
    pub(super) fn judge(&self, error: &ClientError) {
        let moved = matches!(error.code(), Some(ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE));
        if moved || (error.code().is_none() && error.is_retriable()) {
            self.forget();
        }
    }

    /// Runs `attempt` on a connection to the coordinator until it succeeds, fails for good, or `deadline` comes.
    ///
    /// # Errors
    /// What `attempt` fails with for good; [`ClientError::Timeout`].
    pub async fn with<T, F>(&self, doing: &str, deadline: Instant, attempt: impl Fn(Connection) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.cluster
            .retry(doing, deadline, async || {
                let connection = self.connection(deadline).await?;
                attempt(connection).await.inspect_err(|error| self.judge(error))
            })
            .await
    }

    /// Commits offsets in the name of `member`.
    ///
    /// # Errors
    /// [`ClientError::CommitFailed`] where the member has been replaced; [`ClientError::Broker`] for one partition's failure;
    /// [`ClientError::Timeout`] at `deadline`.
    pub async fn commit(&self, member: &Member, offsets: &[OffsetToCommit], deadline: Instant) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        self.with("committing offsets", deadline, async |connection| {
            let version = connection.version_of::<OffsetCommitRequest>()?;
            let request = self.commit_request(member, offsets, version);
            let response = connection.send_version(&request, version).await?;
            self.check_commit(&response)
        })
        .await
    }

    fn commit_request(&self, member: &Member, offsets: &[OffsetToCommit], version: i16) -> OffsetCommitRequest {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for offset in offsets {
            topics.entry(&offset.partition.topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: offset.partition.partition,
                committed_offset: offset.offset.0,
                committed_metadata: Some(Str::from(offset.metadata.as_str())),
                ..OffsetCommitRequestPartition::default()
            });
        }
        OffsetCommitRequest {
            group_id: Str::from(self.group.as_str()),
            generation_id_or_member_epoch: member.generation,
            member_id: Str::from(member.id.as_str()),
            // Static membership came with version 7; older brokers go by the member id alone.
            group_instance_id: member.instance_id.as_deref().filter(|_| version >= 7).map(Str::from),
            topics: topics
                .into_iter()
                .map(|(name, partitions)| OffsetCommitRequestTopic { name: Str::from(name), partitions })
                .collect(),
            ..OffsetCommitRequest::default()
        }
    }

    fn check_commit(&self, response: &OffsetCommitResponse) -> Result<()> {
        for topic in &response.topics {
            for partition in &topic.partitions {
                let code = ErrorCode(partition.error_code);
                match code {
                    ErrorCode::NONE => {}
                    ErrorCode::UNKNOWN_MEMBER_ID
                    | ErrorCode::ILLEGAL_GENERATION
                    | ErrorCode::REBALANCE_IN_PROGRESS
                    | ErrorCode::FENCED_INSTANCE_ID => {
                        return Err(ClientError::CommitFailed { group: self.group.clone(), code });
                    }
                    _ => {
                        let about = format!("group {}, {}-{}", self.group, topic.name, partition.partition_index);
                        return Err(ClientError::broker(code, about));
                    }
                }
            }
        }
        Ok(())
    }

    /// Offsets committed for `partitions`, or with `None` for all there are (brokers since 0.10.2). Partitions without one are left out.
    ///
    /// # Errors
    /// [`ClientError::Broker`], [`ClientError::Timeout`] at `deadline`.
    pub async fn committed(
        &self,
        partitions: Option<&[TopicPartition]>,
        deadline: Instant,
    ) -> Result<HashMap<TopicPartition, CommittedOffset>> {
        if partitions.is_some_and(<[_]>::is_empty) {
            return Ok(HashMap::new());
        }
        self.with("fetching committed offsets", deadline, async |connection| {
            let lowest = if partitions.is_none() { 2 } else { 0 };
            let wanted = lowest..=OFFSET_FETCH_VERSION_MAX;
            let version = connection.versions().pick(protocol::api::ApiKey::OffsetFetch, &wanted)?;
            let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for partition in partitions.unwrap_or_default() {
                topics.entry(&partition.topic).or_default().push(partition.partition);
            }
            let topics = topics
                .into_iter()
                .map(|(name, partition_indexes)| OffsetFetchRequestTopic { name: Str::from(name), partition_indexes });
            let request = OffsetFetchRequest {
                group_id: Str::from(self.group.as_str()),
                topics: partitions.is_some().then(|| topics.collect()),
                // A transaction that is being decided may move the offset: Kafka's consumer waits for it (KIP-447).
                require_stable: version >= 7,
                ..OffsetFetchRequest::default()
            };
            let response = connection.send_version(&request, version).await?;
            read_committed(&response, &self.group)
        })
        .await
    }
}

fn read_committed(response: &OffsetFetchResponse, group: &str) -> Result<HashMap<TopicPartition, CommittedOffset>> {
    check_code(response.error_code, || format!("group {group}"))?;
    let mut committed = HashMap::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let name = TopicPartition::new(&*topic.name, partition.partition_index);
            let code = ErrorCode(partition.error_code);
            // Version 0, from ZooKeeper, says so where there is no offset.
            let absent = code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION || partition.committed_offset < 0;
            if !code.is_none() && code != ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
                return Err(ClientError::broker(code, format!("group {group}, {name}")));
            }
            if !absent {
                let offset = CommittedOffset {
                    offset: Offset(partition.committed_offset),
                    leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
                    metadata: partition.metadata.as_deref().unwrap_or_default().to_string(),
                };
                committed.insert(name, offset);
            }
        }
    }
    Ok(committed)
}
