//! Consumer groups on our broker, through our client: partitions are shared, taken over from the dead, and offsets outlive the broker that stored them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use broker::{Broker, BrokerConfig};
use client::kafka::admin::NewTopic;
use client::kafka::consumer::{GroupConsumer, OffsetToCommit};
use client::kafka::{Admin, ClientConfig, Cluster, ConsumerConfig, Producer, ProducerConfig, ProducerRecord};
use keeper::{Keeper, KeeperConfig};
use protocol::error::ErrorCode;
use protocol::types::{Offset, TopicPartition};
use runtime::Clock;

/// Longest wait for anything here; a test that takes so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A keeper, a broker on it, and a directory that goes with them.
struct Servers {
    keeper: Keeper,
    broker: Broker,
    directory: tempfile::TempDir,
}

impl Servers {
    async fn start() -> Servers {
        let directory = tempfile::tempdir().unwrap();
        let mut config = KeeperConfig::new(directory.path().join("keeper"));
        config.address.set_port(0);
        let keeper = Keeper::start(config).unwrap();
        let broker = start_broker(directory.path(), &keeper).await;
        Servers { keeper, broker, directory }
    }

    /// Stops the broker and starts it again on the same logs, on another port.
    async fn restart_broker(self) -> Servers {
        self.broker.shutdown().await;
        let broker = start_broker(self.directory.path(), &self.keeper).await;
        Servers { broker, ..self }
    }

    fn cluster(&self) -> Cluster {
        let address = self.broker.addresses()[0].1.to_string();
        Cluster::new(ClientConfig::parse(&address).unwrap(), Clock::real())
    }

    fn admin(&self) -> Admin {
        Admin::new(self.cluster())
    }

    async fn create_topic(&self, topic: &str, partitions: i32) {
        self.admin().create_topic(&NewTopic::new(topic, Some(partitions), Some(1))).await.unwrap();
    }

    async fn produce(&self, topic: &str, partitions: i32, numbers: std::ops::Range<i32>) {
        let cluster = self.cluster();
        let producer = Producer::new(cluster.clone(), ProducerConfig::new(cluster.config().clone())).unwrap();
        for number in numbers {
            let record = ProducerRecord::new(topic, number.to_string()).with_partition(number % partitions);
            producer.send(record).await.unwrap().await.unwrap();
        }
    }

    fn member(&self, group: &str, topic: &str) -> Member {
        self.member_with_session(group, topic, "2000")
    }

    fn member_with_session(&self, group: &str, topic: &str, session_timeout_ms: &str) -> Member {
        let cluster = self.cluster();
        let mut config = ConsumerConfig::new(cluster.config().clone());
        config.group_id = Some(group.to_owned());
        for (name, value) in [
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
            ("session.timeout.ms", session_timeout_ms),
            ("heartbeat.interval.ms", "200"),
            ("fetch.max.wait.ms", "20"),
        ] {
            assert!(config.set(name, value).unwrap(), "{name} is no setting of a consumer");
        }
        let consumer = GroupConsumer::new(cluster, config).unwrap();
        consumer.subscribe([topic]);
        Member { consumer, read: BTreeSet::new() }
    }

    async fn stop(self) {
        self.broker.shutdown().await;
        self.keeper.shutdown().await.unwrap();
    }
}

async fn start_broker(directory: &Path, keeper: &Keeper) -> Broker {
    let logs = directory.join("kafka-logs").display().to_string();
    let connect = keeper.local_addr().to_string();
    let overrides = [
        ("broker.id", "0"),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", &logs),
        ("zookeeper.connect", &connect),
        ("offsets.topic.num.partitions", "5"),
        ("group.initial.rebalance.delay.ms", "100"),
        ("group.min.session.timeout.ms", "1000"),
    ];
    Broker::start(BrokerConfig::from_overrides(overrides).unwrap()).await.unwrap()
}

/// A member of a group and what it has read.
struct Member {
    consumer: GroupConsumer,
    read: BTreeSet<i32>,
}

