//! ConsumerGroupDescribe, all versions.

use crate::messages::table::messages;
use crate::types::Uuid;
use crate::wire::Str;

messages! {
    api ConsumerGroupDescribe: ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse, versions 0..=0, flexible 0..;

    struct ConsumerGroupDescribeRequest {
        group_ids: Vec<Str>, versions 0..;
        include_authorized_operations: bool, versions 0..;
    }

    struct ConsumerGroupDescribeResponse {
        throttle_time_ms: i32, versions 0..;
        groups: Vec<DescribedGroup>, versions 0..;
    }

    struct DescribedGroup {
        error_code: i16, versions 0..;
        error_message: Option<Str>, versions 0..;
        group_id: Str, versions 0..;
        group_state: Str, versions 0..;
        group_epoch: i32, versions 0..;
        assignment_epoch: i32, versions 0..;
        assignor_name: Str, versions 0..;
        members: Vec<Member>, versions 0..;
        authorized_operations: i32 = i32::MIN, versions 0..;
    }

    struct Member {
        member_id: Str, versions 0..;
        instance_id: Option<Str>, versions 0..;
        rack_id: Option<Str>, versions 0..;
        member_epoch: i32, versions 0..;
        client_id: Str, versions 0..;
        client_host: Str, versions 0..;
        subscribed_topic_names: Vec<Str>, versions 0..;
        subscribed_topic_regex: Option<Str>, versions 0..;
        assignment: Assignment, versions 0..;
        target_assignment: Assignment, versions 0..;
    }

    struct Assignment {
        topic_partitions: Vec<TopicPartitions>, versions 0..;
    }

    struct TopicPartitions {
        topic_id: Uuid, versions 0..;
        topic_name: Str, versions 0..;
        partitions: Vec<i32>, versions 0..;
    }
}
