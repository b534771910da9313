//! OffsetDelete, all versions.

use crate::messages::table::{NEVER, messages};
use crate::wire::Str;

messages! {
    api OffsetDelete: OffsetDeleteRequest => OffsetDeleteResponse, versions 0..=0, flexible NEVER..;

    struct OffsetDeleteRequest {
        group_id: Str, versions 0..;
        topics: Vec<OffsetDeleteRequestTopic>, versions 0..;
    }

    struct OffsetDeleteRequestTopic {
        name: Str, versions 0..;
        partitions: Vec<OffsetDeleteRequestPartition>, versions 0..;
    }

    struct OffsetDeleteRequestPartition {
        partition_index: i32, versions 0..;
    }

    struct OffsetDeleteResponse {
        error_code: i16, versions 0..;
        throttle_time_ms: i32, versions 0..;
        topics: Vec<OffsetDeleteResponseTopic>, versions 0..;
    }

    struct OffsetDeleteResponseTopic {
        name: Str, versions 0..;
        partitions: Vec<OffsetDeleteResponsePartition>, versions 0..;
    }

    struct OffsetDeleteResponsePartition {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
    }
}
