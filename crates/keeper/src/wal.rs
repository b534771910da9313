//! The transaction log: where a write must be before anybody hears of it.
//!
//! A log is a row of segment files `log.<zxid of its first record, 16 hex digits>`. All numbers are big-endian.
//!
//! | segment header, 32 bytes | | record, 24 bytes and its body | |
//! |---|---|---|---|
//! | magic `TIDEKLOG` | 8 | crc | u32 |
//! | version 1 | u32 | length of the body | u32 |
//! | zxid of the first record | u64 | zxid | u64 |
//! | salt, random | u64 | synced: newest zxid known to be on disk when this was written | u64 |
//! | crc of the above | u32 | body | length |
//!
//! The crc of a record is CRC-32C over the segment's salt, the other three fields and the body, so bytes of another file or another life of this one do not pass. Zxids rise
//! by one from record to record and from segment to segment; zeros follow the last record. `synced` tells a torn end from damage (`recovery.rs`): a record that says
//! "zxid N was on disk before me" proves that an unreadable N is a loss, and not the trace of a crash. A log that rests, or is closed, says the same of its last record by a
//! *mark* behind it: a record without a body, of the same zxid. The next record is written over it.
//!
//! What is always true: [`Wal::commit`] returns only when the batch is on disk; after an error the log takes nothing more. Up to [`Wal::room`] bytes are taken for certain: the
//! file holds zeros there already, so that no full disk can refuse them.

use std::path::{Path, PathBuf};

use bytes::{BufMut, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use runtime::disk::Open;
use runtime::{Disk, File, Random};

use crate::config::KeeperConfig;
use crate::error::{KeeperError, is_full_disk};
use crate::txn::Txn;

pub(crate) const MAGIC: &[u8; 8] = b"TIDEKLOG";
pub(crate) const VERSION: u32 = 1;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 32;
pub(crate) const RECORD_HEADER_BYTES: usize = 24;

/// Largest segment a keeper can have written: one transaction over the limit. Larger files are not ours.
pub(crate) const SEGMENT_FILE_BYTES_MAX: u64 = 2 * KeeperConfig::SEGMENT_BYTES_MAX;

/// Zeros are written ahead of the records, so that a sync has no new blocks to note and a full disk takes nothing back; the stretch doubles from this to `preAllocSize` as the
/// segment grows.
const ZEROS_AHEAD_MIN: u64 = 256 << 10;

/// Bytes of a mark.
const MARK_BYTES: u64 = RECORD_HEADER_BYTES as u64;

/// Name of the segment that starts with this record.
pub(crate) fn segment_name(first_zxid: i64) -> String {
    format!("log.{first_zxid:016x}")
}

/// Transactions on their way to the log, in order.
#[derive(Debug, Default)]
pub(crate) struct LogBuffer {
    /// Records with their headers; crc and synced are filled in by [`Wal::commit`].
    pub(crate) records: BytesMut,
    /// Where each record starts.
    starts: Vec<usize>,
    pub(crate) first_zxid: i64,
    pub(crate) last_zxid: i64,
}

impl LogBuffer {
    /// Adds the next transaction.
    pub(crate) fn push(&mut self, txn: &Txn) {
        let start = self.records.len();
        self.records.put_bytes(0, RECORD_HEADER_BYTES);
        txn.write(&mut self.records);
        let length = (self.records.len() - start - RECORD_HEADER_BYTES) as u32;
        self.records[start + 4..start + 8].copy_from_slice(&length.to_be_bytes());
        self.records[start + 8..start + 16].copy_from_slice(&(txn.zxid as u64).to_be_bytes());
        if self.starts.is_empty() {
            self.first_zxid = txn.zxid;
        }
        self.starts.push(start);
        self.last_zxid = txn.zxid;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.records.len()
    }

    /// Lets its transactions go unwritten, where nothing is ever written.
    pub(crate) fn forget(&mut self) {
        self.clear();
    }

    fn clear(&mut self) {
        self.records.clear();
        self.starts.clear();
    }
}

/// CRC-32C of a record, all of it but the crc itself.
pub(crate) fn record_crc(salt: u64, record_behind_crc: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&salt.to_be_bytes());
    digest.update(record_behind_crc);
    digest.finalize() as u32
}

