//! CreateTopics, and topics that come into being because somebody asked for them.
//!
//! The controller writes the topic into the tree and answers when its leaders are there. Texts are those of Kafka 3.9 with ZooKeeper (`ZkAdminManager`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::error::ErrorCode;
use protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use protocol::types::Uuid;
use protocol::wire::Str;
use runtime::clock::Instant;

use super::RequestContext;
use super::refused::{Refused, not_controller, timeout, tree_error};
use crate::config::topic::{TOPIC_KEYS, effective, validate};
use crate::controller::assignment::{Candidate, Start, assign};
use crate::controller::topics::{NewTopic, PARTITIONS_MAX, collisions, create, validate_name};
use crate::metadata::Image;
use crate::state::BrokerState;

/// How long a topic that is created on demand may take before it may be asked for again.
const ON_DEMAND_LIMIT: Duration = Duration::from_secs(30);
/// Topics that may be under way on demand at a time; more are told to ask again.
const ON_DEMAND_MAX: usize = 1_000;

/// Creates topics one by one.
pub async fn handle(
    broker: Arc<BrokerState>,
    context: RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let deadline = broker.clock.now() + timeout(request.timeout_ms);
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<Str> =
        request.topics.iter().filter(|topic| !seen.insert(&*topic.name)).map(|topic| topic.name.clone()).collect();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let name = topic.name.clone();
        let created = if broker.office.fence().is_none() {
            Err(not_controller())
        } else if twice.contains(&name) {
            let client = context.client_id();
            let text = format!(
                "Create topics request from client `{client}` contains multiple entries for the following topics: {name}"
            );
            Err((ErrorCode::INVALID_REQUEST, text))
        } else {
            create_one(&broker, topic, request.validate_only, deadline).await
        };
        topics.push(created.unwrap_or_else(|(code, message)| CreatableTopicResult {
            name,
            error_code: code.0,
            error_message: Some(Str::from(message)),
            configs: None,
            ..Default::default()
        }));
    }
    CreateTopicsResponse { topics, ..Default::default() }
}

async fn create_one(
    broker: &BrokerState,
    topic: CreatableTopic,
    validate_only: bool,
    deadline: Instant,
) -> Result<CreatableTopicResult, Refused> {
    let image = broker.metadata.image();
    let new = check(broker, &image, &topic)?;
    let result = describe(broker, &topic.name, &new);
    if validate_only {
        return Ok(CreatableTopicResult { topic_id: Uuid::ZERO, ..result });
    }
    write(broker, &image, &new).await?;
    let led = broker.metadata.wait_until(broker.clock, deadline, |image| image.is_led(&new.name)).await;
    match led {
        Some(_) => Ok(result),
        None => Err((
            ErrorCode::REQUEST_TIMED_OUT,
            "The topic was created, but its leaders were not elected in time.".to_owned(),
        )),
    }
}

async fn write(broker: &BrokerState, image: &Image, new: &NewTopic) -> Result<(), Refused> {
    match create(&broker.zookeeper.session(), broker.office.fence(), image, new).await {
        Ok(()) => {
            tracing::info!(topic = %new.name, partitions = new.assignment.len(), "created topic");
            Ok(())
        }
        Err(error) if error.is_node_exists() => Err(exists(&new.name)),
        Err(error) if error.is_bad_version() => Err(not_controller()),
        Err(error) => Err(tree_error(&error)),
    }
}

fn exists(name: &str) -> Refused {
    (ErrorCode::TOPIC_ALREADY_EXISTS, format!("Topic '{name}' already exists."))
}

