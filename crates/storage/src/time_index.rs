//! `.timeindex`: from a timestamp to an offset. 12 bytes an entry: timestamp i64 in ms, offset less the segment's base offset i32; both rise.
//!
//! An entry (t, o) says: records with a timestamp above t come after offset o. The last entry of a closed segment carries its largest
//! timestamp, which is what retention by time and a later start go by.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::file_cache::{CachedFile, FileCache};
use crate::log_dir::PartitionDir;

/// Bytes of one entry.
pub const ENTRY_BYTES: usize = 12;
/// Entries held in memory before they are written.
const TAIL_ENTRIES_MAX: usize = 512;

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeEntry {
    /// Largest timestamp up to `offset`, in ms since 1970.
    pub timestamp: i64,
    /// Last offset of the entry of the log that carries it.
    pub offset: i64,
}

/// The time index of one segment.
#[derive(Debug)]
pub struct TimeIndex {
    file: CachedFile,
    base_offset: i64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    in_file: usize,
    tail: Vec<TimeEntry>,
    last: Option<TimeEntry>,
}

impl TimeIndex {
    /// An index without entries; an old file of that name is emptied.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(dir: &Arc<PartitionDir>, base_offset: i64, cache: &Arc<FileCache>) -> io::Result<TimeIndex> {
        let file = CachedFile::new(dir.clone(), file_name(base_offset), cache.clone());
        file.create()?.set_len(0)?;
        Ok(TimeIndex { file, base_offset, inner: Mutex::new(Inner::default()) })
    }

    /// The index in a file. `None` where the file is absent or its length or last entry cannot be right: it must be built anew then.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(dir: &Arc<PartitionDir>, base_offset: i64, cache: &Arc<FileCache>) -> io::Result<Option<TimeIndex>> {
        let file = CachedFile::new(dir.clone(), file_name(base_offset), cache.clone());
        let length = match dir.disk().file_len(&file.path()) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if length % ENTRY_BYTES as u64 != 0 {
            return Ok(None);
        }
        let in_file = usize::try_from(length).unwrap_or(usize::MAX) / ENTRY_BYTES;
        let index = TimeIndex { file, base_offset, inner: Mutex::new(Inner { in_file, ..Inner::default() }) };
        if in_file > 0 {
            let (first, last) = (index.read(0)?, index.read(in_file - 1)?);
            if last.offset < base_offset
                || last.timestamp < first.timestamp
                || last.timestamp < 0
                || (in_file > 1 && last.offset == base_offset)
            {
                return Ok(None);
            }
            index.inner.lock().last = Some(last);
        }
        Ok(Some(index))
    }

    /// Entries, in memory or not.
    #[must_use]
    pub fn len(&self) -> usize {
        let inner = self.inner.lock();
        inner.in_file + inner.tail.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> Option<TimeEntry> {
        self.inner.lock().last
    }

    /// Adds an entry where its timestamp is above the last one's.
    ///
    /// # Errors
    /// What the file system says; the entry is kept in memory.
    pub fn maybe_append(&self, timestamp: i64, offset: i64) -> io::Result<()> {
        let mut inner = self.inner.lock();
        if timestamp < 0
            || offset < self.base_offset
            || inner.last.is_some_and(|last| last.timestamp >= timestamp || last.offset > offset)
        {
            return Ok(());
        }
        if inner.tail.len() >= TAIL_ENTRIES_MAX {
            self.write_tail(&mut inner)?;
        }
        let entry = TimeEntry { timestamp, offset };
        inner.tail.push(entry);
        inner.last = Some(entry);
        Ok(())
    }

    /// Offset from which to look for the first record of `timestamp` or later: that of the last entry not above it, or the segment's first.
    ///
    /// # Errors
    /// What the file system says.
    pub fn lookup(&self, timestamp: i64) -> io::Result<i64> {
        let holds = |entry: &TimeEntry| entry.timestamp <= timestamp;
        let in_file = {
            let inner = self.inner.lock();
            if inner.tail.first().is_some_and(holds) {
                let after = inner.tail.partition_point(holds);
                return Ok(inner.tail[after - 1].offset);
            }
            inner.in_file
        };
        let (mut low, mut high) = (0, in_file);
        let mut found = self.base_offset;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.read(middle) {
                Ok(entry) if holds(&entry) => {
                    found = entry.offset;
                    low = middle + 1;
                }
                Ok(_) => high = middle,
                // Cut by a truncation meanwhile: what is left is below.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => high = middle,
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Removes the entries of `offset` and above.
    ///
    /// # Errors
    /// What the file system says.
    pub fn truncate_to(&self, offset: i64) -> io::Result<()> {
        let mut inner = self.inner.lock();
        self.write_tail(&mut inner)?;
        let mut keep = inner.in_file;
        let mut last = inner.last;
        while keep > 0 {
            let entry = self.read(keep - 1)?;
            last = Some(entry);
            if entry.offset < offset {
                break;
            }
            keep -= 1;
        }
        self.file.open()?.set_len((keep * ENTRY_BYTES) as u64)?;
        inner.in_file = keep;
        inner.last = last.filter(|_| keep > 0);
        Ok(())
    }

    /// Writes the entries in memory to the file and lets go of their memory.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_out(&self) -> io::Result<()> {
        let mut inner = self.inner.lock();
        self.write_tail(&mut inner)?;
        inner.tail = Vec::new();
        Ok(())
    }

    /// All entries, in order.
    ///
    /// # Errors
    /// What the file system says.
    pub fn entries(&self) -> io::Result<Vec<TimeEntry>> {
        self.write_out()?;
        (0..self.inner.lock().in_file).map(|at| self.read(at)).collect()
    }

    /// The file, to rename or remove it.
    #[must_use]
    pub fn file(&self) -> &CachedFile {
        &self.file
    }

    fn write_tail(&self, inner: &mut Inner) -> io::Result<()> {
        if inner.tail.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(inner.tail.len() * ENTRY_BYTES);
        for entry in &inner.tail {
            bytes.extend_from_slice(&entry.timestamp.to_be_bytes());
            bytes.extend_from_slice(&((entry.offset - self.base_offset) as i32).to_be_bytes());
        }
        self.file.create()?.write_all_at(&bytes, (inner.in_file * ENTRY_BYTES) as u64)?;
        inner.in_file += inner.tail.len();
        inner.tail.clear();
        Ok(())
    }

    fn read(&self, at: usize) -> io::Result<TimeEntry> {
        let mut bytes = [0; ENTRY_BYTES];
        self.file.open()?.read_exact_at(&mut bytes, (at * ENTRY_BYTES) as u64)?;
        Ok(decode(&bytes, self.base_offset))
    }
}

/// Reads one entry.
#[must_use]
pub fn decode(bytes: &[u8; ENTRY_BYTES], base_offset: i64) -> TimeEntry {
    let mut timestamp = [0; 8];
    timestamp.copy_from_slice(&bytes[..8]);
    let mut offset = [0; 4];
    offset.copy_from_slice(&bytes[8..]);
    TimeEntry {
        timestamp: i64::from_be_bytes(timestamp),
        offset: base_offset.saturating_add(i64::from(i32::from_be_bytes(offset))),
    }
}

/// Name of the time index of the segment that begins at `base_offset`.
#[must_use]
pub fn file_name(base_offset: i64) -> String {
    format!("{base_offset:020}.timeindex")
}
