//! ListTransactions: the transactions a coordinator knows (KIP-664).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api ListTransactions: ListTransactionsRequest => ListTransactionsResponse, versions 0..=1, flexible 0..;

    /// What is asked.
    struct ListTransactionsRequest {
        /// No element is no filter.
        state_filters: Vec<Str>, versions 0..;
        /// No element is no filter.
        producer_id_filters: Vec<i64>, versions 0..;
        /// Only transactions open longer than this, in milliseconds; -1 is no filter.
        duration_filter: i64 = -1, versions 1..;
    }

    /// What is answered.
    struct ListTransactionsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        unknown_state_filters: Vec<Str>, versions 0..;
        transaction_states: Vec<TransactionState>, versions 0..;
    }

    /// A transaction.
    struct TransactionState {
        transactional_id: Str, versions 0..;
        producer_id: i64, versions 0..;
        transaction_state: Str, versions 0..;
    }
}
