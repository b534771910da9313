//! Reads: from an offset to a range of a file, without copying a record and without the append lock.

use std::io;

use bytes::Bytes;
use protocol::records::{MAX_DECOMPRESSED_BYTES, RecordBatch};
use protocol::types::{LeaderEpoch, Offset};
use runtime::File;

use crate::entry::{Entry, EntryScanner, LOOKUP_WINDOW_BYTES};
use crate::error::{ReadError, Result, StorageError};
use crate::legacy;
use crate::log::Log;
use crate::segment::{End, Segment};

/// Up to where a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadLimit {
    /// Everything: followers, and this broker's own coordinators.
    LogEnd,
    /// Records below the high watermark: consumers.
    HighWatermark(Offset),
    /// Records below the last stable offset: consumers with `read_committed`.
    LastStableOffset(Offset),
}

/// A range of a file that holds whole batches: what `sendfile` sends. The file stays open, and its bytes stay readable, while this lives;
/// only a cut of the log (a follower that diverged) can shorten it.
#[derive(Debug, Clone)]
pub struct FileSlice {
    /// The segment's file.
    pub file: File,
    /// First byte.
    pub pos: u64,
    /// Number of bytes, above 0.
    pub len: usize,
}

impl FileSlice {
    /// The bytes, copied into memory: for TLS, conversion, and our own reading.
    ///
    /// # Errors
    /// What the file system says; `UnexpectedEof` where the log was cut meanwhile.
    pub fn read(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.len];
        self.file.read_exact_at(&mut bytes, self.pos)?;
        Ok(Bytes::from(bytes))
    }
}

/// What a read found.
#[derive(Debug, Clone)]
pub struct ReadInfo {
    /// The batches; `None` where the reader is at the end of what it may see.
    pub slice: Option<FileSlice>,
    /// Offset of the first record of the first batch, which may lie before the offset asked for. At the end, the offset asked for.
    pub first_batch_offset: Offset,
    /// First offset kept.
    pub log_start_offset: Offset,
    /// End of the log when the read began.
    pub log_end_offset: Offset,
}

