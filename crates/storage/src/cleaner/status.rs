//! What the cleaner did and is about to do, for metrics: the figures of Kafka's `LogCleaner` and `LogCleanerManager` beans.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use protocol::types::TopicPartition;

use crate::cleaner::pass::{self, Report};
use crate::log_manager::LogManager;

/// What the cleaner did and is about to do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CleanerStatus {
    /// Passes that ended well.
    pub passes: u64,
    /// Bytes read by them.
    pub bytes_read: u64,
    /// Bytes written by them.
    pub bytes_written: u64,
    /// Records dropped by them.
    pub records_dropped: u64,
    /// The last of them in each thread, by its number.
    pub last_passes: BTreeMap<usize, LastPass>,
    /// Dirty share of the dirtiest log when last looked (`max-dirty-percent`).
    pub dirtiest_ratio: f64,
    /// By how many ms the log that `max.compaction.lag.ms` makes most urgent was overdue when last looked (`max-compaction-delay-secs`).
    pub overdue_ms_max: i64,
    /// Time since a log to clean was last looked for, or since the cleaner was made (`time-since-last-run-ms`).
    pub since_last_run: Duration,
    /// Threads that have ended though nobody stopped the cleaner (`DeadThreadCount`).
    pub dead_threads: usize,
    /// Logs that cannot be cleaned, and why.
    pub uncleanable: BTreeMap<TopicPartition, String>,
    /// How many they are in each log directory, those without any included (`uncleanable-partitions-count`, `uncleanable-bytes`).
    pub uncleanable_in: BTreeMap<PathBuf, Uncleanable>,
}

/// The last pass of a thread (Kafka's `CleanerStats`).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LastPass {
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// How long it took.
    pub took: Duration,
    /// Share of the map that was used.
    pub map_utilization: f64,
}

/// Logs of one directory that cannot be cleaned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uncleanable {
    /// How many.
    pub partitions: usize,
    /// Bytes of them that a pass would be about.
    pub bytes: u64,
}

impl CleanerStatus {
    /// Largest share of the map that the last pass of any thread used (`max-buffer-utilization-percent`).
    #[must_use]
    pub fn map_utilization_max(&self) -> f64 {
        self.last_passes.values().map(|pass| pass.map_utilization).fold(0.0, f64::max)
    }

    /// Share of what the threads' last passes read that they wrote again (`cleaner-recopy-percent`).
    #[must_use]
    pub fn recopy_ratio(&self) -> f64 {
        let sum = |of: fn(&LastPass) -> u64| self.last_passes.values().map(of).sum::<u64>();
        sum(|pass| pass.bytes_written) as f64 / sum(|pass| pass.bytes_read).max(1) as f64
    }

    /// The longest of the threads' last passes (`max-clean-time-secs`).
    #[must_use]
    pub fn longest_pass(&self) -> Duration {
        self.last_passes.values().map(|pass| pass.took).max().unwrap_or_default()
    }

    pub(super) fn note(&mut self, thread: usize, report: &Report, took: Duration) {
        self.passes += 1;
        self.bytes_read += report.bytes_read;
        self.bytes_written += report.bytes_written;
        self.records_dropped += report.records_read - report.records_kept;
        let last = LastPass {
            bytes_read: report.bytes_read,
            bytes_written: report.bytes_written,
            took,
            map_utilization: report.map_utilization,
        };
        self.last_passes.insert(thread, last);
    }

    /// Counts the uncleanable logs by directory, as they are at `now_ms`.
    pub(super) fn count_uncleanable(&mut self, logs: &LogManager, now_ms: i64) {
        let mut counted: BTreeMap<PathBuf, Uncleanable> =
            logs.dirs().map(|dir| (dir.path().to_owned(), Uncleanable::default())).collect();
        for partition in self.uncleanable.keys() {
            // One that was deleted since counts no more.
            let Some(log) = logs.get(partition) else { continue };
            let of = counted.entry(log.dir().log_dir().path().to_owned()).or_default();
            of.partitions += 1;
            // Of one whose segments cannot even be looked at nothing is known.
            of.bytes += pass::range_of(&log, &log.config(), now_ms).map_or(0, |range| range.dirty_bytes);
        }
        self.uncleanable_in = counted;
    }
}
