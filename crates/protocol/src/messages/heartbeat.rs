//! Heartbeat, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api Heartbeat: HeartbeatRequest => HeartbeatResponse, versions 0..=4, flexible 4..;

    struct HeartbeatRequest {
        group_id: Str, versions 0..;
        generation_id: i32, versions 0..;
        member_id: Str, versions 0..;
        group_instance_id: Option<Str>, versions 3..;
    }

    struct HeartbeatResponse {
        throttle_time_ms: i32, ignorable 1..;
        error_code: i16, versions 0..;
    }
}