impl Member {
    async fn poll(&mut self) {
        for block in self.consumer.poll(Duration::from_millis(50)).await.unwrap() {
            for record in block.records() {
                let value = record.unwrap().value.unwrap();
                self.read.insert(std::str::from_utf8(&value).unwrap().parse().unwrap());
            }
        }
    }

    fn partitions(&self) -> Vec<i32> {
        self.consumer.assignment().iter().map(|partition| partition.partition).collect()
    }
}

async fn poll_until(members: &mut [Member], what: &str, reached: impl Fn(&[Member]) -> bool) {
    let clock = Clock::real();
    let deadline = clock.now() + PATIENCE;
    while !reached(members) {
        assert!(
            clock.now() < deadline,
            "in vain: {what}; {:?}",
            members.iter().map(Member::partitions).collect::<Vec<_>>()
        );
        for member in members.iter_mut() {
            member.poll().await;
        }
    }
}

fn all_read(members: &[Member], count: usize) -> bool {
    members.iter().flat_map(|member| &member.read).collect::<BTreeSet<_>>().len() == count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_share_and_the_living_takes_over_from_the_dead() {
    let servers = Servers::start().await;
    servers.create_topic("words", 4).await;
    servers.produce("words", 4, 0..40).await;
    let mut members = vec![servers.member("g", "words"), servers.member("g", "words")];
    poll_until(&mut members, "both have two partitions and all is read", |members| {
        members.iter().all(|member| member.partitions().len() == 2) && all_read(members, 40)
    })
    .await;
    let described = servers.admin().describe_group("g").await.unwrap();
    assert_eq!((described.state.as_str(), described.members.len()), ("Stable", 2));
    assert_eq!(described.members.iter().map(|member| member.assignment.len()).sum::<usize>(), 4);

    // It vanishes without a word.
    drop(members.pop());
    poll_until(&mut members, "the other has all four", |members| members[0].partitions().len() == 4).await;
    servers.produce("words", 4, 40..60).await;
    let read_before = members[0].read.len();
    poll_until(&mut members, "it reads on in all", |members| members[0].read.len() >= read_before + 20).await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_and_members_outlive_the_broker() {
    let servers = Servers::start().await;
    servers.create_topic("words", 2).await;
    servers.produce("words", 2, 0..20).await;
    let mut members = vec![servers.member_with_session("g", "words", "60000")];
    poll_until(&mut members, "all is read", |members| all_read(members, 20)).await;
    members[0].consumer.commit_positions().await.unwrap();
    let before = servers.admin().describe_group("g").await.unwrap();

    let servers = servers.restart_broker().await;
    let after = servers.admin().describe_group("g").await.unwrap();
    // The member has not heard of it yet, and finds its place as it left it.
    assert_eq!(after.members, before.members);
    drop(members);
    let partitions = [TopicPartition::new("words", 0), TopicPartition::new("words", 1)];
    let stored = servers.member("g", "words").consumer.committed(&partitions).await.unwrap();
    for partition in &partitions {
        assert_eq!(stored.get(partition).map(|committed| committed.offset), Some(Offset(10)), "{partition}");
    }
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_deleted_once_nobody_is_in_it() {
    let servers = Servers::start().await;
    servers.create_topic("words", 1).await;
    let admin = servers.admin();
    let mut members = vec![servers.member("g", "words")];
    poll_until(&mut members, "it has its partition", |members| members[0].partitions() == [0]).await;
    let refused = admin.delete_groups(&["g"]).await.unwrap().remove(0).1.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::NON_EMPTY_GROUP));

    members[0].consumer.close(PATIENCE).await.unwrap();
    let words = TopicPartition::new("words", 0);
    admin.alter_group_offsets("g", &[OffsetToCommit::new(words.clone(), Offset(7))]).await.unwrap();
    admin.delete_groups(&["g"]).await.unwrap().remove(0).1.unwrap();
    assert!(admin.list_groups().await.unwrap().is_empty());

    // Neither does it come back with the next start.
    let servers = servers.restart_broker().await;
    assert!(servers.admin().list_groups().await.unwrap().is_empty());
    servers.stop().await;
}
