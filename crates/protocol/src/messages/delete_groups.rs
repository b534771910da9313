//! DeleteGroups, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DeleteGroups: DeleteGroupsRequest => DeleteGroupsResponse, versions 0..=2, flexible 2..;

    struct DeleteGroupsRequest {
        groups_names: Vec<Str>, versions 0..;
    }

    struct DeleteGroupsResponse {
        throttle_time_ms: i32, versions 0..;
        results: Vec<DeletableGroupResult>, versions 0..;
    }

    struct DeletableGroupResult {
        group_id: Str, versions 0..;
        error_code: i16, versions 0..;
    }
}
