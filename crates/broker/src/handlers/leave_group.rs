//! LeaveGroup: members leave before their sessions end.

use std::sync::Arc;

use protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};

use super::RequestContext;
use crate::state::BrokerState;

/// Lets members go.
pub fn handle(broker: &Arc<BrokerState>, context: &RequestContext, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let version = context.version;
    let asked = broker
        .groups
        .shard_of(&request.group_id)
        .and_then(|shard| shard.with(|groups, now, effects| groups.leave(version, &request, now, effects)));
    asked.unwrap_or_else(|code| LeaveGroupResponse { error_code: code.0, ..Default::default() })
}
