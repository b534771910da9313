//! Throttled replication (KIP-73): a reassignment moves whole logs, and must leave room for those who work.
//!
//! A [`Throttle`] is a bucket of one second's bytes. What passes is counted, also past the limit, because a batch is never cut; who asks while the bucket is empty waits.

use std::time::Duration;

use parking_lot::Mutex;
use runtime::Clock;
use runtime::clock::Instant;

/// How long a replica that may not be fetched now is left alone.
pub const THROTTLED_PAUSE: Duration = Duration::from_millis(100);

/// Bytes a second that may pass.
#[derive(Debug)]
pub struct Throttle {
    clock: Clock,
    bucket: Mutex<Option<Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    /// Bytes a second.
    rate: i64,
    /// Bytes that may pass now; negative where more did.
    left: i64,
    filled: Instant,
}

impl Throttle {
    /// No limit yet.
    #[must_use]
    pub fn new(clock: Clock) -> Throttle {
        Throttle { clock, bucket: Mutex::default() }
    }

    /// Sets or lifts the limit, in bytes a second.
    pub fn set_rate(&self, rate: Option<u64>) {
        let rate = rate.map(|rate| i64::try_from(rate).unwrap_or(i64::MAX));
        let mut bucket = self.bucket.lock();
        match (rate, bucket.as_mut()) {
            (None, _) => *bucket = None,
            (Some(rate), Some(known)) if known.rate == rate => {}
            (Some(rate), _) => *bucket = Some(Bucket { rate, left: rate, filled: self.clock.now() }),
        }
    }

    /// Nothing more may pass now.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.bucket.lock().as_mut().is_some_and(|bucket| {
            bucket.fill(self.clock.now());
            bucket.left <= 0
        })
    }

    /// So many bytes passed.
    pub fn count(&self, bytes: usize) {
        if let Some(bucket) = self.bucket.lock().as_mut() {
            bucket.fill(self.clock.now());
            bucket.left = bucket.left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let elapsed_us = i64::try_from(now.saturating_duration_since(self.filled).as_micros()).unwrap_or(i64::MAX);
        let more = i64::try_from(i128::from(elapsed_us) * i128::from(self.rate) / 1_000_000).unwrap_or(i64::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(self.rate);
            self.filled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_mean_rate_is_kept_whatever_the_size_of_the_pieces() {
        let throttle = Throttle::new(Clock::real());
        assert!(!throttle.is_exhausted());
        throttle.set_rate(Some(1_000));
        let mut passed = 0;
        for _ in 0..1_000 {
            if !throttle.is_exhausted() {
                throttle.count(700);
                passed += 700;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Ten seconds, one of them saved up at the start, and a piece begun at the end of each.
        assert!((10_000..=11_700).contains(&passed), "{passed} bytes in 10 s at 1,000 a second");
        throttle.set_rate(None);
        assert!(!throttle.is_exhausted());
    }
}
