//! Fetch: reads record batches, for consumers and for followers.
//!
//! v7 brings fetch sessions (KIP-227), v9 leader epochs (KIP-320), v11 follower fetching (KIP-392), v12 truncation in-band (KIP-595),
//! v13 topic ids in place of names (KIP-516), v15 replica epochs (KIP-903), v16 endpoints of new leaders (KIP-951), v17 log directories (KIP-858).

use crate::messages::table::messages;
use crate::types::Uuid;
use crate::wire::{Records, Str};

messages! {
    api Fetch: FetchRequest => FetchResponse, versions 0..=17, flexible 12..;

    /// What is asked.
    struct FetchRequest {
        /// KRaft only.
        cluster_id: Option<Str>, ignorable 12.., tag 0;
        /// Broker id of a follower; -1 is a consumer. From v15 on in `replica_state`.
        replica_id: i32 = -1, versions 0..=14;
        replica_state: ReplicaState, ignorable 15.., tag 1;
        /// How long to wait for `min_bytes`, in milliseconds.
        max_wait_ms: i32, versions 0..;
        min_bytes: i32, versions 0..;
        /// Limit for the whole response; the first batch comes even if it is larger (KIP-74).
        max_bytes: i32 = i32::MAX, ignorable 3..;
        /// 0: read_uncommitted; 1: read_committed.
        isolation_level: i8, ignorable 4..;
        /// 0 is no session (KIP-227).
        session_id: i32, ignorable 7..;
        /// 0 asks for a new session, -1 for none.
        session_epoch: i32 = -1, ignorable 7..;
        topics: Vec<FetchTopic>, versions 0..;
        forgotten_topics_data: Vec<ForgottenTopic>, versions 7..;
        rack_id: Str, ignorable 11..;
    }

    /// Who fetches, if it is a follower.
    struct ReplicaState {
        /// Broker id of a follower; -1 is a consumer.
        replica_id: i32 = -1, versions 15..;
        /// Broker epoch of the follower (KIP-903); -1 is not known.
        replica_epoch: i64 = -1, versions 15..;
    }

    /// What to read of one topic.
    struct FetchTopic {
        /// Up to v12.
        topic: Str, ignorable 0..=12;
        /// From v13.
        topic_id: Uuid, ignorable 13..;
        partitions: Vec<FetchPartition>, versions 0..;
    }

    /// What to read of one partition.
    struct FetchPartition {
        partition: i32, versions 0..;
        /// Epoch the client believes in, for fencing (KIP-320); -1 is not checked.
        current_leader_epoch: i32 = -1, ignorable 9..;
        fetch_offset: i64, versions 0..;
        /// Epoch of the last record the follower has, so that the leader sees divergence; -1 is none.
        last_fetched_epoch: i32 = -1, versions 12..;
        /// A follower's own log start; -1 from a consumer.
        log_start_offset: i64 = -1, ignorable 5..;
        partition_max_bytes: i32, versions 0..;
        /// KRaft only.
        replica_directory_id: Uuid, ignorable 17.., tag 0;
    }

    /// Partitions to drop from the fetch session.
    struct ForgottenTopic {
        /// Up to v12.
        topic: Str, ignorable 7..=12;
        /// From v13.
        topic_id: Uuid, ignorable 13..;
        partitions: Vec<i32>, versions 7..;
    }

    /// What is answered.
    struct FetchResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 1..;
        error_code: i16, ignorable 7..;
        /// 0 is no session (KIP-227).
        session_id: i32, versions 7..;
        responses: Vec<FetchableTopicResponse>, versions 0..;
        /// Addresses of the leaders named in `current_leader`.
        node_endpoints: Vec<NodeEndpoint>, ignorable 16.., tag 0;
    }

    /// What was read of one topic.
    struct FetchableTopicResponse {
        /// Up to v12.
        topic: Str, ignorable 0..=12;
        /// From v13.
        topic_id: Uuid, ignorable 13..;
        partitions: Vec<PartitionData>, versions 0..;
    }

    /// What was read of one partition.
    struct PartitionData {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
        high_watermark: i64, versions 0..;
        /// First offset of a transaction still open; -1 is not known.
        last_stable_offset: i64 = -1, ignorable 4..;
        /// First offset the log still has; -1 is not known.
        log_start_offset: i64 = -1, ignorable 5..;
        /// Set if the follower must truncate before it fetches on.
        diverging_epoch: EpochEndOffset, ignorable 12.., tag 0;
        current_leader: LeaderIdAndEpoch, ignorable 12.., tag 1;
        /// KRaft only.
        snapshot_id: SnapshotId, ignorable 12.., tag 2;
        /// Only with read_committed.
        aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Default::default()), ignorable 4..;
        /// Replica the consumer should fetch from; -1 is the leader.
        preferred_read_replica: i32 = -1, versions 11..;
        records: Records, versions 0..;
    }

    /// Where the follower's log parts from the leader's.
    struct EpochEndOffset {
        epoch: i32 = -1, versions 12..;
        end_offset: i64 = -1, versions 12..;
    }

    /// Who leads now, as a hint after NOT_LEADER_OR_FOLLOWER or FENCED_LEADER_EPOCH (KIP-951).
    struct LeaderIdAndEpoch {
        /// -1 is no leader.
        leader_id: i32 = -1, versions 12..;
        /// -1 is not known.
        leader_epoch: i32 = -1, versions 12..;
    }

    /// A snapshot of KRaft's log.
    struct SnapshotId {
        end_offset: i64 = -1, versions 0..;
        epoch: i32 = -1, versions 0..;
    }

    /// A transaction whose records a read_committed consumer must skip.
    struct AbortedTransaction {
        producer_id: i64, versions 4..;
        first_offset: i64, versions 4..;
    }

    /// Where a leader named in a hint can be reached.
    struct NodeEndpoint {
        node_id: i32, versions 16..;
        host: Str, versions 16..;
        port: i32, versions 16..;
        rack: Option<Str>, versions 16..;
    }
}
