//! `log.flush.before.ack`, through our client: which acknowledgements wait for the disk, and which do not.
//!
//! No crash is needed to see it: the broker's status counts the records that its disk may not have yet, and nothing else asks for a sync here.

use client::kafka::admin::NewTopic;
use client::kafka::config::Acks;
use client::kafka::{Admin, Cluster, Producer, ProducerConfig, ProducerRecord};
use tidemill_testing::servers::Servers;

const TOPIC: &str = "flushed";

/// Sends one record and waits for its acknowledgement.
async fn produce(cluster: &Cluster, acks: Acks) {
    let mut config = ProducerConfig::new(cluster.config().clone());
    config.acks = acks;
    // Kafka's producers allow idempotence with acks=all only.
    config.enable_idempotence = acks == Acks::All;
    let producer = Producer::new(cluster.clone(), config).unwrap();
    producer.send(ProducerRecord::new(TOPIC, "value")).await.unwrap().await.unwrap();
}

/// Starts a broker in a mode, sends a record with acks=1 and then one with acks=all, and compares what is unsynced after the second.
async fn check(mode: &str, unsynced_after_acks_all: u64) {
    let servers = Servers::start(&[("log.flush.before.ack", mode)]).await;
    let (broker, cluster) = (&servers.broker, servers.cluster());
    Admin::new(cluster.clone()).create_topic(&NewTopic::new(TOPIC, Some(1), Some(1))).await.unwrap();
    assert_eq!(broker.status().unsynced_records, 0, "{mode}: nothing is stored yet");
    produce(&cluster, Acks::Leader).await;
    assert_eq!(broker.status().unsynced_records, 1, "{mode}: acks=1 waits for no disk");
    produce(&cluster, Acks::All).await;
    assert_eq!(broker.status().unsynced_records, unsynced_after_acks_all, "{mode}: after acks=all");
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn always_syncs_before_acks_all_is_answered() {
    check("always", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_syncs_before_acks_all_is_answered_where_no_other_replica_has_the_record() {
    check("auto", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn never_answers_acks_all_with_nothing_synced() {
    check("never", 2).await;
}
