use protocol::types::{LeaderEpoch, Offset};

use crate::config::LogConfig;
use crate::error::{AppendError, ReadError};
use crate::log::Log;
use crate::read::ReadLimit;
use crate::testing::{
    TestDir, append, append_at, batch, decode, partition, records_from, sequenced, try_append, values,
};

fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 400, index_interval_bytes: 80, ..LogConfig::default() }
}

#[test]
fn what_is_appended_is_read_back_with_rising_offsets() {
    let dir = TestDir::new(small_segments());
    let (manager, log) = dir.log();
    for n in 0..50 {
        let info = append(&log, &[&format!("a{n}"), &format!("b{n}")]);
        assert_eq!((info.first_offset, info.last_offset), (Offset(2 * n), Offset(2 * n + 1)));
        assert!(!info.duplicate);
    }
    assert!(log.segments().len() > 5, "{} segments", log.segments().len());
    for from in [0, 1, 2, 37, 98, 99] {
        let records = records_from(&log, from);
        let expected: Vec<(i64, String)> =
            (from..100).map(|n| (n, format!("{}{}", if n % 2 == 0 { 'a' } else { 'b' }, n / 2))).collect();
        assert_eq!(records, expected, "from {from}");
    }
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(0)));
    manager.shutdown().unwrap();
}

#[test]
fn a_read_gives_whole_batches_within_its_bounds() {
    let dir = TestDir::new(LogConfig { index_interval_bytes: 100, ..LogConfig::default() });
    let (_manager, log) = dir.log();
    for n in 0..20 {
        append(&log, &[&format!("{n:04}"), "x"]);
    }
    let size = batch(&["0000", "x"], 0).len();
    let check = |offset: i64, max_bytes: usize, limit: ReadLimit, min_one: bool, expected: &[i64]| {
        let info = log.read(Offset(offset), max_bytes, limit, min_one).unwrap();
        let found: Vec<i64> = info
            .slice
            .map_or(Vec::new(), |slice| decode(slice.read().unwrap()).into_iter().map(|record| record.0).collect());
        assert_eq!(found, expected, "offset {offset}, {max_bytes} bytes, {limit:?}, {min_one}");
    };
    use ReadLimit::{HighWatermark, LastStableOffset, LogEnd};
    check(0, 3 * size, LogEnd, false, &[0, 1, 2, 3, 4, 5]);
    check(0, 3 * size - 1, LogEnd, false, &[0, 1, 2, 3]);
    check(3, size, LogEnd, false, &[2, 3]);
    check(3, 1, LogEnd, true, &[2, 3]);
    check(3, 1, LogEnd, false, &[]);
    check(30, 15 * size, LogEnd, false, &[30, 31, 32, 33, 34, 35, 36, 37, 38, 39]);
    check(30, 15 * size, HighWatermark(Offset(34)), false, &[30, 31, 32, 33]);
    check(30, 15 * size, LastStableOffset(Offset(34)), false, &[30, 31, 32, 33]);
    check(30, 15 * size, HighWatermark(Offset(35)), true, &[30, 31, 32, 33]);
    check(30, size, HighWatermark(Offset(31)), true, &[]);
    check(30, size, HighWatermark(Offset(10)), true, &[]);
    check(40, size, LogEnd, true, &[]);
    for outside in [-1, 41] {
        let error = log.read(Offset(outside), size, LogEnd, true).unwrap_err();
        assert!(matches!(error, ReadError::OffsetOutOfRange { log_end: Offset(40), .. }), "{error}");
        assert_eq!(error.code(), 1);
    }
}

#[test]
fn bytes_that_are_no_batches_are_refused_and_nothing_is_written() {
    let dir = TestDir::new(LogConfig { max_message_bytes: 200, segment_bytes: 1000, ..LogConfig::default() });
    let (_manager, log) = dir.log();
    let good = batch(&["hello"], 1000);
    let check = |mut bytes: Vec<u8>, code: i16| {
        let error = try_append(&log, &mut bytes).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_eq!((log.log_end_offset(), log.size()), (Offset(0), 0));
    };
    check(Vec::new(), 87);
    for cut in 1..good.len() {
        check(good[..cut].to_vec(), 2);
    }
    for at in (8..12).chain(16..good.len()) {
        let mut flipped = good.clone();
        flipped[at] ^= 0x40;
        check(flipped, 2);
    }
    check(batch(&["x".repeat(300).as_str()], 0), 10);
    check(good.repeat(20), 18);
    assert_eq!(try_append(&log, &mut good.repeat(2)).unwrap().last_offset, Offset(1));
}

