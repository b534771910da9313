//! SyncGroup, all versions.

use bytes::Bytes;

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api SyncGroup: SyncGroupRequest => SyncGroupResponse, versions 0..=5, flexible 4..;

    struct SyncGroupRequest {
        group_id: Str, versions 0..;
        generation_id: i32, versions 0..;
        member_id: Str, versions 0..;
        group_instance_id: Option<Str>, versions 3..;
        protocol_type: Option<Str>, ignorable 5..;
        protocol_name: Option<Str>, ignorable 5..;
        assignments: Vec<SyncGroupRequestAssignment>, versions 0..;
    }

    struct SyncGroupRequestAssignment {
        member_id: Str, versions 0..;
        assignment: Bytes, versions 0..;
    }

    struct SyncGroupResponse {
        throttle_time_ms: i32, ignorable 1..;
        error_code: i16, versions 0..;
        protocol_type: Option<Str>, ignorable 5..;
        protocol_name: Option<Str>, ignorable 5..;
        assignment: Bytes, versions 0..;
    }
}
