//! A log directory that Apache Kafka 0.9.0.1 wrote (message format v0; `testdata/kafka-0.9.0.1`) is opened, read, dumped and carried on.
//! Topic `plain` holds lines `hello hadoop <run> <number>`, topic `packed` the same number of lines under gzip and snappy.

use std::path::Path;
use std::sync::Arc;

use protocol::records::message_set::{Message, MessageSetIter};
use protocol::records::{BatchBuilder, BatchOptions};
use protocol::types::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use runtime::{Clock, Disk};
use storage::dump::{LogFile, check_offset_index, offset_index_entries};
use storage::{AppendOptions, Log, LogManager, LogManagerConfig, ReadLimit};
use tidemill_storage as storage;

const RECORDS: [(&str, usize); 2] = [("packed", 40), ("plain", 36)];

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn apache_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/kafka-0.9.0.1"), directory.path());
    directory
}

fn open(directory: &Path) -> (LogManager, storage::RecoveryReport) {
    let config = LogManagerConfig::new(vec![directory.to_owned()], BrokerId(0));
    LogManager::open(config, Disk::real(), Clock::real()).unwrap()
}

fn messages(log: &Arc<Log>) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    loop {
        let next = messages.last().map_or(0, |last| last.offset.0 + 1);
        let info = log.read(Offset(next), 300, ReadLimit::LogEnd, true).unwrap();
        let Some(slice) = info.slice else { return messages };
        for message in MessageSetIter::new(slice.read().unwrap()) {
            messages.extend(
                message.unwrap().expand(1 << 20).unwrap().into_iter().filter(|message| message.offset.0 >= next),
            );
        }
    }
}

fn check_messages(manager: &LogManager) {
    for (topic, count) in RECORDS {
        let log = manager.get(&TopicPartition::new(topic, 0)).unwrap();
        assert_eq!(log.log_end_offset(), Offset(count as i64), "{topic}");
        let messages = messages(&log);
        assert_eq!(messages.len(), count, "{topic}");
        for (at, message) in messages.iter().enumerate() {
            assert_eq!(message.offset.0, at as i64);
            let text = std::str::from_utf8(message.value.as_ref().unwrap()).unwrap();
            let number: usize = text.rsplit(' ').next().unwrap().parse().unwrap();
            let run = if topic == "plain" { 12 } else { 20 };
            assert_eq!(number, at % run + 1, "{topic}: {text}");
        }
    }
}

#[test]
fn after_a_clean_shutdown_everything_is_there() {
    let directory = apache_directory();
    let (manager, report) = open(directory.path());
    assert!(report.clean && report.offline.is_empty(), "{report:?}");
    check_messages(&manager);
    for (topic, count) in RECORDS {
        assert_eq!(manager.get(&TopicPartition::new(topic, 0)).unwrap().high_watermark(), Offset(count as i64));
    }
}

#[test]
fn after_a_crash_everything_is_checked_and_there() {
    let directory = apache_directory();
    std::fs::remove_file(directory.path().join(".kafka_cleanshutdown")).unwrap();
    std::fs::remove_file(directory.path().join("recovery-point-offset-checkpoint")).unwrap();
    // What the broker had reserved for its index and did not live to trim.
    let index = directory.path().join("plain-0/00000000000000000000.index");
    let mut bytes = std::fs::read(&index).unwrap();
    bytes.resize(10 << 20, 0);
    std::fs::write(&index, bytes).unwrap();
    let log = directory.path().join("plain-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 36, 0, 0, 0, 99, 1]);
    std::fs::write(&log, bytes).unwrap();
    let (manager, report) = open(directory.path());
    assert!(!report.clean && report.offline.is_empty(), "{report:?}");
    let torn: Vec<u64> = report.recovered.iter().map(|(_, recovery)| recovery.truncated_bytes).collect();
    assert_eq!(torn, [0, 13]);
    check_messages(&manager);
}

#[test]
fn a_log_of_old_messages_is_carried_on_with_new_batches() {
    let directory = apache_directory();
    let (manager, _) = open(directory.path());
    let plain = TopicPartition::new("plain", 0);
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(1, None, Some(b"new"), None).unwrap();
    let mut batch = builder.build_vec().unwrap();
    let log = manager.get(&plain).unwrap();
    let info = log.append_as_leader(&mut batch, LeaderEpoch(1), AppendOptions::client(1)).unwrap();
    assert_eq!(info.first_offset, Offset(36));
    manager.shutdown().unwrap();
    let (manager, report) = open(directory.path());
    assert!(report.clean);
    let log = manager.get(&plain).unwrap();
    let info = log.read(Offset(36), 1 << 20, ReadLimit::LogEnd, true).unwrap();
    assert_eq!(&info.slice.unwrap().read().unwrap()[..], batch);
    assert_eq!(log.epoch_of(Offset(36)), Some(LeaderEpoch(1)));
    assert_eq!(log.epoch_of(Offset(35)), None);
}

#[test]
fn the_dump_shows_what_apaches_tool_shows() {
    let directory = apache_directory();
    for (topic, count) in RECORDS {
        let path = directory.path().join(format!("{topic}-0/00000000000000000000.log"));
        let mut file = LogFile::open(Disk::real(), &path).unwrap();
        let entries: Vec<_> = file.by_ref().collect::<Result<_, _>>().unwrap();
        assert!(entries.iter().all(|entry| entry.is_valid && entry.entry.magic == 0), "{topic}");
        assert_eq!(entries.iter().map(|entry| entry.messages().unwrap().len()).sum::<usize>(), count);
        assert_eq!(file.trailing_bytes(), 0);
        let index = offset_index_entries(Disk::real(), &path.with_extension("index")).unwrap();
        assert!(!index.is_empty());
        assert_eq!(check_offset_index(&file, &index), []);
    }
    let packed = directory.path().join("packed-0/00000000000000000000.log");
    let first = LogFile::open(Disk::real(), &packed).unwrap().next().unwrap().unwrap();
    assert_eq!((first.entry.last_offset, first.entry.position, first.crc), (19, 0, 1_872_782_495));
}
