use runtime::Disk;
use runtime::disk::Open;

use std::path::Path;

use super::*;
use crate::testing::{TestDir, append, append_at, crash, partition, records_from, sequenced, try_append, values};

fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 400, index_interval_bytes: 80, ..LogConfig::default() }
}

fn flip(path: &Path, at: u64) {
    let file = Disk::real().open(path, Open::Write).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn a_batch_torn_at_any_byte_is_cut_off_and_the_rest_stays() {
    let dir = TestDir::new(LogConfig::default());
    let (manager, log) = dir.log();
    for n in 0..5 {
        append(&log, &[&format!("v{n}")]);
    }
    crash(manager);
    let path = dir.log_path("00000000000000000000.log");
    let whole = Disk::real().read(&path, 1 << 20).unwrap();
    let last_bytes = whole.len() / 5;
    for cut in whole.len() - last_bytes..whole.len() {
        for (noise, byte) in [(0, 0), (50, 0xff), (300, 0)] {
            let mut torn = whole[..cut].to_vec();
            torn.resize(cut + noise, byte);
            if torn.starts_with(&whole) {
                // The batch ends in zeros itself.
                continue;
            }
            Disk::real().open(&path, Open::Truncate).unwrap().write_all_at(&torn, 0).unwrap();
            // The crash came before the first recovery point.
            let _ = std::fs::remove_file(dir.path().join("recovery-point-offset-checkpoint"));
            let (manager, report) = dir.open();
            let log = manager.get(&partition()).unwrap();
            assert!(!report.clean);
            assert_eq!(log.log_end_offset().0, 4, "cut at {cut}, {noise} bytes of noise");
            let torn_bytes = torn.len() - (whole.len() - last_bytes);
            let truncated: u64 = report.recovered.iter().map(|(_, recovery)| recovery.truncated_bytes).sum();
            assert_eq!(truncated, torn_bytes as u64);
            assert_eq!(values(&records_from(&log, 0)), ["v0", "v1", "v2", "v3"]);
            assert_eq!(append(&log, &["next"]).first_offset.0, 4);
            crash(manager);
            let (manager, _) = dir.open();
            let log = manager.get(&partition()).unwrap();
            assert_eq!(values(&records_from(&log, 0)), ["v0", "v1", "v2", "v3", "next"], "cut at {cut}");
            crash(manager);
        }
    }
}

#[test]
fn producers_are_remembered_across_a_crash_and_a_shutdown() {
    let dir = TestDir::new(small_segments());
    let (manager, log) = dir.log();
    for n in 0..20 {
        try_append(&log, &mut sequenced(7, 0, n, &["x"])).unwrap();
    }
    crash(manager);
    let (manager, _) = dir.open();
    let log = manager.get(&partition()).unwrap();
    assert!(try_append(&log, &mut sequenced(7, 0, 19, &["x"])).unwrap().duplicate);
    assert_eq!(try_append(&log, &mut sequenced(7, 0, 30, &["x"])).unwrap_err().code(), 45);
    try_append(&log, &mut sequenced(7, 0, 20, &["x"])).unwrap();
    manager.shutdown().unwrap();
    let (manager, report) = dir.open();
    assert!(report.clean && report.recovered.is_empty(), "{report:?}");
    let log = manager.get(&partition()).unwrap();
    assert!(try_append(&log, &mut sequenced(7, 0, 20, &["x"])).unwrap().duplicate);
    assert_eq!(log.log_end_offset().0, 21);
}

/// No record is passed over by its timestamp, or deleted for one that its file has: neither after a start that built the indexes anew and one that believed them, nor with a time
/// index that has lost its entries.
#[test]
fn times_are_those_of_the_records_whatever_became_of_the_index() {
    const FIRST: i64 = 1_000_000;
    let config = LogConfig { retention_ms: 100_000, ..small_segments() };
    for emptied in [false, true] {
        let dir = TestDir::new(config.clone());
        let (manager, log) = dir.log();
        for n in 0..40 {
            append_at(&log, &["x"], FIRST + n);
        }
        let index = dir.log_path("00000000000000000000.timeindex");
        if emptied {
            manager.shutdown().unwrap();
            Disk::real().open(&index, Open::Truncate).unwrap();
        } else {
            crash(manager);
            // The crash came before the first recovery point.
            let _ = std::fs::remove_file(dir.path().join("recovery-point-offset-checkpoint"));
            let (manager, report) = dir.open();
            assert!(report.recovered.iter().any(|(_, recovery)| recovery.indexes_rebuilt > 1), "{report:?}");
            manager.shutdown().unwrap();
        }
        let (manager, report) = dir.open();
        assert!(report.clean);
        let log = manager.get(&partition()).unwrap();
        assert!(log.segments().len() > 3);
        log.segments().iter().for_each(|segment| segment.set_modified_ms(0).unwrap());
        log.set_high_watermark(log.log_end_offset());
        assert_eq!(log.run_retention(FIRST + 50_000).unwrap(), 0, "emptied: {emptied}");
        for n in 0..40 {
            let found = log.offset_for_timestamp(FIRST + n).unwrap();
            assert_eq!(found.map(|found| found.offset.0), Some(n), "emptied: {emptied}");
        }
        log.run_maintenance(FIRST).unwrap();
        assert!(Disk::real().file_len(&index).unwrap() > 0, "emptied: {emptied}");
        assert!(log.run_retention(FIRST + 200_000).unwrap() > 0);
    }
}

/// A producer has up to five requests in flight. Those that were stored before a segment was rolled must be known after a kill, too.
#[test]
fn a_batch_of_before_the_roll_is_known_again_after_a_kill() {
    for clean in [false, true] {
        let dir = TestDir::new(LogConfig::default());
        let (manager, log) = dir.log();
        for n in 0..6 {
            try_append(&log, &mut sequenced(7, 0, n, &["x"])).unwrap();
        }
        let mut state = log.lock_state().unwrap();
        log.roll(&mut state, 6, 0).unwrap();
        drop(state);
        if clean {
            manager.shutdown().unwrap();
        } else {
            crash(manager);
        }
        let (_manager, report) = dir.open();
        assert_eq!(report.clean, clean);
        let log = _manager.get(&partition()).unwrap();
        for n in 1..6 {
            let again = try_append(&log, &mut sequenced(7, 0, n, &["x"])).unwrap();
            assert_eq!((again.duplicate, again.first_offset.0), (true, i64::from(n)), "clean {clean}");
        }
        assert_eq!(try_append(&log, &mut sequenced(7, 0, 0, &["x"])).unwrap_err().code(), 45);
        assert!(!try_append(&log, &mut sequenced(7, 0, 6, &["x"])).unwrap().duplicate);
    }
}

#[test]
fn damage_below_the_recovery_point_refuses_the_log_and_changes_nothing() {
    let dir = TestDir::new(small_segments());
    let (manager, log) = dir.log();
    for n in 0..20 {
        append(&log, &[&format!("v{n}")]);
    }
    let closed = log.segments()[1].log_file().path();
    let tail = log.segments().last().unwrap().log_file().path();
    let size = log.size();
    let synced_to = log.segments()[2].base_offset() - 1;
    crash(manager);
    checkpoints::write_offsets(
        Disk::real(),
        &dir.path().join(checkpoints::RECOVERY_POINT_FILE),
        &BTreeMap::from([(partition(), synced_to)]),
    )
    .unwrap();
    flip(&closed, 100);
    for _ in 0..2 {
        let (manager, report) = dir.open();
        assert!(manager.get(&partition()).is_none());
        let [(offline, error)] = report.offline.as_slice() else { panic!("{report:?}") };
        assert_eq!(*offline, partition());
        let text = error.to_string();
        assert!(text.contains(closed.file_name().unwrap().to_str().unwrap()) && text.contains("byte "), "{text}");
        assert!(manager.get_or_create(&partition(), None, LogConfig::default()).is_err());
        // Even a shutdown without an error must not let the next start trust the directory.
        manager.shutdown().unwrap();
    }
    let files = Disk::real().read_dir(tail.parent().unwrap()).unwrap();
    let bytes: u64 = files
        .iter()
        .filter(|file| file.name.to_string_lossy().ends_with(".log"))
        .map(|file| Disk::real().file_len(&file.path).unwrap())
        .sum();
    assert_eq!(bytes, size);
    flip(&closed, 100);
    let (manager, report) = dir.open();
    assert!(report.offline.is_empty());
    assert_eq!(records_from(&manager.get(&partition()).unwrap(), 0).len(), 20);
}

/// Runs a directory through a crash and `harm`, and gives the end of the log found then, or the error it is offline with.
fn after(records: i64, checkpoint_at: Option<i64>, harm: impl FnOnce(&TestDir)) -> (TestDir, Result<i64>, LogRecovery) {
    let dir = TestDir::new(LogConfig { segment_bytes: 1000, index_interval_bytes: 80, ..LogConfig::default() });
    let (manager, log) = dir.log();
    for n in 0..records {
        append(&log, &[&format!("value {n:04}")]);
        if checkpoint_at == Some(n + 1) {
            log.flush().unwrap();
            manager.write_checkpoints().unwrap();
        }
    }
    crash(manager);
    harm(&dir);
    let (manager, report) = dir.open();
    let end = match manager.get(&partition()) {
        Some(log) => Ok(log.log_end_offset().0),
        None => Err(report.offline[0].1.clone()),
    };
    let recovery = report.recovered.into_iter().map(|(_, recovery)| recovery).next().unwrap_or_default();
    (dir, end, recovery)
}

fn batch_bytes() -> u64 {
    crate::testing::batch(&["value 0000"], 0).len() as u64
}

#[test]
fn damage_before_the_recovery_point_is_refused_and_after_it_is_cut() {
    let size = batch_bytes();
    let check = |damaged: i64, recovery_point: i64, expected: std::result::Result<i64, u64>| {
        let (_dir, end, _) = after(8, Some(recovery_point), |dir| {
            flip(&dir.log_path("00000000000000000000.log"), damaged as u64 * size + 65);
        });
        match (end, expected) {
            (Ok(end), expected) => assert_eq!(Ok(end), expected, "record {damaged}, recovery point {recovery_point}"),
            (Err(StorageError::Damaged { position, .. }), Err(expected)) => assert_eq!(position, expected),
            (other, _) => panic!("record {damaged}, recovery point {recovery_point}: {other:?}"),
        }
    };
    check(7, 8, Err(7 * size));
    check(0, 8, Err(0));
    check(4, 5, Err(4 * size));
    check(5, 5, Ok(5));
    check(7, 5, Ok(7));
    check(3, 1, Ok(3));
}

#[test]
fn records_that_were_synced_and_are_gone_are_missed() {
    let (_dir, end, _) = after(8, Some(6), |dir| {
        let file = Disk::real().open(&dir.log_path("00000000000000000000.log"), Open::Write).unwrap();
        file.set_len(5 * batch_bytes()).unwrap();
    });
    let error = end.unwrap_err().to_string();
    assert!(error.contains("ends at offset 5, but was synced up to 6"), "{error}");
    let (_dir, end, _) = after(40, Some(40), |dir| {
        let file = Disk::real().open(&dir.log_path("00000000000000000000.log"), Open::Write).unwrap();
        file.set_len(5 * batch_bytes() + 7).unwrap();
    });
    assert!(matches!(end, Err(StorageError::Damaged { .. })), "a closed segment that was cut: {end:?}");
}

#[test]
fn intact_batches_behind_the_damage_are_kept_aside() {
    let size = batch_bytes();
    let (dir, end, recovery) = after(8, None, |dir| {
        // The length of the damaged batch is nonsense too, so the next batch has to be searched for.
        let file = Disk::real().open(&dir.log_path("00000000000000000000.log"), Open::Write).unwrap();
        file.write_all_at(&[0x7f; 30], 3 * size + 5).unwrap();
    });
    assert_eq!(end.unwrap(), 3);
    let kept = recovery.set_aside.unwrap();
    assert_eq!(kept, dir.log_path(&format!("00000000000000000000.log.{}.damaged", 3 * size)));
    assert_eq!(Disk::real().file_len(&kept).unwrap(), 5 * size);
    assert_eq!(recovery.truncated_bytes, 5 * size);
    let (_dir, end, recovery) = after(8, None, |dir| flip(&dir.log_path("00000000000000000000.log"), 7 * size + 65));
    assert_eq!((end.unwrap(), recovery.set_aside), (7, None));
}

#[test]
fn a_flipped_bit_in_an_index_costs_time_and_no_record() {
    let dir = TestDir::new(LogConfig { segment_bytes: 1000, index_interval_bytes: 80, ..LogConfig::default() });
    let (manager, log) = dir.log();
    for n in 0..25 {
        append(&log, &[&format!("v{n}")]);
    }
    assert_eq!(log.segments().len(), 2);
    manager.shutdown().unwrap();
    drop((manager, log));
    for number in [0, 1] {
        for suffix in ["index", "timeindex"] {
            let Some(path) = Disk::real()
                .read_dir(&dir.path().join("t-0"))
                .unwrap()
                .into_iter()
                .map(|entry| entry.path)
                .filter(|path| path.extension().is_some_and(|extension| extension == suffix))
                .nth(number)
            else {
                panic!("no {suffix}")
            };
            let whole = Disk::real().read(&path, 1 << 20).unwrap();
            for at in 0..whole.len() {
                let mut flipped = whole.clone();
                flipped[at] ^= 1;
                Disk::real().write_atomic(&path, &flipped).unwrap();
                let (manager, report) = dir.open();
                assert!(report.offline.is_empty(), "{path:?} at {at}: {report:?}");
                let log = manager.get(&partition()).unwrap();
                for from in 0..25 {
                    assert_eq!(records_from(&log, from).len() as i64, 25 - from, "{path:?} at {at}, from {from}");
                }
                manager.shutdown().unwrap();
            }
            Disk::real().write_atomic(&path, &whole).unwrap();
        }
    }
}

#[test]
fn a_damaged_producer_snapshot_is_built_anew() {
    let dir = TestDir::new(small_segments());
    let (manager, log) = dir.log();
    for n in 0..20 {
        try_append(&log, &mut sequenced(7, 0, n, &["x"])).unwrap();
    }
    manager.shutdown().unwrap();
    for entry in Disk::real().read_dir(&dir.path().join("t-0")).unwrap() {
        if entry.name.to_string_lossy().ends_with(snapshot::SUFFIX) {
            flip(&entry.path, 20);
        }
    }
    let (manager, report) = dir.open();
    assert!(report.clean);
    let log = manager.get(&partition()).unwrap();
    assert!(try_append(&log, &mut sequenced(7, 0, 19, &["x"])).unwrap().duplicate);
    assert_eq!(try_append(&log, &mut sequenced(7, 0, 21, &["x"])).unwrap_err().code(), 45);
}

#[test]
fn a_compaction_that_another_broker_left_half_done_is_refused() {
    let (_dir, end, _) = after(3, None, |dir| {
        Disk::real().write_atomic(&dir.log_path("00000000000000000000.log.swap"), b"x").unwrap();
    });
    assert!(end.unwrap_err().to_string().contains(".log.swap"));
}
