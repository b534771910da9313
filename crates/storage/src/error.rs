//! What can go wrong with a log, by what the caller can do next.
//!
//! [`StorageError`] is trouble with disk or files: the partition cannot be served (Kafka's error 56) and a person must look. [`AppendError`]
//! and [`ReadError`] are answers to one request; each names the Kafka error code that the client is told.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::types::{Offset, TopicPartition, Uuid};

/// Result of an operation on the disk.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// Trouble with a log directory or a file in it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// The file system refused an operation.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the file system said.
        source: Arc<io::Error>,
    },
    /// The file system is full. The log is as it was before; the same operation succeeds once there is room.
    #[error("no space left in {}: {action}", dir.display())]
    NoSpace {
        /// The log directory.
        dir: PathBuf,
        /// What was tried, as a verb phrase.
        action: &'static str,
    },
    /// An earlier write or sync in this log directory failed, so nothing in it is trusted until a restart has checked it.
    #[error("log directory {} is offline: {cause}", dir.display())]
    DirOffline {
        /// The log directory.
        dir: PathBuf,
        /// The first failure.
        cause: Arc<str>,
    },
    /// Bytes that were promised to last are damaged or gone.
    #[error("{} is damaged at byte {position}: {why}; the log is left as it is", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged batch begins.
        position: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A checkpoint file does not hold what it should.
    #[error("{}, line {line}: {why}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it, and the way out.
        why: String,
    },
    /// Another broker uses the directory (Kafka's own text).
    #[error("Failed to acquire lock on file .lock in {}. A Kafka instance in another process or thread is using this directory.{}",
            dir.display(), holder.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked {
        /// The log directory.
        dir: PathBuf,
        /// Process id in the lock file, where there is one.
        holder: Option<u32>,
    },
    /// The directory belongs to another broker (Kafka's own text).
    #[error("Stored node id {stored} doesn't match previous node id {configured} in {}. If you moved your data, make sure your configured node id matches. If you intend to create a new node, you should remove all data in your data directories.", dir.display())]
    BrokerIdMismatch {
        /// The log directory.
        dir: PathBuf,
        /// `broker.id` in `meta.properties`.
        stored: i32,
        /// `broker.id` of this broker.
        configured: i32,
    },
    /// The directory belongs to another cluster (Kafka's own text).
    #[error("Invalid cluster.id in: {}. Expected {expected}, but read {stored}", path.display())]
    ClusterIdMismatch {
        /// The `meta.properties` file.
        path: PathBuf,
        /// Id of the cluster this broker joins.
        expected: String,
        /// Id in the file.
        stored: String,
    },
    /// `partition.metadata` names another topic id than the cluster does: the topic was deleted and created again (error 103).
    #[error("{partition} in {} has topic id {stored}, not {expected}", dir.display())]
    TopicIdMismatch {
        /// The partition.
        partition: TopicPartition,
        /// Its directory.
        dir: PathBuf,
        /// Id in `partition.metadata`.
        stored: Uuid,
        /// Id asked for.
        expected: Uuid,
    },
    /// The log was closed or deleted while the caller held it.
    #[error("the log of {partition} is closed")]
    Closed {
        /// The partition.
        partition: TopicPartition,
    },
    /// Two log directories hold the same partition (Kafka's own text).
    #[error("Duplicate log directories found: {}, {}. They both belong to {partition}; keep the one that is right", first.display(), second.display())]
    Duplicate {
        /// The partition.
        partition: TopicPartition,
        /// Directory loaded.
        first: PathBuf,
        /// Directory left alone.
        second: PathBuf,
    },
    /// A partition cannot be named so in a directory.
    #[error("{partition} cannot be the name of a directory")]
    BadName {
        /// The partition.
        partition: TopicPartition,
    },
    /// The log was cut below an offset that a caller waited for: this broker no longer leads the partition (error 6).
    #[error("the log of {partition} was cut below offset {offset}")]
    Cut {
        /// The partition.
        partition: TopicPartition,
        /// The offset waited for.
        offset: Offset,
    },
    /// No log directory is left to hold a new partition.
    #[error("no log directory is online")]
    NoDirOnline,
    /// More callers wait for one log to be synced than [`crate::flusher::WAITERS_MAX`].
    #[error("too many requests wait for {partition} to be synced")]
    TooManyWaiters {
        /// The partition.
        partition: TopicPartition,
    },
}

impl StorageError {
    /// Describes a failed call on `path`.
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> StorageError {
        StorageError::Io { action, path: path.to_owned(), source: Arc::new(source) }
    }

