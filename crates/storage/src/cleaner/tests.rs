use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use protocol::records::message_set::down_convert;
use protocol::records::{BatchOptions, Codec};
use protocol::types::{LeaderEpoch, Offset, TopicPartition};
use runtime::Clock;
use runtime::disk::{Disk, Open};

use super::testing::*;
use super::*;
use crate::config::LogConfig;
use crate::read::ReadLimit;
use crate::testing::{TestDir, crash, partition};

const NOW_MS: i64 = 1_000_000;

/// A log of `rounds` times `keys` keys in small segments, the last of them empty.
fn written(dir: &TestDir, keys: usize, rounds: usize) -> (LogManager, Arc<Log>) {
    let (manager, log) = dir.log();
    for round in 0..rounds {
        for key in 0..keys {
            append_keyed(&log, &[(&format!("k{key}"), Some(&format!("v{round}")))]);
        }
    }
    roll(&log);
    (manager, log)
}

#[test]
fn a_pass_leaves_the_last_record_of_each_key_in_few_segments() {
    let dir = TestDir::new(compacted());
    let (manager, log) = written(&dir, 5, 20);
    let (end, before) = (log.log_end_offset(), records(&log));
    let size = log.size();
    let report = clean(&log, NOW_MS);
    let after = records(&log);
    assert_eq!(after.len(), 5);
    assert!(after.iter().all(|record| before.contains(record)));
    assert_eq!(table(&after), table(&before));
    assert_eq!((log.log_end_offset(), log.log_start_offset()), (end, Offset(0)));
    assert_eq!((report.cleaned_to, report.records_read, report.records_kept), (100, 100, 5));
    assert!(log.size() < size / 10, "{} bytes", log.size());
    assert_eq!(log.size(), log.segments().iter().map(|segment| segment.size()).sum::<u64>());
    // A pass more finds nothing to do; small segments become fewer with the next dirt.
    assert_eq!(clean(&log, NOW_MS).cleaned_to, 100);
    append_keyed(&log, &[("k0", Some("last"))]);
    roll(&log);
    clean(&log, NOW_MS);
    assert!(log.segments().len() <= 3);
    let expected = table(&records(&log));
    assert_eq!(expected["k0"], "last");
    // What is read after a restart, and after a crash, is the same.
    let state = |log: &Log| (read_all(log, 0), log.epochs.read().entries().to_vec());
    let held = state(&log);
    let mut manager = manager;
    for is_clean in [true, false, true] {
        if is_clean {
            manager.shutdown().unwrap();
        } else {
            crash(manager);
        }
        let (again, report) = dir.open();
        assert!(report.offline.is_empty(), "{report:?}");
        let log = again.get(&partition()).unwrap();
        assert_eq!(state(&log), held);
        assert_eq!(log.dir().log_dir().cleaned_to(&partition()), Some(101));
        manager = again;
    }
}

#[test]
fn a_log_that_was_compacted_once_opens_under_any_policy_after_a_crash() {
    let mut dir = TestDir::new(compacted());
    let (manager, log) = written(&dir, 5, 20);
    append_keyed(&log, &[("k0", Some("last"))]);
    clean(&log, NOW_MS);
    let held = records(&log);
    crash(manager);
    dir.config.compact = false;
    // Without its recovery point the whole log is checked.
    std::fs::remove_file(dir.path().join(crate::checkpoints::RECOVERY_POINT_FILE)).unwrap();
    let (manager, report) = dir.open();
    assert!(report.offline.is_empty(), "{report:?}");
    assert_eq!(records(&manager.get(&partition()).unwrap()), held);
}

