//! ListOffsets: where a partition begins and ends, and which record was written at a time.

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use protocol::types::Offset;
use storage::TimestampOffset;

use super::RequestContext;
use crate::replica_manager::HostedPartition;
use crate::state::BrokerState;

/// First version that tells leader epochs (KIP-320).
const LEADER_EPOCHS_FROM: i16 = 4;
/// First version in which a leader says that it does not know the end yet (KIP-207); before it, it says that it is not the leader yet, which clients try again as well.
const OFFSET_NOT_AVAILABLE_FROM: i16 = 5;

/// Asks for the end.
const LATEST: i64 = -1;
/// Asks for the beginning.
const EARLIEST: i64 = -2;
/// Asks for the record with the largest timestamp (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
/// Asks for the beginning of what is on local disk (KIP-405).
const EARLIEST_LOCAL: i64 = -4;
/// Asks for the end of what is in tiered storage (KIP-1005).
const LATEST_TIERED: i64 = -5;

const READ_COMMITTED: i8 = 1;
/// `replica_id` of a consumer.
const CONSUMER: i32 = -1;

/// Most segment offsets one partition is given in version 0.
const OLD_STYLE_OFFSETS_MAX: i32 = 10_000;

/// Answers partition by partition. A look at timestamps reads the disk, so it runs on the pool for that.
pub async fn handle(
    broker: Arc<BrokerState>,
    context: RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let image = broker.metadata.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let found = broker.replicas.find(&image, &topic.name, asked.partition_index);
            let epoch =
                found.as_ref().map_err(|code| *code).and_then(|hosted| hosted.check_leader(asked.current_leader_epoch));
            let answer = match (found, epoch) {
                (Ok(hosted), Ok(epoch)) => {
                    let as_of = Asked {
                        asked,
                        version: context.version,
                        isolation_level: request.isolation_level,
                        replica_id: request.replica_id,
                        epoch,
                    };
                    look(hosted, as_of).await
                }
                (Err(code), _) | (_, Err(code)) => failed(&asked, code),
            };
            partitions.push(answer);
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    ListOffsetsResponse { topics, ..Default::default() }
}

struct Asked {
    asked: ListOffsetsPartition,
    version: i16,
    isolation_level: i8,
    replica_id: i32,
    epoch: i32,
}

fn failed(asked: &ListOffsetsPartition, code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse { partition_index: asked.partition_index, error_code: code.0, ..Default::default() }
}

async fn look(hosted: Arc<HostedPartition>, asked: Asked) -> ListOffsetsPartitionResponse {
    let version = asked.version;
    let mut answer = look_where_it_may(hosted, asked).await;
    if version < LEADER_EPOCHS_FROM {
        answer.leader_epoch = -1;
    }
    answer
}

async fn look_where_it_may(hosted: Arc<HostedPartition>, asked: Asked) -> ListOffsetsPartitionResponse {
    let reads_disk = asked.version == 0 || asked.asked.timestamp >= 0 || asked.asked.timestamp == MAX_TIMESTAMP;
    if !reads_disk {
        return look_now(&hosted, &asked);
    }
    let partition = asked.asked.clone();
    let looked = runtime::spawn_blocking(move || look_now(&hosted, &asked)).await;
    looked.unwrap_or_else(|_| failed(&partition, ErrorCode::UNKNOWN_SERVER_ERROR))
}

fn look_now(hosted: &HostedPartition, asked: &Asked) -> ListOffsetsPartitionResponse {
    let log = hosted.log();
    let high_watermark = log.high_watermark();
    let end = match asked.isolation_level {
        _ if asked.replica_id != CONSUMER => log.log_end_offset(),
        READ_COMMITTED => log.last_stable_offset(high_watermark),
        _ => high_watermark,
    };
    let answer = ListOffsetsPartitionResponse { partition_index: asked.asked.partition_index, ..Default::default() };
    if asked.version == 0 {
        return ListOffsetsPartitionResponse { old_style_offsets: old_style(hosted, &asked.asked, end), ..answer };
    }
    // Right after an election the high watermark may be older than what the last leader told: an end that goes back is no answer (KIP-207).
    let is_settled = asked.replica_id != CONSUMER || hosted.epoch_start().is_none_or(|start| start <= high_watermark);
    let not_yet = || {
        let told = asked.version >= OFFSET_NOT_AVAILABLE_FROM;
        failed(&asked.asked, if told { ErrorCode::OFFSET_NOT_AVAILABLE } else { ErrorCode::LEADER_NOT_AVAILABLE })
    };
    let epoch_of = |offset: Offset| log.epoch_of(offset).map_or(-1, |epoch| epoch.0);
    let at = |offset: Offset, leader_epoch: i32| ListOffsetsPartitionResponse {
        offset: offset.0,
        leader_epoch,
        ..answer.clone()
    };
    let record = |found: Result<Option<TimestampOffset>, storage::StorageError>| match found {
        Ok(Some(found)) if found.offset < end => ListOffsetsPartitionResponse {
            timestamp: found.timestamp,
            offset: found.offset.0,
            leader_epoch: found.leader_epoch.map_or(-1, |epoch| epoch.0),
            ..answer.clone()
        },
        // It may be there, beyond what is known to be committed.
        Ok(_) if !is_settled => not_yet(),
        Ok(_) => answer.clone(),
        Err(problem) => {
            tracing::error!(partition = %hosted.partition(), error = %problem, "cannot look records up by time");
            failed(&asked.asked, ErrorCode(problem.code()))
        }
    };
    match asked.asked.timestamp {
        LATEST if !is_settled => not_yet(),
        LATEST => at(end, asked.epoch),
        EARLIEST => at(log.log_start_offset(), epoch_of(log.log_start_offset())),
        EARLIEST_LOCAL => at(log.local_log_start_offset(), epoch_of(log.local_log_start_offset())),
        LATEST_TIERED => answer,
        MAX_TIMESTAMP => record(log.offset_of_max_timestamp()),
        timestamp if timestamp >= 0 => record(log.offset_for_timestamp(timestamp)),
        _ => failed(&asked.asked, ErrorCode::INVALID_REQUEST),
    }
}

/// Version 0: offsets of segments, newest first; what lies beyond the reader's end is given as that end (`KafkaApis.fetchOffsets` of 0.9).
fn old_style(hosted: &HostedPartition, asked: &ListOffsetsPartition, end: Offset) -> Vec<i64> {
    let count = usize::try_from(asked.max_num_offsets.clamp(0, OLD_STYLE_OFFSETS_MAX)).unwrap_or_default();
    let offsets = hosted.log().segment_offsets_before(asked.timestamp, count);
    let beyond = offsets.iter().any(|offset| *offset > end);
    let first = beyond.then_some(end.0);
    first
        .into_iter()
        .chain(offsets.into_iter().filter(|offset| *offset <= end).map(|offset| offset.0))
        .take(count)
        .collect()
}
