//! Groups of ZooKeeper consumers on our keeper and broker: partitions go to and fro between members, and no record is lost on the way.

use std::collections::BTreeSet;
use std::time::Duration;

use broker::Surroundings;
use bytes::Bytes;
use client::kafka::Producer;
use client::zookeeper::{CreateMode, Session};
use client::zookeeper_consumer::{
    ConsumerError, Subscription, TopicFilter, ZookeeperConsumer, ZookeeperConsumerConfig, group,
};
use keeper::KeeperConfig;
use protocol::types::{Offset, TopicPartition};
use runtime::Clock;
use runtime::net::{Listener, Stream};
use tidemill_testing::servers::{PATIENCE, Servers, create_topic, produce};
use tokio::sync::watch;

/// A keeper whose sessions may be short, a broker, and what the tests hold of both.
struct Peers {
    servers: Servers,
    session: Session,
    producer: Producer,
}

impl Peers {
    async fn start() -> Peers {
        let short_sessions = |config: &mut KeeperConfig| {
            config.tick_time_ms = 100;
            config.min_session_timeout_ms = Some(200);
            config.max_session_timeout_ms = Some(60_000);
        };
        let servers = Servers::start_in(short_sessions, &[], Surroundings::default()).await;
        let (session, producer) = (servers.session().await, servers.producer());
        Peers { servers, session, producer }
    }

    /// Stops the broker and starts it again on the same logs, on another port.
    async fn restart_broker(self) -> Peers {
        let servers = self.servers.restart_broker().await;
        let producer = servers.producer();
        Peers { servers, producer, ..self }
    }

    async fn create_topic(&self, topic: &str, partitions: i32) {
        create_topic(&self.session, topic, partitions).await;
    }

    async fn produce(&self, topic: &str, partitions: i32, numbers: std::ops::Range<i32>) {
        produce(&self.producer, topic, partitions, numbers).await;
    }

    fn config(&self, group: &str) -> ZookeeperConsumerConfig {
        let mut config = ZookeeperConsumerConfig::new(self.servers.connect(), group);
        for (name, value) in [
            ("auto.offset.reset", "smallest"),
            ("rebalance.backoff.ms", "200"),
            ("rebalance.max.retries", "50"),
            ("fetch.wait.max.ms", "20"),
        ] {
            config.set(name, value).unwrap();
        }
        config
    }

    async fn stop(self) {
        self.session.close().await;
        self.servers.stop().await;
    }
}

/// A consumer and what it has read, as a caller would keep it.
struct Member {
    consumer: ZookeeperConsumer,
    owned: BTreeSet<TopicPartition>,
    read: Vec<i32>,
}

impl Member {
    async fn start(config: ZookeeperConsumerConfig, subscription: Subscription) -> Member {
        let consumer = ZookeeperConsumer::start(config, subscription).await.unwrap();
        Member { consumer, owned: BTreeSet::new(), read: Vec::new() }
    }

    /// Polls once and does what the order of a [`client::zookeeper_consumer::Polled`] asks for.
    async fn poll(&mut self) {
        let polled = self.consumer.poll(Duration::from_millis(50)).await.unwrap();
        for partition in polled.lost {
            assert!(self.owned.remove(&partition), "{partition} was lost and never assigned");
        }
        for (partition, _) in polled.assigned {
            assert!(self.owned.insert(partition.clone()), "{partition} was assigned twice");
        }
        for block in polled.blocks {
            assert!(self.owned.contains(&block.topic_partition), "a block of {}, not ours", block.topic_partition);
            for record in block.records() {
                self.read.push(std::str::from_utf8(&record.unwrap().value.unwrap()).unwrap().parse().unwrap());
            }
        }
    }

    fn numbers(&self) -> Vec<i32> {
        self.owned.iter().map(|partition| partition.partition).collect()
    }
}

/// Polls all members in turn until what they have makes `reached` true.
async fn poll_until(members: &mut [Member], what: &str, reached: impl Fn(&[Member]) -> bool) {
    let clock = Clock::real();
    let deadline = clock.now() + PATIENCE;
    while !reached(members) {
        assert!(
            clock.now() < deadline,
            "in vain: {what}; {:?}",
            members.iter().map(Member::numbers).collect::<Vec<_>>()
        );
        for member in members.iter_mut() {
            member.poll().await;
        }
    }
}

