//! LeaveGroup, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api LeaveGroup: LeaveGroupRequest => LeaveGroupResponse, versions 0..=5, flexible 4..;

    struct LeaveGroupRequest {
        group_id: Str, versions 0..;
        member_id: Str, versions 0..=2;
        members: Vec<MemberIdentity>, versions 3..;
    }

    struct MemberIdentity {
        member_id: Str, versions 3..;
        group_instance_id: Option<Str>, versions 3..;
        reason: Option<Str>, ignorable 5..;
    }

    struct LeaveGroupResponse {
        throttle_time_ms: i32, ignorable 1..;
        error_code: i16, versions 0..;
        members: Vec<MemberResponse>, versions 3..;
    }

    struct MemberResponse {
        member_id: Str, versions 3..;
        group_instance_id: Option<Str> = Some(Default::default()), versions 3..;
        error_code: i16, versions 3..;
    }
}
