use std::time::Duration;

use protocol::api::ApiKey;
use protocol::messages::create_topics::{CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse};
use protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use protocol::messages::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use protocol::messages::find_coordinator::FindCoordinatorResponse;
use protocol::messages::metadata::{MetadataResponse, MetadataResponseBroker};
use protocol::types::{Offset, TopicPartition};
use protocol::wire::Str;
use runtime::Clock;

use super::super::config::ClientConfig;
use super::super::fake_broker::{Answer, FakeBroker};
use super::*;

const APIS: &[ApiKey] =
    &[ApiKey::ApiVersions, ApiKey::Metadata, ApiKey::CreateTopics, ApiKey::FindCoordinator, ApiKey::DescribeGroups];

fn admin(broker: &FakeBroker) -> Admin {
    Admin::new(Cluster::new(broker.config(), Clock::real()))
}

fn created(code: ErrorCode, message: Option<&str>) -> CreateTopicsResponse {
    let topic = CreatableTopicResult {
        name: Str::from("t"),
        error_code: code.0,
        error_message: message.map(Str::from),
        ..Default::default()
    };
    CreateTopicsResponse { topics: vec![topic], ..Default::default() }
}

/// A broker that answers CreateTopics with `answer`, told how often it was asked before.
fn creating(answer: impl Fn(usize) -> Option<CreateTopicsResponse> + Send + 'static) -> FakeBroker {
    let mut asked_before = 0;
    FakeBroker::start(move |asked, address| match asked.api {
        ApiKey::ApiVersions => asked.versions_of(APIS),
        ApiKey::Metadata => asked.metadata_of(address, &[]),
        _ => {
            let request: CreateTopicsRequest = asked.read();
            assert_eq!((request.topics[0].num_partitions, request.topics[0].replication_factor), (3, 1));
            asked_before += 1;
            answer(asked_before - 1).map_or(Answer::Close, |response| asked.answer(&response))
        }
    })
}

fn topic() -> NewTopic {
    NewTopic::new("t", Some(3), Some(1))
}

#[tokio::test]
async fn another_controller_is_looked_for() {
    let broker =
        creating(|before| Some(created(if before == 0 { ErrorCode::NOT_CONTROLLER } else { ErrorCode::NONE }, None)));
    admin(&broker).create_topic(&topic()).await.unwrap();
    assert_eq!(broker.count(ApiKey::CreateTopics), 2);
    assert_eq!(broker.count(ApiKey::Metadata), 2);
}

#[tokio::test]
async fn a_controller_that_is_gone_is_not_waited_for() {
    let mut asked_before = 0;
    let broker = FakeBroker::start(move |asked, address| match asked.api {
        ApiKey::ApiVersions => asked.versions_of(APIS),
        ApiKey::Metadata => {
            asked_before += 1;
            let node =
                |node_id, port| MetadataResponseBroker { node_id, host: Str::from("127.0.0.1"), port, rack: None };
            asked.answer(&MetadataResponse {
                // Nobody listens on port 1; the next election has another winner.
                brokers: vec![node(0, i32::from(address.port)), node(1, 1)],
                controller_id: i32::from(asked_before == 1),
                ..Default::default()
            })
        }
        _ => asked.answer(&created(ErrorCode::NONE, None)),
    });
    admin(&broker).create_topic(&topic()).await.unwrap();
    assert_eq!(broker.count(ApiKey::Metadata), 2);
}

#[tokio::test]
async fn the_brokers_own_sentence_is_the_error() {
    let broker = creating(|_| Some(created(ErrorCode::TOPIC_ALREADY_EXISTS, Some("Topic 't' already exists."))));
    let error = admin(&broker).create_topic(&topic()).await.unwrap_err();
    assert_eq!(error.to_string(), "Topic 't' already exists.");
    assert_eq!(error.cause().as_deref(), Some("t: TOPIC_ALREADY_EXISTS"));
    assert_eq!(broker.count(ApiKey::CreateTopics), 1);
}

#[tokio::test]
async fn a_change_whose_outcome_nobody_knows_is_not_repeated() {
    let broker = creating(|_| None);
    let error = admin(&broker).create_topic(&topic()).await.unwrap_err();
    assert!(matches!(error, ClientError::Disconnected { .. }), "{error:?}");
    assert_eq!(broker.count(ApiKey::CreateTopics), 1);
}

