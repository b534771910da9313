//! Random work on a compacted log, held against a plain list of all records ever written.

use proptest::prelude::*;
use protocol::records::{BatchOptions, Codec};
use protocol::types::{LeaderEpoch, Offset};

use super::testing::*;
use crate::append::AppendOptions;
use crate::testing::{TestDir, crash, partition};

const KEYS: u8 = 6;

#[derive(Debug, Clone)]
enum Step {
    /// Key, and whether it has a value.
    Append {
        records: Vec<(u8, bool)>,
        producer: Option<u8>,
        codec: u8,
    },
    Roll,
    Commit,
    Clean {
        map_keys: u64,
    },
    Wait {
        ms: i64,
    },
    TruncateToCommitted,
    DeleteRecords {
        share: u8,
    },
    Restart,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let records = proptest::collection::vec((0..KEYS, prop_oneof![3 => Just(true), 1 => Just(false)]), 1..5);
    prop_oneof![
        12 => (records, proptest::option::of(0u8..3), 0u8..5)
            .prop_map(|(records, producer, codec)| Step::Append { records, producer, codec }),
        3 => Just(Step::Roll),
        3 => Just(Step::Commit),
        6 => prop_oneof![Just(1u64 << 20), Just(70 * 24)].prop_map(|map_keys| Step::Clean { map_keys }),
        3 => (1i64..1500).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::TruncateToCommitted),
        1 => any::<u8>().prop_map(|share| Step::DeleteRecords { share }),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

fn run(steps: Vec<Step>) {
    let dir = TestDir::new(compacted());
    let (mut manager, mut log) = dir.log();
    let mut written: Vec<Keyed> = Vec::new();
    let mut sequences = [0i32; 3];
    let mut committed_sequences = sequences;
    let mut committed = 0;
    let mut now_ms = 1_000_000;
    for (number, step) in steps.into_iter().enumerate() {
        match step.clone() {
            Step::Append { records, producer, codec } => {
                let codec = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd][usize::from(codec)];
                let mut options = BatchOptions { codec, ..BatchOptions::default() };
                if let Some(producer) = producer {
                    let sequence = &mut sequences[usize::from(producer)];
                    options.producer_id = i64::from(producer) + 100;
                    options.producer_epoch = 0;
                    options.base_sequence = *sequence;
                    *sequence += records.len() as i32;
                }
                let base = log.log_end_offset().0;
                let named: Vec<(String, Option<String>)> = records
                    .iter()
                    .enumerate()
                    .map(|(at, (key, has_value))| {
                        (format!("k{key}"), has_value.then(|| format!("v{}", base + at as i64)))
                    })
                    .collect();
                let texts: Vec<(&str, Option<&str>)> =
                    named.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
                let mut batch = keyed(options, now_ms, &texts);
                log.append_as_leader(&mut batch, LeaderEpoch(0), AppendOptions::client(now_ms)).unwrap();
                written.extend(
                    named.into_iter().enumerate().map(|(at, (key, value))| (base + at as i64, Some(key), value)),
                );
            }
            Step::Roll => roll(&log),
            Step::Commit => {
                committed = log.log_end_offset().0;
                committed_sequences = sequences;
                log.set_high_watermark(Offset(committed));
            }
            Step::Clean { map_keys } => {
                let before = log.log_end_offset();
                let report = clean_within(&log, now_ms, map_keys).unwrap();
                assert_eq!(log.log_end_offset(), before);
                assert!(report.cleaned_to <= committed.max(log.log_start_offset().0), "step {number}: {report:?}");
            }
            Step::Wait { ms } => now_ms += ms,
            Step::TruncateToCommitted => {
                log.truncate_to(Offset(committed)).unwrap();
                written.retain(|record| record.0 < committed);
                sequences = committed_sequences;
            }
            Step::DeleteRecords { share } => {
                let to =
                    log.log_start_offset().0 + (committed - log.log_start_offset().0).max(0) * i64::from(share) / 255;
                log.delete_records_before(Offset(to)).unwrap();
                // A log start that a crash takes back would show again what was not cleaned because it was deleted.
                manager.write_checkpoints().unwrap();
            }
            Step::Restart | Step::Crash => {
                if matches!(step, Step::Restart) {
                    manager.shutdown().unwrap();
                } else {
                    crash(manager);
                }
                (manager, log) = dir.log();
                // The checkpoint of the high watermark may be older; here it is told anew.
                log.set_high_watermark(Offset(committed));
            }
        }
        check(&log, &written, &sequences, number, &step);
    }
    manager.shutdown().unwrap();
}

fn check(log: &crate::Log, written: &[Keyed], sequences: &[i32; 3], number: usize, step: &Step) {
    let start = log.log_start_offset().0;
    let found = records(log);
    let context = || format!("step {number}, {step:?}: {found:?}");
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{}", context());
    for record in &found {
        let original = written.iter().find(|written| written.0 == record.0);
        assert_eq!(original, Some(record), "{}", context());
    }
    let all: Vec<Keyed> = written.iter().filter(|record| record.0 >= start).cloned().collect();
    assert_eq!(table(&found), table(&all), "{}", context());
    let cleaned_to = log.dir().log_dir().cleaned_to(&partition()).unwrap_or(0);
    for key in 0..KEYS {
        let key = Some(format!("k{key}"));
        let below = found.iter().filter(|record| record.1 == key && record.0 < cleaned_to && record.0 >= start);
        assert!(below.count() <= 1, "{key:?} twice below {cleaned_to}: {}", context());
        // A reader who begins anywhere sees the latest record of every key that has a value.
        let latest = all.iter().rev().find(|record| record.1 == key);
        if let Some(latest) = latest.filter(|record| record.2.is_some()) {
            assert!(found.contains(latest), "{latest:?} is gone: {}", context());
        }
    }
    for (id, producer) in log.producers() {
        let last = producer.batches.back().expect("only data was written");
        assert_eq!(last.last_sequence + 1, sequences[usize::try_from(id - 100).unwrap()], "{}", context());
    }
    let expected = sequences.iter().filter(|sequence| **sequence > 0).count();
    assert!(log.producers().len() <= expected, "{}", context());
    if start == 0 {
        assert_eq!(log.producers().len(), expected, "{}", context());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_log_holds_the_last_value_of_every_key(steps in proptest::collection::vec(step(), 1..60)) {
        run(steps);
    }
}
