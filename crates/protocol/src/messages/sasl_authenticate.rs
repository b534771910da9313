//! SaslAuthenticate, all versions.

use bytes::Bytes;

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api SaslAuthenticate: SaslAuthenticateRequest => SaslAuthenticateResponse, versions 0..=2, flexible 2..;

    struct SaslAuthenticateRequest {
        auth_bytes: Bytes, versions 0..;
    }

    struct SaslAuthenticateResponse {
        error_code: i16, versions 0..;
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        auth_bytes: Bytes, versions 0..;
        session_lifetime_ms: i64, ignorable 1..;
    }
}
