//! Flipped bits: one bit of one file of a log directory changes between two starts of a broker.
//!
//! Whatever the file: no panic, no record that is wrong, none skipped, no log that begins later or ends elsewhere. Damage in a segment is answered with its file and the
//! position of its batch. `TIDEMILL_CAMPAIGN_SEEDS=N` flips N bits of each byte (8 are all); the default is one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::records::batch::BatchIter;
use protocol::records::{BatchBuilder, BatchOptions};
use protocol::types::{BrokerId, LeaderEpoch, Offset, TopicPartition, Uuid};
use runtime::sim_disk::{Moment, Seeded};
use runtime::{Clock, Disk, SimDisk};
use tidemill_storage::{
    AppendOptions, Log, LogConfig, LogManager, LogManagerConfig, ReadError, ReadLimit, RecoveryReport, StorageError,
    checkpoints,
};

const DIR: &str = "/data/kafka-logs";
const DAY_MS: i64 = 86_400_000;
const PRODUCER: i64 = 7;

fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn try_open(sim: SimDisk) -> Result<(LogManager, RecoveryReport), StorageError> {
    let mut config = LogManagerConfig::new(vec![PathBuf::from(DIR)], BrokerId(1));
    config.cluster_id = Some("a-cluster".to_owned());
    config.default_config = LogConfig {
        segment_bytes: 900,
        index_interval_bytes: 150,
        retention_ms: DAY_MS,
        producer_id_expiration_ms: i64::MAX,
        ..LogConfig::default()
    };
    config.flusher_threads = 0;
    config.recovery_threads_per_dir = 1;
    LogManager::open(config, Disk::Sim(sim), Clock::real())
}

/// What was written: each batch with its segment, its position, its records.
#[derive(Debug)]
struct Written {
    file: PathBuf,
    position: u64,
    base_offset: i64,
    values: Vec<String>,
    timestamp: i64,
}

/// A directory with all kinds of files in it, and what they say.
struct Ground {
    sim: SimDisk,
    moment: Moment,
    batches: Vec<Written>,
    log_start: i64,
    log_end: i64,
    now_ms: i64,
    id: Uuid,
}

fn ground(clean: bool) -> Ground {
    let sim = SimDisk::new();
    let (manager, _) = try_open(sim).unwrap();
    let id = Uuid([5; 16]);
    let log = manager.get_or_create(&partition(), Some(id), manager.config_of("t")).unwrap();
    let now_ms = Clock::real().now_ms();
    let mut batches = Vec::new();
    for n in 0..36 {
        let timestamp = now_ms - 1000 + n * 10;
        // The records of one producer, and those of nobody.
        let options = match n % 3 {
            0 => BatchOptions {
                producer_id: PRODUCER,
                producer_epoch: 1,
                base_sequence: n as i32 / 3 * 2,
                ..BatchOptions::default()
            },
            _ => BatchOptions::default(),
        };
        let values: Vec<String> = (0..2).map(|at| format!("value {n} {at}")).collect();
        let mut builder = BatchBuilder::new(options);
        for value in &values {
            builder.append(timestamp, None, Some(value.as_bytes()), None).unwrap();
        }
        let mut bytes = builder.build().unwrap().to_vec();
        let epoch = LeaderEpoch(if n < 15 { 3 } else { 6 });
        let info = log.append_as_leader(&mut bytes, epoch, AppendOptions::client(now_ms)).unwrap();
        let segment = log.segments().pop().unwrap();
        batches.push(Written {
            file: segment.log_file().path(),
            position: segment.size() - bytes.len() as u64,
            base_offset: info.first_offset.0,
            values,
            timestamp,
        });
    }
    log.set_high_watermark(log.log_end_offset());
    log.delete_records_before(Offset(3)).unwrap();
    assert!(log.segments().len() >= 4);
    let (log_start, log_end) = (log.log_start_offset().0, log.log_end_offset().0);
    log.flush().unwrap();
    if clean {
        manager.shutdown().unwrap();
    } else {
        for segment in log.segments() {
            segment.write_out_indexes().unwrap();
        }
        manager.write_checkpoints().unwrap();
        manager.abandon();
    }
    sim.record();
    let moment = sim.take_past().pop().unwrap();
    Ground { sim, moment, batches, log_start, log_end, now_ms, id }
}

