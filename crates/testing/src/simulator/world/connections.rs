//! Connections in a world: who reaches whom, and what arrives.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use runtime::SimHost;
use runtime::sim_host::NetCall;
use runtime::sim_stream::SimStream;
use tokio::sync::oneshot;

use super::super::history::Violation;
use super::super::network::Node;
use super::super::plan::Mischief;
use super::super::streams::{BROKEN, Piece, Way};
use super::{Caller, Event, World};

/// How long a broker waits for another's answer.
const BROKER_WAIT: Duration = Duration::from_secs(10);
/// The port of ZooKeeper.
const ZOOKEEPER_PORT: u16 = 2181;
/// So many pieces of a client's connections in a thousand are altered, where a run does that.
const ALTERED_PERMILLE: u64 = 10;
/// After how long TCP sends again what a machine that is off has not taken.
const RETRANSMISSION: Duration = Duration::from_secs(1);
/// Between the moments at which the two ends of a connection hear that it was broken off, in ms.
const BREAK_MS: (u64, u64) = (0, 300);

impl World {
    /// Lets a host run until it waits.
    pub(super) fn run_host(&mut self, node: Node) -> Result<(), Violation> {
        if node < self.plan.brokers {
            return self.run(node);
        }
        match self.program_at(node) {
            Some(program) => self.run_program(program),
            None => Ok(()),
        }
    }

    /// A host, if it is in the same life still.
    fn host(&self, node: Node, life: Option<u64>) -> Option<SimHost> {
        if let Some(server) = self.servers.get(node) {
            let process = server.process.as_ref().filter(|_| life.is_none_or(|life| life == server.life))?;
            return Some(process.host.clone());
        }
        let program = &self.programs[self.program_at(node)?];
        program.host().filter(|_| life.is_none_or(|life| life == program.life))
    }

    pub(super) fn net_call(&mut self, node: Node, life: u64, call: NetCall) {
        match call {
            NetCall::Connect { to, port, limit, answer } => {
                let to = if port == ZOOKEEPER_PORT { self.zookeeper() } else { broker_of(&to) };
                let is_off = self.servers.get(to).is_some_and(|server| server.is_off);
                let is_reached = !is_off && !self.network.is_cut(node, to) && !self.network.is_cut(to, node);
                let takes = if is_reached { self.network.delay(&mut self.chance) * 2 } else { limit };
                self.after(takes, Event::Connect { node, life, to, answer, is_reached });
            }
            NetCall::Ask { to, message, answer } => {
                let call = self.next_call + 1;
                self.asking.insert(call, answer);
                self.call(Caller::Broker { broker: node, call }, node, to, Bytes::from(message), BROKER_WAIT);
            }
            NetCall::Send { connection, bytes } => {
                let bytes = self.altered(connection >> 1, bytes);
                self.send_piece(connection >> 1, way(connection), Piece::Bytes(Bytes::from(bytes)));
            }
            NetCall::Close { connection } => {
                self.send_piece(connection >> 1, way(connection), Piece::End);
                let is_zookeepers =
                    self.network.streams.get(connection >> 1).is_some_and(|open| open.end(1).node == self.zookeeper());
                if is_zookeepers {
                    self.network.streams.abandon(connection >> 1, 0, true);
                }
            }
        }
    }

    /// Turns a bit over, where the run is to show that this is noticed.
    fn altered(&mut self, stream: u64, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.plan.mischief != Mischief::AlterBytes || !self.is_busy {
            return bytes;
        }
        let is_clients =
            self.network.streams.get(stream).is_some_and(|open| self.program_at(open.end(0).node).is_some());
        if is_clients && self.chance.permille(ALTERED_PERMILLE) {
            let at = self.chance.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << self.chance.below(8);
        }
        bytes
    }

    pub(super) fn send_piece(&mut self, stream: u64, way: Way, piece: Piece) {
        let now = self.now();
        let sending = self.network.send(&mut self.chance, stream, way, piece, now);
        for (at, piece) in sending.arrivals {
            self.at(at, Event::Arrive(stream, way, piece));
        }
        if sending.breaks {
            let pause = self.chance.ms(BREAK_MS.0, BREAK_MS.1);
            self.after(pause, Event::Broken(stream, way.from()));
        }
    }

    /// Breaks a connection off: what is on its way is lost, and its ends hear of it, each when it does.
    pub fn break_stream(&mut self, stream: u64) {
        self.network.streams.break_off(stream);
        for end in [0, 1] {
            let pause = self.chance.ms(BREAK_MS.0, BREAK_MS.1);
            self.after(pause, Event::Broken(stream, end));
        }
    }

    /// Sends what cut links have held back and that may go on now.
    pub fn release_streams(&mut self) {
        for (stream, way, piece) in self.network.take_released() {
            self.send_piece(stream, way, piece);
        }
    }

