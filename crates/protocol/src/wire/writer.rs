//! [`Writer`]: puts values on a frame, with large payloads kept apart.

use bytes::{BufMut, Bytes, BytesMut};

use super::{STRING_BYTES_MAX, WireError};
use crate::types::Uuid;

/// Payloads from this size on are kept by reference and not copied into the buffer: below it, one more piece to write costs more than the copy.
pub const SHARED_BYTES_MIN: usize = 4 * 1024;

/// Builds one frame.
///
/// The frame is a buffer with split points: at each of them stands a payload that is not in the buffer, either bytes shared with someone
/// else, or only a length whose bytes the caller sends from elsewhere (a slice of a log file by `sendfile`).
#[derive(Debug, Default)]
pub struct Writer {
    buffer: BytesMut,
    splits: Vec<Split>,
    payload_bytes: usize,
    externals: usize,
}

#[derive(Debug)]
struct Split {
    /// Where in the buffer the payload stands.
    at: usize,
    payload: Payload,
}

#[derive(Debug)]
enum Payload {
    Shared(Bytes),
    External { length: usize },
}

/// A part of a finished frame, to be sent in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Send these bytes.
    Bytes(Bytes),
    /// Send `length` bytes of the caller's own payload number `index`, counted from 0 in the order of [`Writer::external`].
    External {
        /// Number of the payload.
        index: usize,
        /// Its size in bytes, as it already stands in the frame.
        length: usize,
    },
}

impl Writer {
    /// An empty frame.
    #[must_use]
    pub fn new() -> Writer {
        Writer::default()
    }

