//! SaslHandshake, all versions.

use crate::messages::table::{NEVER, messages};
use crate::wire::Str;

messages! {
    api SaslHandshake: SaslHandshakeRequest => SaslHandshakeResponse, versions 0..=1, flexible NEVER..;

    struct SaslHandshakeRequest {
        mechanism: Str, versions 0..;
    }

    struct SaslHandshakeResponse {
        error_code: i16, versions 0..;
        mechanisms: Vec<Str>, versions 0..;
    }
}
