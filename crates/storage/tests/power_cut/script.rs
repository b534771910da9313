//! The script: what a broker does to its logs in a day, in 300 steps.

use std::path::PathBuf;
use std::sync::Arc;

use protocol::records::{BatchBuilder, BatchOptions};
use protocol::types::{BrokerId, LeaderEpoch, Offset, TopicPartition, Uuid};
use runtime::sim_disk::Seeded;
use runtime::{Clock, Disk, SimDisk};
use tidemill_storage::{AppendOptions, Log, LogConfig, LogManager, LogManagerConfig, RecoveryReport};

use crate::oracle::{LogOracle, Oracle, Record};

/// The idempotent producer of the script.
pub const PRODUCER: i64 = 7;
/// Wall time of every record.
const NOW_MS: i64 = 1_700_000_000_000;

/// What was so when the disk had seen so many changes.
pub struct Mark {
    /// Number of the step that ended here, and what it was.
    pub step: String,
    /// Changes of the disk so far.
    pub changes: u64,
    /// What was promised.
    pub oracle: Oracle,
}

/// A script under way.
pub struct Script {
    sim: SimDisk,
    random: Seeded,
    manager: LogManager,
    oracle: Oracle,
    marks: Vec<Mark>,
    values: u32,
}

/// Topics of the script: one that lives, one that comes and goes.
pub fn lasting() -> TopicPartition {
    TopicPartition::new("lasting", 0)
}

/// Its partitions are made one after the other, as those of a topic are.
const PASSING_PARTITIONS: i32 = 3;

fn passing(number: i32) -> TopicPartition {
    TopicPartition::new("passing", number)
}

pub fn log_config() -> LogConfig {
    LogConfig {
        segment_bytes: 1500,
        index_interval_bytes: 200,
        retention_bytes: 6000,
        retention_ms: -1,
        file_delete_delay_ms: 50,
        producer_id_expiration_ms: i64::MAX,
        ..LogConfig::default()
    }
}

/// The logs on a disk. A directory that cannot be opened is a failed test.
pub fn open(sim: SimDisk) -> (LogManager, RecoveryReport) {
    let mut config = LogManagerConfig::new(vec![PathBuf::from("/data/kafka-logs")], BrokerId(1));
    config.cluster_id = Some("cluster-of-the-script-1".to_owned());
    config.default_config = log_config();
    config.flusher_threads = 0;
    config.recovery_threads_per_dir = 1;
    LogManager::open(config, Disk::Sim(sim), Clock::real()).unwrap()
}

/// Ends a manager as `kill -9` would.
pub fn crash(manager: &LogManager) {
    manager.abandon();
}

/// Appends one record without a producer.
pub fn append_plain(log: &Log, value: &str) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(NOW_MS, None, Some(value.as_bytes()), None).unwrap();
    let epoch = log.latest_epoch().unwrap_or(LeaderEpoch(0));
    log.append_as_leader(&mut builder.build().unwrap().to_vec(), epoch, AppendOptions::client(NOW_MS)).unwrap();
}

impl Script {
    pub fn new(sim: SimDisk, seed: u64) -> Script {
        let (manager, _) = open(sim);
        let mut script =
            Script { sim, random: Seeded::new(seed), manager, oracle: Oracle::default(), marks: Vec::new(), values: 0 };
        script.mark("open".to_owned());
        script.create(&lasting(), Uuid([1; 16]));
        script.mark("create".to_owned());
        script
    }

    /// Runs so many steps and gives what was promised after each.
    pub fn run(mut self, steps: usize) -> Vec<Mark> {
        for step in 0..steps {
            let what = self.step();
            self.mark(format!("{step} ({what})"));
        }
        crash(&self.manager);
        self.marks
    }

    fn mark(&mut self, step: String) {
        for (partition, log) in &mut self.oracle.logs {
            let Some(found) = self.manager.get(partition) else { continue };
            log.note_durable(found.durable_offset().0);
            assert_eq!(found.log_end_offset().0, log.end, "step {step}: the script and its oracle disagree");
        }
        self.marks.push(Mark { step, changes: self.sim.changes(), oracle: self.oracle.clone() });
    }

    fn log(&self, partition: &TopicPartition) -> Arc<Log> {
        self.manager.get(partition).expect("the log is there")
    }

    fn one_of_the_logs(&mut self) -> TopicPartition {
        match self.oracle.logs.contains_key(&passing(0)) && self.random.below(4) == 0 {
            true => passing(self.random.below(PASSING_PARTITIONS as u64) as i32),
            false => lasting(),
        }
    }

