//! AlterPartitionReassignments: starts, changes or cancels moves of replicas between brokers (KIP-455).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api AlterPartitionReassignments: AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse, versions 0..=0, flexible 0..;

    /// What is asked.
    struct AlterPartitionReassignmentsRequest {
        /// How long the broker may take, in milliseconds.
        timeout_ms: i32 = 60000, versions 0..;
        topics: Vec<ReassignableTopic>, versions 0..;
    }

    /// Moves within one topic.
    struct ReassignableTopic {
        name: Str, versions 0..;
        partitions: Vec<ReassignablePartition>, versions 0..;
    }

    /// Move of one partition.
    struct ReassignablePartition {
        partition_index: i32, versions 0..;
        /// None cancels the move.
        replicas: Option<Vec<i32>>, versions 0..;
    }

    /// What is answered.
    struct AlterPartitionReassignmentsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        responses: Vec<ReassignableTopicResponse>, versions 0..;
    }

    /// Outcome for one topic.
    struct ReassignableTopicResponse {
        name: Str, versions 0..;
        partitions: Vec<ReassignablePartitionResponse>, versions 0..;
    }

    /// Outcome for one partition.
    struct ReassignablePartitionResponse {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str> = Some(Default::default()), versions 0..;
    }
}