#[test]
fn a_repeated_batch_is_answered_with_its_first_offset() {
    let dir = TestDir::new(LogConfig::default());
    let (_manager, log) = dir.log();
    append(&log, &["before"]);
    for n in 0..7 {
        let info = try_append(&log, &mut sequenced(9, 0, 2 * n, &["a", "b"])).unwrap();
        assert_eq!(info.first_offset, Offset(1 + i64::from(2 * n)));
    }
    for n in 2..7 {
        let info = try_append(&log, &mut sequenced(9, 0, 2 * n, &["a", "b"])).unwrap();
        assert!(info.duplicate);
        assert_eq!((info.first_offset, info.last_offset), (Offset(1 + i64::from(2 * n)), Offset(2 + i64::from(2 * n))));
    }
    let error = try_append(&log, &mut sequenced(9, 0, 2, &["a", "b"])).unwrap_err();
    assert!(matches!(error, AppendError::OutOfOrderSequence { last: 13, sequence: 2, .. }), "{error}");
    assert_eq!(error.code(), 45);
    assert_eq!(log.log_end_offset(), Offset(15));
}

#[test]
fn timestamps_lead_to_the_exact_record() {
    let dir = TestDir::new(small_segments());
    let (_manager, log) = dir.log();
    for n in 0..40 {
        append_at(&log, &["x", "y"], 1000 + n * 10);
    }
    let check = |timestamp: i64, expected: Option<i64>| {
        let found = log.offset_for_timestamp(timestamp).unwrap();
        assert_eq!(found.map(|found| found.offset.0), expected, "at {timestamp}");
        if let Some(found) = found {
            assert!(found.timestamp >= timestamp);
            assert_eq!(found.leader_epoch, Some(LeaderEpoch(0)));
        }
    };
    check(0, Some(0));
    for n in 0..40 {
        check(1000 + n * 10, Some(2 * n));
        check(1001 + n * 10, Some(2 * n + 2).filter(|_| n < 39));
    }
    assert_eq!(log.offset_of_max_timestamp().unwrap().unwrap().offset, Offset(78));
    let all = log.segment_offsets_before(-1, 100);
    assert_eq!(all[0], Offset(80));
    assert_eq!(*all.last().unwrap(), Offset(0));
    assert_eq!(log.segment_offsets_before(-2, 5), [Offset(0)]);
    assert_eq!(log.segment_offsets_before(1, 5), []);
}

#[test]
fn cutting_the_end_removes_whole_batches_and_appends_go_on() {
    let dir = TestDir::new(small_segments());
    let (manager, log) = dir.log();
    for n in 0..30 {
        append(&log, &[&format!("v{n}")]);
    }
    assert!(!log.truncate_to(Offset(30)).unwrap());
    assert!(log.truncate_to(Offset(17)).unwrap());
    assert_eq!(log.log_end_offset(), Offset(17));
    assert_eq!(append(&log, &["new"]).first_offset, Offset(17));
    let records = records_from(&log, 15);
    assert_eq!(values(&records), ["v15", "v16", "new"]);
    log.truncate_fully_and_start_at(Offset(100)).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.segments().len()), (Offset(100), Offset(100), 1));
    assert_eq!(append(&log, &["far"]).first_offset, Offset(100));
    manager.shutdown().unwrap();
    let (_manager, log) = dir.log();
    assert_eq!(records_from(&log, 100), [(100, "far".to_owned())]);
}

#[test]
fn retention_removes_old_segments_below_the_high_watermark() {
    let dir = TestDir::new(LogConfig { retention_ms: 1000, retention_bytes: 800, ..small_segments() });
    let (manager, log) = dir.log();
    for n in 0..40 {
        append_at(&log, &[&format!("v{n:03}")], 10_000 + n);
    }
    assert_eq!(log.run_retention(10_500).unwrap(), 0, "nothing is committed yet");
    log.set_high_watermark(Offset(40));
    assert!(log.run_retention(10_500).unwrap() > 0);
    assert!(log.size() >= 800 && log.size() < 1300, "{} bytes", log.size());
    let start = log.log_start_offset();
    assert_eq!(records_from(&log, start.0).len() as i64, 40 - start.0);
    assert!(matches!(log.read(Offset(0), 1, ReadLimit::LogEnd, true), Err(ReadError::OffsetOutOfRange { .. })));
    log.run_retention(20_000).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.size()), (Offset(40), Offset(40), 0));
    append_at(&log, &["after"], 20_000);
    manager.shutdown().unwrap();
    let (_manager, log) = dir.log();
    assert_eq!(log.log_start_offset(), Offset(40));
    assert_eq!(records_from(&log, 40), [(40, "after".to_owned())]);
}

