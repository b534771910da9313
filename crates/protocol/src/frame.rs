//! Frames: four bytes of size, a header, a message.
//!
//! The size is checked before anything is allocated ([`frame_size`]); what comes back from the encoders starts with it and is ready to send.

use bytes::Bytes;

use crate::api::{ApiKey, RequestHeader, ResponseHeader};
use crate::messages::{Message, Request};
use crate::wire::{Piece, Reader, Str, WireError, Writer};

/// Bytes of the size before every frame.
pub const SIZE_BYTES: usize = 4;

/// Kafka's default of `socket.request.max.bytes`: 100 MiB.
pub const REQUEST_BYTES_MAX_DEFAULT: usize = 100 * 1024 * 1024;

/// Reads the size that stands before a frame. It does not count its own four bytes.
///
/// # Errors
/// [`WireError::InvalidLength`] when negative, [`WireError::OverLimit`] above `limit` bytes. The connection cannot be used any more after either.
pub fn frame_size(prefix: [u8; SIZE_BYTES], limit: usize) -> Result<usize, WireError> {
    let size = i32::from_be_bytes(prefix);
    match usize::try_from(size) {
        Err(_) => Err(WireError::InvalidLength { what: "frame", length: i64::from(size) }),
        Ok(count) if count > limit => Err(WireError::OverLimit { what: "frame size", count, limit }),
        Ok(count) => Ok(count),
    }
}

/// Reads the header of a request frame (without its size). The reader comes back standing at the body.
///
/// Kafka ignores bytes after the body, and so do the decoders here.
///
/// # Errors
/// See [`RequestHeader::decode`].
pub fn decode_request_header(frame: Bytes) -> Result<(RequestHeader, Reader), WireError> {
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader)?;
    Ok((header, reader))
}

/// A request as one run of bytes, size included.
///
/// # Errors
/// See [`Message::encode`].
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&Str>,
) -> Result<Bytes, WireError> {
    request_writer(request, version, correlation_id, client_id)?.into_bytes()
}

/// A request as pieces, size included, so that record batches are sent without being copied.
///
/// # Errors
/// See [`Message::encode`].
pub fn encode_request_pieces<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&Str>,
) -> Result<Vec<Piece>, WireError> {
    Ok(request_writer(request, version, correlation_id, client_id)?.into_pieces())
}

/// A response as one run of bytes, size included.
///
/// # Errors
/// See [`Message::encode`]; [`WireError::ExternalPayload`] if records are to be sent from elsewhere.
pub fn encode_response<M: Message>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<Bytes, WireError> {
    response_writer(api, version, correlation_id, response)?.into_bytes()
}

/// A response as pieces, size included; gaps ([`Piece::External`]) stand where the caller sends records from elsewhere.
///
/// # Errors
/// See [`Message::encode`].
pub fn encode_response_pieces<M: Message>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<Vec<Piece>, WireError> {
    Ok(response_writer(api, version, correlation_id, response)?.into_pieces())
}

/// Reads a response frame (without its size) to a request of type `R` sent in `version`.
///
/// # Errors
/// A damaged frame, or a version that the table does not cover.
pub fn decode_response<R: Request>(frame: Bytes, version: i16) -> Result<(ResponseHeader, R::Response), WireError> {
    let mut reader = Reader::new(frame);
    let header = ResponseHeader::decode(&mut reader, R::KEY, version)?;
    let response = R::Response::decode(&mut reader, version)?;
    Ok((header, response))
}

fn request_writer<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&Str>,
) -> Result<Writer, WireError> {
    let header =
        RequestHeader { api_key: R::KEY.to_i16(), api_version: version, correlation_id, client_id: client_id.cloned() };
    framed(|writer| {
        header.encode(writer)?;
        request.encode(writer, version)
    })
}

fn response_writer<M: Message>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<Writer, WireError> {
    framed(|writer| {
        ResponseHeader { correlation_id }.encode(writer, api, version)?;
        response.encode(writer, version)
    })
}

