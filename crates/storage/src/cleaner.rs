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
pub mod swap;
pub mod throttle;
pub mod transactions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use protocol::types::TopicPartition;
use runtime::{Clock, Random};

use crate::cleaner::pass::{Limits, PassError, Report};
use crate::cleaner::range::CleanRange;
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

/// What the cleaner did and is about to do, for metrics (Kafka's `LogCleaner` and `LogCleanerManager` beans).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CleanerStatus {
    /// Passes that ended well.
    pub passes: u64,
    /// Bytes read and written by them.
    pub bytes_read: u64,
    /// Bytes written by them.
    pub bytes_written: u64,
    /// Records dropped by them.
    pub records_dropped: u64,
    /// Time of the longest of them, in ms (`max-clean-time-secs`).
    pub longest_pass_ms: u64,
    /// Largest share of the map used by one (`max-buffer-utilization-percent`).
    pub map_utilization_max: f64,
    /// Dirty share of the dirtiest log when last looked (`max-dirty-percent`).
    pub dirtiest_ratio: f64,
    /// Logs that cannot be cleaned, and why (`uncleanable-partitions-count`).
    pub uncleanable: BTreeMap<TopicPartition, String>,
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

#[derive(Debug, Default)]
struct State {
    in_progress: BTreeSet<TopicPartition>,
    /// Logs whose last pass found the disk full, so that it is said once.
    short_of_space: BTreeSet<TopicPartition>,
    status: CleanerStatus,
}

impl Cleaner {
    /// A cleaner without threads: [`Cleaner::clean_dirtiest`] does its work.
    #[must_use]
    pub fn new(logs: Arc<LogManager>, config: CleanerConfig, clock: Clock) -> Cleaner {
        let throttle = Throttle::new(config.io_bytes_per_second_max, clock);
        let shared = Shared {
            logs,
            config,
            clock,
            random: Random::real(),
            throttle,
            stop: AtomicBool::new(false),
            state: Mutex::new(State::default()),
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
            let thread = runtime::thread(format!("kafka-log-cleaner-thread-{number}"), move || worker.run())?;
            cleaner.threads.lock().push(thread);
        }
        Ok(cleaner)
    }

    /// Cleans the log that needs it most at `now_ms`, if one does and can be cleaned. Gives what was done.
    pub fn clean_dirtiest(&self, now_ms: i64) -> Option<(TopicPartition, Report)> {
        self.shared.clean_dirtiest(now_ms)
    }

    /// What was done so far.
    #[must_use]
    pub fn status(&self) -> CleanerStatus {
        self.shared.state.lock().status.clone()
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
    fn run(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            if self.clean_dirtiest(self.clock.now_ms()).is_none() {
                let mut state = self.state.lock();
                if !self.stop.load(Ordering::Relaxed) {
                    self.wake.wait_for(&mut state, self.config.backoff);
                }
            }
        }
    }

    fn clean_dirtiest(&self, now_ms: i64) -> Option<(TopicPartition, Report)> {
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
        let elapsed_ms = u64::try_from((self.clock.now() - started).as_millis()).unwrap_or(u64::MAX);
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
                state.note(&report, elapsed_ms);
                tell(&partition, &report, elapsed_ms);
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
        let mut dirtiest_ratio: f64 = 0.0;
        let mut best: Option<(f64, Arc<Log>)> = None;
        let mut state = self.state.lock();
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
            if range.is_due(&config) && best.as_ref().is_none_or(|(best, _)| ratio > *best) {
                best = Some((ratio, log));
            }
        }
        state.status.dirtiest_ratio = dirtiest_ratio;
        let (_, log) = best?;
        state.in_progress.insert(log.partition().clone());
        Some(log)
    }
}

impl State {
    fn note(&mut self, report: &Report, elapsed_ms: u64) {
        let status = &mut self.status;
        status.passes += 1;
        status.bytes_read += report.bytes_read;
        status.bytes_written += report.bytes_written;
        status.records_dropped += report.records_read - report.records_kept;
        status.longest_pass_ms = status.longest_pass_ms.max(elapsed_ms);
        status.map_utilization_max = status.map_utilization_max.max(report.map_utilization);
    }

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

fn tell(partition: &TopicPartition, report: &Report, elapsed_ms: u64) {
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
        elapsed_ms,
        "compacted the log"
    );
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod model_tests;
