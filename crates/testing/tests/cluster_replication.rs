//! Followers copy from their leaders, through three brokers in this process: what an acknowledgement promises, what a replica that was away does when it comes back, and who
//! serves which reader.

use std::path::PathBuf;
use std::time::Duration;

use broker::Surroundings;
use client::kafka::{Connection, NewTopic, Producer, ProducerRecord};
use client::zookeeper::CreateMode;
use client::zookeeper::znodes::EntityConfig;
use protocol::error::ErrorCode;
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::types::{BrokerId, Offset, TopicPartition};
use protocol::wire::Str;
use runtime::sim_disk::{Fault, Operation, SimDisk};
use runtime::{Clock, Disk};
use tidemill_testing::servers::{Cluster, eventually, produce};

const TOPIC: &str = "copied";

fn log_folder(cluster: &Cluster, broker: i32, partition: i32) -> PathBuf {
    cluster.directory.path().join(format!("broker-{broker}")).join("logs").join(format!("{TOPIC}-{partition}"))
}

/// Log bytes of a partition on a broker's disk.
fn log_bytes(cluster: &Cluster, broker: i32, partition: i32) -> Vec<u8> {
    let folder = log_folder(cluster, broker, partition);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "log"));
    files.sort();
    files.into_iter().flat_map(|file| std::fs::read(file).unwrap()).collect()
}

async fn topic(cluster: &Cluster, partitions: i32, replicas: i16, configs: &[(&str, &str)]) {
    let mut topic = NewTopic::new(TOPIC, Some(partitions), Some(replicas));
    topic.configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    cluster.admin().create_topic(&topic).await.unwrap();
}

/// A connection of the test's own to one broker.
async fn connection(cluster: &Cluster, broker: i32) -> Connection {
    let client = cluster.client_of(broker);
    let address = client.config().bootstrap_servers[0].clone();
    Connection::connect(broker, &address, client.config(), None, Clock::real()).await.unwrap()
}

