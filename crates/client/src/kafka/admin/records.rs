//! Offsets of partitions, deletion of records, log directories.

use std::collections::BTreeMap;

use protocol::error::ErrorCode;
use protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use protocol::messages::describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest};
use protocol::types::{BrokerId, Offset, TopicPartition};
use protocol::wire::Str;

use super::super::cluster::Lane;
use super::super::config::IsolationLevel;
use super::super::consumer::offsets::{ListedOffsets, OffsetSpec, list_offsets};
use super::super::error::{ClientError, Result, check_code};
use super::topics::by_topic;
use super::{Admin, Kind, To};

/// A log directory of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDirDescription {
    /// The broker.
    pub broker: BrokerId,
    /// Its path there.
    pub path: String,
    /// What is wrong with it, or [`ErrorCode::NONE`].
    pub error: ErrorCode,
    /// The replicas in it.
    pub replicas: Vec<ReplicaSize>,
    /// Size of its file system; `None` from brokers before 3.3.
    pub total_bytes: Option<i64>,
    /// Free there; `None` from brokers before 3.3.
    pub usable_bytes: Option<i64>,
}

/// A replica in a log directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSize {
    /// The partition.
    pub partition: TopicPartition,
    /// Bytes on disk.
    pub size: i64,
    /// Records behind the high watermark, or for one being moved behind the one it replaces.
    pub offset_lag: i64,
    /// Whether it is being moved here.
    pub is_future: bool,
}

impl Admin {
    /// Where logs begin and end, or where a time lies; one result per partition.
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
        isolation_level: IsolationLevel,
    ) -> ListedOffsets {
        list_offsets(&self.cluster, wanted, isolation_level, self.cluster.default_deadline()).await
    }

    /// Deletes the records before these offsets; the high watermark, written as offset -1, deletes all. Gives the new first offset of each.
    ///
    /// # Errors
    /// Per partition: OFFSET_OUT_OF_RANGE, POLICY_VIOLATION on compacted topics.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, Offset>,
    ) -> BTreeMap<TopicPartition, Result<Offset>> {
        let mut results = BTreeMap::new();
        for (partition, offset) in before {
            results.insert(partition.clone(), self.delete_records_of(partition, *offset).await);
        }
        results
    }

    async fn delete_records_of(&self, partition: &TopicPartition, before: Offset) -> Result<Offset> {
        let deadline = self.cluster.default_deadline();
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: Str::from(&*partition.topic),
                partitions: vec![DeleteRecordsPartition { partition_index: partition.partition, offset: before.0 }],
            }],
            timeout_ms: self.timeout_ms(),
        };
        // Deleting the same records twice is deleting them once.
        self.cluster
            .retry("deleting records", deadline, async || {
                let topic = self.cluster.topic(&partition.topic, false, deadline).await?;
                let found = topic.partitions.iter().find(|candidate| candidate.partition == partition.partition);
                let unknown = || ClientError::broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, partition.to_string());
                let no_leader = || ClientError::broker(ErrorCode::LEADER_NOT_AVAILABLE, partition.to_string());
                let leader = found.ok_or_else(unknown)?.leader.ok_or_else(no_leader)?;
                let connection = self.cluster.connection(leader, Lane::General).await?;
                let response = connection.send(&request).await?;
                let result = response.topics.first().and_then(|topic| topic.partitions.first());
                let result = result.ok_or_else(|| ClientError::Malformed {
                    what: "DeleteRecords response".to_string(),
                    broker: leader.to_string(),
                    cause: "it has no partition".to_string(),
                })?;
                check_code(result.error_code, || partition.to_string())
                    .inspect_err(|_| self.cluster.forget_topic(&partition.topic))?;
                Ok(Offset(result.low_watermark))
            })
            .await
    }

    /// Log directories of brokers and the replicas in them; `None` for all brokers, and for all replicas.
    ///
    /// # Errors
    /// Where a broker does not answer; [`ClientError::UnsupportedVersion`] from brokers before 1.0.
    pub async fn describe_log_dirs(
        &self,
        brokers: Option<&[BrokerId]>,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Vec<LogDirDescription>> {
        let brokers = match brokers {
            Some(brokers) => brokers.to_vec(),
            None => self.brokers("describeLogDirs").await?,
        };
        let topics = partitions.map(|partitions| {
            let topics = by_topic(partitions).into_iter();
            topics.map(|(topic, partitions)| DescribableLogDirTopic { topic: Str::from(topic), partitions }).collect()
        });
        let request = DescribeLogDirsRequest { topics };
        let mut directories = Vec::new();
        for broker in brokers {
            let response = self
                .call("describeLogDirs", To::Broker(broker), Kind::Question, async |connection| {
                    let response = connection.send(&request).await?;
                    check_code(response.error_code, || format!("broker {broker}"))?;
                    Ok(response)
                })
                .await?;
            for directory in response.results {
                let replicas = directory.topics.iter().flat_map(|topic| {
                    topic.partitions.iter().map(|partition| ReplicaSize {
                        partition: TopicPartition::new(&*topic.name, partition.partition_index),
                        size: partition.partition_size,
                        offset_lag: partition.offset_lag,
                        is_future: partition.is_future_key,
                    })
                });
                directories.push(LogDirDescription {
                    broker,
                    path: directory.log_dir.to_string(),
                    error: ErrorCode(directory.error_code),
                    replicas: replicas.collect(),
                    total_bytes: (directory.total_bytes >= 0).then_some(directory.total_bytes),
                    usable_bytes: (directory.usable_bytes >= 0).then_some(directory.usable_bytes),
                });
            }
        }
        Ok(directories)
    }
}
