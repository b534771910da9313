//! DeleteGroups: removes empty groups with their offsets.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DeleteGroups: DeleteGroupsRequest => DeleteGroupsResponse, versions 0..=2, flexible 2..;

    /// What is asked.
    struct DeleteGroupsRequest {
        groups_names: Vec<Str>, versions 0..;
    }

    /// What is answered.
    struct DeleteGroupsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        results: Vec<DeletableGroupResult>, versions 0..;
    }

    /// Outcome for one group.
    struct DeletableGroupResult {
        group_id: Str, versions 0..;
        error_code: i16, versions 0..;
    }
}
