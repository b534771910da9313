//! Topics of many partitions, and logs without a record, which are on disk only as far as nothing hangs on it.

use client::kafka::NewTopic;
use tidemill_testing::servers::{Cluster, produce};

const TOPIC: &str = "many";

async fn topic(cluster: &Cluster, partitions: i32, replicas: i16) {
    cluster.admin().create_topic(&NewTopic::new(TOPIC, Some(partitions), Some(replicas))).await.unwrap();
}

/// What a broker has in the folder of partition 0, by name.
fn files(cluster: &Cluster, broker: i32) -> Vec<String> {
    let folder = cluster.directory.path().join(format!("broker-{broker}")).join(format!("logs/{TOPIC}-0"));
    let mut files: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_gets_its_files_with_its_first_record_on_every_replica() {
    let cluster = Cluster::start(2, &[]).await;
    topic(&cluster, 20, 2).await;
    for broker in 0..2 {
        assert_eq!(files(&cluster, broker), ["00000000000000000000.log"]);
    }
    produce(&cluster.producer(), TOPIC, 1, 0..1).await;
    for broker in 0..2 {
        let expected = [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "leader-epoch-checkpoint",
            "partition.metadata",
        ];
        assert_eq!(files(&cluster, broker), expected);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_log_went_in_a_power_cut_does_not_lead_on_in_the_epoch_it_led_in() {
    let mut cluster = Cluster::start(1, &[]).await;
    let session = cluster.session().await;
    topic(&cluster, 1, 1).await;
    let before = cluster.state(&session, TOPIC, 0).await.unwrap().leader_epoch;
    cluster.kill_broker(0).await;
    // The name of a log without a durable record is not synced, and its unsynced records go with it.
    std::fs::remove_dir_all(cluster.directory.path().join(format!("broker-0/logs/{TOPIC}-0"))).unwrap();
    cluster.start_broker(0).await;
    cluster.wait_for_state(&session, TOPIC, 0, |state| state.leader == 0 && state.leader_epoch > before).await;
    produce(&cluster.producer(), TOPIC, 1, 0..1).await;
    cluster.stop().await;
}
