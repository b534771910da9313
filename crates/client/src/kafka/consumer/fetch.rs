//! One Fetch request and what came of it, partition by partition. Who asks for what, and what follows from an error, is decided elsewhere.

use std::sync::Arc;
use std::time::Duration;

use protocol::error::ErrorCode;
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use protocol::types::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use protocol::wire::Str;

use super::super::config::{ConsumerConfig, IsolationLevel};
use super::super::connection::Connection;
use super::super::error::{ClientError, Result, check_code};
use super::block::{self, BlockParts, FetchedBlock};

/// Highest version used: from 13 on topics are named by id only, which a cluster of older brokers does not have.
const VERSION_MAX: i16 = 12;

/// Last version in which a broker cuts a batch that does not fit.
pub(super) const VERSION_MAX_CUTTING: i16 = 2;

/// What is wanted of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchWish {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// From where on.
    pub offset: Offset,
    /// The leadership we believe in; a broker that knows better refuses (KIP-320).
    pub leader_epoch: LeaderEpoch,
    /// Bytes at most, except that one batch always comes (from Fetch v3 on).
    pub bytes_max: i32,
}

/// How a fetch waits and what it may see.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// `fetch.max.wait.ms`.
    pub wait_max: Duration,
    /// `fetch.min.bytes`.
    pub bytes_min: i32,
    /// `fetch.max.bytes` of the whole response.
    pub bytes_max: i32,
    /// `isolation.level`.
    pub isolation_level: IsolationLevel,
    /// `client.rack`.
    pub rack: String,
    /// `check.crcs`.
    pub check_crcs: bool,
    /// `request.timeout.ms`, on top of `wait_max`.
    pub request_timeout: Duration,
}

impl From<&ConsumerConfig> for FetchOptions {
    fn from(config: &ConsumerConfig) -> FetchOptions {
        FetchOptions {
            wait_max: config.fetch_max_wait,
            bytes_min: config.fetch_min_bytes,
            bytes_max: config.fetch_max_bytes,
            isolation_level: config.isolation_level,
            rack: config.client_rack.clone(),
            check_crcs: config.check_crcs,
            request_timeout: config.client.request_timeout,
        }
    }
}

/// What came of one wish.
#[derive(Debug)]
pub struct PartitionFetch {
    /// The wish.
    pub wish: FetchWish,
    /// The records, perhaps none, or what the broker said instead.
    pub outcome: Result<FetchedBlock, ErrorCode>,
    /// A replica nearer by, which the broker wants to be asked instead (KIP-392).
    pub preferred_replica: Option<BrokerId>,
    /// First offset of the log, where the broker says.
    pub log_start_offset: Option<Offset>,
    /// Version of Fetch that was used.
    pub version: i16,
}

/// Sends one Fetch to one broker. Every wish has one result; a partition that the broker passed over has an empty block.
///
/// # Errors
/// Of the request as a whole. [`ClientError::Malformed`] where records cannot even be told apart.
pub async fn fetch(
    connection: &Connection,
    wishes: Vec<FetchWish>,
    options: &FetchOptions,
) -> Result<Vec<PartitionFetch>> {
    let version = connection.version_of::<FetchRequest>()?.min(VERSION_MAX);
    let request = request(&wishes, options);
    let limit = options.wait_max + options.request_timeout;
    let response = connection.send_version_within(&request, version, limit).await?;
    check_code(response.error_code, || "Fetch".to_string())?;

    let mut answers = std::collections::HashMap::new();
    for topic in response.responses {
        let name: Arc<str> = Arc::from(&*topic.topic);
        for data in topic.partitions {
            answers.insert(TopicPartition { topic: name.clone(), partition: data.partition_index }, data);
        }
    }
    wishes
        .into_iter()
        .map(|wish| {
            let data = answers
                .remove(&wish.topic_partition)
                .unwrap_or_else(|| PartitionData { high_watermark: wish.offset.0, ..PartitionData::default() });
            read(wish, data, options, version)
        })
        .collect()
}

