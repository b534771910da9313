//! The timestamps of a segment, held against its batches before records are deleted or passed over by them.

use std::sync::atomic::Ordering;

use protocol::records::NO_TIMESTAMP;

use crate::entry::{EntryScanner, SCAN_WINDOW_BYTES, ScanError};
use crate::error::Result;
use crate::segment::Segment;
use crate::time_index::TimeEntry;

impl Segment {
    /// Holds the largest timestamp, which a start takes from the last entry of the time index, against the batch it names. Where the two differ, or there is no entry, the whole
    /// segment is looked through. Once for each start.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn check_times(&self) -> Result<()> {
        if self.times_checked.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.time_index.last() {
            Some(last) if !self.fits(&last)? => {
                let found = self.largest_of_batches(last.timestamp)?;
                let mut end = self.end.lock();
                (end.max_timestamp, end.offset_of_max_timestamp) = found;
                drop(end);
                self.note_wrong_index();
                tracing::warn!(
                    file = %self.time_index.file().path().display(), timestamp = last.timestamp, offset = last.offset,
                    largest = found.0, "the last entry of a time index does not fit the log; the batches' own timestamps count"
                );
            }
            // Old messages carry no timestamps; else an index without entries has lost them.
            None if self.size() > 0 => {
                let found = self.largest_of_batches(NO_TIMESTAMP)?;
                let mut end = self.end.lock();
                // What is appended meanwhile may be later.
                if found.0 > end.max_timestamp {
                    (end.max_timestamp, end.offset_of_max_timestamp) = found;
                }
                drop(end);
                if found.0 != NO_TIMESTAMP {
                    self.note_wrong_index();
                }
            }
            _ => {}
        }
        self.times_checked.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether the batch that an entry of the time index names carries its timestamp.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn fits(&self, entry: &TimeEntry) -> Result<bool> {
        use crate::error::StorageError;
        match self.locate(entry.offset, &self.end()) {
            Ok(found) => Ok(found.is_some_and(|found| {
                let holds = found.batch.is_none_or(|batch| batch.base_offset.0 <= entry.offset);
                holds && found.max_timestamp == entry.timestamp
            })),
            Err(StorageError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Largest timestamp and its last offset, of intact batches. Where damage ends the walk, the index and the time the file was last written stand for what is behind it:
    /// no record is thought older than it is.
    fn largest_of_batches(&self, indexed: i64) -> Result<(i64, i64)> {
        let mut largest = (NO_TIMESTAMP, self.base_offset());
        let mut scanner = EntryScanner::new(self.read_file()?, 0, self.size(), SCAN_WINDOW_BYTES);
        loop {
            match scanner.next_checked() {
                Ok(Some(entry)) if entry.max_timestamp > largest.0 => {
                    largest = (entry.max_timestamp, entry.last_offset)
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(largest),
                Err(ScanError::Damaged { .. }) => {
                    return Ok((largest.0.max(indexed).max(self.modified_ms().unwrap_or(i64::MAX)), largest.1));
                }
                Err(error) => return Err(self.scan_error(error)),
            }
        }
    }
}
