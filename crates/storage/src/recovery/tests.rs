use runtime::Disk;
use runtime::disk::Open;

use super::*;
use crate::testing::{TestDir, append, crash, partition, records_from, sequenced, try_append, values};

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
        for noise in [0, 50] {
            let mut torn = whole[..cut].to_vec();
            torn.resize(cut + noise, 0xff);
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

#[test]
fn damage_in_a_closed_segment_refuses_the_log_and_changes_nothing() {
    let dir = TestDir::new(small_segments());
    let (manager, log) = dir.log();
    for n in 0..20 {
        append(&log, &[&format!("v{n}")]);
    }
    let closed = log.segments()[1].log_file().path();
    let tail = log.segments().last().unwrap().log_file().path();
    let size = log.size();
    crash(manager);
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
