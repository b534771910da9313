use protocol::records::BatchOptions;
use protocol::records::message_set::down_convert;
use protocol::types::BrokerId;
use runtime::sim_disk::{Fault, Operation, SimDisk};
use runtime::{Clock, Disk};

use super::*;
use crate::config::LogManagerConfig;
use crate::log_manager::LogManager;
use crate::testing::{TestDir, append, batch, batch_of, partition, records_from, try_append, values};

fn placed(base_offset: i64, epoch: i32, values: &[&str]) -> Vec<u8> {
    let options = BatchOptions {
        base_offset: Offset(base_offset),
        partition_leader_epoch: LeaderEpoch(epoch),
        ..BatchOptions::default()
    };
    batch_of(options, values, 1000)
}

/// Found by the simulator (seed 482): the disk was full between the epochs and the batches, and the next fetch told the first epoch to begin where it went on.
#[test]
fn epochs_of_batches_that_did_not_get_in_are_forgotten() {
    let sim = SimDisk::new();
    let mut config = LogManagerConfig::new(vec!["/logs".into()], BrokerId(1));
    config.flusher_threads = 0;
    let (manager, _) = LogManager::open(config, Disk::Sim(sim), Clock::real()).unwrap();
    let log = manager.get_or_create(&partition(), None, LogConfig::default()).unwrap();
    log.append_as_follower(&[placed(0, 0, &["a"]), placed(1, 1, &["b"])].concat(), 0).unwrap();
    let fetched = [placed(2, 1, &["c"]), placed(3, 5, &["d"])].concat();
    sim.set_capacity(Some(1 << 20));
    sim.add_fault(Fault { errno: 28, times: 1, ..Fault::always(Operation::Write, ".log") });
    log.append_as_follower(&fetched, 0).unwrap_err();
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(1)));
    sim.clear_faults();
    // There is space again.
    sim.set_capacity(None);
    manager.run_maintenance(0);
    log.append_as_follower(&fetched, 0).unwrap();
    let end_of = |epoch| log.end_offset_for_epoch(LeaderEpoch(epoch)).map(|(_, end)| end.0);
    assert_eq!([end_of(0), end_of(1), end_of(5)], [Some(1), Some(3), Some(4)]);
    assert_eq!(values(&records_from(&log, 0)), ["a", "b", "c", "d"]);
}

#[test]
fn a_follower_stores_offsets_and_epochs_as_they_are() {
    let dir = TestDir::new(LogConfig { segment_bytes: 300, ..LogConfig::default() });
    let (_manager, log) = dir.log();
    let mut fetched = placed(5, 2, &["a", "b"]);
    fetched.extend(placed(7, 2, &["c"]));
    fetched.extend(placed(20, 4, &["d"]));
    let cut = placed(21, 4, &["e"]);
    fetched.extend(&cut[..cut.len() - 1]);
    let info = log.append_as_follower(&fetched, 0).unwrap().unwrap();
    assert_eq!((info.first_offset, info.last_offset), (Offset(5), Offset(20)));
    assert_eq!(log.log_end_offset(), Offset(21));
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(2)), Some((LeaderEpoch(2), Offset(20))));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(4)));
    assert!(log.append_as_follower(&cut[..10], 0).unwrap().is_none());
    let error = log.append_as_follower(&placed(20, 4, &["again"]), 0).unwrap_err();
    assert!(matches!(error, AppendError::OffsetsDoNotContinue { .. }), "{error}");
    let mut flipped = placed(21, 4, &["e"]);
    flipped[65] ^= 1;
    assert_eq!(log.append_as_follower(&flipped, 0).unwrap_err().code(), 2);
    let backwards = [placed(30, 4, &["x"]), placed(29, 4, &["y"])].concat();
    assert_eq!(log.append_as_follower(&backwards, 0).unwrap_err().code(), 2);
    assert_eq!(log.log_end_offset(), Offset(21));
    assert_eq!(values(&records_from(&log, 5)), ["a", "b", "c", "d"]);
}

#[test]
fn a_leap_too_far_for_a_segment_begins_a_new_one() {
    let dir = TestDir::new(LogConfig::default());
    let (manager, log) = dir.log();
    log.append_as_follower(&placed(10_000_000_000, 0, &["far"]), 0).unwrap();
    log.append_as_follower(&placed(20_000_000_000, 0, &["further"]), 0).unwrap();
    let bases: Vec<i64> = log.segments().iter().map(|segment| segment.base_offset()).collect();
    assert_eq!(bases, [10_000_000_000, 20_000_000_000]);
    manager.shutdown().unwrap();
    let (_manager, log) = dir.log();
    assert_eq!(values(&records_from(&log, 15_000_000_000)), ["further"]);
}

