//! Kafka's three record formats: message sets v0 and v1 (0.8 to 0.10) and record batches v2 (0.11 on), which is the only one we write to disk.
//!
//! Batches are looked at through slices of the bytes they came in. Nothing is decompressed unless a caller asks for the records, and then only up to
//! the number of bytes the caller is ready to hold.
//!
//! # Layout
//! - [`batch`]: the 61-byte header, checks, in-place patches, lazily read records
//! - [`builder`]: writes batches v2
//! - [`compression`]: gzip, snappy, lz4 and zstd as Kafka frames them
//! - [`varint`]: the zig-zag numbers inside records
//! - [`message_set`]: the v0 and v1 formats, and conversion from and to v2

pub mod batch;
pub mod builder;
pub mod compression;
pub mod message_set;
pub mod varint;

pub use batch::{BatchHeader, BatchIter, Header, Headers, Record, RecordBatch, RecordRef, Records, TimestampType};
pub use builder::{BatchBuilder, BatchOptions};
pub use compression::Codec;
pub use message_set::{AnyBatchIter, MessageSetIter, down_convert, up_convert};

use crate::error::ErrorCode;

/// Most bytes one batch may unpack to where the caller has no smaller figure at hand. It lies above Kafka's largest sensible `message.max.bytes`, and a
/// batch that needs more is refused with [`RecordsError::TooLarge`].
pub const MAX_DECOMPRESSED_BYTES: usize = 256 * 1024 * 1024;

/// `producerId` of a batch whose producer is not idempotent.
pub const NO_PRODUCER_ID: i64 = -1;
/// `producerEpoch` that goes with [`NO_PRODUCER_ID`].
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// `baseSequence` that goes with [`NO_PRODUCER_ID`] and with control batches.
pub const NO_SEQUENCE: i32 = -1;
/// Timestamp of a message v0, which has none.
pub const NO_TIMESTAMP: i64 = -1;

/// Why bytes are not the records they claim to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// The bytes end before the thing does. For a batch at the end of a fetch response this is normal: the server cut it there.
    #[error("{what} needs {needed} bytes, {available} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes it needs.
        needed: usize,
        /// Bytes there are.
        available: usize,
    },
    /// The magic byte names no format, or not the one expected here.
    #[error("record format with magic {0} is not supported here")]
    UnsupportedMagic(i8),
    /// The attributes name no codec that exists in this format.
    #[error("unknown compression type {0}")]
    UnknownCodec(u8),
    /// The bytes changed after the producer wrote them.
    #[error("Record is corrupt (stored crc = {stored}, computed crc = {computed})")]
    CrcMismatch {
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// The structure contradicts itself. Kafka answers CORRUPT_MESSAGE (2).
    #[error("corrupt records: {0}")]
    Corrupt(&'static str),
    /// Well-formed, but a client may not send it. Kafka answers INVALID_RECORD (87).
    #[error("invalid records: {0}")]
    Invalid(&'static str),
    /// A client set timestamps in a way only a broker may. Kafka answers INVALID_TIMESTAMP (32).
    #[error("invalid timestamp: {0}")]
    InvalidTimestamp(&'static str),
    /// The compressed part cannot be unpacked.
    #[error("failed to decompress {codec} data: {cause}")]
    Decompress {
        /// The codec named in the attributes.
        codec: Codec,
        /// What its library says.
        cause: String,
    },
    /// The compressed part unpacks to more than the caller allows.
    #[error("{codec} data unpacks to more than {limit} bytes")]
    TooLarge {
        /// The codec named in the attributes.
        codec: Codec,
        /// The caller's limit in bytes.
        limit: usize,
    },
    /// A record or batch is larger than the format's 32-bit length can say.
    #[error("{0} is larger than a record batch can hold")]
    Oversized(&'static str),
    /// The target format cannot carry this.
    #[error("magic {magic} cannot carry {what}")]
    NotRepresentable {
        /// The target format.
        magic: i8,
        /// What it lacks.
        what: &'static str,
    },
}

impl RecordsError {
    /// What a broker answers a producer or fetcher whose request met this.
    #[must_use]
    pub fn error_code(&self) -> ErrorCode {
        match self {
            RecordsError::Truncated { .. } | RecordsError::CrcMismatch { .. } | RecordsError::Corrupt(_) => {
                ErrorCode::CORRUPT_MESSAGE
            }
            // The CRC was right, so sending the same bytes again cannot help: no retriable code.
            RecordsError::Decompress { .. } | RecordsError::Invalid(_) | RecordsError::UnsupportedMagic(_) => {
                ErrorCode::INVALID_RECORD
            }
            RecordsError::InvalidTimestamp(_) => ErrorCode::INVALID_TIMESTAMP,
            RecordsError::UnknownCodec(_) | RecordsError::NotRepresentable { .. } => {
                ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
            }
            RecordsError::TooLarge { .. } | RecordsError::Oversized(_) => ErrorCode::MESSAGE_TOO_LARGE,
        }
    }
}
