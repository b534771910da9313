//! JoinGroup: the answer comes when the rebalance has gathered its members.

use std::sync::Arc;

use coordinator::Response;
use protocol::error::ErrorCode;
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};

use super::RequestContext;
use crate::state::BrokerState;

/// Lets a client into a group.
pub async fn handle(broker: Arc<BrokerState>, context: RequestContext, request: JoinGroupRequest) -> JoinGroupResponse {
    let client = broker.groups.client(&context);
    let version = context.version;
    let asked = match broker.groups.shard_of(&request.group_id) {
        Ok(shard) => {
            shard.ask(|groups, token, now, effects| groups.join(token, version, &request, &client, now, effects)).await
        }
        Err(code) => Err(code),
    };
    match asked {
        Ok(Response::JoinGroup(response)) => response,
        Ok(_) => refused(version, &request, ErrorCode::UNKNOWN_SERVER_ERROR),
        Err(code) => refused(version, &request, code),
    }
}

fn refused(version: i16, request: &JoinGroupRequest, code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: code.0,
        member_id: request.member_id.clone(),
        // Null is not known before version 7.
        protocol_name: if version >= 7 { None } else { Some(Default::default()) },
        ..Default::default()
    }
}
