//! Kafka's primitive types on the wire: [`Reader`] takes them off a frame, [`Writer`] puts them on one.
//!
//! Always true: a [`Reader`] never reads past its frame, never allocates more than the frame's own bytes pay for, and never panics;
//! strings, bytes and records it returns are slices of the frame and copy nothing. A [`Writer`] keeps large payloads apart
//! ([`Writer::shared`], [`Writer::external`]) so that they reach the socket without passing through its buffer.
//!
//! Source of the encodings: the protocol guide's "Protocol Primitive Types" and KIP-482 (compact types and tagged fields).

mod field;
mod reader;
mod str;
mod writer;

pub use field::{Field, Records};
pub use reader::Reader;
pub use str::Str;
pub use writer::{Piece, SHARED_BYTES_MIN, TaggedFields, Writer};

/// Most elements one array may have, as in Kafka 4.4. A count above it is refused before anything is read.
pub const ARRAY_ELEMENTS_MAX: usize = 1_000_000;

/// Most elements all arrays of one frame may have together. Nested arrays could otherwise turn a frame of the largest allowed size, at one byte an
/// element, into dozens of times its size in memory; a Metadata response of 500,000 partitions with 3 replicas each still passes.
pub const FRAME_ELEMENTS_MAX: usize = 4_000_000;

/// Most tagged fields one structure may carry, as in Kafka 4.4.
pub const TAGGED_FIELDS_MAX: usize = 10_000;

/// Longest string the protocol can carry in versions before the flexible ones, in bytes; Kafka holds to it in all versions.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Why bytes are not a message, or a message cannot be put into bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The frame ends inside a value.
    #[error("frame ends early: {needed} bytes needed, {left} left")]
    Truncated {
        /// Bytes the value still needs.
        needed: usize,
        /// Bytes the frame still has.
        left: usize,
    },
    /// A count or size that no sender may write: below -1, or -1 where null is not allowed.
    #[error("invalid length {length} for {what}")]
    InvalidLength {
        /// Kind of value.
        what: &'static str,
        /// The length as it stood in the frame.
        length: i64,
    },
    /// A count or size above its limit.
    #[error("{what} of {count} is over the limit of {limit}")]
    OverLimit {
        /// Kind of value.
        what: &'static str,
        /// What was asked for.
        count: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A string is not UTF-8.
    #[error("string is not valid UTF-8")]
    NotUtf8,
    /// A variable-length integer does not end within its 5 or 10 bytes.
    #[error("variable-length integer is too long")]
    VarintTooLong,
    /// Null stands where this version has no null.
    #[error("field {field} of {message} must not be null in version {version}")]
    NullNotAllowed {
        /// Structure the field belongs to.
        message: &'static str,
        /// Name of the field.
        field: &'static str,
        /// Version of the API.
        version: i16,
    },
    /// A field is set that this version cannot carry and that may not be dropped silently.
    #[error("field {field} of {message} cannot be sent in version {version}")]
    FieldNotInVersion {
        /// Structure the field belongs to.
        message: &'static str,
        /// Name of the field.
        field: &'static str,
        /// Version of the API.
        version: i16,
    },
    /// The table of this message does not cover the version.
    #[error("version {version} of {message} is not supported")]
    UnsupportedVersion {
        /// Name of the message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// No API has this key.
    #[error("api key {key} is not known")]
    UnknownApiKey {
        /// The key as it stood in the header.
        key: i16,
    },
    /// A tagged field's value is longer or shorter than its declared size.
    #[error("tagged field {tag} does not fill its {size} bytes")]
    TaggedFieldSize {
        /// Number of the field.
        tag: u32,
        /// Its declared size in bytes.
        size: usize,
    },
    /// A message that holds payloads outside its buffer was asked for as one run of bytes.
    #[error("message holds external payloads and cannot be one run of bytes")]
    ExternalPayload,
}

#[cfg(test)]
mod tests;
