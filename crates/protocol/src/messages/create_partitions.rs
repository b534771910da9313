//! CreatePartitions, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api CreatePartitions: CreatePartitionsRequest => CreatePartitionsResponse, versions 0..=3, flexible 2..;

    struct CreatePartitionsRequest {
        topics: Vec<CreatePartitionsTopic>, versions 0..;
        timeout_ms: i32, versions 0..;
        validate_only: bool, versions 0..;
    }

    struct CreatePartitionsTopic {
        name: Str, versions 0..;
        count: i32, versions 0..;
        assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Default::default()), versions 0..;
    }

    struct CreatePartitionsAssignment {
        broker_ids: Vec<i32>, versions 0..;
    }

    struct CreatePartitionsResponse {
        throttle_time_ms: i32, versions 0..;
        results: Vec<CreatePartitionsTopicResult>, versions 0..;
    }

    struct CreatePartitionsTopicResult {
        name: Str, versions 0..;
        error_code: i16, versions 0..;
        error_message: Option<Str>, versions 0..;
    }
}
