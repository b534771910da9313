//! TxnOffsetCommit, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api TxnOffsetCommit: TxnOffsetCommitRequest => TxnOffsetCommitResponse, versions 0..=4, flexible 3..;

    struct TxnOffsetCommitRequest {
        transactional_id: Str, versions 0..;
        group_id: Str, versions 0..;
        producer_id: i64, versions 0..;
        producer_epoch: i16, versions 0..;
        generation_id: i32 = -1, versions 3..;
        member_id: Str, versions 3..;
        group_instance_id: Option<Str>, versions 3..;
        topics: Vec<TxnOffsetCommitRequestTopic>, versions 0..;
    }

    struct TxnOffsetCommitRequestTopic {
        name: Str, versions 0..;
        partitions: Vec<TxnOffsetCommitRequestPartition>, versions 0..;
    }

    struct TxnOffsetCommitRequestPartition {
        partition_index: i32, versions 0..;
        committed_offset: i64, versions 0..;
        committed_leader_epoch: i32 = -1, ignorable 2..;
        committed_metadata: Option<Str> = Some(Default::default()), versions 0..;
    }

    struct TxnOffsetCommitResponse {
        throttle_time_ms: i32, versions 0..;
        topics: Vec<TxnOffsetCommitResponseTopic>, versions 0..;
    }

    struct TxnOffsetCommitResponseTopic {
        name: Str, versions 0..;
        partitions: Vec<TxnOffsetCommitResponsePartition>, versions 0..;
    }

    struct TxnOffsetCommitResponsePartition {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
    }
}
