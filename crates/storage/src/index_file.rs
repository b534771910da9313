//! An index of one segment: entries of fixed length in a file, their offsets rising. What an entry is, [`crate::offset_index`] and
//! [`crate::time_index`] say.
//!
//! An index is a hint. Readers verify what they find where it points, so a damaged one costs a longer walk and never a wrong record. New
//! entries gather in memory and reach the file in blocks; a closed or idle segment holds none in memory. The block of the file that answered last is kept, so that a
//! reader that goes through a log in order costs the index one read in 512 entries.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::file_cache::{CachedFile, FileCache};
use crate::log_dir::PartitionDir;
use crate::reach::Reach;

/// Entries held in memory before they are written.
const TAIL_ENTRIES_MAX: usize = 512;
/// Entries of the file that are read and kept at a time.
const BLOCK_ENTRIES: usize = 512;
/// Longest entry of any index.
const ENTRY_BYTES_MAX: usize = 12;

/// What an index holds. Offsets are written less the segment's base offset.
pub trait IndexEntry: Copy + Debug + PartialEq {
    /// Bytes of one entry, at most 12.
    const BYTES: usize;

    /// The offset it names.
    fn offset(&self) -> i64;

    /// Writes it as [`IndexEntry::BYTES`] bytes.
    fn encode(&self, base_offset: i64, out: &mut Vec<u8>);

    /// Reads it from [`IndexEntry::BYTES`] bytes.
    fn decode(bytes: &[u8], base_offset: i64) -> Self;
}

/// The index of one segment.
#[derive(Debug)]
pub struct IndexFile<E> {
    file: CachedFile,
    base_offset: i64,
    inner: Mutex<Inner<E>>,
}

#[derive(Debug)]
struct Inner<E> {
    in_file: usize,
    /// The file is there. An index of a segment without records has none yet.
    is_made: bool,
    tail: Vec<E>,
    last: Option<E>,
    /// The block that answered last.
    block: Option<Arc<Block>>,
    /// How often entries were taken away: a block read before is not kept after.
    cuts: u64,
}

/// Entries of the file as they stand in it, from the `first`.
#[derive(Debug)]
struct Block {
    first: usize,
    bytes: Vec<u8>,
}

impl<E: IndexEntry> IndexFile<E> {
    /// An index without entries. Its file, of this name, is made by [`IndexFile::make`] or with the first entries that reach it; an old file is emptied then.
    #[must_use]
    pub fn create(dir: &Arc<PartitionDir>, name: String, base_offset: i64, cache: &Arc<FileCache>) -> IndexFile<E> {
        IndexFile::over(dir, name, base_offset, cache, None)
    }

    /// Makes the file, where it is not there yet.
    ///
    /// # Errors
    /// What the file system says.
    pub fn make(&self) -> io::Result<()> {
        self.make_file(&mut self.inner.lock())
    }

    fn make_file(&self, inner: &mut Inner<E>) -> io::Result<()> {
        if !inner.is_made {
            self.file.create_empty()?;
            inner.is_made = true;
        }
        Ok(())
    }

