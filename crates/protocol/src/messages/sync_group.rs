//! SyncGroup: the group's leader hands out assignments, everyone receives their own.

use bytes::Bytes;

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api SyncGroup: SyncGroupRequest => SyncGroupResponse, versions 0..=5, flexible 4..;

    /// What is asked.
    struct SyncGroupRequest {
        group_id: Str, versions 0..;
        generation_id: i32, versions 0..;
        member_id: Str, versions 0..;
        /// Name of a static member (KIP-345).
        group_instance_id: Option<Str>, versions 3..;
        /// `consumer` for consumers.
        protocol_type: Option<Str>, ignorable 5..;
        /// The assignor.
        protocol_name: Option<Str>, ignorable 5..;
        /// Only the leader sends them.
        assignments: Vec<SyncGroupRequestAssignment>, versions 0..;
    }

    /// What the leader gives one member.
    struct SyncGroupRequestAssignment {
        member_id: Str, versions 0..;
        /// For consumers, see [`super::consumer_protocol`].
        assignment: Bytes, versions 0..;
    }

    /// What is answered.
    struct SyncGroupResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 1..;
        error_code: i16, versions 0..;
        /// `consumer` for consumers.
        protocol_type: Option<Str>, ignorable 5..;
        /// The assignor.
        protocol_name: Option<Str>, ignorable 5..;
        /// For consumers, see [`super::consumer_protocol`].
        assignment: Bytes, versions 0..;
    }
}
