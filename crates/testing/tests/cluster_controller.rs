//! Three brokers on our keeper: who is elected when somebody dies, stops or comes back, and what the controller does about it.

use client::kafka::NewTopic;
use client::kafka::admin::{AlterOperation, ConfigResource, ConfigSource};
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

#[tokio::test(flavor = "multi_thread")]
async fn throttles_are_set_on_running_brokers_and_shown() {
    let cluster = Cluster::start(2, &[]).await;
    let admin = cluster.admin();
    let rate = "leader.replication.throttled.rate";
    let set = |value: &str| vec![(rate.to_owned(), AlterOperation::Set(value.to_owned()))];
    let (one, all) = (ConfigResource::Broker(Some(BrokerId(1))), ConfigResource::Broker(None));
    admin.incremental_alter_configs(&all, &set("5000"), false).await.unwrap();
    admin.incremental_alter_configs(&one, &set("1000"), false).await.unwrap();
    let shown = async |resource: ConfigResource| {
        let described = admin.describe_configs(&resource, Some(&[rate])).await.unwrap();
        described.into_iter().map(|entry| (entry.value, entry.source)).collect::<Vec<_>>()
    };
    // The other broker may hear of it a moment later.
    let default = (Some("5000".to_owned()), ConfigSource::DynamicDefaultBroker);
    eventually("broker 0 to know the rate for all", || async {
        (shown(ConfigResource::Broker(Some(BrokerId(0)))).await == [default.clone()]).then_some(())
    })
    .await;
    assert_eq!(shown(one.clone()).await, [(Some("1000".to_owned()), ConfigSource::DynamicBroker)]);
    admin.incremental_alter_configs(&one, &[(rate.to_owned(), AlterOperation::Delete)], false).await.unwrap();
    assert_eq!(shown(one.clone()).await, [default]);
    for (name, value, words) in [
        (rate, "fast", "Not a number of type LONG"),
        ("num.partitions", "3", "Cannot update these configs dynamically: Set(num.partitions)"),
        ("log.retention.ms", "3", "cannot be changed on a running broker yet"),
    ] {
        let change = [(name.to_owned(), AlterOperation::Set(value.to_owned()))];
        let refused = admin.incremental_alter_configs(&one, &change, false).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
    cluster.stop().await;
}
