//! DescribeProducers, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeProducers: DescribeProducersRequest => DescribeProducersResponse, versions 0..=0, flexible 0..;

    struct DescribeProducersRequest {
        topics: Vec<TopicRequest>, versions 0..;
    }

    struct TopicRequest {
        name: Str, versions 0..;
        partition_indexes: Vec<i32>, versions 0..;
    }

    struct DescribeProducersResponse {
        throttle_time_ms: i32, versions 0..;
        topics: Vec<TopicResponse>, versions 0..;
    }

    struct TopicResponse {
        name: Str, versions 0..;
        partitions: Vec<PartitionResponse>, versions 0..;
    }

    struct PartitionResponse {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
        error_message: Option<Str>, versions 0..;
        active_producers: Vec<ProducerState>, versions 0..;
    }

    struct ProducerState {
        producer_id: i64, versions 0..;
        producer_epoch: i32, versions 0..;
        last_sequence: i32 = -1, versions 0..;
        last_timestamp: i64 = -1, versions 0..;
        coordinator_epoch: i32, versions 0..;
        current_txn_start_offset: i64 = -1, versions 0..;
    }
}
