//! Random work on a log, held against a plain list of records.

use proptest::prelude::*;
use protocol::types::{LeaderEpoch, Offset};

use crate::config::LogConfig;
use crate::read::ReadLimit;
use crate::testing::{TestDir, append_at, crash, decode, partition, records_from, sequenced, try_append};

#[derive(Debug, Clone)]
enum Step {
    Append { records: usize, bytes: usize },
    AppendInEpoch,
    AppendSequenced,
    RepeatSequenced,
    Flush,
    Truncate { back: i64 },
    StartAt { beyond: i64 },
    DeleteRecords { share: u8 },
    Retention,
    Maintenance,
    Restart,
    Crash,
    CrashTorn { bytes: u64 },
    LoseIndexes,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (1usize..6, 0usize..90).prop_map(|(records, bytes)| Step::Append { records, bytes }),
        2 => Just(Step::AppendInEpoch),
        4 => Just(Step::AppendSequenced),
        2 => Just(Step::RepeatSequenced),
        2 => Just(Step::Flush),
        3 => (0i64..30).prop_map(|back| Step::Truncate { back }),
        1 => (0i64..5).prop_map(|beyond| Step::StartAt { beyond }),
        1 => any::<u8>().prop_map(|share| Step::DeleteRecords { share }),
        1 => Just(Step::Retention),
        1 => Just(Step::Maintenance),
        2 => Just(Step::Restart),
        2 => Just(Step::Crash),
        2 => (1u64..200).prop_map(|bytes| Step::CrashTorn { bytes }),
        1 => Just(Step::LoseIndexes),
    ]
}

#[derive(Default)]
struct Model {
    /// First offset of the list, and first offset that may be read.
    start: i64,
    /// Each record with whether it begins a batch.
    records: Vec<(i64, String, bool)>,
    end: i64,
    durable: i64,
    sequence: i32,
    /// Offset and sequence of the producer's last batch.
    last_sequenced: Option<(i64, i32)>,
    epoch: i32,
}

impl Model {
    fn cut_to(&mut self, offset: i64) {
        // A batch goes as a whole.
        let first_gone = self.records.iter().rposition(|(at, _, begins)| *begins && *at <= offset);
        let keep = match first_gone {
            Some(at) if self.records.iter().any(|record| record.0 >= offset) => at,
            _ => self.records.len(),
        };
        let batch_start = self.records.get(keep).map(|record| record.0);
        self.records.truncate(keep);
        self.end = batch_start.unwrap_or(self.end).min(offset).min(self.end);
        self.durable = self.durable.min(self.end);
        self.start = self.start.min(self.end);
        if self.last_sequenced.is_some_and(|(at, _)| at >= self.end) {
            self.forget_producer();
        }
    }

    fn forget_producer(&mut self) {
        // A new epoch of the producer begins at 0 whatever the log knows.
        self.last_sequenced = None;
        self.sequence = 0;
        self.epoch += 1;
    }
}

