//! Deadlines of one group: at most one for each thing that can be late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is late when a deadline passes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The rebalance: who has not joined by now is left out.
    Join,
    /// The new generation's SyncGroups.
    Sync,
    /// A heartbeat of this member.
    Member(Arc<str>),
    /// The second JoinGroup of a client that was given this member id.
    PendingMember(Arc<str>),
}

/// The deadlines, soonest first.
#[derive(Debug, Clone, Default)]
pub struct Timers {
    by_timer: BTreeMap<Timer, i64>,
    by_deadline: BTreeSet<(i64, Timer)>,
}

impl Timers {
    /// Sets a deadline (milliseconds of the monotonic clock), in place of the former one.
    pub fn set(&mut self, timer: Timer, deadline_ms: i64) {
        self.cancel(&timer);
        self.by_timer.insert(timer.clone(), deadline_ms);
        self.by_deadline.insert((deadline_ms, timer));
    }

    /// Forgets a deadline.
    pub fn cancel(&mut self, timer: &Timer) {
        if let Some((timer, deadline_ms)) = self.by_timer.remove_entry(timer) {
            self.by_deadline.remove(&(deadline_ms, timer));
        }
    }

    /// The soonest deadline.
    #[must_use]
    pub fn next(&self) -> Option<i64> {
        self.by_deadline.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    /// Takes one that has passed.
    pub fn take_due(&mut self, now_ms: i64) -> Option<Timer> {
        if self.next()? > now_ms {
            return None;
        }
        let (_, timer) = self.by_deadline.pop_first()?;
        self.by_timer.remove(&timer);
        Some(timer)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.by_timer.clear();
        self.by_deadline.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_deadline_replaces_the_former() {
        let mut timers = Timers::default();
        timers.set(Timer::Join, 10);
        timers.set(Timer::Sync, 20);
        timers.set(Timer::Join, 30);
        assert_eq!(timers.next(), Some(20));
        assert_eq!(timers.take_due(19), None);
        assert_eq!(timers.take_due(30), Some(Timer::Sync));
        assert_eq!(timers.take_due(30), Some(Timer::Join));
        assert_eq!(timers.next(), None);
    }
}
