//! What is drawn for a run before it begins: how many of what, the settings, how bad the weather is.

use std::time::Duration;

use super::chance::Chance;
use super::network::Weather;

/// A rule that a run breaks on purpose, to show that the checks notice. Production code knows nothing of it: the world alters what brokers and clients say to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mischief {
    /// None.
    #[default]
    None,
    /// A producer is answered before the in-sync replicas have its records.
    AcknowledgeBeforeIsr,
    /// A follower cuts its log to its high watermark when it hears of a new leader, as Kafka did before KIP-101.
    TruncateToHighWatermark,
    /// Leaders are not told in which epoch a follower fetches, nor of which epoch its last record is.
    SkipEpochCheck,
}

/// What may end a broker, and what its answers promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endings {
    /// Processes are killed, machines keep their power: page caches outlast it (`log.flush.before.ack=auto`).
    Kills,
    /// Machines lose their power, several at a time: what is promised is on disks (`log.flush.before.ack=always`).
    PowerCuts,
}

/// The plan of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Brokers.
    pub brokers: usize,
    /// Partitions of the topic, each with a replica on every broker.
    pub partitions: usize,
    /// Producers.
    pub producers: usize,
    /// Consumers.
    pub consumers: usize,
    /// The network.
    pub weather: Weather,
    /// What ends brokers.
    pub endings: Endings,
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// How far each broker's wall clock is ahead, in ms.
    pub ahead_ms: Vec<i64>,
    /// Pause of a producer between two looks at what it can send, in ms.
    pub produce_ms: (u64, u64),
    /// So many syncs in a thousand take long.
    pub slow_disk_permille: u64,
    /// Pause between two faults, in ms.
    pub fault_ms: (u64, u64),
    /// How long things go wrong.
    pub troubled: Duration,
    /// Largest segment.
    pub segment_bytes: u64,
    /// Which faults happen, by their number in [`super::faults`].
    pub faults: Vec<super::faults::Kind>,
    /// The rule that is broken.
    pub mischief: Mischief,
}

impl Plan {
    /// What a seed's run is like.
    #[must_use]
    pub fn of(seed: u64, mischief: Mischief) -> Plan {
        let mut chance = Chance::new(seed ^ 0x5eed);
        let endings = chance.one_of(&[Endings::Kills, Endings::Kills, Endings::PowerCuts]);
        let brokers = 3;
        Plan {
            brokers,
            partitions: chance.between(1, 2) as usize,
            producers: chance.between(1, 3) as usize,
            consumers: 1,
            weather: Weather::of(&mut chance),
            endings,
            min_insync_replicas: chance.one_of(&[1, 2, 2]),
            ahead_ms: (0..brokers).map(|_| chance.between(0, 4_000) as i64 - 2_000).collect(),
            produce_ms: (5, chance.one_of(&[30, 80, 200])),
            slow_disk_permille: chance.one_of(&[0, 0, 20, 200]),
            fault_ms: (chance.between(50, 600), chance.between(700, 3_000)),
            troubled: Duration::from_secs(chance.between(6, 12)),
            segment_bytes: chance.one_of(&[1_000, 4_000, 1 << 20]),
            faults: super::faults::Kind::some(&mut chance, endings),
            mischief,
        }
    }

    /// A run in which nothing happens but what a script does.
    #[must_use]
    pub fn quiet(min_insync_replicas: usize, endings: Endings) -> Plan {
        Plan {
            brokers: 3,
            partitions: 1,
            producers: 1,
            consumers: 1,
            weather: Weather::fair(),
            endings,
            min_insync_replicas,
            ahead_ms: vec![0; 3],
            produce_ms: (10, 30),
            slow_disk_permille: 0,
            fault_ms: (1, 1),
            troubled: Duration::ZERO,
            segment_bytes: 1 << 20,
            faults: Vec::new(),
            mischief: Mischief::None,
        }
    }

    /// What was once readable stays what it is. With power cuts only what was acknowledged does: the high watermark does not wait for disks.
    #[must_use]
    pub fn committed_survives(&self) -> bool {
        self.endings == Endings::Kills
    }

    /// A broker's settings.
    #[must_use]
    pub fn settings(&self, broker: usize) -> Vec<(String, String)> {
        let flush = match self.endings {
            Endings::Kills => "auto",
            Endings::PowerCuts => "always",
        };
        let settings = [
            ("broker.id", broker.to_string()),
            ("zookeeper.connect", "zookeeper:2181".to_owned()),
            ("zookeeper.session.timeout.ms", "2500".to_owned()),
            ("listeners", format!("PLAINTEXT://b{broker}:9092")),
            ("advertised.listeners", format!("PLAINTEXT://b{broker}:9092")),
            ("log.dirs", "/logs".to_owned()),
            ("log.cleaner.enable", "false".to_owned()),
            ("log.flush.before.ack", flush.to_owned()),
            ("num.recovery.threads.per.data.dir", "1".to_owned()),
            ("replica.lag.time.max.ms", "1500".to_owned()),
            ("replica.fetch.wait.max.ms", "250".to_owned()),
            ("replica.high.watermark.checkpoint.interval.ms", "1000".to_owned()),
            ("log.flush.offset.checkpoint.interval.ms", "2000".to_owned()),
            ("leader.imbalance.check.interval.seconds", "3".to_owned()),
            ("auto.create.topics.enable", "false".to_owned()),
        ];
        settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The topic's settings.
    #[must_use]
    pub fn topic_settings(&self) -> Vec<(String, String)> {
        let settings = [
            ("min.insync.replicas", self.min_insync_replicas.to_string()),
            ("segment.bytes", self.segment_bytes.to_string()),
        ];
        settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}
