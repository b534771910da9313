//! SaslHandshake: chooses a SASL mechanism.
//!
//! After v0 the client's tokens follow as bare frames, after v1 inside SaslAuthenticate requests.

use crate::messages::table::{NEVER, messages};
use crate::wire::Str;

messages! {
    api SaslHandshake: SaslHandshakeRequest => SaslHandshakeResponse, versions 0..=1, flexible NEVER..;

    /// What is asked.
    struct SaslHandshakeRequest {
        mechanism: Str, versions 0..;
    }

    /// What is answered.
    struct SaslHandshakeResponse {
        error_code: i16, versions 0..;
        /// What the broker offers.
        mechanisms: Vec<Str>, versions 0..;
    }
}
