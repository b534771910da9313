//! `kafka-replica-verification`: whether all replicas of partitions hold the same bytes below the high watermark (Kafka: `ReplicaVerificationTool`).
//!
//! As Kafka's it goes on until Ctrl-C and reports the largest lag now and then; with `--once` it ends when all that was below the high watermarks at its start has been
//! compared. What differs is a line on stdout and exit code 1.
//!
//! # Layout
//! - [`compare`]: copies of one part of a log, side by side
//! - [`rounds`]: reading from every broker, round after round

mod compare;
mod rounds;

use std::time::Duration;

use clap::Parser;
use client::kafka::OffsetSpec;
use regex::Regex;

use crate::failure::Failure;
use crate::{connect, options};

/// Compare the replicas of partitions byte by byte, below the high watermark.
#[derive(Debug, Parser)]
struct Options {
    /// The brokers to ask: host:port[,host:port]
    #[arg(long, visible_alias = "bootstrap-server", value_name = "HOSTS")]
    broker_list: Option<String>,
    /// Properties for the connection to the brokers
    #[arg(long, value_name = "FILE")]
    command_config: Option<String>,
    /// Bytes read of a partition at a time
    #[arg(long, value_name = "BYTES", default_value_t = 1_048_576, value_parser = clap::value_parser!(i32).range(1..))]
    fetch_size: i32,
    /// Longest wait for new records, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(..=60_000))]
    max_wait_ms: u64,
    /// Regular expression of the topics
    #[arg(long, visible_alias = "topics-include", value_name = "REGEX", default_value = ".*")]
    topic_white_list: String,
    /// Where to begin: -1 at the end, -2 at the first record, or milliseconds since 1970 [default: -1; -2 with --once]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    time: Option<i64>,
    /// How often the largest lag is told, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    report_interval_ms: u64,
    /// End when what is there now has been compared: 0 where all replicas hold the same, else 1
    #[arg(long)]
    once: bool,
}

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let usage = |what: &str| Failure::misuse(what).help("bin/kafka-replica-verification.sh --help");
    if words.is_empty() {
        return Err(usage("Validate that all replicas for a set of topics have the same data."));
    }
    let options: Options = options::parse("kafka-replica-verification", words)?;
    let Some(servers) = &options.broker_list else { return Err(usage("Missing required argument \"[broker-list]\"")) };
    let topics = Regex::new(&format!("^(?:{})$", options.topic_white_list)).map_err(|error| {
        usage(&format!("{} is an invalid regex.", options.topic_white_list)).cause(last_line(&error.to_string()))
    })?;
    let from = match options.time {
        None if options.once => OffsetSpec::Earliest,
        None | Some(-1) => OffsetSpec::Latest,
        Some(-2) => OffsetSpec::Earliest,
        Some(time) if time >= 0 => OffsetSpec::Timestamp(time),
        Some(time) => return Err(usage(&format!("Cannot parse argument '{time}' of option time"))),
    };
    let wish = rounds::Wish {
        topics,
        pattern: options.topic_white_list.clone(),
        from,
        bytes_max: options.fetch_size,
        wait: Duration::from_millis(options.max_wait_ms),
        report_every: Duration::from_millis(options.report_interval_ms),
        once: options.once,
    };
    let done = connect::block_on(async {
        let cluster = connect::kafka(servers, options.command_config.as_deref()).await?;
        rounds::run(cluster, &wish).await
    });
    done.map_err(|failure| failure.with_servers(servers))
}

/// What is said of an expression, without the picture of where.
fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_sense_are_refused() {
        for (line, expected) in [
            ("", "Validate that all replicas for a set of topics have the same data."),
            ("--once", "Missing required argument \"[broker-list]\""),
            ("--broker-list h:1 --topic-white-list (", "( is an invalid regex.\ncause: unclosed group"),
            ("--broker-list h:1 --time -3", "Cannot parse argument '-3' of option time"),
        ] {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let said = run(&words).unwrap_err().to_string();
            assert_eq!(said, format!("{expected}\nhelp: bin/kafka-replica-verification.sh --help"), "{line}");
        }
    }
}