    fn step(&mut self) -> &'static str {
        let partition = self.one_of_the_logs();
        match self.random.below(100) {
            0..45 => self.append(&partition),
            45..55 => self.flush(&partition),
            55..63 => self.run_queued(),
            63..68 => self.checkpoint(),
            68..71 => self.high_watermarks(),
            71..75 => self.retention(&partition),
            75..78 => self.delete_records(&partition),
            78..82 => self.truncate(&partition),
            82..83 => self.truncate_fully(&partition),
            83..87 => self.new_epoch(&partition),
            87..89 => self.restart(),
            89..91 => self.kill(),
            91..95 => self.create_or_delete(),
            _ => self.maintenance(),
        }
    }

    fn append(&mut self, partition: &TopicPartition) -> &'static str {
        let log = self.log(partition);
        let expected = self.oracle.log_mut(partition);
        let count = 1 + self.random.below(3) as usize;
        let idempotent = self.random.below(2) == 0;
        let base_sequence = match log.producers().iter().find(|(id, _)| *id == PRODUCER) {
            Some((_, producer)) => producer.batches.back().map_or(0, |batch| batch.last_sequence + 1),
            None => 0,
        };
        let options = match idempotent {
            true => BatchOptions { producer_id: PRODUCER, producer_epoch: 0, base_sequence, ..BatchOptions::default() },
            false => BatchOptions::default(),
        };
        let mut builder = BatchBuilder::new(options);
        for _ in 0..count {
            self.values += 1;
            let length = 20 + self.random.below(120) as usize;
            let value = format!("{:06}{}", self.values, "x".repeat(length));
            builder.append(NOW_MS + i64::from(self.values), None, Some(value.as_bytes()), None).unwrap();
            expected.append(Record { value, epoch: expected.epoch, idempotent });
        }
        let epoch = LeaderEpoch(expected.epoch);
        let mut bytes = builder.build().unwrap().to_vec();
        log.append_as_leader(&mut bytes, epoch, AppendOptions::client(NOW_MS)).unwrap();
        if self.random.below(2) == 0 {
            log.set_high_watermark(log.log_end_offset());
        }
        "append"
    }

    fn flush(&mut self, partition: &TopicPartition) -> &'static str {
        self.log(partition).flush().unwrap();
        "flush"
    }

    fn run_queued(&mut self) -> &'static str {
        self.manager.flusher().run_queued();
        "run the flusher"
    }

    fn checkpoint(&mut self) -> &'static str {
        self.manager.write_checkpoints().unwrap();
        "write checkpoints"
    }

    fn high_watermarks(&mut self) -> &'static str {
        self.manager.write_high_watermarks().unwrap();
        "write high watermarks"
    }

    fn retention(&mut self, partition: &TopicPartition) -> &'static str {
        let log = self.log(partition);
        log.set_high_watermark(log.log_end_offset());
        log.run_retention(NOW_MS).unwrap();
        self.oracle.log_mut(partition).start_at(log.log_start_offset().0);
        "retention"
    }

    fn delete_records(&mut self, partition: &TopicPartition) -> &'static str {
        let log = self.log(partition);
        let (start, high_watermark) = (log.log_start_offset().0, log.high_watermark().0);
        let to = start + self.random.below((high_watermark - start + 1) as u64) as i64;
        log.delete_records_before(Offset(to)).unwrap();
        self.oracle.log_mut(partition).start_at(log.log_start_offset().0);
        "DeleteRecords"
    }

    fn truncate(&mut self, partition: &TopicPartition) -> &'static str {
        let log = self.log(partition);
        let (start, end) = (log.log_start_offset().0, log.log_end_offset().0);
        let to = (end - self.random.below(12) as i64).max(start);
        log.truncate_to(Offset(to)).unwrap();
        let expected = self.oracle.log_mut(partition);
        expected.cut_to(log.log_end_offset().0);
        // The epochs that were cut off may come again only under later numbers.
        expected.epoch += 1;
        "truncate"
    }

    fn truncate_fully(&mut self, partition: &TopicPartition) -> &'static str {
        let log = self.log(partition);
        let to = log.log_end_offset().0 + self.random.below(20) as i64;
        log.truncate_fully_and_start_at(Offset(to)).unwrap();
        let expected = self.oracle.log_mut(partition);
        let epoch = expected.epoch + 1;
        let lives = expected.lives + 1;
        let topic_id = expected.topic_id;
        *expected = LogOracle { end: to, durable: to, epoch, lives, topic_id, ..LogOracle::default() };
        expected.start_at(to);
        "truncate fully"
    }

    fn new_epoch(&mut self, partition: &TopicPartition) -> &'static str {
        let expected = self.oracle.log_mut(partition);
        expected.epoch += 1;
        let epoch = LeaderEpoch(expected.epoch);
        self.log(partition).assign_epoch(epoch).unwrap();
        "new epoch"
    }

    fn restart(&mut self) -> &'static str {
        self.manager.shutdown().unwrap();
        let (manager, report) = open(self.sim);
        assert!(report.clean && report.recovered.is_empty() && report.offline.is_empty(), "{report:?}");
        self.manager = manager;
        self.say_topic_ids();
        "restart"
    }

    fn kill(&mut self) -> &'static str {
        crash(&self.manager);
        let (manager, report) = open(self.sim);
        assert!(report.offline.is_empty(), "{report:?}");
        self.manager = manager;
        self.say_topic_ids();
        for (partition, log) in &mut self.oracle.logs {
            // A log start that no checkpoint has seen yet goes back to the first record that is there.
            log.start = self.manager.get(partition).expect("the log is there").log_start_offset().0;
        }
        "kill -9"
    }

    /// What the image says of the logs at a start.
    fn say_topic_ids(&self) {
        for (partition, log) in &self.oracle.logs {
            self.manager.get_or_create(partition, Some(log.topic_id), log_config()).unwrap();
        }
    }

    fn create(&mut self, partition: &TopicPartition, topic_id: Uuid) {
        self.manager.get_or_create(partition, Some(topic_id), log_config()).unwrap();
        self.oracle.logs.insert(partition.clone(), LogOracle { topic_id, ..LogOracle::default() });
    }

    fn create_or_delete(&mut self) -> &'static str {
        if self.oracle.logs.contains_key(&passing(0)) {
            for number in 0..PASSING_PARTITIONS {
                self.oracle.logs.remove(&passing(number));
                assert!(self.manager.delete(&passing(number)).unwrap());
            }
            return "delete a topic";
        }
        self.values += 1;
        let topic_id = Uuid([(self.values % 250) as u8 + 2; 16]);
        for number in 0..PASSING_PARTITIONS {
            self.create(&passing(number), topic_id);
        }
        "create a topic"
    }

    fn maintenance(&mut self) -> &'static str {
        self.manager.run_maintenance(Clock::real().now_ms() + 1000);
        "maintenance"
    }
}
