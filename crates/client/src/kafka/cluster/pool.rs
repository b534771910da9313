//! The open connections of a [`super::Cluster`], one per broker and lane.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use runtime::clock::Instant;
use runtime::{Clock, Random};

use super::super::backoff::Backoff;
use super::super::config::{ClientConfig, HostPort};
use super::super::connection::Connection;
use super::super::error::{ClientError, Result};
use super::super::versions::{OldBroker, Source};
use super::Lane;

/// Brokers remembered at most; beyond it the memory starts anew. Real clusters stay far below.
const SLOTS_MAX: usize = 10_000;

/// How long a broker without ApiVersions is believed to be old: it may have been upgraded since (librdkafka `api.version.fallback.ms`).
const OLD_BROKER_BELIEVED_FOR: std::time::Duration = std::time::Duration::from_secs(20 * 60);

pub(super) struct Pool {
    clock: Clock,
    random: Random,
    slots: Mutex<BTreeMap<(i32, Lane), Arc<Slot>>>,
    /// Servers found to be old, and when.
    old: Mutex<HashMap<HostPort, (OldBroker, Instant)>>,
}

#[derive(Default)]
struct Slot {
    open: Mutex<Option<Connection>>,
    /// Held by the one who connects; holds what it learned from failures.
    connecting: tokio::sync::Mutex<Failures>,
}

#[derive(Default)]
struct Failures {
    last: Option<(Instant, ClientError)>,
    backoff: Option<Backoff>,
}

impl Pool {
    pub(super) fn new(clock: Clock, random: Random) -> Pool {
        Pool { clock, random, slots: Mutex::default(), old: Mutex::new(HashMap::new()) }
    }

    /// The connection if one is open to this address.
    pub(super) fn open(&self, node: i32, lane: Lane, address: &HostPort) -> Option<Connection> {
        let slot = self.slots.lock().get(&(node, lane))?.clone();
        slot.usable(address)
    }

    /// The open connection, or a new one. A broker that refused a moment ago is not asked again before its pause is over.
    pub(super) async fn get(
        &self,
        node: i32,
        lane: Lane,
        address: &HostPort,
        config: &ClientConfig,
    ) -> Result<Connection> {
        let slot = self.slot(node, lane);
        if let Some(open) = slot.usable(address) {
            return Ok(open);
        }
        let mut failures = slot.connecting.lock().await;
        if let Some(open) = slot.usable(address) {
            return Ok(open);
        }
        if let Some((until, error)) = &failures.last
            && self.clock.now() < *until
        {
            return Err(error.clone());
        }
        match Connection::connect(node, address, config, self.known_old(address), self.clock).await {
            Ok(connection) => {
                *failures = Failures::default();
                if let Source::Table(release) = connection.versions().source() {
                    self.remember_old(address, release);
                }
                *slot.open.lock() = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                // Kafka's own clients warn once per attempt; the pause bounds how often.
                tracing::warn!("{error}");
                let pause = failures
                    .backoff
                    .get_or_insert_with(|| {
                        Backoff::new(config.reconnect_backoff, config.reconnect_backoff_max, self.random)
                    })
                    .next();
                failures.last = Some((self.clock.now() + pause, error.clone()));
                Err(error)
            }
        }
    }

    pub(super) fn close(&self) {
        for slot in std::mem::take(&mut *self.slots.lock()).into_values() {
            if let Some(connection) = slot.open.lock().take() {
                connection.close();
            }
        }
    }

    pub(super) fn close_lane(&self, lane: Lane) {
        self.slots.lock().retain(|(_, other), slot| {
            if *other == lane
                && let Some(connection) = slot.open.lock().take()
            {
                connection.close();
            }
            *other != lane
        });
    }

    fn slot(&self, node: i32, lane: Lane) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        if slots.len() >= SLOTS_MAX {
            slots.clear();
        }
        slots.entry((node, lane)).or_default().clone()
    }

    fn known_old(&self, address: &HostPort) -> Option<OldBroker> {
        let old = self.old.lock();
        let (release, since) = old.get(address)?;
        (self.clock.now().saturating_duration_since(*since) < OLD_BROKER_BELIEVED_FOR).then_some(*release)
    }

    fn remember_old(&self, address: &HostPort, release: OldBroker) {
        let mut old = self.old.lock();
        if old.len() >= SLOTS_MAX {
            old.clear();
        }
        // The time of the discovery stays: only a new one proves it anew.
        let now = self.clock.now();
        let entry = old.entry(address.clone()).or_insert((release, now));
        if now.saturating_duration_since(entry.1) >= OLD_BROKER_BELIEVED_FOR {
            *entry = (release, now);
        }
    }
}

impl Slot {
    /// The open connection, unless the broker has moved to another address since.
    fn usable(&self, address: &HostPort) -> Option<Connection> {
        let mut open = self.open.lock();
        match &*open {
            Some(connection) if !connection.is_closed() && connection.address() == address => Some(connection.clone()),
            Some(_) => {
                *open = None;
                None
            }
            None => None,
        }
    }
}
