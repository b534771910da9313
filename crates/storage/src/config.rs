//! Settings of one log, under Kafka's topic-level names, and of all logs together.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::records::TimestampType;
use protocol::types::BrokerId;

use crate::progress::RecoveryProgress;

/// Settings of one log. The defaults are Kafka 3.9's.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment that would grow beyond it is rolled.
    pub segment_bytes: u32,
    /// `segment.ms`: age (by timestamps of records) at which a segment is rolled.
    pub segment_ms: i64,
    /// `segment.index.bytes`: bound of each index file; a segment whose index is full is rolled.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: bytes of log between two index entries.
    pub index_interval_bytes: u32,
    /// `retention.ms`; -1 keeps for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; -1 is no bound.
    pub retention_bytes: i64,
    /// `max.message.bytes`: longest batch taken from a producer.
    pub max_message_bytes: u32,
    /// `flush.messages`: records after which the log is synced; `i64::MAX` leaves it to the operating system.
    pub flush_messages: i64,
    /// `flush.ms`: time after which unsynced records are synced; `i64::MAX` leaves it to the operating system.
    pub flush_ms: i64,
    /// `file.delete.delay.ms`: time between taking a file out of use and removing it.
    pub file_delete_delay_ms: i64,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far before now a record's timestamp may lie; `i64::MAX` is no bound.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far after now a record's timestamp may lie; `i64::MAX` is no bound.
    pub message_timestamp_after_max_ms: i64,
    /// Whether `cleanup.policy` holds `delete`: only then does retention remove segments.
    pub delete: bool,
    /// Whether `cleanup.policy` holds `compact`: only then does the cleaner touch the log.
    pub compact: bool,
    /// `min.cleanable.dirty.ratio`: share of dirty bytes at which the log is cleaned.
    pub min_cleanable_ratio: f64,
    /// `delete.retention.ms`: how long the cleaner keeps a tombstone after it first met it.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: age below which a record is not cleaned.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: age at which a record is cleaned whatever the share of dirty bytes; `i64::MAX` is never.
    pub max_compaction_lag_ms: i64,
    /// `producer.id.expiration.ms`: a producer silent for longer is forgotten.
    pub producer_id_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3600 * 1000,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: 7 * 24 * 3600 * 1000,
            retention_bytes: -1,
            max_message_bytes: 1_048_588,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            file_delete_delay_ms: 60_000,
            message_timestamp_type: TimestampType::CreateTime,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: i64::MAX,
            delete: true,
            compact: false,
            min_cleanable_ratio: 0.5,
            delete_retention_ms: 24 * 3600 * 1000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            producer_id_expiration_ms: 24 * 3600 * 1000,
        }
    }
}

/// Settings of all logs of a broker.
#[derive(Debug, Clone)]
pub struct LogManagerConfig {
    /// `log.dirs`, in the order configured.
    pub dirs: Vec<PathBuf>,
    /// `broker.id`, written to `meta.properties` and checked against it.
    pub broker_id: BrokerId,
    /// Id of the cluster (`/cluster/id`), where it is known already.
    pub cluster_id: Option<String>,
    /// Settings of a topic that has none of its own.
    pub default_config: LogConfig,
    /// Settings of topics that have their own, known before the logs are loaded.
    pub topic_configs: HashMap<Arc<str>, LogConfig>,
    /// `num.recovery.threads.per.data.dir`.
    pub recovery_threads_per_dir: usize,
    /// Threads that sync logs. With none, nobody syncs until [`crate::Flusher::run_queued`]: for simulations.
    pub flusher_threads: usize,
    /// File handles kept open for logs that are not being written; the least recently used are closed first.
    pub open_files_max: usize,
    /// Told how far the start is.
    pub progress: Arc<RecoveryProgress>,
}

impl LogManagerConfig {
    /// Kafka's defaults for these directories.
    #[must_use]
    pub fn new(dirs: Vec<PathBuf>, broker_id: BrokerId) -> LogManagerConfig {
        LogManagerConfig {
            dirs,
            broker_id,
            cluster_id: None,
            default_config: LogConfig::default(),
            topic_configs: HashMap::new(),
            recovery_threads_per_dir: 2,
            flusher_threads: 4,
            open_files_max: 1024,
            progress: Arc::default(),
        }
    }
}