/// Sends values of this size to partition 0 and waits for all.
async fn fill(producer: &Producer, count: usize, bytes: usize) {
    let mut under_way = Vec::new();
    for _ in 0..count {
        let record = ProducerRecord::new(TOPIC, vec![b'x'; bytes]).with_partition(0);
        under_way.push(producer.send(record).await.unwrap());
    }
    for delivery in under_way {
        delivery.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_record_is_on_every_replica_as_the_same_bytes() {
    let cluster = Cluster::start(3, &[]).await;
    topic(&cluster, 2, 3, &[]).await;
    produce(&cluster.producer(), TOPIC, 2, 0..200).await;
    for partition in 0..2 {
        // Every acknowledgement says that it is there already; nothing is waited for.
        let copies: Vec<Vec<u8>> = (0..3).map(|broker| log_bytes(&cluster, broker, partition)).collect();
        assert!(!copies[0].is_empty());
        assert!(copies[0] == copies[1] && copies[1] == copies[2], "the logs of partition {partition} differ");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_away_catches_up_and_is_in_sync_again() {
    let mut cluster = Cluster::start(3, &[("replica.fetch.max.bytes", "1000")]).await;
    let session = cluster.session().await;
    topic(&cluster, 1, 3, &[]).await;
    let leader = cluster.state(&session, TOPIC, 0).await.unwrap().leader;
    let away = (leader + 1) % 3;
    produce(&cluster.producer(), TOPIC, 1, 0..50).await;
    cluster.kill_broker(away).await;
    cluster.wait_for_state(&session, TOPIC, 0, |state| state.isr.len() == 2).await;
    produce(&cluster.producer(), TOPIC, 1, 50..150).await;
    cluster.start_broker(away).await;
    cluster.wait_for_state(&session, TOPIC, 0, |state| state.isr.len() == 3).await;
    produce(&cluster.producer(), TOPIC, 1, 150..160).await;
    assert!(log_bytes(&cluster, leader, 0) == log_bytes(&cluster, away, 0), "the logs differ");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_begins_anew_where_its_leaders_log_begins() {
    let mut cluster = Cluster::start(2, &[]).await;
    let session = cluster.session().await;
    topic(&cluster, 1, 2, &[]).await;
    let leader = cluster.state(&session, TOPIC, 0).await.unwrap().leader;
    let away = 1 - leader;
    produce(&cluster.producer(), TOPIC, 1, 0..10).await;
    cluster.stop_broker(away).await;
    cluster.wait_for_state(&session, TOPIC, 0, |state| state.isr == [leader]).await;
    produce(&cluster.producer(), TOPIC, 1, 10..40).await;
    let partition = TopicPartition::new(TOPIC, 0);
    let deleted = cluster.admin().delete_records(&[(partition.clone(), Offset(25))].into()).await;
    assert_eq!(deleted[&partition].as_ref().ok(), Some(&Offset(25)));
    cluster.start_broker(away).await;
    cluster.wait_for_state(&session, TOPIC, 0, |state| state.isr.len() == 2).await;
    let folder = log_folder(&cluster, away, 0);
    assert!(folder.join("00000000000000000025.log").exists(), "the log begins at 25");
    assert!(!folder.join("00000000000000000000.log").exists(), "what was before is gone");

    // With both alive the answer says that both have deleted: nothing is waited for.
    let deleted = cluster.admin().delete_records(&[(partition.clone(), Offset(31))].into()).await;
    assert_eq!(deleted[&partition].as_ref().ok(), Some(&Offset(31)));
    let replicas = &cluster.broker(away).state().replicas;
    let start = replicas.get(TOPIC, 0).expect("a follower").log().log_start_offset();
    assert_eq!(start, Offset(31), "the follower's log");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_sent_to_the_replica_in_its_rack_and_served_there() {
    let settings = |id: i32| {
        let selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
        vec![("broker.rack".into(), format!("rack-{id}")), ("replica.selector.class".into(), selector.into())]
    };
    let cluster = Cluster::start_with(3, settings).await;
    let session = cluster.session().await;
    topic(&cluster, 1, 3, &[]).await;
    let leader = cluster.state(&session, TOPIC, 0).await.unwrap().leader;
    let near = (leader + 1) % 3;
    produce(&cluster.producer(), TOPIC, 1, 0..5).await;
    let request = |rack: &str, fetch_offset| FetchRequest {
        max_wait_ms: 1000,
        min_bytes: 1,
        rack_id: Str::from(rack.to_owned()),
        topics: vec![FetchTopic {
            topic: Str::from(TOPIC),
            partitions: vec![FetchPartition { fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let ask = async |broker: i32, rack: &str, version: i16| {
        let answer = connection(&cluster, broker).await.send_version(&request(rack, 0), version).await.unwrap();
        let data = &answer.responses[0].partitions[0];
        (data.error_code, data.preferred_read_replica, !data.records.is_empty())
    };
    let misdirected = ErrorCode::NOT_LEADER_OR_FOLLOWER.0;
    assert_eq!(ask(leader, &format!("rack-{near}"), 11).await, (0, near, false), "sent to its rack");
    assert_eq!(ask(leader, &format!("rack-{leader}"), 11).await, (0, -1, true), "the leader is near");
    assert_eq!(ask(leader, "elsewhere", 11).await, (0, -1, true), "nobody is near");
    assert_eq!(ask(leader, &format!("rack-{near}"), 10).await, (0, -1, true), "too old to be sent");
    assert_eq!(ask(near, "", 10).await, (misdirected, -1, false), "too old to read from a follower");
    // A follower hears of the high watermark with its next answer.
    eventually("the follower to serve what is committed", || async {
        (ask(near, &format!("rack-{near}"), 11).await == (0, -1, true)).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_comes_back_is_copied_no_faster_than_its_throttle() {
    const RATE: usize = 400_000;
    let mut cluster = Cluster::start(2, &[]).await;
    let session = cluster.session().await;
    let throttled = [("leader.replication.throttled.replicas", "*"), ("follower.replication.throttled.replicas", "*")];
    topic(&cluster, 1, 2, &throttled).await;
    let leader = cluster.state(&session, TOPIC, 0).await.unwrap().leader;
    let away = 1 - leader;
    cluster.stop_broker(away).await;
    cluster.wait_for_state(&session, TOPIC, 0, |state| state.isr == [leader]).await;
    fill(&cluster.producer(), 24, 50_000).await;
    let rates = EntityConfig::new([("follower.replication.throttled.rate".to_owned(), RATE.to_string())].into());
    for broker in ["0", "1"] {
        session.create(&format!("/config/brokers/{broker}"), rates.to_json(), CreateMode::Persistent).await.unwrap();
    }
    let begun = Clock::real().now();
    cluster.start_broker(away).await;
    cluster.wait_for_state(&session, TOPIC, 0, |state| state.isr.len() == 2).await;
    // 1.2 MB, of which a second's worth may come at once, and a last fetch past the limit.
    let least = Duration::from_secs_f64((1_200_000.0 - RATE as f64 - 1_048_576.0_f64.min(RATE as f64)) / RATE as f64);
    assert!(begun.elapsed() >= least, "1.2 MB came in {:?} at {RATE} bytes a second", begun.elapsed());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_fails_leaves_the_lead_to_others() {
    let mut cluster = Cluster::start(2, &[]).await;
    let session = cluster.session().await;
    let disk = SimDisk::new();
    let surroundings = Surroundings { disk: Disk::Sim(disk), ..Surroundings::default() };
    cluster.add_broker(2, &[("log.dirs", "/one,/two")], surroundings).await;
    let replicas = || vec![BrokerId(2), BrokerId(0), BrokerId(1)];
    let assignments = [(0, replicas()), (1, replicas())].into();
    let topic = NewTopic { assignments, ..NewTopic::new(TOPIC, None, None) };
    cluster.admin().create_topic(&topic).await.unwrap();
    produce(&cluster.producer(), TOPIC, 2, 0..10).await;
    disk.add_fault(Fault::always(Operation::Write, "/one/copied-"));
    // What is written next meets the failure and is carried through by whoever leads then.
    produce(&cluster.producer(), TOPIC, 2, 10..20).await;
    let mut leaders = Vec::new();
    for partition in 0..2 {
        leaders.push(cluster.state(&session, TOPIC, partition).await.unwrap().leader);
    }
    leaders.sort_unstable();
    assert_eq!(leaders, [0, 2], "the partition on the failed disk moved, the other did not");
    cluster.stop().await;
}
