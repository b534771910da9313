//! OffsetDelete: a group's offsets of topics that none of its members reads.

use std::sync::Arc;

use coordinator::Response;
use protocol::error::ErrorCode;
use protocol::messages::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::RequestContext;
use crate::state::BrokerState;

/// Deletes offsets.
pub async fn handle(
    broker: Arc<BrokerState>,
    _context: RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let image = broker.metadata.image();
    let refuse = |topic: &str, partition: i32| {
        let is_known = image.topic(topic).is_some_and(|topic| topic.partition(partition).is_some());
        (!is_known).then_some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    };
    let asked = match broker.groups.shard_of(&request.group_id) {
        Ok(shard) => {
            shard.ask(|groups, token, _, effects| groups.delete_offsets(token, &request, refuse, effects)).await
        }
        Err(code) => Err(code),
    };
    let code = match asked {
        Ok(Response::OffsetDelete(response)) => return response,
        Ok(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        Err(code) => code,
    };
    OffsetDeleteResponse { error_code: code.0, ..Default::default() }
}
