//! Walks over a segment: to build its indexes anew, to find its end, to cut it.

use std::sync::atomic::Ordering;

use crate::config::LogConfig;
use crate::entry::{Entry, EntryScanner, LOOKUP_WINDOW_BYTES, SCAN_WINDOW_BYTES, ScanError};
use crate::error::{Result, StorageError};
use crate::offset_index::OffsetEntry;
use crate::reach::Reach;
use crate::segment::{Added, End, Segment};
use crate::time_index::TimeEntry;

/// What a walk over a whole segment found.
#[derive(Debug)]
pub struct Walked {
    /// Bytes of intact entries.
    pub valid_bytes: u64,
    /// The first damage, where there is any.
    pub damage: Option<(u64, String)>,
}

impl Segment {
    /// Walks over all entries and builds both indexes anew. `visit` sees every intact entry. With `check_crc` each CRC is computed. The end
    /// of the segment becomes the first damage, or the end of the file; nothing is cut.
    ///
    /// # Errors
    /// What the file system says, or `visit`.
    pub fn walk(
        &self,
        check_crc: bool,
        config: &LogConfig,
        mut visit: impl FnMut(&Entry, &mut EntryScanner) -> Result<()>,
    ) -> Result<Walked> {
        let file = self.read_file()?;
        let length = file.len().map_err(|error| self.read_error("read", error))?;
        let failed = |error| self.dir.log_dir().write_failed("write index of", &self.log.path(), error);
        self.offset_index.truncate_to(i64::MIN).map_err(failed)?;
        self.time_index.truncate_to(i64::MIN).map_err(failed)?;
        let window = if check_crc { SCAN_WINDOW_BYTES } else { LOOKUP_WINDOW_BYTES };
        let mut scanner = EntryScanner::new(file, 0, length, window);
        let mut end = End::empty(self.base_offset);
        let mut last_indexed = 0;
        // The end before the last entry, where that left a gap, and its last offset.
        let mut before: Option<(End, i64)> = None;
        let damage = loop {
            let next = if check_crc { scanner.next_checked() } else { scanner.next_entry() };
            let entry = match next {
                Ok(Some(entry)) => entry,
                Ok(None) => break None,
                Err(ScanError::Io(error)) => return Err(self.read_error("read", error)),
                Err(ScanError::Damaged { position, why }) => break Some((position, why)),
            };
            if entry.base_offset < end.next_offset || self.offset_too_far(entry.last_offset) {
                // Of two entries that overlap the one is wrong that does not begin where the one before it ended.
                if let Some((before, leapt)) = before
                    && entry.base_offset < end.next_offset
                {
                    end = before;
                    self.offset_index.truncate_to(end.next_offset).map_err(failed)?;
                    self.time_index.truncate_to(end.next_offset).map_err(failed)?;
                    break Some((
                        end.size,
                        format!("offset {leapt} is not before {}, which comes next", entry.base_offset),
                    ));
                }
                let why = format!("offset {} does not follow {}", entry.base_offset, end.next_offset - 1);
                break Some((entry.position, why));
            }
            before =
                entry.batch.filter(|batch| batch.base_offset.0 > end.next_offset).map(|_| (end, entry.last_offset));
            end.note_timestamps(&Added::from(&entry));
            if entry.position - last_indexed > u64::from(config.index_interval_bytes) {
                self.offset_index.append(entry.last_offset, entry.position as u32).map_err(failed)?;
                self.time_index.maybe_append(end.max_timestamp, end.offset_of_max_timestamp).map_err(failed)?;
                last_indexed = entry.position;
            }
            end.size = entry.end();
            end.next_offset = entry.next_offset();
            end.bytes_since_index = end.size - last_indexed;
            visit(&entry, &mut scanner)?;
        };
        self.time_index.maybe_append(end.max_timestamp, end.offset_of_max_timestamp).map_err(failed)?;
        let valid_bytes = end.size;
        *self.end.lock() = end;
        self.times_checked.store(check_crc, Ordering::Release);
        if check_crc {
            self.checked.note_all();
        }
        Ok(Walked { valid_bytes, damage })
    }

