//! ListPartitionReassignments, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api ListPartitionReassignments: ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse, versions 0..=0, flexible 0..;

    struct ListPartitionReassignmentsRequest {
        timeout_ms: i32 = 60000, versions 0..;
        topics: Option<Vec<ListPartitionReassignmentsTopics>>, versions 0..;
    }

    struct ListPartitionReassignmentsTopics {
        name: Str, versions 0..;
        partition_indexes: Vec<i32>, versions 0..;
    }

    struct ListPartitionReassignmentsResponse {
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        topics: Vec<OngoingTopicReassignment>, versions 0..;
    }

    struct OngoingTopicReassignment {
        name: Str, versions 0..;
        partitions: Vec<OngoingPartitionReassignment>, versions 0..;
    }

    struct OngoingPartitionReassignment {
        partition_index: i32, versions 0..;
        replicas: Vec<i32>, versions 0..;
        adding_replicas: Vec<i32>, versions 0..;
        removing_replicas: Vec<i32>, versions 0..;
    }
}
