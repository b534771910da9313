//! What is drawn for a run before it begins: how many of what, the settings, how bad the weather is.

use std::time::Duration;

use super::chance::Chance;
use super::clients::TOPIC;
use super::network::Weather;
use super::topics::TopicPlan;

/// The port brokers listen on.
pub const PORT: u16 = 9092;

/// What a run is played with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Brokers and ZooKeeper; Kafka's requests are messages, and clients are played by the world.
    Messages,
    /// The whole stack: Kafka's protocol goes over byte streams, and clients are programs on the shipped client library.
    Streams,
}

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
    /// A replica that is not in sync may lead (`unclean.leader.election.enable`).
    UncleanElection,
    /// Producers send again what may have been stored, without a sequence.
    NoIdempotence,
    /// Members of the group commit what they have not read yet.
    CommitAhead,
    /// Bits of connections between clients and brokers turn over: neither TCP nor a record's checksum sees to what surrounds it.
    AlterBytes,
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
    /// What it is played with.
    pub tier: Tier,
    /// Brokers.
    pub brokers: usize,
    /// Partitions of the topic, each with a replica on every broker.
    pub partitions: usize,
    /// Producers.
    pub producers: usize,
    /// Consumers of assigned partitions.
    pub consumers: usize,
    /// Members of the consumer group; second tier only.
    pub members: usize,
    /// Programs that create, move and delete topics; second tier only.
    pub admins: usize,
    /// What the programs of the second tier are told.
    pub clients: ClientPlan,
    /// Topics beside the one that stands, there from the beginning; first tier only.
    pub others: Vec<TopicPlan>,
    /// Who administers the cluster, if anybody does; first tier only.
    pub admin: Option<AdminPlan>,
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

/// What is done to the topics of a run.
#[derive(Debug, Clone)]
pub struct AdminPlan {
    /// Names of the topics that come and go.
    pub names: Vec<&'static str>,
    /// Pause between two looks at what there is to do, in ms.
    pub pause_ms: (u64, u64),
    /// So many things in a thousand are done by znodes, as old tools do them.
    pub by_znode_permille: u64,
}

impl AdminPlan {
    fn of(chance: &mut Chance, names: &[&'static str]) -> AdminPlan {
        AdminPlan {
            names: names.to_vec(),
            pause_ms: (100, chance.one_of(&[300, 1_000, 3_000])),
            by_znode_permille: chance.one_of(&[0, 200, 600]),
        }
    }
}

/// What the programs of a run are told.
#[derive(Debug, Clone)]
pub struct ClientPlan {
    /// `delivery.timeout.ms` of producers.
    pub delivery_ms: u64,
    /// `max.in.flight.requests.per.connection` of producers.
    pub in_flight: usize,
    /// `linger.ms` of producers.
    pub linger_ms: u64,
    /// `batch.size` of producers.
    pub batch_bytes: usize,
    /// Members commit by themselves; else by `enable.auto.commit`.
    pub commits: bool,
    /// Members share partitions out by the sticky strategy; else by range.
    pub sticky: bool,
}

impl ClientPlan {
    fn of(chance: &mut Chance) -> ClientPlan {
        ClientPlan {
            delivery_ms: chance.one_of(&[3_000, 8_000, 120_000, 120_000]),
            in_flight: chance.one_of(&[1, 2, 5, 5]),
            linger_ms: chance.one_of(&[0, 0, 20]),
            batch_bytes: chance.one_of(&[100, 1_000, 16_384]),
            commits: chance.permille(700),
            sticky: chance.permille(500),
        }
    }

    fn plain() -> ClientPlan {
        ClientPlan {
            delivery_ms: 120_000,
            in_flight: 5,
            linger_ms: 0,
            batch_bytes: 16_384,
            commits: true,
            sticky: false,
        }
    }
}

impl Plan {
    /// What a seed's run of the second tier is like.
    #[must_use]
    pub fn of_streams(seed: u64, mischief: Mischief) -> Plan {
        let plan = Plan::of(seed, mischief);
        let mut chance = Chance::new(seed ^ 0x57_4ea5);
        Plan {
            tier: Tier::Streams,
            weather: Weather::of_streams(&mut chance),
            members: chance.between(1, 3) as usize,
            admins: chance.between(0, 1) as usize,
            clients: ClientPlan::of(&mut chance),
            faults: super::faults::Kind::some(&mut chance, Tier::Streams, plan.endings),
            others: Vec::new(),
            admin: None,
            produce_ms: (10, chance.one_of(&[60, 120, 250])),
            troubled: Duration::from_secs(chance.between(5, 10)),
            ..plan
        }
    }

