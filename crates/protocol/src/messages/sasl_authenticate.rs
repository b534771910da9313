//! SaslAuthenticate: carries the tokens of a SASL exchange (KIP-152).

use bytes::Bytes;

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api SaslAuthenticate: SaslAuthenticateRequest => SaslAuthenticateResponse, versions 0..=2, flexible 2..;

    /// What is asked.
    struct SaslAuthenticateRequest {
        auth_bytes: Bytes, versions 0..;
    }

    /// What is answered.
    struct SaslAuthenticateResponse {
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        auth_bytes: Bytes, versions 0..;
        /// 0 is without end.
        session_lifetime_ms: i64, ignorable 1..;
    }
}
