//! Sessions and when they expire (ZooKeeper's `SessionTrackerImpl`).
//!
//! A session lies in the bucket of the tick at which it expires and moves on with every packet. The clock of sessions is fed by the owner and never jumps: what the keeper
//! slept longer than it meant to, no session grew older ([`SessionClock`]). After a restart every session has its full time-out again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hashbrown::HashMap;
use protocol::zookeeper::PASSWORD_BYTES;
use runtime::clock::Instant;

use crate::watch::ConnectionId;

/// Width of a bucket, and the most by which an expiry is late.
pub(crate) const TICK_MS: u64 = 200;

/// Longest sleep of a keeper with nothing to do: ZooKeeper's own default `tickTime`.
const SLEEP_MAX_MS: u64 = 2_000;

/// A sleep that ends later than this after its time says that the keeper stood still. Half a tick is then left to be slept, so that what came meanwhile is read first.
const LATE_MAX_MS: u64 = TICK_MS / 2;

/// Sessions there may be; further clients are turned away until some have ended.
pub(crate) const SESSIONS_MAX: usize = 1 << 20;

/// One session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) password: [u8; PASSWORD_BYTES],
    pub(crate) timeout_ms: i32,
    /// The connection that speaks for it now.
    pub(crate) connection: Option<ConnectionId>,
    /// Tick at which it expires.
    bucket: u64,
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_id: HashMap<i64, Session>,
    buckets: BTreeMap<u64, BTreeSet<i64>>,
    now_ms: u64,
    last_id: i64,
}

impl Sessions {
    /// A number for a new session: time in the middle, so that numbers of different runs differ; the top byte, ZooKeeper's server id, is 0.
    pub(crate) fn next_id(&mut self, wall_ms: i64) -> i64 {
        let of_time = (wall_ms << 24) as u64 >> 8;
        self.last_id = (self.last_id + 1).max(of_time as i64);
        self.last_id
    }

    /// Adds a session with its full time-out ahead.
    pub(crate) fn add(&mut self, id: i64, timeout_ms: i32, password: [u8; PASSWORD_BYTES]) {
        self.last_id = self.last_id.max(id);
        let bucket = self.bucket(timeout_ms);
        self.by_id.insert(id, Session { password, timeout_ms, connection: None, bucket });
        self.buckets.entry(bucket).or_default().insert(id);
    }

    pub(crate) fn get(&self, id: i64) -> Option<&Session> {
        self.by_id.get(&id)
    }

    pub(crate) fn remove(&mut self, id: i64) -> Option<Session> {
        let session = self.by_id.remove(&id)?;
        self.leave_bucket(id, session.bucket);
        Some(session)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&i64, &Session)> {
        self.by_id.iter()
    }

    /// Ticks at which sessions expire, with those.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u64, &BTreeSet<i64>)> {
        let now_ms = self.now_ms;
        self.buckets.iter().map(move |(bucket, ids)| ((bucket * TICK_MS).saturating_sub(now_ms), ids))
    }

    /// Gives the session to a connection, which may have negotiated another time-out. Returns the connection that had it.
    pub(crate) fn attach(&mut self, id: i64, connection: ConnectionId, timeout_ms: i32) -> Option<ConnectionId> {
        let session = self.by_id.get_mut(&id)?;
        session.timeout_ms = timeout_ms;
        let before = session.connection.replace(connection);
        self.touch(id);
        before
    }

    /// Notes that this connection no longer speaks for the session.
    pub(crate) fn detach(&mut self, id: i64, connection: ConnectionId) {
        if let Some(session) = self.by_id.get_mut(&id)
            && session.connection == Some(connection)
        {
            session.connection = None;
        }
    }

    /// A packet came: the time-out starts anew.
    pub(crate) fn touch(&mut self, id: i64) {
        let Some(timeout_ms) = self.by_id.get(&id).map(|session| session.timeout_ms) else { return };
        let bucket = self.bucket(timeout_ms);
        let Some(session) = self.by_id.get_mut(&id) else { return };
        let before = std::mem::replace(&mut session.bucket, bucket);
        if before != bucket {
            self.leave_bucket(id, before);
            self.buckets.entry(bucket).or_default().insert(id);
        }
    }

    /// How long nothing needs to be looked at: up to one tick before the next expiry. The last tick before it is always slept alone, so that packets that came while the keeper
    /// stood still are read before anybody is declared dead.
    pub(crate) fn sleep_ms(&self) -> u64 {
        let Some((bucket, _)) = self.buckets.first_key_value() else { return SLEEP_MAX_MS };
        (bucket * TICK_MS).saturating_sub(self.now_ms + TICK_MS).clamp(TICK_MS, SLEEP_MAX_MS)
    }

    /// Moves the clock on and gives the sessions whose time is over, oldest first. They stay until removed.
    pub(crate) fn advance(&mut self, elapsed_ms: u64) -> Vec<i64> {
        self.now_ms += elapsed_ms;
        let now = self.now_ms / TICK_MS;
        self.buckets.range(..=now).flat_map(|(_, ids)| ids.iter().copied()).collect()
    }

    fn bucket(&self, timeout_ms: i32) -> u64 {
        (self.now_ms + u64::from(timeout_ms.unsigned_abs())).div_ceil(TICK_MS)
    }

    fn leave_bucket(&mut self, id: i64, bucket: u64) {
        if let Some(ids) = self.buckets.get_mut(&bucket) {
            ids.remove(&id);
            if ids.is_empty() {
                self.buckets.remove(&bucket);
            }
        }
    }
}

