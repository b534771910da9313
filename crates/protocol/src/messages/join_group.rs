//! JoinGroup, all versions.

use bytes::Bytes;

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api JoinGroup: JoinGroupRequest => JoinGroupResponse, versions 0..=9, flexible 6..;

    struct JoinGroupRequest {
        group_id: Str, versions 0..;
        session_timeout_ms: i32, versions 0..;
        rebalance_timeout_ms: i32 = -1, ignorable 1..;
        member_id: Str, versions 0..;
        group_instance_id: Option<Str>, versions 5..;
        protocol_type: Str, versions 0..;
        protocols: Vec<JoinGroupRequestProtocol>, versions 0..;
        reason: Option<Str>, ignorable 8..;
    }

    struct JoinGroupRequestProtocol {
        name: Str, versions 0..;
        metadata: Bytes, versions 0..;
    }

    struct JoinGroupResponse {
        throttle_time_ms: i32, ignorable 2..;
        error_code: i16, versions 0..;
        generation_id: i32 = -1, versions 0..;
        protocol_type: Option<Str>, ignorable 7..;
        protocol_name: Option<Str> = Some(Default::default()), versions 0.., nullable 7..;
        leader: Str, versions 0..;
        skip_assignment: bool, versions 9..;
        member_id: Str, versions 0..;
        members: Vec<JoinGroupResponseMember>, versions 0..;
    }

    struct JoinGroupResponseMember {
        member_id: Str, versions 0..;
        group_instance_id: Option<Str>, ignorable 5..;
        metadata: Bytes, versions 0..;
    }
}
