//! ListGroups, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api ListGroups: ListGroupsRequest => ListGroupsResponse, versions 0..=5, flexible 3..;

    struct ListGroupsRequest {
        states_filter: Vec<Str>, versions 4..;
        types_filter: Vec<Str>, versions 5..;
    }

    struct ListGroupsResponse {
        throttle_time_ms: i32, ignorable 1..;
        error_code: i16, versions 0..;
        groups: Vec<ListedGroup>, versions 0..;
    }

    struct ListedGroup {
        group_id: Str, versions 0..;
        protocol_type: Str, versions 0..;
        group_state: Str, ignorable 4..;
        group_type: Str, ignorable 5..;
    }
}
