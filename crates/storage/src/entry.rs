//! Walks the entries of a `.log` file: record batches v2, and the messages v0/v1 that Apache brokers before 0.11 wrote.
//!
//! All three formats begin with an offset, a length, and a magic byte at 16, so one walk serves all. Bytes on disk may be anything: a length is
//! believed only where the file holds that much, and a damaged entry is an error with its position, never a panic.

use std::io;

use protocol::records::batch::{self, HEADER_LEN, LOG_OVERHEAD, MAGIC_AT, MAGIC_V2};
use protocol::records::{BatchHeader, NO_TIMESTAMP};
use runtime::File;

use crate::reach::Reach;

/// Smallest message v0: offset, size, CRC, magic, attributes, and the lengths of key and value.
const MESSAGE_V0_BYTES_MIN: usize = 26;
/// Bytes read at a time by a walk that looks at headers only.
pub const LOOKUP_WINDOW_BYTES: usize = 4096;
/// Bytes read at a time by a walk over everything.
pub const SCAN_WINDOW_BYTES: usize = 256 << 10;

/// Where an entry lies in its file, and what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Byte at which it begins.
    pub position: u64,
    /// Its bytes, header included.
    pub size: u32,
    /// Format: 0, 1 or 2.
    pub magic: i8,
    /// Offset of the first record. A compressed message v0/v1 does not say it; then this is the last one.
    pub base_offset: i64,
    /// Offset of the last record.
    pub last_offset: i64,
    /// Largest timestamp in ms; -1 where there is none (v0).
    pub max_timestamp: i64,
    /// The header of a batch v2.
    pub batch: Option<BatchHeader>,
}

impl Entry {
    /// Byte after the entry.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.position + u64::from(self.size)
    }

    /// Offset of the next record.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.last_offset.saturating_add(1)
    }

    /// Epoch of the leader that wrote it; -1 in formats that do not say.
    #[must_use]
    pub fn leader_epoch(&self) -> i32 {
        self.batch.map_or(-1, |batch| batch.partition_leader_epoch.0)
    }

    /// Reads the entry that begins at `head`, which holds the first bytes of the `available` that the file has from there.
    ///
    /// # Errors
    /// Why there is no entry.
    pub fn parse(head: &[u8], position: u64, available: u64) -> Result<Entry, String> {
        if available < (MAGIC_AT + 1) as u64 || head.len() <= MAGIC_AT {
            return Err(format!("{available} bytes are less than a header"));
        }
        let size = match batch::peek_size(head) {
            Ok(Some(size)) => size,
            Ok(None) => return Err(format!("{available} bytes are less than a header")),
            Err(error) => return Err(error.to_string()),
        };
        let magic = head[MAGIC_AT] as i8;
        let smallest = if magic == MAGIC_V2 { HEADER_LEN } else { MESSAGE_V0_BYTES_MIN };
        if !(0..=MAGIC_V2).contains(&magic) {
            return Err(format!("magic byte {magic} names no format"));
        }
        if size < smallest {
            return Err(format!("length {size} is less than a header"));
        }
        if size as u64 > available {
            return Err(format!("the header promises {size} bytes, {available} are there"));
        }
        let size_u32 = u32::try_from(size).map_err(|_| format!("length {size} is too long"))?;
        if magic == MAGIC_V2 {
            let header = BatchHeader::parse(head).map_err(|error| error.to_string())?;
            if header.base_offset.0 < 0 {
                return Err(format!("offset {} is negative", header.base_offset));
            }
            return Ok(Entry {
                position,
                size: size_u32,
                magic,
                base_offset: header.base_offset.0,
                last_offset: header.last_offset().0,
                max_timestamp: header.max_timestamp,
                batch: Some(header),
            });
        }
        let offset = i64::from_be_bytes(head[..8].try_into().unwrap_or_default());
        if offset < 0 {
            return Err(format!("offset {offset} is negative"));
        }
        let max_timestamp = match head.get(18..26) {
            Some(timestamp) if magic == 1 => i64::from_be_bytes(timestamp.try_into().unwrap_or_default()),
            _ => NO_TIMESTAMP,
        };
        Ok(Entry {
            position,
            size: size_u32,
            magic,
            base_offset: offset,
            last_offset: offset,
            max_timestamp,
            batch: None,
        })
    }
}

