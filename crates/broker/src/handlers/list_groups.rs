//! ListGroups: the groups that this broker coordinates.

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};

use super::RequestContext;
use crate::state::BrokerState;

/// Lists groups by state and type, whatever the case of their names. While some are being loaded, the list says so and is not complete.
pub fn handle(broker: &Arc<BrokerState>, _context: &RequestContext, request: ListGroupsRequest) -> ListGroupsResponse {
    let wants_classic =
        request.types_filter.is_empty() || request.types_filter.iter().any(|kind| kind.eq_ignore_ascii_case("classic"));
    let states: Vec<&str> = request.states_filter.iter().map(|state| &**state).collect();
    let mut response = ListGroupsResponse::default();
    for shard in broker.groups.shards() {
        match shard.with(|groups, _, _| groups.list(&states)) {
            Ok(groups) if wants_classic => response.groups.extend(groups),
            Ok(_) => {}
            Err(code @ (ErrorCode::COORDINATOR_LOAD_IN_PROGRESS | ErrorCode::COORDINATOR_NOT_AVAILABLE)) => {
                response.error_code = code.0;
            }
            // It went to another broker, which lists it.
            Err(_) => {}
        }
    }
    response
}