/// All files of the directory.
fn files(sim: SimDisk, at: &Path, found: &mut Vec<PathBuf>) {
    for entry in Disk::Sim(sim).read_dir(at).unwrap() {
        if entry.is_dir {
            files(sim, &entry.path, found);
        } else {
            found.push(entry.path);
        }
    }
}

/// Reads from every batch on, as a consumer that never goes on by itself. Gives the batches that were refused.
fn check_records(ground: &Ground, log: &Log, flipped: &Path, place: &str) -> BTreeSet<usize> {
    let mut refused = BTreeSet::new();
    for (at, batch) in ground.batches.iter().enumerate() {
        let asked = batch.base_offset.max(ground.log_start);
        if batch.base_offset + 1 < ground.log_start {
            continue;
        }
        let read = match log.read(Offset(asked), 400, ReadLimit::LogEnd, true) {
            Ok(read) => read,
            Err(ReadError::Storage(StorageError::Damaged { path, .. })) => {
                assert_eq!(path, flipped, "{place}: the wrong file is named");
                refused.insert(at);
                continue;
            }
            Err(error) => panic!("{place}: {error}"),
        };
        let bytes = read.slice.unwrap_or_else(|| panic!("{place}: nothing at {asked}")).read().unwrap();
        let mut expected = ground.batches[at..].iter();
        for found in BatchIter::new(bytes) {
            let found = found.unwrap_or_else(|error| panic!("{place}: read at {asked}: {error}"));
            let expected = expected.next().unwrap_or_else(|| panic!("{place}: more than was written"));
            let header = &found.header;
            assert_eq!(header.base_offset.0, expected.base_offset, "{place}: read at {asked}");
            let records: Vec<_> = found.records(1 << 20).unwrap().map(Result::unwrap).collect();
            let values: Vec<_> = records.iter().map(|record| record.value.clone().unwrap()).collect();
            assert!(values.iter().eq(expected.values.iter()), "{place}: read at {asked}");
            let epoch = if expected.base_offset < 30 { 3 } else { 6 };
            assert_eq!(header.partition_leader_epoch.0, epoch, "{place}: epoch at {asked}");
        }
    }
    refused
}

fn check_times(ground: &Ground, log: &Log, place: &str) {
    for batch in ground.batches.iter().skip(2).step_by(5) {
        match log.offset_for_timestamp(batch.timestamp) {
            Ok(found) => {
                let found = found.unwrap_or_else(|| panic!("{place}: no record of {}", batch.timestamp));
                assert_eq!(found.offset.0, batch.base_offset, "{place}: by time {}", batch.timestamp);
            }
            Err(StorageError::Damaged { .. }) => {}
            Err(error) => panic!("{place}: {error}"),
        }
    }
}

/// What became of one flip.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Told {
    unharmed: usize,
    batches_refused: usize,
    logs_refused: usize,
    dirs_refused: usize,
}

