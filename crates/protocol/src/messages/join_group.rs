//! JoinGroup: enters a group and waits until the rebalance has gathered all members.

use bytes::Bytes;

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api JoinGroup: JoinGroupRequest => JoinGroupResponse, versions 0..=9, flexible 6..;

    /// What is asked.
    struct JoinGroupRequest {
        group_id: Str, versions 0..;
        /// The member is out after so long without a heartbeat.
        session_timeout_ms: i32, versions 0..;
        /// How long the others wait for this member in a rebalance; -1 (v0) is the session timeout.
        rebalance_timeout_ms: i32 = -1, ignorable 1..;
        /// Empty on the first call.
        member_id: Str, versions 0..;
        /// Name of a static member (KIP-345).
        group_instance_id: Option<Str>, versions 5..;
        /// `consumer` for consumers.
        protocol_type: Str, versions 0..;
        /// Assignors in order of preference.
        protocols: Vec<JoinGroupRequestProtocol>, versions 0..;
        /// Why, for the broker's log (KIP-800).
        reason: Option<Str>, ignorable 8..;
    }

    /// An assignor the member supports, with what it wants to tell it.
    struct JoinGroupRequestProtocol {
        name: Str, versions 0..;
        /// For consumers, see [`super::consumer_protocol`].
        metadata: Bytes, versions 0..;
    }

    /// What is answered.
    struct JoinGroupResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 2..;
        error_code: i16, versions 0..;
        generation_id: i32 = -1, versions 0..;
        /// `consumer` for consumers.
        protocol_type: Option<Str>, ignorable 7..;
        /// The assignor.
        protocol_name: Option<Str> = Some(Default::default()), versions 0.., nullable 7..;
        /// Member id of the leader.
        leader: Str, versions 0..;
        /// The leader need not compute an assignment (KIP-814).
        skip_assignment: bool, versions 9..;
        member_id: Str, versions 0..;
        /// Only the leader gets them.
        members: Vec<JoinGroupResponseMember>, versions 0..;
    }

    /// A member of the new generation.
    struct JoinGroupResponseMember {
        member_id: Str, versions 0..;
        /// Name of a static member (KIP-345).
        group_instance_id: Option<Str>, ignorable 5..;
        /// For consumers, see [`super::consumer_protocol`].
        metadata: Bytes, versions 0..;
    }
}
