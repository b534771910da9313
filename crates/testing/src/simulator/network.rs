//! The network between brokers, clients and ZooKeeper: late, out of order, twice, never, and cut in one direction or in both.
//!
//! Requests and answers of Kafka's protocol are messages here, each on its own: later than TCP would allow, a message overtakes another or comes twice, which is what retries on
//! several connections look like to a broker. ZooKeeper's connections are streams: bytes of one direction come in order, and what a cut link holds back comes when it heals.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use runtime::sim_stream::FarEnd;

use super::chance::Chance;

/// A host: brokers from 0 on, ZooKeeper behind them, then the clients.
pub type Node = usize;

/// How bad the network of a run is.
#[derive(Debug, Clone)]
pub struct Weather {
    /// Usual delay of a message, in microseconds.
    delay_us: (u64, u64),
    /// So many messages in a thousand take up to `late_ms`.
    late_permille: u64,
    late_ms: u64,
    lost_permille: u64,
    twice_permille: u64,
}

impl Weather {
    /// What a seed's run has: from a quiet rack to VOPR's worst (a third of all messages lost is left to partitions).
    pub fn of(chance: &mut Chance) -> Weather {
        let fastest = chance.between(50, 1_000);
        Weather {
            delay_us: (fastest, fastest * chance.between(2, 10)),
            late_permille: chance.one_of(&[0, 5, 20, 60]),
            late_ms: chance.between(20, 400),
            lost_permille: chance.one_of(&[0, 0, 5, 30, 100]),
            twice_permille: chance.one_of(&[0, 0, 10, 50]),
        }
    }

    /// No message is late, lost or doubled.
    #[must_use]
    pub fn fair() -> Weather {
        Weather { delay_us: (200, 600), late_permille: 0, late_ms: 0, lost_permille: 0, twice_permille: 0 }
    }
}

/// The network.
pub struct Network {
    /// How bad it is.
    pub weather: Weather,
    /// Links that carry nothing, by direction.
    cut: BTreeSet<(Node, Node)>,
    /// ZooKeeper's connections.
    streams: BTreeMap<u64, Stream>,
    next_stream: u64,
}

/// One connection to ZooKeeper.
pub struct Stream {
    /// The broker.
    pub node: Node,
    /// The broker's end.
    pub far: FarEnd,
    directions: [Direction; 2],
}

/// One direction of a stream.
#[derive(Default)]
struct Direction {
    /// When the last piece arrives.
    last: Duration,
    /// What a cut link holds back.
    held: VecDeque<Piece>,
}

/// A piece of a stream.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Bytes.
    Bytes(Bytes),
    /// No more will come.
    End,
}

/// Which way a piece goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the broker to ZooKeeper.
    Up,
    /// Back.
    Down,
}

impl Network {
    /// A network without cut links.
    #[must_use]
    pub fn new(weather: Weather) -> Network {
        Network { weather, cut: BTreeSet::new(), streams: BTreeMap::new(), next_stream: 1 }
    }

    /// Cuts the link from one host to another.
    pub fn cut(&mut self, from: Node, to: Node) {
        self.cut.insert((from, to));
    }

    /// Whether nothing gets from one host to another.
    #[must_use]
    pub fn is_cut(&self, from: Node, to: Node) -> bool {
        self.cut.contains(&(from, to))
    }

    /// Heals a link.
    pub fn heal(&mut self, from: Node, to: Node) {
        self.cut.remove(&(from, to));
    }

    /// Heals all links.
    pub fn heal_all(&mut self) {
        self.cut.clear();
    }

    /// After how long a message arrives; twice or never, too.
    pub fn fates(&mut self, chance: &mut Chance, from: Node, to: Node) -> Vec<Duration> {
        if self.is_cut(from, to) || chance.permille(self.weather.lost_permille) {
            return Vec::new();
        }
        let mut fates = vec![self.delay(chance)];
        if chance.permille(self.weather.twice_permille) {
            fates.push(self.delay(chance) + chance.ms(1, 2_000));
        }
        fates
    }

    /// How long a message or a piece of a stream takes.
    pub fn delay(&self, chance: &mut Chance) -> Duration {
        let weather = &self.weather;
        if chance.permille(weather.late_permille) {
            return chance.ms(1, weather.late_ms.max(1));
        }
        Duration::from_micros(chance.between(weather.delay_us.0, weather.delay_us.1))
    }

    /// Opens a connection of a broker to ZooKeeper.
    pub fn open(&mut self, node: Node, connect: impl FnOnce(u64) -> FarEnd) -> u64 {
        let number = self.next_stream;
        self.next_stream += 1;
        self.streams.insert(number, Stream { node, far: connect(number), directions: Default::default() });
        number
    }

    /// When a piece of a stream that is sent now arrives; none where it has to wait for a link to heal, and none where the stream is gone.
    pub fn send(
        &mut self,
        chance: &mut Chance,
        zookeeper: Node,
        stream: u64,
        way: Way,
        piece: Piece,
        now: Duration,
    ) -> Option<Duration> {
        let delay = self.delay(chance);
        let open = self.streams.get_mut(&stream)?;
        let link = if way == Way::Up { (open.node, zookeeper) } else { (zookeeper, open.node) };
        let direction = &mut open.directions[way as usize];
        if self.cut.contains(&link) || !direction.held.is_empty() {
            direction.held.push_back(piece);
            return None;
        }
        direction.last = direction.last.max(now + delay);
        Some(direction.last)
    }

    /// What was held back and can go on now.
    pub fn take_released(&mut self, zookeeper: Node) -> Vec<(u64, Way, Piece)> {
        let mut released = Vec::new();
        for (number, stream) in &mut self.streams {
            for (way, link) in [(Way::Up, (stream.node, zookeeper)), (Way::Down, (zookeeper, stream.node))] {
                if !self.cut.contains(&link) {
                    released.extend(stream.directions[way as usize].held.drain(..).map(|piece| (*number, way, piece)));
                }
            }
        }
        released
    }

    /// A stream that is open.
    #[must_use]
    pub fn stream(&self, number: u64) -> Option<&Stream> {
        self.streams.get(&number)
    }

    /// Forgets a stream whose broker is gone or has closed it; what is on its way still arrives at ZooKeeper.
    pub fn forget(&mut self, number: u64) {
        self.streams.remove(&number);
    }

    /// The streams of a broker.
    #[must_use]
    pub fn streams_of(&self, node: Node) -> Vec<u64> {
        self.streams.iter().filter(|(_, stream)| stream.node == node).map(|(number, _)| *number).collect()
    }
}
