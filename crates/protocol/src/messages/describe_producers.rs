//! DescribeProducers: the producers a partition leader keeps state of (KIP-664).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeProducers: DescribeProducersRequest => DescribeProducersResponse, versions 0..=0, flexible 0..;

    /// What is asked.
    struct DescribeProducersRequest {
        topics: Vec<TopicRequest>, versions 0..;
    }

    /// Partitions of one topic.
    struct TopicRequest {
        name: Str, versions 0..;
        partition_indexes: Vec<i32>, versions 0..;
    }

    /// What is answered.
    struct DescribeProducersResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        topics: Vec<TopicResponse>, versions 0..;
    }

    /// Producers of one topic.
    struct TopicResponse {
        name: Str, versions 0..;
        partitions: Vec<PartitionResponse>, versions 0..;
    }

    /// Producers of one partition.
    struct PartitionResponse {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str>, versions 0..;
        active_producers: Vec<ProducerState>, versions 0..;
    }

    /// What the leader knows of one producer.
    struct ProducerState {
        producer_id: i64, versions 0..;
        producer_epoch: i32, versions 0..;
        last_sequence: i32 = -1, versions 0..;
        last_timestamp: i64 = -1, versions 0..;
        coordinator_epoch: i32, versions 0..;
        /// -1 is no open transaction.
        current_txn_start_offset: i64 = -1, versions 0..;
    }
}
