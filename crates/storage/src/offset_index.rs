//! `.index`: from an offset to a position at or before it. 8 bytes an entry: offset less the segment's base offset, position; both i32.
//!
//! The index is a hint. Readers verify what they find at the position, so a damaged index costs a longer walk and never a wrong record. New
//! entries gather in memory and reach the file in blocks; a closed or idle segment holds none in memory.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::file_cache::{CachedFile, FileCache};
use crate::log_dir::PartitionDir;

/// Bytes of one entry.
pub const ENTRY_BYTES: usize = 8;
/// Entries held in memory before they are written.
const TAIL_ENTRIES_MAX: usize = 512;

/// One entry: the entry of the log that holds `offset` as its last begins at or after `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Last offset of the append that made the entry.
    pub offset: i64,
    /// Where that append begins.
    pub position: u32,
}

/// The offset index of one segment.
#[derive(Debug)]
pub struct OffsetIndex {
    file: CachedFile,
    base_offset: i64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    in_file: usize,
    tail: Vec<OffsetEntry>,
    last: Option<OffsetEntry>,
}

impl OffsetIndex {
    /// An index without entries; an old file of that name is emptied.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(dir: &Arc<PartitionDir>, base_offset: i64, cache: &Arc<FileCache>) -> io::Result<OffsetIndex> {
        let file = CachedFile::new(dir.clone(), file_name(base_offset), cache.clone());
        file.create()?.set_len(0)?;
        Ok(OffsetIndex { file, base_offset, inner: Mutex::new(Inner::default()) })
    }

    /// The index in a file. `None` where the file is absent or its length or last entry cannot be right: it must be built anew then.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(
        dir: &Arc<PartitionDir>,
        base_offset: i64,
        log_bytes: u64,
        cache: &Arc<FileCache>,
    ) -> io::Result<Option<OffsetIndex>> {
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
        let index = OffsetIndex { file, base_offset, inner: Mutex::new(Inner { in_file, ..Inner::default() }) };
        if in_file > 0 {
            let last = index.read(in_file - 1)?;
            // An index that an Apache broker reserved and did not live to trim ends in zeros, which name the base offset.
            let first_of_one = in_file == 1 && last.offset == base_offset && last.position == 0;
            let beyond_base = last.offset > base_offset && u64::from(last.position) < log_bytes;
            if !(beyond_base || first_of_one) {
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
    pub fn last(&self) -> Option<OffsetEntry> {
        self.inner.lock().last
    }

    /// Adds an entry, unless its offset is not above the last one's.
    ///
    /// # Errors
    /// What the file system says; the entry is kept in memory.
    pub fn append(&self, offset: i64, position: u32) -> io::Result<()> {
        let mut inner = self.inner.lock();
        if inner.last.is_some_and(|last| last.offset >= offset) || offset < self.base_offset {
            return Ok(());
        }
        // While the disk is full the tail waits; the index stays sparse rather than memory growing.
        if inner.tail.len() >= TAIL_ENTRIES_MAX {
            self.write_tail(&mut inner)?;
        }
        let entry = OffsetEntry { offset, position };
        inner.tail.push(entry);
        inner.last = Some(entry);
        Ok(())
    }

    /// Position from which to look for `offset`: that of the last entry whose offset is not above it, or 0.
    ///
    /// # Errors
    /// What the file system says.
    pub fn lookup(&self, offset: i64) -> io::Result<u32> {
        self.find(|entry| entry.offset <= offset).map(|entry| entry.map_or(0, |entry| entry.position))
    }

    /// Position of the last entry that is not beyond `position`, or 0.
    ///
    /// # Errors
    /// What the file system says.
    pub fn lookup_position(&self, position: u64) -> io::Result<u32> {
        self.find(|entry| u64::from(entry.position) <= position).map(|entry| entry.map_or(0, |entry| entry.position))
    }

    /// The last entry of those for which `holds`, which must be a prefix.
    fn find(&self, holds: impl Fn(&OffsetEntry) -> bool) -> io::Result<Option<OffsetEntry>> {
        let in_file = {
            let inner = self.inner.lock();
            if inner.tail.first().is_some_and(&holds) {
                let after = inner.tail.partition_point(&holds);
                return Ok(Some(inner.tail[after - 1]));
            }
            inner.in_file
        };
        let (mut low, mut high) = (0, in_file);
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = match self.read(middle) {
                Ok(entry) => entry,
                // Cut by a truncation meanwhile: what is left is below.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    high = middle;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if holds(&entry) {
                found = Some(entry);
                low = middle + 1;
            } else {
                high = middle;
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
    pub fn entries(&self) -> io::Result<Vec<OffsetEntry>> {
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
            bytes.extend_from_slice(&((entry.offset - self.base_offset) as i32).to_be_bytes());
            bytes.extend_from_slice(&(entry.position as i32).to_be_bytes());
        }
        self.file.create()?.write_all_at(&bytes, (inner.in_file * ENTRY_BYTES) as u64)?;
        inner.in_file += inner.tail.len();
        inner.tail.clear();
        Ok(())
    }

    fn read(&self, at: usize) -> io::Result<OffsetEntry> {
        let mut bytes = [0; ENTRY_BYTES];
        self.file.open()?.read_exact_at(&mut bytes, (at * ENTRY_BYTES) as u64)?;
        Ok(decode(&bytes, self.base_offset))
    }
}

/// Reads one entry.
#[must_use]
pub fn decode(bytes: &[u8; ENTRY_BYTES], base_offset: i64) -> OffsetEntry {
    let [a, b, c, d, e, f, g, h] = *bytes;
    OffsetEntry {
        offset: base_offset.saturating_add(i64::from(i32::from_be_bytes([a, b, c, d]))),
        position: u32::from_be_bytes([e, f, g, h]),
    }
}

/// Name of the index of the segment that begins at `base_offset`.
#[must_use]
pub fn file_name(base_offset: i64) -> String {
    format!("{base_offset:020}.index")
}
