//! The files of a log directory: small ones read by themselves, and the whole directory opened, as a broker does at its start.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use protocol::records::{BatchBuilder, BatchOptions, Codec};
use protocol::types::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use runtime::{Clock, Disk};
use storage::config::{LogConfig, LogManagerConfig};
use storage::read::ReadLimit;
use storage::{AppendOptions, LogManager, checkpoints, dump, meta_properties};

use crate::damage::{Campaign, damage};

const DISK: Disk = Disk::Real;
/// Inputs of the directory's test in every input of the others.
const SHARE: usize = 20;
/// And of the test of single files.
const FILE_SHARE: usize = 2;
const MEMORY: usize = 256 * 1024;
const MEMORY_PER_BYTE: usize = 256;

fn partition() -> TopicPartition {
    TopicPartition { topic: "words".into(), partition: 0 }
}

fn open(directory: &Path) -> Result<LogManager, storage::StorageError> {
    let mut config = LogManagerConfig::new(vec![directory.to_owned()], BrokerId(0));
    config.cluster_id = Some("cluster".to_owned());
    config.default_config = LogConfig { segment_bytes: 2_000, index_interval_bytes: 100, ..LogConfig::default() };
    LogManager::open(config, DISK, Clock::real()).map(|(logs, _)| logs)
}

fn batch(number: i32, codec: Codec) -> BytesMut {
    let mut builder = BatchBuilder::new(BatchOptions {
        codec,
        producer_id: 7,
        producer_epoch: 0,
        base_sequence: number * 2,
        ..BatchOptions::default()
    });
    for record in 0..2 {
        builder
            .append(
                1_700_000_000_000 + i64::from(number),
                Some(b"key"),
                Some(format!("value {number} {record}").as_bytes()),
                None,
            )
            .unwrap();
    }
    BytesMut::from(builder.build_vec().unwrap().as_slice())
}

/// A directory with a partition of several segments, written by a broker that was stopped (`clean`) or not.
fn write_directory(directory: &Path, clean: bool) {
    let logs = open(directory).unwrap();
    let log = logs
        .get_or_create(
            &partition(),
            None,
            LogConfig { segment_bytes: 2_000, index_interval_bytes: 100, ..LogConfig::default() },
        )
        .unwrap();
    for number in 0..60 {
        let codec = if number % 3 == 0 { Codec::Gzip } else { Codec::None };
        let epoch = LeaderEpoch(1 + number / 20);
        log.append_as_leader(&mut batch(number, codec), epoch, AppendOptions::client(1_700_000_000_000)).unwrap();
    }
    log.set_high_watermark(Offset(100));
    logs.write_checkpoints().unwrap();
    logs.write_high_watermarks().unwrap();
    if clean {
        logs.shutdown().unwrap();
    }
}

/// Names below a directory, and what the files hold. A sync in the background may still be at work: what it has not put in its place yet is left out.
fn read_files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(read_files(&path));
        } else if path.file_name().is_some_and(|name| name != ".lock")
            && path.extension().is_none_or(|kind| kind != "tmp")
            && let Ok(bytes) = fs::read(&path)
        {
            files.push((path, bytes));
        }
    }
    files.sort();
    files
}

/// Opens the directory and reads what is served of it.
fn start_and_read(directory: &Path) -> bool {
    let Ok(logs) = open(directory) else { return false };
    let Some(log) = logs.get(&partition()) else { return false };
    let mut offset = log.log_start_offset();
    while offset < log.log_end_offset() {
        let Ok(read) = log.read(offset, 1 << 20, ReadLimit::LogEnd, true) else { break };
        let Some(slice) = read.slice else { break };
        let Ok(bytes) = slice.read() else { break };
        let batches = protocol::records::BatchIter::new(bytes).flatten();
        let Some(last) = batches.map(|batch| batch.header.last_offset()).max() else { break };
        if last < offset {
            break;
        }
        offset = Offset(last.0 + 1);
    }
    let _ = log.offset_for_timestamp(1_700_000_000_010);
    let _ = logs.shutdown();
    true
}

