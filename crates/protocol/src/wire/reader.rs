//! [`Reader`]: takes values off a frame.

use bytes::Bytes;

use super::{ARRAY_ELEMENTS_MAX, FRAME_ELEMENTS_MAX, STRING_BYTES_MAX, Str, TAGGED_FIELDS_MAX, WireError};
use crate::types::Uuid;

/// Elements for which room is made before the first is read. More room comes as elements arrive, so a large count alone costs nothing.
const ARRAY_CAPACITY_FIRST: usize = 256;

/// Reads one frame from front to back. What it returns are slices of the frame.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    position: usize,
    /// What is left of [`FRAME_ELEMENTS_MAX`].
    elements_left: usize,
}

impl Reader {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Reader {
        Reader { bytes, position: 0, elements_left: FRAME_ELEMENTS_MAX }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Bytes read so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// All that is left, and the reader is at its end.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.position..);
        self.position = self.bytes.len();
        rest
    }

    /// The next `length` bytes as a slice of the frame.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn slice(&mut self, length: usize) -> Result<Bytes, WireError> {
        self.need(length)?;
        let slice = self.bytes.slice(self.position..self.position + length);
        self.position += length;
        Ok(slice)
    }

    fn need(&self, needed: usize) -> Result<(), WireError> {
        let left = self.remaining();
        if needed > left { Err(WireError::Truncated { needed, left }) } else { Ok(()) }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        match self.bytes[self.position..].first_chunk::<N>() {
            Some(chunk) => {
                let chunk = *chunk;
                self.position += N;
                Ok(chunk)
            }
            None => Err(WireError::Truncated { needed: N, left: self.remaining() }),
        }
    }

    /// BOOLEAN: any byte but 0 is true.
    pub fn bool(&mut self) -> Result<bool, WireError> {
        Ok(self.i8()? != 0)
    }

    /// INT8.
    pub fn i8(&mut self) -> Result<i8, WireError> {
        Ok(i8::from_be_bytes(self.take()?))
    }

    /// INT16.
    pub fn i16(&mut self) -> Result<i16, WireError> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    /// UINT16.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes(self.take()?))
    }

    /// INT32.
    pub fn i32(&mut self) -> Result<i32, WireError> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    /// UINT32.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    /// INT64.
    pub fn i64(&mut self) -> Result<i64, WireError> {
        Ok(i64::from_be_bytes(self.take()?))
    }

    /// FLOAT64.
    pub fn f64(&mut self) -> Result<f64, WireError> {
        Ok(f64::from_be_bytes(self.take()?))
    }

    /// UUID.
    pub fn uuid(&mut self) -> Result<Uuid, WireError> {
        Ok(Uuid(self.take()?))
    }

    /// UNSIGNED_VARINT, at most 5 bytes. The bits above the 32nd of a fifth byte are an error.
    pub fn unsigned_varint(&mut self) -> Result<u32, WireError> {
        let value = self.unsigned_varint_of(5)?;
        u32::try_from(value).map_err(|_| WireError::VarintTooLong)
    }

    /// VARINT: zigzag of 32 bits.
    pub fn varint(&mut self) -> Result<i32, WireError> {
        let value = self.unsigned_varint()?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// VARLONG: zigzag of 64 bits.
    pub fn varlong(&mut self) -> Result<i64, WireError> {
        let value = self.unsigned_varint_of(10)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn unsigned_varint_of(&mut self, bytes_max: u32) -> Result<u64, WireError> {
        let mut value = 0u64;
        for index in 0..bytes_max {
            let [byte] = self.take()?;
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * index;
            if shift == 63 && bits > 1 {
                return Err(WireError::VarintTooLong);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::VarintTooLong)
    }

    /// A length of a compact value: UNSIGNED_VARINT of length + 1, 0 is null.
    fn compact_length(&mut self) -> Result<Option<usize>, WireError> {
        Ok((self.unsigned_varint()? as usize).checked_sub(1))
    }

    fn plain_length(&mut self, what: &'static str) -> Result<Option<usize>, WireError> {
        let length = self.i32()?;
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(WireError::InvalidLength { what, length: i64::from(length) }),
        }
    }

    /// NULLABLE_STRING, or COMPACT_NULLABLE_STRING when `flexible`.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Str>, WireError> {
        let length = if flexible {
            self.compact_length()?
        } else {
            match self.i16()? {
                -1 => None,
                length => match usize::try_from(length) {
                    Ok(length) => Some(length),
                    Err(_) => return Err(WireError::InvalidLength { what: "string", length: i64::from(length) }),
                },
            }
        };
        match length {
            None => Ok(None),
            Some(length) if length > STRING_BYTES_MAX => {
                Err(WireError::OverLimit { what: "string length", count: length, limit: STRING_BYTES_MAX })
            }
            Some(length) => Ok(Some(Str::from_utf8(self.slice(length)?)?)),
        }
    }

    /// STRING or COMPACT_STRING.
    pub fn string(&mut self, flexible: bool) -> Result<Str, WireError> {
        self.nullable_string(flexible)?.ok_or(WireError::InvalidLength { what: "string", length: -1 })
    }

    /// NULLABLE_BYTES or COMPACT_NULLABLE_BYTES; RECORDS and COMPACT_RECORDS are the same on the wire.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, WireError> {
        let length = if flexible { self.compact_length()? } else { self.plain_length("bytes")? };
        length.map(|length| self.slice(length)).transpose()
    }

    /// BYTES or COMPACT_BYTES.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, WireError> {
        self.nullable_bytes(flexible)?.ok_or(WireError::InvalidLength { what: "bytes", length: -1 })
    }

    /// The count of an ARRAY or COMPACT_ARRAY, checked: never more than [`ARRAY_ELEMENTS_MAX`], nor than the bytes left (no element is shorter than
    /// one byte), nor than what the frame's other arrays leave of [`FRAME_ELEMENTS_MAX`].
    pub fn array_length(&mut self, flexible: bool) -> Result<Option<usize>, WireError> {
        let length = if flexible { self.compact_length()? } else { self.plain_length("array")? };
        if let Some(count) = length {
            self.need(count)?;
            if count > ARRAY_ELEMENTS_MAX {
                return Err(WireError::OverLimit { what: "array length", count, limit: ARRAY_ELEMENTS_MAX });
            }
            self.elements_left = self.elements_left.checked_sub(count).ok_or(WireError::OverLimit {
                what: "number of array elements in the frame",
                count: FRAME_ELEMENTS_MAX - self.elements_left + count,
                limit: FRAME_ELEMENTS_MAX,
            })?;
        }
        Ok(length)
    }

    /// An array, each element read by `element`.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        mut element: impl FnMut(&mut Reader) -> Result<T, WireError>,
    ) -> Result<Option<Vec<T>>, WireError> {
        let Some(count) = self.array_length(flexible)? else { return Ok(None) };
        let mut elements = Vec::with_capacity(count.min(ARRAY_CAPACITY_FIRST));
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// The tagged fields at the end of a structure of a flexible version.
    ///
    /// `known` gets each tag with a reader over exactly its value and says whether it read it; values of unknown tags are skipped and not kept.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader) -> Result<bool, WireError>,
    ) -> Result<(), WireError> {
        let count = self.unsigned_varint()? as usize;
        if count == 0 {
            return Ok(());
        }
        if count > TAGGED_FIELDS_MAX {
            return Err(WireError::OverLimit { what: "number of tagged fields", count, limit: TAGGED_FIELDS_MAX });
        }
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            let mut value = Reader { bytes: self.slice(size)?, position: 0, elements_left: self.elements_left };
            if known(tag, &mut value)? && value.remaining() > 0 {
                return Err(WireError::TaggedFieldSize { tag, size });
            }
            self.elements_left = value.elements_left;
        }
        Ok(())
    }
}
