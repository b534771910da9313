//! DescribeTopicPartitions, all versions.

use crate::messages::table::messages;
use crate::types::Uuid;
use crate::wire::Str;

messages! {
    api DescribeTopicPartitions: DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse, versions 0..=0, flexible 0..;

    struct DescribeTopicPartitionsRequest {
        topics: Vec<TopicRequest>, versions 0..;
        response_partition_limit: i32 = 2000, versions 0..;
        cursor: Option<Cursor>, versions 0..;
    }

    struct TopicRequest {
        name: Str, versions 0..;
    }

    struct Cursor {
        topic_name: Str, versions 0..;
        partition_index: i32, versions 0..;
    }

    struct DescribeTopicPartitionsResponse {
        throttle_time_ms: i32, versions 0..;
        topics: Vec<DescribeTopicPartitionsResponseTopic>, versions 0..;
        next_cursor: Option<Cursor>, versions 0..;
    }

    struct DescribeTopicPartitionsResponseTopic {
        error_code: i16, versions 0..;
        name: Option<Str> = Some(Default::default()), versions 0..;
        topic_id: Uuid, versions 0..;
        is_internal: bool, versions 0..;
        partitions: Vec<DescribeTopicPartitionsResponsePartition>, versions 0..;
        topic_authorized_operations: i32 = i32::MIN, versions 0..;
    }

    struct DescribeTopicPartitionsResponsePartition {
        error_code: i16, versions 0..;
        partition_index: i32, versions 0..;
        leader_id: i32, versions 0..;
        leader_epoch: i32 = -1, versions 0..;
        replica_nodes: Vec<i32>, versions 0..;
        isr_nodes: Vec<i32>, versions 0..;
        eligible_leader_replicas: Option<Vec<i32>>, versions 0..;
        last_known_elr: Option<Vec<i32>>, versions 0..;
        offline_replicas: Vec<i32>, versions 0..;
    }
}
