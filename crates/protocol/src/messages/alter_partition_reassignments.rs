//! AlterPartitionReassignments, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api AlterPartitionReassignments: AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse, versions 0..=0, flexible 0..;

    struct AlterPartitionReassignmentsRequest {
        timeout_ms: i32 = 60000, versions 0..;
        topics: Vec<ReassignableTopic>, versions 0..;
    }

    struct ReassignableTopic {
        name: Str, versions 0..;
        partitions: Vec<ReassignablePartition>, versions 0..;
    }

    struct ReassignablePartition {
        partition_index: i32, versions 0..;
        replicas: Option<Vec<i32>>, versions 0..;
    }

    struct AlterPartitionReassignmentsResponse {
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        responses: Vec<ReassignableTopicResponse>, versions 0..;
    }

    struct ReassignableTopicResponse {
        name: Str, versions 0..;
        partitions: Vec<ReassignablePartitionResponse>, versions 0..;
    }

    struct ReassignablePartitionResponse {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
        error_message: Option<Str> = Some(Default::default()), versions 0..;
    }
}
