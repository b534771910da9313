//! DescribeTopicPartitions: Metadata in pages, with eligible leader replicas (KIP-966).

use crate::messages::table::messages;
use crate::types::Uuid;
use crate::wire::Str;

messages! {
    api DescribeTopicPartitions: DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse, versions 0..=0, flexible 0..;

    /// What is asked.
    struct DescribeTopicPartitionsRequest {
        topics: Vec<TopicRequest>, versions 0..;
        response_partition_limit: i32 = 2000, versions 0..;
        /// None starts at the front.
        cursor: Option<Cursor>, versions 0..;
    }

    /// A topic asked for.
    struct TopicRequest {
        name: Str, versions 0..;
    }

    /// Where to go on: a topic, and the partition in it.
    struct Cursor {
        topic_name: Str, versions 0..;
        partition_index: i32, versions 0..;
    }

    /// What is answered.
    struct DescribeTopicPartitionsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        topics: Vec<DescribeTopicPartitionsResponseTopic>, versions 0..;
        /// None if this was the last page.
        next_cursor: Option<Cursor>, versions 0..;
    }

    /// A topic, or why there is none.
    struct DescribeTopicPartitionsResponseTopic {
        error_code: i16, versions 0..;
        name: Option<Str> = Some(Default::default()), versions 0..;
        topic_id: Uuid, versions 0..;
        is_internal: bool, versions 0..;
        partitions: Vec<DescribeTopicPartitionsResponsePartition>, versions 0..;
        /// Bits by AclOperation code; `i32::MIN` if not asked for.
        topic_authorized_operations: i32 = i32::MIN, versions 0..;
    }

    /// A partition of a topic.
    struct DescribeTopicPartitionsResponsePartition {
        error_code: i16, versions 0..;
        partition_index: i32, versions 0..;
        /// -1 is no leader.
        leader_id: i32, versions 0..;
        /// -1 is not known.
        leader_epoch: i32 = -1, versions 0..;
        /// First the preferred leader.
        replica_nodes: Vec<i32>, versions 0..;
        isr_nodes: Vec<i32>, versions 0..;
        /// Replicas outside the ISR that have every committed record.
        eligible_leader_replicas: Option<Vec<i32>>, versions 0..;
        last_known_elr: Option<Vec<i32>>, versions 0..;
        offline_replicas: Vec<i32>, versions 0..;
    }
}
