//! `.index`: from an offset to a position at or before it. 8 bytes an entry: offset less the segment's base offset, position; both i32.

use std::io;
use std::sync::Arc;

use crate::file_cache::FileCache;
use crate::index_file::{IndexEntry, IndexFile};
use crate::log_dir::PartitionDir;
use crate::reach::Reach;

/// Bytes of one entry.
pub const ENTRY_BYTES: usize = 8;

/// One entry: the entry of the log that holds `offset` as its last begins at or after `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Last offset of the append that made the entry.
    pub offset: i64,
    /// Where that append begins.
    pub position: u32,
}

/// The offset index of one segment.
pub type OffsetIndex = IndexFile<OffsetEntry>;

impl IndexEntry for OffsetEntry {
    const BYTES: usize = ENTRY_BYTES;

    fn offset(&self) -> i64 {
        self.offset
    }

    fn encode(&self, base_offset: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&((self.offset - base_offset) as i32).to_be_bytes());
        out.extend_from_slice(&(self.position as i32).to_be_bytes());
    }

    fn decode(bytes: &[u8], base_offset: i64) -> OffsetEntry {
        let mut fields = [0; ENTRY_BYTES];
        fields.copy_from_slice(bytes);
        decode(&fields, base_offset)
    }
}

impl OffsetIndex {
    /// The index of a segment of `log_bytes` bytes. `None` where it must be built anew.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open_checked(
        dir: &Arc<PartitionDir>,
        base_offset: i64,
        log_bytes: u64,
        cache: &Arc<FileCache>,
    ) -> io::Result<Option<OffsetIndex>> {
        OffsetIndex::open(dir, file_name(base_offset), base_offset, cache, |_, last, entries| {
            // An index that an Apache broker reserved and did not live to trim ends in zeros, which name the base offset.
            let first_of_one = entries == 1 && last.offset == base_offset && last.position == 0;
            let beyond_base = last.offset > base_offset && u64::from(last.position) < log_bytes;
            beyond_base || first_of_one
        })
    }

    /// Adds an entry, unless its offset is not above the last one's.
    ///
    /// # Errors
    /// What the file system says; the entry is not added then.
    pub fn append(&self, offset: i64, position: u32) -> io::Result<()> {
        self.push(OffsetEntry { offset, position }, |last| last.offset < offset)
    }

    /// The last entry whose offset is not above `offset`: where to begin to look for it.
    ///
    /// # Errors
    /// What the file system says; `WouldBlock` by [`Reach::Memory`].
    pub fn lookup(&self, reach: Reach, offset: i64) -> io::Result<Option<OffsetEntry>> {
        self.find(reach, |entry| entry.offset <= offset)
    }

    /// The last entry that is not beyond `position`.
    ///
    /// # Errors
    /// What the file system says; `WouldBlock` by [`Reach::Memory`].
    pub fn lookup_position(&self, reach: Reach, position: u64) -> io::Result<Option<OffsetEntry>> {
        self.find(reach, |entry| u64::from(entry.position) <= position)
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
