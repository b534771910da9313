use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::config::LogConfig;
use crate::testing::{TestDir, append};

const WAIT: Duration = Duration::from_secs(20);

#[test]
fn one_who_waits_is_told_when_his_record_is_durable() {
    let dir = TestDir::new(LogConfig { segment_bytes: 400, ..LogConfig::default() });
    let (manager, log) = dir.log();
    let (told, tellings) = mpsc::channel();
    for n in 0..100 {
        let info = append(&log, &["x"]);
        let (told, up_to) = (told.clone(), info.last_offset.plus(1));
        let done = Box::new(move |result: Result<Offset>| told.send((up_to, result.unwrap())).unwrap());
        manager.flusher().request(&log, up_to, done);
        assert_eq!(info.last_offset, Offset(n));
    }
    for _ in 0..100 {
        let (up_to, durable) = tellings.recv_timeout(WAIT).unwrap();
        assert!(durable >= up_to, "told at {durable}, waited for {up_to}");
    }
    assert_eq!(log.durable_offset(), Offset(100));
    // What is durable already is answered at once, on the caller's thread.
    let thread = std::thread::current().id();
    let done = Box::new(move |_: Result<Offset>| assert_eq!(std::thread::current().id(), thread));
    manager.flusher().request(&log, Offset(50), done);
}

#[test]
fn a_callback_may_ask_for_the_next_sync() {
    let dir = TestDir::new(LogConfig::default());
    let (manager, log) = dir.log();
    append(&log, &["x"]);
    let (told, tellings) = mpsc::channel();
    let (flusher, again) = (manager.flusher().clone(), log.clone());
    let first = Box::new(move |result: Result<Offset>| {
        assert_eq!(result.unwrap(), Offset(1));
        append(&again, &["y"]);
        let second = Box::new(move |result: Result<Offset>| told.send(result.unwrap()).unwrap());
        flusher.request(&again, Offset(2), second);
    });
    manager.flusher().request(&log, Offset(1), first);
    assert_eq!(tellings.recv_timeout(WAIT).unwrap(), Offset(2));
}

#[test]
fn flush_messages_makes_the_log_durable_by_itself() {
    let dir = TestDir::new(LogConfig { flush_messages: 3, ..LogConfig::default() });
    let (manager, log) = dir.log();
    assert!(!append(&log, &["a"]).flush_due);
    assert!(append(&log, &["b", "c"]).flush_due);
    manager.flusher().shutdown();
    assert_eq!(log.durable_offset(), Offset(3));
}

#[test]
fn flush_ms_makes_the_log_durable_in_time() {
    let dir = TestDir::new(LogConfig { flush_ms: 1000, ..LogConfig::default() });
    let (manager, log) = dir.log();
    append(&log, &["a"]);
    let now_ms = runtime::Clock::real().now_ms();
    manager.run_maintenance(now_ms + 2000);
    manager.flusher().shutdown();
    assert_eq!(log.durable_offset(), Offset(1));
}

#[test]
fn after_a_failed_sync_everybody_is_told_and_the_directory_is_offline() {
    let dir = TestDir::new(LogConfig::default());
    let (manager, log) = dir.log();
    let other =
        manager.get_or_create(&protocol::types::TopicPartition::new("u", 1), None, LogConfig::default()).unwrap();
    append(&log, &["x"]);
    let cause = std::io::Error::other("the disk is on fire");
    log.dir().log_dir().fail("sync", std::path::Path::new("x.log"), cause);
    let (told, tellings) = mpsc::channel();
    let done = Box::new(move |result: Result<Offset>| told.send(result.unwrap_err()).unwrap());
    manager.flusher().request(&log, Offset(1), done);
    let error = tellings.recv_timeout(WAIT).unwrap();
    assert_eq!(error.code(), 56);
    assert!(error.to_string().contains("the disk is on fire"), "{error}");
    for log in [&log, &other] {
        let mut bytes = crate::testing::batch(&["y"], 0);
        assert_eq!(crate::testing::try_append(log, &mut bytes).unwrap_err().code(), 56);
        assert_eq!(log.read(Offset(0), 1, crate::ReadLimit::LogEnd, true).unwrap_err().code(), 56);
    }
    assert_eq!(manager.offline().len(), 2);
    assert!(manager.describe()[0].error.is_some());
    assert!(manager.shutdown().is_err());
    assert!(!dir.path().join(".kafka_cleanshutdown").exists());
}

#[test]
fn one_who_waits_for_an_offset_that_was_cut_off_is_told() {
    let dir = TestDir::new(LogConfig::default());
    let (manager, log) = dir.log();
    append(&log, &["x"]);
    let (told, tellings) = mpsc::channel();
    let done = Box::new(move |result: Result<Offset>| told.send(result.unwrap_err()).unwrap());
    manager.flusher().request(&log, Offset(2), done);
    assert!(matches!(tellings.recv_timeout(WAIT).unwrap(), StorageError::Cut { offset: Offset(2), .. }));
}
