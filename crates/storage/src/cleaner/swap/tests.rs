use std::path::Path;

use runtime::disk::Disk;
use runtime::sim_disk::{Fault, Operation, SimDisk};
use runtime::{Clock, Random};
use std::sync::atomic::AtomicBool;

use super::*;
use crate::cleaner::pass::{self, Limits, PassError};
use crate::cleaner::testing::*;
use crate::cleaner::throttle::Throttle;
use crate::config::LogManagerConfig;
use crate::log_manager::LogManager;
use crate::testing::{crash, partition};

const DIR: &str = "/data";
const NOW_MS: i64 = 1_000_000;

fn open(disk: Disk) -> (LogManager, Arc<Log>) {
    let mut config = LogManagerConfig::new(vec![DIR.into()], protocol::types::BrokerId(1));
    config.default_config = compacted();
    config.flusher_threads = 1;
    config.recovery_threads_per_dir = 1;
    let (manager, report) = LogManager::open(config, disk, Clock::real()).unwrap();
    assert!(report.offline.is_empty() && report.offline_dirs.is_empty(), "{report:?}");
    let log = manager.get_or_create(&partition(), None, compacted()).unwrap();
    log.set_high_watermark(log.log_end_offset());
    (manager, log)
}

/// A log on a simulated disk, all of it synced: two groups of segments to clean.
fn written(disk: Disk) -> (LogManager, Arc<Log>) {
    disk.create_dir_all(Path::new(DIR)).unwrap();
    let (manager, log) = open(disk);
    for n in 0..24 {
        append_keyed(&log, &[(&format!("k{}", n % 9), Some(&format!("v{n}"))), ("all", (n % 5 > 0).then_some("x"))]);
    }
    roll(&log);
    log.flush().unwrap();
    manager.write_checkpoints().unwrap();
    (manager, log)
}

#[test]
fn a_power_cut_at_every_step_leaves_the_old_segments_or_the_new_one() {
    let sim = SimDisk::new();
    let disk = Disk::Sim(sim);
    let (manager, log) = written(disk);
    let before = records(&log);
    sim.record();
    clean(&log, NOW_MS);
    let after = records(&log);
    let past = sim.take_past();
    crash(manager);
    assert!(past.len() > 60 && after.len() < before.len() / 3, "{} moments, {} records", past.len(), after.len());
    let again = SimDisk::new();
    let (mut seen_before, mut seen_after, mut finished) = (0, 0, 0);
    for (moment, past) in past.iter().enumerate() {
        // Without a cut of the power what was not synced is still there: a kill.
        for seed in 0..5 {
            again.become_moment(past);
            if seed > 0 {
                again.power_cut(seed);
            }
            let swaps = again_names(Disk::Sim(again), ".swap");
            let (manager, log) = open(Disk::Sim(again));
            let found = records(&log);
            let which = format!("moment {moment}, seed {seed}");
            assert!(found.iter().all(|record| before.contains(record)), "{which}: {found:?}");
            assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{which}: {found:?}");
            assert!(after.iter().all(|record| found.contains(record)), "{which}: {found:?}");
            assert_eq!(table(&found), table(&before), "{which}");
            assert_eq!(log.log_end_offset(), Offset(48), "{which}");
            for suffix in [".swap", ".cleaned", ".deleted"] {
                assert_eq!(files_with(&log, suffix), Vec::<String>::new(), "{which}");
            }
            seen_before += u32::from(found == before);
            seen_after += u32::from(found == after);
            finished += u32::from(swaps > 0 && found != before);
            // The next pass makes of it what an undisturbed one would have.
            clean(&log, NOW_MS);
            assert_eq!(table(&records(&log)), table(&before), "{which}");
            let (headers, _) = read_all(&log, 0);
            assert!(headers.is_sorted_by(|a, b| a.next_offset() <= b.base_offset), "{which}");
            crash(manager);
        }
    }
    assert!(seen_before > 0 && seen_after > 0 && finished > 0, "{seen_before} {seen_after} {finished}");
}

fn again_names(disk: Disk, suffix: &str) -> usize {
    let entries = disk.read_dir(&Path::new(DIR).join("t-0")).unwrap();
    entries.iter().filter(|entry| entry.name.to_string_lossy().ends_with(suffix)).count()
}

