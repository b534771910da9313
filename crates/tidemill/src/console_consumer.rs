//! `kafka-console-consumer`: records become lines of stdout (Kafka: `kafka.tools.ConsoleConsumer`).
//!
//! With `--zookeeper` it is a member of a group in ZooKeeper, as 0.8's and 0.9's tool; with `--bootstrap-server` a member of a group of the
//! brokers', or with `--partition` a reader of one partition, as 3.9's.
//!
//! Always true: what is committed has been written to stdout; lines are not held back while nothing more comes.
//!
//! # Layout
//! - [`options`]: the command line, 0.8's, 3.9's and 4.2's
//! - [`formatter`]: how a record is printed
//! - [`bootstrap`]: the form of today
//! - [`zookeeper`]: the form of 0.9
//! - [`advice`]: what is said to someone who waits for records that do not come

mod advice;
mod bootstrap;
mod formatter;
mod options;
mod zookeeper;

use std::io::{BufWriter, ErrorKind, Stdout, Write as _};
use std::time::Duration;

use client::kafka::FetchedBlock;
use protocol::types::Offset;

use self::formatter::Formatter;
use self::options::{Options, Source};
use crate::connect;
use crate::failure::Failure;
use crate::interrupt::Interrupted;

/// One wait for records; between two of them the signals, `--timeout-ms` and the advice have their turn.
const POLL: Duration = Duration::from_millis(500);
/// Bytes gathered for one write to stdout.
const OUTPUT_BYTES: usize = 64 * 1024;

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let options = options::read(words)?;
    connect::block_on_two_threads(async {
        match &options.source {
            Source::Zookeeper(config) => {
                let done = zookeeper::run(&options).await;
                done.map_err(|failure| failure.with_zookeeper(&config.zookeeper_connect))
            }
            Source::Bootstrap(bootstrap) => {
                let servers = &bootstrap.config.client.bootstrap_servers;
                let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
                bootstrap::run(&options).await.map_err(|failure| failure.with_servers(&servers.join(",")))
            }
        }
    })
}

/// Why a run came to its end without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// `--max-messages` were printed.
    Enough,
    /// `--timeout-ms` passed without a record.
    Timeout,
    /// A signal.
    Interrupted(Interrupted),
    /// Nobody reads stdout any more.
    NoReader,
}

impl End {
    /// What the process says by its exit code.
    fn outcome(self) -> Result<(), Failure> {
        match self {
            End::Enough | End::Timeout | End::NoReader => Ok(()),
            End::Interrupted(interrupted) => Err(interrupted.as_failure()),
        }
    }
}

/// Stdout, and how much went there.
struct Printer {
    out: BufWriter<Stdout>,
    formatter: Formatter,
    count: u64,
    max: Option<u64>,
    skip_message_on_error: bool,
}

/// What became of a block.
enum Printed {
    /// All of it is out.
    All,
    /// The run ends here; the next record of the partition is this one.
    Stopped(End, Offset),
}

impl Printer {
    fn new(options: &Options) -> Printer {
        Printer {
            out: BufWriter::with_capacity(OUTPUT_BYTES, std::io::stdout()),
            formatter: options.formatter.clone(),
            count: 0,
            max: options.max_messages,
            skip_message_on_error: options.skip_message_on_error,
        }
    }

    /// Whether as many were printed as were wished for.
    fn is_done(&self) -> bool {
        self.max.is_some_and(|max| self.count >= max)
    }

    /// Prints the records of a block, up to `--max-messages`.
    fn print(&mut self, block: &FetchedBlock) -> Result<Printed, Failure> {
        let mut records = block.records();
        let mut next = block.fetch_offset;
        while let Some(record) = records.next() {
            if self.is_done() {
                return Ok(Printed::Stopped(End::Enough, next));
            }
            let record = match record {
                Ok(record) => record,
                // What follows a damaged batch in this block is not readable either; the next fetch begins behind it.
                Err(error) if self.skip_message_on_error => {
                    eprintln!("Error processing message, skipping this message: {error}");
                    return Ok(Printed::All);
                }
                Err(error) => return Err(error.into()),
            };
            next = Offset(record.offset.0 + 1);
            let written =
                self.formatter.write(&mut self.out, block.topic_partition.partition, &record, records.timestamp_type());
            match written {
                Ok(()) => self.count += 1,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    return Ok(Printed::Stopped(End::NoReader, record.offset));
                }
                Err(error) if error.kind() == ErrorKind::InvalidData && self.skip_message_on_error => {
                    eprintln!("Error processing message, skipping this message: {error}");
                }
                Err(error) => return Err(Failure::new("cannot write a record").cause(error)),
            }
        }
        Ok(Printed::All)
    }

    /// Sends what is gathered; `false` where nobody reads it.
    fn flush(&mut self) -> Result<bool, Failure> {
        match self.out.flush() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::new("cannot write to stdout").cause(error)),
        }
    }

    /// Kafka's last line.
    fn report(&mut self) {
        // A reader that is gone was noticed when the records were written.
        let _ = self.out.flush();
        eprintln!("Processed a total of {} messages", self.count);
    }
}

/// Measures `--timeout-ms`: time without a record.
struct Patience {
    clock: runtime::Clock,
    limit: Option<Duration>,
    since: runtime::clock::Instant,
}

impl Patience {
    fn new(limit: Option<Duration>) -> Patience {
        let clock = runtime::Clock::real();
        Patience { clock, limit, since: clock.now() }
    }

    /// How long the next wait may be.
    fn wait_max(&self) -> Duration {
        let left = |limit: Duration| limit.saturating_sub(self.clock.now().saturating_duration_since(self.since));
        self.limit.map_or(POLL, |limit| left(limit).min(POLL))
    }

    fn record_came(&mut self) {
        self.since = self.clock.now();
    }

    fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.clock.now().saturating_duration_since(self.since) >= limit)
    }
}
