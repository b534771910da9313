//! The first tier of the simulator: many clusters under faults, each decided by a seed (`crates/testing/src/simulator.rs`).
//!
//! `TIDEMILL_SIM_SEEDS` says how many seeds, `TIDEMILL_SIM_SEED` the first one; a failing seed is printed with the command that runs it again, and with `TIDEMILL_SIM_TRACE=1` that
//! one tells what happened, with `TIDEMILL_SIM_TRACE=debug` also in the brokers' own words.

use tidemill_testing::simulator::plan::Mischief;
use tidemill_testing::simulator::{Failure, Summary, run};

/// Seeds of `./test`.
const SEEDS: u64 = 2_000;
/// Tests that share them, so that two cores have something to do.
const SHARES: u64 = 4;
/// Seeds within which a rule that is broken on purpose must be noticed.
const SEEDS_TO_NOTICE: u64 = 1_000;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn tell(test: &str, failure: &Failure) -> String {
    let seed = failure.seed;
    format!(
        "{failure}\nreplay: TIDEMILL_SIM_SEED={seed} TIDEMILL_SIM_SEEDS=1 TIDEMILL_SIM_TRACE=1 cargo test -p tidemill-testing --test simulator -- --exact --nocapture {test}"
    )
}

/// Has the brokers speak, where somebody wants to read along.
fn listen() {
    if let Ok(level) = std::env::var("TIDEMILL_SIM_TRACE")
        && level != "1"
    {
        // A second test of this process finds it done.
        let _ = tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr).without_time().try_init();
    }
}

/// Runs one of the shares of all seeds. With seeds named, the first share runs them all.
fn run_share(share: u64) {
    listen();
    let is_named = std::env::var_os("TIDEMILL_SIM_SEED").is_some() || std::env::var_os("TIDEMILL_SIM_SEEDS").is_some();
    if is_named && share > 0 {
        return;
    }
    let (first, seeds) = (number("TIDEMILL_SIM_SEED", 1), number("TIDEMILL_SIM_SEEDS", SEEDS));
    let step = if is_named { 1 } else { SHARES };
    let mut failures = Vec::new();
    let (mut ran, mut acknowledged, mut events) = (0, 0, 0);
    for seed in (first..first + seeds).filter(|seed| seed % step == share % step) {
        match run(seed, Mischief::None) {
            Ok(summary) => {
                acknowledged += summary.acknowledged;
                events += summary.events;
            }
            Err(failure) => {
                let told = tell("seeds_share_0", &failure);
                eprintln!("{told}");
                failures.push(told);
            }
        }
        ran += 1;
    }
    println!("{ran} seeds, {events} events, {acknowledged} acknowledged records");
    assert!(failures.is_empty(), "{} of {ran} seeds failed:\n{}", failures.len(), failures.join("\n"));
    if !is_named {
        // A run in which nobody gets anything done shows nothing.
        assert!(acknowledged as u64 > 50 * ran, "{acknowledged} records were acknowledged in {ran} runs");
    }
}

#[test]
fn seeds_share_0() {
    run_share(0);
}

#[test]
fn seeds_share_1() {
    run_share(1);
}

#[test]
fn seeds_share_2() {
    run_share(2);
}

#[test]
fn seeds_share_3() {
    run_share(3);
}

/// A checker that cannot fail is a defect: with a rule broken, some seed must show it.
fn notices(mischief: Mischief) {
    let first = number("TIDEMILL_SIM_SEED", 1);
    let noticed = (first..first + SEEDS_TO_NOTICE).find_map(|seed| run(seed, mischief).err());
    let failure = noticed.unwrap_or_else(|| panic!("{mischief:?} went unnoticed in {SEEDS_TO_NOTICE} seeds"));
    println!("{mischief:?} is noticed by {failure}");
    let kept = ["I1", "I3", "I5", "I6", "I10", "I11", "no panic"];
    assert!(kept.contains(&failure.violation.invariant), "{failure} is no loss and no divergence");
}

#[test]
fn an_acknowledgement_before_the_isr_is_noticed() {
    notices(Mischief::AcknowledgeBeforeIsr);
}

#[test]
fn a_cut_to_the_high_watermark_is_noticed() {
    notices(Mischief::TruncateToHighWatermark);
}

#[test]
fn an_epoch_that_is_not_checked_is_noticed() {
    notices(Mischief::SkipEpochCheck);
}

#[test]
fn a_seed_has_one_history() {
    let of = |seed: u64| -> Summary { run(seed, Mischief::None).unwrap_or_else(|failure| panic!("{failure}")) };
    for seed in [1, 2, 3, 4, 5, 6, 7, 8] {
        assert_eq!(of(seed), of(seed), "seed {seed}");
    }
    assert_ne!(of(1), of(2));
}
