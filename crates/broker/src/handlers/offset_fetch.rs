//! OffsetFetch: how far a group has read. Version 0 looks in ZooKeeper, later ones in `__consumer_offsets`; from version 8 several groups at once.

use std::sync::Arc;

use client::zookeeper::znodes::parse_number;
use client::zookeeper::{Session, paths};
use protocol::error::ErrorCode;
use protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};

use super::RequestContext;
use super::offset_commit::{is_path_element, zookeeper_error};
use crate::metadata::Image;
use crate::state::BrokerState;

/// From here on the request names several groups (KIP-709).
const GROUPS_FROM: i16 = 8;
/// From here on there is an error for the group as a whole; before it, every partition carries it.
const GROUP_ERROR_FROM: i16 = 2;

/// Looks offsets up.
pub async fn handle(
    broker: Arc<BrokerState>,
    context: RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if context.version == 0 {
        return from_zookeeper(&broker, &request).await;
    }
    let stable = request.require_stable;
    if context.version >= GROUPS_FROM {
        let groups = request.groups.iter().map(|group| one(&broker, &group.group_id, group.topics.as_deref(), stable));
        return OffsetFetchResponse { groups: groups.collect(), ..Default::default() };
    }
    let topics: Option<Vec<OffsetFetchRequestTopics>> = request.topics.as_ref().map(|topics| {
        let topics = topics.iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name.clone(),
            partition_indexes: topic.partition_indexes.clone(),
        });
        topics.collect()
    });
    let group = one(&broker, &request.group_id, topics.as_deref(), stable);
    if group.error_code != 0 && context.version < GROUP_ERROR_FROM {
        let asked = request.topics.unwrap_or_default();
        let topics = asked.iter().map(|topic| refused(topic, ErrorCode(group.error_code))).collect();
        return OffsetFetchResponse { topics, ..Default::default() };
    }
    single(group)
}

fn one(
    broker: &BrokerState,
    group: &str,
    topics: Option<&[OffsetFetchRequestTopics]>,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let asked = broker
        .groups
        .shard_of(group)
        .and_then(|shard| shard.with(|groups, _, _| groups.fetch_offsets(group, topics, require_stable)));
    asked.unwrap_or_else(|code| OffsetFetchResponseGroup {
        group_id: group.into(),
        topics: Vec::new(),
        error_code: code.0,
    })
}

/// The same in the shape of versions 1 to 7.
fn single(group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| OffsetFetchResponsePartition {
                partition_index: partition.partition_index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata,
                error_code: partition.error_code,
            })
            .collect(),
    });
    OffsetFetchResponse { topics: topics.collect(), error_code: group.error_code, ..Default::default() }
}

fn refused(topic: &OffsetFetchRequestTopic, code: ErrorCode) -> OffsetFetchResponseTopic {
    let partitions = topic.partition_indexes.iter().map(|partition| nothing(*partition, code));
    OffsetFetchResponseTopic { name: topic.name.clone(), partitions: partitions.collect() }
}

fn nothing(partition: i32, code: ErrorCode) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index: partition,
        committed_offset: -1,
        error_code: code.0,
        ..Default::default()
    }
}

/// A partition without an offset is answered with error 3 here, as Kafka does since 0.8.2.
async fn from_zookeeper(broker: &BrokerState, request: &OffsetFetchRequest) -> OffsetFetchResponse {
    let image = broker.metadata.image();
    let session = broker.zookeeper.session();
    let mut topics = Vec::new();
    for topic in request.topics.iter().flatten() {
        if !is_path_element(&request.group_id) {
            topics.push(refused(topic, ErrorCode::INVALID_GROUP_ID));
            continue;
        }
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for partition in &topic.partition_indexes {
            partitions.push(read(&session, &image, &request.group_id, &topic.name, *partition).await);
        }
        topics.push(OffsetFetchResponseTopic { name: topic.name.clone(), partitions });
    }
    OffsetFetchResponse { topics, ..Default::default() }
}

async fn read(
    session: &Session,
    image: &Image,
    group: &str,
    topic: &str,
    partition: i32,
) -> OffsetFetchResponsePartition {
    if image.topic(topic).is_none_or(|topic| topic.partition(partition).is_none()) {
        return nothing(partition, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
    let path = paths::consumer_offset(group, topic, partition);
    match session.try_get_data(&path).await {
        Ok(Some((data, _))) => match parse_number::<i64>(&path, &data) {
            Ok(offset) => {
                OffsetFetchResponsePartition { committed_offset: offset, ..nothing(partition, ErrorCode::NONE) }
            }
            Err(error) => nothing(partition, zookeeper_error(&path, &error)),
        },
        Ok(None) => nothing(partition, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        Err(error) => nothing(partition, zookeeper_error(&path, &error)),
    }
}
