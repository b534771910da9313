//! Consumer groups on our broker, through our client: partitions are shared, taken over from the dead, and offsets outlive the broker that stored them.

use std::collections::BTreeSet;
use std::time::Duration;

use client::kafka::admin::NewTopic;
use client::kafka::consumer::{GroupConsumer, OffsetToCommit};
use client::kafka::{Admin, ConsumerConfig};
use protocol::error::ErrorCode;
use protocol::types::{Offset, TopicPartition};
use runtime::Clock;
use tidemill_testing::servers::{PATIENCE, Servers, Settings, produce};

const SETTINGS: Settings<'_> = &[
    ("offsets.topic.num.partitions", "5"),
    ("group.initial.rebalance.delay.ms", "100"),
    ("group.min.session.timeout.ms", "1000"),
];

async fn create_topic(servers: &Servers, topic: &str, partitions: i32) {
    Admin::new(servers.cluster()).create_topic(&NewTopic::new(topic, Some(partitions), Some(1))).await.unwrap();
}

fn member(servers: &Servers, group: &str, topic: &str) -> Member {
    member_with_session(servers, group, topic, "2000")
}

fn member_with_session(servers: &Servers, group: &str, topic: &str, session_timeout_ms: &str) -> Member {
    let cluster = servers.cluster();
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
    let servers = Servers::start(SETTINGS).await;
    create_topic(&servers, "words", 4).await;
    produce(&servers.producer(), "words", 4, 0..40).await;
    let mut members = vec![member(&servers, "g", "words"), member(&servers, "g", "words")];
    poll_until(&mut members, "both have two partitions and all is read", |members| {
        members.iter().all(|member| member.partitions().len() == 2) && all_read(members, 40)
    })
    .await;
    let described = Admin::new(servers.cluster()).describe_group("g").await.unwrap();
    assert_eq!((described.state.as_str(), described.members.len()), ("Stable", 2));
    assert_eq!(described.members.iter().map(|member| member.assignment.len()).sum::<usize>(), 4);

    // It vanishes without a word.
    drop(members.pop());
    poll_until(&mut members, "the other has all four", |members| members[0].partitions().len() == 4).await;
    produce(&servers.producer(), "words", 4, 40..60).await;
    let read_before = members[0].read.len();
    poll_until(&mut members, "it reads on in all", |members| members[0].read.len() >= read_before + 20).await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_and_members_outlive_the_broker() {
    let servers = Servers::start(SETTINGS).await;
    create_topic(&servers, "words", 2).await;
    produce(&servers.producer(), "words", 2, 0..20).await;
    let mut members = vec![member_with_session(&servers, "g", "words", "60000")];
    poll_until(&mut members, "all is read", |members| all_read(members, 20)).await;
    members[0].consumer.commit_positions().await.unwrap();
    let before = Admin::new(servers.cluster()).describe_group("g").await.unwrap();

    let servers = servers.restart_broker().await;
    let after = Admin::new(servers.cluster()).describe_group("g").await.unwrap();
    // The member has not heard of it yet, and finds its place as it left it.
    assert_eq!(after.members, before.members);
    drop(members);
    let partitions = [TopicPartition::new("words", 0), TopicPartition::new("words", 1)];
    let stored = member(&servers, "g", "words").consumer.committed(&partitions).await.unwrap();
    for partition in &partitions {
        assert_eq!(stored.get(partition).map(|committed| committed.offset), Some(Offset(10)), "{partition}");
    }
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_deleted_once_nobody_is_in_it() {
    let servers = Servers::start(SETTINGS).await;
    create_topic(&servers, "words", 1).await;
    let admin = Admin::new(servers.cluster());
    let mut members = vec![member(&servers, "g", "words")];
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
    assert!(Admin::new(servers.cluster()).list_groups().await.unwrap().is_empty());
    servers.stop().await;
}