/// Room made for a frame before anything is known of its size, in bytes: most messages fit.
const FRAME_CAPACITY: usize = 256;

fn framed(write: impl FnOnce(&mut Writer) -> Result<(), WireError>) -> Result<Writer, WireError> {
    let mut writer = Writer::with_capacity(FRAME_CAPACITY);
    writer.i32(0);
    write(&mut writer)?;
    let count = writer.len() - SIZE_BYTES;
    let size = i32::try_from(count).map_err(|_| WireError::OverLimit {
        what: "frame size",
        count,
        limit: i32::MAX as usize,
    })?;
    writer.patch_i32(0, size);
    Ok(writer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
    use crate::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
    use crate::wire::Records;

    #[test]
    fn sizes_are_checked_before_anything_is_allocated() {
        assert_eq!(frame_size([0, 0, 1, 0], 256), Ok(256));
        let over = WireError::OverLimit { what: "frame size", count: 257, limit: 256 };
        assert_eq!(frame_size([0, 0, 1, 1], 256), Err(over));
        let negative = WireError::InvalidLength { what: "frame", length: -1 };
        assert_eq!(frame_size([0xff; 4], usize::MAX), Err(negative));
    }

    #[test]
    fn requests_and_responses_travel_whole() {
        let request = HeartbeatRequest { group_id: "g".into(), generation_id: 3, ..Default::default() };
        let response = HeartbeatResponse { error_code: 27, ..Default::default() };
        for version in HeartbeatRequest::VERSIONS {
            let frame = encode_request(&request, version, 5, Some(&"me".into())).unwrap();
            let size = frame_size(*frame.first_chunk().unwrap(), 100).unwrap();
            assert_eq!(size, frame.len() - SIZE_BYTES);
            let (header, mut reader) = decode_request_header(frame.slice(SIZE_BYTES..)).unwrap();
            assert_eq!((header.api(), header.api_version), (Some(ApiKey::Heartbeat), version));
            assert_eq!(HeartbeatRequest::decode(&mut reader, version), Ok(request.clone()));

            let frame = encode_response(ApiKey::Heartbeat, version, 5, &response).unwrap();
            let decoded = decode_response::<HeartbeatRequest>(frame.slice(SIZE_BYTES..), version);
            assert_eq!(decoded, Ok((ResponseHeader { correlation_id: 5 }, response.clone())));
        }
    }

    /// A broker that sends records from its files must send exactly what one that copies them would send.
    #[test]
    fn a_fetch_response_with_gaps_is_the_same_frame() {
        let files = [Bytes::from(vec![1; 10]), Bytes::new(), Bytes::from(vec![2; 100_000])];
        let response = |records: &dyn Fn(&Bytes) -> Records| FetchResponse {
            responses: vec![FetchableTopicResponse {
                partitions: files
                    .iter()
                    .map(|file| PartitionData { high_watermark: 9, records: records(file), ..Default::default() })
                    .collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let copied = response(&|file| Records::Bytes(file.clone()));
        let external = response(&|file| Records::External { length: file.len() });
        for version in FetchRequest::VERSIONS {
            let whole = encode_response(ApiKey::Fetch, version, 1, &copied).unwrap();
            let mut sent = Vec::new();
            for piece in encode_response_pieces(ApiKey::Fetch, version, 1, &external).unwrap() {
                match piece {
                    Piece::Bytes(bytes) => sent.extend_from_slice(&bytes),
                    Piece::External { index, length } => {
                        assert_eq!(files[index].len(), length);
                        sent.extend_from_slice(&files[index]);
                    }
                }
            }
            assert_eq!(sent, whole, "v{version}");
            let refused = encode_response(ApiKey::Fetch, version, 1, &external);
            assert_eq!(refused, Err(WireError::ExternalPayload));
        }
    }
}
