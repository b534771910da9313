//! One segment: `%020d.log` and its two indexes, named by the first offset they may hold.
//!
//! Always true: bytes before `End::size` are whole entries in rising order of offsets; `End` is published after the bytes are in the page
//! cache, so a reader that takes it may read up to it without a lock. Only the last segment of a log grows.

mod checked;
mod files;
mod lookup;
mod times;
mod verify;
mod walk;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use protocol::records::NO_TIMESTAMP;

use crate::config::LogConfig;
use crate::entry::{Entry, EntryScanner, LOOKUP_WINDOW_BYTES};
use crate::error::{Result, StorageError};
use crate::file_cache::{CachedFile, FileCache};
use crate::log_dir::{self, PartitionDir};
use crate::offset_index::{self, OffsetIndex};
use crate::time_index::{self, TimeIndex};

use checked::Checked;
pub use files::{Stage, base_offset_of, file_name};
pub(crate) use lookup::{Boundary, Located};
pub(crate) use verify::{Damage, wrong_order};
pub use walk::Walked;

/// Longest segment: positions in the index are i32.
pub const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// Where a segment ends, and what is known of its timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Bytes of whole entries.
    pub size: u64,
    /// Offset of the next record; for a closed segment that was not walked, the first offset of the next segment.
    pub next_offset: i64,
    /// Largest timestamp, -1 where none is known.
    pub max_timestamp: i64,
    /// Last offset of the first entry that carries it.
    pub offset_of_max_timestamp: i64,
    /// Largest timestamp of the first entry, `None` until it is known.
    pub first_timestamp: Option<i64>,
    bytes_since_index: u64,
}

/// What an append adds, all entries together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// Offset of the last record.
    pub last_offset: i64,
    /// Largest timestamp.
    pub max_timestamp: i64,
    /// Last offset of the first entry that carries it.
    pub offset_of_max_timestamp: i64,
    /// Largest timestamp of the first entry.
    pub first_timestamp: i64,
}

/// One segment of a log.
#[derive(Debug)]
pub struct Segment {
    base_offset: i64,
    dir: Arc<PartitionDir>,
    log: CachedFile,
    offset_index: OffsetIndex,
    time_index: TimeIndex,
    created_ms: i64,
    end: Mutex<End>,
    deleted: AtomicBool,
    checked: Checked,
    /// Where damage was told of.
    told: Mutex<Vec<u64>>,
    /// An index was found not to fit the log: it is built anew when there is time.
    index_is_wrong: AtomicBool,
    times_checked: AtomicBool,
}