/// Why a walk stopped before the end.
#[derive(Debug)]
pub enum ScanError {
    /// The file cannot be read.
    Io(io::Error),
    /// No intact entry begins at `position`.
    Damaged {
        /// Byte in the file.
        position: u64,
        /// What is wrong.
        why: String,
    },
}

/// A walk over the entries between two positions of a file.
#[derive(Debug)]
pub struct EntryScanner {
    file: File,
    reach: Reach,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
    window_bytes: usize,
}

impl EntryScanner {
    /// Walks from `position`, where an entry must begin, to `end`, reading `window_bytes` at a time.
    #[must_use]
    pub fn new(file: File, position: u64, end: u64, window_bytes: usize) -> EntryScanner {
        let window_bytes = window_bytes.max(HEADER_LEN);
        EntryScanner {
            file,
            reach: Reach::Disk,
            position,
            end,
            window: Vec::new(),
            window_start: position,
            window_bytes,
        }
    }

    /// The same walk, within a reach.
    #[must_use]
    pub fn within(self, reach: Reach) -> EntryScanner {
        EntryScanner { reach, ..self }
    }

    /// Where the next entry begins.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next entry by its header; its CRC is not looked at.
    ///
    /// # Errors
    /// The file cannot be read, or no entry begins here; the walk stays where it is.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ScanError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let (position, available) = (self.position, self.end - self.position);
        let head = self.bytes(position, HEADER_LEN.min(usize::try_from(available).unwrap_or(HEADER_LEN)))?;
        let entry = Entry::parse(head, position, available).map_err(|why| ScanError::Damaged { position, why })?;
        self.position = entry.end();
        Ok(Some(entry))
    }

    /// The entry that the next call of [`EntryScanner::next_entry`] gives.
    ///
    /// # Errors
    /// As that one.
    pub fn peek_entry(&mut self) -> Result<Option<Entry>, ScanError> {
        let peeked = self.next_entry();
        if let Ok(Some(entry)) = &peeked {
            self.position = entry.position;
        }
        peeked
    }

    /// The next entry, its CRC checked.
    ///
    /// # Errors
    /// As [`EntryScanner::next_entry`]; a wrong CRC is damage.
    pub fn next_checked(&mut self) -> Result<Option<Entry>, ScanError> {
        let Some(entry) = self.next_entry()? else { return Ok(None) };
        match self.check_crc(&entry) {
            Ok(()) => Ok(Some(entry)),
            Err(error) => {
                self.position = entry.position;
                Err(error)
            }
        }
    }

    /// Compares the stored CRC with one computed over the entry, a window at a time.
    ///
    /// # Errors
    /// The file cannot be read, or the two differ.
    pub fn check_crc(&mut self, entry: &Entry) -> Result<(), ScanError> {
        let (from, algorithm) = match entry.magic {
            MAGIC_V2 => (21, crc_fast::CrcAlgorithm::Crc32Iscsi),
            _ => (16, crc_fast::CrcAlgorithm::Crc32IsoHdlc),
        };
        let stored = match entry.batch {
            Some(batch) => batch.crc,
            None => {
                let field = self.bytes(entry.position + 12, 4)?;
                u32::from_be_bytes(field.try_into().unwrap_or_default())
            }
        };
        let mut digest = crc_fast::Digest::new(algorithm);
        let mut position = entry.position + from;
        while position < entry.end() {
            let wanted = usize::try_from(entry.end() - position).unwrap_or(usize::MAX).min(self.window_bytes);
            let bytes = self.bytes(position, wanted)?;
            digest.update(bytes);
            position += wanted as u64;
        }
        let computed = digest.finalize() as u32;
        if stored == computed {
            return Ok(());
        }
        let why = format!("Record is corrupt (stored crc = {stored}, computed crc = {computed})");
        Err(ScanError::Damaged { position: entry.position, why })
    }

    /// The bytes of an entry that the walk has given, at most `limit` of them.
    ///
    /// # Errors
    /// The file cannot be read, or the entry is longer than `limit`.
    pub fn entry_bytes(&mut self, entry: &Entry, limit: usize) -> Result<Vec<u8>, ScanError> {
        let size = entry.size as usize;
        if size > limit {
            let why = format!("an entry of {size} bytes is more than the {limit} looked into");
            return Err(ScanError::Damaged { position: entry.position, why });
        }
        let held = entry.position.checked_sub(self.window_start).and_then(|at| usize::try_from(at).ok());
        if let Some(bytes) = held.and_then(|at| self.window.get(at..)?.get(..size)) {
            return Ok(bytes.to_vec());
        }
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, entry.position).map_err(ScanError::Io)?;
        Ok(bytes)
    }

    /// `wanted` bytes at `position`, which must lie before the end.
    fn bytes(&mut self, position: u64, wanted: usize) -> Result<&[u8], ScanError> {
        let held = self.window_start..self.window_start + self.window.len() as u64;
        if position < held.start || position + wanted as u64 > held.end {
            let left = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
            let fill = self.window_bytes.max(wanted).min(left.max(wanted));
            self.window.resize(fill, 0);
            let read = self.reach.read_at(&self.file, &mut self.window, position);
            self.window.truncate(*read.as_ref().unwrap_or(&0));
            self.window_start = position;
            let read = read.map_err(ScanError::Io)?;
            if read < wanted {
                let why = format!("the file ends {} bytes early", wanted - read);
                return Err(ScanError::Damaged { position, why });
            }
        }
        let from = (position - self.window_start) as usize;
        Ok(&self.window[from..from + wanted])
    }
}

