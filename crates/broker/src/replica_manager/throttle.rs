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
            (Some(rate), _) => *bucket = Some(Bucket::new(rate, self.clock.now())),
        }
    }

    /// Nothing more may pass now.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.bucket.lock().as_mut().is_some_and(|bucket| bucket.is_empty(self.clock.now()))
    }

    /// So many bytes passed.
    pub fn count(&self, bytes: usize) {
        if let Some(bucket) = self.bucket.lock().as_mut() {
            bucket.take(i64::try_from(bytes).unwrap_or(i64::MAX), self.clock.now());
        }
    }
}

impl Bucket {
    fn new(rate: i64, now: Instant) -> Bucket {
        Bucket { rate, left: rate, filled: now }
    }

    fn is_empty(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left <= 0
    }

    fn take(&mut self, bytes: i64, now: Instant) {
        self.fill(now);
        self.left = self.left.saturating_sub(bytes);
    }

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

    #[test]
    fn the_mean_rate_is_kept_whatever_the_size_of_the_pieces() {
        let check = |piece: i64| {
            let start = Clock::real().now();
            let mut bucket = Bucket::new(1_000, start);
            let mut passed = 0;
            for step in 0..1_000 {
                let now = start + Duration::from_millis(10) * step;
                if !bucket.is_empty(now) {
                    bucket.take(piece, now);
                    passed += piece;
                }
            }
            // Ten seconds, one more saved up at the start, and a piece that was begun at the end.
            assert!((10_000..=11_000 + piece).contains(&passed), "{passed} bytes in pieces of {piece}");
        };
        check(10);
        check(700);
        check(4_000);
    }

    #[test]
    fn without_a_rate_everything_passes() {
        let throttle = Throttle::new(Clock::real());
        throttle.count(usize::MAX);
        assert!(!throttle.is_exhausted());
        throttle.set_rate(Some(10));
        throttle.count(1_000);
        assert!(throttle.is_exhausted());
        throttle.set_rate(None);
        assert!(!throttle.is_exhausted());
    }
}
