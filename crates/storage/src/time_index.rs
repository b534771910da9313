//! `.timeindex`: from a timestamp to an offset. 12 bytes an entry: timestamp i64 in ms, offset less the segment's base offset i32; both rise.
//!
//! An entry (t, o) says: records with a timestamp above t come after offset o. The last entry of a closed segment carries its largest
//! timestamp, which is what retention by time and a later start go by.

use std::io;
use std::sync::Arc;

use crate::file_cache::FileCache;
use crate::index_file::{IndexEntry, IndexFile};
use crate::log_dir::PartitionDir;
use crate::reach::Reach;

/// Bytes of one entry.
pub const ENTRY_BYTES: usize = 12;

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeEntry {
    /// Largest timestamp up to `offset`, in ms since 1970.
    pub timestamp: i64,
    /// Last offset of the entry of the log that carries it.
    pub offset: i64,
}

/// The time index of one segment.
pub type TimeIndex = IndexFile<TimeEntry>;

impl IndexEntry for TimeEntry {
    const BYTES: usize = ENTRY_BYTES;

    fn offset(&self) -> i64 {
        self.offset
    }

    fn encode(&self, base_offset: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&((self.offset - base_offset) as i32).to_be_bytes());
    }

    fn decode(bytes: &[u8], base_offset: i64) -> TimeEntry {
        let mut fields = [0; ENTRY_BYTES];
        fields.copy_from_slice(bytes);
        decode(&fields, base_offset)
    }
}

impl TimeIndex {
    /// The index of a segment. `None` where it must be built anew.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open_checked(
        dir: &Arc<PartitionDir>,
        base_offset: i64,
        cache: &Arc<FileCache>,
    ) -> io::Result<Option<TimeIndex>> {
        TimeIndex::open(dir, file_name(base_offset), base_offset, cache, |first, last, entries| {
            last.offset >= base_offset
                && last.timestamp >= first.timestamp
                && last.timestamp >= 0
                && (entries == 1 || last.offset != base_offset)
        })
    }

    /// Adds an entry where its timestamp is above the last one's.
    ///
    /// # Errors
    /// What the file system says; the entry is not added then.
    pub fn maybe_append(&self, timestamp: i64, offset: i64) -> io::Result<()> {
        if timestamp < 0 {
            return Ok(());
        }
        self.push(TimeEntry { timestamp, offset }, |last| last.timestamp < timestamp && last.offset <= offset)
    }

    /// The last entry not above `timestamp`: no record before its offset is so late.
    ///
    /// # Errors
    /// What the file system says.
    pub fn lookup(&self, timestamp: i64) -> io::Result<Option<TimeEntry>> {
        self.find(Reach::Disk, |entry| entry.timestamp <= timestamp)
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
