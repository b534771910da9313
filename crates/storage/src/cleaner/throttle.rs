//! `log.cleaner.io.max.bytes.per.second`: one budget for all threads of the cleaner.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use runtime::Clock;
use runtime::clock::Instant;

/// Longest sleep without a look at whether to stop.
const NAP: Duration = Duration::from_millis(100);
/// Bytes that may be moved at once before the first wait, as a time at the full rate.
const BURST: Duration = Duration::from_millis(300);

/// Slows its callers down to a rate they share.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: f64,
    clock: Clock,
    /// When what was moved so far would have been moved at the full rate.
    due: Mutex<Instant>,
}

impl Throttle {
    /// At most so many bytes a second, read and written together. `f64::MAX` (Kafka's default) is no bound.
    #[must_use]
    pub fn new(bytes_per_second: f64, clock: Clock) -> Throttle {
        Throttle { bytes_per_second, clock, due: Mutex::new(clock.now()) }
    }

    /// Waits until `bytes` more may be moved, or `stop` says so.
    pub fn pause(&self, bytes: u64, stop: &AtomicBool) {
        // At such a rate no count of bytes is worth a sleep.
        if !(self.bytes_per_second > 0.0 && self.bytes_per_second < 1e15) {
            return;
        }
        let due = self.charge(bytes, self.clock.now());
        while !stop.load(Ordering::Relaxed) {
            let left = due.saturating_duration_since(self.clock.now());
            if left.is_zero() {
                return;
            }
            self.clock.block_for(left.min(NAP));
        }
    }

    /// Notes that `bytes` are moved at `now`. Gives when the next ones may be.
    fn charge(&self, bytes: u64, now: Instant) -> Instant {
        let mut due = self.due.lock();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        *due = (*due).max(earliest) + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        *due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_cost_time_at_the_rate_whoever_moves_them() {
        let clock = Clock::real();
        let throttle = Throttle::new(1000.0, clock);
        let start = clock.now();
        let mut due = start;
        for _ in 0..10 {
            due = throttle.charge(500, start);
        }
        let waits = due - start;
        assert!(waits <= Duration::from_secs(5) && waits >= Duration::from_millis(4600), "{waits:?}");
        // What was not used long ago is not saved up.
        let later = start + Duration::from_secs(100);
        assert_eq!(throttle.charge(1000, later), later + Duration::from_secs(1) - BURST);
    }

    #[test]
    fn no_bound_and_a_stop_do_not_wait() {
        let clock = Clock::real();
        let start = clock.now();
        Throttle::new(f64::MAX, clock).pause(u64::MAX, &AtomicBool::new(false));
        Throttle::new(1.0, clock).pause(1 << 40, &AtomicBool::new(true));
        assert!(clock.now() - start < Duration::from_secs(5));
    }
}
