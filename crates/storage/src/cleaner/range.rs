//! Which part of a log is to be cleaned, how badly, and which segments become one (Kafka `LogCleanerManager`, `Cleaner.groupSegmentsBySize`).
//! Plain functions of what is known of the segments.

use std::ops::Range;

use crate::config::LogConfig;

/// What is known of a segment without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Its first offset.
    pub base_offset: i64,
    /// Bytes of its `.log`.
    pub bytes: u64,
    /// Bytes of its offset index.
    pub offset_index_bytes: u64,
    /// Bytes of its time index.
    pub time_index_bytes: u64,
    /// Largest timestamp, in ms.
    pub largest_timestamp: i64,
    /// Timestamp of its first batch in ms, where `max.compaction.lag.ms` makes it worth reading.
    pub first_timestamp: Option<i64>,
}

/// What is known of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFacts {
    /// All segments; the last one is where appends go.
    pub segments: Vec<SegmentFacts>,
    /// Its first and its next offset.
    pub offsets: Range<i64>,
    /// Offset up to which records are decided and committed.
    pub last_stable_offset: i64,
    /// Offset up to which it was cleaned before.
    pub cleaned_to: Option<i64>,
}

/// The part of a log to clean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CleanRange {
    /// Records below were cleaned before.
    pub first_dirty: i64,
    /// Records from here on are not looked at: the first offset of a segment.
    pub first_uncleanable: i64,
    /// Bytes before the first dirty segment.
    pub clean_bytes: u64,
    /// Bytes between both bounds.
    pub dirty_bytes: u64,
    /// By how many ms the oldest dirty record is overdue by `max.compaction.lag.ms`; 0 where it is not.
    pub overdue_ms: i64,
}

impl CleanRange {
    /// Share of dirty bytes; 0 where there are none.
    #[must_use]
    pub fn dirty_ratio(&self) -> f64 {
        let total = self.clean_bytes + self.dirty_bytes;
        if total == 0 { 0.0 } else { self.dirty_bytes as f64 / total as f64 }
    }

    /// Whether it is worth a pass.
    #[must_use]
    pub fn is_due(&self, config: &LogConfig) -> bool {
        self.dirty_bytes > 0 && (self.overdue_ms > 0 || self.dirty_ratio() > config.min_cleanable_ratio)
    }
}

/// What could be cleaned at `now_ms`: not the segment where appends go, nothing that is undecided or uncommitted, and no segment with a record
/// younger than `min.compaction.lag.ms`, nor those after it.
#[must_use]
pub fn range_of(facts: &LogFacts, config: &LogConfig, now_ms: i64) -> CleanRange {
    let log_start = facts.offsets.start;
    let first_dirty = match facts.cleaned_to {
        // A log that was emptied or lost its end is dirty as a whole.
        Some(offset) if (log_start..=facts.offsets.end).contains(&offset) => offset,
        _ => log_start,
    };
    let Some((active, closed)) = facts.segments.split_last() else {
        return CleanRange {
            first_dirty,
            first_uncleanable: first_dirty,
            clean_bytes: 0,
            dirty_bytes: 0,
            overdue_ms: 0,
        };
    };
    let closed_dirty = closed.get(floor(&facts.segments, first_dirty)..).unwrap_or_default();
    let too_young = closed_dirty
        .iter()
        .find(|segment| {
            config.min_compaction_lag_ms > 0
                && segment.largest_timestamp > now_ms.saturating_sub(config.min_compaction_lag_ms)
        })
        .map_or(i64::MAX, |segment| segment.base_offset);
    let uncleanable = facts.last_stable_offset.min(active.base_offset).min(too_young);
    // Never beyond the base of the last segment, so what begins there begins a segment.
    let first_uncleanable = facts.segments[floor(&facts.segments, uncleanable)].base_offset;
    let bytes_where = |holds: &dyn Fn(&SegmentFacts) -> bool| {
        closed.iter().filter(|segment| holds(segment)).map(|segment| segment.bytes).sum::<u64>()
    };
    let dirty_base = closed_dirty.first().map_or(active.base_offset, |segment| segment.base_offset);
    let dirty_bytes =
        bytes_where(&|segment| segment.base_offset >= dirty_base && segment.base_offset < first_uncleanable);
    let earliest = closed_dirty.iter().filter_map(|segment| segment.first_timestamp.filter(|first| *first > 0)).min();
    let clean_until = now_ms.saturating_sub(config.max_compaction_lag_ms);
    CleanRange {
        first_dirty,
        first_uncleanable,
        clean_bytes: bytes_where(&|segment| segment.base_offset < dirty_base),
        dirty_bytes,
        overdue_ms: earliest.map_or(0, |earliest| clean_until.saturating_sub(earliest).max(0)),
    }
}

/// Index of the last segment that begins at or before `offset`; 0 where none does.
fn floor(segments: &[SegmentFacts], offset: i64) -> usize {
    segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
}

/// Splits segments into runs that become one segment each: neither longer than `segment.bytes`, nor with more index than
/// `segment.index.bytes`, nor with more offsets than an index can say. `end` is the first offset after them.
#[must_use]
pub fn groups(segments: &[SegmentFacts], end: i64, config: &LogConfig) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut from = 0;
    while from < segments.len() {
        let first = &segments[from];
        let (mut bytes, mut offset_index, mut time_index) =
            (first.bytes, first.offset_index_bytes, first.time_index_bytes);
        let mut to = from + 1;
        while let Some(next) = segments.get(to) {
            bytes += next.bytes;
            offset_index += next.offset_index_bytes;
            time_index += next.time_index_bytes;
            let last_offset = segments.get(to + 1).map_or(end, |after| after.base_offset).saturating_sub(1);
            let fits = bytes <= u64::from(config.segment_bytes)
                && offset_index <= u64::from(config.segment_index_bytes)
                && time_index <= u64::from(config.segment_index_bytes)
                && i32::try_from(last_offset.saturating_sub(first.base_offset)).is_ok();
            if !fits {
                break;
            }
            to += 1;
        }
        groups.push(from..to);
        from = to;
    }
    groups
}

#[cfg(test)]
mod tests;
