//! The host of a simulated world that the current thread plays at the moment: where its connections go, who listens, and that it has no threads.
//!
//! A simulation runs all hosts of its world on one thread, one after the other. While it runs one, [`SimHost::enter`] says so: then [`crate::net::Stream::connect`] asks the
//! simulation for a connection, [`crate::net::Listener::bind`] opens a port of the host, and [`crate::spawn_blocking`] runs its call at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::sim_stream::{FarEnd, SimStream, lock, wake};

thread_local! {
    static CURRENT: RefCell<Option<SimHost>> = const { RefCell::new(None) };
}

/// What a host asks of its network.
#[derive(Debug)]
pub enum NetCall {
    /// A connection, within `limit`.
    Connect {
        /// Name of the other host.
        to: String,
        /// Its port.
        port: u16,
        /// How long the caller waits.
        limit: Duration,
        /// Where the answer goes.
        answer: oneshot::Sender<io::Result<SimStream>>,
    },
    /// A message to another host by its number, and its answer: for protocols that the simulation moves as messages and not as streams.
    Ask {
        /// The other host.
        to: usize,
        /// The message.
        message: Vec<u8>,
        /// Where the answer goes; none where the other host hangs up or does not answer.
        answer: oneshot::Sender<Option<Vec<u8>>>,
    },
    /// Bytes on a connection.
    Send {
        /// The connection.
        connection: u64,
        /// What is sent.
        bytes: Vec<u8>,
    },
    /// This side of a connection says no more.
    Close {
        /// The connection.
        connection: u64,
    },
}

impl NetCall {
    fn order(&self) -> (u64, &str) {
        match self {
            NetCall::Connect { to, .. } => (0, to),
            NetCall::Ask { .. } => (0, ""),
            NetCall::Send { connection, .. } | NetCall::Close { connection } => (*connection, ""),
        }
    }
}

/// One host of a simulated world. Copies are the same host.
#[derive(Debug, Clone)]
pub struct SimHost {
    number: usize,
    calls: Arc<Mutex<Vec<NetCall>>>,
    listening: Arc<Mutex<BTreeMap<u16, Arc<Mutex<Backlog>>>>>,
    speaks_in_streams: bool,
}

/// Ends [`SimHost::enter`].
#[derive(Debug)]
pub struct Entered(Option<SimHost>);

/// A port on which a host listens, until it is dropped.
#[derive(Debug)]
pub struct SimListener {
    host: SimHost,
    address: SocketAddr,
    backlog: Arc<Mutex<Backlog>>,
}

/// Connections that nobody has accepted yet.
#[derive(Debug, Default)]
struct Backlog {
    waiting: VecDeque<(SimStream, SocketAddr)>,
    waker: Option<Waker>,
}

impl SimHost {
    /// A host whose Kafka requests the simulation moves as messages ([`SimHost::ask`]).
    #[must_use]
    pub fn new(number: usize) -> SimHost {
        SimHost { number, calls: Arc::default(), listening: Arc::default(), speaks_in_streams: false }
    }

