//! TxnOffsetCommit: stores a group's offsets as part of a transaction.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api TxnOffsetCommit: TxnOffsetCommitRequest => TxnOffsetCommitResponse, versions 0..=4, flexible 3..;

    /// What is asked.
    struct TxnOffsetCommitRequest {
        transactional_id: Str, versions 0..;
        group_id: Str, versions 0..;
        producer_id: i64, versions 0..;
        producer_epoch: i16, versions 0..;
        generation_id: i32 = -1, versions 3..;
        member_id: Str, versions 3..;
        /// Name of a static member (KIP-345).
        group_instance_id: Option<Str>, versions 3..;
        topics: Vec<TxnOffsetCommitRequestTopic>, versions 0..;
    }

    /// Offsets of one topic.
    struct TxnOffsetCommitRequestTopic {
        name: Str, versions 0..;
        partitions: Vec<TxnOffsetCommitRequestPartition>, versions 0..;
    }

    /// Offset of one partition.
    struct TxnOffsetCommitRequestPartition {
        partition_index: i32, versions 0..;
        committed_offset: i64, versions 0..;
        /// -1 is not known.
        committed_leader_epoch: i32 = -1, ignorable 2..;
        /// Free text of the client.
        committed_metadata: Option<Str> = Some(Default::default()), versions 0..;
    }

    /// What is answered.
    struct TxnOffsetCommitResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        topics: Vec<TxnOffsetCommitResponseTopic>, versions 0..;
    }

    /// Outcome for one topic.
    struct TxnOffsetCommitResponseTopic {
        name: Str, versions 0..;
        partitions: Vec<TxnOffsetCommitResponsePartition>, versions 0..;
    }

    /// Outcome for one partition.
    struct TxnOffsetCommitResponsePartition {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
    }
}
