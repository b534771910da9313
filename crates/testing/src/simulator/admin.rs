//! Whoever administers the cluster of a run: makes and deletes topics, moves replicas, takes moves back and gives leadership to preferred replicas, by requests to the controller or as
//! old tools do, by znodes. One thing at a time, and each again and again until what came of it is certain.

use bytes::Bytes;
use protocol::error::ErrorCode;
use protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use protocol::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use protocol::wire::Str;

use super::clients;
use super::history::Partition;
use super::topics::Topics;

/// How long a controller may take.
const TIMEOUT_MS: i32 = 2_000;
/// Versions of the requests that are sent.
const CREATE_TOPICS: i16 = 7;
const DELETE_TOPICS: i16 = 6;
const ALTER_PARTITION_REASSIGNMENTS: i16 = 0;
const ELECT_LEADERS: i16 = 2;

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Make the topic in this place.
    Create(usize),
    /// Delete it.
    Delete(usize),
    /// Move a partition to these replicas.
    Move(Partition, Vec<i32>),
    /// Take a move back, if there is one.
    TakeBack(Partition),
    /// Have a partition's first replica lead.
    Prefer(Partition),
}

/// What an answer says of an [`Op`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It was not done, and will not be.
    Refused(ErrorCode),
    /// Nobody knows: ask again.
    Unknown,
    /// Ask another: this one is not the controller.
    Elsewhere,
}

/// Whoever administers a cluster.
#[derive(Debug, Default)]
pub struct Admin {
    /// What it is about to do.
    pub op: Option<Op>,
    /// How often it was asked for.
    pub tries: u32,
    /// A request is under way.
    pub in_flight: bool,
    /// It is done by a znode, which was written.
    pub by_znode: bool,
    /// Which broker did not send it elsewhere last.
    pub controller: Option<usize>,
}

impl Admin {
    /// Turns to something else.
    pub fn forget(&mut self) {
        *self = Admin { controller: self.controller, ..Admin::default() };
    }
}

/// The request for an operation.
#[must_use]
pub fn request(op: &Op, topics: &Topics, settings: &[(String, String)]) -> Bytes {
    match op {
        Op::Create(place) => {
            let plan = topics.at(*place).plan;
            let configs = settings.iter().map(|(name, value)| CreatableTopicConfig {
                name: Str::from(name.as_str()),
                value: Some(Str::from(value.as_str())),
            });
            let topic = CreatableTopic {
                name: Str::from(plan.name),
                num_partitions: plan.partitions as i32,
                replication_factor: plan.replicas as i16,
                configs: configs.collect(),
                ..Default::default()
            };
            let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, ..Default::default() };
            clients::frame(&request, CREATE_TOPICS)
        }
        Op::Delete(place) => {
            let name = Some(Str::from(topics.at(*place).plan.name));
            let topics = vec![DeleteTopicState { name, ..Default::default() }];
            let request = DeleteTopicsRequest { topics, timeout_ms: TIMEOUT_MS, ..Default::default() };
            clients::frame(&request, DELETE_TOPICS)
        }
        Op::Move(partition, _) | Op::TakeBack(partition) => {
            let replicas = if let Op::Move(_, replicas) = op { Some(replicas.clone()) } else { None };
            let (topic, number) = topics.of(*partition);
            let partitions = vec![ReassignablePartition { partition_index: number, replicas }];
            let topics = vec![ReassignableTopic { name: Str::from(topic.plan.name), partitions }];
            let request = AlterPartitionReassignmentsRequest { timeout_ms: TIMEOUT_MS, topics };
            clients::frame(&request, ALTER_PARTITION_REASSIGNMENTS)
        }
        Op::Prefer(partition) => {
            let (topic, number) = topics.of(*partition);
            let asked = vec![TopicPartitions { topic: Str::from(topic.plan.name), partitions: vec![number] }];
            let request =
                ElectLeadersRequest { election_type: 0, topic_partitions: Some(asked), timeout_ms: TIMEOUT_MS };
            clients::frame(&request, ELECT_LEADERS)
        }
    }
}

/// What an answer says.
#[must_use]
pub fn outcome(op: &Op, frame: Bytes) -> Outcome {
    let code = match op {
        Op::Create(_) => clients::answer::<CreateTopicsRequest>(frame, CREATE_TOPICS)
            .and_then(|answer| answer.topics.first().map(|topic| topic.error_code)),
        Op::Delete(_) => clients::answer::<DeleteTopicsRequest>(frame, DELETE_TOPICS)
            .and_then(|answer| answer.responses.first().map(|topic| topic.error_code)),
        Op::Move(..) | Op::TakeBack(_) => {
            let answer = clients::answer::<AlterPartitionReassignmentsRequest>(frame, ALTER_PARTITION_REASSIGNMENTS);
            answer.and_then(|answer| match answer.error_code {
                0 => Some(answer.responses.first()?.partitions.first()?.error_code),
                code => Some(code),
            })
        }
        // Whatever came of it: an election is no promise.
        Op::Prefer(_) => clients::answer::<ElectLeadersRequest>(frame, ELECT_LEADERS)
            .map(|answer| if answer.error_code == ErrorCode::NOT_CONTROLLER.0 { answer.error_code } else { 0 }),
    };
    let Some(code) = code.map(ErrorCode) else { return Outcome::Unknown };
    match (op, code) {
        (_, ErrorCode::NONE) => Outcome::Done,
        (_, ErrorCode::NOT_CONTROLLER) => Outcome::Elsewhere,
        (Op::Move(..), ErrorCode::INVALID_REPLICA_ASSIGNMENT) => Outcome::Refused(code),
        (Op::TakeBack(_), ErrorCode::NO_REASSIGNMENT_IN_PROGRESS) => Outcome::Refused(code),
        _ => Outcome::Unknown,
    }
}