impl Segment {
    /// Makes the `.log` file of an empty segment; its indexes get their files with the first record. Files of these names that are there already are emptied.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(dir: &Arc<PartitionDir>, base_offset: i64, cache: &Arc<FileCache>, now_ms: i64) -> Result<Segment> {
        Segment::create_at(Stage::Live, dir, base_offset, cache, now_ms)
    }

    /// As [`Segment::create`], the files named by a stage.
    pub(crate) fn create_at(
        stage: Stage,
        dir: &Arc<PartitionDir>,
        base_offset: i64,
        cache: &Arc<FileCache>,
        now_ms: i64,
    ) -> Result<Segment> {
        let name = |name: String| format!("{name}{}", stage.suffix());
        let log = CachedFile::new(dir.clone(), name(file_name(base_offset)), cache.clone());
        let failed = |action, error| dir.log_dir().write_failed(action, &log.path(), error);
        log.create_empty().map_err(|error| failed("create segment", error))?;
        let offset_index = OffsetIndex::create(dir, name(offset_index::file_name(base_offset)), base_offset, cache);
        let time_index = TimeIndex::create(dir, name(time_index::file_name(base_offset)), base_offset, cache);
        Ok(Segment {
            base_offset,
            dir: dir.clone(),
            log,
            offset_index,
            time_index,
            created_ms: now_ms,
            end: Mutex::new(End::empty(base_offset)),
            deleted: AtomicBool::new(false),
            checked: Checked::new(0),
            told: Mutex::new(Vec::new()),
            index_is_wrong: AtomicBool::new(false),
            times_checked: AtomicBool::new(true),
        })
    }

    /// Opens a segment that is there. Its end is the file's until it is walked. The flag says that an index is absent or cannot be right:
    /// the segment must be walked before it is used.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(
        dir: &Arc<PartitionDir>,
        base_offset: i64,
        cache: &Arc<FileCache>,
        now_ms: i64,
    ) -> Result<(Segment, bool)> {
        let log = CachedFile::new(dir.clone(), file_name(base_offset), cache.clone());
        let path = log.path();
        let failed = |action, error| StorageError::io(action, &path, error);
        let size = dir.disk().file_len(&path).map_err(|error| failed("open segment", error))?;
        if size > SEGMENT_BYTES_MAX {
            let why = format!("{size} bytes are more than a segment can hold");
            return Err(StorageError::Damaged { path, position: SEGMENT_BYTES_MAX, why });
        }
        let offset_index =
            OffsetIndex::open_checked(dir, base_offset, size, cache).map_err(|error| failed("open index of", error))?;
        let time_index =
            TimeIndex::open_checked(dir, base_offset, cache).map_err(|error| failed("open time index of", error))?;
        let must_walk = size > 0 && (offset_index.is_none() || time_index.is_none());
        let offset_index = offset_index
            .unwrap_or_else(|| OffsetIndex::create(dir, offset_index::file_name(base_offset), base_offset, cache));
        let time_index = time_index
            .unwrap_or_else(|| TimeIndex::create(dir, time_index::file_name(base_offset), base_offset, cache));
        let mut end = End { size, ..End::empty(base_offset) };
        if let Some(last) = time_index.last() {
            (end.max_timestamp, end.offset_of_max_timestamp) = (last.timestamp, last.offset);
        }
        let created_ms = dir.disk().modified_ms(&path).unwrap_or(now_ms);
        let segment = Segment {
            base_offset,
            dir: dir.clone(),
            log,
            offset_index,
            time_index,
            created_ms,
            end: Mutex::new(end),
            deleted: AtomicBool::new(false),
            checked: Checked::new(size),
            told: Mutex::new(Vec::new()),
            index_is_wrong: AtomicBool::new(false),
            times_checked: AtomicBool::new(false),
        };
        Ok((segment, must_walk))
    }

    /// First offset the segment may hold; its name.
    #[must_use]
    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Where it ends now.
    #[must_use]
    pub fn end(&self) -> End {
        *self.end.lock()
    }

    /// Bytes of the `.log` file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.end.lock().size
    }

    /// The `.log` file.
    #[must_use]
    pub fn log_file(&self) -> &CachedFile {
        &self.log
    }

    /// Its offset index.
    #[must_use]
    pub fn offset_index(&self) -> &OffsetIndex {
        &self.offset_index
    }

    /// Its time index.
    #[must_use]
    pub fn time_index(&self) -> &TimeIndex {
        &self.time_index
    }

    /// Largest timestamp for retention: of its records, or the file's own where they have none.
    #[must_use]
    pub fn largest_timestamp(&self) -> i64 {
        match self.end().max_timestamp {
            NO_TIMESTAMP => self.dir.disk().modified_ms(&self.log.path()).unwrap_or(self.created_ms),
            timestamp => timestamp,
        }
    }

    /// When the `.log` file was last written, in ms since 1970.
    #[must_use]
    pub fn modified_ms(&self) -> Option<i64> {
        self.dir.disk().modified_ms(&self.log.path()).ok()
    }

    /// Sets the offset after the last record, known from the segment that follows.
    pub(crate) fn set_next_offset(&self, next_offset: i64) {
        self.end.lock().next_offset = next_offset;
    }

    /// Whether `last_offset` cannot be said relative to the base offset.
    #[must_use]
    pub fn offset_too_far(&self, last_offset: i64) -> bool {
        i32::try_from(last_offset.saturating_sub(self.base_offset)).is_err()
    }

    /// Whether a segment must be rolled before `bytes` with these timestamps and offsets are appended (Kafka `LogSegment.shouldRoll`).
    ///
    /// # Errors
    /// The first timestamp cannot be read.
    pub fn should_roll(&self, bytes: u64, added: &Added, now_ms: i64, config: &LogConfig) -> Result<bool> {
        let end = self.end();
        let too_long = end.size + bytes > u64::from(config.segment_bytes).min(SEGMENT_BYTES_MAX);
        let index_full = self.offset_index.len() + 1 > config.segment_index_bytes as usize / offset_index::ENTRY_BYTES
            || self.time_index.len() + 2 > config.segment_index_bytes as usize / time_index::ENTRY_BYTES;
        if self.offset_too_far(added.last_offset) || (end.size > 0 && (too_long || index_full)) {
            return Ok(true);
        }
        if end.size == 0 {
            return Ok(false);
        }
        let age_ms = match (self.first_timestamp()?, added.max_timestamp) {
            (first, now) if first >= 0 && now >= 0 => now.saturating_sub(first),
            _ => now_ms.saturating_sub(self.created_ms),
        };
        Ok(age_ms > config.segment_ms)
    }

    /// Timestamp of the first batch in ms; -1 where there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn first_timestamp(&self) -> Result<i64> {
        let end = self.end();
        if let Some(first) = end.first_timestamp {
            return Ok(first);
        }
        let mut scanner = EntryScanner::new(self.read_file()?, 0, end.size, LOOKUP_WINDOW_BYTES);
        let first = scanner
            .next_entry()
            .map_err(|error| self.scan_error(error))?
            .map_or(NO_TIMESTAMP, |entry| entry.max_timestamp);
        self.end.lock().first_timestamp = Some(first);
        Ok(first)
    }

    /// Writes whole entries at the end, into the page cache; `bytes` is all of `entries` and nothing else. The caller holds the log's lock. After an error the segment is as it was.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`]; anything else took the directory offline.
    pub fn append(&self, bytes: &[u8], entries: &[Entry], config: &LogConfig) -> Result<()> {
        let before = self.end();
        let failed = |action, error| self.dir.log_dir().write_failed(action, &self.log.path(), error);
        if before.size == 0 {
            self.make_indexes()?;
        }
        let file = self.log.pin().map_err(|error| failed("open segment", error))?;
        if let Err(error) = file.write_all_at(bytes, before.size) {
            // A part may have been written. The next append overwrites it; a restart before that would cut it off.
            let error = failed("append to", error);
            if file.set_len(before.size).is_err() {
                self.dir.log_dir().take_offline(&error);
            }
            return Err(error);
        }
        let mut end = before;
        for entry in entries {
            end.note_timestamps(&Added::from(entry));
            if end.bytes_since_index > u64::from(config.index_interval_bytes) {
                // Each index entry names the batch that begins at its position, as `kafka-dump-log` demands. A full disk must not fail an
                // append whose bytes are written: the index stays without this entry.
                let indexed = self
                    .offset_index
                    .append(entry.last_offset, end.size as u32)
                    .and_then(|()| self.time_index.maybe_append(end.max_timestamp, end.offset_of_max_timestamp));
                match indexed {
                    Err(error) if !log_dir::is_full(&error) => {
                        return Err(failed("write index of", error));
                    }
                    _ => {}
                }
                end.bytes_since_index = 0;
            }
            end.bytes_since_index += u64::from(entry.size);
            end.size += u64::from(entry.size);
            end.next_offset = entry.next_offset();
        }
        *self.end.lock() = end;
        Ok(())
    }

    fn read_error(&self, action: &'static str, error: io::Error) -> StorageError {
        StorageError::io(action, &self.log.path(), error)
    }
}

impl End {
    fn empty(base_offset: i64) -> End {
        End {
            size: 0,
            next_offset: base_offset,
            max_timestamp: NO_TIMESTAMP,
            offset_of_max_timestamp: base_offset,
            first_timestamp: None,
            bytes_since_index: 0,
        }
    }

    fn note_timestamps(&mut self, added: &Added) {
        if self.size == 0 && self.first_timestamp.is_none() {
            self.first_timestamp = Some(added.first_timestamp);
        }
        if added.max_timestamp > self.max_timestamp {
            self.max_timestamp = added.max_timestamp;
            self.offset_of_max_timestamp = added.offset_of_max_timestamp;
        }
    }
}

impl From<&Entry> for Added {
    fn from(entry: &Entry) -> Added {
        Added {
            last_offset: entry.last_offset,
            max_timestamp: entry.max_timestamp,
            offset_of_max_timestamp: entry.last_offset,
            first_timestamp: entry.max_timestamp,
        }
    }
}
