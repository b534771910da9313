//! Three brokers on our keeper: who is elected when somebody dies, stops or comes back, and what the controller does about it.

use client::kafka::NewTopic;
use protocol::types::BrokerId;
use tidemill_testing::servers::{Cluster, eventually};

/// A topic whose partitions have these replicas.
async fn create(cluster: &Cluster, topic: &str, replicas: &[&[i32]]) {
    let ids = replicas.iter().map(|replicas| replicas.iter().copied().map(BrokerId).collect());
    let mut new = NewTopic::new(topic, None, None);
    new.assignments = (0..).zip(ids).collect();
    cluster.admin().create_topic(&new).await.expect("a new topic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_leader_is_replaced_and_a_dead_controller_too() {
    let mut cluster = Cluster::start(3, &[]).await;
    let session = cluster.session().await;
    create(&cluster, "t", &[&[0, 1, 2], &[1, 2, 0], &[2, 0, 1]]).await;
    let controller = cluster.controller(&session).await.unwrap();
    let led = cluster.state(&session, "t", controller).await.unwrap();
    assert_eq!((led.leader, led.leader_epoch), (controller, 0));
    cluster.kill_broker(controller).await;
    let after = cluster.wait_for_state(&session, "t", controller, |state| state.leader != controller).await;
    assert_eq!((after.leader, after.leader_epoch), ((controller + 1) % 3, 1));
    assert!(!after.isr.contains(&controller), "{after:?}");
    let next = eventually("another controller", || async { cluster.controller(&session).await }).await;
    assert_ne!(next, controller);
    cluster.start_broker(controller).await;
    cluster.stop().await;
}
