//! Counts and latencies of acknowledged records, and Kafka's lines about them (`ProducerPerformance.Stats`).

use std::io::Write as _;
use std::time::Duration;

use runtime::clock::Instant;

use crate::java_format::Decimal;

/// Latencies kept at most; of more records every n-th is kept.
const SAMPLES_MAX: u64 = 500_000;

/// Time between two lines while it runs.
const WINDOW: Duration = Duration::from_secs(5);

const MIB: f64 = 1024.0 * 1024.0;

/// What has been acknowledged since it was made.
pub struct Stats {
    is_steady_state: bool,
    prints_windows: bool,
    started: Instant,
    all: Count,
    window_started: Instant,
    window: Count,
    latencies_ms: Vec<u32>,
    sampling: u64,
}

#[derive(Debug, Default, Clone)]
struct Count {
    records: u64,
    bytes: u64,
    latency_ms_total: u64,
    latency_ms_max: u32,
}

impl Count {
    fn add(&mut self, latency_ms: u32, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
        self.latency_ms_total += u64::from(latency_ms);
        self.latency_ms_max = self.latency_ms_max.max(latency_ms);
    }

    /// Records and MiB per second, over whole milliseconds as Kafka counts them.
    fn rates(&self, elapsed: Duration) -> (f64, f64) {
        let elapsed_ms = elapsed.as_millis() as f64;
        (1000.0 * self.records as f64 / elapsed_ms, 1000.0 * self.bytes as f64 / elapsed_ms / MIB)
    }

    fn latency_ms_mean(&self) -> f64 {
        self.latency_ms_total as f64 / self.records as f64
    }
}

impl Stats {
    /// Nothing yet, of `records` to come.
    pub fn new(records: u64, is_steady_state: bool, now: Instant) -> Stats {
        Stats {
            is_steady_state,
            prints_windows: true,
            started: now,
            all: Count::default(),
            window_started: now,
            window: Count::default(),
            latencies_ms: Vec::new(),
            sampling: (records / records.clamp(1, SAMPLES_MAX)).max(1),
        }
    }

    /// From now on only the total is of interest.
    pub fn print_no_windows(&mut self) {
        self.prints_windows = false;
    }

    /// Counts an acknowledged record. Returns the lines to print where a window has ended.
    pub fn record(&mut self, latency_ms: u32, bytes: usize, now: Instant) -> Vec<String> {
        if self.all.records.is_multiple_of(self.sampling) {
            self.latencies_ms.push(latency_ms);
        }
        self.all.add(latency_ms, bytes);
        self.window.add(latency_ms, bytes);
        let elapsed = now.saturating_duration_since(self.window_started);
        if elapsed < WINDOW {
            return Vec::new();
        }
        let mut lines = Vec::new();
        if self.is_steady_state && self.all.records == self.window.records {
            lines.push("In steady state.".to_owned());
        }
        if self.prints_windows {
            let (records_per_s, mib_per_s) = self.window.rates(elapsed);
            lines.push(format!(
                "{} records sent, {} records/sec ({} MB/sec), {} ms avg latency, {} ms max latency.",
                self.window.records,
                Decimal(records_per_s, 1),
                Decimal(mib_per_s, 2),
                Decimal(self.window.latency_ms_mean(), 1),
                Decimal(f64::from(self.window.latency_ms_max), 1),
            ));
        }
        self.window = Count::default();
        self.window_started = now;
        lines
    }

    /// The last line.
    pub fn total(&mut self, now: Instant) -> String {
        self.latencies_ms.sort_unstable();
        let count = self.latencies_ms.len();
        // Where nothing came back, Kafka's zeros.
        let percentile = |part: f64| self.latencies_ms.get((part * count as f64) as usize).copied().unwrap_or(0);
        let (records_per_s, mib_per_s) = self.all.rates(now.saturating_duration_since(self.started));
        format!(
            "{}{} records sent, {} records/sec ({} MB/sec), {} ms avg latency, {} ms max latency, {} ms 50th, {} ms 95th, {} ms 99th, {} ms 99.9th.",
            self.all.records,
            if self.is_steady_state { " steady state" } else { "" },
            Decimal(records_per_s, 6),
            Decimal(mib_per_s, 2),
            Decimal(self.all.latency_ms_mean(), 2),
            Decimal(f64::from(self.all.latency_ms_max), 2),
            percentile(0.5),
            percentile(0.95),
            percentile(0.99),
            percentile(0.999),
        )
    }
}

/// Prints a line at once.
///
/// # Errors
/// Where stdout is closed.
pub fn print(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use runtime::Clock;

    use super::*;

    #[test]
    fn the_last_line_is_kafkas() {
        let start = Clock::real().now();
        let mut stats = Stats::new(100, false, start);
        for latency_ms in 1..=100 {
            assert!(stats.record(latency_ms, 1024, start + Duration::from_millis(10)).is_empty());
        }
        assert_eq!(
            stats.total(start + Duration::from_millis(2000)),
            "100 records sent, 50.000000 records/sec (0.05 MB/sec), 50.50 ms avg latency, 100.00 ms max latency, 51 ms 50th, 96 ms 95th, 100 ms 99th, 100 ms 99.9th."
        );
        assert_eq!(
            Stats::new(5, false, start).total(start),
            "0 records sent, NaN records/sec (NaN MB/sec), NaN ms avg latency, 0.00 ms max latency, 0 ms 50th, 0 ms 95th, 0 ms 99th, 0 ms 99.9th."
        );
    }

    #[test]
    fn a_window_is_told_every_five_seconds() {
        let start = Clock::real().now();
        let mut stats = Stats::new(2_000_000, true, start);
        for _ in 0..999 {
            assert!(stats.record(3, 1 << 20, start + Duration::from_millis(4999)).is_empty());
        }
        assert_eq!(
            stats.record(7, 1 << 20, start + Duration::from_millis(5000)),
            [
                "In steady state.",
                "1000 records sent, 200.0 records/sec (200.00 MB/sec), 3.0 ms avg latency, 7.0 ms max latency."
            ]
        );
        assert_eq!(stats.latencies_ms.len(), 250, "every fourth is kept");
        let mut silent = Stats::new(10, false, start);
        silent.print_no_windows();
        assert!(silent.record(1, 1, start + Duration::from_secs(6)).is_empty());
    }
}
