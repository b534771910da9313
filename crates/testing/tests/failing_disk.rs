//! A disk that fails under a broker, through our client: what was not stored is not acknowledged, and the broker ends only with its last log
//! directory.

use std::time::Duration;

use broker::Surroundings;
use client::kafka::admin::NewTopic;
use client::kafka::config::Acks;
use client::kafka::{Admin, Cluster, Producer, ProducerConfig, ProducerRecord};
use runtime::Disk;
use runtime::sim_disk::{Fault, Operation, SimDisk};
use tidemill_testing::servers::Servers;

const TOPIC: &str = "failing";
/// Longest wait for what must come.
const LIMIT: Duration = Duration::from_secs(10);

/// Sends one record with acks=all; gives whether it was acknowledged.
async fn is_acknowledged(cluster: &Cluster, partition: i32) -> bool {
    let mut client = cluster.config().clone();
    client.request_timeout = Duration::from_secs(1);
    let mut config = ProducerConfig::new(client);
    config.acks = Acks::All;
    config.delivery_timeout = Duration::from_secs(2);
    let producer = Producer::new(cluster.clone(), config).unwrap();
    let mut record = ProducerRecord::new(TOPIC, "value");
    record.partition = Some(partition);
    producer.send(record).await.unwrap().await.is_ok()
}

/// Fails every sync below `failing`, writes to both partitions, and compares how many were acknowledged and how the broker is then.
async fn check(log_dirs: &str, failing: &str, acknowledged: usize, ends: bool) {
    let disk = SimDisk::new();
    let surroundings = Surroundings { disk: Disk::Sim(disk), ..Surroundings::default() };
    let servers = Servers::start_in(|_| {}, &[("log.dirs", log_dirs)], surroundings).await;
    let (broker, cluster) = (&servers.broker, servers.cluster());
    Admin::new(cluster.clone()).create_topic(&NewTopic::new(TOPIC, Some(2), Some(1))).await.unwrap();
    for partition in 0..2 {
        assert!(is_acknowledged(&cluster, partition).await, "{partition}: the disk is well");
    }
    disk.add_fault(Fault::always(Operation::SyncFile, failing));
    let mut count = 0;
    for partition in 0..2 {
        count += usize::from(is_acknowledged(&cluster, partition).await);
    }
    assert_eq!(count, acknowledged, "{log_dirs}: acknowledged with {failing} failing");
    let reasons = broker.status().log_dirs.into_iter().filter(|dir| dir.reason.is_some()).count();
    assert_eq!(reasons, 1, "{log_dirs}: one directory says why");
    if ends {
        let error = tokio::time::timeout(LIMIT, broker.failed()).await.unwrap();
        assert_eq!(error.to_string(), format!("Shutdown broker because all log dirs in {log_dirs} have failed"));
        assert!(error.cause().unwrap().contains(TOPIC), "the cause names the log: {:?}", error.cause());
    } else {
        assert!(tokio::time::timeout(Duration::from_secs(1), broker.failed()).await.is_err(), "a directory is left");
    }
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_is_not_acknowledged_and_ends_a_broker_of_one_directory() {
    check("/logs", "failing-", 0, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_goes_on_with_the_directory_that_is_left() {
    check("/one,/two", "/one/failing-", 1, false).await;
}