/// CRC-32C of plain bytes.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The log, open for appending.
#[derive(Debug)]
pub(crate) struct Wal {
    disk: Disk,
    random: Random,
    dir: PathBuf,
    force_sync: bool,
    /// A segment that has reached this size is followed by a new one.
    segment_bytes: u64,
    zeros_ahead_max: u64,
    /// First zxids of all segments, oldest first.
    segments: Vec<i64>,
    /// Made when first room is asked for: a start without writes leaves no file.
    open: Option<Segment>,
    synced_zxid: i64,
    /// The disk had no room the last time some was looked for.
    full: bool,
}

#[derive(Debug)]
struct Segment {
    file: File,
    path: PathBuf,
    salt: u64,
    end: u64,
    /// Up to here the file holds zeros.
    zeroed: u64,
}

impl Wal {
    /// Goes on behind `last_zxid`, in a new segment of `dir`. `segments` are the ones there, by first zxid.
    pub(crate) fn new(
        disk: Disk,
        random: Random,
        dir: &Path,
        config: &KeeperConfig,
        segments: Vec<i64>,
        last_zxid: i64,
    ) -> Wal {
        Wal {
            disk,
            random,
            dir: dir.to_owned(),
            force_sync: config.force_sync,
            segment_bytes: config.log_segment_bytes,
            zeros_ahead_max: config.pre_alloc_bytes,
            segments,
            open: None,
            synced_zxid: last_zxid,
            full: false,
        }
    }

    /// Bytes of transactions that will be taken for certain.
    pub(crate) fn room(&self) -> u64 {
        self.open.as_ref().map_or(0, Segment::room)
    }

    /// Whether the disk had no room the last time some was looked for.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Writes a batch and waits until it is on disk. The batch comes back empty, its memory kept.
    pub(crate) fn commit(&mut self, batch: &mut LogBuffer) -> Result<(), KeeperError> {
        if batch.is_empty() {
            return Ok(());
        }
        if self.room() < batch.bytes() as u64 {
            self.extend(batch.bytes() as u64)?;
        }
        let Some(segment) = &mut self.open else { return Err(KeeperError::Panicked) };
        let ends = batch.starts.iter().skip(1).copied().chain([batch.records.len()]);
        for (start, end) in batch.starts.iter().copied().zip(ends) {
            let record = &mut batch.records[start..end];
            record[16..24].copy_from_slice(&(self.synced_zxid as u64).to_be_bytes());
            let crc = record_crc(segment.salt, &record[4..]);
            record[..4].copy_from_slice(&crc.to_be_bytes());
        }
        segment
            .file
            .write_all_at(&batch.records, segment.end)
            .map_err(KeeperError::io("write the transaction log", &segment.path))?;
        segment.end += batch.records.len() as u64;
        let low = stretch(segment.end, self.zeros_ahead_max) / 2;
        let next = self.stretch_min();
        let goes_on = self.open.as_ref().is_some_and(|segment| segment.end + next <= self.segment_bytes);
        if goes_on {
            self.look_for_room(low, 0)?;
        }
        self.sync()?;
        self.synced_zxid = batch.last_zxid;
        batch.clear();
        // The next segment begins with the next transaction, and must not be there before this one ends.
        if goes_on { Ok(()) } else { self.look_for_room(low, next) }
    }

    /// Sees to it that so many bytes will be taken for certain. A disk that has no room for that is no error: [`Wal::is_full`] then says so, once in the log.
    pub(crate) fn reserve(&mut self, bytes: u64) -> Result<(), KeeperError> {
        self.look_for_room(bytes, bytes)
    }

