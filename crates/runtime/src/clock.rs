//! Time. Wall time stamps records and znodes; monotonic time measures waits. Neither is ever derived from the other.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::sim_time::{SimClock, SimSleep};

/// A point on the monotonic clock. Only differences mean something.
pub type Instant = tokio::time::Instant;

/// Source of the time. Cheap to clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The machine's own clocks.
    Real,
    /// Those of a host in a simulated world.
    Sim(SimClock),
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
            Clock::Sim(clock) => clock.now_ms(),
        }
    }

    /// The monotonic clock: never goes back.
    #[must_use]
    pub fn now(self) -> Instant {
        match self {
            Clock::Real => tokio::time::Instant::now(),
            Clock::Sim(clock) => clock.now(),
        }
    }

    /// The monotonic clock in milliseconds since a moment of this process: for rules that count in milliseconds.
    #[must_use]
    pub fn monotonic_ms(self) -> i64 {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        let now = match self {
            Clock::Real => self.now(),
            Clock::Sim(clock) => return clock.monotonic_ms(),
        };
        let origin = *ORIGIN.get_or_init(|| now);
        i64::try_from(now.saturating_duration_since(origin).as_millis()).unwrap_or(i64::MAX)
    }

    /// Resumes after `duration`.
    pub async fn sleep(self, duration: Duration) {
        match self {
            Clock::Real => tokio::time::sleep(duration).await,
            Clock::Sim(clock) => clock.sleep_until(clock.now() + duration).await,
        }
    }

    /// Resumes at `deadline`, at once where it is past.
    pub async fn sleep_until(self, deadline: Instant) {
        match self {
            Clock::Real => tokio::time::sleep_until(deadline).await,
            Clock::Sim(clock) => clock.sleep_until(deadline).await,
        }
    }

    /// What `future` comes to, unless it takes longer than `limit`; then it is dropped and [`Elapsed`] comes instead.
    pub fn timeout<F: IntoFuture>(self, limit: Duration, future: F) -> Timeout<F::IntoFuture> {
        match self {
            Clock::Real => Timeout::Real { timeout: tokio::time::timeout(limit, future) },
            Clock::Sim(clock) => self.timeout_at(clock.now() + limit, future),
        }
    }

    /// What `future` comes to, unless `deadline` comes first; then it is dropped and [`Elapsed`] comes instead.
    pub fn timeout_at<F: IntoFuture>(self, deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
        match self {
            Clock::Real => Timeout::Real { timeout: tokio::time::timeout_at(deadline, future) },
            Clock::Sim(clock) => Timeout::Sim { future: future.into_future(), end: clock.sleep_until(deadline) },
        }
    }

    /// Blocks the calling thread; for threads of [`crate::spawn::thread`], never for tasks.
    pub fn block_for(self, duration: Duration) {
        match self {
            Clock::Real => std::thread::sleep(duration),
            // A simulated world has no threads of its own, and its time stands still while code runs.
            Clock::Sim(_) => {}
        }
    }
}

/// A wait that took as long as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

pin_project! {
    /// A wait with a limit: see [`Clock::timeout`]. It holds its future once, whatever the clock: waits lie in each other, and would double in size each time.
    #[project = Waiting]
    pub enum Timeout<F> {
        /// On the machine's clock.
        Real {
            #[pin]
            timeout: tokio::time::Timeout<F>,
        },
        /// On a simulated one.
        Sim {
            #[pin]
            future: F,
            end: SimSleep,
        },
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Waiting::Real { timeout } => timeout.poll(cx).map_err(|_| Elapsed),
            Waiting::Sim { future, end } => match future.poll(cx) {
                Poll::Ready(done) => Poll::Ready(Ok(done)),
                Poll::Pending => Pin::new(end).poll(cx).map(|()| Err(Elapsed)),
            },
        }
    }
}

/// Says when something that happens again and again is to be told again.
#[derive(Debug)]
pub struct Seldom {
    clock: Clock,
    pause: Duration,
    told: Option<Instant>,
}

impl Seldom {
    /// Told at most once in `pause`.
    #[must_use]
    pub fn new(clock: Clock, pause: Duration) -> Seldom {
        Seldom { clock, pause, told: None }
    }

    /// Whether it is to be told now; whoever asks tells it then.
    pub fn is_due(&mut self) -> bool {
        let now = self.clock.now();
        let is_due = self.told.is_none_or(|told| now.saturating_duration_since(told) >= self.pause);
        if is_due {
            self.told = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_after_this_code_was_written() {
        assert!(Clock::real().now_ms() > 1_700_000_000_000);
    }

    #[tokio::test]
    async fn a_wait_ends_with_what_it_waits_for_or_with_its_limit() {
        let (clock, limit) = (Clock::real(), Duration::from_millis(10));
        assert_eq!(clock.timeout(limit, std::future::ready(7)).await, Ok(7));
        assert_eq!(clock.timeout(limit, std::future::pending::<()>()).await, Err(Elapsed));
        let time = crate::sim_time::SimTime::begin();
        let clock = Clock::Sim(time.clock(0, 0));
        assert_eq!(clock.timeout(limit, std::future::ready(7)).await, Ok(7));
        let waiting = tokio::spawn(clock.timeout_at(clock.now() + limit, std::future::pending::<()>()));
        tokio::task::yield_now().await;
        time.advance(limit);
        assert_eq!(time.fire(), Some(0));
        assert_eq!(waiting.await.unwrap(), Err(Elapsed));
    }

    #[test]
    fn monotonic_time_does_not_go_back() {
        let clock = Clock::real();
        let earlier = clock.now();
        assert!(clock.now() >= earlier);
    }
}
