//! Counters for the four-letter words and for [`crate::KeeperStatus`].

use runtime::clock::Instant;

/// Since start or the last `srst`/`crst`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stats {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    requests: u64,
    latency_us_sum: u64,
    latency_us_min: u64,
    latency_us_max: u64,
}

impl Stats {
    /// Counts requests whose replies leave now.
    pub(crate) fn answered(&mut self, requested: &[Instant], now: Instant) {
        for at in requested {
            let us = now.saturating_duration_since(*at).as_micros() as u64;
            self.latency_us_min = if self.requests == 0 { us } else { self.latency_us_min.min(us) };
            self.latency_us_max = self.latency_us_max.max(us);
            self.latency_us_sum += us;
            self.requests += 1;
        }
    }

    /// Smallest, mean and largest time from request to reply, in milliseconds.
    pub(crate) fn latency_ms(&self) -> (u64, f64, u64) {
        let mean_us = if self.requests == 0 { 0.0 } else { self.latency_us_sum as f64 / self.requests as f64 };
        (self.latency_us_min / 1000, mean_us / 1000.0, self.latency_us_max / 1000)
    }
}
