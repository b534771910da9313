//! OffsetForLeaderEpoch: where a leader epoch ended in this log (KIP-101, KIP-320).

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
};

use super::RequestContext;
use super::fetch::epoch_end;
use crate::metadata::Image;
use crate::state::BrokerState;

/// Answers from the epochs of the logs.
pub fn handle(
    broker: &Arc<BrokerState>,
    _context: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let image = broker.metadata.image();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let answer = EpochEndOffset { partition: asked.partition, ..Default::default() };
            match look(broker, &image, &topic.topic, asked) {
                Ok(Some((leader_epoch, end_offset))) => EpochEndOffset { leader_epoch, end_offset, ..answer },
                Ok(None) => answer,
                Err(code) => EpochEndOffset { error_code: code.0, ..answer },
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult { topic: topic.topic, partitions }
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
}

fn look(
    broker: &BrokerState,
    image: &Image,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<(i32, i64)>, ErrorCode> {
    let hosted = broker.replicas.find(image, topic, asked.partition)?;
    let current = hosted.check_leader(asked.current_leader_epoch)?;
    Ok(epoch_end(&hosted, asked.leader_epoch, current).map(|(epoch, end)| (epoch, end.0)))
}
