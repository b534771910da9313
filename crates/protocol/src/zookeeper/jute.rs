//! Jute, ZooKeeper's encoding: big-endian numbers, `i32` lengths, -1 for null.
//!
//! A length or count is always compared with the bytes left before anything is allocated for it (Java: `BinaryInputArchive`).

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// ZooKeeper's default `jute.maxbuffer`: the longest body a server accepts (`BinaryInputArchive.java`).
pub const MAX_FRAME_BYTES: usize = 0xf_ffff;

/// Why bytes are not the record they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JuteError {
    /// The body ends inside a field.
    #[error("{wanted} bytes wanted and {left} left")]
    Short {
        /// Bytes the field needs.
        wanted: usize,
        /// Bytes there are.
        left: usize,
    },
    /// A length or count is below -1, or more than the rest of the body can hold.
    #[error("length {0} is not possible here")]
    BadLength(i32),
    /// A string is not UTF-8.
    #[error("string is not UTF-8")]
    NotUtf8,
    /// A string that must be there is null.
    #[error("string is null")]
    Null,
    /// A frame is longer than the reader allows.
    #[error("frame of {length} bytes, {limit} allowed (jute.maxbuffer)")]
    FrameTooLong {
        /// The length as the frame claims it; negative lengths are too long as well.
        length: i32,
        /// The limit in force.
        limit: usize,
    },
    /// A multi holds an operation that may not be in one.
    #[error("operation {0} may not be part of a multi")]
    NotInMulti(i32),
}

/// Reads fields off the front of one body. Buffers are slices of it, not copies.
#[derive(Debug, Clone)]
pub struct Reader {
    body: Bytes,
}

impl Reader {
    /// Starts at the first byte of `body`.
    pub fn new(body: Bytes) -> Reader {
        Reader { body }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.body.len()
    }

    /// The bytes not read yet, taken out.
    pub fn into_rest(self) -> Bytes {
        self.body
    }

    /// Reads one record.
    pub fn read<T: Record>(&mut self) -> Result<T, JuteError> {
        T::read(self)
    }

    fn need(&self, wanted: usize) -> Result<(), JuteError> {
        let left = self.body.len();
        if left < wanted { Err(JuteError::Short { wanted, left }) } else { Ok(()) }
    }

    /// A length of -1 is null; any other must be payable with `unit` bytes each.
    fn length(&mut self, unit: usize) -> Result<Option<usize>, JuteError> {
        let length: i32 = self.read()?;
        if length == -1 {
            return Ok(None);
        }
        match usize::try_from(length) {
            Ok(n) if n.checked_mul(unit).is_some_and(|bytes| bytes <= self.body.len()) => Ok(Some(n)),
            _ => Err(JuteError::BadLength(length)),
        }
    }
}

/// Anything that has a jute form.
pub trait Record: Sized {
    /// Fewest bytes a value takes on the wire; a vector's count is checked with it.
    const MIN_BYTES: usize;
    /// Reads the value and leaves the reader behind it.
    fn read(reader: &mut Reader) -> Result<Self, JuteError>;
    /// Appends the value.
    fn write(&self, out: &mut BytesMut);

    /// Reads the value from the front of `body`; bytes after it are ignored, as Java ignores them.
    fn from_body(body: Bytes) -> Result<Self, JuteError> {
        Self::read(&mut Reader::new(body))
    }

    /// The value alone, as bytes.
    fn to_body(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.write(&mut out);
        out.freeze()
    }
}

impl Record for bool {
    const MIN_BYTES: usize = 1;
    fn read(reader: &mut Reader) -> Result<bool, JuteError> {
        reader.need(1)?;
        Ok(reader.body.get_u8() != 0)
    }
    fn write(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(*self));
    }
}

impl Record for i32 {
    const MIN_BYTES: usize = 4;
    fn read(reader: &mut Reader) -> Result<i32, JuteError> {
        reader.need(4)?;
        Ok(reader.body.get_i32())
    }
    fn write(&self, out: &mut BytesMut) {
        out.put_i32(*self);
    }
}

impl Record for i64 {
    const MIN_BYTES: usize = 8;
    fn read(reader: &mut Reader) -> Result<i64, JuteError> {
        reader.need(8)?;
        Ok(reader.body.get_i64())
    }
    fn write(&self, out: &mut BytesMut) {
        out.put_i64(*self);
    }
}

impl Record for Option<Bytes> {
    const MIN_BYTES: usize = 4;
    fn read(reader: &mut Reader) -> Result<Option<Bytes>, JuteError> {
        Ok(reader.length(1)?.map(|length| reader.body.split_to(length)))
    }
    fn write(&self, out: &mut BytesMut) {
        match self {
            None => out.put_i32(-1),
            Some(bytes) => write_length_and_bytes(bytes, out),
        }
    }
}

impl Record for Option<String> {
    const MIN_BYTES: usize = 4;
    fn read(reader: &mut Reader) -> Result<Option<String>, JuteError> {
        let Some(length) = reader.length(1)? else { return Ok(None) };
        let bytes = reader.body.split_to(length);
        let text = std::str::from_utf8(&bytes).map_err(|_| JuteError::NotUtf8)?;
        Ok(Some(text.to_owned()))
    }
    fn write(&self, out: &mut BytesMut) {
        match self {
            None => out.put_i32(-1),
            Some(text) => write_length_and_bytes(text.as_bytes(), out),
        }
    }
}

impl Record for String {
    const MIN_BYTES: usize = 4;
    fn read(reader: &mut Reader) -> Result<String, JuteError> {
        reader.read::<Option<String>>()?.ok_or(JuteError::Null)
    }
    fn write(&self, out: &mut BytesMut) {
        write_length_and_bytes(self.as_bytes(), out);
    }
}

/// A null vector reads as an empty one: no operation tells them apart.
impl<T: Record> Record for Vec<T> {
    const MIN_BYTES: usize = 4;
    fn read(reader: &mut Reader) -> Result<Vec<T>, JuteError> {
        let count = reader.length(T::MIN_BYTES)?.unwrap_or(0);
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(reader.read()?);
        }
        Ok(items)
    }
    fn write(&self, out: &mut BytesMut) {
        out.put_i32(length_i32(self.len()));
        for item in self {
            item.write(out);
        }
    }
}

fn write_length_and_bytes(bytes: &[u8], out: &mut BytesMut) {
    out.put_i32(length_i32(bytes.len()));
    out.put_slice(bytes);
}

/// Every length written here came from bounded frames or from our own tree, so one beyond `i32` is a bug.
fn length_i32(length: usize) -> i32 {
    i32::try_from(length).expect("a jute length fits in i32")
}

/// Appends one frame to `out`: the length, then what `write_body` appends.
pub fn frame(out: &mut BytesMut, write_body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_i32(0);
    write_body(out);
    let length = length_i32(out.len() - start - 4);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Body length of the frame that starts with these four bytes, if it is between 0 and `limit`.
pub fn frame_length(prefix: [u8; 4], limit: usize) -> Result<usize, JuteError> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(n) if n <= limit => Ok(n),
        _ => Err(JuteError::FrameTooLong { length, limit }),
    }
}