    /// A run of the second tier in which nothing happens but what a script does.
    #[must_use]
    pub fn quiet_streams(min_insync_replicas: usize, endings: Endings) -> Plan {
        Plan { tier: Tier::Streams, members: 2, admins: 1, ..Plan::quiet(min_insync_replicas, endings) }
    }

    /// Programs of the second tier.
    #[must_use]
    pub fn programs(&self) -> usize {
        match self.tier {
            Tier::Messages => 0,
            Tier::Streams => self.producers + self.consumers + self.members + self.admins,
        }
    }

    /// Hosts of clients.
    #[must_use]
    pub fn client_hosts(&self) -> usize {
        match self.tier {
            Tier::Messages => self.producers + self.consumers + usize::from(self.admin.is_some()),
            Tier::Streams => self.programs(),
        }
    }

    /// What a seed's run is like.
    #[must_use]
    pub fn of(seed: u64, mischief: Mischief) -> Plan {
        let mut chance = Chance::new(seed ^ 0x5eed);
        let endings = chance.one_of(&[Endings::Kills, Endings::Kills, Endings::PowerCuts]);
        let brokers = 3;
        // Numbers of their own, so that what is drawn for one part does not move with another.
        let mut wider = Chance::new(seed ^ 0x70_91c5);
        let names = wider.one_of::<&[&'static str]>(&[&[], &["a"], &["a"], &["a", "b"]]);
        let mut others = Vec::new();
        for name in names {
            if wider.permille(500) {
                others.push(TopicPlan::of(&mut wider, name));
            }
        }
        Plan {
            tier: Tier::Messages,
            members: 0,
            admins: 0,
            clients: ClientPlan::plain(),
            brokers,
            partitions: chance.between(1, 2) as usize,
            producers: chance.between(1, 3) as usize,
            consumers: 1,
            others,
            admin: wider.permille(700).then(|| AdminPlan::of(&mut wider, names)),
            weather: Weather::of(&mut chance),
            endings,
            min_insync_replicas: chance.one_of(&[1, 2, 2]),
            ahead_ms: (0..brokers).map(|_| chance.between(0, 4_000) as i64 - 2_000).collect(),
            produce_ms: (5, chance.one_of(&[30, 80, 200])),
            slow_disk_permille: chance.one_of(&[0, 0, 20, 200]),
            fault_ms: (chance.between(50, 600), chance.between(700, 3_000)),
            troubled: Duration::from_secs(chance.between(5, 9)),
            segment_bytes: chance.one_of(&[1_000, 4_000, 1 << 20]),
            faults: super::faults::Kind::some(&mut chance, Tier::Messages, endings),
            mischief,
        }
    }

    /// A run in which nothing happens but what a script does.
    #[must_use]
    pub fn quiet(min_insync_replicas: usize, endings: Endings) -> Plan {
        Plan {
            tier: Tier::Messages,
            members: 0,
            admins: 0,
            clients: ClientPlan::plain(),
            brokers: 3,
            partitions: 1,
            producers: 1,
            consumers: 1,
            others: Vec::new(),
            admin: None,
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
            ("listeners", format!("PLAINTEXT://127.0.0.1:{PORT}")),
            ("advertised.listeners", format!("PLAINTEXT://b{broker}:{PORT}")),
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
            ("log.segment.delete.delay.ms", "1000".to_owned()),
            ("offsets.topic.num.partitions", "2".to_owned()),
            ("offsets.topic.replication.factor", "3".to_owned()),
            ("group.min.session.timeout.ms", "500".to_owned()),
            ("group.initial.rebalance.delay.ms", "200".to_owned()),
        ];
        settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The topic that stands.
    #[must_use]
    pub fn topic(&self) -> TopicPlan {
        let (partitions, min_insync_replicas) = (self.partitions, self.min_insync_replicas);
        TopicPlan { name: TOPIC, partitions, replicas: self.brokers, min_insync_replicas }
    }

    /// A topic's settings.
    #[must_use]
    pub fn topic_settings(&self, topic: TopicPlan) -> Vec<(String, String)> {
        let settings = [
            ("min.insync.replicas", topic.min_insync_replicas.to_string()),
            ("segment.bytes", self.segment_bytes.to_string()),
            ("unclean.leader.election.enable", (self.mischief == Mischief::UncleanElection).to_string()),
        ];
        settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}
