use super::*;

fn segment(base_offset: i64, bytes: u64) -> SegmentFacts {
    SegmentFacts {
        base_offset,
        bytes,
        offset_index_bytes: 0,
        time_index_bytes: 0,
        largest_timestamp: base_offset + 9,
        first_timestamp: None,
    }
}

/// Segments of 10 offsets and 100 bytes from 0 on, the last of them active.
fn log(segments: i64) -> LogFacts {
    LogFacts {
        segments: (0..segments).map(|n| segment(10 * n, 100)).collect(),
        offsets: 0..10 * segments,
        last_stable_offset: 10 * segments,
        cleaned_to: None,
    }
}

#[test]
fn what_can_be_cleaned_ends_before_what_may_change() {
    let check = |facts: LogFacts, lag_ms: i64, expected: (i64, i64, u64, u64)| {
        let config = LogConfig { min_compaction_lag_ms: lag_ms, ..LogConfig::default() };
        let range = range_of(&facts, &config, 100);
        let found = (range.first_dirty, range.first_uncleanable, range.clean_bytes, range.dirty_bytes);
        assert_eq!(found, expected, "{facts:?}, lag {lag_ms}");
    };
    check(log(1), 0, (0, 0, 0, 0));
    check(log(4), 0, (0, 30, 0, 300));
    check(LogFacts { cleaned_to: Some(20), ..log(4) }, 0, (20, 30, 200, 100));
    check(LogFacts { cleaned_to: Some(25), ..log(4) }, 0, (25, 30, 200, 100));
    check(LogFacts { cleaned_to: Some(30), ..log(4) }, 0, (30, 30, 300, 0));
    check(LogFacts { last_stable_offset: 25, ..log(4) }, 0, (0, 20, 0, 200));
    check(LogFacts { last_stable_offset: 20, ..log(4) }, 0, (0, 20, 0, 200));
    check(LogFacts { last_stable_offset: 5, ..log(4) }, 0, (0, 0, 0, 0));
    // The checkpoint is of a log that is no more.
    check(LogFacts { cleaned_to: Some(41), ..log(4) }, 0, (0, 30, 0, 300));
    check(LogFacts { cleaned_to: Some(5), offsets: 10..40, ..log(4) }, 0, (10, 30, 100, 200));
    // Timestamps are 9, 19, 29 at the time 100.
    check(log(4), 80, (0, 20, 0, 200));
    check(log(4), 81, (0, 20, 0, 200));
    check(log(4), 82, (0, 10, 0, 100));
    check(log(4), 1000, (0, 0, 0, 0));
}

#[test]
fn a_log_is_due_by_its_dirt_or_its_age() {
    let check = |cleaned_to: i64, ratio: f64, first: Option<i64>, lag: i64, expected: bool| {
        let mut facts = LogFacts { cleaned_to: Some(cleaned_to), ..log(4) };
        facts.segments[2].first_timestamp = first;
        let config = LogConfig { min_cleanable_ratio: ratio, max_compaction_lag_ms: lag, ..LogConfig::default() };
        assert_eq!(range_of(&facts, &config, 100).is_due(&config), expected, "{cleaned_to} {ratio} {first:?} {lag}");
    };
    check(0, 0.99, None, i64::MAX, true);
    check(0, 1.0, None, i64::MAX, false);
    check(20, 0.33, None, i64::MAX, true);
    check(20, 0.34, None, i64::MAX, false);
    check(20, 0.9, Some(20), 79, true);
    check(20, 0.9, Some(20), 80, false);
    check(20, 0.9, Some(20), i64::MAX, false);
}

#[test]
fn small_segments_become_one_and_none_becomes_too_long() {
    let check = |segments: &[SegmentFacts], end: i64, expected: &[(usize, usize)]| {
        let config = LogConfig { segment_bytes: 250, segment_index_bytes: 64, ..LogConfig::default() };
        let found: Vec<_> = groups(segments, end, &config).iter().map(|group| (group.start, group.end)).collect();
        assert_eq!(found, expected, "{segments:?}");
    };
    check(&[], 0, &[]);
    check(&[segment(0, 300)], 10, &[(0, 1)]);
    check(&[segment(0, 100), segment(10, 150), segment(20, 1)], 30, &[(0, 2), (2, 3)]);
    check(&[segment(0, 0), segment(10, 0), segment(20, 0)], 30, &[(0, 3)]);
    // Offsets further apart than 2^31.
    let far = 10 + i64::from(i32::MAX);
    check(&[segment(0, 10), segment(10, 10)], far, &[(0, 1), (1, 2)]);
    check(&[segment(0, 10), segment(10, 10)], far - 9, &[(0, 2)]);
    check(&[segment(0, 10), segment(10, 10), segment(far, 10)], far + 1, &[(0, 1), (1, 3)]);
    let indexed = |base_offset, entries| SegmentFacts { offset_index_bytes: entries, ..segment(base_offset, 1) };
    check(&[indexed(0, 32), indexed(10, 32), indexed(20, 8)], 30, &[(0, 2), (2, 3)]);
}
