//! `kafka-producer-perf-test`: sends records as fast as they go, or at a rate, and says how that went (Kafka: `org.apache.kafka.tools.ProducerPerformance`).
//!
//! Always true: a record counts when its acknowledgement came, and not before; what was lost is told on stderr and makes the exit code 1.
//!
//! # Layout
//! - [`options`]: the command line, 0.9's, 3.9's and 4.2's
//! - [`payload`]: what the records hold
//! - [`stats`]: counts and latencies, and the lines that tell them

mod options;
mod payload;
mod stats;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::kafka::{ClientError, Cluster, Producer, ProducerRecord};
use runtime::Clock;
use runtime::clock::Instant;

use self::options::Options;
use self::payload::Payloads;
use self::stats::Stats;
use crate::connect;
use crate::failure::Failure;
use crate::interrupt::{Interrupt, Interrupted};
use tokio::sync::watch;

/// Wait for the last deliveries at the end: a batch lives no longer than `delivery.timeout.ms`.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// Lost records that are told one by one; the rest are counted.
const ERRORS_TOLD_MAX: u64 = 20;

/// A sender that is ahead of its rate by less goes on: timers are no finer.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let options = options::read(words)?;
    connect::block_on_two_threads(perform(options))
}

async fn perform(options: Options) -> Result<(), Failure> {
    let clock = Clock::real();
    let mut payloads = Payloads::new(&options.payload)?;
    let interrupt = Interrupt::listen()?;
    let cluster = Cluster::new(options.producer.client.clone(), clock);
    let mut stop = interrupt.watch(|| None);
    tokio::select! {
        biased;
        _ = stop.changed() => return Err(Failure::silent(stop.borrow().map_or(1, Interrupted::exit_code))),
        connected = cluster.any_connection() => connected?,
    };
    let producer = Producer::new(cluster, options.producer.clone())?;
    if options.warmup_records > 0 {
        stats::print(&format!(
            "Warmup first {} records. Steady state results will print after the complete test summary.",
            options.warmup_records
        ))?;
    }
    let started = clock.now();
    let results = Arc::new(Results::new(Stats::new(options.num_records, false, started), clock));
    for number in 0..options.num_records {
        if number > 0 && number == options.warmup_records {
            results.begin_steady_state(Stats::new(options.num_records - number, true, clock.now()));
        }
        let payload = payloads.next(number);
        let (size, sent_at) = (payload.len(), clock.now());
        match send(&producer, &mut stop, ProducerRecord::new(options.topic.clone(), payload)).await {
            Sent::Delivery(delivery) => {
                let (results, is_steady) = (results.clone(), number >= options.warmup_records);
                delivery.on_complete(move |result| match result {
                    Ok(_) => results.acknowledged(sent_at, size, is_steady),
                    Err(error) => results.lost(&error),
                });
            }
            Sent::Refused(error) => {
                results.lost(&error);
                // Nothing that follows would fare better.
                break;
            }
            Sent::Interrupted => break,
        }
        if let Some(due) = options.due(started, number + 1)
            && due.saturating_duration_since(clock.now()) >= PAUSE_MIN
        {
            tokio::select! {
                () = clock.sleep_until(due) => {}
                _ = stop.changed() => break,
            }
        }
    }
    let closed = producer.close(options.producer.delivery_timeout + CLOSE_GRACE).await;
    let lost = results.print_totals()?;
    let interrupted = *stop.borrow();
    if let Some(signal) = interrupted {
        return Err(signal.as_failure());
    }
    if lost > 0 || closed.is_err() {
        return Err(Failure::new(format!("{lost} record(s) could not be sent")));
    }
    Ok(())
}

enum Sent {
    Delivery(client::kafka::Delivery),
    Refused(ClientError),
    Interrupted,
}

async fn send(producer: &Producer, stop: &mut watch::Receiver<Option<Interrupted>>, record: ProducerRecord) -> Sent {
    tokio::select! {
        biased;
        _ = stop.changed() => Sent::Interrupted,
        sent = producer.send(record) => match sent {
            Ok(delivery) => Sent::Delivery(delivery),
            Err(error) => Sent::Refused(error),
        },
    }
}

/// What has come back, told by the producer's task and read by ours.
struct Results {
    clock: Clock,
    tally: Mutex<Tally>,
}

struct Tally {
    all: Stats,
    /// Of the records behind the warm-up.
    steady: Option<Stats>,
    lost: u64,
    /// Nobody reads stdout any more: nothing more is printed.
    print_failed: Option<std::io::Error>,
}

impl Results {
    fn new(all: Stats, clock: Clock) -> Results {
        Results { clock, tally: Mutex::new(Tally { all, steady: None, lost: 0, print_failed: None }) }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_steady_state(&self, steady: Stats) {
        let mut tally = self.tally();
        tally.all.print_no_windows();
        tally.steady = Some(steady);
    }

    fn acknowledged(&self, sent_at: Instant, size: usize, is_steady: bool) {
        let now = self.clock.now();
        let latency_ms = u32::try_from(now.saturating_duration_since(sent_at).as_millis()).unwrap_or(u32::MAX);
        let tally = &mut *self.tally();
        let of_steady = tally.steady.as_mut().filter(|_| is_steady);
        for stats in [Some(&mut tally.all), of_steady].into_iter().flatten() {
            for line in stats.record(latency_ms, size, now) {
                if tally.print_failed.is_none()
                    && let Err(error) = stats::print(&line)
                {
                    tally.print_failed = Some(error);
                }
            }
        }
    }

    fn lost(&self, error: &ClientError) {
        let mut tally = self.tally();
        tally.lost += 1;
        match tally.lost {
            number if number <= ERRORS_TOLD_MAX => Failure::from(error.clone()).warn(),
            number if number == ERRORS_TOLD_MAX + 1 => eprintln!("note: further lost records are only counted"),
            _ => {}
        }
    }

    /// Prints the last lines; returns how many records were lost.
    fn print_totals(&self) -> Result<u64, Failure> {
        let now = self.clock.now();
        let mut tally = self.tally();
        if let Some(error) = tally.print_failed.take() {
            return Err(error.into());
        }
        stats::print(&tally.all.total(now))?;
        if let Some(steady) = &mut tally.steady {
            stats::print(&steady.total(now))?;
        }
        Ok(tally.lost)
    }
}
