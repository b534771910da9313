//! Fetch, all versions.

use crate::messages::table::messages;
use crate::types::Uuid;
use crate::wire::{Records, Str};

messages! {
    api Fetch: FetchRequest => FetchResponse, versions 0..=17, flexible 12..;

    struct FetchRequest {
        cluster_id: Option<Str>, ignorable 12.., tag 0;
        replica_id: i32 = -1, versions 0..=14;
        replica_state: ReplicaState, ignorable 15.., tag 1;
        max_wait_ms: i32, versions 0..;
        min_bytes: i32, versions 0..;
        max_bytes: i32 = i32::MAX, ignorable 3..;
        isolation_level: i8, ignorable 4..;
        session_id: i32, ignorable 7..;
        session_epoch: i32 = -1, ignorable 7..;
        topics: Vec<FetchTopic>, versions 0..;
        forgotten_topics_data: Vec<ForgottenTopic>, versions 7..;
        rack_id: Str, ignorable 11..;
    }

    struct ReplicaState {
        replica_id: i32 = -1, versions 15..;
        replica_epoch: i64 = -1, versions 15..;
    }

    struct FetchTopic {
        topic: Str, ignorable 0..=12;
        topic_id: Uuid, ignorable 13..;
        partitions: Vec<FetchPartition>, versions 0..;
    }

    struct FetchPartition {
        partition: i32, versions 0..;
        current_leader_epoch: i32 = -1, ignorable 9..;
        fetch_offset: i64, versions 0..;
        last_fetched_epoch: i32 = -1, versions 12..;
        log_start_offset: i64 = -1, ignorable 5..;
        partition_max_bytes: i32, versions 0..;
        replica_directory_id: Uuid, ignorable 17.., tag 0;
    }

    struct ForgottenTopic {
        topic: Str, ignorable 7..=12;
        topic_id: Uuid, ignorable 13..;
        partitions: Vec<i32>, versions 7..;
    }

    struct FetchResponse {
        throttle_time_ms: i32, ignorable 1..;
        error_code: i16, ignorable 7..;
        session_id: i32, versions 7..;
        responses: Vec<FetchableTopicResponse>, versions 0..;
        node_endpoints: Vec<NodeEndpoint>, ignorable 16.., tag 0;
    }

    struct FetchableTopicResponse {
        topic: Str, ignorable 0..=12;
        topic_id: Uuid, ignorable 13..;
        partitions: Vec<PartitionData>, versions 0..;
    }

    struct PartitionData {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
        high_watermark: i64, versions 0..;
        last_stable_offset: i64 = -1, ignorable 4..;
        log_start_offset: i64 = -1, ignorable 5..;
        diverging_epoch: EpochEndOffset, ignorable 12.., tag 0;
        current_leader: LeaderIdAndEpoch, ignorable 12.., tag 1;
        snapshot_id: SnapshotId, ignorable 12.., tag 2;
        aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Default::default()), ignorable 4..;
        preferred_read_replica: i32 = -1, versions 11..;
        records: Records, versions 0..;
    }

    struct EpochEndOffset {
        epoch: i32 = -1, versions 12..;
        end_offset: i64 = -1, versions 12..;
    }

    struct LeaderIdAndEpoch {
        leader_id: i32 = -1, versions 12..;
        leader_epoch: i32 = -1, versions 12..;
    }

    struct SnapshotId {
        end_offset: i64 = -1, versions 0..;
        epoch: i32 = -1, versions 0..;
    }

    struct AbortedTransaction {
        producer_id: i64, versions 4..;
        first_offset: i64, versions 4..;
    }

    struct NodeEndpoint {
        node_id: i32, versions 16..;
        host: Str, versions 16..;
        port: i32, versions 16..;
        rack: Option<Str>, versions 16..;
    }
}
