use protocol::types::{BrokerId, LeaderEpoch};
use runtime::SimDisk;

use super::*;
use crate::append::AppendOptions;
use crate::testing::{TestDir, append, crash, partition, records_from, values};

fn uuid(byte: u8) -> Uuid {
    Uuid([byte; 16])
}

#[test]
fn a_directory_is_used_by_one_manager_at_a_time() {
    let dir = TestDir::new(LogConfig::default());
    let (manager, _) = dir.open();
    manager.write_lock_notes("session=0x17\n").unwrap();
    let error = LogManager::open(dir.manager_config(), Disk::real(), Clock::real()).unwrap_err();
    let expected = format!(
        "Failed to acquire lock on file .lock in {}. A Kafka instance in another process or thread is using this directory. (process {})",
        dir.path().display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), expected);
    manager.shutdown().unwrap();
    let (manager, _) = dir.open();
    assert_eq!(manager.previous_lock_notes(), Some("session=0x17\n"));
}

#[test]
fn the_broker_and_cluster_a_directory_belongs_to_are_checked() {
    let dir = TestDir::new(LogConfig::default());
    drop(dir.open());
    let mut config = dir.manager_config();
    config.broker_id = BrokerId(2);
    let error = LogManager::open(config, Disk::real(), Clock::real()).unwrap_err();
    assert!(matches!(error, StorageError::BrokerIdMismatch { stored: 1, configured: 2, .. }), "{error}");
}

#[test]
fn logs_are_spread_over_the_directories_and_found_again() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = LogManagerConfig::new(vec![a.path().to_owned(), b.path().to_owned()], BrokerId(1));
    let (manager, report) = LogManager::open(config.clone(), Disk::real(), Clock::real()).unwrap();
    assert!(report.clean);
    for number in 0..6 {
        let partition = TopicPartition::new("t-with-hyphens", number);
        let log = manager.get_or_create(&partition, Some(uuid(1)), LogConfig::default()).unwrap();
        append(&log, &[&format!("p{number}")]);
    }
    for description in manager.describe() {
        assert_eq!(description.logs.len(), 3);
        assert!(description.logs.iter().all(|(_, size)| *size > 0) && description.error.is_none());
    }
    manager.shutdown().unwrap();
    let (manager, report) = LogManager::open(config, Disk::real(), Clock::real()).unwrap();
    assert_eq!((report.logs, report.clean), (6, true));
    for log in manager.all() {
        assert_eq!(values(&records_from(&log, 0)), [format!("p{}", log.partition().partition)]);
        assert_eq!(log.topic_id(), Some(uuid(1)));
    }
}

#[test]
fn another_topic_id_is_another_topic() {
    let dir = TestDir::new(LogConfig::default());
    let (manager, _) = dir.open();
    manager.get_or_create(&partition(), Some(uuid(1)), LogConfig::default()).unwrap();
    manager.get_or_create(&partition(), Some(uuid(1)), LogConfig::default()).unwrap();
    manager.get_or_create(&partition(), None, LogConfig::default()).unwrap();
    let error = manager.get_or_create(&partition(), Some(uuid(2)), LogConfig::default()).unwrap_err();
    assert_eq!(error.code(), 103, "{error}");
}

