//! What `kafka-dump-log` shows: every batch or message of a segment with its position and whether it is intact, and the entries of both
//! indexes held against it. Files are read as they are; nothing is opened for writing, repaired or locked.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use protocol::records::batch::{ControlMarker, RecordBatch};
use protocol::records::message_set::Message;
use protocol::records::{MAX_DECOMPRESSED_BYTES, Record, RecordsError};
use runtime::disk::Open;
use runtime::{Disk, File};

use crate::entry::{Entry, EntryScanner, LOOKUP_WINDOW_BYTES, SCAN_WINDOW_BYTES, ScanError};
use crate::error::{Result, StorageError};
use crate::offset_index::{self, OffsetEntry};
use crate::segment::base_offset_of;
use crate::time_index::{self, TimeEntry};
use crate::{legacy, producer_state};

/// Longest index file read.
const INDEX_BYTES_MAX: u64 = 1 << 30;

/// A segment's `.log` file, walked entry by entry. The walk ends with the first damage, which is given as an error with its position.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
    scanner: EntryScanner,
    failed: bool,
}

/// One batch v2, or one message v0/v1 (perhaps a wrapper around others).
#[derive(Debug, Clone)]
pub struct DumpedEntry {
    /// Position, size, offsets, and the header of a batch v2.
    pub entry: Entry,
    /// The checksum stored with it.
    pub crc: u32,
    /// Whether the bytes give that checksum.
    pub is_valid: bool,
    bytes: Bytes,
}

impl DumpedEntry {
    /// The records of a batch v2; none of a message v0/v1.
    ///
    /// # Errors
    /// Where they cannot be unpacked or read.
    pub fn records(&self) -> Result<Vec<Record>, RecordsError> {
        let Some(header) = self.entry.batch else { return Ok(Vec::new()) };
        RecordBatch { header, bytes: self.bytes.clone() }.records(MAX_DECOMPRESSED_BYTES)?.collect()
    }

    /// What a control batch says.
    ///
    /// # Errors
    /// Where its record cannot be read.
    pub fn control_marker(&self) -> Result<Option<ControlMarker>, RecordsError> {
        let Some(header) = self.entry.batch else { return Ok(None) };
        RecordBatch { header, bytes: self.bytes.clone() }.control_marker()
    }

    /// The messages of an entry v0/v1, a wrapper unpacked, with absolute offsets; none of a batch v2.
    ///
    /// # Errors
    /// Where they cannot be unpacked or read.
    pub fn messages(&self) -> Result<Vec<Message>, RecordsError> {
        if self.entry.batch.is_some() { Ok(Vec::new()) } else { legacy::messages(self.bytes.clone()) }
    }
}

impl LogFile {
    /// Opens a `.log` file, whatever its name.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(disk: Disk, path: &Path) -> Result<LogFile> {
        let failed = |error| StorageError::io("open", path, error);
        let file = disk.open(path, Open::Read).map_err(failed)?;
        let length = file.len().map_err(failed)?;
        let scanner = EntryScanner::new(file.clone(), 0, length, SCAN_WINDOW_BYTES);
        Ok(LogFile { path: path.to_owned(), file, length, scanner, failed: false })
    }

    /// The base offset in the name.
    #[must_use]
    pub fn starting_offset(&self) -> Option<i64> {
        base_offset_of(self.path.file_name()?.to_str()?, ".log")
    }

    /// Bytes of the file.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it holds no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes from `position` on that are no whole entry: the walk has ended there.
    #[must_use]
    pub fn trailing_bytes(&self) -> u64 {
        self.length.saturating_sub(self.scanner.position())
    }

    /// The entry that begins at `position`.
    ///
    /// # Errors
    /// None begins there, or the file cannot be read.
    pub fn entry_at(&self, position: u64) -> Result<Option<Entry>> {
        let mut scanner = EntryScanner::new(self.file.clone(), position, self.length, LOOKUP_WINDOW_BYTES);
        scanner.next_entry().map_err(|error| self.error(error))
    }

    fn next_dumped(&mut self) -> Result<Option<DumpedEntry>> {
        let Some(entry) = self.scanner.next_entry().map_err(|error| self.error(error))? else { return Ok(None) };
        let is_valid = match self.scanner.check_crc(&entry) {
            Ok(()) => true,
            Err(ScanError::Damaged { .. }) => false,
            Err(error) => return Err(self.error(error)),
        };
        let bytes = self.scanner.entry_bytes(&entry, MAX_DECOMPRESSED_BYTES).map_err(|error| self.error(error))?;
        let crc_at = if entry.batch.is_some() { 17 } else { 12 };
        let mut crc = [0; 4];
        crc.copy_from_slice(&bytes[crc_at..crc_at + 4]);
        Ok(Some(DumpedEntry { entry, crc: u32::from_be_bytes(crc), is_valid, bytes: Bytes::from(bytes) }))
    }

    fn error(&self, error: ScanError) -> StorageError {
        match error {
            ScanError::Io(error) => StorageError::io("read", &self.path, error),
            ScanError::Damaged { position, why } => StorageError::Damaged { path: self.path.clone(), position, why },
        }
    }
}

impl Iterator for LogFile {
    type Item = Result<DumpedEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_dumped();
        self.failed = next.is_err();
        next.transpose()
    }
}

