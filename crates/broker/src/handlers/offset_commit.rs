//! OffsetCommit: how far a group has read. Version 0 goes to ZooKeeper, where 0.8's consumers look; later ones to `__consumer_offsets`.

use std::sync::Arc;

use client::zookeeper::{CreateMode, Session, ZkError, paths};
use coordinator::Response;
use protocol::error::ErrorCode;
use protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};

use super::RequestContext;
use crate::metadata::Image;
use crate::state::BrokerState;

/// Stores offsets.
pub async fn handle(
    broker: Arc<BrokerState>,
    context: RequestContext,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let image = broker.metadata.image();
    if context.version == 0 {
        return to_zookeeper(&broker, &image, &request).await;
    }
    let refuse = |topic: &str, _| match image.topic(topic) {
        Some(_) => None,
        None => Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    };
    let asked = match broker.groups.shard_of(&request.group_id) {
        Ok(shard) => {
            shard.ask(|groups, token, now, effects| groups.commit(token, &request, refuse, now, effects)).await
        }
        Err(code) => Err(code),
    };
    let code = match asked {
        Ok(Response::OffsetCommit(response)) => return response,
        Ok(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        Err(code) => code,
    };
    answer_all(&request, code)
}

fn answer_all(request: &OffsetCommitRequest, code: ErrorCode) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.0,
            })
            .collect(),
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

/// Kafka does the same since 0.8.2: `/consumers/<group>/offsets/<topic>/<partition>`, a plain number.
async fn to_zookeeper(broker: &BrokerState, image: &Image, request: &OffsetCommitRequest) -> OffsetCommitResponse {
    if !is_path_element(&request.group_id) {
        return answer_all(request, ErrorCode::INVALID_GROUP_ID);
    }
    let session = broker.zookeeper.session();
    let metadata_max = broker.config.groups.offset_metadata_max_bytes;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let is_known = image.topic(&topic.name).is_some();
            let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
            let code = if !is_known {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            } else if metadata.len() > metadata_max {
                ErrorCode::OFFSET_METADATA_TOO_LARGE
            } else {
                write(&session, &request.group_id, &topic.name, partition).await
            };
            partitions
                .push(OffsetCommitResponsePartition { partition_index: partition.partition_index, error_code: code.0 });
        }
        topics.push(OffsetCommitResponseTopic { name: topic.name.clone(), partitions });
    }
    OffsetCommitResponse { topics, ..Default::default() }
}

async fn write(session: &Session, group: &str, topic: &str, partition: &OffsetCommitRequestPartition) -> ErrorCode {
    let path = paths::consumer_offset(group, topic, partition.partition_index);
    let data = partition.committed_offset.to_string();
    let written = match session.set_data(&path, data.clone(), -1).await {
        Err(error) if error.is_no_node() => {
            match session.create_recursive(&path, data.clone(), CreateMode::Persistent).await {
                // Somebody was quicker.
                Err(error) if error.is_node_exists() => session.set_data(&path, data, -1).await.map(drop),
                created => created.map(drop),
            }
        }
        set => set.map(drop),
    };
    written.err().map_or(ErrorCode::NONE, |error| zookeeper_error(&path, &error))
}

/// What a client of version 0 is told when ZooKeeper fails.
pub(super) fn zookeeper_error(path: &str, error: &ZkError) -> ErrorCode {
    tracing::warn!(path, %error, "cannot reach offsets in ZooKeeper");
    if error.is_connection_loss() || error.is_terminal() {
        ErrorCode::COORDINATOR_NOT_AVAILABLE
    } else {
        ErrorCode::UNKNOWN_SERVER_ERROR
    }
}

/// Whether a group's id can be the name of a znode.
pub(super) fn is_path_element(group: &str) -> bool {
    !group.is_empty()
        && !matches!(group, "." | "..")
        && group.chars().all(|letter| letter != '/' && !letter.is_control() && letter != '\u{fffd}')
}
