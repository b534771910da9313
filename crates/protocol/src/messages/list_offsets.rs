//! ListOffsets, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api ListOffsets: ListOffsetsRequest => ListOffsetsResponse, versions 0..=9, flexible 6..;

    struct ListOffsetsRequest {
        replica_id: i32, versions 0..;
        isolation_level: i8, versions 2..;
        topics: Vec<ListOffsetsTopic>, versions 0..;
    }

    struct ListOffsetsTopic {
        name: Str, versions 0..;
        partitions: Vec<ListOffsetsPartition>, versions 0..;
    }

    struct ListOffsetsPartition {
        partition_index: i32, versions 0..;
        current_leader_epoch: i32 = -1, ignorable 4..;
        timestamp: i64, versions 0..;
        max_num_offsets: i32 = 1, versions 0..=0;
    }

    struct ListOffsetsResponse {
        throttle_time_ms: i32, ignorable 2..;
        topics: Vec<ListOffsetsTopicResponse>, versions 0..;
    }

    struct ListOffsetsTopicResponse {
        name: Str, versions 0..;
        partitions: Vec<ListOffsetsPartitionResponse>, versions 0..;
    }

    struct ListOffsetsPartitionResponse {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
        old_style_offsets: Vec<i64>, versions 0..=0;
        timestamp: i64 = -1, versions 1..;
        offset: i64 = -1, versions 1..;
        leader_epoch: i32 = -1, versions 4..;
    }
}