#[test]
fn a_reader_within_a_gap_gets_the_next_record_and_times_are_found() {
    let dir = TestDir::new(compacted());
    let (_manager, log) = dir.log();
    for n in 0..40 {
        append_batch(&log, keyed(BatchOptions::default(), 1000 + n, &[(&format!("k{}", n % 4), Some("v"))]));
    }
    roll(&log);
    clean(&log, NOW_MS);
    for from in 0..40 {
        let expected: Vec<i64> = (36..40).filter(|offset| *offset >= from).collect();
        let found: Vec<i64> = read_all(&log, from).1.into_iter().map(|record| record.0).collect();
        assert_eq!(found, expected, "from {from}");
    }
    let at = |timestamp| log.offset_for_timestamp(timestamp).unwrap().map(|found| found.offset.0);
    assert_eq!((at(0), at(1037), at(1039), at(1040)), (Some(36), Some(37), Some(39), None));
    assert_eq!(log.offset_of_max_timestamp().unwrap().unwrap().offset, Offset(39));
}

#[test]
fn tombstones_go_after_their_time_and_producers_are_remembered() {
    let dir = TestDir::new(compacted());
    let (manager, log) = dir.log();
    let sequenced = |sequence: i32| BatchOptions {
        producer_id: 5,
        producer_epoch: 1,
        base_sequence: sequence,
        ..BatchOptions::default()
    };
    append_batch(&log, keyed(sequenced(0), 1000, &[("a", Some("1")), ("b", Some("1"))]));
    append_batch(&log, keyed(sequenced(2), 1000, &[("a", None)]));
    append_keyed(&log, &[("c", Some("1"))]);
    roll(&log);
    clean(&log, NOW_MS);
    let kept = |log: &Log| records(log).into_iter().map(|record| (record.0, record.2.is_some())).collect::<Vec<_>>();
    assert_eq!(kept(&log), [(1, true), (2, false), (3, true)]);
    // Nothing is due; new dirt brings the next pass.
    append_keyed(&log, &[("d", Some("1"))]);
    roll(&log);
    clean(&log, NOW_MS + 999);
    assert_eq!(kept(&log), [(1, true), (2, false), (3, true), (4, true)]);
    append_keyed(&log, &[("d", Some("2"))]);
    roll(&log);
    clean(&log, NOW_MS + 1000);
    assert_eq!(kept(&log), [(1, true), (3, true), (5, true)]);
    // The producer's last batch is empty now, and its sequence is still known when only the log is left.
    let headers = read_all(&log, 0).0;
    assert!(headers.iter().any(|header| header.producer_id == 5 && header.records_count == 0));
    crash(manager);
    for snapshot in std::fs::read_dir(dir.path().join("t-0")).unwrap() {
        let path = snapshot.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "snapshot") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let (_manager, log) = dir.log();
    let again = log.append_as_leader(
        &mut keyed(sequenced(2), 1000, &[("a", None)]),
        LeaderEpoch(0),
        crate::AppendOptions::client(NOW_MS),
    );
    assert!(again.unwrap().duplicate);
    append_batch(&log, keyed(sequenced(3), 1000, &[("a", Some("9"))]));
}

#[test]
fn a_map_that_is_full_cleans_a_part_and_the_next_pass_the_rest() {
    let dir = TestDir::new(compacted());
    let (_manager, log) = written(&dir, 200, 2);
    let expected = table(&records(&log));
    let mut passes = 0;
    loop {
        let report = clean_within(&log, NOW_MS, 64 * 24).unwrap();
        assert_eq!(table(&records(&log)), expected);
        if report.cleaned_to == report.range.first_dirty {
            break;
        }
        assert!(report.map_utilization > 0.99 || report.cleaned_to == 400, "{report:?}");
        passes += 1;
    }
    assert!(passes > 4, "{passes}");
    assert_eq!(log.dir().log_dir().cleaned_to(&partition()), Some(400));
    assert_eq!(records(&log).len(), 200);
}

#[test]
fn messages_of_old_brokers_are_compacted() {
    let dir = TestDir::new(compacted());
    let (_manager, log) = dir.log();
    for n in 0..30 {
        let codec = [Codec::None, Codec::Gzip, Codec::Snappy][n as usize % 3];
        let options = BatchOptions { codec, base_offset: Offset(3 * n), ..BatchOptions::default() };
        let batch = keyed(options, 1000, &[("a", Some("1")), (&format!("k{n}"), Some("1")), ("b", Some("1"))]);
        let set = down_convert(Bytes::from(batch), (n % 2) as i8, Offset(0), 1 << 20).unwrap();
        log.append_as_follower(&set, NOW_MS).unwrap();
    }
    log.set_high_watermark(log.log_end_offset());
    append_keyed(&log, &[("a", Some("2"))]);
    roll(&log);
    let expected = table(&records(&log));
    clean(&log, NOW_MS);
    let after = records(&log);
    assert_eq!(table(&after), expected);
    assert_eq!(after.len(), 32);
    assert_eq!(log.log_end_offset(), Offset(91));
}

