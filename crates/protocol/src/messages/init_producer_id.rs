//! InitProducerId, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api InitProducerId: InitProducerIdRequest => InitProducerIdResponse, versions 0..=5, flexible 2..;

    struct InitProducerIdRequest {
        transactional_id: Option<Str> = Some(Default::default()), versions 0..;
        transaction_timeout_ms: i32, versions 0..;
        producer_id: i64 = -1, versions 3..;
        producer_epoch: i16 = -1, versions 3..;
    }

    struct InitProducerIdResponse {
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        producer_id: i64 = -1, versions 0..;
        producer_epoch: i16, versions 0..;
    }
}
