//! Heartbeat: a member is alive, and learns of a rebalance.

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use super::RequestContext;
use crate::state::BrokerState;

/// Notes a sign of life.
pub fn handle(broker: &Arc<BrokerState>, _context: &RequestContext, request: HeartbeatRequest) -> HeartbeatResponse {
    let asked = broker
        .groups
        .shard_of(&request.group_id)
        .and_then(|shard| shard.with(|groups, now, effects| groups.heartbeat(&request, now, effects)));
    asked.unwrap_or_else(|code| {
        // While groups are loaded every member gets the benefit of the doubt: its session begins anew when they are there.
        let code = if code == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS { ErrorCode::NONE } else { code };
        HeartbeatResponse { error_code: code.0, ..Default::default() }
    })
}
