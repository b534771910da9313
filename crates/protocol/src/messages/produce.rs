//! Produce, all versions.

use bytes::Bytes;

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api Produce: ProduceRequest => ProduceResponse, versions 0..=11, flexible 9..;

    struct ProduceRequest {
        transactional_id: Option<Str>, versions 3..;
        acks: i16, versions 0..;
        timeout_ms: i32, versions 0..;
        topic_data: Vec<TopicProduceData>, versions 0..;
    }

    struct TopicProduceData {
        name: Str, versions 0..;
        partition_data: Vec<PartitionProduceData>, versions 0..;
    }

    struct PartitionProduceData {
        index: i32, versions 0..;
        records: Option<Bytes> = Some(Default::default()), versions 0..;
    }

    struct ProduceResponse {
        responses: Vec<TopicProduceResponse>, versions 0..;
        throttle_time_ms: i32, ignorable 1..;
        node_endpoints: Vec<NodeEndpoint>, ignorable 10.., tag 0;
    }

    struct TopicProduceResponse {
        name: Str, versions 0..;
        partition_responses: Vec<PartitionProduceResponse>, versions 0..;
    }

    struct PartitionProduceResponse {
        index: i32, versions 0..;
        error_code: i16, versions 0..;
        base_offset: i64, versions 0..;
        log_append_time_ms: i64 = -1, ignorable 2..;
        log_start_offset: i64 = -1, ignorable 5..;
        record_errors: Vec<BatchIndexAndErrorMessage>, ignorable 8..;
        error_message: Option<Str>, ignorable 8..;
        current_leader: LeaderIdAndEpoch, ignorable 10.., tag 0;
    }

    struct BatchIndexAndErrorMessage {
        batch_index: i32, versions 8..;
        batch_index_error_message: Option<Str>, versions 8..;
    }

    struct LeaderIdAndEpoch {
        leader_id: i32 = -1, versions 10..;
        leader_epoch: i32 = -1, versions 10..;
    }

    struct NodeEndpoint {
        node_id: i32, versions 10..;
        host: Str, versions 10..;
        port: i32, versions 10..;
        rack: Option<Str>, versions 10..;
    }
}
