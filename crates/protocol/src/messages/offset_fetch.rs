//! OffsetFetch, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api OffsetFetch: OffsetFetchRequest => OffsetFetchResponse, versions 0..=9, flexible 6..;

    struct OffsetFetchRequest {
        group_id: Str, versions 0..=7;
        topics: Option<Vec<OffsetFetchRequestTopic>> = Some(Default::default()), versions 0..=7, nullable 2..=7;
        groups: Vec<OffsetFetchRequestGroup>, versions 8..;
        require_stable: bool, versions 7..;
    }

    struct OffsetFetchRequestTopic {
        name: Str, versions 0..=7;
        partition_indexes: Vec<i32>, versions 0..=7;
    }

    struct OffsetFetchRequestGroup {
        group_id: Str, versions 8..;
        member_id: Option<Str>, ignorable 9..;
        member_epoch: i32 = -1, ignorable 9..;
        topics: Option<Vec<OffsetFetchRequestTopics>> = Some(Default::default()), versions 8..;
    }

    struct OffsetFetchRequestTopics {
        name: Str, versions 8..;
        partition_indexes: Vec<i32>, versions 8..;
    }

    struct OffsetFetchResponse {
        throttle_time_ms: i32, ignorable 3..;
        topics: Vec<OffsetFetchResponseTopic>, versions 0..=7;
        error_code: i16, ignorable 2..=7;
        groups: Vec<OffsetFetchResponseGroup>, versions 8..;
    }

    struct OffsetFetchResponseTopic {
        name: Str, versions 0..=7;
        partitions: Vec<OffsetFetchResponsePartition>, versions 0..=7;
    }

    struct OffsetFetchResponsePartition {
        partition_index: i32, versions 0..=7;
        committed_offset: i64, versions 0..=7;
        committed_leader_epoch: i32 = -1, ignorable 5..=7;
        metadata: Option<Str> = Some(Default::default()), versions 0..=7;
        error_code: i16, versions 0..=7;
    }

    struct OffsetFetchResponseGroup {
        group_id: Str, versions 8..;
        topics: Vec<OffsetFetchResponseTopics>, versions 8..;
        error_code: i16, versions 8..;
    }

    struct OffsetFetchResponseTopics {
        name: Str, versions 8..;
        partitions: Vec<OffsetFetchResponsePartitions>, versions 8..;
    }

    struct OffsetFetchResponsePartitions {
        partition_index: i32, versions 8..;
        committed_offset: i64, versions 8..;
        committed_leader_epoch: i32 = -1, ignorable 8..;
        metadata: Option<Str> = Some(Default::default()), versions 8..;
        error_code: i16, versions 8..;
    }
}
