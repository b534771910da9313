//! Time. Wall time stamps records and znodes; monotonic time measures waits. Neither is ever derived from the other.

use std::time::Duration;

/// A point on the monotonic clock. Only differences mean something.
pub type Instant = tokio::time::Instant;

/// Source of the time. Cheap to clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The machine's own clocks.
    Real,
}

impl Clock {
    /// The machine's own clocks.
    #[must_use]
    pub fn real() -> Clock {
        Clock::Real
    }

    /// Wall time in milliseconds since 1970, as Kafka and ZooKeeper stamp it. It may jump, also backwards.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now_ms(self) -> i64 {
        match self {
            Clock::Real => match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
                Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
            },
        }
    }

    /// The monotonic clock: never goes back.
    #[must_use]
    pub fn now(self) -> Instant {
        match self {
            Clock::Real => tokio::time::Instant::now(),
        }
    }

    /// Resumes after `duration`.
    pub async fn sleep(self, duration: Duration) {
        match self {
            Clock::Real => tokio::time::sleep(duration).await,
        }
    }

    /// Resumes at `deadline`, at once where it is past.
    pub async fn sleep_until(self, deadline: Instant) {
        match self {
            Clock::Real => tokio::time::sleep_until(deadline).await,
        }
    }

    /// Blocks the calling thread; for threads of [`crate::spawn::thread`], never for tasks.
    pub fn block_for(self, duration: Duration) {
        match self {
            Clock::Real => std::thread::sleep(duration),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_after_this_code_was_written() {
        assert!(Clock::real().now_ms() > 1_700_000_000_000);
    }

    #[test]
    fn monotonic_time_does_not_go_back() {
        let clock = Clock::real();
        let earlier = clock.now();
        assert!(clock.now() >= earlier);
    }
}
