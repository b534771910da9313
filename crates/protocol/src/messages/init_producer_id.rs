//! InitProducerId: gives a producer its id and epoch (KIP-98).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api InitProducerId: InitProducerIdRequest => InitProducerIdResponse, versions 0..=5, flexible 2..;

    /// What is asked.
    struct InitProducerIdRequest {
        /// None for a producer that is only idempotent.
        transactional_id: Option<Str> = Some(Default::default()), versions 0..;
        transaction_timeout_ms: i32, versions 0..;
        producer_id: i64 = -1, versions 3..;
        producer_epoch: i16 = -1, versions 3..;
    }

    /// What is answered.
    struct InitProducerIdResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        producer_id: i64 = -1, versions 0..;
        producer_epoch: i16, versions 0..;
    }
}