/// What is wrong with an entry of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexFault {
    /// The batch at the position ends at another offset than the entry says.
    OffsetMismatch {
        /// Offset in the index.
        index: i64,
        /// Last offset of the batch there.
        log: i64,
    },
    /// The time index names an offset that no batch ends with.
    OffsetNotFound {
        /// Offset in the index.
        index: i64,
        /// Last offset of the batch that follows; -1 where none does.
        log: i64,
    },
    /// The batch carries another largest timestamp.
    TimestampMismatch {
        /// Timestamp in the index.
        index: i64,
        /// Largest timestamp of the batch.
        log: i64,
    },
    /// Timestamps do not rise.
    OutOfOrder {
        /// Timestamp in the index.
        index: i64,
        /// The one before.
        previous: i64,
    },
    /// The log cannot be read where the entry points.
    Unreadable {
        /// Offset in the index.
        index: i64,
        /// Why.
        why: String,
    },
}

/// The entries of an `.index` file. Zeros at its end (reserved by an Apache broker) are left out, as is a cut last entry.
///
/// # Errors
/// The file cannot be read, or its name does not say its base offset.
pub fn offset_index_entries(disk: Disk, path: &Path) -> Result<Vec<OffsetEntry>> {
    let (base_offset, bytes) = read_index(disk, path, ".index")?;
    let (entries, _) = bytes.as_chunks::<{ offset_index::ENTRY_BYTES }>();
    let used = entries.iter().rposition(|entry| entry.iter().any(|byte| *byte != 0)).map_or(0, |at| at + 1);
    Ok(entries[..used].iter().map(|entry| offset_index::decode(entry, base_offset)).collect())
}

/// The entries of a `.timeindex` file, as [`offset_index_entries`].
///
/// # Errors
/// The file cannot be read, or its name does not say its base offset.
pub fn time_index_entries(disk: Disk, path: &Path) -> Result<Vec<TimeEntry>> {
    let (base_offset, bytes) = read_index(disk, path, ".timeindex")?;
    let (entries, _) = bytes.as_chunks::<{ time_index::ENTRY_BYTES }>();
    let used = entries.iter().rposition(|entry| entry.iter().any(|byte| *byte != 0)).map_or(0, |at| at + 1);
    Ok(entries[..used].iter().map(|entry| time_index::decode(entry, base_offset)).collect())
}

fn read_index(disk: Disk, path: &Path, suffix: &str) -> Result<(i64, Vec<u8>)> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let base_offset = base_offset_of(name, suffix).ok_or_else(|| StorageError::Damaged {
        path: path.to_owned(),
        position: 0,
        why: format!("the name is not 20 digits and {suffix}"),
    })?;
    let bytes = disk.read(path, INDEX_BYTES_MAX).map_err(|error| StorageError::io("read", path, error))?;
    Ok((base_offset, bytes))
}

/// Holds the entries of an offset index against the log they belong to.
#[must_use]
pub fn check_offset_index(log: &LogFile, entries: &[OffsetEntry]) -> Vec<IndexFault> {
    let mut faults = Vec::new();
    for entry in entries {
        match log.entry_at(u64::from(entry.position)) {
            Ok(Some(found)) if found.last_offset == entry.offset => {}
            // Brokers before 0.11 noted the first offset of what they appended; a compressed message shows only its last.
            Ok(Some(found)) if found.batch.is_none() && found.last_offset >= entry.offset => {}
            Ok(Some(found)) => faults.push(IndexFault::OffsetMismatch { index: entry.offset, log: found.last_offset }),
            Ok(None) => faults.push(IndexFault::OffsetMismatch { index: entry.offset, log: -1 }),
            Err(error) => faults.push(IndexFault::Unreadable { index: entry.offset, why: error.to_string() }),
        }
    }
    faults
}

/// Holds the entries of a time index against the log, found through the offset index.
#[must_use]
pub fn check_time_index(log: &LogFile, offsets: &[OffsetEntry], entries: &[TimeEntry]) -> Vec<IndexFault> {
    let mut faults = Vec::new();
    let mut previous = -1;
    for entry in entries {
        let before = offsets.partition_point(|offset| offset.offset <= entry.offset);
        let from = before.checked_sub(1).map_or(0, |at| u64::from(offsets[at].position));
        let mut scanner = EntryScanner::new(log.file.clone(), from, log.length, LOOKUP_WINDOW_BYTES);
        let found = loop {
            match scanner.next_entry() {
                Ok(Some(found)) if found.last_offset < entry.offset => {}
                other => break other,
            }
        };
        match found {
            Ok(Some(found)) if found.last_offset != entry.offset => {
                faults.push(IndexFault::OffsetNotFound { index: entry.offset, log: found.last_offset });
            }
            Ok(Some(found)) if found.max_timestamp != entry.timestamp => {
                faults.push(IndexFault::TimestampMismatch { index: entry.timestamp, log: found.max_timestamp });
            }
            Ok(Some(_)) => {}
            Ok(None) => faults.push(IndexFault::OffsetNotFound { index: entry.offset, log: -1 }),
            Err(error) => {
                faults.push(IndexFault::Unreadable { index: entry.offset, why: log.error(error).to_string() })
            }
        }
        if previous >= entry.timestamp {
            faults.push(IndexFault::OutOfOrder { index: entry.timestamp, previous });
        }
        previous = entry.timestamp;
    }
    faults
}

/// The producers in a `.snapshot` file.
///
/// # Errors
/// Why there are none.
pub fn producers(disk: Disk, path: &Path) -> Result<Vec<(i64, producer_state::Producer)>> {
    producer_state::snapshot::read(disk, path).map_err(|why| StorageError::Damaged {
        path: path.to_owned(),
        position: 0,
        why,
    })
}

#[cfg(test)]
mod tests;
