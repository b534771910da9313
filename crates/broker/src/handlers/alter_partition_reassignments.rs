//! AlterPartitionReassignments: moves of replicas begin, change or are taken back (KIP-455). Codes and texts are those of Kafka 3.9 with ZooKeeper
//! (`KafkaController.processApiPartitionReassignment`).

use std::collections::BTreeMap;
use std::sync::Arc;

use client::zookeeper::{ZkError, paths};
use protocol::error::ErrorCode;
use protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartitionResponse,
    ReassignableTopicResponse,
};
use protocol::types::Uuid;
use protocol::wire::Str;

use super::RequestContext;
use super::refused::{NOT_CONTROLLER_TEXT, Refused, timeout, tree_error};
use crate::controller::plan::Action;
use crate::controller::reassignment::{self, Move};
use crate::controller::{Fence, carry_out};
use crate::metadata::{Change, Image, Topic};
use crate::state::BrokerState;

/// Begins what can begin, and waits until the metadata show it. The moves themselves take as long as they take.
pub async fn handle(
    broker: Arc<BrokerState>,
    _context: RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let deadline = broker.clock.now() + timeout(request.timeout_ms);
    let Some(fence) = broker.office.fence() else { return refuse(ErrorCode::NOT_CONTROLLER) };
    let mut responses = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let partitions: Vec<Move> =
            asked.partitions.into_iter().map(|partition| (partition.partition_index, partition.replicas)).collect();
        let outcomes = match alter(&broker, fence, &asked.name, partitions, deadline).await {
            Ok(outcomes) => outcomes,
            Err(code) => return refuse(code),
        };
        let partitions = outcomes.into_iter().map(|(partition_index, outcome)| {
            let (code, error_message) = match outcome {
                Ok(()) => (ErrorCode::NONE, None),
                Err((code, text)) => (code, Some(Str::from(text))),
            };
            ReassignablePartitionResponse { partition_index, error_code: code.0, error_message }
        });
        responses.push(ReassignableTopicResponse { name: asked.name, partitions: partitions.collect() });
    }
    AlterPartitionReassignmentsResponse { error_message: None, responses, ..Default::default() }
}

fn refuse(code: ErrorCode) -> AlterPartitionReassignmentsResponse {
    let text = if code == ErrorCode::NOT_CONTROLLER { NOT_CONTROLLER_TEXT } else { code.message() };
    let error_message = Some(Str::from_static(text));
    AlterPartitionReassignmentsResponse { error_code: code.0, error_message, ..Default::default() }
}

/// Outcomes by partition, or a code for the whole request.
async fn alter(
    broker: &BrokerState,
    fence: Fence,
    name: &str,
    asked: Vec<Move>,
    deadline: runtime::clock::Instant,
) -> Result<BTreeMap<i32, Result<(), Refused>>, ErrorCode> {
    let image = broker.metadata.image();
    let mut outcomes = BTreeMap::new();
    let mut moves: Vec<Move> = Vec::new();
    let topic = image.topic(name).filter(|topic| !image.deletions.contains(&topic.name));
    for (number, wanted) in asked {
        let checked = check(&image, topic, number, wanted.as_deref());
        if checked.is_ok() && !outcomes.contains_key(&number) {
            moves.push((number, wanted));
        }
        outcomes.insert(number, checked);
    }
    let Some(topic) = topic else { return Ok(outcomes) };
    // One that cannot be is told and left out; the others begin.
    let action = loop {
        if moves.is_empty() {
            return Ok(outcomes);
        }
        match reassignment::start(&image, topic, &moves, fence.epoch) {
            Ok(action) => break action,
            Err((number, why)) => {
                outcomes.insert(number, Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, why)));
                moves.retain(|(partition, _)| *partition != number);
            }
        }
    };
    let mut actions = Vec::from_iter(drop_older_request(&image, name, &moves));
    let Action::SetAssignment { assignment, .. } = &action else { return Ok(outcomes) };
    let written = assignment.clone();
    actions.push(action);
    match carry_out(&broker.zookeeper.session(), Some(fence), &image, actions, &|_| Uuid::ZERO).await {
        Ok(changes) if !changes.iter().any(|change| matches!(change, Change::Topic(..))) => {
            for (number, _) in &moves {
                let why = "The topic changed meanwhile; ask again.".to_owned();
                outcomes.insert(*number, Err((ErrorCode::REASSIGNMENT_IN_PROGRESS, why)));
            }
            return Ok(outcomes);
        }
        Ok(_) => {}
        Err(ZkError::Multi { path, .. }) if path == paths::CONTROLLER_EPOCH => return Err(ErrorCode::NOT_CONTROLLER),
        Err(error) => {
            tracing::warn!(topic = name, %error, "cannot write a move of replicas");
            return Err(tree_error(&error).0);
        }
    }
    let before = topic.zk_version;
    let shows =
        |image: &Image| image.topic(name).is_none_or(|topic| topic.zk_version > before || topic.assignment == written);
    broker.metadata.wait_until(broker.clock, deadline, shows).await;
    Ok(outcomes)
}

fn check(image: &Image, topic: Option<&Arc<Topic>>, number: i32, wanted: Option<&[i32]>) -> Result<(), Refused> {
    let Some(topic) = topic.filter(|topic| topic.partition(number).is_some()) else {
        return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "The partition does not exist.".to_owned()));
    };
    match wanted {
        Some(wanted) => reassignment::validate(image, topic, number, wanted)
            .map_err(|why| (ErrorCode::INVALID_REPLICA_ASSIGNMENT, why)),
        None if reassignment::is_moving(&topic.assignment, number) => Ok(()),
        None => {
            let text = "No partition reassignment is in progress.";
            Err((ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, text.to_owned()))
        }
    }
}

/// The latest word counts, so what an old tool asked in `/admin/reassign_partitions` for the same partitions goes.
fn drop_older_request(image: &Image, topic: &str, moves: &[Move]) -> Option<Action> {
    let request = image.reassignment.as_ref()?;
    let is_newer = |name: &str, number: i32| name == topic && moves.iter().any(|(moved, _)| *moved == number);
    let left: Vec<_> = request.asked.iter().filter(|(name, number, _)| !is_newer(name, *number)).cloned().collect();
    (left.len() < request.asked.len()).then_some(Action::LeaveReassignments { left, expected: request.zk_version })
}
