//! Reading a partition of `__consumer_offsets` from its beginning to its end.
//!
//! Batches of all formats are read, so a directory that an old broker wrote keeps its groups. A record that cannot be understood is skipped and counted; a log that cannot be
//! read fails the load.

use bytes::Bytes;
use coordinator::Replay;
use protocol::records::batch::ControlMarker;
use protocol::records::message_set::AnyBatchIter;
use protocol::records::{MAX_DECOMPRESSED_BYTES, RecordBatch};
use protocol::types::Offset;
use storage::{Log, ReadError, ReadLimit};
use tracing::warn;

/// Why a partition cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The log refuses to be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk does.
    #[error("read a segment: {0}")]
    Io(#[from] std::io::Error),
    /// There are bytes in the log that no batch begins with.
    #[error("no batch can be read at offset {0}")]
    NoBatch(Offset),
}

/// What was read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The groups, still as records.
    pub replay: Replay,
    /// Records that were read.
    pub records: u64,
    /// Records that could not be understood.
    pub skipped: u64,
}

/// Reads a log in steps of `buffer_bytes`. Blocks on the disk.
///
/// # Errors
/// [`LoadError`].
pub fn load(log: &Log, buffer_bytes: usize) -> Result<Loaded, LoadError> {
    let mut loaded = Loaded::default();
    let mut at = log.log_start_offset();
    while at < log.log_end_offset() {
        let read = match log.read(at, buffer_bytes, ReadLimit::LogEnd, true) {
            // Compaction or DeleteRecords may move the beginning meanwhile.
            Err(ReadError::OffsetOutOfRange { .. }) if at < log.log_start_offset() => {
                at = log.log_start_offset();
                continue;
            }
            read => read?,
        };
        let Some(slice) = read.slice else { break };
        let next = loaded.read_batches(slice.read()?, at);
        if next <= at {
            return Err(LoadError::NoBatch(at));
        }
        at = next;
    }
    Ok(loaded)
}

impl Loaded {
    /// Reads batches, and gives the offset after the last.
    fn read_batches(&mut self, bytes: Bytes, from: Offset) -> Offset {
        let mut next = from;
        for batch in AnyBatchIter::new(bytes, MAX_DECOMPRESSED_BYTES) {
            match batch {
                Ok(batch) => {
                    next = next.max(batch.header.next_offset());
                    self.read_batch(&batch);
                }
                Err(problem) => {
                    self.skipped += 1;
                    warn!(error = %problem, after = %next, "skipping a batch of __consumer_offsets");
                    break;
                }
            }
        }
        next
    }

    fn read_batch(&mut self, batch: &RecordBatch) {
        let header = &batch.header;
        let producer_id = header.is_transactional().then_some(header.producer_id);
        if header.is_control() {
            match batch.control_marker() {
                Ok(Some(ControlMarker::Commit { .. })) => self.replay.end_transaction(header.producer_id, true),
                Ok(Some(ControlMarker::Abort { .. })) => self.replay.end_transaction(header.producer_id, false),
                Ok(_) => {}
                Err(problem) => self.skip(header.base_offset, &problem),
            }
            return;
        }
        let records = match batch.records(MAX_DECOMPRESSED_BYTES) {
            Ok(records) => records,
            Err(problem) => return self.skip(header.base_offset, &problem),
        };
        for record in records {
            let record = match record {
                Ok(record) => record,
                Err(problem) => return self.skip(header.base_offset, &problem),
            };
            self.records += 1;
            let Some(key) = record.key else {
                self.skip(record.offset, &"a record without a key");
                continue;
            };
            if let Err(problem) = self.replay.record(record.offset.0, key, record.value, producer_id) {
                self.skip(record.offset, &problem);
            }
        }
    }

    fn skip(&mut self, offset: Offset, problem: &dyn std::fmt::Display) {
        /// Further ones are only counted.
        const SKIPS_TOLD_MAX: u64 = 10;
        self.skipped += 1;
        if self.skipped <= SKIPS_TOLD_MAX {
            warn!(%offset, %problem, "skipping a record of __consumer_offsets");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coordinator::record::{OffsetValue, offset_key};
    use coordinator::{GroupConfig, Groups, Now};
    use protocol::records::{BatchBuilder, BatchOptions};

    use super::*;

    fn offset(builder: &mut BatchBuilder, partition: i32, offset: i64) {
        let value =
            OffsetValue { offset, leader_epoch: -1, metadata: "".into(), commit_timestamp: 0, expire_timestamp: None };
        let (key, value) = (offset_key("g", "t", partition).unwrap(), value.encode().unwrap());
        builder.append(0, Some(&key), Some(&value), None).unwrap();
    }

    fn batch(options: BatchOptions, fill: impl FnOnce(&mut BatchBuilder)) -> Bytes {
        let mut builder = BatchBuilder::new(options);
        fill(&mut builder);
        builder.build().unwrap()
    }

    /// The offsets of partitions 0 to 3 after reading the batches, with what was skipped.
    fn read(batches: &[Bytes]) -> (Vec<i64>, u64) {
        let mut loaded = Loaded::default();
        let next = loaded.read_batches(Bytes::from(batches.concat()), Offset(0));
        assert!(next > Offset(0));
        let skipped = loaded.skipped;
        let config = Arc::new(GroupConfig::default());
        let groups = Groups::load(0, config, loaded.replay, Now::default(), &mut Vec::new());
        let fetched = groups.fetch_offsets("g", None, false);
        let found = |partition: i32| {
            let mut all = fetched.topics.iter().flat_map(|topic| &topic.partitions);
            all.find(|found| found.partition_index == partition).map_or(-1, |found| found.committed_offset)
        };
        ((0..4).map(found).collect(), skipped)
    }

    #[test]
    fn later_records_win_and_what_is_not_understood_is_skipped() {
        let at = |base_offset: i64| BatchOptions { base_offset: Offset(base_offset), ..BatchOptions::default() };
        let first = batch(at(0), |builder| {
            offset(builder, 0, 10);
            offset(builder, 1, 11);
        });
        let second = batch(at(2), |builder| {
            builder.append(0, None, Some(b"no key"), None).unwrap();
            builder.append(0, Some(&[0, 1, 9]), Some(b"damaged"), None).unwrap();
            offset(builder, 0, 20);
        });
        assert_eq!(read(&[first, second]), (vec![20, 11, -1, -1], 2));
    }

    #[test]
    fn transactions_count_by_their_markers() {
        let of = |producer_id: i64, base_offset: i64, is_control: bool| BatchOptions {
            base_offset: Offset(base_offset),
            producer_id,
            producer_epoch: 0,
            is_transactional: true,
            is_control,
            ..BatchOptions::default()
        };
        let marker = |producer_id: i64, at: i64, marker: ControlMarker| {
            batch(of(producer_id, at, true), |builder| {
                builder.append_marker(0, marker).unwrap();
            })
        };
        let batches = [
            batch(of(1, 0, false), |builder| offset(builder, 0, 10)),
            batch(of(2, 1, false), |builder| offset(builder, 1, 11)),
            batch(of(3, 2, false), |builder| offset(builder, 2, 12)),
            marker(1, 3, ControlMarker::Commit { coordinator_epoch: 0 }),
            marker(2, 4, ControlMarker::Abort { coordinator_epoch: 0 }),
        ];
        assert_eq!(read(&batches), (vec![10, -1, -1, -1], 0));
    }
}
