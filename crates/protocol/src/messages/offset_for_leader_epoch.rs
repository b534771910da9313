//! OffsetForLeaderEpoch: where a leader epoch ends in the leader's log, so that others can truncate to it (KIP-101, KIP-279, KIP-320).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api OffsetForLeaderEpoch: OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse, versions 0..=4, flexible 4..;

    /// What is asked.
    struct OffsetForLeaderEpochRequest {
        /// Broker id of a follower; -1 is a consumer, -2 any (before v3).
        replica_id: i32 = -2, ignorable 3..;
        topics: Vec<OffsetForLeaderTopic>, versions 0..;
    }

    /// Questions about one topic.
    struct OffsetForLeaderTopic {
        topic: Str, versions 0..;
        partitions: Vec<OffsetForLeaderPartition>, versions 0..;
    }

    /// Question about one partition.
    struct OffsetForLeaderPartition {
        partition: i32, versions 0..;
        /// Epoch the client believes in, for fencing (KIP-320); -1 is not checked.
        current_leader_epoch: i32 = -1, ignorable 2..;
        /// Epoch asked about.
        leader_epoch: i32, versions 0..;
    }

    /// What is answered.
    struct OffsetForLeaderEpochResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 2..;
        topics: Vec<OffsetForLeaderTopicResult>, versions 0..;
    }

    /// Answers about one topic.
    struct OffsetForLeaderTopicResult {
        topic: Str, versions 0..;
        partitions: Vec<EpochEndOffset>, versions 0..;
    }

    /// Answer about one partition.
    struct EpochEndOffset {
        error_code: i16, versions 0..;
        partition: i32, versions 0..;
        /// Largest epoch not above the one asked about; -1 is none.
        leader_epoch: i32 = -1, ignorable 1..;
        /// Offset behind its last record; -1 is none.
        end_offset: i64 = -1, versions 0..;
    }
}
