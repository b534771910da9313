//! OffsetDelete: removes a group's offsets of single partitions (KIP-496).

use crate::messages::table::{NEVER, messages};
use crate::wire::Str;

messages! {
    api OffsetDelete: OffsetDeleteRequest => OffsetDeleteResponse, versions 0..=0, flexible NEVER..;

    /// What is asked.
    struct OffsetDeleteRequest {
        group_id: Str, versions 0..;
        topics: Vec<OffsetDeleteRequestTopic>, versions 0..;
    }

    /// Partitions of one topic.
    struct OffsetDeleteRequestTopic {
        name: Str, versions 0..;
        partitions: Vec<OffsetDeleteRequestPartition>, versions 0..;
    }

    /// A partition.
    struct OffsetDeleteRequestPartition {
        partition_index: i32, versions 0..;
    }

    /// What is answered.
    struct OffsetDeleteResponse {
        error_code: i16, versions 0..;
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        topics: Vec<OffsetDeleteResponseTopic>, versions 0..;
    }

    /// Outcome for one topic.
    struct OffsetDeleteResponseTopic {
        name: Str, versions 0..;
        partitions: Vec<OffsetDeleteResponsePartition>, versions 0..;
    }

    /// Outcome for one partition.
    struct OffsetDeleteResponsePartition {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
    }
}
