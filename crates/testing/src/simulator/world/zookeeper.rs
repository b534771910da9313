//! ZooKeeper in a world: the connections of brokers, and what its tree says.

use std::time::Duration;

use broker::metadata::PartitionState;
use bytes::Bytes;
use client::zookeeper::paths;
use client::zookeeper::znodes::PartitionState as StateZnode;
use runtime::sim_host::NetCall;
use runtime::sim_stream::SimStream;
use tokio::sync::oneshot;

use super::super::clients::TOPIC;
use super::super::history::{Partition, Violation};
use super::super::network::{Piece, Way};
use super::{Caller, Event, World};

/// How long a broker waits for another's answer.
const BROKER_WAIT: Duration = Duration::from_secs(10);

impl World {
    pub(super) fn net_call(&mut self, broker: usize, life: u64, call: NetCall) {
        let zookeeper = self.zookeeper();
        match call {
            NetCall::Connect { limit, answer, .. } => {
                let is_reached = !self.network.is_cut(broker, zookeeper) && !self.network.is_cut(zookeeper, broker);
                let takes = if is_reached { self.network.delay(&mut self.chance) * 2 } else { limit };
                self.after(takes, Event::Connect(broker, life, answer, is_reached));
            }
            NetCall::Ask { to, message, answer } => {
                let call = self.next_call + 1;
                self.asking.insert(call, answer);
                self.call(Caller::Broker { broker, call }, broker, to, Bytes::from(message), BROKER_WAIT);
            }
            NetCall::Send { connection, bytes } => {
                self.send_piece(connection, Way::Up, Piece::Bytes(Bytes::from(bytes)));
            }
            NetCall::Close { connection } => {
                self.send_piece(connection, Way::Up, Piece::End);
                self.network.forget(connection);
            }
        }
    }

    pub(super) fn send_piece(&mut self, stream: u64, way: Way, piece: Piece) {
        let (now, zookeeper) = (self.now(), self.zookeeper());
        let arrives = self.network.send(&mut self.chance, zookeeper, stream, way, piece.clone(), now);
        if let Some(at) = arrives {
            let event = if way == Way::Up { Event::Up(stream, piece) } else { Event::Down(stream, piece) };
            self.at(at, event);
        }
    }

    /// Sends what cut links have held back and that may go on now.
    pub fn release_streams(&mut self) {
        let zookeeper = self.zookeeper();
        for (stream, way, piece) in self.network.take_released(zookeeper) {
            self.send_piece(stream, way, piece);
        }
    }

    pub(super) fn connected(
        &mut self,
        broker: usize,
        life: u64,
        answer: oneshot::Sender<std::io::Result<SimStream>>,
        is_reached: bool,
    ) -> Result<(), Violation> {
        let Some(host) = self.process(broker, life).map(|process| process.host.clone()) else { return Ok(()) };
        if is_reached {
            let mut near = None;
            let stream = self.network.open(broker, |number| {
                let (stream, far) = host.connection(number, usize::MAX);
                near = Some(stream);
                far
            });
            self.keeper.open(stream);
            if let Some(near) = near {
                // Who asked may have given up by now.
                let _ = answer.send(Ok(near));
            }
        } else {
            let _ = answer.send(Err(std::io::ErrorKind::TimedOut.into()));
        }
        self.run(broker)
    }

    pub(super) fn up(&mut self, stream: u64, piece: Piece) -> Result<(), Violation> {
        match piece {
            Piece::Bytes(bytes) => self.keeper.receive(stream, &bytes),
            Piece::End => self.keeper.close(stream),
        }
        self.hear_keeper()
    }

    pub(super) fn down(&mut self, stream: u64, piece: Piece) -> Result<(), Violation> {
        let Some(open) = self.network.stream(stream) else { return Ok(()) };
        let broker = open.node;
        match piece {
            Piece::Bytes(bytes) => open.far.deliver(&bytes),
            Piece::End => open.far.end(None),
        }
        self.run(broker)
    }

    /// Passes on what ZooKeeper says, and looks at what has changed in its tree.
    pub fn hear_keeper(&mut self) -> Result<(), Violation> {
        for sent in self.keeper.take_sent() {
            if !sent.bytes.is_empty() {
                self.send_piece(sent.connection, Way::Down, Piece::Bytes(sent.bytes));
            }
            if sent.closes {
                self.send_piece(sent.connection, Way::Down, Piece::End);
            }
        }
        for partition in 0..self.plan.partitions as i32 {
            let Some(state) = self.state_of(partition) else { continue };
            let seen = self.seen_states[partition as usize].replace(state.zk_version);
            if seen != Some(state.zk_version) {
                self.say(|| {
                    let StateZnode { leader, leader_epoch, isr, .. } = &state.znode;
                    format!(
                        "partition {partition}: leader {leader} of epoch {leader_epoch}, ISR {isr:?}, version {}",
                        state.zk_version
                    )
                });
                self.history.elected(partition, state.leader, state.leader_epoch)?;
            }
        }
        Ok(())
    }

    /// What the tree says of a partition.
    #[must_use]
    pub fn state_of(&self, partition: Partition) -> Option<PartitionState> {
        let path = paths::partition_state(TOPIC, partition);
        let (data, stat) = self.keeper.get(&path)?;
        let znode = StateZnode::parse(&path, &data).ok()?;
        Some(PartitionState { znode, zk_version: stat.version })
    }
}
