//! ElectLeaders, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api ElectLeaders: ElectLeadersRequest => ElectLeadersResponse, versions 0..=2, flexible 2..;

    struct ElectLeadersRequest {
        election_type: i8, versions 1..;
        topic_partitions: Option<Vec<TopicPartitions>> = Some(Default::default()), versions 0..;
        timeout_ms: i32 = 60000, versions 0..;
    }

    struct TopicPartitions {
        topic: Str, versions 0..;
        partitions: Vec<i32>, versions 0..;
    }

    struct ElectLeadersResponse {
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 1..;
        replica_election_results: Vec<ReplicaElectionResult>, versions 0..;
    }

    struct ReplicaElectionResult {
        topic: Str, versions 0..;
        partition_result: Vec<PartitionResult>, versions 0..;
    }

    struct PartitionResult {
        partition_id: i32, versions 0..;
        error_code: i16, versions 0..;
        error_message: Option<Str> = Some(Default::default()), versions 0..;
    }
}
