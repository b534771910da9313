//! A keeper and a broker on it in this process, on free ports, with a directory that goes with them; and what tests ask of them most.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use broker::{Broker, BrokerConfig, BrokerError, Surroundings};
use client::kafka::{ClientConfig, Cluster, Producer, ProducerConfig, ProducerRecord};
use client::zookeeper::znodes::TopicAssignment;
use client::zookeeper::{CreateMode, Session, paths};
use keeper::{Keeper, KeeperConfig};
use runtime::Clock;

/// Longest wait for anything in a test; one that takes so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Settings beside those that every broker of a test has, as in `server.properties`.
pub type Settings<'a> = &'a [(&'a str, &'a str)];

/// A keeper and a broker on it.
pub struct Servers {
    /// The keeper.
    pub keeper: Keeper,
    /// The broker, of id 0.
    pub broker: Broker,
    /// Where both keep their data.
    pub directory: tempfile::TempDir,
    config: BrokerConfig,
}

impl Servers {
    /// Starts both.
    pub async fn start(settings: Settings<'_>) -> Servers {
        Servers::start_in(|_| {}, settings, Surroundings::default()).await
    }

    /// The same with a keeper and surroundings that are not the usual ones.
    pub async fn start_in(
        keeper: impl FnOnce(&mut KeeperConfig),
        settings: Settings<'_>,
        broker: Surroundings,
    ) -> Servers {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut config = keeper_config(&directory.path().join("keeper"));
        keeper(&mut config);
        let keeper = Keeper::start(config).expect("a keeper that starts");
        let config = broker_config(directory.path(), &keeper, settings).expect("settings of a broker");
        let broker = Broker::start_in(config.clone(), broker).await.expect("a broker that starts");
        Servers { keeper, broker, directory, config }
    }

    /// Stops the broker and starts it again on the same logs, on another port.
    pub async fn restart_broker(self) -> Servers {
        self.broker.shutdown().await;
        let broker = Broker::start(self.config.clone()).await.expect("a broker that starts again");
        Servers { broker, ..self }
    }

    /// `zookeeper.connect`.
    #[must_use]
    pub fn connect(&self) -> String {
        self.keeper.local_addr().to_string()
    }

    /// Where the broker listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.broker.addresses()[0].1
    }

    /// A session of the test's own with the keeper.
    pub async fn session(&self) -> Session {
        Session::connect(&self.connect(), PATIENCE).await.expect("a session")
    }

    /// A client of the broker.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        Cluster::new(ClientConfig::parse(&self.address().to_string()).expect("an address"), Clock::real())
    }

    /// A producer with Kafka's defaults.
    #[must_use]
    pub fn producer(&self) -> Producer {
        let cluster = self.cluster();
        let config = ProducerConfig::new(cluster.config().clone());
        Producer::new(cluster, config).expect("settings of a producer")
    }

    /// Stops both in good order.
    pub async fn stop(self) {
        self.broker.shutdown().await;
        self.keeper.shutdown().await.expect("a keeper that stops");
    }
}

/// Starts a broker on a keeper, with its logs in `logs` below `directory`.
///
/// # Errors
/// Why it was refused.
pub async fn start_broker(directory: &Path, keeper: &Keeper, settings: Settings<'_>) -> Result<Broker, BrokerError> {
    Broker::start(broker_config(directory, keeper, settings)?).await
}

/// A keeper on a free port.
#[must_use]
pub fn keeper_config(directory: &Path) -> KeeperConfig {
    let mut config = KeeperConfig::new(directory);
    config.address.set_port(0);
    config
}

/// A broker of id 0 on a free port, with its logs in `logs` below `directory`. Groups do not wait for members that may yet come.
#[allow(clippy::result_large_err, reason = "a refusal is what some tests are about")]
fn broker_config(directory: &Path, keeper: &Keeper, settings: Settings<'_>) -> Result<BrokerConfig, BrokerError> {
    let (logs, connect) = (directory.join("logs").display().to_string(), keeper.local_addr().to_string());
    let usual = [
        ("broker.id", "0"),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", &logs),
        ("zookeeper.connect", &connect),
        ("group.initial.rebalance.delay.ms", "0"),
    ];
    // What a test says stands over what is usual.
    let all: BTreeMap<&str, &str> = usual.iter().chain(settings).copied().collect();
    BrokerConfig::from_overrides(all.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())))
}

/// Creates a topic as Kafka 0.8's tools do: by writing it into ZooKeeper. All its partitions are on broker 0.
pub async fn create_topic(session: &Session, topic: &str, partitions: i32) {
    let partitions: BTreeMap<i32, Vec<i32>> = (0..partitions).map(|partition| (partition, vec![0])).collect();
    let assignment = TopicAssignment { partitions, ..TopicAssignment::default() };
    session.create(&paths::topic(topic), assignment.to_json(), CreateMode::Persistent).await.expect("a new topic");
}

/// Sends the numbers, each to the partition it names by its remainder, and waits for each to be acknowledged.
pub async fn produce(producer: &Producer, topic: &str, partitions: i32, numbers: std::ops::Range<i32>) {
    for number in numbers {
        let record = ProducerRecord::new(topic, number.to_string()).with_partition(number % partitions);
        producer.send(record).await.expect("a place in the queue").await.expect("an acknowledgement");
    }
}
