//! DescribeGroups: state and members of classic groups.

use bytes::Bytes;

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeGroups: DescribeGroupsRequest => DescribeGroupsResponse, versions 0..=5, flexible 5..;

    /// What is asked.
    struct DescribeGroupsRequest {
        groups: Vec<Str>, versions 0..;
        include_authorized_operations: bool, versions 3..;
    }

    /// What is answered.
    struct DescribeGroupsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 1..;
        groups: Vec<DescribedGroup>, versions 0..;
    }

    /// A classic group.
    struct DescribedGroup {
        error_code: i16, versions 0..;
        group_id: Str, versions 0..;
        /// `Stable`, `PreparingRebalance`, ...
        group_state: Str, versions 0..;
        /// `consumer` for consumers.
        protocol_type: Str, versions 0..;
        /// The assignor; empty unless Stable.
        protocol_data: Str, versions 0..;
        members: Vec<DescribedGroupMember>, versions 0..;
        /// Bits by AclOperation code; `i32::MIN` if not asked for.
        authorized_operations: i32 = i32::MIN, versions 3..;
    }

    /// A member of a classic group.
    struct DescribedGroupMember {
        member_id: Str, versions 0..;
        /// Name of a static member (KIP-345).
        group_instance_id: Option<Str>, ignorable 4..;
        client_id: Str, versions 0..;
        client_host: Str, versions 0..;
        member_metadata: Bytes, versions 0..;
        member_assignment: Bytes, versions 0..;
    }
}
