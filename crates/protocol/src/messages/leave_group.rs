//! LeaveGroup: leaves a group; from v3 on several members at once (KIP-345).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api LeaveGroup: LeaveGroupRequest => LeaveGroupResponse, versions 0..=5, flexible 4..;

    /// What is asked.
    struct LeaveGroupRequest {
        group_id: Str, versions 0..;
        /// Up to v2.
        member_id: Str, versions 0..=2;
        /// From v3.
        members: Vec<MemberIdentity>, versions 3..;
    }

    /// A member that leaves.
    struct MemberIdentity {
        member_id: Str, versions 3..;
        /// Name of a static member (KIP-345).
        group_instance_id: Option<Str>, versions 3..;
        /// Why, for the broker's log (KIP-800).
        reason: Option<Str>, ignorable 5..;
    }

    /// What is answered.
    struct LeaveGroupResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 1..;
        error_code: i16, versions 0..;
        members: Vec<MemberResponse>, versions 3..;
    }

    /// Outcome for one member.
    struct MemberResponse {
        member_id: Str, versions 3..;
        /// Name of a static member (KIP-345).
        group_instance_id: Option<Str> = Some(Default::default()), versions 3..;
        error_code: i16, versions 3..;
    }
}
