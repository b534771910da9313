use super::*;
use crate::config::LogConfig;
use crate::testing::{TestDir, append_at};

#[test]
fn a_dump_shows_every_batch_and_finds_no_fault_in_the_indexes() {
    let dir = TestDir::new(LogConfig { index_interval_bytes: 100, ..LogConfig::default() });
    let (manager, log) = dir.log();
    for n in 0..50 {
        append_at(&log, &["a", "b"], 1000 + n);
    }
    manager.shutdown().unwrap();
    let (disk, path) = (Disk::real(), |suffix: &str| dir.log_path(&format!("{:020}.{suffix}", 0)));
    let mut file = LogFile::open(disk, &path("log")).unwrap();
    assert_eq!(file.starting_offset(), Some(0));
    let entries: Vec<DumpedEntry> = file.by_ref().collect::<Result<_>>().unwrap();
    assert_eq!(entries.len(), 50);
    assert_eq!(file.trailing_bytes(), 0);
    for (n, dumped) in entries.iter().enumerate() {
        assert!(dumped.is_valid);
        assert_eq!((dumped.entry.base_offset, dumped.entry.last_offset), (2 * n as i64, 2 * n as i64 + 1));
        assert_eq!(dumped.records().unwrap().len(), 2);
        assert!(dumped.messages().unwrap().is_empty());
    }
    let offsets = offset_index_entries(disk, &path("index")).unwrap();
    let times = time_index_entries(disk, &path("timeindex")).unwrap();
    assert!(offsets.len() > 10 && times.len() > 10, "{} and {}", offsets.len(), times.len());
    assert_eq!(check_offset_index(&file, &offsets), []);
    assert_eq!(check_time_index(&file, &offsets, &times), []);
    let wrong = [OffsetEntry { offset: offsets[3].offset + 1, ..offsets[3] }];
    assert_eq!(
        check_offset_index(&file, &wrong),
        [IndexFault::OffsetMismatch { index: wrong[0].offset, log: offsets[3].offset }]
    );
    let wrong = [TimeEntry { timestamp: times[3].timestamp + 1, ..times[3] }];
    assert!(matches!(check_time_index(&file, &offsets, &wrong)[..], [IndexFault::TimestampMismatch { .. }]));
}

#[test]
fn a_dump_of_damage_says_where_it_is_and_goes_on_where_it_can() {
    let dir = TestDir::new(LogConfig::default());
    let (manager, log) = dir.log();
    for n in 0..3 {
        append_at(&log, &["abc"], n);
    }
    let bytes = log.size() / 3;
    manager.shutdown().unwrap();
    let path = dir.log_path("00000000000000000000.log");
    let file = Disk::real().open(&path, Open::Write).unwrap();
    file.write_all_at(&[0xff], bytes + 30).unwrap();
    file.set_len(3 * bytes - 5).unwrap();
    let mut file = LogFile::open(Disk::real(), &path).unwrap();
    let found: Vec<_> = file.by_ref().collect();
    assert!(found[0].as_ref().unwrap().is_valid);
    assert!(!found[1].as_ref().unwrap().is_valid);
    assert!(matches!(found[2], Err(StorageError::Damaged { position, .. }) if position == 2 * bytes));
    assert_eq!(found.len(), 3);
    assert_eq!(file.trailing_bytes(), bytes - 5);
}
