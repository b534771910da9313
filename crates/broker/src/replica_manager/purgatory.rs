//! Requests that wait for a partition: fetches for bytes, produce requests for acks.
//!
//! A waiting request holds a [`Ticket`] and leaves a weak copy with each partition it waits for; the partition calls once, and the request looks again. The time limit of
//! a wait is tokio's timer wheel. An idle consumer costs no CPU: nothing polls.
//!
//! A follower waits for a thousand partitions again and again, so it leaves no tickets: its session stays known to them ([`Watchers`]), and they call there ([`News`]).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Below this many waiters nobody looks for those that are gone.
const SWEEP_MIN: usize = 32;

/// What a waiting request holds.
#[derive(Debug, Default)]
pub struct Ticket {
    called: Notify,
    /// Bytes that must still arrive before looking again is worth it.
    missing_bytes: AtomicI64,
}

impl Ticket {
    /// A ticket that is called when so many bytes have come, over all partitions it is left with.
    #[must_use]
    pub fn new(missing_bytes: i64) -> Arc<Ticket> {
        Arc::new(Ticket { called: Notify::new(), missing_bytes: AtomicI64::new(missing_bytes) })
    }

    /// Waits for the call. One that came before is not lost.
    pub async fn called(&self) {
        self.called.notified().await;
    }

    fn bytes_came(&self, bytes: i64) -> bool {
        let missing = self.missing_bytes.fetch_sub(bytes, Ordering::AcqRel) - bytes;
        if missing <= 0 {
            self.called.notify_one();
        }
        missing <= 0
    }
}

/// Who waits for one partition.
#[derive(Debug, Default)]
pub struct Waiters {
    tickets: Mutex<Tickets>,
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Tickets {
    waiting: Vec<Weak<Ticket>>,
    sweep_at: usize,
}

impl Waiters {
    /// Leaves a ticket here.
    pub fn add(&self, ticket: &Arc<Ticket>) {
        let mut tickets = self.tickets.lock();
        if tickets.waiting.len() >= tickets.sweep_at.max(SWEEP_MIN) {
            tickets.waiting.retain(|waiting| waiting.strong_count() > 0);
            tickets.sweep_at = tickets.waiting.len() * 2;
        }
        tickets.waiting.push(Arc::downgrade(ticket));
        self.count.store(tickets.waiting.len(), Ordering::Release);
    }

    /// So many bytes came: calls those who have enough now, and forgets them.
    pub fn bytes_came(&self, bytes: usize) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut tickets = self.tickets.lock();
        tickets.waiting.retain(|waiting| waiting.upgrade().is_some_and(|ticket| !ticket.bytes_came(bytes)));
        self.count.store(tickets.waiting.len(), Ordering::Release);
    }

    /// Something changed that everybody must look at: calls all, and forgets them.
    pub fn call_all(&self) {
        let waiting = {
            let mut tickets = self.tickets.lock();
            self.count.store(0, Ordering::Release);
            std::mem::take(&mut tickets.waiting)
        };
        for ticket in waiting.iter().filter_map(Weak::upgrade) {
            ticket.called.notify_one();
        }
    }
}

/// Where the partitions of a follower's fetch session call when they have something for it: their numbers in the session, each once, and the fetch that waits.
#[derive(Debug, Default)]
pub struct News {
    called: Mutex<BTreeSet<usize>>,
    waiting: Notify,
}

impl News {
    /// A partition has news, which is worth an answer at once where `urgent`, and else goes with the next.
    pub fn call(&self, number: usize, urgent: bool) {
        self.called.lock().insert(number);
        if urgent {
            self.waiting.notify_one();
        }
    }

    /// Who called since this was asked last.
    pub fn take(&self) -> BTreeSet<usize> {
        std::mem::take(&mut *self.called.lock())
    }

    /// Waits for an urgent call. One that came before is not lost.
    pub async fn called(&self) {
        self.waiting.notified().await;
    }
}

/// The sessions that watch one partition.
#[derive(Debug, Default)]
pub struct Watchers {
    sessions: Mutex<Vec<(Weak<News>, usize)>>,
}

impl Watchers {
    /// Has the partition call there from now on, under this number.
    pub fn add(&self, news: &Arc<News>, number: usize) {
        let mut sessions = self.sessions.lock();
        match sessions.iter_mut().find(|(known, _)| std::ptr::eq(known.as_ptr(), Arc::as_ptr(news))) {
            Some((_, known)) => *known = number,
            None => {
                sessions.retain(|(known, _)| known.strong_count() > 0);
                sessions.push((Arc::downgrade(news), number));
            }
        }
    }

    /// Calls all.
    pub fn call(&self, urgent: bool) {
        for (news, number) in &*self.sessions.lock() {
            if let Some(news) = news.upgrade() {
                news.call(*number, urgent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ticket_is_called_when_enough_has_come() {
        let (one, two) = (Waiters::default(), Waiters::default());
        let ticket = Ticket::new(10);
        one.add(&ticket);
        two.add(&ticket);
        one.bytes_came(4);
        assert_eq!(one.count.load(Ordering::Relaxed), 1);
        two.bytes_came(6);
        ticket.called().await;
        assert_eq!(two.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn tickets_that_were_given_up_do_not_pile_up() {
        let waiters = Waiters::default();
        for _ in 0..10_000 {
            waiters.add(&Ticket::new(1));
        }
        assert!(waiters.tickets.lock().waiting.len() <= SWEEP_MIN + 1);
    }
}
