//! ListOffsets: finds an offset by timestamp, or the ends of a log.
//!
//! v0 answers with a list of segment base offsets, newest first; from v1 on there is exactly one offset with its timestamp.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api ListOffsets: ListOffsetsRequest => ListOffsetsResponse, versions 0..=9, flexible 6..;

    /// What is asked.
    struct ListOffsetsRequest {
        /// Broker id of a follower; -1 is a consumer.
        replica_id: i32, versions 0..;
        /// 0: read_uncommitted; 1: read_committed.
        isolation_level: i8, versions 2..;
        topics: Vec<ListOffsetsTopic>, versions 0..;
    }

    /// Questions about one topic.
    struct ListOffsetsTopic {
        name: Str, versions 0..;
        partitions: Vec<ListOffsetsPartition>, versions 0..;
    }

    /// Question about one partition.
    struct ListOffsetsPartition {
        partition_index: i32, versions 0..;
        /// Epoch the client believes in, for fencing (KIP-320); -1 is not checked.
        current_leader_epoch: i32 = -1, ignorable 4..;
        /// -1 asks for the end of the log, -2 for its start, -3 for the record with the largest timestamp, -4 for the local log start,
        /// -5 for the end of the tiered part.
        timestamp: i64, versions 0..;
        /// v0 only: how many offsets to list at most.
        max_num_offsets: i32 = 1, versions 0..=0;
    }

    /// What is answered.
    struct ListOffsetsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 2..;
        topics: Vec<ListOffsetsTopicResponse>, versions 0..;
    }

    /// Answers about one topic.
    struct ListOffsetsTopicResponse {
        name: Str, versions 0..;
        partitions: Vec<ListOffsetsPartitionResponse>, versions 0..;
    }

    /// Answer about one partition.
    struct ListOffsetsPartitionResponse {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
        /// v0 only: offsets, newest first.
        old_style_offsets: Vec<i64>, versions 0..=0;
        /// Timestamp of the record at `offset`; -1 is none.
        timestamp: i64 = -1, versions 1..;
        /// -1 if no record is that new.
        offset: i64 = -1, versions 1..;
        /// -1 is not known.
        leader_epoch: i32 = -1, versions 4..;
    }
}
