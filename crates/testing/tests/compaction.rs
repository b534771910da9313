//! `__consumer_offsets` over a simulated month: a job commits every second, others come for a day and expire, and the disk does not grow.
//! The rules of groups, the log and the cleaner are the real ones; only time is simulated.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coordinator::record::Key;
use coordinator::{Effect, GroupConfig, Groups, Now, Replay, Response, Token};
use protocol::messages::offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::records::message_set::AnyBatchIter;
use protocol::records::{BatchBuilder, BatchOptions};
use protocol::types::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use runtime::{Clock, Disk};
use storage::{
    AppendOptions, AppendOrigin, Cleaner, CleanerConfig, Log, LogConfig, LogManager, LogManagerConfig, ReadLimit,
};

const START_MS: i64 = 1_700_000_000_000;
const SECOND_MS: i64 = 1000;
const DAY_MS: i64 = 24 * 3600 * SECOND_MS;
/// Groups that commit once a day and are not seen again.
const VISITORS_PER_DAY: i64 = 20;
/// What the disk may hold at any time, in segments: the one where commits go, one that waits to be cleaned, and the rest of what was.
const SEGMENTS_MAX: u64 = 3;

struct Job {
    log: Arc<Log>,
    groups: Groups,
    now: Now,
    token: u64,
    answers: u64,
}

impl Job {
    fn open(log: Arc<Log>, now: Now) -> Job {
        let mut effects = Vec::new();
        let groups = Groups::load(0, Arc::new(GroupConfig::default()), replay(&log).0, now, &mut effects);
        let mut job = Job { log, groups, now, token: 0, answers: 0 };
        job.carry_out(effects);
        job
    }

    fn commit(&mut self, group: &str, offset: i64) {
        let partition = |index| OffsetCommitRequestPartition {
            partition_index: index,
            committed_offset: offset,
            committed_leader_epoch: -1,
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: -1,
            topics: vec![OffsetCommitRequestTopic { name: "wordsendertest".into(), partitions: vec![partition(0)] }],
            ..Default::default()
        };
        self.token += 1;
        let mut effects = Vec::new();
        self.groups.commit(Token(self.token), &request, |_, _| None, self.now, &mut effects);
        self.carry_out(effects);
    }

