//! Produce: appends record batches to partitions this broker leads.
//!
//! Up to v1 the records are message sets of magic 0, in v2 of magic 1, from v3 on batches of magic 2. With `acks` 0 there is no response at all.

use bytes::Bytes;

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api Produce: ProduceRequest => ProduceResponse, versions 0..=11, flexible 9..;

    /// What is asked.
    struct ProduceRequest {
        /// None unless the producer is transactional.
        transactional_id: Option<Str>, versions 3..;
        /// 0: no response; 1: the leader has it; -1: all in-sync replicas have it.
        acks: i16, versions 0..;
        /// How long the broker may take, in milliseconds.
        timeout_ms: i32, versions 0..;
        topic_data: Vec<TopicProduceData>, versions 0..;
    }

    /// Records for one topic.
    struct TopicProduceData {
        name: Str, versions 0..;
        partition_data: Vec<PartitionProduceData>, versions 0..;
    }

    /// Records for one partition.
    struct PartitionProduceData {
        index: i32, versions 0..;
        /// Exactly one batch from v3 on; before, a message set.
        records: Option<Bytes> = Some(Default::default()), versions 0..;
    }

    /// What is answered.
    struct ProduceResponse {
        responses: Vec<TopicProduceResponse>, versions 0..;
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 1..;
        /// Addresses of the leaders named in `current_leader`.
        node_endpoints: Vec<NodeEndpoint>, ignorable 10.., tag 0;
    }

    /// Outcome for one topic.
    struct TopicProduceResponse {
        name: Str, versions 0..;
        partition_responses: Vec<PartitionProduceResponse>, versions 0..;
    }

    /// Outcome for one partition.
    struct PartitionProduceResponse {
        index: i32, versions 0..;
        error_code: i16, versions 0..;
        /// Offset the first record got; -1 after an error.
        base_offset: i64, versions 0..;
        /// Broker time of the append if the topic uses LogAppendTime, else -1.
        log_append_time_ms: i64 = -1, ignorable 2..;
        /// First offset the log still has; -1 is not known.
        log_start_offset: i64 = -1, ignorable 5..;
        record_errors: Vec<BatchIndexAndErrorMessage>, ignorable 8..;
        /// More than the code says, for people.
        error_message: Option<Str>, ignorable 8..;
        current_leader: LeaderIdAndEpoch, ignorable 10.., tag 0;
    }

    /// A record that made its whole batch fail.
    struct BatchIndexAndErrorMessage {
        /// Number of the record in its batch, from 0.
        batch_index: i32, versions 8..;
        batch_index_error_message: Option<Str>, versions 8..;
    }

    /// Who leads now, as a hint after NOT_LEADER_OR_FOLLOWER (KIP-951).
    struct LeaderIdAndEpoch {
        /// -1 is no leader.
        leader_id: i32 = -1, versions 10..;
        /// -1 is not known.
        leader_epoch: i32 = -1, versions 10..;
    }

    /// Where a leader named in a hint can be reached.
    struct NodeEndpoint {
        node_id: i32, versions 10..;
        host: Str, versions 10..;
        port: i32, versions 10..;
        rack: Option<Str>, versions 10..;
    }
}
