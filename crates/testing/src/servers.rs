//! A keeper and one or several brokers on it in this process, on free ports, with a directory that goes with them; and what tests ask of them most.
//!
//! # Layout
//! - [`Servers`]: a keeper and one broker
//! - [`Cluster`]: a keeper and several brokers, each of which can be stopped, killed and started again

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use broker::{Broker, BrokerConfig, BrokerError, Surroundings};
use client::kafka::{self, Admin, ClientConfig, Producer, ProducerConfig, ProducerRecord};
use client::zookeeper::znodes::{Controller, PartitionState, TopicAssignment};
use client::zookeeper::{CreateMode, Session, paths};
use keeper::{Keeper, KeeperConfig};
use protocol::types::BrokerId;
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
    pub fn cluster(&self) -> kafka::Cluster {
        client_of(&self.address().to_string())
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

/// Milliseconds that a session of a [`Cluster`]'s broker lasts: short, because tests wait for it.
const CLUSTER_SESSION_MS: &str = "1000";

/// A keeper and several brokers on it, of ids 0, 1, 2 and so on. The `auto.leader.rebalance` of real clusters is off: leaders stay where tests put them.
pub struct Cluster {
    /// The keeper.
    pub keeper: Keeper,
    /// Where everybody keeps their data.
    pub directory: tempfile::TempDir,
    brokers: BTreeMap<i32, Broker>,
    configs: BTreeMap<i32, BrokerConfig>,
}

impl Cluster {
    /// Starts `count` brokers with the same settings beside the usual ones.
    pub async fn start(count: i32, settings: Settings<'_>) -> Cluster {
        let same = || settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Cluster::start_with(count, |_| same().collect()).await
    }

    /// Starts `count` brokers, each with settings of its own beside the usual ones.
    pub async fn start_with(count: i32, settings: impl Fn(i32) -> Vec<(String, String)>) -> Cluster {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut config = keeper_config(&directory.path().join("keeper"));
        config.tick_time_ms = 250;
        config.min_session_timeout_ms = Some(500);
        let keeper = Keeper::start(config).expect("a keeper that starts");
        let mut cluster = Cluster { keeper, directory, brokers: BTreeMap::new(), configs: BTreeMap::new() };
        for id in 0..count {
            let (number, home) = (id.to_string(), cluster.directory.path().join(format!("broker-{id}")));
            let own = settings(id);
            let usual = [
                ("broker.id", number.as_str()),
                ("zookeeper.session.timeout.ms", CLUSTER_SESSION_MS),
                ("auto.leader.rebalance.enable", "false"),
            ];
            let all: Vec<(&str, &str)> =
                usual.into_iter().chain(own.iter().map(|(k, v)| (k.as_str(), v.as_str()))).collect();
            let config = broker_config(&home, &cluster.keeper, &all).expect("settings of a broker");
            cluster.configs.insert(id, config);
        }
        let starts: Vec<_> =
            cluster.configs.iter().map(|(id, config)| (*id, runtime::spawn(Broker::start(config.clone())))).collect();
        for (id, start) in starts {
            cluster.brokers.insert(id, start.await.expect("a start").expect("a broker that starts"));
        }
        cluster.wait_until_acquainted().await;
        cluster
    }

    /// Waits until the brokers that run know each other.
    async fn wait_until_acquainted(&self) {
        let all = self.running();
        eventually("the brokers to know each other", || async {
            self.brokers.values().all(|broker| broker.status().brokers == all).then_some(())
        })
        .await;
    }

    /// Starts one more broker, in surroundings that are not the usual ones.
    pub async fn add_broker(&mut self, id: i32, settings: Settings<'_>, surroundings: Surroundings) {
        let (number, home) = (id.to_string(), self.directory.path().join(format!("broker-{id}")));
        let usual = [("broker.id", number.as_str()), ("zookeeper.session.timeout.ms", CLUSTER_SESSION_MS)];
        let all: Vec<(&str, &str)> = usual.into_iter().chain(settings.iter().copied()).collect();
        let config = broker_config(&home, &self.keeper, &all).expect("settings of a broker");
        self.configs.insert(id, config.clone());
        self.brokers.insert(id, Broker::start_in(config, surroundings).await.expect("a broker that starts"));
    }

    /// `zookeeper.connect`.
    #[must_use]
    pub fn connect(&self) -> String {
        self.keeper.local_addr().to_string()
    }

    /// The broker of this id, which runs.
    #[must_use]
    pub fn broker(&self, id: i32) -> &Broker {
        self.brokers.get(&id).expect("a broker that runs")
    }

    /// Ids of the brokers that run.
    #[must_use]
    pub fn running(&self) -> Vec<i32> {
        self.brokers.keys().copied().collect()
    }

    /// Where a broker listens.
    #[must_use]
    pub fn address(&self, id: i32) -> SocketAddr {
        self.broker(id).addresses()[0].1
    }

    /// `bootstrap.servers` of the brokers that run.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self.brokers.values().map(|broker| broker.addresses()[0].1.to_string()).collect();
        addresses.join(",")
    }

    /// Stops a broker in good order.
    pub async fn stop_broker(&mut self, id: i32) {
        self.brokers.remove(&id).expect("a broker that runs").shutdown().await;
    }

    /// Kills a broker: its session is left to expire, and its next start is an unclean one.
    pub async fn kill_broker(&mut self, id: i32) {
        self.brokers.remove(&id).expect("a broker that runs").abandon().await;
    }

    /// Starts a broker again, on its logs and on another port.
    pub async fn start_broker(&mut self, id: i32) {
        let config = self.configs.get(&id).expect("a broker of this cluster").clone();
        self.brokers.insert(id, Broker::start(config).await.expect("a broker that starts again"));
        eventually("the others to know the broker", || async {
            self.brokers.values().all(|broker| broker.status().brokers.contains(&id)).then_some(())
        })
        .await;
    }

    /// A session of the test's own with the keeper.
    pub async fn session(&self) -> Session {
        Session::connect(&self.connect(), PATIENCE).await.expect("a session")
    }

    /// A client that knows all brokers that run.
    #[must_use]
    pub fn client(&self) -> kafka::Cluster {
        client_of(&self.bootstrap())
    }

    /// A client that knows one broker to begin with.
    #[must_use]
    pub fn client_of(&self, id: i32) -> kafka::Cluster {
        client_of(&self.address(id).to_string())
    }

    /// An admin client that knows all brokers that run.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.client())
    }

    /// A producer with Kafka's defaults that knows all brokers that run.
    #[must_use]
    pub fn producer(&self) -> Producer {
        let cluster = self.client();
        let config = ProducerConfig::new(cluster.config().clone());
        Producer::new(cluster, config).expect("settings of a producer")
    }

    /// Who holds `/controller`.
    pub async fn controller(&self, session: &Session) -> Option<i32> {
        let (data, _) = session.try_get_data(paths::CONTROLLER).await.expect("a read")?;
        Some(Controller::parse(paths::CONTROLLER, &data).expect("a controller").broker.0)
    }

    /// Leader and ISR of a partition as the tree has them.
    pub async fn state(&self, session: &Session, topic: &str, partition: i32) -> Option<PartitionState> {
        let path = paths::partition_state(topic, partition);
        let (data, _) = session.try_get_data(&path).await.expect("a read")?;
        Some(PartitionState::parse(&path, &data).expect("a state"))
    }

    /// Waits until the state of a partition is as `holds` wants it, and gives it.
    pub async fn wait_for_state(
        &self,
        session: &Session,
        topic: &str,
        partition: i32,
        holds: impl Fn(&PartitionState) -> bool,
    ) -> PartitionState {
        eventually(&format!("the state of {topic}-{partition}"), || async {
            self.state(session, topic, partition).await.filter(|state| holds(state))
        })
        .await
    }

    /// Waits until a broker is registered, or is not any more.
    pub async fn wait_for_registration(&self, session: &Session, id: i32, registered: bool) {
        let path = paths::broker_id(BrokerId(id));
        eventually(&format!("broker {id} to be registered: {registered}"), || async {
            (session.exists(&path).await.expect("a read").is_some() == registered).then_some(())
        })
        .await;
    }

    /// Stops all in good order.
    pub async fn stop(self) {
        for broker in self.brokers.into_values() {
            broker.shutdown().await;
        }
        self.keeper.shutdown().await.expect("a keeper that stops");
    }
}

/// Asks until there is an answer; panics with `what` was waited for after [`PATIENCE`].
pub async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Clock::real().now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Clock::real().now() < deadline, "waited in vain for {what}");
        Clock::real().sleep(Duration::from_millis(10)).await;
    }
}

/// A client of these brokers.
fn client_of(bootstrap: &str) -> kafka::Cluster {
    kafka::Cluster::new(ClientConfig::parse(bootstrap).expect("addresses"), Clock::real())
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