    /// Whether a read by [`crate::reach::Reach::Memory`] met what only the disk has.
    pub(crate) fn needs_disk(&self) -> bool {
        matches!(self, StorageError::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the log directory itself is the trouble: it has said so, once for all requests that meet it.
    #[must_use]
    pub fn is_of_directory(&self) -> bool {
        matches!(self, StorageError::DirOffline { .. } | StorageError::NoSpace { .. })
    }

    /// Kafka's error code for the client: 103 (INCONSISTENT_TOPIC_ID), 6 (NOT_LEADER_OR_FOLLOWER) or 56 (KAFKA_STORAGE_ERROR).
    #[must_use]
    pub fn code(&self) -> i16 {
        match self {
            StorageError::TopicIdMismatch { .. } => 103,
            StorageError::Cut { .. } => 6,
            _ => 56,
        }
    }
}

/// Why batches were not appended. Nothing was written then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// A checksum or length is wrong (2).
    #[error("{0}")]
    CorruptMessage(String),
    /// A batch is longer than `max.message.bytes` (10).
    #[error(
        "The record batch size in the append to {partition} is {size} bytes which exceeds the maximum configured value of {max}."
    )]
    RecordTooLarge {
        /// The partition.
        partition: TopicPartition,
        /// Bytes of the batch.
        size: usize,
        /// `max.message.bytes`.
        max: usize,
    },
    /// The batches together are longer than a segment (18).
    #[error(
        "Message batch size is {size} bytes in append to partition {partition} which exceeds the maximum configured segment size of {max}."
    )]
    RecordListTooLarge {
        /// The partition.
        partition: TopicPartition,
        /// Bytes of all batches.
        size: usize,
        /// `segment.bytes`.
        max: usize,
    },
    /// A timestamp is further from now than the topic allows (32).
    #[error("{0}")]
    InvalidTimestamp(String),
    /// A sequence number is not the one after the producer's last (45).
    #[error(
        "Out of order sequence number for producer {producer_id} at offset {offset} in partition {partition}: {sequence} (incoming seq. number), {last} (current end sequence number)"
    )]
    OutOfOrderSequence {
        /// The partition.
        partition: TopicPartition,
        /// The producer.
        producer_id: i64,
        /// Offset the batch would have had.
        offset: Offset,
        /// First sequence number of the batch.
        sequence: i32,
        /// Last sequence number stored.
        last: i32,
    },
    /// The producer was fenced by a later instance of itself (47).
    #[error(
        "Epoch of producer {producer_id} at offset {offset} in {partition} is {epoch}, which is smaller than the last seen epoch {current}"
    )]
    InvalidProducerEpoch {
        /// The partition.
        partition: TopicPartition,
        /// The producer.
        producer_id: i64,
        /// Offset the batch would have had.
        offset: Offset,
        /// Epoch of the batch.
        epoch: i16,
        /// Epoch stored.
        current: i16,
    },
    /// A field of the batch cannot be (87).
    #[error("{0}")]
    InvalidRecord(String),
    /// A follower was given batches that do not continue its log (1): it must ask its leader where they part.
    #[error("batches from offset {first} do not continue the log of {partition}, which ends at {log_end}")]
    OffsetsDoNotContinue {
        /// The partition.
        partition: TopicPartition,
        /// First offset given.
        first: Offset,
        /// End of the log.
        log_end: Offset,
    },
    /// The disk (56).
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl AppendError {
    /// Kafka's error code for the producer.
    #[must_use]
    pub fn code(&self) -> i16 {
        match self {
            AppendError::CorruptMessage(_) => 2,
            AppendError::RecordTooLarge { .. } => 10,
            AppendError::RecordListTooLarge { .. } => 18,
            AppendError::InvalidTimestamp(_) => 32,
            AppendError::OutOfOrderSequence { .. } => 45,
            AppendError::InvalidProducerEpoch { .. } => 47,
            AppendError::InvalidRecord(_) => 87,
            AppendError::OffsetsDoNotContinue { .. } => 1,
            AppendError::Storage(storage) => storage.code(),
        }
    }
}

/// Why nothing could be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The offset is before the first record kept or after the log's end (1).
    #[error(
        "Received request for offset {offset} for partition {partition}, but we only have log segments upto {log_end} starting from offset {log_start}."
    )]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// Offset asked for.
        offset: Offset,
        /// First offset kept.
        log_start: Offset,
        /// Offset the next record gets.
        log_end: Offset,
    },
    /// The disk (56), or the batch at the offset is damaged (2).
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ReadError {
    /// Kafka's error code for the consumer.
    #[must_use]
    pub fn code(&self) -> i16 {
        match self {
            ReadError::OffsetOutOfRange { .. } => 1,
            ReadError::Storage(StorageError::Damaged { .. }) => 2,
            ReadError::Storage(storage) => storage.code(),
        }
    }
}