#[test]
fn deleted_records_stay_deleted() {
    let dir = TestDir::new(small_segments());
    let (manager, log) = dir.log();
    for n in 0..40 {
        append(&log, &[&format!("v{n}")]);
    }
    log.set_high_watermark(Offset(33));
    assert!(log.delete_records_before(Offset(34)).is_err());
    assert_eq!(log.delete_records_before(Offset(33)).unwrap(), Offset(33));
    assert_eq!(log.delete_records_before(Offset(3)).unwrap(), Offset(33));
    assert!(log.read(Offset(32), 1, ReadLimit::LogEnd, true).is_err());
    assert_eq!(values(&records_from(&log, 33))[0], "v33");
    manager.shutdown().unwrap();
    let (_manager, log) = dir.log();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(33), Offset(40)));
    assert_eq!(log.high_watermark(), Offset(33));
}

#[test]
fn epochs_end_where_the_next_begins() {
    let dir = TestDir::new(LogConfig::default());
    let (_manager, log) = dir.log();
    let append_in = |epoch: i32| {
        let options = crate::AppendOptions::client(0);
        log.append_as_leader(&mut batch(&["a", "b"], 0), LeaderEpoch(epoch), options).unwrap();
    };
    append_in(0);
    append_in(0);
    append_in(3);
    log.assign_epoch(LeaderEpoch(5)).unwrap();
    let check = |epoch: i32, expected: Option<(i32, i64)>| {
        let expected = expected.map(|(epoch, end)| (LeaderEpoch(epoch), Offset(end)));
        assert_eq!(log.end_offset_for_epoch(LeaderEpoch(epoch)), expected, "epoch {epoch}");
    };
    check(0, Some((0, 4)));
    check(2, Some((0, 4)));
    check(3, Some((3, 6)));
    check(5, Some((5, 6)));
    check(6, None);
    log.truncate_to(Offset(4)).unwrap();
    check(0, Some((0, 4)));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(0)));
}

#[test]
fn what_a_start_found_is_checked_once_and_then_read_from_memory() {
    let dir = TestDir::new(small_segments());
    let (manager, log) = dir.log();
    for n in 0..30 {
        append(&log, &[&format!("v{n}")]);
    }
    let in_memory = |log: &Log, at: i64| {
        let read = log.read_in_memory(Offset(at), 1, ReadLimit::LogEnd, true).unwrap();
        read.map(|info| info.slice.unwrap().len)
    };
    let read = |log: &Log, at: i64| log.read(Offset(at), 1, ReadLimit::LogEnd, true).unwrap().slice.unwrap().len;
    for at in 0..30 {
        assert_eq!(in_memory(&log, at), Some(read(&log, at)), "appended by this process, at {at}");
    }
    manager.shutdown().unwrap();
    let (manager, _) = dir.open();
    let log = manager.get(&partition()).unwrap();
    for at in 0..30 {
        assert_eq!(in_memory(&log, at), None, "found by the start, at {at}");
        let length = read(&log, at);
        assert_eq!(in_memory(&log, at), Some(length), "checked, at {at}");
    }
    append(&log, &["new"]);
    assert!(in_memory(&log, 30).is_some());
}

#[test]
fn a_reader_that_goes_on_needs_no_index() {
    let dir = TestDir::new(LogConfig { index_interval_bytes: 100, ..LogConfig::default() });
    let (_manager, log) = dir.log();
    for n in 0..40 {
        append(&log, &[&format!("v{n}")]);
    }
    let segment = log.segments().pop().unwrap();
    segment.write_out_indexes().unwrap();
    // Two batches a read, to the end: each read begins where the one before ended.
    let size = crate::testing::batch(&["v00"], 0).len();
    let at = |offset: i64| {
        let marks = log.bookmarks.lock();
        marks.get(offset, &segment, log.cuts())
    };
    let mut next = 0;
    while next < 40 {
        let info = log.read_in_memory(Offset(next), 2 * size, ReadLimit::LogEnd, true).unwrap().unwrap();
        let slice = info.slice.unwrap();
        next += crate::testing::decode(slice.read().unwrap()).len() as i64;
        assert_eq!(at(next), Some(slice.pos + slice.len as u64), "after a read to {next}");
    }
    // A cut makes all marks void.
    log.truncate_to(Offset(20)).unwrap();
    assert_eq!(at(40), None);
    assert_eq!(records_from(&log, 0).len(), 20);
}