#[test]
fn ranges_that_readers_hold_stay_readable() {
    let dir = TestDir::new(compacted());
    let (manager, log) = written(&dir, 3, 20);
    let slices: Vec<_> = (0..60)
        .step_by(7)
        .map(|offset| log.read(Offset(offset), 200, ReadLimit::LogEnd, true).unwrap().slice.unwrap())
        .collect();
    let before: Vec<Bytes> = slices.iter().map(|slice| slice.read().unwrap()).collect();
    clean(&log, NOW_MS);
    manager.run_maintenance(i64::MAX);
    assert_eq!(files_with(&log, ".deleted"), Vec::<String>::new());
    let after: Vec<Bytes> = slices.iter().map(|slice| slice.read().unwrap()).collect();
    assert_eq!(before, after);
}

#[test]
fn reading_and_writing_go_on_while_segments_are_swapped() {
    let dir = TestDir::new(compacted());
    let (_manager, log) = dir.log();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..3000 {
                append_keyed(&log, &[(&format!("k{}", n % 10), Some(&format!("v{n}")))]);
            }
            done.store(true, Ordering::Relaxed);
        });
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut rounds = 0;
                    while !done.load(Ordering::Relaxed) || rounds == 0 {
                        let offsets: Vec<i64> = records(&log).into_iter().map(|record| record.0).collect();
                        assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
                        rounds += 1;
                    }
                })
            })
            .collect();
        let mut swapped = 0;
        loop {
            // One pass at least finds all that was written, however late this thread has its turn.
            let was_done = done.load(Ordering::Relaxed);
            swapped += clean(&log, NOW_MS).segments_after;
            log.run_maintenance(i64::MAX).unwrap();
            if was_done {
                break;
            }
        }
        assert!(swapped > 0);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    roll(&log);
    clean(&log, NOW_MS);
    let offsets: Vec<i64> = records(&log).into_iter().map(|record| record.0).collect();
    assert_eq!(offsets, (2990..3000).collect::<Vec<_>>());
}

#[test]
fn a_pass_that_is_overtaken_by_a_cut_or_a_stop_changes_nothing() {
    let dir = TestDir::new(compacted());
    let (_manager, log) = written(&dir, 3, 20);
    let before = records(&log);
    let old = log.segments()[..2].to_vec();
    let fresh = || {
        let segment =
            crate::segment::Segment::create_at(crate::segment::Stage::Cleaned, log.dir(), 0, &log.cache, NOW_MS);
        Arc::new(segment.unwrap())
    };
    let cuts = log.cuts();
    log.high_watermark.store(50, std::sync::atomic::Ordering::Release);
    assert!(log.truncate_to(Offset(55)).unwrap());
    assert!(!log.replace_segments(cuts, &old, &fresh()).unwrap(), "the log was cut");
    // Retention took one of them.
    log.set_high_watermark(log.log_end_offset());
    log.delete_records_before(Offset(20)).unwrap();
    assert!(!log.replace_segments(log.cuts(), &old, &fresh()).unwrap(), "a segment is gone");
    assert_eq!(records(&log), before[20..55]);
    // The cleaner is stopping.
    let throttle = Throttle::new(1.0, Clock::real());
    let stopped = Limits {
        map_bytes: 1 << 20,
        load_factor: 0.9,
        buffer_bytes: 1,
        throttle: &throttle,
        stop: &AtomicBool::new(true),
        random: Random::real(),
    };
    // Looks at whether to go on are a MiB apart, so this log is too short to meet one; what is done is whole all the same.
    let _ = pass::clean(&log, NOW_MS, &stopped);
    assert_eq!(table(&records(&log)), table(&before[20..55]));
}

