//! One segment: `%020d.log` and its two indexes, named by the first offset they may hold.
//!
//! Always true: bytes before `End::size` are whole entries in rising order of offsets; `End` is published after the bytes are in the page
//! cache, so a reader that takes it may read up to it without a lock. Only the last segment of a log grows.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use protocol::records::NO_TIMESTAMP;
use runtime::File;

use crate::config::LogConfig;
use crate::entry::{Entry, EntryScanner, LOOKUP_WINDOW_BYTES, SCAN_WINDOW_BYTES, ScanError};
use crate::error::{Result, StorageError};
use crate::file_cache::{CachedFile, FileCache};
use crate::log_dir::PartitionDir;
use crate::offset_index::{self, OffsetIndex};
use crate::time_index::{self, TimeIndex};

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

/// What a walk over a whole segment found.
#[derive(Debug)]
pub struct Walked {
    /// Bytes of intact entries.
    pub valid_bytes: u64,
    /// The first damage, where there is any.
    pub damage: Option<(u64, String)>,
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
}

impl Segment {
    /// Makes the files of an empty segment. Files of that name that are there already are emptied.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(dir: &Arc<PartitionDir>, base_offset: i64, cache: &Arc<FileCache>, now_ms: i64) -> Result<Segment> {
        let log = CachedFile::new(dir.clone(), file_name(base_offset), cache.clone());
        let failed = |action, error| dir.log_dir().write_failed(action, &log.path(), error);
        log.create().and_then(|file| file.set_len(0)).map_err(|error| failed("create segment", error))?;
        let offset_index =
            OffsetIndex::create(dir, base_offset, cache).map_err(|error| failed("create index of", error))?;
        let time_index =
            TimeIndex::create(dir, base_offset, cache).map_err(|error| failed("create time index of", error))?;
        Ok(Segment {
            base_offset,
            dir: dir.clone(),
            log,
            offset_index,
            time_index,
            created_ms: now_ms,
            end: Mutex::new(End::empty(base_offset)),
            deleted: AtomicBool::new(false),
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
            OffsetIndex::open(dir, base_offset, size, cache).map_err(|error| failed("open index of", error))?;
        let time_index =
            TimeIndex::open(dir, base_offset, cache).map_err(|error| failed("open time index of", error))?;
        let must_walk = offset_index.is_none() || time_index.is_none();
        let offset_index = match offset_index {
            Some(index) => index,
            None => OffsetIndex::create(dir, base_offset, cache).map_err(|error| failed("create index of", error))?,
        };
        let time_index = match time_index {
            Some(index) => index,
            None => {
                TimeIndex::create(dir, base_offset, cache).map_err(|error| failed("create time index of", error))?
            }
        };
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

    fn first_timestamp(&self) -> Result<i64> {
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
                    Err(error) if error.kind() != io::ErrorKind::StorageFull => {
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

    /// The first entry that holds `offset` or a later one, up to `end`. An index that points astray costs a walk from the start.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged on the way.
    pub fn locate(&self, offset: i64, end: &End) -> Result<Option<Entry>> {
        let hint = self.offset_index.lookup(offset).map_err(|error| self.read_error("read index of", error))?;
        if hint > 0
            && let Ok(Some(entry)) = self.walk_to(offset, u64::from(hint), end)
        {
            return Ok(Some(entry));
        }
        self.walk_to(offset, 0, end)
    }

    fn walk_to(&self, offset: i64, from: u64, end: &End) -> Result<Option<Entry>> {
        let mut scanner = EntryScanner::new(self.read_file()?, from, end.size, LOOKUP_WINDOW_BYTES);
        while let Some(entry) = scanner.next_entry().map_err(|error| self.scan_error(error))? {
            if entry.position == from && from > 0 && entry.batch.is_some_and(|batch| batch.base_offset.0 > offset) {
                let why = "the index points beyond the offset it was asked for".to_owned();
                return Err(StorageError::Damaged { path: self.offset_index.file().path(), position: from, why });
            }
            if entry.last_offset >= offset {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The last entry boundary at or before `limit`, not before `from`, which is one.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged on the way.
    pub fn boundary_before(&self, from: u64, limit: u64, end: &End) -> Result<u64> {
        if limit >= end.size {
            return Ok(end.size);
        }
        let hint = self.offset_index.lookup_position(limit).map_err(|error| self.read_error("read index of", error))?;
        if u64::from(hint) > from
            && let Ok(boundary) = self.walk_to_boundary(u64::from(hint), limit, end)
        {
            return Ok(boundary);
        }
        self.walk_to_boundary(from, limit, end)
    }

    fn walk_to_boundary(&self, from: u64, limit: u64, end: &End) -> Result<u64> {
        let mut scanner = EntryScanner::new(self.read_file()?, from, end.size, LOOKUP_WINDOW_BYTES);
        let mut boundary = from;
        while let Some(entry) = scanner.next_entry().map_err(|error| self.scan_error(error))? {
            if entry.end() > limit {
                break;
            }
            boundary = entry.end();
        }
        Ok(boundary)
    }

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
        let damage = loop {
            let next = if check_crc { scanner.next_checked() } else { scanner.next_entry() };
            let entry = match next {
                Ok(Some(entry)) => entry,
                Ok(None) => break None,
                Err(ScanError::Io(error)) => return Err(self.read_error("read", error)),
                Err(ScanError::Damaged { position, why }) => break Some((position, why)),
            };
            if entry.base_offset < end.next_offset || self.offset_too_far(entry.last_offset) {
                let why = format!("offset {} does not follow {}", entry.base_offset, end.next_offset - 1);
                break Some((entry.position, why));
            }
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
        Ok(Walked { valid_bytes, damage })
    }

    /// Finds the end from the last index entry on, without looking at CRCs: what a start after a clean shutdown needs of the last segment.
    /// `false` where that does not lead to the end of the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn find_end(&self) -> Result<bool> {
        let mut end = self.end();
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

    /// Cuts the `.log` file to `size` bytes. Reserved space beyond goes too.
    ///
    /// # Errors
    /// What the file system says; the directory is offline then.
    pub(crate) fn cut_file(&self, size: u64) -> Result<()> {
        let failed = |error| self.dir.log_dir().fail("cut", &self.log.path(), error);
        self.log.pin().map_err(failed)?.set_len(size).map_err(failed)
    }

    /// Writes index entries out, the last timestamp included, and lets go of their memory.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_out_indexes(&self) -> Result<()> {
        let end = self.end();
        let written = self
            .time_index
            .maybe_append(end.max_timestamp, end.offset_of_max_timestamp)
            .and_then(|()| self.time_index.write_out())
            .and_then(|()| self.offset_index.write_out());
        written.map_err(|error| self.dir.log_dir().write_failed("write index of", &self.log.path(), error))
    }

    /// Waits until the `.log` file is on stable storage.
    ///
    /// # Errors
    /// What the file system says; the directory is offline then.
    pub fn sync(&self) -> Result<()> {
        let failed = |error| self.dir.log_dir().fail("sync", &self.log.path(), error);
        self.log.pin().map_err(failed)?.sync_data().map_err(failed)
    }

    /// Waits until both indexes are on stable storage. They can be built anew, so this is done at a clean shutdown and not before.
    ///
    /// # Errors
    /// What the file system says; the directory is offline then.
    pub fn sync_indexes(&self) -> Result<()> {
        let failed = |error| self.dir.log_dir().fail("sync index of", &self.log.path(), error);
        self.offset_index.file().open().and_then(|file| file.sync_data()).map_err(failed)?;
        self.time_index.file().open().and_then(|file| file.sync_data()).map_err(failed)
    }

    /// Takes the files out of use by the suffix `.deleted`; [`Segment::remove`] removes them later. Readers that hold the segment read on.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn mark_deleted(&self) -> Result<()> {
        self.deleted.store(true, Ordering::Release);
        let renamed = self
            .log
            .rename(format!("{}.deleted", file_name(self.base_offset)))
            .and_then(|()| {
                self.offset_index.file().rename(format!("{}.deleted", offset_index::file_name(self.base_offset)))
            })
            .and_then(|()| {
                self.time_index.file().rename(format!("{}.deleted", time_index::file_name(self.base_offset)))
            });
        renamed.map_err(|error| self.dir.log_dir().write_failed("mark as deleted", &self.log.path(), error))
    }

    /// Whether the segment was taken out of use.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Removes the files.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn remove(&self) -> Result<()> {
        let removed = self
            .log
            .remove()
            .and_then(|()| self.offset_index.file().remove())
            .and_then(|()| self.time_index.file().remove());
        removed.map_err(|error| StorageError::io("remove", &self.log.path(), error))
    }

    /// Closes the files.
    pub fn close(&self) {
        self.log.close();
        self.offset_index.file().close();
        self.time_index.file().close();
    }

    /// The `.log` file, open for reading.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read_file(&self) -> Result<File> {
        self.log.open().map_err(|error| self.read_error("open segment", error))
    }

    pub(crate) fn scan_error(&self, error: ScanError) -> StorageError {
        match error {
            ScanError::Io(error) => self.read_error("read", error),
            ScanError::Damaged { position, why } => StorageError::Damaged { path: self.log.path(), position, why },
        }
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

/// Name of the `.log` file of the segment that begins at `base_offset`.
#[must_use]
pub fn file_name(base_offset: i64) -> String {
    format!("{base_offset:020}.log")
}

/// The base offset in the name of a file with this suffix.
#[must_use]
pub fn base_offset_of(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}