#[test]
fn a_whole_directory() {
    const DIRECTORY_MEMORY: usize = 64 << 20;
    for clean in [true, false] {
        let holder = tempfile::tempdir().unwrap();
        let (written, directory) = (holder.path().join("written"), holder.path().join("logs"));
        fs::create_dir(&written).unwrap();
        write_directory(&written, clean);
        let files = read_files(&written);
        assert!(files.len() > 10, "{} files", files.len());
        fs::create_dir(&directory).unwrap();
        let campaign = Campaign::from_environment().shared(2 * SHARE);
        let served = campaign.run(
            |_, dice| {
                // What a start made or took away is put back as it was.
                fs::remove_dir_all(&directory).unwrap();
                let victim = dice.roll(files.len());
                for (index, (path, bytes)) in files.iter().enumerate() {
                    let path = directory.join(path.strip_prefix(&written).unwrap());
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                    let bytes = if index == victim { damage(&bytes[..length], dice) } else { bytes.clone() };
                    fs::write(path, bytes).unwrap();
                }
                Vec::new()
            },
            |_| DIRECTORY_MEMORY,
            |_, _| start_and_read(&directory),
        );
        assert!(served > campaign.inputs / 4, "{served} of {} were served", campaign.inputs);
    }
}

#[test]
fn single_files() {
    type Read = fn(&Path) -> bool;
    let holder = tempfile::tempdir().unwrap();
    let directory = holder.path().join("logs");
    fs::create_dir(&directory).unwrap();
    write_directory(&directory, true);
    let readers: [(&str, Read); 9] = [
        ("recovery-point-offset-checkpoint", |path| checkpoints::read_offsets(DISK, path).is_ok()),
        ("replication-offset-checkpoint", |path| checkpoints::read_offsets(DISK, path).is_ok()),
        ("leader-epoch-checkpoint", |path| checkpoints::read_epochs(DISK, path).is_ok()),
        ("partition.metadata", |path| checkpoints::read_topic_id(DISK, path).is_ok()),
        ("meta.properties", |path| meta_properties::read(DISK, path.parent().unwrap()).is_ok()),
        (".index", |path| dump::offset_index_entries(DISK, path).is_ok()),
        (".timeindex", |path| dump::time_index_entries(DISK, path).is_ok()),
        (".snapshot", |path| dump::producers(DISK, path).is_ok()),
        (".log", read_segment),
    ];
    let files = read_files(&directory);
    let mut samples: Vec<(&str, &[u8], Read)> = Vec::new();
    for (name, read) in readers {
        let (path, bytes) = match files
            .iter()
            .filter(|(path, _)| path.to_string_lossy().ends_with(name))
            .max_by_key(|(_, bytes)| bytes.len())
        {
            Some(file) => file,
            // A log without an id has no such file.
            None if name == "partition.metadata" => {
                checkpoints::write_topic_id(DISK, &directory.join(name), protocol::types::Uuid([1; 16])).unwrap();
                samples.push((name, b"version: 0\ntopic_id: AQEBAQEBAQEBAQEBAQEBAQ\n", read));
                continue;
            }
            None => panic!("no {name} was written"),
        };
        assert!(read(path), "{} cannot be read", path.display());
        samples.push((name, bytes, read));
    }
    let campaign = Campaign::from_environment().shared(FILE_SHARE);
    let path = |name: &str| {
        if name.starts_with('.') {
            holder.path().join(format!("00000000000000000000{name}"))
        } else {
            holder.path().join(name)
        }
    };
    let good = campaign.run(
        |number, dice| {
            let (name, bytes, _) = samples[number % samples.len()];
            let bytes = damage(bytes, dice);
            fs::write(path(name), &bytes).unwrap();
            bytes
        },
        |length| MEMORY + MEMORY_PER_BYTE * length,
        |number, _| {
            let (name, _, read) = samples[number % samples.len()];
            read(&path(name))
        },
    );
    assert!(good > campaign.inputs / 50, "{good} of {} were read", campaign.inputs);
}

/// As `kafka-dump-log` walks a segment.
fn read_segment(path: &Path) -> bool {
    let Ok(log) = dump::LogFile::open(DISK, path) else { return false };
    let (mut position, mut records) = (0, 0);
    while let Ok(Some(entry)) = log.entry_at(position) {
        let size = u64::from(entry.size);
        if size == 0 {
            break;
        }
        position += size;
        records += 1;
    }
    records > 0
}

/// The bytes a file is taken to be must not be believed either: checkpoints far longer than any broker writes.
#[test]
fn endless_checkpoints() {
    let holder = tempfile::tempdir().unwrap();
    let path = holder.path().join("recovery-point-offset-checkpoint");
    let mut text = String::from("0\n2000000000\n");
    text.push_str(&"words 0 5\n".repeat(3_000_000));
    fs::write(&path, Bytes::from(text)).unwrap();
    assert!(checkpoints::read_offsets(DISK, &path).is_err());
}
