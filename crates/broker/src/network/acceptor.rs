//! Listeners: bind, accept, and the limits on how many connections there may be.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use runtime::clock::Seldom;
use runtime::net::{Listener, Stream};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::connection::{Ended, Limits, Service, serve};
use crate::config;
use crate::error::BrokerError;

/// Pause after a failed accept (out of descriptors above all), so that it does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener whose port is taken.
#[derive(Debug)]
pub struct BoundListener {
    /// As configured.
    pub config: config::Listener,
    /// As bound: port 0 is now a real one.
    pub address: SocketAddr,
    listener: Listener,
}

/// How many connections there may be.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// `max.connections`.
    pub total_max: usize,
    /// `max.connections.per.ip`.
    pub per_ip_max: usize,
    /// `max.connections.per.ip.overrides`.
    pub per_ip_overrides: HashMap<IpAddr, usize>,
}

/// From one word on failed accepts to the next.
const ACCEPT_WARNING_PAUSE: Duration = Duration::from_secs(30);

/// The acceptors of a broker, and its connections.
pub struct Acceptors {
    stop: watch::Sender<bool>,
    counts: ConnectionCounts,
}

/// How many connections there are and were. Cheap to clone; it outlives the acceptors.
#[derive(Debug, Clone, Default)]
pub struct ConnectionCounts(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    per_ip: HashMap<IpAddr, usize>,
    listeners: Vec<ListenerCounts>,
}

/// The connections of one listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerCounts {
    /// Its name.
    pub listener: String,
    /// Open now.
    pub open: usize,
    /// Accepted so far.
    pub accepted: u64,
    /// Turned away so far, because there were too many.
    pub turned_away: u64,
}

impl ConnectionCounts {
    /// Connections that are open now.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.lock().total
    }

    /// By listener, in the order of their numbers.
    #[must_use]
    pub fn by_listener(&self) -> Vec<ListenerCounts> {
        self.0.lock().listeners.clone()
    }
}

/// Takes the ports of all listeners.
///
/// # Errors
/// [`BrokerError::Bind`] for a port that is held by another program or a host that does not name an address of this machine.
pub async fn bind(listeners: &[config::Listener]) -> Result<Vec<BoundListener>, BrokerError> {
    let mut bound = Vec::new();
    for listener in listeners {
        let failed = |source| BrokerError::Bind {
            address: format!("{}:{}", listener.host, listener.port),
            port: listener.port,
            source,
        };
        let address = resolve(&listener.host, listener.port).await.map_err(failed)?;
        let socket = match Listener::bind(address) {
            // A machine without IPv6 still serves every interface it has.
            Err(_) if listener.host.is_empty() && address.is_ipv6() => {
                Listener::bind(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), listener.port)).map_err(failed)?
            }
            other => other.map_err(failed)?,
        };
        let address = socket.local_addr().map_err(failed)?;
        bound.push(BoundListener { config: listener.clone(), address, listener: socket });
    }
    Ok(bound)
}

async fn resolve(host: &str, port: u16) -> std::io::Result<SocketAddr> {
    if host.is_empty() {
        return Ok(SocketAddr::new(IpAddr::from([0u16; 8]), port));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    // `localhost` may name both; the tutorial's clients try 127.0.0.1 first.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
        .into_iter()
        .next()
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, format!("{host} has no address")))
}

impl Acceptors {
    /// Starts accepting on all listeners.
    #[must_use]
    pub fn start<S: Service>(
        service: &Arc<S>,
        listeners: Vec<BoundListener>,
        limits: &Limits,
        connections: &ConnectionLimits,
    ) -> Acceptors {
        let (stop, stopped) = watch::channel(false);
        let names = listeners.iter().map(|listener| listener.config.name.clone());
        let of = |listener| ListenerCounts { listener, ..ListenerCounts::default() };
        let counts =
            ConnectionCounts(Arc::new(Mutex::new(Counts { listeners: names.map(of).collect(), ..Counts::default() })));
        for (number, listener) in listeners.into_iter().enumerate() {
            runtime::spawn(accept_loop(
                service.clone(),
                number,
                listener,
                limits.clone(),
                connections.clone(),
                counts.clone(),
                stopped.clone(),
            ));
        }
        Acceptors { stop, counts }
    }

