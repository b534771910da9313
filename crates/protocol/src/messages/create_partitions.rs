//! CreatePartitions: adds partitions to topics.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api CreatePartitions: CreatePartitionsRequest => CreatePartitionsResponse, versions 0..=3, flexible 2..;

    /// What is asked.
    struct CreatePartitionsRequest {
        topics: Vec<CreatePartitionsTopic>, versions 0..;
        /// How long the broker may take, in milliseconds.
        timeout_ms: i32, versions 0..;
        /// Check, but change nothing.
        validate_only: bool, versions 0..;
    }

    /// A topic to grow.
    struct CreatePartitionsTopic {
        name: Str, versions 0..;
        /// New number of partitions, old ones included.
        count: i32, versions 0..;
        /// None lets the broker choose.
        assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Default::default()), versions 0..;
    }

    /// Brokers of one new partition.
    struct CreatePartitionsAssignment {
        broker_ids: Vec<i32>, versions 0..;
    }

    /// What is answered.
    struct CreatePartitionsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        results: Vec<CreatePartitionsTopicResult>, versions 0..;
    }

    /// Outcome for one topic.
    struct CreatePartitionsTopicResult {
        name: Str, versions 0..;
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str>, versions 0..;
    }
}