    /// Builds the indexes of a closed segment anew where one was found not to fit the log. A log that is itself damaged keeps the indexes it has: they lead past the damage.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn mend_indexes(&self, config: &LogConfig) -> Result<()> {
        if !self.index_is_wrong.load(Ordering::Acquire) {
            return Ok(());
        }
        let end = self.end();
        let mut scanner = self.scanner(Reach::Disk, 0, end.size)?;
        let (mut offsets, mut times) = (Vec::new(), Vec::new());
        let mut seen = End::empty(self.base_offset);
        let mut last_indexed = 0;
        let note_time = |times: &mut Vec<TimeEntry>, seen: &End| {
            let entry = TimeEntry { timestamp: seen.max_timestamp, offset: seen.offset_of_max_timestamp };
            if entry.timestamp >= 0 && times.last().is_none_or(|last| last.timestamp < entry.timestamp) {
                times.push(entry);
            }
        };
        while scanner.position() < end.size {
            let entry = match scanner.next_entry() {
                Ok(Some(entry)) if entry.base_offset >= seen.next_offset && !self.offset_too_far(entry.last_offset) => {
                    entry
                }
                Err(ScanError::Io(error)) => return Err(self.read_error("read", error)),
                _ => return Ok(()),
            };
            seen.note_timestamps(&Added::from(&entry));
            if entry.position - last_indexed > u64::from(config.index_interval_bytes) {
                offsets.push(OffsetEntry { offset: entry.last_offset, position: entry.position as u32 });
                note_time(&mut times, &seen);
                last_indexed = entry.position;
            }
            seen.next_offset = entry.next_offset();
        }
        note_time(&mut times, &seen);
        let failed = |error| self.dir.log_dir().write_failed("write index of", &self.log.path(), error);
        self.offset_index.replace(&offsets).map_err(failed)?;
        self.time_index.replace(&times).map_err(failed)?;
        self.index_is_wrong.store(false, Ordering::Release);
        tracing::info!(file = %self.log.path().display(), "built the indexes of a segment anew");
        Ok(())
    }

    /// Finds the end from the last index entry on, without looking at CRCs: what a start after a clean shutdown needs of the last segment.
    /// `false` where that does not lead to the end of the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn find_end(&self) -> Result<bool> {
        let mut end = self.end();
        if end.size == 0 {
            return Ok(true);
        }
        let from = self.offset_index.last().map_or(0, |entry| u64::from(entry.position));
        let mut scanner = EntryScanner::new(self.read_file()?, from, end.size, LOOKUP_WINDOW_BYTES);
        let mut next_offset = self.base_offset;
        loop {
            match scanner.next_entry() {
                Ok(Some(entry)) if entry.base_offset >= next_offset => {
                    next_offset = entry.next_offset();
                    end.note_timestamps(&Added::from(&entry));
                }
                Ok(None) => break,
                Ok(Some(_)) | Err(ScanError::Damaged { .. }) => return Ok(false),
                Err(ScanError::Io(error)) => return Err(self.read_error("read", error)),
            }
        }
        end.next_offset = next_offset;
        end.bytes_since_index = end.size - from;
        *self.end.lock() = end;
        Ok(true)
    }

    /// Cuts off the entry that holds `offset` and all after it. The caller holds the log's lock.
    ///
    /// # Errors
    /// What the file system says; a failed write took the directory offline.
    pub fn truncate_to(&self, offset: i64) -> Result<()> {
        let end = self.end();
        let Some(first) = self.locate(offset, &end)? else {
            // Nothing to cut; but a closed segment knows its end only roughly, and this one will grow again.
            self.find_end()?;
            return Ok(());
        };
        self.cut_file(first.position)?;
        let failed = |error| self.dir.log_dir().write_failed("cut index of", &self.log.path(), error);
        self.offset_index.truncate_to(first.base_offset.min(offset)).map_err(failed)?;
        self.time_index.truncate_to(first.base_offset.min(offset)).map_err(failed)?;
        let mut cut = End { size: first.position, ..End::empty(self.base_offset) };
        if let Some(last) = self.time_index.last() {
            (cut.max_timestamp, cut.offset_of_max_timestamp) = (last.timestamp, last.offset);
        }
        *self.end.lock() = cut;
        if !self.find_end()? {
            let why = "no whole entries lead to the end of the file after a cut".to_owned();
            return Err(StorageError::Damaged { path: self.log.path(), position: first.position, why });
        }
        Ok(())
    }
}
