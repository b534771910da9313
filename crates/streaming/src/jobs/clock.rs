//! The clock of the job generator: the machine's, or one that a test turns.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use runtime::Clock;

/// Longest wait between two looks at the wall clock, so that a clock set forward is noticed.
const LOOK_MS_MAX: i64 = 500;

/// The clock of the job generator. Cheap to clone.
#[derive(Clone)]
pub enum BatchClock {
    /// The machine's wall clock.
    System(Clock),
    /// Moves only when told.
    Manual(ManualClock),
}

/// A clock that moves only when told. Clones are the same clock.
#[derive(Clone, Default)]
pub struct ManualClock(Arc<(Mutex<i64>, Condvar)>);

impl ManualClock {
    /// A clock that stands at 0.
    #[must_use]
    pub fn new() -> ManualClock {
        ManualClock::default()
    }

    /// A clock that stands at this time, in milliseconds since 1970.
    #[must_use]
    pub fn at(ms: i64) -> ManualClock {
        ManualClock(Arc::new((Mutex::new(ms), Condvar::new())))
    }

    /// Moves the clock forward and wakes whoever waits for a time that has come.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.0.lock();
        *now += i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.1.notify_all();
    }

    /// Milliseconds since 1970 by this clock.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        *self.0.0.lock()
    }
}

/// Ends the wait of a generator.
#[derive(Default)]
pub(crate) struct StopSignal {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl StopSignal {
    pub(crate) fn is_set(&self) -> bool {
        *self.stopped.lock()
    }

    /// Sets the signal and wakes waits on `clock`.
    pub(crate) fn set(&self, clock: &BatchClock) {
        *self.stopped.lock() = true;
        self.changed.notify_all();
        if let BatchClock::Manual(ManualClock(inner)) = clock {
            // Taking the lock keeps the wake-up from falling between a waiter's look at the signal and its sleep.
            let _now = inner.0.lock();
            inner.1.notify_all();
        }
    }
}

impl BatchClock {
    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match self {
            BatchClock::System(clock) => clock.now_ms(),
            BatchClock::Manual(clock) => clock.now_ms(),
        }
    }

    /// Waits until the clock shows `ms`; `false` where the signal came first.
    pub(crate) fn wait_until(&self, ms: i64, stop: &StopSignal) -> bool {
        match self {
            BatchClock::System(clock) => {
                let mut stopped = stop.stopped.lock();
                loop {
                    if *stopped {
                        return false;
                    }
                    let left = ms - clock.now_ms();
                    if left <= 0 {
                        return true;
                    }
                    let wait = Duration::from_millis(left.min(LOOK_MS_MAX).unsigned_abs());
                    stop.changed.wait_for(&mut stopped, wait);
                }
            }
            BatchClock::Manual(ManualClock(inner)) => {
                let mut now = inner.0.lock();
                loop {
                    if stop.is_set() {
                        return false;
                    }
                    if *now >= ms {
                        return true;
                    }
                    inner.1.wait(&mut now);
                }
            }
        }
    }
}