#[tokio::test]
async fn a_call_that_finds_nobody_is_named_in_the_error() {
    let config =
        ClientConfig { default_api_timeout: Duration::from_millis(100), ..ClientConfig::parse("127.0.0.1:1").unwrap() };
    let admin = Admin::new(Cluster::new(config, Clock::real()));
    let error = admin.list_topics().await.unwrap_err();
    assert_eq!(error.to_string(), "Timed out waiting for a node assignment. Call: listTopics");
    let error = admin.create_topic(&topic()).await.unwrap_err();
    assert_eq!(error.to_string(), "Timed out waiting for a node assignment. Call: createTopics");
}

#[tokio::test]
async fn a_group_is_described_by_its_coordinator() {
    let mut asked_before = 0;
    let broker = FakeBroker::start(move |asked, address| match asked.api {
        ApiKey::ApiVersions => asked.versions_of(APIS),
        ApiKey::Metadata => asked.metadata_of(address, &[]),
        ApiKey::FindCoordinator => asked.answer(&FindCoordinatorResponse {
            host: Str::from(address.host.as_str()),
            port: i32::from(address.port),
            ..Default::default()
        }),
        _ => {
            let group = asked.read::<DescribeGroupsRequest>().groups[0].clone();
            asked_before += 1;
            let member = DescribedGroupMember {
                member_id: Str::from("m"),
                // The assignment of another kind of consumer: it is left out, the member is not.
                member_assignment: vec![0, 0, 9].into(),
                ..Default::default()
            };
            let described = DescribedGroup {
                // It has moved; the next one to be asked is the right one.
                error_code: if asked_before == 1 { ErrorCode::NOT_COORDINATOR.0 } else { 0 },
                group_id: group,
                group_state: Str::from("Stable"),
                protocol_type: Str::from("consumer"),
                members: vec![member],
                ..Default::default()
            };
            asked.answer(&DescribeGroupsResponse { groups: vec![described], ..Default::default() })
        }
    });
    let group = admin(&broker).describe_group("g").await.unwrap();
    assert_eq!((group.state.as_str(), group.members.len(), group.coordinator), ("Stable", 1, BrokerId(0)));
    assert_eq!(broker.count(ApiKey::FindCoordinator), 2);
}

#[tokio::test]
async fn a_replica_is_read_whether_it_leads_or_follows() {
    const APIS: &[ApiKey] = &[ApiKey::ApiVersions, ApiKey::Metadata, ApiKey::Fetch];
    let broker = FakeBroker::start(|asked, address| match asked.api {
        ApiKey::ApiVersions => asked.versions_of(APIS),
        ApiKey::Metadata => asked.metadata_of(address, &[("t", 2)]),
        _ => {
            let request: FetchRequest = asked.read();
            assert_eq!((asked.version, request.replica_id), (12, -2));
            let offsets: Vec<i64> = request.topics[0].partitions.iter().map(|asked| asked.fetch_offset).collect();
            assert_eq!(offsets, [5, 6]);
            let good = PartitionData {
                high_watermark: 9,
                log_start_offset: 2,
                records: bytes::Bytes::from_static(&[1, 2]).into(),
                ..Default::default()
            };
            let refused = PartitionData { partition_index: 1, error_code: 6, ..Default::default() };
            let topic =
                FetchableTopicResponse { topic: Str::from("t"), partitions: vec![good, refused], ..Default::default() };
            asked.answer(&FetchResponse { responses: vec![topic], ..Default::default() })
        }
    });
    let admin = admin(&broker);
    admin.describe_cluster().await.unwrap();
    let wanted = [(TopicPartition::new("t", 0), Offset(5)), (TopicPartition::new("t", 1), Offset(6))];
    let read = admin.read_replicas(BrokerId(0), &wanted, 1000, Duration::ZERO).await.unwrap();
    let bytes = ReplicaBytes { high_watermark: Offset(9), log_start_offset: Some(Offset(2)), bytes: vec![1, 2].into() };
    assert_eq!(read[0], (wanted[0].0.clone(), Ok(bytes)));
    assert_eq!(read[1], (wanted[1].0.clone(), Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)));
}
