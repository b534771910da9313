//! OffsetForLeaderEpoch, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api OffsetForLeaderEpoch: OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse, versions 0..=4, flexible 4..;

    struct OffsetForLeaderEpochRequest {
        replica_id: i32 = -2, ignorable 3..;
        topics: Vec<OffsetForLeaderTopic>, versions 0..;
    }

    struct OffsetForLeaderTopic {
        topic: Str, versions 0..;
        partitions: Vec<OffsetForLeaderPartition>, versions 0..;
    }

    struct OffsetForLeaderPartition {
        partition: i32, versions 0..;
        current_leader_epoch: i32 = -1, ignorable 2..;
        leader_epoch: i32, versions 0..;
    }

    struct OffsetForLeaderEpochResponse {
        throttle_time_ms: i32, ignorable 2..;
        topics: Vec<OffsetForLeaderTopicResult>, versions 0..;
    }

    struct OffsetForLeaderTopicResult {
        topic: Str, versions 0..;
        partitions: Vec<EpochEndOffset>, versions 0..;
    }

    struct EpochEndOffset {
        error_code: i16, versions 0..;
        partition: i32, versions 0..;
        leader_epoch: i32 = -1, ignorable 1..;
        end_offset: i64 = -1, versions 0..;
    }
}
