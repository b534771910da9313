//! DescribeGroups, all versions.

use bytes::Bytes;

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeGroups: DescribeGroupsRequest => DescribeGroupsResponse, versions 0..=5, flexible 5..;

    struct DescribeGroupsRequest {
        groups: Vec<Str>, versions 0..;
        include_authorized_operations: bool, versions 3..;
    }

    struct DescribeGroupsResponse {
        throttle_time_ms: i32, ignorable 1..;
        groups: Vec<DescribedGroup>, versions 0..;
    }

    struct DescribedGroup {
        error_code: i16, versions 0..;
        group_id: Str, versions 0..;
        group_state: Str, versions 0..;
        protocol_type: Str, versions 0..;
        protocol_data: Str, versions 0..;
        members: Vec<DescribedGroupMember>, versions 0..;
        authorized_operations: i32 = i32::MIN, versions 3..;
    }

    struct DescribedGroupMember {
        member_id: Str, versions 0..;
        group_instance_id: Option<Str>, ignorable 4..;
        client_id: Str, versions 0..;
        client_host: Str, versions 0..;
        member_metadata: Bytes, versions 0..;
        member_assignment: Bytes, versions 0..;
    }
}
