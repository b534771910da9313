//! DescribeGroups: state and members of groups.

use std::sync::Arc;

use protocol::messages::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup};

use super::{RequestContext, authorized_operations};
use crate::state::BrokerState;

/// Describes groups one by one. A group that is not there is Dead.
pub fn handle(
    broker: &Arc<BrokerState>,
    _context: &RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let describe = |group: &str| {
        let described =
            broker.groups.shard_of(group).and_then(|shard| shard.with(|groups, _, _| groups.describe(group)));
        let mut described = described.unwrap_or_else(|code| DescribedGroup {
            error_code: code.0,
            group_id: group.into(),
            ..Default::default()
        });
        if request.include_authorized_operations && described.error_code == 0 {
            described.authorized_operations = authorized_operations::GROUP;
        }
        described
    };
    let groups = request.groups.iter().map(|group| describe(group)).collect();
    DescribeGroupsResponse { groups, ..Default::default() }
}
