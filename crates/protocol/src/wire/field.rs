//! [`Field`]: how each Rust type that a message table may use looks on the wire.

use bytes::Bytes;

use super::{Reader, Str, WireError, Writer};
use crate::messages::Message;
use crate::types::Uuid;

/// A type that a message table can use for a field.
///
/// `flexible` says whether the version uses compact lengths and tagged fields (KIP-482).
pub trait Field: Sized {
    /// Reads a value.
    fn read(reader: &mut Reader, version: i16, flexible: bool) -> Result<Self, WireError>;

    /// Writes the value.
    fn write(&self, writer: &mut Writer, version: i16, flexible: bool) -> Result<(), WireError>;

    /// Whether the value stands for null on the wire.
    fn is_null(&self) -> bool {
        false
    }
}

/// Record batches of one partition in a Fetch response.
///
/// A broker that sends them straight from a file encodes [`Records::External`], which puts down the length and leaves a gap
/// ([`Writer::external`]). A decoder never returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// No records, as null.
    Null,
    /// Concatenated batches; the last may be cut.
    Bytes(Bytes),
    /// As many bytes as `length` that are not here but follow at the frame's gap.
    External {
        /// Size of the batches in bytes.
        length: usize,
    },
}

impl Records {
    /// The batches, if they are here.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Records::Bytes(bytes) => Some(bytes),
            Records::Null | Records::External { .. } => None,
        }
    }

    /// The batches, or no bytes when there are none here.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Records::Bytes(bytes) => bytes,
            Records::Null | Records::External { .. } => Bytes::new(),
        }
    }

    /// Size of the batches in bytes, wherever they are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Records::Null => 0,
            Records::Bytes(bytes) => bytes.len(),
            Records::External { length } => *length,
        }
    }

    /// Whether there is not a single byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// No bytes rather than null: clients of 0.8 to 0.10 fail on null records.
impl Default for Records {
    fn default() -> Records {
        Records::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Records {
        Records::Bytes(bytes)
    }
}

impl Field for Records {
    fn read(reader: &mut Reader, _version: i16, flexible: bool) -> Result<Records, WireError> {
        Ok(reader.nullable_bytes(flexible)?.map_or(Records::Null, Records::Bytes))
    }

    fn write(&self, writer: &mut Writer, _version: i16, flexible: bool) -> Result<(), WireError> {
        match self {
            Records::Null => writer.nullable_bytes(None, flexible),
            Records::Bytes(bytes) => writer.nullable_bytes(Some(bytes), flexible),
            Records::External { length } => writer.external_bytes(*length, flexible),
        }
    }

    fn is_null(&self) -> bool {
        *self == Records::Null
    }
}

macro_rules! fixed_size_fields {
    ($($type:ty: $method:ident;)*) => {$(
        impl Field for $type {
            fn read(reader: &mut Reader, _version: i16, _flexible: bool) -> Result<$type, WireError> {
                reader.$method()
            }

            fn write(&self, writer: &mut Writer, _version: i16, _flexible: bool) -> Result<(), WireError> {
                writer.$method(*self);
                Ok(())
            }
        }
    )*};
}

fixed_size_fields! {
    bool: bool;
    i8: i8;
    i16: i16;
    u16: u16;
    i32: i32;
    u32: u32;
    i64: i64;
    f64: f64;
    Uuid: uuid;
}

impl Field for Str {
    fn read(reader: &mut Reader, _version: i16, flexible: bool) -> Result<Str, WireError> {
        reader.string(flexible)
    }

    fn write(&self, writer: &mut Writer, _version: i16, flexible: bool) -> Result<(), WireError> {
        writer.nullable_string(Some(self), flexible)
    }
}

impl Field for Option<Str> {
    fn read(reader: &mut Reader, _version: i16, flexible: bool) -> Result<Option<Str>, WireError> {
        reader.nullable_string(flexible)
    }

    fn write(&self, writer: &mut Writer, _version: i16, flexible: bool) -> Result<(), WireError> {
        writer.nullable_string(self.as_deref(), flexible)
    }

    fn is_null(&self) -> bool {
        self.is_none()
    }
}

impl Field for Bytes {
    fn read(reader: &mut Reader, _version: i16, flexible: bool) -> Result<Bytes, WireError> {
        reader.bytes(flexible)
    }

    fn write(&self, writer: &mut Writer, _version: i16, flexible: bool) -> Result<(), WireError> {
        writer.nullable_bytes(Some(self), flexible)
    }
}

impl Field for Option<Bytes> {
    fn read(reader: &mut Reader, _version: i16, flexible: bool) -> Result<Option<Bytes>, WireError> {
        reader.nullable_bytes(flexible)
    }

    fn write(&self, writer: &mut Writer, _version: i16, flexible: bool) -> Result<(), WireError> {
        writer.nullable_bytes(self.as_ref(), flexible)
    }

    fn is_null(&self) -> bool {
        self.is_none()
    }
}

impl<T: Field> Field for Vec<T> {
    fn read(reader: &mut Reader, version: i16, flexible: bool) -> Result<Vec<T>, WireError> {
        <Option<Vec<T>>>::read(reader, version, flexible)?.ok_or(WireError::InvalidLength { what: "array", length: -1 })
    }

    fn write(&self, writer: &mut Writer, version: i16, flexible: bool) -> Result<(), WireError> {
        writer.array_length(Some(self.len()), flexible)?;
        self.iter().try_for_each(|element| element.write(writer, version, flexible))
    }
}

impl<T: Field> Field for Option<Vec<T>> {
    fn read(reader: &mut Reader, version: i16, flexible: bool) -> Result<Option<Vec<T>>, WireError> {
        reader.nullable_array(flexible, |reader| T::read(reader, version, flexible))
    }

    fn write(&self, writer: &mut Writer, version: i16, flexible: bool) -> Result<(), WireError> {
        match self {
            Some(elements) => elements.write(writer, version, flexible),
            None => writer.array_length(None, flexible),
        }
    }

    fn is_null(&self) -> bool {
        self.is_none()
    }
}

/// A structure that may be null: one byte, -1 for null and 1 for present, before it (KIP-893).
impl<T: Message> Field for Option<T> {
    fn read(reader: &mut Reader, version: i16, flexible: bool) -> Result<Option<T>, WireError> {
        match reader.i8()? {
            -1 => Ok(None),
            1 => Ok(Some(T::read(reader, version, flexible)?)),
            other => Err(WireError::InvalidLength { what: "nullable structure", length: i64::from(other) }),
        }
    }

    fn write(&self, writer: &mut Writer, version: i16, flexible: bool) -> Result<(), WireError> {
        match self {
            None => writer.i8(-1),
            Some(structure) => {
                writer.i8(1);
                structure.write(writer, version, flexible)?;
            }
        }
        Ok(())
    }

    fn is_null(&self) -> bool {
        self.is_none()
    }
}
