//! Three brokers on our keeper: who is elected when somebody dies, stops or comes back, and what the controller does about it.

use std::collections::BTreeMap;

use client::kafka::admin::{AlterOperation, ConfigResource, ConfigSource};
use client::kafka::{Admin, IsolationLevel, NewTopic, OffsetSpec};
use client::zookeeper::znodes::{Reassignment, TopicAssignment};
use client::zookeeper::{CreateMode, Session, paths};
use protocol::error::ErrorCode;
use protocol::messages::alter_partition_reassignments::AlterPartitionReassignmentsRequest;
use protocol::messages::controlled_shutdown::ControlledShutdownRequest;
use protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use protocol::messages::elect_leaders::ElectLeadersRequest;
use protocol::messages::list_partition_reassignments::ListPartitionReassignmentsRequest;
use protocol::types::{BrokerId, TopicPartition};
use tidemill_testing::servers::{Cluster, eventually, produce};

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
async fn a_broker_that_stops_in_order_hands_over_first_and_counts_as_clean() {
    let mut cluster = Cluster::start(3, &[("min.insync.replicas", "2")]).await;
    let session = cluster.session().await;
    create(&cluster, "t", &[&[0, 1, 2], &[1, 2, 0], &[2, 0, 1]]).await;
    let controller = cluster.controller(&session).await.unwrap();
    let other = (controller + 1) % 3;
    for stopping in [other, controller] {
        let before = cluster.state(&session, "t", stopping).await.unwrap();
        cluster.stop_broker(stopping).await;
        // It was done before the session ended: nobody had to be told of a death.
        let after = cluster.state(&session, "t", stopping).await.unwrap();
        assert_ne!(after.leader, stopping, "{after:?}");
        assert!(after.leader_epoch > before.leader_epoch && !after.isr.contains(&stopping), "{after:?}");
        cluster.start_broker(stopping).await;
        cluster.wait_for_state(&session, "t", stopping, |state| state.isr.len() == 3).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_to_other_brokers_on_request_of_the_api_and_of_old_tools() {
    let cluster = Cluster::start(3, &[]).await;
    let session = cluster.session().await;
    create(&cluster, "t", &[&[0, 2], &[0, 1]]).await;
    produce(&cluster.producer(), "t", 2, 0..20).await;
    let admin = cluster.admin();
    let moves: BTreeMap<TopicPartition, Option<Vec<BrokerId>>> =
        [(0, Some(vec![1, 2])), (1, Some(vec![1, 9])), (7, Some(vec![1]))]
            .into_iter()
            .map(|(partition, replicas)| {
                let ids = replicas.map(|replicas: Vec<i32>| replicas.into_iter().map(BrokerId).collect());
                (TopicPartition::new("t", partition), ids)
            })
            .collect();
    let outcomes = admin.alter_partition_reassignments(&moves).await.unwrap();
    let told: Vec<String> = outcomes.into_iter().filter_map(|(_, outcome)| Some(outcome.err()?.to_string())).collect();
    assert!(told[0].contains("Replica assignment has brokers that are not alive. Replica list: 9"), "{told:?}");
    assert!(told[1].contains("The partition does not exist."), "{told:?}");
    cluster.wait_for_state(&session, "t", 0, |state| state.isr == [2, 1] && state.leader == 1).await;
    assert_eq!(replicas(&session, "t").await.partitions[&0], [1, 2]);
    // Told from the image, which follows the tree.
    eventually("no move to be under way", || async {
        admin.list_partition_reassignments().await.unwrap().is_empty().then_some(())
    })
    .await;
    // The log of a broker that is named no more goes.
    let old = cluster.directory.path().join("broker-0/logs/t-0");
    eventually("the old log to go", || async { (!old.exists()).then_some(()) }).await;
    let request = Reassignment { partitions: vec![("t".to_owned(), 1, vec![2, 0])] };
    session.create(paths::REASSIGN_PARTITIONS, request.to_json(), CreateMode::Persistent).await.unwrap();
    eventually("the request to be met", || async {
        session.exists(paths::REASSIGN_PARTITIONS).await.unwrap().is_none().then_some(())
    })
    .await;
    let after = replicas(&session, "t").await;
    assert_eq!(
        (&after.partitions[&1][..], after.adding_replicas.len(), after.removing_replicas.len()),
        (&[2, 0][..], 0, 0)
    );
    cluster.wait_for_state(&session, "t", 1, |state| state.leader == 0 && state.isr.len() == 2).await;
    produce(&cluster.producer(), "t", 2, 20..40).await;
    cluster.stop().await;
}

/// KIP-966: the leader was alone in the ISR when it lost power. Whoever left last lacks nothing that was acknowledged, so it leads, and nobody else does.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_replica_standing_does_not_lead_after_a_power_loss_while_another_is_eligible() {
    let mut cluster = Cluster::start(3, &[("min.insync.replicas", "2")]).await;
    let session = cluster.session().await;
    create(&cluster, "t", &[&[0, 1, 2]]).await;
    produce(&cluster.producer(), "t", 1, 0..20).await;
    cluster.stop_broker(2).await;
    cluster.stop_broker(1).await;
    let alone = cluster.state(&session, "t", 0).await.unwrap();
    assert_eq!((alone.leader, &alone.isr[..], &alone.elr[..]), (0, &[0][..], &[1][..]));
    cluster.kill_broker(0).await;
    cluster.wait_for_registration(&session, 0, false).await;
    cluster.start_broker(0).await;
    // Nor does the replica that left first: the high watermark went on without it.
    cluster.start_broker(2).await;
    let nobody = cluster.wait_for_state(&session, "t", 0, |state| state.leader == -1).await;
    assert_eq!((&nobody.isr[..], &nobody.elr[..]), (&[][..], &[1][..]));
    cluster.start_broker(1).await;
    let after = cluster.wait_for_state(&session, "t", 0, |state| state.isr.len() == 3).await;
    assert_eq!((after.leader, after.elr.len(), after.last_known_elr.len()), (1, 0, 0));
    produce(&cluster.producer(), "t", 1, 20..25).await;
    assert_eq!(log_end(&cluster, "t", 0).await, 25);
    cluster.stop().await;
}

async fn log_end(cluster: &Cluster, topic: &str, partition: i32) -> i64 {
    let partition = TopicPartition::new(topic, partition);
    let wanted = [(partition.clone(), OffsetSpec::Latest)];
    let mut ends = cluster.admin().list_offsets(&wanted, IsolationLevel::ReadUncommitted).await;
    ends.remove(&partition).unwrap().unwrap().unwrap().offset.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_logs_are_gone_leaves_the_isrs_it_was_in() {
    let mut cluster = Cluster::start(2, &[]).await;
    let session = cluster.session().await;
    create(&cluster, "t", &[&[0, 1]]).await;
    produce(&cluster.producer(), "t", 1, 0..20).await;
    let before = cluster.state(&session, "t", 0).await.unwrap();
    cluster.kill_broker(0).await;
    std::fs::remove_dir_all(cluster.directory.path().join("broker-0/logs/t-0")).unwrap();
    // Its registration still stands: nobody has noticed yet.
    cluster.start_broker(0).await;
    let after = cluster.wait_for_state(&session, "t", 0, |state| state.leader == 1).await;
    assert!(after.leader_epoch > before.leader_epoch, "{after:?}");
    cluster.wait_for_state(&session, "t", 0, |state| state.isr == [1, 0]).await;
    assert_eq!(log_end(&cluster, "t", 0).await, 20);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_of_a_new_topic_are_in_different_racks() {
    let rack = |id: i32| vec![("broker.rack".to_owned(), if id < 2 { "a" } else { "b" }.to_owned())];
    let cluster = Cluster::start_with(3, rack).await;
    let session = cluster.session().await;
    cluster.admin().create_topic(&NewTopic::new("t", Some(12), Some(2))).await.unwrap();
    let assigned = replicas(&session, "t").await;
    assert!(assigned.partitions.values().all(|replicas| replicas.contains(&2)), "{assigned:?}");
    let refused = cluster.admin().create_topic(&NewTopic::new("u", Some(1), Some(4))).await.unwrap_err().to_string();
    assert!(refused.contains("Replication factor: 4 larger than available brokers: 3."), "{refused}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_not_the_controller_say_so() {
    let cluster = Cluster::start(2, &[]).await;
    let session = cluster.session().await;
    let other = 1 - cluster.controller(&session).await.unwrap();
    let client = cluster.client_of(other);
    let refused = |code: i16| assert_eq!(code, ErrorCode::NOT_CONTROLLER.0);
    let to = BrokerId(other);
    let topics =
        vec![CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 1, ..Default::default() }];
    let request = CreateTopicsRequest { topics, ..Default::default() };
    client.refresh_brokers().await.unwrap();
    refused(client.send_to(to, &request).await.unwrap().topics[0].error_code);
    let request = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic { name: "t".into(), count: 2, ..Default::default() }],
        ..Default::default()
    };
    refused(client.send_to(to, &request).await.unwrap().results[0].error_code);
    let states = vec![DeleteTopicState { name: Some("t".into()), ..Default::default() }];
    let request = DeleteTopicsRequest { topics: states, topic_names: vec!["t".into()], ..Default::default() };
    refused(client.send_to(to, &request).await.unwrap().responses[0].error_code);
    refused(client.send_to(to, &ElectLeadersRequest::default()).await.unwrap().error_code);
    let request = AlterPartitionReassignmentsRequest::default();
    refused(client.send_to(to, &request).await.unwrap().error_code);
    let request = ListPartitionReassignmentsRequest::default();
    refused(client.send_to(to, &request).await.unwrap().error_code);
    let request = ControlledShutdownRequest { broker_id: other, ..Default::default() };
    refused(client.send_to(to, &request).await.unwrap().error_code);
    // Clients find the controller whomever they ask first.
    Admin::new(client).create_topic(&NewTopic::new("t", Some(1), Some(2))).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unclean_election_follows_when_the_topic_comes_to_allow_it() {
    let mut cluster = Cluster::start(2, &[]).await;
    let session = cluster.session().await;
    create(&cluster, "t", &[&[0, 1]]).await;
    cluster.stop_broker(1).await;
    cluster.wait_for_state(&session, "t", 0, |state| state.isr == [0]).await;
    cluster.kill_broker(0).await;
    cluster.start_broker(1).await;
    cluster.wait_for_state(&session, "t", 0, |state| state.leader == -1).await;
    let allow = [("unclean.leader.election.enable".to_owned(), AlterOperation::Set("true".to_owned()))];
    let topic = ConfigResource::Topic("t".to_owned());
    cluster.admin().incremental_alter_configs(&topic, &allow, false).await.unwrap();
    let after = cluster.wait_for_state(&session, "t", 0, |state| state.leader == 1).await;
    assert_eq!(after.isr, [1]);
    cluster.stop().await;
}

/// The assignment of a topic as the tree has it.
async fn replicas(session: &Session, topic: &str) -> TopicAssignment {
    let path = paths::topic(topic);
    let (data, _) = session.get_data(&path).await.unwrap();
    TopicAssignment::parse(&path, &data).unwrap()
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