/// A record found by its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The record's timestamp in ms.
    pub timestamp: i64,
    /// Its offset.
    pub offset: Offset,
    /// Epoch of the leader that wrote it, where known.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Log {
    /// Finds the batches from the one that holds `offset` on: whole ones, of one segment, at most `max_bytes` in all. With `min_one` the first
    /// batch comes even where it is longer than that.
    ///
    /// # Errors
    /// [`ReadError::OffsetOutOfRange`] outside the log, [`ReadError::Storage`].
    pub fn read(
        &self,
        offset: Offset,
        max_bytes: usize,
        limit: ReadLimit,
        min_one: bool,
    ) -> Result<ReadInfo, ReadError> {
        // A segment that retention takes away under a reader's feet is looked for once more: by then the log start says so.
        const ATTEMPTS: usize = 2;
        for attempt in 1..=ATTEMPTS {
            self.check_open()?;
            let log_end = self.log_end_offset();
            let log_start = self.log_start_offset();
            if offset < log_start || offset > log_end {
                return Err(self.out_of_range(offset));
            }
            // A segment shows an append a moment before the log end does; a follower that saw it would next ask beyond the end.
            let visible = match limit {
                ReadLimit::LogEnd => log_end.0,
                ReadLimit::HighWatermark(bound) | ReadLimit::LastStableOffset(bound) => bound.0.min(log_end.0),
            };
            let mut info = ReadInfo {
                slice: None,
                first_batch_offset: offset,
                log_start_offset: log_start,
                log_end_offset: log_end,
            };
            if offset.0 >= visible || offset == log_end {
                return Ok(info);
            }
            let mut gone = false;
            for segment in self.segments_from(offset.0) {
                match read_segment(&segment, offset.0, max_bytes, visible, min_one) {
                    Ok(Some((first_batch_offset, slice))) => {
                        info.first_batch_offset = Offset(first_batch_offset);
                        info.slice = slice;
                        return Ok(info);
                    }
                    Ok(None) => {}
                    Err(_) if segment.is_deleted() && attempt < ATTEMPTS => {
                        gone = true;
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if !gone {
                return Ok(info);
            }
        }
        Err(self.out_of_range(offset))
    }

    fn out_of_range(&self, offset: Offset) -> ReadError {
        ReadError::OffsetOutOfRange {
            partition: self.partition().clone(),
            offset,
            log_start: self.log_start_offset(),
            log_end: self.log_end_offset(),
        }
    }

    /// The first record whose timestamp is `timestamp` or later (ListOffsets v1 and later, `offsetsForTimes`). `None` where there is none.
    /// Batches are unpacked to find it exactly.
    ///
    /// # Errors
    /// [`StorageError`] where the log cannot be read.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>> {
        self.check_open()?;
        let log_start = self.log_start_offset().0;
        for segment in self.segments_from(log_start) {
            let end = segment.end();
            if end.size == 0 || end.max_timestamp < timestamp {
                continue;
            }
            let failed = |error| StorageError::io("read time index of", &segment.log_file().path(), error);
            let from = segment.time_index().lookup(timestamp).map_err(failed)?;
            let from = segment.offset_index().lookup(from.max(log_start)).map_err(failed)?;
            let hit = scan_for_timestamp(&segment, u64::from(from), &end, timestamp, log_start);
            let found = match hit {
                // An index that points astray costs a walk from the start.
                Err(StorageError::Damaged { .. }) if from > 0 => {
                    scan_for_timestamp(&segment, 0, &end, timestamp, log_start)?
                }
                other => other?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The first of the records with the largest timestamp (ListOffsets with timestamp -3).
    ///
    /// # Errors
    /// [`StorageError`] where the log cannot be read.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>> {
        let largest = self.segments().iter().map(|segment| segment.end().max_timestamp).max().unwrap_or(-1);
        if largest < 0 {
            return Ok(None);
        }
        self.offset_for_timestamp(largest)
    }

    /// What ListOffsets v0 gives: base offsets of segments last written at `timestamp` or before, newest first, at most `count`. -1 stands for
    /// the log end as well, -2 for the log start alone (Kafka `legacyFetchOffsetsBefore`).
    #[must_use]
    pub fn segment_offsets_before(&self, timestamp: i64, count: usize) -> Vec<Offset> {
        let segments = self.segments();
        let log_start = self.log_start_offset().0;
        // Each segment's first offset with the time it was last written, then the log end with the time of day.
        let mut offsets: Vec<(i64, i64)> = segments
            .iter()
            .map(|segment| (segment.base_offset().max(log_start), segment.modified_ms().unwrap_or(i64::MAX)))
            .collect();
        if segments.last().is_some_and(|active| active.size() > 0) {
            offsets.push((self.log_end_offset().0, self.clock.now_ms()));
        }
        let newest = match timestamp {
            -1 => offsets.len(),
            -2 => usize::from(!offsets.is_empty()),
            _ => offsets.iter().rposition(|(_, time)| *time <= timestamp).map_or(0, |at| at + 1),
        };
        offsets[..newest].iter().rev().take(count).map(|(offset, _)| Offset(*offset)).collect()
    }
}

/// Base offset and range of what may be read from `offset` on; `None` where the segment holds nothing from there on.
fn read_segment(
    segment: &Segment,
    offset: i64,
    max_bytes: usize,
    visible: i64,
    min_one: bool,
) -> Result<Option<(i64, Option<FileSlice>)>> {
    let end = segment.end();
    if end.size == 0 {
        return Ok(None);
    }
    let Some(first) = segment.locate(offset, &end)? else { return Ok(None) };
    let bound = if visible >= end.next_offset {
        end.size
    } else if visible <= segment.base_offset() {
        0
    } else {
        segment.locate(visible, &end)?.map_or(end.size, |entry| entry.position)
    };
    if bound <= first.position {
        return Ok(Some((first.base_offset, None)));
    }
    let limit = first.position.saturating_add(max_bytes as u64).min(bound);
    let cut = if limit < first.end() {
        if min_one { first.end() } else { first.position }
    } else {
        segment.boundary_before(first.position, limit, &end)?
    };
    let len = (cut - first.position) as usize;
    if len == 0 {
        return Ok(Some((first.base_offset, None)));
    }
    let slice = FileSlice { file: segment.read_file()?, pos: first.position, len };
    Ok(Some((first.base_offset, Some(slice))))
}

fn scan_for_timestamp(
    segment: &Segment,
    from: u64,
    end: &End,
    timestamp: i64,
    log_start: i64,
) -> Result<Option<TimestampOffset>> {
    let mut scanner = EntryScanner::new(segment.read_file()?, from, end.size, LOOKUP_WINDOW_BYTES);
    while let Some(entry) = scanner.next_entry().map_err(|error| segment.scan_error(error))? {
        if entry.max_timestamp < timestamp || entry.last_offset < log_start {
            continue;
        }
        let bytes = scanner.entry_bytes(&entry, MAX_DECOMPRESSED_BYTES).map_err(|error| segment.scan_error(error))?;
        if let Some(found) = find_in_entry(segment, &entry, Bytes::from(bytes), timestamp, log_start)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn find_in_entry(
    segment: &Segment,
    entry: &Entry,
    bytes: Bytes,
    timestamp: i64,
    log_start: i64,
) -> Result<Option<TimestampOffset>> {
    let damaged =
        |why: String| StorageError::Damaged { path: segment.log_file().path(), position: entry.position, why };
    let found = |record_timestamp: i64, offset: Offset| TimestampOffset {
        timestamp: record_timestamp,
        offset,
        leader_epoch: Some(LeaderEpoch(entry.leader_epoch())).filter(|epoch| *epoch != LeaderEpoch::NONE),
    };
    let Some(header) = entry.batch else {
        let messages = legacy::messages(bytes).map_err(|error| damaged(error.to_string()))?;
        return Ok(messages
            .into_iter()
            .find(|message| message.timestamp >= timestamp && message.offset.0 >= log_start)
            .map(|message| found(message.timestamp, message.offset)));
    };
    let batch = RecordBatch { header, bytes };
    let mut records = batch.records(MAX_DECOMPRESSED_BYTES).map_err(|error| damaged(error.to_string()))?;
    while let Some(record) = records.next_ref() {
        let record = record.map_err(|error| damaged(error.to_string()))?;
        if record.timestamp >= timestamp && record.offset.0 >= log_start {
            return Ok(Some(found(record.timestamp, record.offset)));
        }
    }
    Ok(None)
}