    pub(super) fn connected(
        &mut self,
        node: Node,
        life: u64,
        to: Node,
        answer: oneshot::Sender<io::Result<SimStream>>,
        is_reached: bool,
    ) -> Result<(), Violation> {
        let Some(host) = self.host(node, Some(life)) else { return Ok(()) };
        let result = match is_reached {
            true => self.connect(node, &host, to),
            false => Err(io::ErrorKind::TimedOut.into()),
        };
        // Who asked may have given up by now.
        let _ = answer.send(result);
        if to != self.zookeeper() && is_reached {
            self.run_host(to)?;
        }
        self.run_host(node)
    }

    fn connect(&mut self, node: Node, host: &SimHost, to: Node) -> io::Result<SimStream> {
        let is_zookeepers = to == self.zookeeper();
        let window = if is_zookeepers { usize::MAX } else { self.network.weather.window_bytes };
        let server = match is_zookeepers {
            true => None,
            false => {
                let server = self.host(to, None).filter(|server| server.listens(super::super::plan::PORT));
                Some(server.ok_or(io::ErrorKind::ConnectionRefused)?)
            }
        };
        let mut near = [None, None];
        let stream = self.network.open(&mut self.chance, [node, to], |number, end| {
            let host = if end == 0 { Some(host) } else { server.as_ref() };
            let (stream, far) = host?.connection(number << 1 | end as u64, window);
            near[end] = Some(stream);
            Some(far)
        });
        let [made, accepted] = near;
        match (server, accepted) {
            (Some(server), Some(accepted)) => {
                let peer = std::net::SocketAddr::from(([10, 0, 0, node as u8], 1024 + (stream % 60_000) as u16));
                let _ = server.arrive(super::super::plan::PORT, accepted, peer);
            }
            _ => self.keeper.open(stream),
        }
        made.ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }

    pub(super) fn arrived(&mut self, number: u64, way: Way, piece: Piece) -> Result<(), Violation> {
        let Some(stream) = self.network.streams.get(number) else { return Ok(()) };
        if stream.is_lost(way) {
            return Ok(());
        }
        let (from, to) = (stream.end(way.from()), stream.end(way.to()));
        let (sender, receiver) = (from.node, to.node);
        if receiver == self.zookeeper() {
            match piece {
                Piece::Bytes(bytes) => self.keeper.receive(number, &bytes),
                Piece::End | Piece::Reset => {
                    self.keeper.close(number);
                    self.network.streams.over(number, way.to(), false);
                }
            }
            return self.hear_keeper();
        }
        let is_gone = to.far.as_ref().is_none_or(runtime::sim_stream::FarEnd::is_abandoned);
        if is_gone {
            // The kernel of a machine that is on answers for a program that is gone.
            let is_off = self.servers.get(receiver).is_some_and(|server| server.is_off);
            match piece {
                Piece::Bytes(_) if sender == self.zookeeper() => {}
                // Sent again and again, until somebody answers that he knows of no such connection.
                Piece::Bytes(_) if is_off => self.after(RETRANSMISSION, Event::Arrive(number, way, piece)),
                Piece::Bytes(_) => {
                    let delay = self.network.delay(&mut self.chance);
                    self.after(delay, Event::Broken(number, way.from()));
                }
                Piece::End | Piece::Reset => self.network.streams.over(number, way.to(), false),
            }
            return Ok(());
        }
        let (far, back) = (to.far.clone(), from.far.clone());
        let mut waited = false;
        if let Some(far) = far {
            match piece {
                Piece::Bytes(bytes) => {
                    far.deliver(&bytes);
                    waited = back.is_some_and(|back| back.took(bytes.len()));
                }
                Piece::End => {
                    far.end(None);
                    self.network.streams.over(number, way.to(), false);
                }
                Piece::Reset => {
                    far.end(Some(BROKEN));
                    self.network.streams.over(number, way.to(), true);
                }
            }
        }
        self.run_host(receiver)?;
        if waited { self.run_host(sender) } else { Ok(()) }
    }

    /// An end hears that its connection was broken off.
    pub(super) fn broken_off(&mut self, number: u64, end: usize) -> Result<(), Violation> {
        let Some(stream) = self.network.streams.get(number) else { return Ok(()) };
        let node = stream.end(end).node;
        if node == self.zookeeper() {
            self.keeper.close(number);
            self.network.streams.over(number, end, true);
            return self.hear_keeper();
        }
        if let Some(far) = stream.end(end).far.clone() {
            far.end(Some(BROKEN));
        }
        self.network.streams.over(number, end, true);
        self.run_host(node)
    }
}

/// The way on which this end of a connection sends.
fn way(connection: u64) -> Way {
    Way::of_end((connection & 1) as usize)
}

/// Brokers are named by their numbers.
fn broker_of(name: &str) -> Node {
    name.trim_start_matches('b').parse().unwrap_or_default()
}