    /// A host that says all it says on connections of its own.
    #[must_use]
    pub fn with_streams(number: usize) -> SimHost {
        SimHost { speaks_in_streams: true, ..SimHost::new(number) }
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// Whether it was made by [`SimHost::with_streams`].
    #[must_use]
    pub fn speaks_in_streams(&self) -> bool {
        self.speaks_in_streams
    }

    /// Makes it the host that this thread plays, until what comes back is dropped.
    #[must_use]
    pub fn enter(&self) -> Entered {
        Entered(CURRENT.with(|current| current.borrow_mut().replace(self.clone())))
    }

    /// What it has asked of its network since the last call. What was asked at one moment on several connections comes in the order of their numbers: those who watch one
    /// value are woken by tokio in an order that no seed decides.
    #[must_use]
    pub fn take_calls(&self) -> Vec<NetCall> {
        let mut calls = std::mem::take(&mut *lock(&self.calls));
        if self.speaks_in_streams {
            calls.sort_by(|one, other| one.order().cmp(&other.order()));
        }
        calls
    }

    /// Both ends of a connection of this host, of which at most `window` bytes are on their way at a time: more waits until [`FarEnd::took`] makes room.
    #[must_use]
    pub fn connection(&self, connection: u64, window: usize) -> (SimStream, FarEnd) {
        SimStream::new(self.clone(), connection, window)
    }

    /// Brings a connection to a port, from `peer`. `false` where nobody listens there.
    #[must_use]
    pub fn arrive(&self, port: u16, stream: SimStream, peer: SocketAddr) -> bool {
        let Some(backlog) = lock(&self.listening).get(&port).cloned() else { return false };
        stream.set_peer(peer);
        let waker = {
            let mut backlog = lock(&backlog);
            backlog.waiting.push_back((stream, peer));
            backlog.waker.take()
        };
        wake(waker);
        true
    }

    /// Whether somebody listens on a port.
    #[must_use]
    pub fn listens(&self, port: u16) -> bool {
        lock(&self.listening).contains_key(&port)
    }

    /// The host that this thread plays, if it plays one.
    #[must_use]
    pub fn current() -> Option<SimHost> {
        CURRENT.with(|current| current.borrow().clone())
    }

    pub(crate) fn is_played() -> bool {
        CURRENT.with(|current| current.borrow().is_some())
    }

    pub(crate) fn listen(&self, address: SocketAddr) -> io::Result<SimListener> {
        let backlog: Arc<Mutex<Backlog>> = Arc::default();
        let mut listening = lock(&self.listening);
        if listening.contains_key(&address.port()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        listening.insert(address.port(), backlog.clone());
        Ok(SimListener { host: self.clone(), address, backlog })
    }

    pub(crate) async fn connect(&self, to: &str, port: u16, limit: Duration) -> io::Result<SimStream> {
        let (answer, answered) = oneshot::channel();
        self.call(NetCall::Connect { to: to.to_owned(), port, limit, answer });
        answered.await.unwrap_or_else(|_| Err(io::ErrorKind::ConnectionRefused.into()))
    }

    /// Sends a message to another host and waits for its answer; none where there is none.
    pub async fn ask(&self, to: usize, message: Vec<u8>) -> Option<Vec<u8>> {
        let (answer, answered) = oneshot::channel();
        self.call(NetCall::Ask { to, message, answer });
        answered.await.ok().flatten()
    }

    pub(crate) fn call(&self, call: NetCall) {
        lock(&self.calls).push(call);
    }
}

impl SimListener {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<(SimStream, SocketAddr)> {
        let mut backlog = lock(&self.backlog);
        match backlog.waiting.pop_front() {
            Some(came) => Poll::Ready(came),
            None => {
                backlog.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        lock(&self.host.listening).remove(&self.address.port());
        // Connections that nobody accepted close as they go, outside the lock.
        let left = std::mem::take(&mut *lock(&self.backlog));
        drop(left);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|current| *current.borrow_mut() = self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::{Listener, Stream};

    #[tokio::test]
    async fn a_connection_goes_where_the_simulation_says() {
        let host = SimHost::new(3);
        let entered = host.enter();
        let asking = tokio::spawn(async { Stream::connect("keeper", 2181, Duration::from_secs(1)).await });
        tokio::task::yield_now().await;
        let Some(NetCall::Connect { to, port, answer, .. }) = host.take_calls().pop() else { panic!() };
        assert_eq!((to.as_str(), port), ("keeper", 2181));
        let (stream, far) = host.connection(9, usize::MAX);
        answer.send(Ok(stream)).unwrap();
        let (mut reader, mut writer) = asking.await.unwrap().unwrap().split();
        writer.write_all(b"ruok").await.unwrap();
        far.deliver(b"im");
        far.deliver(b"ok");
        far.end(None);
        let mut heard = String::new();
        reader.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "imok");
        drop((reader, writer));
        let calls = host.take_calls();
        assert!(
            matches!(&calls[..], [NetCall::Send { connection: 9, bytes }, NetCall::Close { connection: 9 }] if bytes == b"ruok")
        );
        drop(entered);
        assert!(!SimHost::is_played());
    }

    #[tokio::test]
    async fn a_host_accepts_what_arrives_at_a_port_it_listens_on() {
        let (server, client) = (SimHost::with_streams(0), SimHost::with_streams(1));
        let peer: SocketAddr = "10.0.0.2:7".parse().unwrap();
        let entered = server.enter();
        let address: SocketAddr = "0.0.0.0:9092".parse().unwrap();
        let listener = Listener::bind(address).unwrap();
        assert_eq!(Listener::bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(entered);
        assert!(!server.arrive(9093, client.connection(1, 10).0, peer));
        assert!(server.arrive(9092, server.connection(2, 10).0, peer));
        let (stream, from) = listener.accept().await.unwrap();
        assert_eq!((from, stream.peer_addr().unwrap()), (peer, peer));
        drop(listener);
        assert!(!server.listens(9092));
    }

    #[tokio::test]
    async fn calls_that_block_are_done_at_once_by_a_host() {
        let here = std::thread::current().id();
        let entered = SimHost::new(0).enter();
        let there = crate::spawn_blocking(|| std::thread::current().id()).await.unwrap();
        assert_eq!(here, there);
        drop(entered);
        assert_ne!(here, crate::spawn_blocking(|| std::thread::current().id()).await.unwrap());
    }

    #[test]
    fn a_host_runs_until_none_of_its_tasks_can_go_on() {
        let runtime = crate::spawn::simulated().unwrap();
        let (to, mut from) = tokio::sync::mpsc::channel::<u32>(1);
        let (back, mut answers) = tokio::sync::mpsc::channel::<u32>(1);
        runtime.spawn(async move {
            while let Some(number) = from.recv().await {
                back.send(number + 1).await.unwrap();
            }
        });
        let count = Arc::new(Mutex::new(0));
        let counted = count.clone();
        runtime.spawn(async move {
            for number in 0..1_000 {
                to.send(number).await.unwrap();
                *counted.lock().unwrap() = answers.recv().await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        crate::spawn::run_until_idle(&runtime);
        assert_eq!(*count.lock().unwrap(), 1_000);
    }
}