    /// The index in the file of this name. `None` where the file is absent, its length cannot be right, or `is_sound` does not hold for its
    /// first entry, its last and their number: it must be built anew then.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(
        dir: &Arc<PartitionDir>,
        name: String,
        base_offset: i64,
        cache: &Arc<FileCache>,
        is_sound: impl Fn(&E, &E, usize) -> bool,
    ) -> io::Result<Option<IndexFile<E>>> {
        let length = match dir.disk().file_len(&dir.file(&name)) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if length % E::BYTES as u64 != 0 {
            return Ok(None);
        }
        let in_file = usize::try_from(length).unwrap_or(usize::MAX) / E::BYTES;
        let index = IndexFile::over(dir, name, base_offset, cache, Some(in_file));
        if in_file > 0 {
            let (first, last) = (index.read(0)?, index.read(in_file - 1)?);
            if !is_sound(&first, &last, in_file) {
                return Ok(None);
            }
            index.inner.lock().last = Some(last);
        }
        Ok(Some(index))
    }

    fn over(
        dir: &Arc<PartitionDir>,
        name: String,
        base_offset: i64,
        cache: &Arc<FileCache>,
        in_file: Option<usize>,
    ) -> IndexFile<E> {
        let file = CachedFile::new(dir.clone(), name, cache.clone());
        let (is_made, in_file) = (in_file.is_some(), in_file.unwrap_or(0));
        let inner = Inner { in_file, is_made, tail: Vec::new(), last: None, block: None, cuts: 0 };
        IndexFile { file, base_offset, inner: Mutex::new(inner) }
    }

    /// First offset of the segment.
    #[must_use]
    pub fn base_offset(&self) -> i64 {
        self.base_offset
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
    pub fn last(&self) -> Option<E> {
        self.inner.lock().last
    }

    /// Adds an entry, unless its offset is before the segment's or `follows` does not hold for the last entry.
    ///
    /// # Errors
    /// What the file system says; the entry is not added then.
    pub fn push(&self, entry: E, follows: impl Fn(&E) -> bool) -> io::Result<()> {
        let mut inner = self.inner.lock();
        if entry.offset() < self.base_offset || inner.last.as_ref().is_some_and(|last| !follows(last)) {
            return Ok(());
        }
        // While the disk is full the tail waits; the index stays sparse rather than memory growing.
        if inner.tail.len() >= TAIL_ENTRIES_MAX {
            self.write_tail(&mut inner)?;
        }
        inner.tail.push(entry);
        inner.last = Some(entry);
        Ok(())
    }

    /// The last entry of those for which `holds`, which must be a prefix.
    ///
    /// # Errors
    /// What the file system says; `WouldBlock` by [`Reach::Memory`].
    pub fn find(&self, reach: Reach, holds: impl Fn(&E) -> bool) -> io::Result<Option<E>> {
        let (in_file, held, cuts) = {
            let inner = self.inner.lock();
            if inner.tail.first().is_some_and(&holds) {
                let after = inner.tail.partition_point(&holds);
                return Ok(Some(inner.tail[after - 1]));
            }
            (inner.in_file, inner.block.clone(), inner.cuts)
        };
        if in_file == 0 {
            return Ok(None);
        }
        if let Some(held) = &held
            && let Some(found) = self.answer_of(held, in_file, &holds)
        {
            return Ok(Some(found));
        }
        let file = self.file.open_within(reach)?;
        // The first block whose first entry does not hold; a reader that goes on in order finds it at once.
        let (mut low, mut high) = (0, in_file.div_ceil(BLOCK_ENTRIES));
        let next = held.map_or(0, |held| held.first / BLOCK_ENTRIES + 1);
        let mut likely = [next, next + 1].into_iter();
        while low < high {
            let middle = likely.next().filter(|next| (low..high).contains(next)).unwrap_or(low + (high - low) / 2);
            let mut bytes = [0; ENTRY_BYTES_MAX];
            let entry = &mut bytes[..E::BYTES];
            let read = reach.read_at(&file, entry, (middle * BLOCK_ENTRIES * E::BYTES) as u64)?;
            // Cut by a truncation meanwhile: what is left is below.
            if read == E::BYTES && holds(&E::decode(entry, self.base_offset)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(number) = low.checked_sub(1) else { return Ok(None) };
        let first = number * BLOCK_ENTRIES;
        let mut bytes = vec![0; BLOCK_ENTRIES.min(in_file - first) * E::BYTES];
        let read = reach.read_at(&file, &mut bytes, (first * E::BYTES) as u64)?;
        bytes.truncate(read - read % E::BYTES);
        let block = Arc::new(Block { first, bytes });
        {
            let mut inner = self.inner.lock();
            if inner.cuts == cuts {
                inner.block = Some(block.clone());
            }
        }
        Ok(self.last_that_holds(&block, &holds))
    }

    /// What a block says, where the answer lies in it for sure.
    fn answer_of(&self, block: &Block, in_file: usize, holds: impl Fn(&E) -> bool) -> Option<E> {
        let entries = block.bytes.len() / E::BYTES;
        let found = self.last_that_holds(block, &holds)?;
        let is_last = entries > 0 && holds(&self.entry_of(block, entries - 1));
        (!is_last || block.first + entries >= in_file).then_some(found)
    }

    fn last_that_holds(&self, block: &Block, holds: impl Fn(&E) -> bool) -> Option<E> {
        let (mut low, mut high) = (0, block.bytes.len() / E::BYTES);
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(&self.entry_of(block, middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1).map(|at| self.entry_of(block, at))
    }

    fn entry_of(&self, block: &Block, at: usize) -> E {
        E::decode(&block.bytes[at * E::BYTES..(at + 1) * E::BYTES], self.base_offset)
    }

    /// Replaces all entries.
    ///
    /// # Errors
    /// What the file system says; fewer entries may be left then.
    pub(crate) fn replace(&self, entries: &[E]) -> io::Result<()> {
        self.truncate_to(i64::MIN)?;
        let mut inner = self.inner.lock();
        inner.last = entries.last().copied();
        inner.tail = entries.to_vec();
        self.write_tail(&mut inner)?;
        inner.tail = Vec::new();
        Ok(())
    }

    /// Removes the entries of `offset` and above.
    ///
    /// # Errors
    /// What the file system says.
    pub fn truncate_to(&self, offset: i64) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.cuts += 1;
        inner.block = None;
        self.write_tail(&mut inner)?;
        let mut keep = inner.in_file;
        let mut last = inner.last;
        if offset == i64::MIN {
            keep = 0;
        }
        while keep > 0 {
            let entry = self.read(keep - 1)?;
            last = Some(entry);
            if entry.offset() < offset {
                break;
            }
            keep -= 1;
        }
        if inner.is_made {
            self.file.open()?.set_len((keep * E::BYTES) as u64)?;
        }
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
        inner.block = None;
        Ok(())
    }

    /// Waits until the file is on stable storage, where there is one.
    ///
    /// # Errors
    /// What the file system says.
    pub fn sync(&self) -> io::Result<()> {
        match self.inner.lock().is_made {
            true => self.file.open()?.sync_data(),
            false => Ok(()),
        }
    }

    /// All entries, in order.
    ///
    /// # Errors
    /// What the file system says.
    pub fn entries(&self) -> io::Result<Vec<E>> {
        self.write_out()?;
        (0..self.inner.lock().in_file).map(|at| self.read(at)).collect()
    }

    /// The file, to rename or remove it.
    #[must_use]
    pub fn file(&self) -> &CachedFile {
        &self.file
    }

    fn write_tail(&self, inner: &mut Inner<E>) -> io::Result<()> {
        if inner.tail.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(inner.tail.len() * E::BYTES);
        for entry in &inner.tail {
            entry.encode(self.base_offset, &mut bytes);
        }
        self.make_file(inner)?;
        self.file.create()?.write_all_at(&bytes, (inner.in_file * E::BYTES) as u64)?;
        inner.in_file += inner.tail.len();
        inner.tail.clear();
        Ok(())
    }

    fn read(&self, at: usize) -> io::Result<E> {
        let mut bytes = [0; ENTRY_BYTES_MAX];
        let entry = &mut bytes[..E::BYTES];
        self.file.open()?.read_exact_at(entry, (at * E::BYTES) as u64)?;
        Ok(E::decode(entry, self.base_offset))
    }
}
