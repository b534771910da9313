//! ElectLeaders: starts leader elections (KIP-183, KIP-460).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api ElectLeaders: ElectLeadersRequest => ElectLeadersResponse, versions 0..=2, flexible 2..;

    /// What is asked.
    struct ElectLeadersRequest {
        /// 0 preferred, 1 unclean.
        election_type: i8, versions 1..;
        /// None is all partitions.
        topic_partitions: Option<Vec<TopicPartitions>> = Some(Default::default()), versions 0..;
        /// How long the broker may take, in milliseconds.
        timeout_ms: i32 = 60000, versions 0..;
    }

    /// Partitions of one topic.
    struct TopicPartitions {
        topic: Str, versions 0..;
        partitions: Vec<i32>, versions 0..;
    }

    /// What is answered.
    struct ElectLeadersResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 1..;
        replica_election_results: Vec<ReplicaElectionResult>, versions 0..;
    }

    /// Outcome for one topic.
    struct ReplicaElectionResult {
        topic: Str, versions 0..;
        partition_result: Vec<PartitionResult>, versions 0..;
    }

    /// Outcome for one partition.
    struct PartitionResult {
        partition_id: i32, versions 0..;
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str> = Some(Default::default()), versions 0..;
    }
}