/// What of the time that passed counts for sessions.
#[derive(Debug)]
pub(crate) struct SessionClock {
    /// Up to here it has been counted.
    counted: Instant,
    /// How long the keeper means to sleep from there on.
    planned_ms: u64,
}

impl SessionClock {
    pub(crate) fn new(now: Instant) -> SessionClock {
        SessionClock { counted: now, planned_ms: SLEEP_MAX_MS }
    }

    /// Whole milliseconds since the last call; less than were planned, where the keeper slept longer than it meant to.
    pub(crate) fn advance(&mut self, now: Instant) -> u64 {
        let passed_ms = u64::try_from(now.saturating_duration_since(self.counted).as_millis()).unwrap_or(u64::MAX);
        // The rest of a millisecond counts next time.
        self.counted += Duration::from_millis(passed_ms);
        let is_late = passed_ms > self.planned_ms.saturating_add(LATE_MAX_MS);
        if is_late { self.planned_ms.saturating_sub(LATE_MAX_MS) } else { passed_ms }
    }

    /// The keeper is about to sleep; returns until when.
    pub(crate) fn plan(&mut self, sleep_ms: u64) -> Instant {
        self.planned_ms = sleep_ms;
        self.counted + Duration::from_millis(sleep_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Sessions {
        let mut sessions = Sessions::default();
        sessions.add(1, 1000, [1; 16]);
        sessions.add(2, 2000, [2; 16]);
        sessions
    }

    #[test]
    fn a_session_expires_at_its_timeout_and_not_before() {
        let mut sessions = sessions();
        assert_eq!(sessions.advance(999), [] as [i64; 0]);
        assert_eq!(sessions.advance(1), [1]);
        assert_eq!(sessions.advance(0), [1], "it stays until removed");
        sessions.remove(1);
        assert_eq!(sessions.advance(1000), [2]);
    }

    #[test]
    fn a_packet_starts_the_timeout_anew() {
        let mut sessions = sessions();
        sessions.advance(900);
        sessions.touch(1);
        assert_eq!(sessions.advance(999), [] as [i64; 0]);
        assert_eq!(sessions.advance(101), [1, 2]);
    }

    #[test]
    fn only_the_connection_that_has_a_session_can_let_it_go() {
        let mut sessions = sessions();
        assert_eq!(sessions.attach(1, 10, 500), None);
        assert_eq!(sessions.attach(1, 11, 500), Some(10));
        sessions.detach(1, 10);
        assert_eq!(sessions.get(1).unwrap().connection, Some(11));
        sessions.detach(1, 11);
        assert_eq!(sessions.get(1).unwrap().connection, None);
        assert_eq!(sessions.advance(600), [1], "the new time-out holds");
    }

    #[test]
    fn ids_rise_even_when_the_clock_goes_back() {
        let mut sessions = Sessions::default();
        let first = sessions.next_id(1_800_000_000_000);
        assert!(first > 0);
        assert_eq!(first >> 56, 0);
        assert_eq!(sessions.next_id(1_700_000_000_000), first + 1);
    }

    #[test]
    fn an_idle_keeper_sleeps_until_a_tick_before_the_next_expiry() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.sleep_ms(), SLEEP_MAX_MS);
        sessions.add(1, 1000, [1; 16]);
        assert_eq!(sessions.sleep_ms(), 800);
        sessions.advance(800);
        assert_eq!(sessions.sleep_ms(), TICK_MS, "the last tick is slept alone");
        sessions.advance(199);
        assert_eq!(sessions.sleep_ms(), TICK_MS);
        sessions.add(2, 60_000, [2; 16]);
        sessions.remove(1);
        assert_eq!(sessions.sleep_ms(), SLEEP_MAX_MS);
    }

    #[test]
    fn no_session_grows_older_while_the_keeper_stands_still() {
        let start = runtime::Clock::real().now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut clock = SessionClock::new(start);
        assert_eq!(clock.plan(1_000), at(1_000));
        assert_eq!(clock.advance(at(400)), 400, "woken early by a message");
        clock.plan(1_000);
        assert_eq!(clock.advance(at(60_000)), 900, "it slept a minute instead of a second");
        clock.plan(200);
        assert_eq!(clock.advance(at(60_200) + Duration::from_micros(900)), 200);
        assert_eq!(clock.advance(at(60_202)), 2, "fractions add up");
    }
}
