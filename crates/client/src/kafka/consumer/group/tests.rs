use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::api::ApiKey;
use protocol::error::ErrorCode;
use protocol::messages::fetch::FetchResponse;
use protocol::messages::find_coordinator::FindCoordinatorResponse;
use protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use protocol::messages::leave_group::LeaveGroupResponse;
use protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use runtime::Clock;

use super::super::super::fake_broker::{Answer, Asked, FakeBroker};
use super::super::super::versions::OldBroker;
use super::*;

const APIS: &[ApiKey] = &[
    ApiKey::ApiVersions,
    ApiKey::Metadata,
    ApiKey::Fetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::SyncGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
];
const WAIT: Duration = Duration::from_secs(5);

/// A coordinator of one group of one member, and the leader of what it reads.
#[derive(Default)]
struct Group {
    generation: i32,
    partitions: i32,
    committed: BTreeMap<i32, i64>,
    /// Codes to answer with instead, used up one by one.
    joins: Vec<ErrorCode>,
    heartbeats: Vec<ErrorCode>,
    left: bool,
    session_timeout_ms: i32,
}

impl Group {
    fn answer(&mut self, asked: &Asked, address: &super::super::super::HostPort) -> Answer {
        match asked.api {
            ApiKey::ApiVersions => asked.versions_of(APIS),
            ApiKey::Metadata => asked.metadata_of(address, &[("t", self.partitions)]),
            ApiKey::FindCoordinator => asked.answer(&FindCoordinatorResponse {
                host: address.host.as_str().into(),
                port: i32::from(address.port),
                ..Default::default()
            }),
            ApiKey::JoinGroup => self.join(asked),
            ApiKey::SyncGroup => {
                let request: SyncGroupRequest = asked.read();
                assert_eq!(request.generation_id, self.generation);
                let assignment = request.assignments[0].assignment.clone();
                asked.answer(&SyncGroupResponse { assignment, ..Default::default() })
            }
            ApiKey::Heartbeat => {
                let request: HeartbeatRequest = asked.read();
                let stale = request.generation_id != self.generation;
                let code = if stale { Some(ErrorCode::ILLEGAL_GENERATION) } else { self.heartbeats.pop() };
                let error_code = code.unwrap_or(ErrorCode::NONE).0;
                asked.answer(&HeartbeatResponse { error_code, ..Default::default() })
            }
            ApiKey::LeaveGroup => {
                self.left = true;
                asked.answer(&LeaveGroupResponse::default())
            }
            ApiKey::OffsetCommit => self.commit(asked),
            ApiKey::OffsetFetch => self.offsets(asked),
            ApiKey::Fetch => match asked.answer(&FetchResponse::default()) {
                Answer::Bytes(frame) => Answer::Later(Duration::from_millis(10), frame),
                other => other,
            },
            other => panic!("nobody should ask for {other}"),
        }
    }

    fn join(&mut self, asked: &Asked) -> Answer {
        let request: JoinGroupRequest = asked.read();
        self.session_timeout_ms = request.session_timeout_ms;
        if let Some(code) = self.joins.pop() {
            let member_id = "given".into();
            return asked.answer(&JoinGroupResponse { error_code: code.0, member_id, ..Default::default() });
        }
        self.generation += 1;
        let member_id = if request.member_id.is_empty() { "new".into() } else { request.member_id.clone() };
        let member = JoinGroupResponseMember {
            member_id: member_id.clone(),
            metadata: request.protocols[0].metadata.clone(),
            ..Default::default()
        };
        asked.answer(&JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: Some("consumer".into()).filter(|_| asked.version >= 7),
            protocol_name: Some(request.protocols[0].name.clone()),
            leader: member_id.clone(),
            member_id,
            members: vec![member],
            ..Default::default()
        })
    }

    fn commit(&mut self, asked: &Asked) -> Answer {
        let request: OffsetCommitRequest = asked.read();
        let stale = request.generation_id_or_member_epoch != self.generation;
        let error_code = if stale { ErrorCode::ILLEGAL_GENERATION.0 } else { 0 };
        let mut partitions = Vec::new();
        for partition in &request.topics[0].partitions {
            if !stale {
                self.committed.insert(partition.partition_index, partition.committed_offset);
            }
            let partition_index = partition.partition_index;
            partitions.push(OffsetCommitResponsePartition { partition_index, error_code });
        }
        let topics = vec![OffsetCommitResponseTopic { name: "t".into(), partitions }];
        asked.answer(&OffsetCommitResponse { topics, ..Default::default() })
    }

    fn offsets(&self, asked: &Asked) -> Answer {
        let request: OffsetFetchRequest = asked.read();
        let partition = |partition_index: &i32| OffsetFetchResponsePartition {
            partition_index: *partition_index,
            committed_offset: self.committed.get(partition_index).copied().unwrap_or(-1),
            ..Default::default()
        };
        let topics = request.topics.unwrap_or_default();
        let partitions = topics.iter().flat_map(|topic| &topic.partition_indexes).map(partition).collect();
        let topics = vec![OffsetFetchResponseTopic { name: "t".into(), partitions }];
        asked.answer(&OffsetFetchResponse { topics, ..Default::default() })
    }
}

