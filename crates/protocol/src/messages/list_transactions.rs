//! ListTransactions, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api ListTransactions: ListTransactionsRequest => ListTransactionsResponse, versions 0..=1, flexible 0..;

    struct ListTransactionsRequest {
        state_filters: Vec<Str>, versions 0..;
        producer_id_filters: Vec<i64>, versions 0..;
        duration_filter: i64 = -1, versions 1..;
    }

    struct ListTransactionsResponse {
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        unknown_state_filters: Vec<Str>, versions 0..;
        transaction_states: Vec<TransactionState>, versions 0..;
    }

    struct TransactionState {
        transactional_id: Str, versions 0..;
        producer_id: i64, versions 0..;
        transaction_state: Str, versions 0..;
    }
}