#[test]
fn a_deleted_log_goes_after_its_delay_and_its_name_is_free_at_once() {
    let dir = TestDir::new(LogConfig { file_delete_delay_ms: 5000, ..LogConfig::default() });
    let (manager, log) = dir.log();
    for n in 0..10 {
        append(&log, &[&n.to_string()]);
    }
    log.set_high_watermark(Offset(10));
    log.delete_records_before(Offset(7)).unwrap();
    log.flush().unwrap();
    manager.write_checkpoints().unwrap();
    let slice = log.read(Offset(8), 1 << 20, crate::ReadLimit::LogEnd, true).unwrap().slice.unwrap();
    assert!(manager.delete(&partition()).unwrap());
    assert!(!manager.delete(&partition()).unwrap());
    assert!(matches!(log.check_open(), Err(StorageError::Closed { .. })));
    assert_eq!(slice.read().unwrap().len(), slice.len);
    let directories = || {
        let entries = Disk::real().read_dir(dir.path()).unwrap();
        let mut names: Vec<String> =
            entries.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    let names = directories();
    assert!(names.len() == 1 && is_deleted_name(&names[0]), "{names:?}");
    let again = manager.get_or_create(&partition(), Some(uuid(9)), LogConfig::default()).unwrap();
    assert_eq!((again.log_start_offset(), again.log_end_offset()), (Offset(0), Offset(0)));
    append(&again, &["anew"]);
    let now_ms = Clock::real().now_ms();
    manager.run_maintenance(now_ms);
    assert_eq!(directories().len(), 2);
    manager.run_maintenance(now_ms + 6000);
    assert_eq!(directories(), ["t-0"]);
    // Neither recovery point nor log start of the old log reach the new one.
    crash(manager);
    let (manager, report) = dir.open();
    assert!(report.offline.is_empty(), "{report:?}");
    assert_eq!(values(&records_from(&manager.get(&partition()).unwrap(), 0)), ["anew"]);
}

/// The id of a log is damaged, or the topic was made anew while this broker was down: the two look alike.
#[test]
fn a_log_of_another_topic_is_set_aside_with_its_records() {
    let dir = TestDir::new(LogConfig::default());
    let (manager, _) = dir.open();
    let log = manager.get_or_create(&partition(), Some(uuid(1)), LogConfig::default()).unwrap();
    append(&log, &["a", "b"]);
    log.flush().unwrap();
    let refused = manager.get_or_create(&partition(), Some(uuid(2)), LogConfig::default());
    assert!(matches!(refused, Err(StorageError::TopicIdMismatch { .. })));
    let kept = manager.set_aside(&partition()).unwrap().unwrap();
    assert_eq!(manager.set_aside(&partition()).unwrap(), None);
    let anew = manager.get_or_create(&partition(), Some(uuid(2)), LogConfig::default()).unwrap();
    assert_eq!(anew.log_end_offset(), Offset(0));
    crash(manager);
    let (manager, report) = dir.open();
    manager.run_maintenance(Clock::real().now_ms() + 1_000_000_000);
    assert_eq!((report.logs, report.offline.len()), (1, 0));
    let segment = Disk::real().read(&kept.join("00000000000000000000.log"), 1 << 20).unwrap();
    assert!(!segment.is_empty());
}

#[test]
fn what_a_crash_left_of_a_deletion_is_removed_at_the_next_start() {
    let dir = TestDir::new(LogConfig::default());
    let (manager, _log) = dir.log();
    manager.delete(&partition()).unwrap();
    crash(manager);
    let (manager, report) = dir.open();
    assert_eq!(report.logs, 0);
    manager.run_maintenance(Clock::real().now_ms() + 1);
    assert_eq!(Disk::real().read_dir(dir.path()).unwrap().iter().filter(|entry| entry.is_dir).count(), 0);
}

#[test]
fn a_damaged_checkpoint_is_not_believed_and_hides_nothing() {
    let dir = TestDir::new(LogConfig::default());
    let (manager, log) = dir.log();
    append(&log, &["deleted"]);
    append(&log, &["kept"]);
    log.set_high_watermark(Offset(2));
    log.delete_records_before(Offset(1)).unwrap();
    manager.shutdown().unwrap();
    let state = |damaged: &str, text: &[u8]| {
        let path = dir.path().join(damaged);
        let sound = Disk::real().read(&path, 1000).unwrap();
        Disk::real().write_atomic(&path, text).unwrap();
        let (manager, report) = dir.open();
        assert!(report.offline_dirs.is_empty() && report.offline.is_empty(), "{report:?}");
        let log = manager.get(&partition()).unwrap();
        let found = (report.clean, log.log_start_offset().0, log.high_watermark().0, log.log_end_offset().0);
        manager.shutdown().unwrap();
        // The checkpoint is written anew, and what is known again is believed again.
        let now = Disk::real().read(&path, 1000).unwrap_or_default();
        assert!(now != text || text == b"0\n1\nt 0 2\n", "{damaged}");
        Disk::real().write_atomic(&path, &sound).unwrap();
        found
    };
    let flipped = |file: &str, from: &str, to: &str| {
        let text = Disk::real().read(&dir.path().join(file), 1000).unwrap();
        String::from_utf8(text).unwrap().replacen(from, to, 1).into_bytes()
    };
    let check =
        |file: &str, text: &[u8], expected: (bool, i64, i64, i64)| assert_eq!(state(file, text), expected, "{file}");
    check("recovery-point-offset-checkpoint", b"0\n1\nt 0 one\n", (false, 1, 2, 2));
    check("replication-offset-checkpoint", b"0\n1\nt 0 one\n", (true, 1, 1, 2));
    check("log-start-offset-checkpoint", b"rubbish", (true, 0, 2, 2));
    // A digit that is another digit now.
    check(
        "recovery-point-offset-checkpoint",
        &flipped("recovery-point-offset-checkpoint", "0 2", "0 0"),
        (false, 1, 2, 2),
    );
    check("log-start-offset-checkpoint", &flipped("log-start-offset-checkpoint", "0 1", "0 2"), (true, 0, 2, 2));
    // Another program's file has no sum, and is believed.
    check("log-start-offset-checkpoint", b"0\n1\nt 0 2\n", (true, 2, 2, 2));
}

#[test]
fn names_that_are_not_partitions_are_left_alone() {
    let check = |name: &str, expected: Option<(&str, i32)>| {
        let found = parse_partition(name);
        assert_eq!(found.as_ref().map(|found| (&*found.topic, found.partition)), expected, "{name}");
    };
    check("t-0", Some(("t", 0)));
    check("a-b-12", Some(("a-b", 12)));
    check("__consumer_offsets-49", Some(("__consumer_offsets", 49)));
    check("lost+found", None);
    check("t-", None);
    check("-1", None);
    check("t-01", None);
    check("t-99999999999", None);
    check("t-0.0123456789abcdef0123456789abcdef-delete", None);
    assert!(is_deleted_name("t-0.0123456789abcdef0123456789abcdef-delete"));
    assert!(!is_deleted_name("t-0.short-delete"));
    let long = TopicPartition::new("x".repeat(249), 123);
    let name = parted_name(&long, "delete");
    assert!(name.len() <= NAME_BYTES_MAX && is_deleted_name(&name));
    let dir = TestDir::new(LogConfig::default());
    Disk::real().create_dir_all(&dir.path().join("lost+found")).unwrap();
    let (manager, report) = dir.open();
    assert_eq!((report.logs, report.offline.len()), (0, 0));
    for bad in [TopicPartition::new("../x", 0), TopicPartition::new("x".repeat(300), 0), TopicPartition::new("", 0)] {
        assert!(matches!(manager.get_or_create(&bad, None, LogConfig::default()), Err(StorageError::BadName { .. })));
    }
}

#[test]
fn an_idle_log_holds_nothing() {
    let dir = TestDir::new(LogConfig { index_interval_bytes: 1, ..LogConfig::default() });
    let (manager, log) = dir.log();
    let big = "x".repeat(600_000);
    for _ in 0..4 {
        append(&log, &[&big]);
    }
    assert!(log.dir().log_dir().reserved_bytes() > 0);
    let index = dir.log_path("00000000000000000000.index");
    assert_eq!(Disk::real().file_len(&index).unwrap(), 0, "index entries wait in memory");
    manager.run_maintenance(Clock::real().now_ms() + crate::log::IDLE_MS + 1);
    assert_eq!(log.dir().log_dir().reserved_bytes(), 0);
    assert_eq!(Disk::real().file_len(&index).unwrap(), 3 * 8);
    assert_eq!(log.durable_offset(), log.log_end_offset());
    assert_eq!(records_from(&log, 2).len(), 2);
    append(&log, &["again"]);
    assert_eq!(records_from(&log, 4).len(), 1);
}

#[test]
fn a_new_log_costs_a_folder_and_a_file_and_nothing_more_until_a_record_comes() {
    let sim = SimDisk::new();
    let mut config = LogManagerConfig::new(vec![PathBuf::from("/logs")], BrokerId(1));
    config.flusher_threads = 0;
    let open = || LogManager::open(config.clone(), Disk::Sim(sim), Clock::real()).unwrap();
    let name = |number| TopicPartition::new("t", number);
    let (manager, _) = open();
    let before = sim.changes();
    for number in 0..50 {
        let log = manager.get_or_create(&name(number), Some(uuid(1)), LogConfig::default()).unwrap();
        log.assign_epoch(LeaderEpoch(3)).unwrap();
    }
    manager.run_maintenance(i64::MAX);
    assert_eq!(sim.changes() - before, 2 * 50);

    // Checkpoints and the mark of a clean shutdown, and the lock of the next start: nothing for each log.
    manager.shutdown().unwrap();
    let (manager, report) = open();
    assert_eq!((report.logs, report.clean), (50, true));
    manager.run_maintenance(i64::MAX);
    let around = sim.changes() - before - 2 * 50;
    assert!(around < 40, "{around} changes for a shutdown and a start with 50 idle logs");

    // One sync makes the names of all of them last.
    let disk = Disk::Sim(sim);
    for number in 0..2 {
        let log = manager.get_or_create(&name(number), Some(uuid(1)), LogConfig::default()).unwrap();
        log.assign_epoch(LeaderEpoch(4)).unwrap();
        assert!(!disk.exists(&log.dir().file("partition.metadata")), "written before it is needed");
        log.append_as_leader(&mut crate::testing::batch(&["x"], 1), LeaderEpoch(4), AppendOptions::client(1)).unwrap();
        log.flush().unwrap();
    }
    crash(manager);
    sim.power_cut(1);
    let (manager, _) = open();
    for number in 0..2 {
        let log = manager.get(&name(number)).unwrap();
        assert_eq!((log.log_end_offset().0, log.topic_id()), (1, Some(uuid(1))));
        assert_eq!((log.epoch_of(Offset(0)), log.latest_epoch()), (Some(LeaderEpoch(4)), Some(LeaderEpoch(4))));
    }
    crash(manager);
}
