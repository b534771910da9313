//! Sessions and when they expire (ZooKeeper's `SessionTrackerImpl`).
//!
//! A session lies in the bucket of the tick at which it expires and moves on with every packet. The clock of sessions is fed by the owner's ticks and never jumps:
//! while the keeper itself stood still, no session grew older. After a restart every session has its full time-out again.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use protocol::zookeeper::PASSWORD_BYTES;

use crate::watch::ConnectionId;

/// Width of a bucket, and the most by which an expiry is late.
pub(crate) const TICK_MS: u64 = 200;

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
}