fn all_read(members: &[Member], numbers: std::ops::Range<i32>) -> bool {
    let read: BTreeSet<i32> = members.iter().flat_map(|member| member.read.iter().copied()).collect();
    numbers.into_iter().all(|number| read.contains(&number))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_go_to_those_who_come_and_back_from_those_who_leave() {
    let peers = Peers::start().await;
    peers.create_topic("words", 5).await;
    peers.produce("words", 5, 0..20).await;
    let mut members = vec![Member::start(peers.config("g"), Subscription::topics(["words"])).await];
    poll_until(&mut members, "one member reads all", |members| all_read(members, 0..20)).await;
    assert_eq!(members[0].numbers(), [0, 1, 2, 3, 4]);

    // Ids begin with the time, so the second member's threads come second: the first one keeps the remainder.
    members.push(Member::start(peers.config("g"), Subscription::topics(["words"])).await);
    poll_until(&mut members, "two members share", |members| {
        members[0].numbers() == [0, 1, 2] && members[1].numbers() == [3, 4]
    })
    .await;
    let owners = group::describe(&peers.session, "g").await.unwrap();
    let owner = |partition| owners[&TopicPartition::new("words", partition)].owner.clone().unwrap();
    assert_eq!(owner(0), format!("{}-0", members[0].consumer.consumer_id()));
    assert_eq!(owner(4), format!("{}-0", members[1].consumer.consumer_id()));
    peers.produce("words", 5, 20..40).await;
    poll_until(&mut members, "both read", |members| all_read(members, 20..40)).await;
    assert!(members[1].read.iter().all(|number| number % 5 >= 3), "what was committed is not read again");

    let leaver = members.remove(0);
    leaver.consumer.close().await.unwrap();
    assert!(matches!(leaver.consumer.poll(Duration::ZERO).await, Err(ConsumerError::Closed)));
    peers.produce("words", 5, 40..60).await;
    poll_until(&mut members, "one member reads all again", |members| {
        members[0].numbers().len() == 5 && all_read(members, 40..60)
    })
    .await;
    let mut read = members[0].read.clone();
    read.sort_unstable();
    read.dedup();
    assert_eq!(read.len(), members[0].read.len(), "nothing is read twice when members leave in order");
    members[0].consumer.close().await.unwrap();
    let offsets = group::describe(&peers.session, "g").await.unwrap();
    assert!(offsets.values().all(|partition| partition.offset == Some(Offset(12)) && partition.owner.is_none()));
    assert!(group::members(&peers.session, "g").await.unwrap().is_empty());
    group::delete(&peers.session, "g").await.unwrap();
    assert!(!group::has_offsets(&peers.session, "g").await.unwrap());
    peers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_picks_up_topics_that_come_later() {
    let peers = Peers::start().await;
    let filter = TopicFilter::white_list("wo.*,later").unwrap();
    let mut members = vec![Member::start(peers.config("g"), Subscription::Filter { filter, threads: 1 }).await];
    assert!(members[0].consumer.assignment().is_empty());
    peers.create_topic("words", 2).await;
    peers.create_topic("other", 1).await;
    poll_until(&mut members, "the topic is read", |members| members[0].owned.len() == 2).await;
    peers.produce("words", 2, 0..4).await;
    poll_until(&mut members, "records come", |members| all_read(members, 0..4)).await;
    members[0].consumer.close().await.unwrap();
    peers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_leaves_out_what_belongs_to_others_by_now() {
    let peers = Peers::start().await;
    peers.create_topic("words", 2).await;
    peers.produce("words", 2, 0..8).await;
    let explicit = || ZookeeperConsumerConfig { auto_commit_enable: false, ..peers.config("g") };
    let mut members = vec![Member::start(explicit(), Subscription::topics(["words"])).await];
    poll_until(&mut members, "one member reads all", |members| all_read(members, 0..8)).await;
    members.push(Member::start(explicit(), Subscription::topics(["words"])).await);
    poll_until(&mut members, "two members share", |members| members[1].numbers() == [1]).await;
    // The batch of the first member held records of both partitions.
    let partition = |number| TopicPartition::new("words", number);
    let left_out = members[0].consumer.commit(&[(partition(0), Offset(4)), (partition(1), Offset(4))]).await.unwrap();
    assert_eq!(left_out, [partition(1)]);
    let offsets = group::describe(&peers.session, "g").await.unwrap();
    assert_eq!(offsets[&partition(0)].offset, Some(Offset(4)));
    assert_eq!(offsets[&partition(1)].offset, None);
    poll_until(&mut members, "the second one reads what was not committed", |members| members[1].read.len() == 4).await;
    for member in members {
        member.consumer.close().await.unwrap();
    }
    let offsets = group::describe(&peers.session, "g").await.unwrap();
    assert_eq!(offsets.get(&partition(1)).and_then(|found| found.offset), None, "nobody but the caller commits");
    peers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_back_elsewhere_is_found() {
    let mut peers = Peers::start().await;
    peers.create_topic("words", 2).await;
    peers.produce("words", 2, 0..4).await;
    let mut members = vec![Member::start(peers.config("g"), Subscription::topics(["words"])).await];
    poll_until(&mut members, "one member reads all", |members| all_read(members, 0..4)).await;
    let before = peers.servers.address();
    // The system may give the same port again.
    while peers.servers.address() == before {
        peers = peers.restart_broker().await;
    }
    peers.produce("words", 2, 4..8).await;
    poll_until(&mut members, "the member finds it", |members| all_read(members, 4..8)).await;
    assert_eq!(members[0].read.len(), 8, "it goes on where it stood");
    members[0].consumer.close().await.unwrap();
    peers.stop().await;
}

/// A way to the keeper that can be cut for a while: connections end, and no new one gets through.
struct Bridge {
    address: String,
    open: watch::Sender<bool>,
}

impl Bridge {
    fn to(target: String) -> Bridge {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, is_open) = watch::channel(true);
        runtime::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (target, mut is_open) = (target.clone(), is_open.clone());
                if !*is_open.borrow() {
                    continue;
                }
                runtime::spawn(async move {
                    let (host, port) = target.rsplit_once(':').unwrap();
                    let Ok(mut far) = Stream::connect(host, port.parse().unwrap(), PATIENCE).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = is_open.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Bridge { address, open }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_member_loses_all_and_joins_again() {
    let peers = Peers::start().await;
    peers.create_topic("words", 2).await;
    peers.produce("words", 2, 0..4).await;
    let bridge = Bridge::to(peers.servers.connect());
    let mut config = peers.config("g");
    config.zookeeper_connect = bridge.address.clone();
    config.zookeeper_session_timeout = Duration::from_millis(600);
    let mut members = vec![Member::start(config, Subscription::topics(["words"])).await];
    poll_until(&mut members, "one member reads all", |members| all_read(members, 0..4)).await;
    members[0].consumer.poll(Duration::ZERO).await.unwrap();
    members[0].consumer.commit_consumed().await.unwrap();

    bridge.open.send_replace(false);
    members.push(Member::start(peers.config("g"), Subscription::topics(["words"])).await);
    peers.produce("words", 2, 4..8).await;
    poll_until(&mut members, "the other takes over", |members| {
        members[1].numbers() == [0, 1] && all_read(&members[1..], 4..8)
    })
    .await;
    bridge.open.send_replace(true);
    poll_until(&mut members, "both share again", |members| members.iter().all(|member| member.owned.len() == 1)).await;
    peers.produce("words", 2, 8..12).await;
    poll_until(&mut members, "both read", |members| {
        all_read(members, 8..12) && members.iter().all(|member| member.read.iter().any(|number| *number >= 8))
    })
    .await;
    for member in members {
        member.consumer.close().await.unwrap();
    }
    peers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_survives_a_cut_and_its_watches_with_it() {
    let peers = Peers::start().await;
    let bridge = Bridge::to(peers.servers.connect());
    let session = Session::connect(&bridge.address, PATIENCE).await.unwrap();
    session.create("/mine", "1", CreateMode::Ephemeral).await.unwrap();
    let (_, _, mut data) = session.get_data_watch("/mine").await.unwrap();
    let (children, mut child) = session.get_children_watch("/brokers/ids").await.unwrap();
    assert_eq!(children, ["0"]);
    let mut status = session.status();
    bridge.open.send_replace(false);
    status.wait_for(|status| status.state == client::zookeeper::SessionState::Disconnected).await.unwrap();
    // Both changes happen while nobody listens.
    peers.session.set_data("/mine", Bytes::from_static(b"2"), -1).await.unwrap();
    peers.session.create("/brokers/ids/77", "{}", CreateMode::Persistent).await.unwrap();
    bridge.open.send_replace(true);
    assert_eq!(data.changed().await.unwrap().path, "/mine");
    assert_eq!(child.changed().await.unwrap().path, "/brokers/ids");
    assert_eq!(session.get_data("/mine").await.unwrap().1.ephemeral_owner, session.session_id());
    session.close().await;
    assert_eq!(peers.session.exists("/mine").await.unwrap(), None, "closing deletes what is ephemeral");
    peers.stop().await;
}
