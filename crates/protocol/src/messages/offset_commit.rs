//! OffsetCommit, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api OffsetCommit: OffsetCommitRequest => OffsetCommitResponse, versions 0..=9, flexible 8..;

    struct OffsetCommitRequest {
        group_id: Str, versions 0..;
        generation_id_or_member_epoch: i32 = -1, ignorable 1..;
        member_id: Str, ignorable 1..;
        group_instance_id: Option<Str>, versions 7..;
        retention_time_ms: i64 = -1, ignorable 2..=4;
        topics: Vec<OffsetCommitRequestTopic>, versions 0..;
    }

    struct OffsetCommitRequestTopic {
        name: Str, versions 0..;
        partitions: Vec<OffsetCommitRequestPartition>, versions 0..;
    }

    struct OffsetCommitRequestPartition {
        partition_index: i32, versions 0..;
        committed_offset: i64, versions 0..;
        committed_leader_epoch: i32 = -1, ignorable 6..;
        commit_timestamp: i64 = -1, versions 1..=1;
        committed_metadata: Option<Str> = Some(Default::default()), versions 0..;
    }

    struct OffsetCommitResponse {
        throttle_time_ms: i32, ignorable 3..;
        topics: Vec<OffsetCommitResponseTopic>, versions 0..;
    }

    struct OffsetCommitResponseTopic {
        name: Str, versions 0..;
        partitions: Vec<OffsetCommitResponsePartition>, versions 0..;
    }

    struct OffsetCommitResponsePartition {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
    }
}
