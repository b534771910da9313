//! ConsumerGroupDescribe: state and members of groups of the newer protocol (KIP-848).

use crate::messages::table::messages;
use crate::types::Uuid;
use crate::wire::Str;

messages! {
    api ConsumerGroupDescribe: ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse, versions 0..=0, flexible 0..;

    /// What is asked.
    struct ConsumerGroupDescribeRequest {
        group_ids: Vec<Str>, versions 0..;
        include_authorized_operations: bool, versions 0..;
    }

    /// What is answered.
    struct ConsumerGroupDescribeResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        groups: Vec<DescribedGroup>, versions 0..;
    }

    /// A group.
    struct DescribedGroup {
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str>, versions 0..;
        group_id: Str, versions 0..;
        /// `Stable`, `PreparingRebalance`, ...
        group_state: Str, versions 0..;
        group_epoch: i32, versions 0..;
        assignment_epoch: i32, versions 0..;
        assignor_name: Str, versions 0..;
        members: Vec<Member>, versions 0..;
        /// Bits by AclOperation code; `i32::MIN` if not asked for.
        authorized_operations: i32 = i32::MIN, versions 0..;
    }

    /// A member of a group.
    struct Member {
        member_id: Str, versions 0..;
        instance_id: Option<Str>, versions 0..;
        rack_id: Option<Str>, versions 0..;
        /// Epoch of the member (KIP-848).
        member_epoch: i32, versions 0..;
        client_id: Str, versions 0..;
        client_host: Str, versions 0..;
        subscribed_topic_names: Vec<Str>, versions 0..;
        subscribed_topic_regex: Option<Str>, versions 0..;
        assignment: Assignment, versions 0..;
        target_assignment: Assignment, versions 0..;
    }

    /// What a member may read.
    struct Assignment {
        topic_partitions: Vec<TopicPartitions>, versions 0..;
    }

    /// Partitions of one topic.
    struct TopicPartitions {
        topic_id: Uuid, versions 0..;
        topic_name: Str, versions 0..;
        partitions: Vec<i32>, versions 0..;
    }
}