fn group(change: impl FnOnce(&mut Group)) -> (FakeBroker, Arc<Mutex<Group>>) {
    let mut group = Group { partitions: 2, ..Group::default() };
    group.committed = BTreeMap::from([(0, 10), (1, 20)]);
    change(&mut group);
    let group = Arc::new(Mutex::new(group));
    let shared = group.clone();
    (FakeBroker::start(move |asked, address| shared.lock().answer(asked, address)), group)
}

fn consumer(broker: &FakeBroker, change: impl FnOnce(&mut ConsumerConfig)) -> GroupConsumer {
    let mut config = ConsumerConfig::new(broker.config());
    config.group_id = Some("g".to_string());
    config.heartbeat_interval = Duration::from_millis(10);
    config.fetch_max_wait = Duration::from_millis(10);
    change(&mut config);
    let consumer = GroupConsumer::new(Cluster::new(config.client.clone(), Clock::real()), config).unwrap();
    consumer.subscribe(["t"]);
    consumer
}

/// Polls until `done`.
async fn poll_until(consumer: &GroupConsumer, mut done: impl FnMut() -> bool) {
    let deadline = Clock::real().now() + WAIT;
    while !done() {
        assert!(Clock::real().now() < deadline, "it never came to that");
        consumer.poll(Duration::from_millis(20)).await.unwrap();
    }
}

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("t", number)
}

#[tokio::test]
async fn a_member_reads_on_where_the_group_was_and_commits_before_it_leaves() {
    let (broker, group) = group(|_| {});
    let consumer = consumer(&broker, |_| {});
    poll_until(&consumer, || consumer.assignment().len() == 2).await;
    assert_eq!(consumer.consumer().position(&partition(0)), Some(Offset(10)));
    assert_eq!(consumer.consumer().position(&partition(1)), Some(Offset(20)));
    consumer.consumer().seek(&partition(1), Offset(25)).unwrap();
    consumer.close(WAIT).await.unwrap();
    assert_eq!(group.lock().committed, BTreeMap::from([(0, 10), (1, 25)]));
    assert!(group.lock().left);
    assert!(matches!(consumer.consumer().poll(WAIT).await, Err(ClientError::ConsumerClosed)));
}

#[tokio::test]
async fn the_id_the_coordinator_demands_is_used_at_once() {
    let (broker, _) = group(|group| group.joins = vec![ErrorCode::MEMBER_ID_REQUIRED]);
    let consumer = consumer(&broker, |_| {});
    poll_until(&consumer, || consumer.assignment().len() == 2).await;
    assert_eq!(consumer.member().id, "given");
    assert_eq!(broker.count(ApiKey::JoinGroup), 2);
}

