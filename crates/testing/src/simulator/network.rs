//! The network between brokers, clients and ZooKeeper: late, out of order, twice, never, and cut in one direction or in both.
//!
//! In the first tier requests and answers of Kafka's protocol are messages, each on its own: later than TCP would allow, a message overtakes another or comes twice, which is what
//! retries on several connections look like to a broker. ZooKeeper's connections, and in the second tier all, are byte streams ([`super::streams`]).

use std::collections::BTreeSet;
use std::time::Duration;

use super::chance::Chance;
use super::streams::Streams;

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
    pub(super) lost_permille: u64,
    twice_permille: u64,
    /// What is lost of a stream comes later instead.
    pub(super) retransmits: bool,
    /// So many pieces of streams in a thousand are cut into smaller ones.
    pub(super) split_permille: u64,
    /// So many streams in a thousand break by themselves, in the middle of something.
    pub(super) fragile_permille: u64,
    /// Bytes of one direction of a stream that are on their way at most.
    pub window_bytes: usize,
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
            ..Weather::fair()
        }
    }

    /// What a seed's run of the second tier has.
    pub fn of_streams(chance: &mut Chance) -> Weather {
        let weather = Weather::of(chance);
        Weather {
            lost_permille: weather.lost_permille / 5,
            retransmits: true,
            split_permille: chance.one_of(&[0, 50, 300, 900]),
            fragile_permille: chance.one_of(&[0, 0, 50, 200]),
            window_bytes: chance.one_of(&[usize::MAX, 16_000, 2_000, 300]),
            ..weather
        }
    }

    /// No message is late, lost or doubled.
    #[must_use]
    pub fn fair() -> Weather {
        Weather {
            delay_us: (200, 600),
            late_permille: 0,
            late_ms: 0,
            lost_permille: 0,
            twice_permille: 0,
            retransmits: false,
            split_permille: 0,
            fragile_permille: 0,
            window_bytes: usize::MAX,
        }
    }
}

/// The network.
pub struct Network {
    /// How bad it is.
    pub weather: Weather,
    /// Links that carry nothing, by direction.
    pub(super) cut: BTreeSet<(Node, Node)>,
    /// Its connections.
    pub streams: Streams,
}

impl Network {
    /// A network without cut links.
    #[must_use]
    pub fn new(weather: Weather) -> Network {
        Network { weather, cut: BTreeSet::new(), streams: Streams::default() }
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
}