    /// How many connections there are and were.
    #[must_use]
    pub fn connections(&self) -> &ConnectionCounts {
        &self.counts
    }

    /// Closes every listener and connection.
    pub fn stop(&self) {
        // No receiver left means nothing is left to close.
        let _ = self.stop.send(true);
    }
}

async fn accept_loop<S: Service>(
    service: Arc<S>,
    number: usize,
    listener: BoundListener,
    limits: Limits,
    connections: ConnectionLimits,
    counts: ConnectionCounts,
    mut stopped: watch::Receiver<bool>,
) {
    info!(listener = %listener.config.name, address = %listener.address, "awaiting socket connections");
    let mut failing = Seldom::new(limits.clock, ACCEPT_WARNING_PAUSE);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopped.changed() => return,
            accepted = listener.listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if failing.is_due() {
                    warn!(%error, address = %listener.address, "cannot accept a connection");
                }
                limits.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = Place::take(&counts, number, peer.ip(), &connections) else {
            warn!(%peer, "too many connections; closing this one");
            continue;
        };
        let session = service.connected(number, peer);
        runtime::spawn(run_connection(service.clone(), session, stream, peer, limits.clone(), stopped.clone(), place));
    }
}

async fn run_connection<S: Service>(
    service: Arc<S>,
    session: S::Session,
    stream: Stream,
    peer: SocketAddr,
    limits: Limits,
    stopped: watch::Receiver<bool>,
    _place: Place,
) {
    match serve(service, session, stream, limits, stopped).await {
        Ok(()) => {}
        Err(Ended::Io(error)) => debug!(%peer, %error, "connection lost"),
        Err(ended) => warn!(%peer, "closing connection: {ended}"),
    }
}

/// One connection's place within the limits, free again when dropped.
struct Place {
    counts: ConnectionCounts,
    listener: usize,
    ip: IpAddr,
}

impl Place {
    fn take(counts: &ConnectionCounts, listener: usize, ip: IpAddr, limits: &ConnectionLimits) -> Option<Place> {
        let ip = ip.to_canonical();
        let per_ip_max = limits.per_ip_overrides.get(&ip).copied().unwrap_or(limits.per_ip_max);
        let mut held = counts.0.lock();
        if held.total >= limits.total_max || held.per_ip.get(&ip).copied().unwrap_or_default() >= per_ip_max {
            if let Some(counts) = held.listeners.get_mut(listener) {
                counts.turned_away += 1;
            }
            return None;
        }
        held.total += 1;
        if let Some(counts) = held.listeners.get_mut(listener) {
            counts.open += 1;
            counts.accepted += 1;
        }
        *held.per_ip.entry(ip).or_default() += 1;
        Some(Place { counts: counts.clone(), listener, ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.counts.0.lock();
        held.total -= 1;
        if let Some(counts) = held.listeners.get_mut(self.listener) {
            counts.open -= 1;
        }
        if let Some(count) = held.per_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                held.per_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_address_and_come_back() {
        let counts = ConnectionCounts::default();
        counts.0.lock().listeners.push(ListenerCounts::default());
        let home: IpAddr = "127.0.0.1".parse().unwrap();
        let away: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let limits = ConnectionLimits {
            total_max: 3,
            per_ip_max: 2,
            per_ip_overrides: HashMap::from([("10.0.0.1".parse().unwrap(), 1)]),
        };
        let first = Place::take(&counts, 0, home, &limits).unwrap();
        let _second = Place::take(&counts, 0, home, &limits).unwrap();
        assert!(Place::take(&counts, 0, home, &limits).is_none(), "two from one address");
        let _third = Place::take(&counts, 0, away, &limits).unwrap();
        drop(first);
        assert!(Place::take(&counts, 0, away, &limits).is_none(), "the override allows one");
        assert!(Place::take(&counts, 0, home, &limits).is_some());
        assert_eq!(counts.total(), 2, "the temporary place is free again");
        let told = ListenerCounts { listener: String::new(), open: 2, accepted: 4, turned_away: 2 };
        assert_eq!(counts.by_listener(), [told]);
    }
}
