//! DeleteRecords: moves the start of partitions forward (KIP-107).

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use protocol::types::Offset;

use super::RequestContext;
use crate::replica_manager::HostedPartition;
use crate::state::BrokerState;

/// "Up to the high watermark."
const HIGH_WATERMARK: i64 = -1;
/// Low watermark of a partition whose records were not deleted.
const NO_LOW_WATERMARK: i64 = -1;

/// Deletes partition by partition; whole segments go from the disk, so it runs on the pool for that.
pub async fn handle(
    broker: Arc<BrokerState>,
    _context: RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let image = broker.metadata.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let found = broker.replicas.find(&image, &topic.name, asked.partition_index);
            let deleted = match found {
                Ok(hosted) => {
                    let offset = asked.offset;
                    let deleted = runtime::spawn_blocking(move || delete(&hosted, offset)).await;
                    deleted.unwrap_or(Err(ErrorCode::UNKNOWN_SERVER_ERROR))
                }
                Err(code) => Err(code),
            };
            let (low_watermark, code) = match deleted {
                Ok(start) => (start.0, ErrorCode::NONE),
                Err(code) => (NO_LOW_WATERMARK, code),
            };
            partitions.push(DeleteRecordsPartitionResult {
                partition_index: asked.partition_index,
                low_watermark,
                error_code: code.0,
            });
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
    }
    DeleteRecordsResponse { topics, ..Default::default() }
}

fn delete(hosted: &HostedPartition, offset: i64) -> Result<Offset, ErrorCode> {
    hosted.leader_epoch()?;
    // Where nothing is deleted, nothing is old enough to be: a compacted topic keeps its keys (`Log.deleteRecords` of Kafka).
    if !hosted.config().delete {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let before = if offset == HIGH_WATERMARK { hosted.high_watermark() } else { Offset(offset) };
    let start = hosted.log().delete_records_before(before).map_err(|error| ErrorCode(error.code()))?;
    hosted.log_start_moved();
    Ok(start)
}