fn run(steps: Vec<Step>) {
    let config = LogConfig {
        segment_bytes: 700,
        index_interval_bytes: 100,
        file_delete_delay_ms: 0,
        retention_ms: -1,
        retention_bytes: 3000,
        ..LogConfig::default()
    };
    let dir = TestDir::new(config);
    let (mut manager, mut log) = dir.log();
    let mut model = Model::default();
    let mut counter = 0;
    let mut leader_epoch = 0;
    for (number, step) in steps.into_iter().enumerate() {
        match step.clone() {
            Step::Append { records, bytes } => {
                let values: Vec<String> = (0..records).map(|n| format!("{counter}.{n}{}", "x".repeat(bytes))).collect();
                counter += 1;
                let texts: Vec<&str> = values.iter().map(String::as_str).collect();
                let mut batch = crate::testing::batch(&texts, 1000 + counter);
                let options = crate::AppendOptions::client(runtime::Clock::real().now_ms());
                let info = log.append_as_leader(&mut batch, LeaderEpoch(leader_epoch), options).unwrap();
                assert_eq!(info.first_offset.0, model.end);
                for (n, value) in values.into_iter().enumerate() {
                    model.records.push((model.end, value, n == 0));
                    model.end += 1;
                }
            }
            Step::AppendInEpoch => {
                leader_epoch += 1;
                log.assign_epoch(LeaderEpoch(leader_epoch)).unwrap();
            }
            Step::AppendSequenced => {
                let mut batch = sequenced(5, model.epoch as i16, model.sequence, &["s"]);
                let options = crate::AppendOptions::client(runtime::Clock::real().now_ms());
                let info = log.append_as_leader(&mut batch, LeaderEpoch(leader_epoch), options).unwrap();
                assert!(!info.duplicate);
                assert_eq!(info.first_offset.0, model.end);
                model.records.push((model.end, "s".to_owned(), true));
                model.last_sequenced = Some((model.end, model.sequence));
                model.sequence += 1;
                model.end += 1;
            }
            Step::RepeatSequenced => {
                if let Some((offset, sequence)) = model.last_sequenced {
                    let info = try_append(&log, &mut sequenced(5, model.epoch as i16, sequence, &["s"])).unwrap();
                    assert!(info.duplicate, "step {number}: sequence {sequence} at {offset}");
                    assert_eq!(info.first_offset.0, offset);
                }
            }
            Step::Flush => {
                log.flush().unwrap();
                model.durable = model.end;
            }
            Step::Truncate { back } => {
                let offset = (model.end - back).max(0);
                log.truncate_to(Offset(offset)).unwrap();
                let first_base = log.segments()[0].base_offset();
                if offset < model.end && model.records.is_empty() && offset < first_base {
                    model.end = offset;
                    model.start = offset;
                    model.durable = offset;
                    model.forget_producer();
                } else if offset < model.end {
                    let lowest = model.records.first().map_or(model.end, |record| record.0);
                    if offset < lowest {
                        // Below every segment kept: the log is emptied there.
                        model.records.clear();
                        model.end = log.log_end_offset().0;
                        assert!(model.end <= lowest);
                        model.start = model.start.min(model.end);
                        model.durable = model.durable.min(model.end);
                        model.forget_producer();
                    } else {
                        model.cut_to(offset);
                    }
                }
                model.start = log.log_start_offset().0;
            }
            Step::StartAt { beyond } => {
                let offset = model.end + beyond;
                log.truncate_fully_and_start_at(Offset(offset)).unwrap();
                model = Model { start: offset, end: offset, durable: offset, epoch: model.epoch, ..Model::default() };
                model.forget_producer();
            }
            Step::DeleteRecords { share } => {
                log.set_high_watermark(Offset(model.end));
                let offset = model.start + (model.end - model.start) * i64::from(share) / 255;
                model.start = log.delete_records_before(Offset(offset)).unwrap().0;
                assert_eq!(model.start, offset);
            }
            Step::Retention => {
                log.set_high_watermark(Offset(model.end));
                log.run_retention(0).unwrap();
                assert!(log.size() < 3000 + 700 + 200, "{} bytes", log.size());
                assert!(log.log_start_offset().0 >= model.start);
                model.start = log.log_start_offset().0;
            }
            Step::Maintenance => {
                manager.run_maintenance(runtime::Clock::real().now_ms() + crate::log::IDLE_MS + 1);
                model.durable = log.durable_offset().0;
                manager.write_checkpoints().unwrap();
            }
            Step::Restart => {
                manager.shutdown().unwrap();
                (manager, log) = dir.log();
                model.durable = model.end;
            }
            Step::Crash | Step::CrashTorn { .. } | Step::LoseIndexes => {
                // What retention and DeleteRecords did is on disk only after a checkpoint.
                manager.write_checkpoints().unwrap();
                let active = log.segments().last().unwrap().log_file().path();
                let active_base = log.segments().last().unwrap().base_offset();
                crash(manager);
                // A roll has its segment synced a little later, and a crash that is simulated lets that finish.
                let durable = log.durable_offset().0;
                if let Step::CrashTorn { bytes } = step {
                    let file = runtime::Disk::real().open(&active, runtime::disk::Open::Write).unwrap();
                    let length = file.len().unwrap();
                    let start = model.end;
                    file.set_len(length.saturating_sub(bytes)).unwrap();
                    let left = length.saturating_sub(bytes);
                    let whole = file_records(&active, left);
                    let cut = whole.unwrap_or(active_base);
                    if cut < durable || start == active_base {
                        // It would be damage below the recovery point, which another test is about.
                        return;
                    }
                    model.cut_to(cut);
                    model.end = cut;
                    model.start = model.start.min(model.end);
                }
                if let Step::LoseIndexes = step {
                    for entry in runtime::Disk::real().read_dir(&dir.path().join("t-0")).unwrap() {
                        if entry.name.to_string_lossy().ends_with("index") {
                            runtime::Disk::real().remove_file(&entry.path).unwrap();
                        }
                    }
                }
                let (opened, report) = dir.open();
                assert!(report.offline.is_empty(), "step {number} {step:?}: {:?}", report.offline);
                manager = opened;
                log = manager.get(&partition()).unwrap();
                model.durable = log.durable_offset().0;
                if model.start > model.end || log.log_end_offset().0 > model.end {
                    model.end = log.log_end_offset().0;
                }
                model.start = log.log_start_offset().0;
            }
        }
        // Segments that retention took away do not come back when the log is cut below them.
        let first_base = log.segments()[0].base_offset();
        model.records.retain(|record| record.0 >= first_base);
        check(&log, &model, number, &step);
    }
    manager.shutdown().unwrap();
}