#[tokio::test]
async fn a_coordinator_that_moves_or_loads_is_waited_for() {
    let (broker, _) = group(|group| {
        group.joins = vec![
            ErrorCode::REBALANCE_IN_PROGRESS,
            ErrorCode::UNKNOWN_MEMBER_ID,
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            ErrorCode::NOT_COORDINATOR,
        ];
    });
    let consumer = consumer(&broker, |_| {});
    poll_until(&consumer, || consumer.assignment().len() == 2).await;
    assert_eq!(broker.count(ApiKey::FindCoordinator), 2);
    assert_eq!(consumer.member().id, "new");
}

/// Counts what a listener is told.
#[derive(Default)]
struct Counts(Mutex<Vec<String>>);

impl Counts {
    fn note(&self, what: &str, partitions: &[TopicPartition]) -> BoxFuture<'_> {
        self.0.lock().push(format!("{what} {}", partitions.len()));
        Box::pin(async {})
    }
}

impl RebalanceListener for Counts {
    fn on_partitions_revoked<'a>(&'a self, _: &'a GroupConsumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a> {
        self.note("revoked", partitions)
    }

    fn on_partitions_assigned<'a>(&'a self, _: &'a GroupConsumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a> {
        self.note("assigned", partitions)
    }

    fn on_partitions_lost<'a>(&'a self, _: &'a GroupConsumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a> {
        self.note("lost", partitions)
    }
}

#[tokio::test]
async fn a_rebalance_gives_back_and_takes_over_again() {
    let (broker, group) = group(|_| {});
    let listener = Arc::new(Counts::default());
    let consumer = consumer(&broker, |_| {}).with_listener(listener.clone());
    poll_until(&consumer, || consumer.assignment().len() == 2).await;
    consumer.consumer().seek(&partition(0), Offset(11)).unwrap();
    group.lock().heartbeats = vec![ErrorCode::REBALANCE_IN_PROGRESS];
    poll_until(&consumer, || consumer.member().generation == 2 && consumer.assignment().len() == 2).await;
    assert_eq!(*listener.0.lock(), ["assigned 2", "revoked 2", "assigned 2"]);
    // What was read has been committed, and is where reading goes on.
    assert_eq!(consumer.consumer().position(&partition(0)), Some(Offset(11)));
}

#[tokio::test]
async fn a_member_the_group_has_forgotten_loses_its_partitions_and_commits_nothing() {
    let (broker, group) = group(|_| {});
    let listener = Arc::new(Counts::default());
    let consumer = consumer(&broker, |_| {}).with_listener(listener.clone());
    poll_until(&consumer, || consumer.assignment().len() == 2).await;
    consumer.consumer().seek(&partition(0), Offset(99)).unwrap();
    group.lock().heartbeats = vec![ErrorCode::UNKNOWN_MEMBER_ID];
    poll_until(&consumer, || consumer.member().generation == 2 && consumer.assignment().len() == 2).await;
    assert_eq!(*listener.0.lock(), ["assigned 2", "lost 2", "assigned 2"]);
    assert_eq!(group.lock().committed[&0], 10);
}

#[tokio::test]
async fn a_fenced_static_member_is_told_so_and_does_not_come_back() {
    let (broker, group) = group(|_| {});
    let consumer = consumer(&broker, |config| config.group_instance_id = Some("one".to_string()));
    poll_until(&consumer, || consumer.assignment().len() == 2).await;
    group.lock().heartbeats = vec![ErrorCode::FENCED_INSTANCE_ID];
    let deadline = Clock::real().now() + WAIT;
    let error = loop {
        assert!(Clock::real().now() < deadline);
        if let Err(error) = consumer.poll(Duration::from_millis(20)).await {
            break error;
        }
    };
    assert_eq!(error.code(), Some(ErrorCode::FENCED_INSTANCE_ID));
    assert_eq!(broker.count(ApiKey::JoinGroup), 1);
}

#[tokio::test]
async fn a_commit_of_a_stale_member_says_what_happened() {
    let (broker, group) = group(|_| {});
    let consumer = consumer(&broker, |config| config.heartbeat_interval = Duration::from_secs(30));
    poll_until(&consumer, || consumer.assignment().len() == 2).await;
    group.lock().generation += 1;
    let error = consumer.commit_positions().await.unwrap_err();
    assert!(error.to_string().starts_with("Offset commit cannot be completed since the consumer is not part of"));
    assert!(error.cause().unwrap().contains("ILLEGAL_GENERATION"));
}

