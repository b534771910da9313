//! Shared by the tests: batches, and log managers on temporary directories.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use protocol::records::batch::BatchIter;
use protocol::records::{BatchBuilder, BatchOptions};
use protocol::types::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use runtime::{Clock, Disk};

use crate::append::{AppendInfo, AppendOptions};
use crate::config::{LogConfig, LogManagerConfig};
use crate::error::AppendError;
use crate::log::Log;
use crate::log_manager::{LogManager, RecoveryReport};
use crate::read::ReadLimit;

/// A broker's log directory that goes when the test ends.
pub(crate) struct TestDir {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) config: LogConfig,
}

impl TestDir {
    pub(crate) fn new(config: LogConfig) -> TestDir {
        TestDir { directory: tempfile::tempdir().unwrap(), config }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn manager_config(&self) -> LogManagerConfig {
        let mut config = LogManagerConfig::new(vec![self.path().to_owned()], BrokerId(1));
        config.default_config = self.config.clone();
        config.flusher_threads = 1;
        config
    }

    pub(crate) fn open(&self) -> (LogManager, RecoveryReport) {
        LogManager::open(self.manager_config(), Disk::real(), Clock::real()).unwrap()
    }

    /// The log of partition `t-0`, in a manager of its own.
    pub(crate) fn log(&self) -> (LogManager, Arc<Log>) {
        let (manager, _) = self.open();
        let log = manager.get_or_create(&partition(), None, self.config.clone()).unwrap();
        (manager, log)
    }

    pub(crate) fn log_path(&self, name: &str) -> PathBuf {
        self.path().join("t-0").join(name)
    }
}

/// Ends a manager as a crash would: nothing is written, only the lock goes.
pub(crate) fn crash(manager: LogManager) {
    manager.abandon();
}

pub(crate) fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// A batch with a record for each value.
pub(crate) fn batch(values: &[&str], timestamp: i64) -> Vec<u8> {
    batch_of(BatchOptions::default(), values, timestamp)
}

pub(crate) fn batch_of(options: BatchOptions, values: &[&str], timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder.append(timestamp, None, Some(value.as_bytes()), None).unwrap();
    }
    builder.build().unwrap().to_vec()
}

/// A batch of an idempotent producer.
pub(crate) fn sequenced(producer_id: i64, producer_epoch: i16, base_sequence: i32, values: &[&str]) -> Vec<u8> {
    let options = BatchOptions { producer_id, producer_epoch, base_sequence, ..BatchOptions::default() };
    batch_of(options, values, Clock::real().now_ms())
}

pub(crate) fn append(log: &Log, values: &[&str]) -> AppendInfo {
    append_at(log, values, Clock::real().now_ms())
}

pub(crate) fn append_at(log: &Log, values: &[&str], timestamp: i64) -> AppendInfo {
    try_append(log, &mut batch(values, timestamp)).unwrap()
}

pub(crate) fn try_append(log: &Log, bytes: &mut [u8]) -> Result<AppendInfo, AppendError> {
    log.append_as_leader(bytes, LeaderEpoch(0), AppendOptions::client(Clock::real().now_ms()))
}

/// All records from `offset` on, as offset and value.
pub(crate) fn records_from(log: &Log, offset: i64) -> Vec<(i64, String)> {
    let mut records = Vec::new();
    let mut next = Offset(offset);
    loop {
        let info = log.read(next, 1 << 20, ReadLimit::LogEnd, true).unwrap();
        let Some(slice) = info.slice.clone() else { return records };
        let before = next;
        for (offset, value) in decode(slice.read().unwrap()) {
            if offset >= next.0 {
                next = Offset(offset + 1);
                records.push((offset, value));
            }
        }
        assert!(next > before, "a read from {before} gave only records before it: {info:?}");
    }
}

pub(crate) fn decode(bytes: Bytes) -> Vec<(i64, String)> {
    let mut records = Vec::new();
    for batch in BatchIter::new(bytes) {
        for record in batch.unwrap().records(1 << 20).unwrap() {
            let record = record.unwrap();
            records.push((record.offset.0, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
    }
    records
}

pub(crate) fn values(records: &[(i64, String)]) -> Vec<&str> {
    records.iter().map(|(_, value)| value.as_str()).collect()
}
