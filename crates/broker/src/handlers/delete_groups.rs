//! DeleteGroups: empty groups and their offsets.

use std::sync::Arc;

use coordinator::Response;
use protocol::error::ErrorCode;
use protocol::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

use super::RequestContext;
use crate::state::BrokerState;

/// Deletes groups one by one.
pub async fn handle(
    broker: Arc<BrokerState>,
    _context: RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group in request.groups_names {
        let asked = match broker.groups.shard_of(&group) {
            Ok(shard) => shard.ask(|groups, token, _, effects| groups.delete_group(token, &group, effects)).await,
            Err(code) => Err(code),
        };
        let code = match asked {
            Ok(Response::DeleteGroup(code)) | Err(code) => code,
            Ok(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        };
        results.push(DeletableGroupResult { group_id: group, error_code: code.0 });
    }
    DeleteGroupsResponse { results, ..Default::default() }
}
