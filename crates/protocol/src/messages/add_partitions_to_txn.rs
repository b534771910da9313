//! AddPartitionsToTxn: adds partitions to a transaction.
//!
//! Up to v3 producers send one transaction; from v4 on brokers send many, also only to verify them (KIP-890).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api AddPartitionsToTxn: AddPartitionsToTxnRequest => AddPartitionsToTxnResponse, versions 0..=5, flexible 3..;

    /// What is asked.
    struct AddPartitionsToTxnRequest {
        /// From v4.
        transactions: Vec<AddPartitionsToTxnTransaction>, versions 4..;
        v3_and_below_transactional_id: Str, versions 0..=3;
        v3_and_below_producer_id: i64, versions 0..=3;
        v3_and_below_producer_epoch: i16, versions 0..=3;
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic>, versions 0..=3;
    }

    /// Partitions for one transaction (from v4).
    struct AddPartitionsToTxnTransaction {
        transactional_id: Str, versions 4..;
        producer_id: i64, versions 4..;
        producer_epoch: i16, versions 4..;
        /// Only check that the partitions are in the transaction.
        verify_only: bool, versions 4..;
        topics: Vec<AddPartitionsToTxnTopic>, versions 4..;
    }

    /// Partitions of one topic.
    struct AddPartitionsToTxnTopic {
        name: Str, versions 0..;
        partitions: Vec<i32>, versions 0..;
    }

    /// What is answered.
    struct AddPartitionsToTxnResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        error_code: i16, ignorable 4..;
        results_by_transaction: Vec<AddPartitionsToTxnResult>, versions 4..;
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>, versions 0..=3;
    }

    /// Outcome for one transaction (from v4).
    struct AddPartitionsToTxnResult {
        transactional_id: Str, versions 4..;
        topic_results: Vec<AddPartitionsToTxnTopicResult>, versions 4..;
    }

    /// Outcome for one topic.
    struct AddPartitionsToTxnTopicResult {
        name: Str, versions 0..;
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>, versions 0..;
    }

    /// Outcome for one partition.
    struct AddPartitionsToTxnPartitionResult {
        partition_index: i32, versions 0..;
        partition_error_code: i16, versions 0..;
    }
}
