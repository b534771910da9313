//! EndTxn, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api EndTxn: EndTxnRequest => EndTxnResponse, versions 0..=4, flexible 3..;

    struct EndTxnRequest {
        transactional_id: Str, versions 0..;
        producer_id: i64, versions 0..;
        producer_epoch: i16, versions 0..;
        committed: bool, versions 0..;
    }

    struct EndTxnResponse {
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
    }
}
