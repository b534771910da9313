//! DescribeTransactions: state of single transactions (KIP-664).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeTransactions: DescribeTransactionsRequest => DescribeTransactionsResponse, versions 0..=0, flexible 0..;

    /// What is asked.
    struct DescribeTransactionsRequest {
        transactional_ids: Vec<Str>, versions 0..;
    }

    /// What is answered.
    struct DescribeTransactionsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        transaction_states: Vec<TransactionState>, versions 0..;
    }

    /// A transaction.
    struct TransactionState {
        error_code: i16, versions 0..;
        transactional_id: Str, versions 0..;
        transaction_state: Str, versions 0..;
        transaction_timeout_ms: i32, versions 0..;
        transaction_start_time_ms: i64, versions 0..;
        producer_id: i64, versions 0..;
        producer_epoch: i16, versions 0..;
        topics: Vec<TopicData>, versions 0..;
    }

    /// Partitions of one topic.
    struct TopicData {
        topic: Str, versions 0..;
        partitions: Vec<i32>, versions 0..;
    }
}
