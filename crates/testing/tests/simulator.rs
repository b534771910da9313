//! The first tier of the simulator: many clusters under faults, each decided by a seed (`crates/testing/src/simulator.rs`).
//!
//! `TIDEMILL_SIM_SEEDS` says how many seeds, `TIDEMILL_SIM_SEED` the first one; a failing seed is printed with the command that runs it again, and with `TIDEMILL_SIM_TRACE=1` that
//! one tells what happened.

use std::time::Instant;

use tidemill_testing::simulator::plan::Mischief;
use tidemill_testing::simulator::{Failure, run};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn replay(test: &str, failure: &Failure) -> String {
    format!(
        "{failure}\nreplay: TIDEMILL_SIM_SEED={} TIDEMILL_SIM_SEEDS=1 TIDEMILL_SIM_TRACE=1 cargo test -p tidemill-testing --test simulator -- --exact --nocapture {test}",
        failure.seed
    )
}

#[test]
fn one() {
    let first = number("TIDEMILL_SIM_SEED", 1);
    let seeds = number("TIDEMILL_SIM_SEEDS", 1);
    let began = Instant::now();
    for seed in first..first + seeds {
        match run(seed, Mischief::None) {
            Ok(summary) => println!("{seed} {summary:?}"),
            Err(failure) => println!("FAILED {}", replay("one", &failure)),
        }
    }
    println!("{:.1} ms a seed", began.elapsed().as_secs_f64() * 1000.0 / seeds as f64);
}