fn check(broker: &BrokerState, image: &Image, topic: &CreatableTopic) -> Result<NewTopic, Refused> {
    validate_name(&topic.name).map_err(|why| (ErrorCode::INVALID_TOPIC_EXCEPTION, why))?;
    if image.topic(&topic.name).is_some() {
        return Err(exists(&topic.name));
    }
    let collisions = collisions(image, &topic.name);
    if !collisions.is_empty() {
        let text = format!("Topic '{}' collides with existing topics: {}", &*topic.name, collisions.join(", "));
        return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, text));
    }
    let mut overrides = BTreeMap::new();
    for config in &topic.configs {
        let value = config.value.as_ref().ok_or_else(|| {
            (ErrorCode::INVALID_CONFIG, format!("Null value not supported for topic configs: {}", &*config.name))
        })?;
        overrides.insert(config.name.to_string(), value.to_string());
    }
    validate(&overrides).map_err(|why| (ErrorCode::INVALID_CONFIG, why.0))?;
    let assignment = if topic.assignments.is_empty() {
        spread(broker, image, topic.num_partitions, topic.replication_factor)?
    } else {
        if topic.num_partitions != -1 || topic.replication_factor != -1 {
            let text = "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the same time.";
            return Err((ErrorCode::INVALID_REQUEST, text.to_owned()));
        }
        let asked: BTreeMap<i32, Vec<i32>> =
            topic.assignments.iter().map(|assigned| (assigned.partition_index, assigned.broker_ids.clone())).collect();
        if asked.len() != topic.assignments.len() {
            return Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, "a partition is assigned twice".to_owned()));
        }
        check_assignment(image, &asked, 0, None)?;
        asked
    };
    Ok(NewTopic {
        name: topic.name.to_string(),
        id: Uuid::from_random_bytes(broker.random.bytes()),
        assignment,
        overrides,
    })
}

fn spread(
    broker: &BrokerState,
    image: &Image,
    partitions: i32,
    replication: i16,
) -> Result<BTreeMap<i32, Vec<i32>>, Refused> {
    let partitions = if partitions == -1 { broker.config.num_partitions } else { partitions };
    let replication = if replication == -1 { broker.config.default_replication_factor } else { replication };
    if partitions <= 0 {
        return Err((ErrorCode::INVALID_PARTITIONS, "Number of partitions must be larger than 0.".to_owned()));
    }
    if partitions > PARTITIONS_MAX {
        return Err((
            ErrorCode::INVALID_PARTITIONS,
            format!("Number of partitions must not be larger than {PARTITIONS_MAX}."),
        ));
    }
    let wanted = usize::try_from(replication).unwrap_or_default();
    if wanted == 0 {
        return Err((ErrorCode::INVALID_REPLICATION_FACTOR, "Replication factor must be larger than 0.".to_owned()));
    }
    let brokers = candidates(image);
    if wanted > brokers.len() {
        return Err(too_few(wanted, &brokers));
    }
    let random = || usize::try_from(broker.random.below(u64::from(u16::MAX))).unwrap_or_default();
    Ok(assign(&brokers, partitions, wanted, Start { first: random(), shift: random(), partition: 0 }))
}

/// The brokers that may get new replicas: those that are not about to stop.
pub(super) fn candidates(image: &Image) -> Vec<Candidate> {
    let staying = image.brokers.values().filter(|broker| !broker.shutting_down);
    staying.map(|broker| Candidate { id: broker.id, rack: broker.rack.clone() }).collect()
}

/// Why there are not so many replicas.
pub(super) fn too_few(replication: usize, brokers: &[Candidate]) -> Refused {
    let text = format!("Replication factor: {replication} larger than available brokers: {}.", brokers.len());
    (ErrorCode::INVALID_REPLICATION_FACTOR, text)
}

/// Checks replicas that a client has chosen. `replication` is that of the partitions there are already.
pub(super) fn check_assignment(
    image: &Image,
    assignment: &BTreeMap<i32, Vec<i32>>,
    first: i32,
    replication: Option<usize>,
) -> Result<(), Refused> {
    let refuse = |why: String| Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
    if assignment.len() > PARTITIONS_MAX as usize {
        return Err((
            ErrorCode::INVALID_PARTITIONS,
            format!("Number of partitions must not be larger than {PARTITIONS_MAX}."),
        ));
    }
    let mut replication = replication;
    for (expected, (partition, replicas)) in (first..).zip(assignment) {
        if *partition != expected {
            return refuse("partitions should be a consecutive 0-based integer sequence".to_owned());
        }
        let distinct: BTreeSet<&i32> = replicas.iter().collect();
        if replicas.is_empty() || distinct.len() != replicas.len() {
            return refuse(format!(
                "Duplicate brokers or none in replica assignment of partition {partition}: {replicas:?}"
            ));
        }
        if *replication.get_or_insert(replicas.len()) != replicas.len() {
            return refuse("All partitions should have the same number of replicas.".to_owned());
        }
        if let Some(unknown) = replicas.iter().find(|replica| !image.is_live(**replica)) {
            return refuse(format!("Unknown broker(s) in replica assignment of partition {partition}: {unknown}"));
        }
    }
    Ok(())
}

