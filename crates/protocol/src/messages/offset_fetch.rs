//! OffsetFetch: reads how far a group has read.
//!
//! v0 reads from ZooKeeper. From v8 on one request asks for several groups (KIP-709).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api OffsetFetch: OffsetFetchRequest => OffsetFetchResponse, versions 0..=9, flexible 6..;

    /// What is asked.
    struct OffsetFetchRequest {
        /// Up to v7.
        group_id: Str, versions 0..=7;
        /// Up to v7; None asks for all.
        topics: Option<Vec<OffsetFetchRequestTopic>> = Some(Default::default()), versions 0..=7, nullable 2..=7;
        /// From v8.
        groups: Vec<OffsetFetchRequestGroup>, versions 8..;
        /// Refuse offsets that an open transaction may still change (KIP-447).
        require_stable: bool, versions 7..;
    }

    /// Partitions of one topic (up to v7).
    struct OffsetFetchRequestTopic {
        name: Str, versions 0..=7;
        partition_indexes: Vec<i32>, versions 0..=7;
    }

    /// A group asked for (from v8).
    struct OffsetFetchRequestGroup {
        group_id: Str, versions 8..;
        member_id: Option<Str>, ignorable 9..;
        /// Epoch of the member (KIP-848).
        member_epoch: i32 = -1, ignorable 9..;
        /// None asks for all.
        topics: Option<Vec<OffsetFetchRequestTopics>> = Some(Default::default()), versions 8..;
    }

    /// Partitions of one topic (from v8).
    struct OffsetFetchRequestTopics {
        name: Str, versions 8..;
        partition_indexes: Vec<i32>, versions 8..;
    }

    /// What is answered.
    struct OffsetFetchResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 3..;
        /// Up to v7.
        topics: Vec<OffsetFetchResponseTopic>, versions 0..=7;
        /// v2 to v7.
        error_code: i16, ignorable 2..=7;
        /// From v8.
        groups: Vec<OffsetFetchResponseGroup>, versions 8..;
    }

    /// Offsets of one topic (up to v7).
    struct OffsetFetchResponseTopic {
        name: Str, versions 0..=7;
        partitions: Vec<OffsetFetchResponsePartition>, versions 0..=7;
    }

    /// Offset of one partition (up to v7).
    struct OffsetFetchResponsePartition {
        partition_index: i32, versions 0..=7;
        /// -1 is none.
        committed_offset: i64, versions 0..=7;
        /// -1 is not known.
        committed_leader_epoch: i32 = -1, ignorable 5..=7;
        metadata: Option<Str> = Some(Default::default()), versions 0..=7;
        error_code: i16, versions 0..=7;
    }

    /// Offsets of one group (from v8).
    struct OffsetFetchResponseGroup {
        group_id: Str, versions 8..;
        topics: Vec<OffsetFetchResponseTopics>, versions 8..;
        error_code: i16, versions 8..;
    }

    /// Offsets of one topic (from v8).
    struct OffsetFetchResponseTopics {
        name: Str, versions 8..;
        partitions: Vec<OffsetFetchResponsePartitions>, versions 8..;
    }

    /// Offset of one partition (from v8).
    struct OffsetFetchResponsePartitions {
        partition_index: i32, versions 8..;
        /// -1 is none.
        committed_offset: i64, versions 8..;
        /// -1 is not known.
        committed_leader_epoch: i32 = -1, ignorable 8..;
        metadata: Option<Str> = Some(Default::default()), versions 8..;
        error_code: i16, versions 8..;
    }
}
