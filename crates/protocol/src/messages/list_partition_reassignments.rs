//! ListPartitionReassignments: the moves of replicas under way (KIP-455).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api ListPartitionReassignments: ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse, versions 0..=0, flexible 0..;

    /// What is asked.
    struct ListPartitionReassignmentsRequest {
        /// How long the broker may take, in milliseconds.
        timeout_ms: i32 = 60000, versions 0..;
        /// None asks for all.
        topics: Option<Vec<ListPartitionReassignmentsTopics>>, versions 0..;
    }

    /// Partitions of one topic.
    struct ListPartitionReassignmentsTopics {
        name: Str, versions 0..;
        partition_indexes: Vec<i32>, versions 0..;
    }

    /// What is answered.
    struct ListPartitionReassignmentsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        topics: Vec<OngoingTopicReassignment>, versions 0..;
    }

    /// Moves within one topic.
    struct OngoingTopicReassignment {
        name: Str, versions 0..;
        partitions: Vec<OngoingPartitionReassignment>, versions 0..;
    }

    /// Move of one partition.
    struct OngoingPartitionReassignment {
        partition_index: i32, versions 0..;
        replicas: Vec<i32>, versions 0..;
        adding_replicas: Vec<i32>, versions 0..;
        removing_replicas: Vec<i32>, versions 0..;
    }
}