fn check_flip(ground: &Ground, clean: bool, path: &Path, position: u64, mask: u8, told: &mut Told) {
    let sim = ground.sim;
    let place = format!("{} byte {position} mask {mask:02x}, clean {clean}", path.display());
    sim.become_moment(&ground.moment);
    sim.flip(path, position, mask).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let (manager, report) = match try_open(sim) {
        Ok(opened) => opened,
        Err(error) => {
            assert_eq!(name, "meta.properties", "{place}: {error}");
            assert!(error.to_string().contains(DIR), "{place}: {error}");
            told.dirs_refused += 1;
            return;
        }
    };
    assert!(report.offline_dirs.is_empty(), "{place}: {report:?}");
    if let [(_, error)] = report.offline.as_slice() {
        // The files of the log are as they were; the error says which one is damaged.
        assert!(error.to_string().contains(name), "{place}: {error}");
        let last = ground.batches.last().unwrap();
        assert!(name == "partition.metadata" || path == last.file || !clean && name.ends_with(".log"), "{place}");
        told.logs_refused += 1;
        manager.abandon();
        return;
    }
    let log: Arc<Log> = manager.get(&partition()).unwrap_or_else(|| panic!("{place}: the log is gone"));
    assert!(log.log_start_offset().0 <= ground.log_start, "{place}: records are hidden");
    assert_eq!(log.log_end_offset().0, ground.log_end, "{place}");
    assert!(log.high_watermark().0 <= ground.log_end, "{place}");
    assert!([None, Some(ground.id)].contains(&log.topic_id()), "{place}");
    log.set_high_watermark(log.log_end_offset());
    assert_eq!(log.run_retention(ground.now_ms).unwrap(), 0, "{place}: records are deleted before their time");
    let refused = check_records(ground, &log, path, &place);
    check_times(ground, &log, &place);
    // The maintenance builds damaged indexes anew.
    log.run_maintenance(ground.now_ms).unwrap();
    assert_eq!(check_records(ground, &log, path, &place), refused, "{place}");
    let below_the_start = path == ground.batches[0].file && position < ground.batches[1].position;
    if refused.is_empty() {
        told.unharmed += usize::from(!below_the_start);
    } else {
        let hit = ground.batches.iter().rposition(|batch| batch.file == path && batch.position <= position).unwrap();
        // Of two batches that overlap either may be blamed, and what no index leads behind goes with them.
        assert!(refused.iter().all(|at| at + 1 >= hit && *at <= hit + 3), "{place}: refused {refused:?}, hit {hit}");
        told.batches_refused += 1;
    }
    // What a producer sent before is known: from the snapshots, or from the log where they are damaged.
    let known = log.producers();
    let [(id, producer)] = known.as_slice() else { panic!("{place}: {known:?}") };
    assert_eq!((*id, producer.epoch, producer.batches.back().unwrap().last_sequence), (PRODUCER, 1, 23), "{place}");
    manager.abandon();
}

fn flip_everything(clean: bool) {
    let bits: u64 = std::env::var("TIDEMILL_CAMPAIGN_SEEDS").ok().and_then(|bits| bits.parse().ok()).unwrap_or(1);
    let ground = ground(clean);
    let mut all = Vec::new();
    files(ground.sim, Path::new(DIR), &mut all);
    let mut random = Seeded::new(42);
    let mut flips = 0;
    for path in all {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if [".lock", checkpoints::CLEAN_SHUTDOWN_FILE].contains(&name.as_str()) {
            continue;
        }
        ground.sim.become_moment(&ground.moment);
        let length = Disk::Sim(ground.sim).file_len(&path).unwrap();
        let mut told = Told::default();
        for position in 0..length {
            let first = random.below(8);
            for bit in 0..bits.min(8) {
                check_flip(&ground, clean, &path, position, 1 << ((first + bit) % 8), &mut told);
                flips += 1;
            }
        }
        println!("clean {clean}, {name}, {length} bytes: {told:?}");
        let last = ground.batches.last().unwrap();
        if name.ends_with(".log") && path != last.file {
            // Of a closed segment no flip passes unseen: the epoch of a batch is vouched for by the checkpoint.
            assert_eq!(told.unharmed, 0, "{name}");
        }
    }
    println!("clean {clean}: {flips} flips");
    assert!(flips > 3000, "only {flips} flips");
}

#[test]
fn after_a_clean_shutdown_no_flipped_bit_makes_a_wrong_record() {
    flip_everything(true);
}

#[test]
fn after_a_crash_no_flipped_bit_makes_a_wrong_record() {
    flip_everything(false);
}
