//! Compaction: of the records of one key the last stays (`cleanup.policy=compact`; Kafka `LogCleaner`).
//!
//! A log is *clean* up to an offset noted in `cleaner-offset-checkpoint` and *dirty* from there to the first segment that may not be touched
//! ([`range`]). A pass ([`pass`]) learns the last offset of each key in the dirty part ([`offset_map`]) and writes all segments up to there anew
//! without what was replaced since ([`filter`]); each takes the place of the old ones in a swap that survives a crash ([`swap`]).
//!
//! # What holds
//! - A record keeps its offset; a reader who begins anywhere sees the last value of every key.
//! - A tombstone can be read for `delete.retention.ms` after the pass that first met it (KIP-534).
//! - A log is cleaned by one thread at a time; one that cannot be read is *uncleanable*, which is said once, and the others go on.

pub mod filter;
pub mod offset_map;
pub mod pass;
pub mod range;
pub mod status;
pub mod swap;
pub mod throttle;
pub mod transactions;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use protocol::types::TopicPartition;
use runtime::clock::Instant;
use runtime::{Clock, Random};

use crate::cleaner::pass::{Limits, PassError, Report};
use crate::cleaner::range::CleanRange;
pub use crate::cleaner::status::CleanerStatus;
use crate::cleaner::throttle::Throttle;
use crate::error::{Result, StorageError};
use crate::log::Log;
use crate::log_manager::LogManager;

