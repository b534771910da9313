//! Records of messages v0/v1, for lookups in segments that Apache brokers before 0.11 wrote.

use bytes::Bytes;
use protocol::records::message_set::{Message, MessageSetIter};
use protocol::records::{MAX_DECOMPRESSED_BYTES, RecordsError};

/// The messages in one entry of a log, a wrapper unpacked, with their absolute offsets.
///
/// # Errors
/// The entry is damaged or unpacks to more than [`MAX_DECOMPRESSED_BYTES`].
pub fn messages(entry: Bytes) -> Result<Vec<Message>, RecordsError> {
    let mut messages = Vec::new();
    for message in MessageSetIter::new(entry) {
        messages.extend(message?.expand(MAX_DECOMPRESSED_BYTES)?);
    }
    Ok(messages)
}
