//! From a timestamp to the first record that late: ListOffsets.

use bytes::Bytes;
use protocol::records::{MAX_DECOMPRESSED_BYTES, RecordBatch};
use protocol::types::{LeaderEpoch, Offset};

use crate::entry::{Entry, EntryScanner, SCAN_WINDOW_BYTES};
use crate::error::{Result, StorageError};
use crate::legacy;
use crate::log::Log;
use crate::reach::Reach;
use crate::segment::{End, Located, Segment, wrong_order};

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
    /// The first record whose timestamp is `timestamp` or later (ListOffsets v1 and later, `offsetsForTimes`). `None` where there is none.
    /// Batches are unpacked to find it exactly.
    ///
    /// # Errors
    /// [`StorageError`] where the log cannot be read.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>> {
        self.check_open()?;
        let log_start = self.log_start_offset().0;
        for segment in self.segments_from(log_start) {
            if segment.size() == 0 {
                continue;
            }
            segment.check_times()?;
            let end = segment.end();
            if end.max_timestamp < timestamp {
                continue;
            }
            let failed = |error| StorageError::io("read time index of", &segment.log_file().path(), error);
            let hint = segment.time_index().lookup(timestamp).map_err(failed)?;
            let from = match hint {
                Some(hint) if segment.fits(&hint)? => hint.offset,
                // An index that points astray costs a walk from the start.
                _ => segment.base_offset(),
            };
            let Some(first) = segment.locate_within(Reach::Disk, from.max(log_start), &end)? else { continue };
            let found = scan_for_timestamp(&segment, &first, &end, timestamp, log_start)?;
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
        let segments = self.segments();
        for segment in &segments {
            segment.check_times()?;
        }
        let largest = segments.iter().map(|segment| segment.end().max_timestamp).max().unwrap_or(-1);
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

fn scan_for_timestamp(
    segment: &Segment,
    first: &Located,
    end: &End,
    timestamp: i64,
    log_start: i64,
) -> Result<Option<TimestampOffset>> {
    let mut scanner = EntryScanner::new(segment.read_file()?, first.entry.position, end.size, SCAN_WINDOW_BYTES);
    let mut follows = first.follows;
    while let Some(entry) = scanner.next_checked().map_err(|error| segment.scan_error(error))? {
        let next = scanner.peek_entry().ok().flatten();
        if let Some(why) = wrong_order(&entry, follows, next.as_ref(), end) {
            return Err(StorageError::Damaged { path: segment.log_file().path(), position: entry.position, why });
        }
        follows = Some(entry.next_offset());
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
