//! Heartbeat: keeps a member of a group alive and tells it of rebalances.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api Heartbeat: HeartbeatRequest => HeartbeatResponse, versions 0..=4, flexible 4..;

    /// What is asked.
    struct HeartbeatRequest {
        group_id: Str, versions 0..;
        generation_id: i32, versions 0..;
        member_id: Str, versions 0..;
        /// Name of a static member (KIP-345).
        group_instance_id: Option<Str>, versions 3..;
    }

    /// What is answered.
    struct HeartbeatResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 1..;
        error_code: i16, versions 0..;
    }
}
