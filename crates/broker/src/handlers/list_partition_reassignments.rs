//! ListPartitionReassignments: the moves of replicas under way (KIP-455). Only the controller answers, as in Kafka.

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, OngoingPartitionReassignment,
    OngoingTopicReassignment,
};
use protocol::wire::Str;

use super::RequestContext;
use super::refused::NOT_CONTROLLER_TEXT;
use crate::controller::reassignment::is_moving;
use crate::metadata::Topic;
use crate::state::BrokerState;

/// Lists what moves: all, or those of the partitions asked for that do.
pub fn handle(
    broker: &Arc<BrokerState>,
    _context: &RequestContext,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    if !broker.office.is_held() {
        let error_message = Some(Str::from_static(NOT_CONTROLLER_TEXT));
        let error_code = ErrorCode::NOT_CONTROLLER.0;
        return ListPartitionReassignmentsResponse { error_code, error_message, ..Default::default() };
    }
    let image = broker.metadata.image();
    let topics: Vec<OngoingTopicReassignment> = match &request.topics {
        None => image.topics.values().filter_map(|topic| moves(topic, |_| true)).collect(),
        Some(asked) => asked
            .iter()
            .filter_map(|asked| moves(image.topic(&asked.name)?, |number| asked.partition_indexes.contains(&number)))
            .collect(),
    };
    ListPartitionReassignmentsResponse { error_message: None, topics, ..Default::default() }
}

fn moves(topic: &Topic, is_asked: impl Fn(i32) -> bool) -> Option<OngoingTopicReassignment> {
    let assignment = &topic.assignment;
    let moving = topic.partitions.iter().filter(|partition| is_moving(assignment, partition.partition));
    let partitions: Vec<OngoingPartitionReassignment> = moving
        .filter(|partition| is_asked(partition.partition))
        .map(|partition| OngoingPartitionReassignment {
            partition_index: partition.partition,
            replicas: partition.replicas.clone(),
            adding_replicas: assignment.adding_replicas.get(&partition.partition).cloned().unwrap_or_default(),
            removing_replicas: assignment.removing_replicas.get(&partition.partition).cloned().unwrap_or_default(),
        })
        .collect();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment { name: Str::from(&*topic.name), partitions })
}