#[test]
fn a_full_disk_costs_a_pass_and_nothing_else() {
    let sim = SimDisk::new();
    let (_manager, log) = written(Disk::Sim(sim));
    let before = records(&log);
    sim.set_capacity(Some(sim.used_bytes() + 100));
    let throttle = Throttle::new(f64::MAX, Clock::real());
    let limits = Limits {
        map_bytes: 1 << 20,
        load_factor: 0.9,
        buffer_bytes: 100,
        throttle: &throttle,
        stop: &AtomicBool::new(false),
        random: Random::real(),
    };
    let failed = pass::clean(&log, NOW_MS, &limits);
    assert!(matches!(failed, Err(PassError::Storage(StorageError::NoSpace { .. }))), "{failed:?}");
    assert_eq!(table(&records(&log)), table(&before));
    assert_eq!(files_with(&log, ".cleaned"), Vec::<String>::new());
    log.check_open().unwrap();
    sim.set_capacity(None);
    pass::clean(&log, NOW_MS, &limits).unwrap();
    assert_eq!(table(&records(&log)), table(&before));
    assert!(records(&log).len() < before.len());
}

#[test]
fn a_call_that_fails_in_the_middle_of_a_swap_takes_the_directory_offline_and_a_start_finishes_it() {
    let check = |operation: Operation, contains: &str, after: u32| {
        let sim = SimDisk::new();
        let (manager, log) = written(Disk::Sim(sim));
        let before = records(&log);
        sim.add_fault(Fault { after, ..Fault::always(operation, contains) });
        let failed = clean_within(&log, NOW_MS, 1 << 20);
        assert!(matches!(failed, Err(PassError::Storage(_))), "{operation:?} {contains} {after}: {failed:?}");
        assert!(log.check_open().is_err(), "{operation:?} {contains} {after}");
        sim.clear_faults();
        crash(manager);
        let (manager, log) = open(Disk::Sim(sim));
        assert_eq!(table(&records(&log)), table(&before), "{operation:?} {contains} {after}");
        crash(manager);
    };
    check(Operation::SyncFile, ".log.cleaned", 0);
    check(Operation::Rename, ".log.cleaned", 0);
    check(Operation::Rename, ".index.cleaned", 0);
    for after in 0..8 {
        check(Operation::Rename, "t-0", after);
    }
    for after in 0..4 {
        check(Operation::SyncDir, "t-0", after);
    }
}

#[test]
fn what_kafka_leaves_of_an_interrupted_swap_is_finished_or_taken_back() {
    // The files of a log before and after a pass, to build every half-way state from.
    let sim = SimDisk::new();
    let disk = Disk::Sim(sim);
    let (manager, log) = written(disk);
    let before = records(&log);
    crash(manager);
    sim.record();
    let start = sim.take_past().remove(0);
    let (manager, log) = open(disk);
    clean(&log, NOW_MS);
    let base = log.segments()[0].base_offset();
    let cleaned: Vec<(&str, Vec<u8>)> = [".log", ".index", ".timeindex"]
        .map(|kind| (kind, disk.read(&log.dir().file(&staged(base, kind, Stage::Live)), 1 << 20).unwrap()))
        .to_vec();
    crash(manager);
    let check = |stages: [Option<Stage>; 3], is_finished: bool| {
        sim.become_moment(&start);
        for ((kind, bytes), stage) in cleaned.iter().zip(stages) {
            if let Some(stage) = stage {
                let path = Path::new(DIR).join("t-0").join(staged(base, kind, stage));
                disk.open(&path, Open::Truncate).unwrap().write_all_at(bytes, 0).unwrap();
            }
        }
        let (manager, log) = open(disk);
        assert_eq!(records(&log) != before, is_finished, "{stages:?}");
        assert_eq!(table(&records(&log)), table(&before), "{stages:?}");
        crash(manager);
    };
    use Stage::{Cleaned, Swap};
    check([Some(Cleaned), Some(Cleaned), Some(Cleaned)], false);
    // Kafka renames the log first.
    check([Some(Swap), Some(Cleaned), Some(Cleaned)], false);
    check([Some(Swap), Some(Swap), Some(Cleaned)], false);
    check([Some(Cleaned), Some(Swap), Some(Swap)], false);
    check([Some(Swap), Some(Swap), Some(Swap)], true);
    check([Some(Swap), None, None], true);
    check([None, Some(Swap), Some(Swap)], false);
}

use protocol::types::Offset;
