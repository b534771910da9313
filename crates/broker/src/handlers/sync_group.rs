//! SyncGroup: the answer comes when the leader's assignment is written.

use std::sync::Arc;

use coordinator::Response;
use protocol::error::ErrorCode;
use protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::RequestContext;
use crate::state::BrokerState;

/// Gives a member its assignment.
pub async fn handle(broker: Arc<BrokerState>, context: RequestContext, request: SyncGroupRequest) -> SyncGroupResponse {
    let version = context.version;
    let asked = match broker.groups.shard_of(&request.group_id) {
        Ok(shard) => shard.ask(|groups, token, now, effects| groups.sync(token, version, &request, now, effects)).await,
        Err(code) => Err(code),
    };
    let code = match asked {
        Ok(Response::SyncGroup(response)) => return response,
        Ok(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        // A rebalance that was under way is lost: the member joins again, and need not look for the coordinator first. Old clients do not expect error 14 here.
        Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS) => ErrorCode::REBALANCE_IN_PROGRESS,
        Err(code) => code,
    };
    SyncGroupResponse { error_code: code.0, ..Default::default() }
}
