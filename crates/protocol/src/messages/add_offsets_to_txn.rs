//! AddOffsetsToTxn, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api AddOffsetsToTxn: AddOffsetsToTxnRequest => AddOffsetsToTxnResponse, versions 0..=4, flexible 3..;

    struct AddOffsetsToTxnRequest {
        transactional_id: Str, versions 0..;
        producer_id: i64, versions 0..;
        producer_epoch: i16, versions 0..;
        group_id: Str, versions 0..;
    }

    struct AddOffsetsToTxnResponse {
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
    }
}
