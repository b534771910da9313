//! The keeper for a simulator: the owner's tree, sessions and watches behind byte streams that the simulator moves. No socket, no thread, no disk: it is never lost,
//! so a turn's replies leave at once.
//!
//! What is always true: what leaves is ordered by connection, so that the same calls give the same history.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use protocol::zookeeper::{
    Acl, ConnectRequest, CreateMode, CreateRequest, Record, SetDataRequest, Stat, frame_length, path,
};
use runtime::{Clock, Random};
use tokio::sync::mpsc;

use crate::acl::Identity;
use crate::config::KeeperConfig;
use crate::outbox::{Outbox, Outgoing};
use crate::prepare::prepare;
use crate::processor::{Command, Processor};
use crate::recovery::State;
use crate::request::{Request, Write};
use crate::session::{SessionClock, Sessions};
use crate::tree::Tree;

/// The simulator's own address: from here it looks at the tree and writes what a tool would.
const SIMULATOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A keeper without a machine around it.
pub struct SimulatedKeeper {
    processor: Processor,
    clock: Clock,
    sessions: SessionClock,
    connections: BTreeMap<u64, Connection>,
}

struct Connection {
    input: BytesMut,
    /// The handshake is done.
    greeted: bool,
    outgoing: mpsc::UnboundedReceiver<Outgoing>,
}

/// What a connection is sent.
#[derive(Debug)]
pub struct Sent {
    /// The connection.
    pub connection: u64,
    /// Whole frames.
    pub bytes: Bytes,
    /// Whether the keeper closes the connection behind them.
    pub closes: bool,
}

impl SimulatedKeeper {
    /// A keeper with an empty tree, whose sessions may be as short as `session_timeout_min_ms`.
    #[must_use]
    pub fn new(clock: Clock, random: Random, session_timeout_min_ms: i32) -> SimulatedKeeper {
        let config =
            KeeperConfig { min_session_timeout_ms: Some(session_timeout_min_ms), ..KeeperConfig::new("nowhere") };
        let state = State { tree: Tree::new(), sessions: Sessions::default(), zxid: 0 };
        let mut processor = Processor::new(Arc::new(config), clock, random, state);
        processor.room.bytes = usize::MAX;
        SimulatedKeeper { processor, clock, sessions: SessionClock::new(clock.now()), connections: BTreeMap::new() }
    }

    /// A client has connected.
    pub fn open(&mut self, connection: u64) {
        let (outbox, outgoing) = Outbox::new();
        let opened = Command::Opened { connection, peer: SIMULATOR, outbox: Arc::new(outbox) };
        self.processor.handle(opened);
        self.connections.insert(connection, Connection { input: BytesMut::new(), greeted: false, outgoing });
    }

    /// Bytes of a client have arrived. A client that breaks the protocol is cut off.
    pub fn receive(&mut self, connection: u64, bytes: &[u8]) {
        self.pass_time();
        let Some(open) = self.connections.get_mut(&connection) else { return };
        open.input.extend_from_slice(bytes);
        let mut frames = Vec::new();
        let frame_bytes_max = self.processor.config.frame_bytes_max;
        while let Some(prefix) = open.input.first_chunk::<4>() {
            let Ok(length) = frame_length(*prefix, frame_bytes_max) else { return self.close(connection) };
            if open.input.len() < 4 + length {
                break;
            }
            open.input.advance(4);
            frames.push(open.input.split_to(length).freeze());
        }
        for frame in frames {
            let Some(command) = self.command(connection, frame) else { return self.close(connection) };
            self.processor.handle(command);
        }
    }

    fn command(&mut self, connection: u64, frame: Bytes) -> Option<Command> {
        let open = self.connections.get_mut(&connection)?;
        if !open.greeted {
            open.greeted = true;
            return Some(Command::Connect { connection, request: ConnectRequest::from_body(frame).ok()? });
        }
        let (header, request) = Request::read(frame).ok()?;
        Some(Command::Request { connection, header, request, at: self.clock.now() })
    }

    /// A client has closed its connection, or the connection broke.
    pub fn close(&mut self, connection: u64) {
        self.processor.handle(Command::Closed { connection });
    }

    /// Has sessions expire whose time is over. Gives after how many ms it wants to be called again.
    pub fn pass_time(&mut self) -> u64 {
        let elapsed = self.sessions.advance(self.clock.now());
        self.processor.expire_sessions(elapsed);
        let sleep_ms = self.processor.sessions.sleep_ms();
        self.sessions.plan(sleep_ms);
        sleep_ms
    }

