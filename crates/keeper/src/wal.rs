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
//! "zxid N was on disk before me" proves that an unreadable N is a loss, and not the trace of a crash.
//!
//! What is always true: [`Wal::commit`] returns only when the batch is on disk; after an error the log takes nothing more.

use std::path::{Path, PathBuf};

use bytes::{BufMut, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use runtime::disk::Open;
use runtime::{Disk, File, Random};

use crate::error::KeeperError;
use crate::txn::Txn;

pub(crate) const MAGIC: &[u8; 8] = b"TIDEKLOG";
pub(crate) const VERSION: u32 = 1;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 32;
pub(crate) const RECORD_HEADER_BYTES: usize = 24;

/// A segment that has reached this size is followed by a new one.
const SEGMENT_BYTES: u64 = 64 << 20;

/// Largest segment a keeper can have written: one batch over the limit. Larger files are not ours.
pub(crate) const SEGMENT_FILE_BYTES_MAX: u64 = 2 * SEGMENT_BYTES;

/// Zeros are written ahead of the records, so that a sync has no new blocks to note; the stretch doubles from the first to the second of these as the segment grows.
const ZEROS_AHEAD_MIN: u64 = 256 << 10;
const ZEROS_AHEAD_MAX: u64 = 4 << 20;

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
    /// First zxids of all segments, oldest first.
    segments: Vec<i64>,
    /// Made with the first record: a start without writes leaves no file.
    open: Option<Segment>,
    synced_zxid: i64,
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
    /// Goes on behind `last_zxid`, in a new segment. `segments` are the ones there, by first zxid.
    pub(crate) fn new(
        disk: Disk,
        random: Random,
        dir: &Path,
        force_sync: bool,
        segments: Vec<i64>,
        last_zxid: i64,
    ) -> Wal {
        Wal { disk, random, dir: dir.to_owned(), force_sync, segments, open: None, synced_zxid: last_zxid }
    }

    /// Writes a batch and waits until it is on disk. The batch comes back empty, its memory kept.
    pub(crate) fn commit(&mut self, batch: &mut LogBuffer) -> Result<(), KeeperError> {
        if batch.is_empty() {
            return Ok(());
        }
        if self.open.as_ref().is_some_and(|segment| segment.end + batch.bytes() as u64 > SEGMENT_BYTES) {
            self.close()?;
        }
        let mut segment = match self.open.take() {
            Some(segment) => segment,
            None => self.create(batch.first_zxid)?,
        };
        let ends = batch.starts.iter().skip(1).copied().chain([batch.records.len()]);
        for (start, end) in batch.starts.iter().copied().zip(ends) {
            let record = &mut batch.records[start..end];
            record[16..24].copy_from_slice(&(self.synced_zxid as u64).to_be_bytes());
            let crc = record_crc(segment.salt, &record[4..]);
            record[..4].copy_from_slice(&crc.to_be_bytes());
        }
        let path = segment.path.clone();
        let failed = |what| KeeperError::io(what, path.clone());
        segment.file.write_all_at(&batch.records, segment.end).map_err(failed("write the transaction log"))?;
        segment.end += batch.records.len() as u64;
        segment.zero_ahead().map_err(failed("write the transaction log"))?;
        if self.force_sync {
            segment.file.sync_data().map_err(failed("sync the transaction log"))?;
        }
        self.synced_zxid = batch.last_zxid;
        self.open = Some(segment);
        batch.clear();
        Ok(())
    }

    /// Trims the open segment to what it holds.
    pub(crate) fn close(&mut self) -> Result<(), KeeperError> {
        let Some(segment) = self.open.take() else { return Ok(()) };
        let failed = |what| KeeperError::io(what, segment.path.clone());
        segment.file.set_len(segment.end).map_err(failed("trim the transaction log"))?;
        if self.force_sync {
            segment.file.sync_data().map_err(failed("sync the transaction log"))?;
        }
        Ok(())
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

    fn create(&mut self, first_zxid: i64) -> Result<Segment, KeeperError> {
        let path = self.dir.join(segment_name(first_zxid));
        let failed = |what| KeeperError::io(what, path.clone());
        // A file of that name can only be one whose first record was torn and cut off.
        let file = self.disk.open(&path, Open::Truncate).map_err(failed("create the transaction log"))?;
        let salt = self.random.u64();
        let mut header = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        header.put_slice(MAGIC);
        header.put_u32(VERSION);
        header.put_u64(first_zxid as u64);
        header.put_u64(salt);
        header.put_u32(crc32c(&header));
        file.write_all_at(&header, 0).map_err(failed("write the transaction log"))?;
        if self.force_sync {
            file.sync_data().map_err(failed("sync the transaction log"))?;
            self.disk.sync_dir(&self.dir).map_err(KeeperError::io("sync the directory", &self.dir))?;
        }
        if self.segments.last() != Some(&first_zxid) {
            self.segments.push(first_zxid);
        }
        Ok(Segment { file, path, salt, end: SEGMENT_HEADER_BYTES as u64, zeroed: SEGMENT_HEADER_BYTES as u64 })
    }
}

impl Segment {
    /// Keeps at least half a stretch of zeros before the next record.
    fn zero_ahead(&mut self) -> std::io::Result<()> {
        let stretch = self.end.clamp(ZEROS_AHEAD_MIN, ZEROS_AHEAD_MAX).next_power_of_two();
        if self.zeroed >= self.end + stretch / 2 || self.end >= SEGMENT_BYTES {
            self.zeroed = self.zeroed.max(self.end);
            return Ok(());
        }
        let from = self.zeroed.max(self.end);
        let to = self.end + stretch;
        self.file.write_all_at(&vec![0; (to - from) as usize], from)?;
        self.zeroed = to;
        Ok(())
    }
}
