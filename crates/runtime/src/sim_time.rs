//! Time and chance as a simulation tells them.
//!
//! What is always true: time stands still while code runs and moves only by [`SimTime::advance`]; timers fire in the order of their deadlines, those of one
//! deadline in the order they were set; nothing here depends on the machine, so the same calls give the same history.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::Instant;
use crate::sim_disk::Seeded;

/// Wall time at which every simulation begins, in ms since 1970.
const BEGINNING_MS: i64 = 1_750_000_000_000;

/// The time of one simulated world. It is never freed, as a world's clocks are copied to wherever they are needed; whoever plays one world after the other takes it over by
/// [`SimTime::begin_again`].
pub struct SimTime(Mutex<Time>);

struct Time {
    /// Since the world began.
    now: Duration,
    /// What the beginning is on the clock that [`Instant`] stands for.
    beginning: Instant,
    timers: BTreeMap<Key, (usize, Waker)>,
    set: u64,
}

/// Deadline, and how many timers were set before.
type Key = (Duration, u64);

/// The clock of one host of a simulated world.
#[derive(Clone, Copy)]
pub struct SimClock {
    time: &'static SimTime,
    host: usize,
    /// How far its wall clock is ahead of the true time, in ms.
    ahead_ms: i64,
}

impl SimTime {
    /// A world's time, at its beginning.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "a point to count from; what it is makes no difference")]
    pub fn begin() -> &'static SimTime {
        let time = Time { now: Duration::ZERO, beginning: Instant::now(), timers: BTreeMap::new(), set: 0 };
        Box::leak(Box::new(SimTime(Mutex::new(time))))
    }

    /// Another world begins, and nothing is left of the one before: its timers are gone with whatever they would have woken.
    pub fn begin_again(&self) {
        let timers = {
            let mut time = self.lock();
            time.now = Duration::ZERO;
            std::mem::take(&mut time.timers)
        };
        // A waker may own the task that owns its timer: it goes when the lock is free.
        drop(timers);
    }

    /// Since the world began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.lock().now
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.lock().timers.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Moves on. A time that is past already changes nothing.
    pub fn advance(&self, to: Duration) {
        let mut time = self.lock();
        time.now = time.now.max(to);
    }

    /// Wakes whoever set the next timer, if it is due, and gives that host.
    #[must_use]
    pub fn fire(&self) -> Option<usize> {
        let (host, waker) = {
            let mut time = self.lock();
            let now = time.now;
            let first = time.timers.first_entry().filter(|first| first.key().0 <= now)?;
            first.remove()
        };
        waker.wake();
        Some(host)
    }

    /// The clock of a host, whose wall clock goes `ahead_ms` ahead.
    #[must_use]
    pub fn clock(&'static self, host: usize, ahead_ms: i64) -> SimClock {
        SimClock { time: self, host, ahead_ms }
    }

    fn lock(&self) -> MutexGuard<'_, Time> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimClock {
    pub(crate) fn now_ms(self) -> i64 {
        BEGINNING_MS + self.time.now().as_millis() as i64 + self.ahead_ms
    }

    pub(crate) fn now(self) -> Instant {
        let time = self.time.lock();
        time.beginning + time.now
    }

    pub(crate) fn monotonic_ms(self) -> i64 {
        self.time.now().as_millis() as i64
    }

    pub(crate) fn sleep_until(self, deadline: Instant) -> SimSleep {
        let deadline = deadline.saturating_duration_since(self.time.lock().beginning);
        SimSleep { clock: self, deadline, set: None }
    }
}

/// A wait on a simulated clock.
pub struct SimSleep {
    clock: SimClock,
    deadline: Duration,
    set: Option<Key>,
}

impl Future for SimSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock;
        let mut time = clock.time.lock();
        if time.now >= self.deadline {
            return Poll::Ready(());
        }
        let key = self.set.unwrap_or((self.deadline, time.set));
        if self.set.is_none() {
            time.set += 1;
        }
        time.timers.insert(key, (clock.host, cx.waker().clone()));
        drop(time);
        self.set = Some(key);
        Poll::Pending
    }
}

impl Drop for SimSleep {
    fn drop(&mut self) {
        if let Some(key) = self.set {
            let removed = self.clock.time.lock().timers.remove(&key);
            // A waker may own the task that owns this timer: it goes when the lock is free.
            drop(removed);
        }
    }
}

impl PartialEq for SimClock {
    fn eq(&self, other: &SimClock) -> bool {
        std::ptr::eq(self.time, other.time) && (self.host, self.ahead_ms) == (other.host, other.ahead_ms)
    }
}

impl Eq for SimClock {}

impl std::fmt::Debug for SimClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimClock").field("host", &self.host).finish_non_exhaustive()
    }
}

/// Chance as a seed decides it. Copies draw from the same sequence, which is never freed, but can begin again.
#[derive(Clone, Copy)]
pub struct SimRandom(&'static Mutex<Seeded>);

impl SimRandom {
    /// The sequence of a seed, from its beginning.
    #[must_use]
    pub fn new(seed: u64) -> SimRandom {
        SimRandom(Box::leak(Box::new(Mutex::new(Seeded::new(seed)))))
    }

    /// Goes on with the sequence of another seed, from its beginning.
    pub fn begin_again(self, seed: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Seeded::new(seed);
    }

    pub(crate) fn fill(self, bytes: &mut [u8]) {
        let mut seeded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&seeded.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

impl PartialEq for SimRandom {
    fn eq(&self, other: &SimRandom) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for SimRandom {}

impl std::fmt::Debug for SimRandom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimRandom")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::{Clock, Random};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn timers_fire_in_order_and_those_given_up_do_not() {
        let time = SimTime::begin();
        let clock = |host| Clock::Sim(time.clock(host, 0));
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let mut sleeps: Vec<_> = [(0, 20), (1, 10), (2, 10), (3, 30)]
            .into_iter()
            .map(|(host, ms)| Box::pin(clock(host).sleep(Duration::from_millis(ms))))
            .collect();
        for sleep in &mut sleeps {
            assert!(sleep.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(time.fire(), None);
        drop(sleeps.remove(0));
        assert_eq!(time.next_due(), Some(Duration::from_millis(10)));
        time.advance(Duration::from_millis(10));
        assert_eq!([time.fire(), time.fire(), time.fire()], [Some(1), Some(2), None]);
        assert_eq!(time.next_due(), Some(Duration::from_millis(30)));
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        assert!(sleeps[0].as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn wall_clocks_may_differ_and_waits_do_not() {
        let time = SimTime::begin();
        let (true_clock, ahead) = (Clock::Sim(time.clock(0, 0)), Clock::Sim(time.clock(1, 5_000)));
        let before = true_clock.now();
        time.advance(Duration::from_secs(1));
        assert_eq!(ahead.now_ms() - true_clock.now_ms(), 5_000);
        assert_eq!(ahead.now() - before, Duration::from_secs(1));
    }

    #[test]
    fn a_seed_draws_the_same_numbers_again() {
        let draw = |seed| {
            let random = Random::Sim(SimRandom::new(seed));
            (random.u64(), random.bytes::<11>(), random.below(1000))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
