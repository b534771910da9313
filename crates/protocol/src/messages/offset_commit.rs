//! OffsetCommit: stores how far a group has read.
//!
//! v0 stores in ZooKeeper, later versions in `__consumer_offsets`. v1 has a timestamp per partition, v2 to v4 one retention time for all.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api OffsetCommit: OffsetCommitRequest => OffsetCommitResponse, versions 0..=9, flexible 8..;

    /// What is asked.
    struct OffsetCommitRequest {
        group_id: Str, versions 0..;
        /// Generation of a classic group or epoch of a member (KIP-848); -1 outside a group.
        generation_id_or_member_epoch: i32 = -1, ignorable 1..;
        member_id: Str, ignorable 1..;
        /// Name of a static member (KIP-345).
        group_instance_id: Option<Str>, versions 7..;
        /// -1 is the broker's own retention.
        retention_time_ms: i64 = -1, ignorable 2..=4;
        topics: Vec<OffsetCommitRequestTopic>, versions 0..;
    }

    /// Offsets of one topic.
    struct OffsetCommitRequestTopic {
        name: Str, versions 0..;
        partitions: Vec<OffsetCommitRequestPartition>, versions 0..;
    }

    /// Offset of one partition.
    struct OffsetCommitRequestPartition {
        partition_index: i32, versions 0..;
        committed_offset: i64, versions 0..;
        /// -1 is not known.
        committed_leader_epoch: i32 = -1, ignorable 6..;
        /// v1 only; -1 is the broker's own time.
        commit_timestamp: i64 = -1, versions 1..=1;
        /// Free text of the client.
        committed_metadata: Option<Str> = Some(Default::default()), versions 0..;
    }

    /// What is answered.
    struct OffsetCommitResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 3..;
        topics: Vec<OffsetCommitResponseTopic>, versions 0..;
    }

    /// Outcome for one topic.
    struct OffsetCommitResponseTopic {
        name: Str, versions 0..;
        partitions: Vec<OffsetCommitResponsePartition>, versions 0..;
    }

    /// Outcome for one partition.
    struct OffsetCommitResponsePartition {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
    }
}
