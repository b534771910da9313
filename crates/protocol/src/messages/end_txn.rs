//! EndTxn: commits or aborts a transaction.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api EndTxn: EndTxnRequest => EndTxnResponse, versions 0..=4, flexible 3..;

    /// What is asked.
    struct EndTxnRequest {
        transactional_id: Str, versions 0..;
        producer_id: i64, versions 0..;
        producer_epoch: i16, versions 0..;
        /// true commits, false aborts.
        committed: bool, versions 0..;
    }

    /// What is answered.
    struct EndTxnResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
    }
}