/// Next offset after the whole batches in the first `length` bytes of a segment.
fn file_records(path: &std::path::Path, length: u64) -> Option<i64> {
    let file = runtime::Disk::real().open(path, runtime::disk::Open::Read).unwrap();
    let mut scanner = crate::entry::EntryScanner::new(file, 0, length, 4096);
    let mut next = None;
    while let Ok(Some(entry)) = scanner.next_entry() {
        next = Some(entry.next_offset());
    }
    next
}

fn check(log: &crate::Log, model: &Model, number: usize, step: &Step) {
    let place = format!("after step {number} {step:?}");
    assert_eq!(log.log_end_offset().0, model.end, "{place}");
    assert_eq!(log.log_start_offset().0, model.start, "{place}");
    assert!(log.durable_offset().0 <= model.end && log.durable_offset().0 >= model.durable.min(model.end), "{place}");
    let expected: Vec<(i64, String)> = model
        .records
        .iter()
        .filter(|record| record.0 >= model.start)
        .map(|(offset, value, _)| (*offset, value.clone()))
        .collect();
    assert_eq!(records_from(log, model.start), expected, "{place}");
    if let Some((middle, _)) = expected.get(expected.len() / 2) {
        let info = log.read(Offset(*middle), 1, ReadLimit::LogEnd, true).unwrap();
        let batch = decode(info.slice.unwrap().read().unwrap());
        assert!(batch[0].0 <= *middle && batch[batch.len() - 1].0 >= *middle, "{place}");
    }
    let ends: Vec<_> = log.segments().iter().map(|segment| segment.base_offset()).collect();
    assert!(ends.windows(2).all(|pair| pair[0] < pair[1]), "{place}: {ends:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_list_of_records_whatever_happens_to_it(steps in prop::collection::vec(step(), 1..60)) {
        run(steps);
    }
}

#[test]
fn appends_and_reads_go_on_side_by_side() {
    let dir = TestDir::new(LogConfig { segment_bytes: 4000, index_interval_bytes: 200, ..LogConfig::default() });
    let (manager, log) = dir.log();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut next = 0;
                while next < 3000 {
                    let limit = ReadLimit::LogEnd;
                    let Some(slice) = log.read(Offset(next), 900, limit, true).unwrap().slice else { continue };
                    for (offset, value) in decode(slice.read().unwrap()) {
                        if offset >= next {
                            assert_eq!((offset, value), (next, format!("v{next}")));
                            next += 1;
                        }
                    }
                }
            });
        }
        for n in 0..3000 {
            append_at(&log, &[&format!("v{n}")], 1000 + n);
        }
    });
    manager.shutdown().unwrap();
}
