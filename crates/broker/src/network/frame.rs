//! Cutting frames out of the bytes of a connection, and saying what bytes look like that are no frames.

use bytes::{Buf, Bytes, BytesMut};
use protocol::strangers::{self, Stranger};

/// Bytes of the size before each frame.
pub const SIZE_BYTES: usize = 4;

/// The shortest request: key, version and correlation id.
const REQUEST_BYTES_MIN: usize = 8;

/// Bytes that cannot be a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The size is over `socket.request.max.bytes`, negative, or too small for a header.
    #[error("Invalid receive (size = {size}, between {REQUEST_BYTES_MIN} and {limit} allowed){}", looks_like.map(|who| format!(": it looks like {who}; {}", advice(who))).unwrap_or_default())]
    Size {
        /// The size as it stood on the wire.
        size: i32,
        /// `socket.request.max.bytes`.
        limit: usize,
        /// What the first bytes look like instead.
        looks_like: Option<Stranger>,
    },
}

/// What the stranger should know.
#[must_use]
pub fn advice(stranger: Stranger) -> &'static str {
    match stranger {
        Stranger::Tls => "this listener is PLAINTEXT, so set security.protocol=PLAINTEXT in the client",
        Stranger::FourLetterWord | Stranger::ZooKeeperClient => "this is the broker's port, ZooKeeper has another",
        _ => "this port speaks the Kafka protocol",
    }
}

/// Size of the frame at the head of `buffer`, without its four size bytes; none while even these are not all there.
pub fn size(buffer: &BytesMut, limit: usize) -> Result<Option<usize>, FrameError> {
    let Some(head) = buffer.first_chunk::<SIZE_BYTES>() else { return Ok(None) };
    let size = i32::from_be_bytes(*head);
    match usize::try_from(size) {
        Ok(bytes) if (REQUEST_BYTES_MIN..=limit).contains(&bytes) => Ok(Some(bytes)),
        _ => Err(FrameError::Size { size, limit, looks_like: strangers::by_first_bytes(head) }),
    }
}

/// Takes the whole frame of `size` bytes off `buffer`, if it is there.
pub fn take(buffer: &mut BytesMut, size: usize) -> Option<Bytes> {
    if buffer.len() < SIZE_BYTES + size {
        return None;
    }
    // The only frame in the buffer takes the buffer with it, so that its bytes have one owner and can be patched in place.
    let mut whole =
        if buffer.len() == SIZE_BYTES + size { std::mem::take(buffer) } else { buffer.split_to(SIZE_BYTES + size) };
    whole.advance(SIZE_BYTES);
    Some(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<Option<usize>, &str>) {
        let buffer = BytesMut::from(bytes);
        let found = size(&buffer, 1000).map_err(|error| error.to_string());
        match (found, expected) {
            (Err(said), Err(part)) => assert!(said.contains(part), "{said:?} does not contain {part:?}"),
            (found, expected) => assert_eq!(found, expected.map_err(str::to_owned)),
        }
    }

    #[test]
    fn sizes_are_checked_and_strangers_are_named() {
        check(&[0, 0, 0], Ok(None));
        check(&[0, 0, 0, 20], Ok(Some(20)));
        check(&[0, 0, 3, 232], Ok(Some(1000)));
        check(&[0, 0, 3, 233], Err("size = 1001"));
        check(&[0xff, 0xff, 0xff, 0xff], Err("size = -1"));
        check(&[0, 0, 0, 0], Err("size = 0"));
        check(b"GET / HTTP/1.1", Err("HTTP request"));
        check(&[0x16, 0x03, 0x01, 0x02], Err("TLS handshake"));
    }

    #[test]
    fn a_frame_is_taken_whole_or_not_at_all() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 2, 7, 8, 9][..]);
        assert_eq!(take(&mut buffer, 4), None);
        assert_eq!(take(&mut buffer, 2), Some(Bytes::from_static(&[7, 8])));
        assert_eq!(&buffer[..], [9]);
    }
}
