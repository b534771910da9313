//! Metadata: brokers, topics and leaders, as this broker's image shows them.
//!
//! Asking for a topic that is not there creates it where both sides allow it: the answer is LEADER_NOT_AVAILABLE then, and the next one is complete.

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use protocol::types::Uuid;
use protocol::wire::Str;

use super::create_topics::create_on_demand;
use super::{RequestContext, authorized_operations};
use crate::controller::topics::validate_name;
use crate::metadata::image::is_internal;
use crate::metadata::{Image, Partition, Topic};
use crate::state::BrokerState;

/// First version that lists replicas whether or not they are alive.
const DEAD_REPLICAS_FROM: i16 = 1;
/// First version whose answer may leave a topic's name out.
const NO_NAME_FROM: i16 = 12;
/// First version with LISTENER_NOT_FOUND (KIP-266).
const LISTENER_NOT_FOUND_FROM: i16 = 6;

/// Answers from the image.
pub fn handle(broker: &Arc<BrokerState>, context: &RequestContext, request: MetadataRequest) -> MetadataResponse {
    let image = broker.metadata.image();
    let all = match &request.topics {
        None => true,
        // Version 0 has no null: an empty list asks for all.
        Some(topics) => topics.is_empty() && context.version == 0,
    };
    let mut topics: Vec<MetadataResponseTopic> = if all {
        image.topics.values().map(|topic| describe(broker, context, &image, topic)).collect()
    } else {
        let asked = request.topics.unwrap_or_default();
        asked.into_iter().map(|asked| one(broker, context, &image, asked, request.allow_auto_topic_creation)).collect()
    };
    let operations =
        authorized_operations::told(request.include_topic_authorized_operations, authorized_operations::TOPIC);
    topics.iter_mut().for_each(|topic| topic.topic_authorized_operations = operations);
    let brokers = broker.nodes(context.listener).into_iter();
    MetadataResponse {
        brokers: brokers
            .map(|node| MetadataResponseBroker { node_id: node.id, host: node.host, port: node.port, rack: node.rack })
            .collect(),
        cluster_id: Some(Str::from(broker.cluster_id.as_str())),
        controller_id: image.controller.filter(|controller| image.is_live(*controller)).unwrap_or(-1),
        topics,
        cluster_authorized_operations: authorized_operations::told(
            request.include_cluster_authorized_operations,
            authorized_operations::CLUSTER,
        ),
        ..Default::default()
    }
}

fn one(
    broker: &Arc<BrokerState>,
    context: &RequestContext,
    image: &Image,
    asked: MetadataRequestTopic,
    may_create: bool,
) -> MetadataResponseTopic {
    let Some(name) = asked.name.filter(|_| asked.topic_id == Uuid::ZERO) else {
        return match image.topic_by_id(asked.topic_id) {
            Some(topic) => describe(broker, context, image, topic),
            None => {
                // Versions 10 and 11 ask by id, but cannot answer without a name.
                let name = (context.version < NO_NAME_FROM).then(Str::default);
                MetadataResponseTopic { name, ..without_partitions(asked.topic_id, ErrorCode::UNKNOWN_TOPIC_ID) }
            }
        };
    };
    if let Some(topic) = image.topic(&name) {
        return describe(broker, context, image, topic);
    }
    let code = if validate_name(&name).is_err() {
        ErrorCode::INVALID_TOPIC_EXCEPTION
    } else if may_create && broker.config.auto_create_topics {
        create_on_demand(broker, &name)
    } else {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    };
    let is_internal = is_internal(&name);
    MetadataResponseTopic { name: Some(name), is_internal, ..without_partitions(Uuid::ZERO, code) }
}

fn without_partitions(topic_id: Uuid, code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code: code.0, topic_id, ..Default::default() }
}

fn describe(broker: &BrokerState, context: &RequestContext, image: &Image, topic: &Topic) -> MetadataResponseTopic {
    let listener = broker.listener(context.listener);
    MetadataResponseTopic {
        name: Some(Str::from(&*topic.name)),
        is_internal: is_internal(&topic.name),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| describe_partition(context, image, listener, partition))
            .collect(),
        ..without_partitions(topic.id, ErrorCode::NONE)
    }
}

fn describe_partition(
    context: &RequestContext,
    image: &Image,
    listener: &str,
    partition: &Partition,
) -> MetadataResponsePartition {
    let reachable = |id: &i32| image.brokers.get(id).is_some_and(|broker| broker.endpoint(listener).is_some());
    let dead: Vec<i32> = partition.replicas.iter().copied().filter(|replica| !reachable(replica)).collect();
    let answer = |code: ErrorCode, leader_id: i32, leader_epoch: i32, isr: &[i32]| {
        let shown = |ids: &[i32]| match context.version >= DEAD_REPLICAS_FROM {
            true => ids.to_vec(),
            false => ids.iter().copied().filter(|id| reachable(id)).collect(),
        };
        MetadataResponsePartition {
            error_code: code.0,
            partition_index: partition.partition,
            leader_id,
            leader_epoch,
            replica_nodes: shown(&partition.replicas),
            isr_nodes: shown(isr),
            offline_replicas: dead.clone(),
        }
    };
    let Some(state) = &partition.state else { return answer(ErrorCode::LEADER_NOT_AVAILABLE, -1, -1, &[]) };
    if !reachable(&state.leader) {
        let code = match image.is_live(state.leader) && context.version >= LISTENER_NOT_FOUND_FROM {
            true => ErrorCode::LISTENER_NOT_FOUND,
            false => ErrorCode::LEADER_NOT_AVAILABLE,
        };
        return answer(code, -1, state.leader_epoch, &state.isr);
    }
    let lacks_replicas = partition.replicas.iter().chain(&state.isr).any(|replica| !reachable(replica));
    let code = match lacks_replicas && context.version < DEAD_REPLICAS_FROM {
        true => ErrorCode::REPLICA_NOT_AVAILABLE,
        false => ErrorCode::NONE,
    };
    answer(code, state.leader, state.leader_epoch, &state.isr)
}
