//! The second tier of the simulator: the whole stack over byte streams, clients included, each run decided by a seed (`crates/testing/src/simulator.rs`).
//!
//! `TIDEMILL_SIM_TIER2_SEEDS` says how many seeds, `TIDEMILL_SIM_TIER2_SEED` the first one; a failing seed is printed with the command that runs it again. `TIDEMILL_SIM_TRACE` is
//! that of the first tier.

use tidemill_testing::simulator::plan::Mischief;
use tidemill_testing::simulator::{Failure, Summary, run_streams};

/// Seeds of `./test`.
const SEEDS: u64 = 100;
/// Tests that share them, so that two cores have something to do.
const SHARES: u64 = 2;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn tell(failure: &Failure) -> String {
    let seed = failure.seed;
    format!(
        "{failure}\nreplay: TIDEMILL_SIM_TIER2_SEED={seed} TIDEMILL_SIM_TIER2_SEEDS=1 TIDEMILL_SIM_TRACE=1 cargo test -p tidemill-testing --test simulator_streams -- --exact --nocapture seeds_share_0"
    )
}

/// Has brokers and clients speak, where somebody wants to read along.
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
    let is_named =
        ["TIDEMILL_SIM_TIER2_SEED", "TIDEMILL_SIM_TIER2_SEEDS"].map(std::env::var_os).iter().any(Option::is_some);
    if is_named && share > 0 {
        return;
    }
    let (first, seeds) = (number("TIDEMILL_SIM_TIER2_SEED", 1), number("TIDEMILL_SIM_TIER2_SEEDS", SEEDS));
    let step = if is_named { 1 } else { SHARES };
    let mut failures = Vec::new();
    let (mut ran, mut acknowledged, mut events) = (0, 0, 0);
    for seed in (first..first + seeds).filter(|seed| seed % step == share % step) {
        match run_streams(seed, Mischief::None) {
            Ok(summary) => {
                acknowledged += summary.acknowledged;
                events += summary.events;
            }
            Err(failure) => {
                let told = tell(&failure);
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

/// A checker that cannot fail is a defect: with a rule broken, some seed of `./test` must show it.
fn notices(mischief: Mischief, by: &[&str]) {
    let noticed = (1..=SEEDS).find_map(|seed| run_streams(seed, mischief).err());
    let failure = noticed.unwrap_or_else(|| panic!("{mischief:?} went unnoticed in {SEEDS} seeds"));
    println!("{mischief:?} is noticed by {failure}");
    assert!(by.contains(&failure.violation.invariant), "{failure} is none of {by:?}");
}

#[test]
fn an_acknowledgement_before_the_isr_is_noticed() {
    notices(Mischief::AcknowledgeBeforeIsr, &["I1", "I3", "I4", "I5", "I6"]);
}

#[test]
fn an_unclean_election_is_noticed() {
    // What a reader has read is replaced by other records, which it then never reads: that shows too.
    notices(Mischief::UncleanElection, &["I1", "I3", "I6", "I9", "I10", "I12"]);
}

#[test]
fn repetitions_without_idempotence_are_noticed() {
    notices(Mischief::NoIdempotence, &["I5"]);
}

#[test]
fn a_commit_of_what_was_not_read_is_noticed() {
    notices(Mischief::CommitAhead, &["I9"]);
}

#[test]
fn bits_that_turn_over_are_noticed() {
    notices(Mischief::AlterBytes, &["I1", "I2", "I3", "I4", "I5", "I6", "I9", "I13"]);
}

#[test]
fn a_seed_has_one_history() {
    let of = |seed: u64| -> Summary { run_streams(seed, Mischief::None).unwrap_or_else(|failure| panic!("{failure}")) };
    for seed in [1, 2, 3, 4] {
        assert_eq!(of(seed), of(seed), "seed {seed}");
    }
    assert_ne!(of(1), of(2));
}