    /// Writes zeros ahead where fewer than `low` bytes are left, so that at least `bytes` are.
    fn look_for_room(&mut self, low: u64, bytes: u64) -> Result<(), KeeperError> {
        // What is left after a full disk is no sign of room.
        let result = if self.room() < low || self.full { self.extend(bytes) } else { Ok(()) };
        match result {
            Ok(()) if self.full => {
                self.full = false;
                tracing::info!("there is room again in {}: the keeper takes writes", self.dir.display());
                Ok(())
            }
            Err(error) if error.is_full_disk() => {
                if !self.full {
                    self.full = true;
                    tracing::error!(
                        "{error}: no space left; writes are refused (OperationTimeout) until there is room, which is looked for once a second, and all else goes on; help: df -h {}",
                        self.dir.display()
                    );
                }
                Ok(())
            }
            result => result,
        }
    }

    /// Says behind the last record that it is on disk, so that its damage can be told from a torn end. Written and not synced: it is news for a start after a kill at once, for
    /// one after a power cut when the kernel has written it back.
    pub(crate) fn mark(&mut self) -> Result<(), KeeperError> {
        match &self.open {
            Some(segment) if segment.has_records() => segment
                .file
                .write_all_at(&mark(segment.salt, self.synced_zxid), segment.end)
                .map_err(KeeperError::io("write the transaction log", &segment.path)),
            _ => Ok(()),
        }
    }

    /// Trims the open segment to what it holds.
    pub(crate) fn close(&mut self) -> Result<(), KeeperError> {
        let zxid = self.synced_zxid;
        self.open.take().map_or(Ok(()), |segment| segment.close(zxid, self.force_sync))
    }

    /// Removes the segments in which every record is at or below `zxid`: a snapshot has them.
    pub(crate) fn purge(&mut self, zxid: i64) -> Result<(), KeeperError> {
        while let [first, second, ..] = self.segments[..] {
            if second > zxid + 1 {
                break;
            }
            let path = self.dir.join(segment_name(first));
            self.disk.remove_file(&path).map_err(KeeperError::io("remove the old transaction log", path))?;
            self.segments.remove(0);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), KeeperError> {
        match &self.open {
            Some(segment) if self.force_sync => {
                segment.file.sync_data().map_err(KeeperError::io("sync the transaction log", &segment.path))
            }
            _ => Ok(()),
        }
    }

    /// Writes zeros ahead, in the open segment or a new one.
    fn extend(&mut self, bytes: u64) -> Result<(), KeeperError> {
        let ahead = self.ahead(bytes);
        if let Some(segment) = &mut self.open
            && (segment.end + bytes <= self.segment_bytes || !segment.has_records())
        {
            return segment.zero_to(segment.end + ahead);
        }
        let next = self.create(self.synced_zxid + 1, bytes)?;
        // Only now: where there is no room for the next one, what is left in this one still serves.
        let (before, zxid) = (self.open.replace(next), self.synced_zxid);
        before.map_or(Ok(()), |segment| segment.close(zxid, self.force_sync))
    }

    /// How far to write ahead for so many bytes; in small steps where the disk has little room left.
    fn ahead(&self, bytes: u64) -> u64 {
        let end = self.open.as_ref().map_or(0, |segment| segment.end);
        let stretch = stretch(end, self.zeros_ahead_max);
        let free = self.disk.free_bytes(&self.dir).unwrap_or(u64::MAX);
        let ahead = if stretch <= free { stretch } else { self.stretch_min() };
        ahead.max(bytes + MARK_BYTES)
    }

    /// Where the disk has less than this, it is full.
    fn stretch_min(&self) -> u64 {
        stretch(0, self.zeros_ahead_max)
    }

    fn create(&mut self, first_zxid: i64, bytes: u64) -> Result<Segment, KeeperError> {
        let path = self.dir.join(segment_name(first_zxid));
        // A file of that name can only be one without a record.
        let file =
            self.disk.open(&path, Open::Truncate).map_err(KeeperError::io("create the transaction log", &path))?;
        let (salt, end) = (self.random.u64(), SEGMENT_HEADER_BYTES as u64);
        let mut segment = Segment { file, path, salt, end, zeroed: end };
        let ahead = self.stretch_min().max(bytes + MARK_BYTES);
        let written = segment
            .file
            .write_all_at(&segment_header(first_zxid, salt), 0)
            .map_err(KeeperError::io("write the transaction log", &segment.path))
            .and_then(|()| segment.zero_to(end + ahead));
        if let Err(error) = written {
            if error.is_full_disk() {
                self.give_up(first_zxid, &segment.path)?;
            }
            return Err(error);
        }
        if self.force_sync {
            segment.file.sync_data().map_err(KeeperError::io("sync the transaction log", &segment.path))?;
            self.disk.sync_dir(&self.dir).map_err(KeeperError::io("sync the directory", &self.dir))?;
        }
        if self.segments.last() != Some(&first_zxid) {
            self.segments.push(first_zxid);
        }
        Ok(segment)
    }

    /// Takes a segment back for which there was no room. The transaction it is named after goes into the one before, so it must not come back with a power cut.
    fn give_up(&mut self, first_zxid: i64, path: &Path) -> Result<(), KeeperError> {
        self.disk.remove_file(path).map_err(KeeperError::io("remove the unfinished transaction log", path))?;
        self.segments.retain(|segment| *segment != first_zxid);
        if self.force_sync {
            self.disk.sync_dir(&self.dir).map_err(KeeperError::io("sync the directory", &self.dir))?;
        }
        Ok(())
    }
}

impl Segment {
    fn has_records(&self) -> bool {
        self.end > SEGMENT_HEADER_BYTES as u64
    }