    /// An empty frame with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Writer {
        Writer { buffer: BytesMut::with_capacity(capacity), ..Writer::default() }
    }

    /// Size of the frame so far in bytes, payloads included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() + self.payload_bytes
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// Puts a payload by reference (copies it when it is small).
    pub fn shared(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.buffer.put_slice(&bytes);
        } else {
            self.payload_bytes += bytes.len();
            self.splits.push(Split { at: self.buffer.len(), payload: Payload::Shared(bytes) });
        }
    }

    /// Leaves a gap of `length` bytes that the caller fills when it sends the frame. An empty gap counts too, so that numbers stay in step.
    pub fn external(&mut self, length: usize) {
        self.payload_bytes += length;
        self.externals += 1;
        self.splits.push(Split { at: self.buffer.len(), payload: Payload::External { length } });
    }

    /// Overwrites four bytes written before, for sizes that are known only at the end. `at` counts buffer bytes, so it must be before the first payload.
    pub fn patch_i32(&mut self, at: usize, value: i32) {
        self.buffer[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// The frame as one run of bytes. Shared payloads are copied in.
    ///
    /// # Errors
    /// [`WireError::ExternalPayload`] if it has gaps.
    pub fn into_bytes(self) -> Result<Bytes, WireError> {
        if self.splits.is_empty() {
            return Ok(self.buffer.freeze());
        }
        if self.externals > 0 {
            return Err(WireError::ExternalPayload);
        }
        let mut whole = BytesMut::with_capacity(self.len());
        for piece in self.into_pieces() {
            if let Piece::Bytes(bytes) = piece {
                whole.put_slice(&bytes);
            }
        }
        Ok(whole.freeze())
    }

    /// The frame as pieces, in order, none of them empty but for gaps of length 0.
    #[must_use]
    pub fn into_pieces(self) -> Vec<Piece> {
        let buffer = self.buffer.freeze();
        let mut pieces = Vec::with_capacity(2 * self.splits.len() + 1);
        let mut done = 0;
        let mut externals = 0;
        for split in self.splits {
            if split.at > done {
                pieces.push(Piece::Bytes(buffer.slice(done..split.at)));
                done = split.at;
            }
            match split.payload {
                Payload::Shared(bytes) => pieces.push(Piece::Bytes(bytes)),
                Payload::External { length } => {
                    pieces.push(Piece::External { index: externals, length });
                    externals += 1;
                }
            }
        }
        if done < buffer.len() {
            pieces.push(Piece::Bytes(buffer.slice(done..)));
        }
        pieces
    }

    /// BOOLEAN.
    pub fn bool(&mut self, value: bool) {
        self.buffer.put_u8(u8::from(value));
    }

    /// INT8.
    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// INT16.
    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// UINT16.
    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// INT32.
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// UINT32.
    pub fn u32(&mut self, value: u32) {
        self.buffer.put_u32(value);
    }

    /// INT64.
    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// FLOAT64.
    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// UUID.
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.put_slice(&value.0);
    }

    /// UNSIGNED_VARINT.
    pub fn unsigned_varint(&mut self, value: u32) {
        self.unsigned_varlong(u64::from(value));
    }

    /// VARINT: zigzag of 32 bits.
    pub fn varint(&mut self, value: i32) {
        self.unsigned_varint(((value << 1) ^ (value >> 31)) as u32);
    }

    /// VARLONG: zigzag of 64 bits.
    pub fn varlong(&mut self, value: i64) {
        self.unsigned_varlong(((value << 1) ^ (value >> 63)) as u64);
    }

    fn unsigned_varlong(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    fn length(&mut self, what: &'static str, length: Option<usize>, flexible: bool) -> Result<(), WireError> {
        let limit = i32::MAX as usize - 1;
        if let Some(count) = length.filter(|length| *length > limit) {
            return Err(WireError::OverLimit { what, count, limit });
        }
        if flexible {
            self.unsigned_varint(length.map_or(0, |length| length as u32 + 1));
        } else {
            self.i32(length.map_or(-1, |length| length as i32));
        }
        Ok(())
    }

    /// NULLABLE_STRING, or COMPACT_NULLABLE_STRING when `flexible`.
    ///
    /// # Errors
    /// [`WireError::OverLimit`] above [`STRING_BYTES_MAX`] bytes.
    pub fn nullable_string(&mut self, value: Option<&str>, flexible: bool) -> Result<(), WireError> {
        let length = value.map(str::len);
        if let Some(count) = length.filter(|length| *length > STRING_BYTES_MAX) {
            return Err(WireError::OverLimit { what: "string length", count, limit: STRING_BYTES_MAX });
        }
        if flexible {
            self.unsigned_varint(length.map_or(0, |length| length as u32 + 1));
        } else {
            self.i16(length.map_or(-1, |length| length as i16));
        }
        self.raw(value.unwrap_or("").as_bytes());
        Ok(())
    }

    /// NULLABLE_BYTES or COMPACT_NULLABLE_BYTES.
    pub fn nullable_bytes(&mut self, value: Option<&Bytes>, flexible: bool) -> Result<(), WireError> {
        self.length("bytes length", value.map(Bytes::len), flexible)?;
        if let Some(bytes) = value {
            self.shared(bytes.clone());
        }
        Ok(())
    }

    /// The length of bytes that follow by [`Writer::external`].
    pub fn external_bytes(&mut self, length: usize, flexible: bool) -> Result<(), WireError> {
        self.length("bytes length", Some(length), flexible)?;
        self.external(length);
        Ok(())
    }

    /// The count of an ARRAY or COMPACT_ARRAY.
    pub fn array_length(&mut self, count: Option<usize>, flexible: bool) -> Result<(), WireError> {
        self.length("array length", count, flexible)
    }

    /// The tagged fields at the end of a structure.
    pub fn tagged_fields(&mut self, fields: TaggedFields) -> Result<(), WireError> {
        self.unsigned_varint(fields.0.len() as u32);
        for (tag, value) in fields.0 {
            self.unsigned_varint(tag);
            let limit = i32::MAX as usize;
            if value.len() > limit {
                return Err(WireError::OverLimit { what: "tagged field size", count: value.len(), limit });
            }
            self.unsigned_varint(value.len() as u32);
            self.raw(&value.into_bytes()?);
        }
        Ok(())
    }
}

/// Tagged fields gathered for one structure, in rising order of their tags (KIP-482).
#[derive(Debug, Default)]
pub struct TaggedFields(Vec<(u32, Writer)>);

impl TaggedFields {
    /// Adds a field whose value `write` puts down.
    pub fn push(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Writer) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        assert!(self.0.last().is_none_or(|(last, _)| *last < tag), "a message table lists its tags in rising order");
        let mut value = Writer::new();
        write(&mut value)?;
        self.0.push((tag, value));
        Ok(())
    }
}