/// Without a generation a commit is one of nobody's, which a coordinator takes where the group has just no members.
#[tokio::test]
async fn a_member_that_was_given_up_commits_nothing() {
    let (broker, group) = group(|_| {});
    let consumer = consumer(&broker, |_| {});
    poll_until(&consumer, || consumer.assignment().len() == 2).await;
    consumer.consumer().seek(&partition(0), Offset(99)).unwrap();
    group.lock().heartbeats = vec![ErrorCode::UNKNOWN_MEMBER_ID];
    let deadline = Clock::real().now() + WAIT;
    while consumer.member().generation >= 0 {
        assert!(Clock::real().now() < deadline, "it never heard of it");
        Clock::real().sleep(Duration::from_millis(5)).await;
    }
    // As a coordinator without members would: whatever generation is named, it is taken.
    group.lock().generation = -1;
    let error = consumer.commit_positions().await.unwrap_err();
    assert!(error.cause().unwrap().contains("UNKNOWN_MEMBER_ID"), "{error:?}");
    assert_eq!(group.lock().committed[&0], 10);
}

#[tokio::test]
async fn earlier_polls_are_committed_as_time_goes_by() {
    let (broker, group) = group(|_| {});
    let consumer = consumer(&broker, |config| config.auto_commit_interval = Duration::from_millis(30));
    poll_until(&consumer, || consumer.assignment().len() == 2).await;
    consumer.consumer().seek(&partition(0), Offset(12)).unwrap();
    let committed = group.clone();
    poll_until(&consumer, || committed.lock().committed[&0] == 12).await;
}

#[tokio::test]
async fn who_does_not_poll_leaves_the_group() {
    let (broker, group) = group(|_| {});
    let consumer = consumer(&broker, |config| config.max_poll_interval = Duration::from_millis(200));
    poll_until(&consumer, || consumer.assignment().len() == 2).await;
    let deadline = Clock::real().now() + WAIT;
    while !group.lock().left {
        assert!(Clock::real().now() < deadline, "it never left");
        Clock::real().sleep(Duration::from_millis(5)).await;
    }
    // The next poll joins again.
    poll_until(&consumer, || consumer.member().generation == 2).await;
}

#[tokio::test]
async fn the_leader_notices_new_partitions() {
    let (broker, group) = group(|_| {});
    let consumer = consumer(&broker, |config| config.client.metadata_max_age = Duration::from_millis(30));
    poll_until(&consumer, || consumer.assignment().len() == 2).await;
    group.lock().partitions = 5;
    group.lock().committed = (0..5).map(|number| (number, 0)).collect();
    poll_until(&consumer, || consumer.assignment().len() == 5).await;
}

#[tokio::test]
async fn an_old_coordinator_gets_a_session_it_allows() {
    let (broker, group) = group(|_| {});
    let consumer = consumer(&broker, |config| {
        config.client.api_version_request = false;
        config.client.broker_version_fallback = OldBroker::V0_9_0;
    });
    poll_until(&consumer, || consumer.assignment().len() == 2).await;
    assert_eq!(group.lock().session_timeout_ms, 30_000);
    consumer.close(WAIT).await.unwrap();
    assert!(group.lock().left);
}

#[tokio::test]
async fn a_group_needs_a_name_and_a_subscription() {
    let (broker, _) = group(|_| {});
    let config = ConsumerConfig::new(broker.config());
    let cluster = Cluster::new(config.client.clone(), Clock::real());
    let error = GroupConsumer::new(cluster.clone(), config.clone()).err().unwrap();
    assert!(error.to_string().contains("group.id"), "{error}");
    let config = ConsumerConfig { group_id: Some("g".to_string()), ..config };
    let consumer = GroupConsumer::new(cluster, config).unwrap();
    let error = consumer.poll(WAIT).await.unwrap_err();
    assert!(error.to_string().contains("not subscribed to any topics"), "{error}");
}