#[test]
fn a_cut_makes_what_comes_after_it_dirty() {
    let dir = TestDir::new(compacted());
    let (_manager, log) = written(&dir, 3, 20);
    clean(&log, NOW_MS);
    log.high_watermark.store(57, Ordering::Release);
    log.truncate_to(Offset(58)).unwrap();
    assert!(log.dir().log_dir().cleaned_to(&partition()).unwrap() <= 58);
    log.truncate_fully_and_start_at(Offset(7)).unwrap();
    assert_eq!(log.dir().log_dir().cleaned_to(&partition()), Some(0));
}

#[test]
fn the_dirtiest_log_is_cleaned_first_and_a_damaged_one_is_left_alone() {
    let dir = TestDir::new(compacted());
    let (manager, _) = dir.open();
    let manager = Arc::new(manager);
    let log = |topic: &str, config: LogConfig| {
        let log = manager.get_or_create(&TopicPartition::new(topic, 0), None, config).unwrap();
        for n in 0..40 {
            append_keyed(&log, &[(&format!("k{}", n % 4), Some("v"))]);
        }
        roll(&log);
        log
    };
    let some = log("some", LogConfig { min_cleanable_ratio: 0.5, ..compacted() });
    let damaged = log("damaged", compacted());
    let plain = log("plain", LogConfig { compact: false, ..compacted() });
    let size = plain.size();
    let file = damaged.segments()[1].log_file().path();
    let handle = Disk::real().open(&file, Open::Write).unwrap();
    let mut byte = [0];
    handle.read_exact_at(&mut byte, 65).unwrap();
    handle.write_all_at(&[byte[0] ^ 1], 65).unwrap();

    let cleaner = Cleaner::new(manager.clone(), CleanerConfig::default(), Clock::real());
    let cleaned: Vec<TopicPartition> =
        (0..4).filter_map(|_| cleaner.clean_dirtiest(NOW_MS)).map(|(partition, _)| partition).collect();
    assert_eq!(cleaned, [some.partition().clone()]);
    let status = cleaner.status();
    let (partition, why) = status.uncleanable.first_key_value().unwrap();
    assert_eq!(partition, damaged.partition());
    assert!(why.contains("Record is corrupt") && why.contains(file.to_str().unwrap()), "{why}");
    assert_eq!((status.passes, status.records_dropped), (1, 36));
    let last = status.last_passes[&0];
    assert_eq!(last.bytes_read, status.bytes_read);
    assert!(last.map_utilization > 0.0 && (0.01..0.5).contains(&status.recopy_ratio()), "{status:?}");
    // What a pass over the damaged log would be about.
    let range = pass::range_of(&damaged, &damaged.config(), NOW_MS).unwrap();
    let counted = status::Uncleanable { partitions: 1, bytes: range.dirty_bytes };
    assert!(counted.bytes > 0);
    assert_eq!(status.uncleanable_in.into_iter().collect::<Vec<_>>(), [(dir.path().to_owned(), counted)]);
    assert_eq!(plain.size(), size);
    assert_eq!(files_with(&damaged, ".cleaned"), Vec::<String>::new());
    // Below its ratio a log waits.
    append_keyed(&some, &[("k0", Some("v"))]);
    roll(&some);
    assert!(cleaner.clean_dirtiest(NOW_MS).is_none());
}

#[test]
fn threads_clean_until_they_are_stopped() {
    let dir = TestDir::new(compacted());
    let (manager, log) = written(&dir, 3, 20);
    let manager = Arc::new(manager);
    let config = CleanerConfig { threads: 2, backoff: Duration::from_millis(5), ..CleanerConfig::default() };
    let cleaner = Cleaner::start(manager.clone(), config, Clock::real()).unwrap();
    while cleaner.status().passes == 0 {
        Clock::real().block_for(Duration::from_millis(1));
    }
    assert_eq!(cleaner.status().dead_threads, 0);
    cleaner.shutdown();
    assert_eq!(records(&log).len(), 3);
    manager.shutdown().unwrap();
}