/// Settings of the cleaner. The defaults are Kafka 3.9's.
#[derive(Debug, Clone, PartialEq)]
pub struct CleanerConfig {
    /// `log.cleaner.threads`.
    pub threads: usize,
    /// `log.cleaner.dedupe.buffer.size`: memory of the maps of all threads together, taken while a pass runs and only as far as its keys need it.
    pub dedupe_buffer_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`: share of the map that is filled.
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`: of all threads together.
    pub io_buffer_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`, read and written, all threads together.
    pub io_bytes_per_second_max: f64,
    /// `log.cleaner.backoff.ms`: pause when nothing is to be cleaned.
    pub backoff: Duration,
}

impl Default for CleanerConfig {
    fn default() -> CleanerConfig {
        CleanerConfig {
            threads: 1,
            dedupe_buffer_bytes: 128 << 20,
            load_factor: 0.9,
            io_buffer_bytes: 512 << 10,
            io_bytes_per_second_max: f64::MAX,
            backoff: Duration::from_secs(15),
        }
    }
}

/// Cleans the logs of a manager in threads of its own, until it is shut down.
#[derive(Debug)]
pub struct Cleaner {
    shared: Arc<Shared>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    logs: Arc<LogManager>,
    config: CleanerConfig,
    clock: Clock,
    random: Random,
    throttle: Throttle,
    stop: AtomicBool,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug)]
struct State {
    in_progress: BTreeSet<TopicPartition>,
    /// Logs whose last pass found the disk full, so that it is said once.
    short_of_space: BTreeSet<TopicPartition>,
    /// When a log to clean was last looked for.
    last_run: Instant,
    status: CleanerStatus,
}

impl Cleaner {
    /// A cleaner without threads: [`Cleaner::clean_dirtiest`] does its work.
    #[must_use]
    pub fn new(logs: Arc<LogManager>, config: CleanerConfig, clock: Clock) -> Cleaner {
        let throttle = Throttle::new(config.io_bytes_per_second_max, clock);
        let state = State {
            in_progress: BTreeSet::new(),
            short_of_space: BTreeSet::new(),
            last_run: clock.now(),
            status: CleanerStatus::default(),
        };
        let shared = Shared {
            logs,
            config,
            clock,
            random: Random::real(),
            throttle,
            stop: AtomicBool::new(false),
            state: Mutex::new(state),
            wake: Condvar::new(),
        };
        Cleaner { shared: Arc::new(shared), threads: Mutex::new(Vec::new()) }
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// Where the machine has no thread left to give.
    pub fn start(logs: Arc<LogManager>, config: CleanerConfig, clock: Clock) -> std::io::Result<Cleaner> {
        let cleaner = Cleaner::new(logs, config, clock);
        for number in 0..cleaner.shared.config.threads.max(1) {
            let worker = cleaner.shared.clone();
            let thread = runtime::thread(format!("kafka-log-cleaner-thread-{number}"), move || worker.run(number))?;
            cleaner.threads.lock().push(thread);
        }
        Ok(cleaner)
    }

    /// Cleans the log that needs it most at `now_ms`, if one does and can be cleaned. Gives what was done.
    pub fn clean_dirtiest(&self, now_ms: i64) -> Option<(TopicPartition, Report)> {
        self.shared.clean_dirtiest(0, now_ms)
    }

    /// What was done so far, and how the logs and the threads are now.
    #[must_use]
    pub fn status(&self) -> CleanerStatus {
        let shared = &self.shared;
        let state = shared.state.lock();
        let mut status = state.status.clone();
        status.since_last_run = shared.clock.now().saturating_duration_since(state.last_run);
        drop(state);
        if !shared.stop.load(Ordering::Relaxed) {
            status.dead_threads = self.threads.lock().iter().filter(|thread| thread.is_finished()).count();
        }
        status.count_uncleanable(&shared.logs, shared.clock.now_ms());
        status
    }

    /// Ends passes under way and the threads. To be called before the logs are closed.
    pub fn shutdown(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.wake.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn run(&self, thread: usize) {
        while !self.stop.load(Ordering::Relaxed) {
            if self.clean_dirtiest(thread, self.clock.now_ms()).is_none() {
                let mut state = self.state.lock();
                if !self.stop.load(Ordering::Relaxed) {
                    self.wake.wait_for(&mut state, self.config.backoff);
                }
            }
        }
    }

    fn clean_dirtiest(&self, thread: usize, now_ms: i64) -> Option<(TopicPartition, Report)> {
        let log = self.take_dirtiest(now_ms)?;
        let started = self.clock.now();
        let threads = self.config.threads.max(1);
        let limits = Limits {
            map_bytes: self.config.dedupe_buffer_bytes / threads as u64,
            load_factor: self.config.load_factor,
            buffer_bytes: self.config.io_buffer_bytes / threads,
            throttle: &self.throttle,
            stop: &self.stop,
            random: self.random,
        };
        let result = pass::clean(&log, now_ms, &limits);
        let took = self.clock.now() - started;
        let partition = log.partition().clone();
        let mut state = self.state.lock();
        state.in_progress.remove(&partition);
        match result {
            Ok(report) => {
                state.short_of_space.remove(&partition);
                // A pass that could not get further (a transaction is open) is not tried again at once.
                if report.cleaned_to <= report.range.first_dirty {
                    return None;
                }
                state.status.note(thread, &report, took);
                tell(&partition, &report, took);
                Some((partition, report))
            }
            Err(error) => {
                state.note_failure(&partition, error);
                None
            }
        }
    }

    /// Reserves the log with the largest dirty share of those that are due.
    fn take_dirtiest(&self, now_ms: i64) -> Option<Arc<Log>> {
        let (mut dirtiest_ratio, mut overdue_ms_max) = (0.0_f64, 0);
        let mut best: Option<(f64, Arc<Log>)> = None;
        let mut state = self.state.lock();
        state.last_run = self.clock.now();
        for log in self.logs.all() {
            let (partition, config) = (log.partition(), log.config());
            let skips = state.in_progress.contains(partition) || state.status.uncleanable.contains_key(partition);
            if !config.compact || skips || log.check_open().is_err() {
                continue;
            }
            let range: Result<CleanRange> = pass::range_of(&log, &config, now_ms);
            let range = match range {
                Ok(range) => range,
                Err(error) => {
                    state.note_failure(partition, PassError::Storage(error));
                    continue;
                }
            };
            let ratio = range.dirty_ratio();
            dirtiest_ratio = dirtiest_ratio.max(ratio);
            overdue_ms_max = overdue_ms_max.max(range.overdue_ms);
            if range.is_due(&config) && best.as_ref().is_none_or(|(best, _)| ratio > *best) {
                best = Some((ratio, log));
            }
        }
        state.status.dirtiest_ratio = dirtiest_ratio;
        state.status.overdue_ms_max = overdue_ms_max;
        let (_, log) = best?;
        state.in_progress.insert(log.partition().clone());
        Some(log)
    }
}

impl State {
    fn note_failure(&mut self, partition: &TopicPartition, error: PassError) {
        match error {
            PassError::Aborted => {
                tracing::info!(%partition, "log cleaning was aborted: the log was cut, closed or deleted, or the broker is stopping")
            }
            // An offline directory has said so once.
            PassError::Storage(StorageError::DirOffline { .. } | StorageError::Closed { .. }) => {}
            PassError::Storage(error @ StorageError::NoSpace { .. }) => {
                if self.short_of_space.insert(partition.clone()) {
                    tracing::warn!(%partition, %error, "no room to compact the log; it is tried again");
                }
            }
            PassError::Storage(error) => {
                tracing::error!(%partition, %error, "marked the partition as uncleanable: it is not compacted until the broker is restarted");
                self.status.uncleanable.insert(partition.clone(), error.to_string());
            }
        }
    }
}

fn tell(partition: &TopicPartition, report: &Report, took: Duration) {
    tracing::info!(
        %partition,
        first_dirty = report.range.first_dirty,
        cleaned_to = report.cleaned_to,
        segments_before = report.segments_before,
        segments_after = report.segments_after,
        bytes_before = report.bytes_read,
        bytes_after = report.bytes_written,
        records_before = report.records_read,
        records_after = report.records_kept,
        elapsed_ms = took.as_millis(),
        "compacted the log"
    );
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod model_tests;