/// Position of the first entry after damage that is a batch v2 with a right CRC and an offset of at least `offset_min`: proof that the file
/// was not merely cut short. Offsets further than 2^31 ahead are taken for chance.
///
/// # Errors
/// The file cannot be read.
pub fn find_intact_batch(file: &File, from: u64, end: u64, offset_min: i64) -> io::Result<Option<u64>> {
    let mut window = vec![0; SCAN_WINDOW_BYTES + HEADER_LEN];
    let mut start = from;
    while start + HEADER_LEN as u64 <= end {
        let wanted = usize::try_from(end - start).unwrap_or(usize::MAX).min(window.len());
        let read = file.read_at(&mut window[..wanted], start)?;
        if read < HEADER_LEN {
            return Ok(None);
        }
        for at in 0..=(read - HEADER_LEN).min(SCAN_WINDOW_BYTES - 1) {
            if window[at + MAGIC_AT] != MAGIC_V2 as u8 {
                continue;
            }
            let position = start + at as u64;
            let Ok(entry) = Entry::parse(&window[at..at + HEADER_LEN], position, end - position) else { continue };
            if entry.base_offset < offset_min || entry.base_offset - offset_min > i64::from(i32::MAX) {
                continue;
            }
            let mut scanner = EntryScanner::new(file.clone(), position, end, LOOKUP_WINDOW_BYTES);
            match scanner.next_checked() {
                Ok(Some(_)) => return Ok(Some(position)),
                Err(ScanError::Io(error)) => return Err(error),
                _ => {}
            }
        }
        start += SCAN_WINDOW_BYTES as u64;
    }
    Ok(None)
}

/// Bytes that every format has before its magic byte.
pub const ENTRY_BYTES_MIN: usize = LOG_OVERHEAD + 5;