    /// Bytes of zeros ahead, but for those of a mark.
    fn room(&self) -> u64 {
        self.zeroed.saturating_sub(self.end + MARK_BYTES)
    }

    fn zero_to(&mut self, to: u64) -> Result<(), KeeperError> {
        let from = self.zeroed.max(self.end);
        if to <= from {
            return Ok(());
        }
        let zeros = vec![0; (to - from) as usize];
        let written = self.file.write_all_at(&zeros, from);
        if let Err(error) = written {
            // What a full disk did take is of more use to others.
            let _ = self.file.set_len(from);
            return Err(KeeperError::io("write the transaction log", &self.path)(error));
        }
        self.zeroed = to;
        Ok(())
    }

    fn close(&self, zxid: i64, force_sync: bool) -> Result<(), KeeperError> {
        close_segment(&self.file, self.salt, self.end, zxid, force_sync)
            .map_err(KeeperError::io("trim the transaction log", &self.path))
    }
}

/// Lets a segment end with its last record, `zxid`, and the mark of that.
pub(crate) fn close_segment(file: &File, salt: u64, end: u64, zxid: i64, force_sync: bool) -> std::io::Result<()> {
    let mut length = end;
    if end > SEGMENT_HEADER_BYTES as u64 {
        match file.write_all_at(&mark(salt, zxid), end) {
            Ok(()) => length += MARK_BYTES,
            // It is worth much, but not a refusal to start.
            Err(error) if is_full_disk(&error) => {}
            Err(error) => return Err(error),
        }
    }
    file.set_len(length)?;
    if force_sync { file.sync_data() } else { Ok(()) }
}

fn segment_header(first_zxid: i64, salt: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
    bytes.put_slice(MAGIC);
    bytes.put_u32(VERSION);
    bytes.put_u64(first_zxid as u64);
    bytes.put_u64(salt);
    bytes.put_u32(crc32c(&bytes));
    bytes
}

fn mark(salt: u64, zxid: i64) -> Vec<u8> {
    let mut behind_crc = Vec::with_capacity(RECORD_HEADER_BYTES);
    behind_crc.put_u32(0);
    behind_crc.put_u64(zxid as u64);
    behind_crc.put_u64(zxid as u64);
    let crc = record_crc(salt, &behind_crc);
    [&crc.to_be_bytes()[..], &behind_crc].concat()
}

/// Zeros to write ahead in a segment of this length.
fn stretch(end: u64, max: u64) -> u64 {
    end.clamp(ZEROS_AHEAD_MIN.min(max), max).next_power_of_two()
}
