//! Pauses between retries: they double, they are bounded, and a little chance keeps a crowd of clients from knocking all at once.

use std::time::Duration;

use runtime::Random;

/// Chance taken off or put on a pause, in per cent (Kafka's `RETRY_BACKOFF_JITTER`).
const JITTER_PERCENT: u64 = 20;

/// The pauses of one operation. Make a new one when it has succeeded.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
    random: Random,
}

impl Backoff {
    /// Pauses from `first` up to `max`.
    pub(super) fn new(first: Duration, max: Duration, random: Random) -> Backoff {
        Backoff { next: first.min(max), max, random }
    }

    /// How long to wait now.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = self.next.saturating_mul(2).min(self.max);
        let spread = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX) / 100 * JITTER_PERCENT;
        let jitter = Duration::from_micros(self.random.below(spread.saturating_mul(2).max(1)));
        (pause + jitter).saturating_sub(Duration::from_micros(spread))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300), Random::real());
        for expected in [100, 200, 300, 300] {
            let pause = backoff.next().as_millis() as i64;
            assert!((pause - expected).abs() <= expected / 5 + 1, "{pause} for {expected}");
        }
    }
}