fn request(wishes: &[FetchWish], options: &FetchOptions) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for wish in wishes {
        let partition = FetchPartition {
            partition: wish.topic_partition.partition,
            current_leader_epoch: wish.leader_epoch.0,
            fetch_offset: wish.offset.0,
            partition_max_bytes: wish.bytes_max,
            ..FetchPartition::default()
        };
        match topics.last_mut() {
            Some(last) if *last.topic == *wish.topic_partition.topic => last.partitions.push(partition),
            _ => topics.push(FetchTopic {
                topic: Str::from(&*wish.topic_partition.topic),
                partitions: vec![partition],
                ..FetchTopic::default()
            }),
        }
    }
    FetchRequest {
        max_wait_ms: i32::try_from(options.wait_max.as_millis()).unwrap_or(i32::MAX),
        min_bytes: options.bytes_min,
        max_bytes: options.bytes_max,
        isolation_level: match options.isolation_level {
            IsolationLevel::ReadUncommitted => 0,
            IsolationLevel::ReadCommitted => 1,
        },
        topics,
        rack_id: Str::from(options.rack.as_str()),
        ..FetchRequest::default()
    }
}

fn read(wish: FetchWish, data: PartitionData, options: &FetchOptions, version: i16) -> Result<PartitionFetch> {
    let log_start_offset = (data.log_start_offset >= 0).then_some(Offset(data.log_start_offset));
    let preferred_replica = (data.preferred_read_replica >= 0).then_some(BrokerId(data.preferred_read_replica));
    let outcome = match ErrorCode(data.error_code).ok() {
        Err(code) => Err(code),
        Ok(()) => {
            let stable = if data.last_stable_offset >= 0 { data.last_stable_offset } else { data.high_watermark };
            let aborted = match options.isolation_level {
                IsolationLevel::ReadCommitted => data.aborted_transactions.unwrap_or_default(),
                IsolationLevel::ReadUncommitted => Vec::new(),
            };
            let block = FetchedBlock::new(BlockParts {
                topic_partition: wish.topic_partition.clone(),
                fetch_offset: wish.offset,
                high_watermark: Offset(data.high_watermark),
                last_stable_offset: Offset(stable),
                log_start_offset: Offset(data.log_start_offset),
                bytes: data.records.into_bytes(),
                aborted,
                check_crcs: options.check_crcs,
            });
            Ok(block.map_err(|error| block::malformed(&wish.topic_partition, &error))?)
        }
    };
    Ok(PartitionFetch { wish, outcome, preferred_replica, log_start_offset, version })
}

/// How long to hold on to a partition whose fetch failed, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchTrouble {
    /// Leadership is elsewhere, or not settled: ask for metadata, then again.
    Metadata,
    /// The position is outside the log.
    OutOfRange,
    /// Again a little later.
    Retry,
    /// Somebody must be told.
    Fatal,
}

/// What a partition's error code means for a consumer (Kafka `FetchCollector.handleInitializeErrors`).
pub(super) fn judge(code: ErrorCode) -> FetchTrouble {
    match code {
        ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::REPLICA_NOT_AVAILABLE
        | ErrorCode::LEADER_NOT_AVAILABLE
        | ErrorCode::KAFKA_STORAGE_ERROR
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::UNKNOWN_LEADER_EPOCH
        | ErrorCode::OFFSET_NOT_AVAILABLE
        | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::INCONSISTENT_TOPIC_ID => FetchTrouble::Metadata,
        ErrorCode::OFFSET_OUT_OF_RANGE => FetchTrouble::OutOfRange,
        // A broker older than 0.10 says -1 for what it did not expect; Kafka's consumer tries again, and so do we.
        ErrorCode::UNKNOWN_SERVER_ERROR => FetchTrouble::Retry,
        code if code.is_retriable() => FetchTrouble::Retry,
        _ => FetchTrouble::Fatal,
    }
}

/// The error a code is to the caller.
pub(super) fn fatal(code: ErrorCode, partition: &TopicPartition) -> ClientError {
    ClientError::broker(code, partition.to_string())
}
