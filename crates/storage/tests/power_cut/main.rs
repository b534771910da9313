//! Power cuts: a script of changes to the logs of a broker runs once on a simulated disk, and the power goes after every single write, sync and change of a name it made.
//!
//! After each cut the logs are opened again: none may be refused, everything that was reported durable is there, offsets follow each other, every record is one that
//! was appended at its offset. `TIDEMILL_CAMPAIGN_SEEDS=N` runs N scripts with N ways to lose power each (docs/RELIABILITY.md); the default is one of each.

mod oracle;
mod script;

use runtime::sim_disk::Seeded;
use runtime::{Disk, SimDisk};

use oracle::{Oracle, check};
use script::{Script, open};

/// Steps of a script.
const STEPS: usize = 300;
/// After one in so many cuts the logs are written to, and the power is cut again.
const CUT_AGAIN_EVERY: usize = 5;

fn seeds() -> u64 {
    std::env::var("TIDEMILL_CAMPAIGN_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1)
}

#[test]
fn what_was_durable_outlasts_a_power_cut_at_every_change() {
    let (mut cuts, scratch) = (0, SimDisk::new());
    for seed in 1..=seeds() {
        let sim = SimDisk::new();
        sim.record();
        let marks = Script::new(sim, seed).run(STEPS);
        let past = sim.take_past();
        for cut_seed in 0..seeds() {
            for (moment, disk) in past.iter().enumerate() {
                let place = format!("script {seed}, after change {moment} of {}, cut {cut_seed}", past.len() - 1);
                let next = marks.partition_point(|mark| mark.changes <= moment as u64);
                let before = next.checked_sub(1).map(|at| &marks[at]);
                let after = marks.get(next).or(before).expect("a script makes marks");
                scratch.become_moment(disk);
                scratch.power_cut(Seeded::new(seed << 32 | cut_seed << 24 | moment as u64).next_u64());
                let place = format!("{place}, in step {}", after.step);
                let (manager, report) = open(scratch);
                let nothing = Oracle::default();
                check(&manager, &report, before.map_or(&nothing, |mark| &mark.oracle), &after.oracle, &place);
                cuts += 1;
                if moment % CUT_AGAIN_EVERY == 0 {
                    write_and_cut_again(scratch, &manager, &place);
                }
                script::crash(&manager);
            }
        }
        sim.reset();
    }
    println!("{cuts} power cuts");
    assert!(cuts > 1000, "only {cuts} moments to cut at");
}

/// A log that was recovered takes records, makes them durable, and keeps them.
fn write_and_cut_again(sim: SimDisk, manager: &tidemill_storage::LogManager, place: &str) {
    let mut expected = Vec::new();
    for log in manager.all() {
        script::append_plain(&log, "after the cut");
        log.flush().unwrap();
        expected.push((log.partition().clone(), oracle::records(&log)));
    }
    script::crash(manager);
    sim.power_cut(7);
    let (manager, report) = open(sim);
    assert!(report.offline.is_empty() && report.offline_dirs.is_empty(), "{place}, cut again: {report:?}");
    for (partition, records) in expected {
        let log = manager.get(&partition).unwrap_or_else(|| panic!("{place}, cut again: {partition} is gone"));
        assert_eq!(oracle::records(&log), records, "{place}, cut again: {partition}");
    }
    script::crash(&manager);
}

#[test]
fn the_same_script_gives_the_same_disk() {
    let run = || {
        let sim = SimDisk::new();
        let marks = Script::new(sim, 9).run(100);
        sim.power_cut(3);
        let (manager, _) = open(sim);
        let logs: Vec<_> = manager.all().iter().map(|log| oracle::records(log)).collect();
        (marks.last().map(|mark| mark.changes), logs, Disk::Sim(sim).space(std::path::Path::new("/")).unwrap())
    };
    assert_eq!(run(), run());
}