fn describe(broker: &BrokerState, name: &Str, new: &NewTopic) -> CreatableTopicResult {
    let configs = TOPIC_KEYS.iter().map(|topic| {
        let (value, source) = effective(topic, &new.overrides, &broker.config.settings);
        CreatableTopicConfigs {
            name: Str::from_static(topic.key.name),
            value: value.map(Str::from),
            config_source: source as i8,
            ..Default::default()
        }
    });
    CreatableTopicResult {
        name: name.clone(),
        topic_id: new.id,
        error_message: None,
        num_partitions: i32::try_from(new.assignment.len()).unwrap_or(i32::MAX),
        replication_factor: new
            .assignment
            .values()
            .next()
            .map_or(-1, |replicas| i16::try_from(replicas.len()).unwrap_or(i16::MAX)),
        configs: Some(configs.collect()),
        ..Default::default()
    }
}

/// Begins to create a topic that somebody asked for, and gives what to answer meanwhile.
pub fn create_on_demand(broker: &Arc<BrokerState>, name: &str) -> ErrorCode {
    let image = broker.metadata.image();
    if image.brokers.is_empty() {
        return ErrorCode::LEADER_NOT_AVAILABLE;
    }
    {
        let mut creating = broker.creating.lock();
        if creating.len() >= ON_DEMAND_MAX || !creating.insert(name.to_owned()) {
            return ErrorCode::LEADER_NOT_AVAILABLE;
        }
    }
    let new = match on_demand(broker, &image, name) {
        Ok(new) => new,
        Err((code, why)) => {
            tracing::warn!(topic = name, "cannot create a topic on demand: {why}");
            broker.creating.lock().remove(name);
            return code;
        }
    };
    let broker = broker.clone();
    runtime::spawn(async move {
        match write(&broker, &image, &new).await {
            Err((ErrorCode::TOPIC_ALREADY_EXISTS, _)) => {}
            Err((_, why)) => tracing::warn!(topic = %new.name, "cannot create a topic on demand: {why}"),
            Ok(()) => {
                let limit = broker.clock.now() + ON_DEMAND_LIMIT;
                broker.metadata.wait_until(broker.clock, limit, |image| image.is_led(&new.name)).await;
            }
        }
        broker.creating.lock().remove(&new.name);
    });
    ErrorCode::LEADER_NOT_AVAILABLE
}

fn on_demand(broker: &BrokerState, image: &Image, name: &str) -> Result<NewTopic, Refused> {
    let collisions = collisions(image, name);
    if !collisions.is_empty() {
        let text = format!("Topic '{name}' collides with existing topics: {}", collisions.join(", "));
        return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, text));
    }
    let groups = &broker.config.groups;
    let mut overrides = BTreeMap::new();
    let (partitions, replication) = if name == crate::metadata::image::OFFSETS_TOPIC {
        overrides.insert("cleanup.policy".to_owned(), "compact".to_owned());
        overrides.insert("compression.type".to_owned(), "producer".to_owned());
        overrides.insert("segment.bytes".to_owned(), groups.offsets_topic_segment_bytes.to_string());
        let live = i16::try_from(candidates(image).len()).unwrap_or(i16::MAX);
        (groups.offsets_topic_partitions, groups.offsets_topic_replication_factor.min(live))
    } else {
        (-1, -1)
    };
    let assignment = spread(broker, image, partitions, replication)?;
    Ok(NewTopic { name: name.to_owned(), id: Uuid::from_random_bytes(broker.random.bytes()), assignment, overrides })
}
