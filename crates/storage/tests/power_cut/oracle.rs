//! What was promised, and what must be found after a cut in the middle of a step: anything between the promise before it and the one after it.

use std::collections::BTreeMap;

use protocol::records::batch::BatchIter;
use protocol::types::{Offset, TopicPartition, Uuid};
use tidemill_storage::{Log, LogManager, ReadLimit, RecoveryReport};

use crate::script::{self, PRODUCER};

/// All logs.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    /// By name.
    pub logs: BTreeMap<TopicPartition, LogOracle>,
}

/// One log.
#[derive(Debug, Clone, Default)]
pub struct LogOracle {
    /// First offset that may be read.
    pub start: i64,
    /// The highest that was, and that a crash may have taken back. Epochs below are forgotten.
    pub start_max: i64,
    /// Offset of the next record.
    pub end: i64,
    /// Everything below was reported durable.
    pub durable: i64,
    /// Epoch of the leader.
    pub epoch: i32,
    /// Something in it was reported durable: its directory stays.
    pub is_named: bool,
    /// A record in it was reported durable: whose log it is stays known.
    pub is_identified: bool,
    /// How often it was emptied.
    pub lives: u32,
    /// Id of its topic.
    pub topic_id: Uuid,
    /// What stands at each offset.
    pub records: BTreeMap<i64, Record>,
    /// What stood at each offset once and was cut off.
    pub cut: BTreeMap<i64, Vec<Record>>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its value.
    pub value: String,
    /// Epoch it was written in.
    pub epoch: i32,
    /// Whether the idempotent producer wrote it.
    pub idempotent: bool,
}

impl Oracle {
    pub fn log_mut(&mut self, partition: &TopicPartition) -> &mut LogOracle {
        self.logs.get_mut(partition).expect("the oracle knows the log")
    }
}

impl LogOracle {
    /// The log says that everything below is durable.
    pub fn note_durable(&mut self, offset: i64) {
        self.durable = self.durable.max(offset.min(self.end));
        self.is_named |= self.durable > 0;
        self.is_identified |= self.records.range(..self.durable).next().is_some();
    }

    pub fn append(&mut self, record: Record) {
        self.records.insert(self.end, record);
        self.end += 1;
    }

    pub fn cut_to(&mut self, end: i64) {
        for (offset, record) in self.records.split_off(&end) {
            self.cut.entry(offset).or_default().push(record);
        }
        self.end = end;
        self.durable = self.durable.min(end);
        self.start = self.start.min(end);
    }

    pub fn start_at(&mut self, start: i64) {
        self.start = start;
        self.start_max = self.start_max.max(start);
    }

    fn may_stand_at(&self, offset: i64, record: &Record) -> bool {
        self.records.get(&offset) == Some(record)
            || self.cut.get(&offset).is_some_and(|records| records.contains(record))
    }
}

/// Every record of a log, by offset.
pub fn records(log: &Log) -> Vec<(i64, Record)> {
    let mut records = Vec::new();
    let mut next = log.log_start_offset();
    while let Some(slice) = log.read(next, 1 << 20, ReadLimit::LogEnd, true).unwrap().slice {
        for batch in BatchIter::new(slice.read().unwrap()) {
            let batch = batch.unwrap();
            for record in batch.records(1 << 20).unwrap() {
                let record = record.unwrap();
                if record.offset < next {
                    continue;
                }
                next = Offset(record.offset.0 + 1);
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                let epoch = batch.header.partition_leader_epoch.0;
                let idempotent = batch.header.producer_id == PRODUCER;
                records.push((record.offset.0, Record { value, epoch, idempotent }));
            }
        }
    }
    records
}

/// Compares what was opened after a cut with the promises before and after the step it fell into.
pub fn check(manager: &LogManager, report: &RecoveryReport, before: &Oracle, after: &Oracle, place: &str) {
    assert!(report.offline.is_empty() && report.offline_dirs.is_empty(), "{place}: a log is refused: {report:?}");
    for log in manager.all() {
        let partition = log.partition();
        let known = before.logs.contains_key(partition) || after.logs.contains_key(partition);
        assert!(known, "{place}: {partition} came back from the dead");
    }
    for (partition, before) in &before.logs {
        let Some(after) = after.logs.get(partition) else { continue };
        if before.topic_id != after.topic_id {
            continue;
        }
        let found = manager.get(partition);
        // A log without a durable record may be gone with its name, or not know its topic. The image asks for it, and says of which topic it is.
        assert!(found.is_some() || !before.is_named, "{place}: {partition} is gone");
        let id = found.and_then(|log| log.topic_id());
        assert!(id.is_some() || !before.is_identified, "{place}: {partition} does not know its topic");
        let asked = manager.get_or_create(partition, Some(after.topic_id), script::log_config());
        let log = asked.unwrap_or_else(|error| panic!("{place}: {partition} cannot be opened: {error}"));
        assert!(id.is_some() || log.size() == 0, "{place}: {partition} has records of nobody knows which topic");
        check_log(&log, before, after, &format!("{place}: {partition}"));
    }
}

fn check_log(log: &Log, before: &LogOracle, after: &LogOracle, place: &str) {
    assert_eq!(log.topic_id(), Some(after.topic_id), "{place}: topic id");
    let (start, end) = (log.log_start_offset().0, log.log_end_offset().0);
    assert!(log.high_watermark().0 <= end && start <= end, "{place}: bounds {start} {end}");
    let found = records(log);
    let expected: Vec<i64> = (start..end).collect();
    let offsets: Vec<i64> = found.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, expected, "{place}: offsets do not follow each other");
    for (offset, record) in &found {
        let known = before.may_stand_at(*offset, record) || after.may_stand_at(*offset, record);
        assert!(known, "{place}: offset {offset} holds {record:?}, which was never appended there");
        let epoch = log.epoch_of(Offset(*offset)).map(|epoch| epoch.0);
        // Epochs are forgotten with the records they belong to, which a cut may bring back.
        let forgotten = epoch.is_none() && *offset < before.start_max.max(after.start_max);
        assert!(
            forgotten || epoch == Some(record.epoch),
            "{place}: epoch of {offset} is {epoch:?}, not {}",
            record.epoch
        );
    }
    if before.lives == after.lives {
        let start_max = before.start.max(after.start);
        assert!(start <= start_max, "{place}: starts at {start}, records from {start_max} on are wanted");
        let durable = before.durable.min(after.durable);
        assert!(end >= durable, "{place}: ends at {end}, {durable} was durable");
        for (offset, record) in found.iter().filter(|(offset, _)| *offset < durable) {
            if let (Some(one), Some(other)) = (before.records.get(offset), after.records.get(offset)) {
                assert!(
                    one == other && one == record,
                    "{place}: offset {offset} holds {record:?}, {one:?} was durable"
                );
            }
        }
    }
    let last = found.iter().rfind(|(_, record)| record.idempotent).map(|(offset, _)| *offset);
    let producers = log.producers();
    let producer = producers.iter().find(|(id, _)| *id == PRODUCER).and_then(|(_, producer)| producer.batches.back());
    if let Some(last) = last {
        assert_eq!(producer.map(|batch| batch.last_offset), Some(last), "{place}: the producer's last batch");
    }
}
