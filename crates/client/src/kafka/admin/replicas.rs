//! What each replica of a partition holds, asked of the brokers one by one.

use std::time::Duration;

use bytes::Bytes;
use protocol::error::ErrorCode;
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::types::{BrokerId, Offset, TopicPartition};
use protocol::wire::Str;

use super::super::cluster::Lane;
use super::super::error::{Result, check_code};
use super::Admin;

/// `replica_id` of a reader that any replica answers, not the leader alone (`Request.DebuggingConsumerId`).
const DEBUGGING_CONSUMER: i32 = -2;
/// Highest version used: from 13 on topics are named by id only.
const VERSION_MAX: i16 = 12;

/// A part of one replica's log, below the replica's own high watermark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaBytes {
    /// The high watermark as this replica knows it; a follower learns of it one fetch later than its leader.
    pub high_watermark: Offset,
    /// First offset of its log; `None` where the broker is too old to say.
    pub log_start_offset: Option<Offset>,
    /// Batches as they are stored, from the one that holds the offset asked for; the last one may be cut.
    pub bytes: Bytes,
}

/// Partitions with what was read of each, or what the broker said instead.
pub type ReplicasRead = Vec<(TopicPartition, std::result::Result<ReplicaBytes, ErrorCode>)>;

impl Admin {
    /// Reads one broker's own replicas, whether it leads or follows, from the given offsets: at most `bytes_max` of each, unless the first batch is larger. One attempt.
    /// Waits up to `wait` for anything to come. A partition that the broker passed over is left out.
    ///
    /// # Errors
    /// Of the request as a whole, and where the broker is not reached.
    pub async fn read_replicas(
        &self,
        broker: BrokerId,
        wanted: &[(TopicPartition, Offset)],
        bytes_max: i32,
        wait: Duration,
    ) -> Result<ReplicasRead> {
        let connection = self.cluster.connection(broker, Lane::General).await?;
        let version = connection.version_of::<FetchRequest>()?.min(VERSION_MAX);
        let mut topics: Vec<FetchTopic> = Vec::new();
        for (partition, offset) in wanted {
            let entry = FetchPartition {
                partition: partition.partition,
                fetch_offset: offset.0,
                partition_max_bytes: bytes_max,
                ..FetchPartition::default()
            };
            match topics.last_mut() {
                Some(last) if *last.topic == *partition.topic => last.partitions.push(entry),
                _ => {
                    let topic = Str::from(&*partition.topic);
                    topics.push(FetchTopic { topic, partitions: vec![entry], ..FetchTopic::default() });
                }
            }
        }
        let request = FetchRequest {
            replica_id: DEBUGGING_CONSUMER,
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            topics,
            ..FetchRequest::default()
        };
        let limit = wait + self.cluster.config().request_timeout;
        let response = connection.send_version_within(&request, version, limit).await?;
        check_code(response.error_code, || "Fetch".to_string())?;
        let mut read = ReplicasRead::new();
        for topic in response.responses {
            for data in topic.partitions {
                let partition = TopicPartition::new(&*topic.topic, data.partition_index);
                let outcome = ErrorCode(data.error_code).ok().map(|()| ReplicaBytes {
                    high_watermark: Offset(data.high_watermark),
                    log_start_offset: (data.log_start_offset >= 0).then_some(Offset(data.log_start_offset)),
                    bytes: data.records.into_bytes(),
                });
                read.push((partition, outcome));
            }
        }
        Ok(read)
    }
}
