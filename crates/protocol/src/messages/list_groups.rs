//! ListGroups: the groups this broker coordinates.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api ListGroups: ListGroupsRequest => ListGroupsResponse, versions 0..=5, flexible 3..;

    /// What is asked.
    struct ListGroupsRequest {
        /// No element is no filter.
        states_filter: Vec<Str>, versions 4..;
        /// `classic`, `consumer`; no element is no filter.
        types_filter: Vec<Str>, versions 5..;
    }

    /// What is answered.
    struct ListGroupsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 1..;
        error_code: i16, versions 0..;
        groups: Vec<ListedGroup>, versions 0..;
    }

    /// A group.
    struct ListedGroup {
        group_id: Str, versions 0..;
        /// `consumer` for consumers.
        protocol_type: Str, versions 0..;
        /// `Stable`, `PreparingRebalance`, ...
        group_state: Str, ignorable 4..;
        group_type: Str, ignorable 5..;
    }
}