    /// Ends a session before its time.
    pub fn expire(&mut self, session: i64) {
        if self.processor.sessions.get(session).is_some() {
            self.processor.end_session(session);
        }
    }

    /// What has been said since the last call, by connection.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        for delivery in self.processor.end_turn().deliveries {
            delivery.deliver();
        }
        self.processor.log.forget();
        let mut sent = Vec::new();
        let mut closed = Vec::new();
        for (number, connection) in &mut self.connections {
            let mut bytes = BytesMut::new();
            let mut closes = false;
            while let Ok(outgoing) = connection.outgoing.try_recv() {
                match outgoing {
                    Outgoing::Bytes(more) => bytes.extend_from_slice(&more),
                    Outgoing::Close => closes = true,
                }
            }
            if closes {
                closed.push(*number);
            }
            if closes || !bytes.is_empty() {
                sent.push(Sent { connection: *number, bytes: bytes.freeze(), closes });
            }
        }
        for number in closed {
            self.connections.remove(&number);
        }
        sent
    }

    /// Sessions that are open, by number.
    #[must_use]
    pub fn sessions(&self) -> Vec<i64> {
        let mut sessions: Vec<i64> = self.processor.sessions.iter().map(|(id, _)| *id).collect();
        sessions.sort_unstable();
        sessions
    }

    /// Number of the last change of the tree or of a session.
    #[must_use]
    pub fn zxid(&self) -> i64 {
        self.processor.zxid
    }

    /// A znode's data and what it is.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<(Bytes, Stat)> {
        let node = self.processor.tree.get(path)?;
        Some((node.data.clone().unwrap_or_default(), node.stat()))
    }

    /// Writes a znode as a tool would: makes it, with the parents it lacks, or replaces its data.
    ///
    /// # Panics
    /// Where the tree refuses: the simulator made a mistake.
    pub fn put(&mut self, at: &str, data: impl Into<Bytes>) {
        if let Some(parent) = path::parent(at).filter(|parent| self.processor.tree.get(parent).is_none()) {
            self.put(parent, Bytes::new());
        }
        let (path, data) = (at.to_owned(), Some(data.into()));
        let write = match self.processor.tree.get(at) {
            Some(_) => Write::SetData(SetDataRequest { path, data, version: -1 }),
            None => {
                let flags = CreateMode::Persistent.as_i32();
                let request = CreateRequest { path, data, acl: Acl::open(), flags };
                Write::Create { request, ttl_ms: None, wants_stat: false }
            }
        };
        let who = Identity::of_address(SIMULATOR.ip(), true);
        let op = prepare(&self.processor.tree, &who, 0, &write).expect("the simulator writes what may be written");
        self.processor.commit(0, vec![op]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::zookeeper::{ConnectResponse, frame};
    use runtime::sim_time::{SimRandom, SimTime};

    use super::*;

    #[test]
    fn a_session_that_falls_silent_expires_and_takes_its_nodes_along() {
        let time = SimTime::begin();
        let mut keeper = SimulatedKeeper::new(Clock::Sim(time.clock(0, 0)), Random::Sim(SimRandom::new(1)), 1_000);
        keeper.open(7);
        let mut hello = BytesMut::new();
        let request =
            ConnectRequest { timeout_ms: 3_000, password: Some(Bytes::from_static(&[0; 16])), ..Default::default() };
        frame(&mut hello, |out| request.write(out));
        // Bytes come as the network brings them.
        keeper.receive(7, &hello[..5]);
        assert!(keeper.take_sent().is_empty());
        keeper.receive(7, &hello[5..]);
        let sent = keeper.take_sent();
        let answer = ConnectResponse::from_body(sent[0].bytes.slice(4..)).unwrap();
        assert_eq!(keeper.sessions(), [answer.session_id]);
        keeper.put("/a/b", "x");
        assert_eq!(keeper.get("/a/b").unwrap().0, "x");
        for _ in 0..20 {
            let sleep_ms = keeper.pass_time();
            time.advance(time.now() + Duration::from_millis(sleep_ms));
        }
        assert!(keeper.sessions().is_empty());
        let sent = keeper.take_sent();
        assert!(sent.iter().any(|sent| sent.connection == 7 && sent.closes));
    }
}