    fn expire(&mut self) {
        let mut effects = Vec::new();
        self.groups.expire(self.now, &mut effects);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, mut effects: Vec<Effect>) {
        while !effects.is_empty() {
            let mut next = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Reply { response: Response::OffsetCommit(response), .. } => {
                        assert_eq!(response.topics[0].partitions[0].error_code, 0);
                        self.answers += 1;
                    }
                    Effect::Write { id, records } => {
                        let mut builder = BatchBuilder::new(BatchOptions::default());
                        for record in records {
                            builder.append(self.now.wall_ms, Some(&record.key), record.value.as_deref(), None).unwrap();
                        }
                        let options = AppendOptions { now_ms: self.now.wall_ms, origin: AppendOrigin::Coordinator };
                        let mut batch = builder.build_vec().unwrap();
                        let appended = self.log.append_as_leader(&mut batch, LeaderEpoch(0), options).unwrap();
                        self.log.set_high_watermark(self.log.log_end_offset());
                        self.groups.on_written(id, Ok(appended.first_offset.0), self.now, &mut next);
                    }
                    Effect::Notice(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            effects = next;
        }
    }

    /// Everything that the groups would answer.
    fn answers_of_all(&self) -> BTreeMap<String, String> {
        let listed = self.groups.list(&[]);
        let of = |group: &str| format!("{:?}", self.groups.fetch_offsets(group, None, true));
        listed.iter().map(|group| (group.group_id.to_string(), of(&group.group_id))).collect()
    }
}

/// The groups that the log describes, and its records.
fn replay(log: &Log) -> (Replay, u64) {
    let (mut replay, mut records) = (Replay::default(), 0);
    let mut at = log.log_start_offset();
    while at < log.log_end_offset() {
        let Some(slice) = log.read(at, 1 << 20, ReadLimit::LogEnd, true).unwrap().slice else { break };
        for batch in AnyBatchIter::new(slice.read().unwrap(), 1 << 20) {
            let batch = batch.unwrap();
            at = batch.header.next_offset();
            for record in batch.records(1 << 20).unwrap() {
                let record = record.unwrap();
                let key: Bytes = record.key.unwrap();
                Key::decode(key.clone()).unwrap();
                replay.record(record.offset.0, key, record.value, None).unwrap();
                records += 1;
            }
        }
    }
    (replay, records)
}

fn open(directory: &std::path::Path, config: &LogConfig) -> (Arc<LogManager>, Arc<Log>) {
    let mut manager = LogManagerConfig::new(vec![directory.to_owned()], BrokerId(0));
    manager.default_config = config.clone();
    let (manager, report) = LogManager::open(manager, Disk::real(), Clock::real()).unwrap();
    assert!(report.offline.is_empty(), "{report:?}");
    let partition = TopicPartition::new("__consumer_offsets", 0);
    let log = manager.get_or_create(&partition, None, config.clone()).unwrap();
    log.set_high_watermark(log.log_end_offset());
    (Arc::new(manager), log)
}

fn bytes_on_disk(directory: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(directory.join("__consumer_offsets-0")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// `days` of a commit every `step_ms`, in segments of `segment_bytes`.
fn simulate(days: i64, step_ms: i64, segment_bytes: u32) {
    let directory = tempfile::tempdir().unwrap();
    let config = LogConfig {
        compact: true,
        delete: false,
        segment_bytes,
        // Files out of use go at once: the delay is a minute, which is nothing to a month.
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    };
    let (manager, log) = open(directory.path(), &config);
    let mut now = Now { monotonic_ms: 0, wall_ms: START_MS };
    let mut job = Job::open(log.clone(), now);
    let cleaner = Cleaner::new(manager.clone(), CleanerConfig::default(), Clock::real());
    let commits = days * DAY_MS / step_ms;
    let (mut largest, mut passes) = (0, 0);
    for commit in 0..commits {
        now.monotonic_ms += step_ms;
        now.wall_ms += step_ms;
        job.now = now;
        job.commit("job", commit);
        let elapsed_ms = now.monotonic_ms;
        if elapsed_ms % (DAY_MS / VISITORS_PER_DAY) < step_ms {
            job.commit(&format!("visitor-{elapsed_ms}"), commit);
        }
        // offsets.retention.check.interval.ms is ten minutes.
        if elapsed_ms % (600 * SECOND_MS) < step_ms {
            job.expire();
        }
        if commit % 500 == 0 {
            passes += u64::from(cleaner.clean_dirtiest(now.wall_ms).is_some());
            log.run_maintenance(now.wall_ms).unwrap();
            largest = largest.max(bytes_on_disk(directory.path()));
        }
    }
    let bound = SEGMENTS_MAX * u64::from(segment_bytes);
    let written = log.log_end_offset();
    eprintln!("{commits} commits, {written} records written, largest {largest} bytes, bound {bound}, {passes} passes");
    assert!(written.0 > commits && job.answers >= commits as u64);
    assert!(passes >= 3, "{passes}");
    assert!(largest < bound, "{largest} bytes");
    assert!(largest > u64::from(segment_bytes), "segments of {segment_bytes} bytes were never full");

    // Those who came in the last seven days, and the job.
    let answers = job.answers_of_all();
    assert!(answers.len() as i64 <= 7 * VISITORS_PER_DAY + 2, "{} groups", answers.len());
    assert!(answers.len() > 1 && answers["job"].contains(&format!("committed_offset: {}", commits - 1)));
    let end = log.log_end_offset();
    let (_, records_before) = replay(&log);
    drop(job);
    drop(cleaner);
    drop(log);
    manager.shutdown().unwrap();
    drop(manager);

    // A start reads the same, before and after another pass.
    let (manager, log) = open(directory.path(), &config);
    assert_eq!(log.log_end_offset(), end);
    let again = Job::open(log.clone(), now);
    assert_eq!(again.answers_of_all(), answers);
    let cleaner = Cleaner::new(manager.clone(), CleanerConfig::default(), Clock::real());
    while cleaner.clean_dirtiest(now.wall_ms).is_some() {}
    let (replayed, records_after) = replay(&log);
    assert!(records_after <= records_before);
    let last = Groups::load(0, Arc::new(GroupConfig::default()), replayed, now, &mut Vec::new());
    assert_eq!(last.len(), answers.len());
    assert_eq!(Job::open(log.clone(), now).answers_of_all(), answers);
    assert!(log.read(Offset(0), 100, ReadLimit::LogEnd, true).unwrap().slice.is_some());
    manager.shutdown().unwrap();
}

/// A commit every two minutes in small segments: the same number of rolls as a month of seconds.
#[test]
fn commits_of_a_month_do_not_grow_the_disk() {
    simulate(30, 120 * SECOND_MS, 256 << 10);
}

/// All 2.6 million commits, in segments of Kafka's size.
#[test]
#[ignore = "minutes of work: run by ./test --nightly"]
fn a_commit_every_second_of_a_month_does_not_grow_the_disk() {
    simulate(30, SECOND_MS, 100 << 20);
}
