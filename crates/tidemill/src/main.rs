//! The `tidemill` program: a keeper, a broker and a streaming engine in one binary, and the tools that go with them.
//!
//! It is called in three ways: `tidemill` alone serves keeper and broker in one process; `tidemill TOOL ...` runs a tool; and a link or a
//! script named like a tool (`kafka-topics.sh`) runs that tool.
//!
//! # Layout
//! - [`tools`]: the table of all tools
//! - [`failure`]: what a failed command says and its exit code
//! - [`server`]: the keeper and broker processes, standalone, start and stop
//! - [`demo`]: the whole tutorial in one process
//! - [`dev`]: a cluster of separate processes on this machine
//! - [`layout`]: a folder shaped like the unpacked tarball
//! - [`options`]: what the tools' command lines have in common; [`java_format`]: numbers and dates as Java prints them; [`assignment`]: which brokers hold which partition;
//!   [`stdout`]: what happens where nobody reads any more

mod assignment;
mod broker_api_versions;
mod configs;
mod connect;
mod console_consumer;
mod console_producer;
mod consumer_groups;
mod consumer_offset_checker;
mod consumer_perf_test;
mod demo;
mod dev;
mod dump_log;
mod failure;
mod get_offsets;
mod interrupt;
mod java_format;
mod layout;
mod leader_election;
mod options;
mod preferred_replica_election;
mod producer_perf_test;
mod properties;
mod reassign_partitions;
mod replica_verification;
mod run_class;
mod server;
mod spark_submit;
mod stdout;
mod tools;
mod topics;
mod zookeeper_shell;

use std::process::ExitCode;

fn main() -> ExitCode {
    stdout::end_where_nobody_reads();
    let arguments: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let called_as = arguments.first().map(String::as_str).unwrap_or_default();
    let outcome = match tools::named_by_path(called_as) {
        Some(tool) => tool.run_with(&arguments[1..]),
        None => run_by_word(&arguments[1..]),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// `tidemill WORD ...`: a tool by its name; without a word, keeper and broker in one process.
fn run_by_word(words: &[String]) -> Result<(), failure::Failure> {
    match words.first().map(String::as_str) {
        None => server::standalone::run(&[]),
        Some("-h" | "--help" | "help") => {
            print!("{}", tools::help());
            Ok(())
        }
        Some("-V" | "--version" | "version") => {
            println!("tidemill {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Some(option) if option.starts_with('-') => server::standalone::run(words),
        Some(word) => match tools::named(word) {
            Some(tool) => tool.run_with(&words[1..]),
            None => Err(tools::unknown(word)),
        },
    }
}
