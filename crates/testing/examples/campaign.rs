//! Many seeds of one of the simulator's tiers in one process: `campaign TIER FIRST SEEDS [CHUNK]`. Each chunk ends with a line of JSON on stdout, each seed that failed is told on stderr with the command that plays it again. `crates/testing/campaign.py`
//! adds the lines up.

use std::process::ExitCode;
use std::time::Duration;

use tidemill_testing::simulator::plan::Mischief;
use tidemill_testing::simulator::{Failure, Summary, run, run_streams};

/// Seeds that are told together.
const CHUNK: u64 = 500;

/// A tier, and how one of its seeds is played again.
struct Tier {
    run: fn(u64, Mischief) -> Result<Summary, Failure>,
    variable: &'static str,
    test: &'static str,
}

const MESSAGES: Tier = Tier { run, variable: "TIDEMILL_SIM", test: "simulator" };
const STREAMS: Tier = Tier { run: run_streams, variable: "TIDEMILL_SIM_TIER2", test: "simulator_streams" };

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (Some(Ok(tier @ 1..=2)), Some(Ok(first)), Some(Ok(seeds))) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: campaign TIER FIRST SEEDS [CHUNK]");
        return ExitCode::from(2);
    };
    let tier = if tier == 1 { MESSAGES } else { STREAMS };
    let chunk = arguments.next().and_then(Result::ok).unwrap_or(CHUNK).max(1);
    let mut any_failed = false;
    let mut next = first;
    while next < first + seeds {
        let end = (next + chunk).min(first + seeds);
        any_failed |= !run_chunk(&tier, next, end);
        next = end;
    }
    ExitCode::from(u8::from(any_failed))
}

/// Plays the seeds from `first` up to `end`, and tells what they came to. True where none failed.
fn run_chunk(tier: &Tier, first: u64, end: u64) -> bool {
    let clock = runtime::Clock::real();
    let (began, before) = (clock.now(), runtime::usage::now());
    let (mut events, mut acknowledged) = (0, 0);
    let mut slowest = Duration::ZERO;
    let mut failed = Vec::new();
    for seed in first..end {
        match (tier.run)(seed, Mischief::None) {
            Ok(summary) => {
                events += summary.events;
                acknowledged += summary.acknowledged;
                slowest = slowest.max(summary.recovered_in);
            }
            Err(failure) => {
                let Tier { variable, test, .. } = tier;
                eprintln!(
                    "{failure}\nreplay: {variable}_SEED={seed} {variable}_SEEDS=1 TIDEMILL_SIM_TRACE=1 cargo test -p tidemill-testing --test {test} seeds_share_0 -- --nocapture"
                );
                failed.push(seed.to_string());
            }
        }
    }
    let after = runtime::usage::now();
    println!(
        "{{\"first\": {first}, \"seeds\": {}, \"failed\": [{}], \"events\": {events}, \"acknowledged\": {acknowledged}, \"slowest_recovery_s\": {:.1}, \"seconds\": {:.1}, \"cpu_seconds\": {:.1}, \"memory_mb\": {}}}",
        end - first,
        failed.join(", "),
        slowest.as_secs_f64(),
        (clock.now() - began).as_secs_f64(),
        (after.cpu - before.cpu).as_secs_f64(),
        after.resident_bytes.unwrap_or_default() >> 20,
    );
    failed.is_empty()
}
