//! CreatePartitions: more partitions for topics that are there. Texts are those of Kafka 3.9 with ZooKeeper (`ZkAdminManager.createPartitions`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use protocol::wire::Str;
use runtime::clock::Instant;

use super::RequestContext;
use super::create_topics::{candidates, check_assignment, too_few};
use super::refused::{Refused, not_controller, timeout, tree_error};
use crate::controller::assignment::{Start, assign};
use crate::controller::topics::{PARTITIONS_MAX, grow};
use crate::metadata::{Image, Topic};
use crate::state::BrokerState;

/// Grows topics one by one.
pub async fn handle(
    broker: Arc<BrokerState>,
    _context: RequestContext,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let deadline = broker.clock.now() + timeout(request.timeout_ms);
    let mut seen = BTreeSet::new();
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let grown = if seen.insert(topic.name.clone()) {
            grow_one(&broker, &topic, request.validate_only, deadline).await
        } else {
            Err((ErrorCode::INVALID_REQUEST, "Duplicate topic in request.".to_owned()))
        };
        let (code, message) = match grown {
            Ok(()) => (ErrorCode::NONE, None),
            Err((code, message)) => (code, Some(Str::from(message))),
        };
        results.push(CreatePartitionsTopicResult { name: topic.name, error_code: code.0, error_message: message });
    }
    CreatePartitionsResponse { results, ..Default::default() }
}

async fn grow_one(
    broker: &BrokerState,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
    deadline: Instant,
) -> Result<(), Refused> {
    let fence = broker.office.fence().ok_or_else(not_controller)?;
    let image = broker.metadata.image();
    let topic = image.topic(&asked.name).ok_or_else(|| {
        (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("The topic '{}' does not exist.", &*asked.name))
    })?;
    if image.deletions.contains(&topic.name) {
        return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("The topic '{}' is being deleted.", &*asked.name)));
    }
    if !topic.assignment.adding_replicas.is_empty() || !topic.assignment.removing_replicas.is_empty() {
        let text = format!("A partition reassignment is in progress for the topic '{}'.", &*asked.name);
        return Err((ErrorCode::REASSIGNMENT_IN_PROGRESS, text));
    }
    let added = added(&image, topic, asked)?;
    if validate_only {
        return Ok(());
    }
    grow(&broker.zookeeper.session(), fence, topic, &added).await.map_err(|error| match error.is_bad_version() {
        true => (ErrorCode::REASSIGNMENT_IN_PROGRESS, "The topic changed meanwhile; ask again.".to_owned()),
        false => tree_error(&error),
    })?;
    let count = usize::try_from(asked.count).unwrap_or_default();
    let shows = |image: &Image| {
        image.topic(&asked.name).is_some_and(|topic| topic.partitions.len() >= count) && image.is_led(&asked.name)
    };
    match broker.metadata.wait_until(broker.clock, deadline, shows).await {
        Some(_) => Ok(()),
        None => Err((
            ErrorCode::REQUEST_TIMED_OUT,
            "The partitions were added, but their leaders were not elected in time.".to_owned(),
        )),
    }
}

fn added(image: &Image, topic: &Topic, asked: &CreatePartitionsTopic) -> Result<BTreeMap<i32, Vec<i32>>, Refused> {
    let current = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let increment = asked.count - current;
    if increment < 0 {
        let text =
            format!("Topic currently has {current} partitions, which is higher than the requested {}.", asked.count);
        return Err((ErrorCode::INVALID_PARTITIONS, text));
    }
    if increment == 0 {
        return Err((ErrorCode::INVALID_PARTITIONS, format!("Topic already has {current} partitions.")));
    }
    if asked.count > PARTITIONS_MAX {
        return Err((
            ErrorCode::INVALID_PARTITIONS,
            format!("Number of partitions must not be larger than {PARTITIONS_MAX}."),
        ));
    }
    let replication = topic.partitions.first().map_or(1, |first| first.replicas.len());
    if let Some(assignments) = asked.assignments.as_ref().filter(|assignments| !assignments.is_empty()) {
        if i32::try_from(assignments.len()) != Ok(increment) {
            let text = format!(
                "Increasing the number of partitions by {increment} but {} assignments provided.",
                assignments.len()
            );
            return Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, text));
        }
        let chosen: BTreeMap<i32, Vec<i32>> =
            (current..).zip(assignments.iter().map(|assigned| assigned.broker_ids.clone())).collect();
        check_assignment(image, &chosen, current, Some(replication))?;
        return Ok(chosen);
    }
    let brokers = candidates(image);
    if replication > brokers.len() {
        return Err(too_few(replication, &brokers));
    }
    // The round goes on where the first partition began (`AdminZkClient.createNewPartitionsAssignment`).
    let leader = topic.partitions.first().and_then(|first| first.replicas.first()).copied().unwrap_or_default();
    let first = brokers.iter().position(|broker| broker.id >= leader).unwrap_or_default();
    Ok(assign(&brokers, increment, replication, Start { first, shift: first, partition: current }))
}