#[test]
fn messages_of_old_formats_are_stored_and_found() {
    for magic in [0, 1] {
        let dir = TestDir::new(LogConfig { index_interval_bytes: 50, ..LogConfig::default() });
        let (manager, log) = dir.log();
        for n in 0..20 {
            let old =
                down_convert(Bytes::from(placed(n, -1, &["v"])), magic, Offset(n), MAX_DECOMPRESSED_BYTES).unwrap();
            log.append_as_follower(&old, 0).unwrap().unwrap();
        }
        let limit = crate::ReadLimit::LogEnd;
        let position = |log: &Log, offset: i64| log.read(Offset(offset), 1, limit, true).unwrap().slice.unwrap().pos;
        let first = position(&log, 1);
        for n in 0..20 {
            assert_eq!(position(&log, n), first * n as u64);
        }
        let found = log.offset_for_timestamp(1000).unwrap().map(|found| found.offset);
        assert_eq!(found, if magic == 0 { None } else { Some(Offset(0)) });
        crate::testing::crash(manager);
        let (_manager, log) = dir.log();
        assert_eq!(log.log_end_offset(), Offset(20));
        assert_eq!(position(&log, 19), first * 19);
        append(&log, &["new"]);
        assert_eq!(values(&records_from(&log, 20)), ["new"]);
    }
}

#[test]
fn log_append_time_is_the_brokers() {
    let dir = TestDir::new(LogConfig { message_timestamp_type: TimestampType::LogAppendTime, ..LogConfig::default() });
    let (manager, log) = dir.log();
    let info = log.append_as_leader(&mut batch(&["x"], 5), LeaderEpoch(0), AppendOptions::client(777)).unwrap();
    assert_eq!((info.log_append_time, info.max_timestamp), (777, 777));
    assert_eq!(log.offset_for_timestamp(777).unwrap().unwrap().timestamp, 777);
    crate::testing::crash(manager);
    let (_manager, log) = dir.log();
    assert_eq!(log.log_end_offset(), Offset(1), "the patched checksum is right");
}

#[test]
fn timestamps_out_of_bounds_are_refused() {
    let config =
        LogConfig { message_timestamp_before_max_ms: 100, message_timestamp_after_max_ms: 50, ..LogConfig::default() };
    let dir = TestDir::new(config);
    let (_manager, log) = dir.log();
    let check = |timestamp: i64, expected: i16| {
        let result = log.append_as_leader(&mut batch(&["x"], timestamp), LeaderEpoch(0), AppendOptions::client(1000));
        assert_eq!(result.map_or_else(|error| error.code(), |_| 0), expected, "at {timestamp}");
    };
    check(1000, 0);
    check(900, 0);
    check(899, 32);
    check(1050, 0);
    check(1051, 32);
}

#[test]
fn clients_may_not_write_what_is_the_brokers() {
    let dir = TestDir::new(LogConfig::default());
    let (_manager, log) = dir.log();
    let options = BatchOptions { producer_id: 3, producer_epoch: 0, ..BatchOptions::default() };
    let mut control = protocol::records::BatchBuilder::new(BatchOptions { is_control: true, ..options.clone() });
    control.append_marker(0, ControlMarker::Commit { coordinator_epoch: 1 }).unwrap();
    let mut control = control.build_vec().unwrap();
    assert_eq!(try_append(&log, &mut control.clone()).unwrap_err().code(), 87);
    assert_eq!(try_append(&log, &mut batch_of(options, &["no sequence"], 0)).unwrap_err().code(), 87);
    let coordinator = AppendOptions { now_ms: 0, origin: AppendOrigin::Coordinator };
    log.append_as_leader(&mut control, LeaderEpoch(0), coordinator).unwrap();
    assert_eq!(log.producers()[0].1.coordinator_epoch, 1);
}

#[test]
fn a_segment_older_than_segment_ms_is_rolled() {
    let dir = TestDir::new(LogConfig { segment_ms: 1000, ..LogConfig::default() });
    let (_manager, log) = dir.log();
    for (timestamp, segments) in [(5000, 1), (6000, 1), (6001, 2), (6002, 2), (8000, 3)] {
        crate::testing::append_at(&log, &["x"], timestamp);
        assert_eq!(log.segments().len(), segments, "after {timestamp}");
    }
}

#[test]
fn a_full_index_rolls_the_segment() {
    let config = LogConfig { segment_index_bytes: 10 * 12, index_interval_bytes: 1, ..LogConfig::default() };
    let dir = TestDir::new(config);
    let (manager, log) = dir.log();
    for n in 0..40 {
        crate::testing::append_at(&log, &["x"], n);
    }
    assert!(log.segments().len() >= 4, "{} segments", log.segments().len());
    manager.shutdown().unwrap();
    for segment in log.segments() {
        assert!(segment.time_index().len() <= 10 && segment.offset_index().len() <= 15);
    }
}
