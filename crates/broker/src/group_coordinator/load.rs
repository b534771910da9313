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
