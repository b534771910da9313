//! The fixed part of a batch v2: read and checked, written, and stamped in place.
//!
//! ```text
//!  0 base offset i64          23 last offset delta i32    51 producer epoch i16
//!  8 length i32 (from 12 on)  27 base timestamp i64       53 base sequence i32
//! 12 leader epoch i32         35 max timestamp i64        57 record count i32
//! 16 magic i8 = 2             43 producer id i64          61 records, perhaps compressed
//! 17 CRC-32C u32 over 21..    (21 attributes i16)
//! ```

use super::super::compression::Codec;
use super::super::{NO_PRODUCER_ID, NO_SEQUENCE, RecordsError};
use crate::types::{LeaderEpoch, Offset};

/// Base offset and length: what lies before the part that the length counts.
pub const LOG_OVERHEAD: usize = 12;
/// Bytes before the first record.
pub const HEADER_LEN: usize = 61;
/// The magic byte lies here in all three formats.
pub const MAGIC_AT: usize = 16;
/// The only format this module reads.
pub const MAGIC_V2: i8 = 2;

const LEADER_EPOCH_AT: usize = 12;
const CRC_AT: usize = 17;
pub(super) const ATTRIBUTES_AT: usize = 21;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;

pub(super) const LOG_APPEND_TIME_BIT: i16 = 0x08;
pub(super) const TRANSACTIONAL_BIT: i16 = 0x10;
pub(super) const CONTROL_BIT: i16 = 0x20;
pub(super) const DELETE_HORIZON_BIT: i16 = 0x40;

/// Smallest record: length, attributes, two deltas, two absent fields, no headers.
const MIN_RECORD_LEN: usize = 7;

/// What the timestamps of a batch mean: `message.timestamp.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer set them.
    #[default]
    CreateTime,
    /// The leader set one for all records when it appended the batch.
    LogAppendTime,
}

/// The fixed part of a batch v2, checked for consistency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, whether or not it survived compaction.
    pub base_offset: Offset,
    /// Bytes from [`LOG_OVERHEAD`] to the end of the batch.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch.
    pub partition_leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec, timestamp type and flags; see the methods.
    pub attributes: i16,
    /// Last record's offset less the base offset; compaction keeps it.
    pub last_offset_delta: i32,
    /// What record timestamps are counted from, in ms. With a delete horizon (KIP-534) it is that horizon.
    pub base_timestamp: i64,
    /// Largest record timestamp, or the append time, in ms.
    pub max_timestamp: i64,
    /// Id of an idempotent producer, or [`NO_PRODUCER_ID`].
    pub producer_id: i64,
    /// Epoch of the producer id.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or [`NO_SEQUENCE`].
    pub base_sequence: i32,
    /// Records that are present.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`, which may hold less than the whole batch and may hold more.
    ///
    /// # Errors
    /// [`RecordsError::Truncated`] below 61 bytes, [`RecordsError::UnsupportedMagic`] for other formats, [`RecordsError::UnknownCodec`], and
    /// [`RecordsError::Corrupt`] where fields contradict each other.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, RecordsError> {
        // The formats differ after the magic byte, so it is looked at before a full header is asked for.
        if let Some(&magic) = bytes.get(MAGIC_AT)
            && magic as i8 != MAGIC_V2
        {
            return Err(RecordsError::UnsupportedMagic(magic as i8));
        }
        let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(RecordsError::Truncated {
                what: "a record batch header",
                needed: HEADER_LEN,
                available: bytes.len(),
            });
        };
        let header = BatchHeader {
            base_offset: Offset(i64::from_be_bytes(at(head, 0))),
            batch_length: i32::from_be_bytes(at(head, 8)),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(at(head, LEADER_EPOCH_AT))),
            crc: u32::from_be_bytes(at(head, CRC_AT)),
            attributes: i16::from_be_bytes(at(head, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(at(head, 23)),
            base_timestamp: i64::from_be_bytes(at(head, BASE_TIMESTAMP_AT)),
            max_timestamp: i64::from_be_bytes(at(head, MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(at(head, PRODUCER_ID_AT)),
            producer_epoch: i16::from_be_bytes(at(head, PRODUCER_EPOCH_AT)),
            base_sequence: i32::from_be_bytes(at(head, BASE_SEQUENCE_AT)),
            records_count: i32::from_be_bytes(at(head, 57)),
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), RecordsError> {
        let corrupt = |what| Err(RecordsError::Corrupt(what));
        if self.batch_length < (HEADER_LEN - LOG_OVERHEAD) as i32 {
            return corrupt("the batch length is smaller than a batch header");
        }
        let codec = Codec::from_attributes(self.attributes)?;
        if self.last_offset_delta < 0 {
            return corrupt("the last offset delta is negative");
        }
        if self.records_count < 0 {
            return corrupt("the record count is negative");
        }
        // Compaction leaves fewer records than offsets, never more.
        if i64::from(self.records_count) > i64::from(self.last_offset_delta) + 1 {
            return corrupt("there are more records than offsets");
        }
        let records_len = self.batch_length as usize - (HEADER_LEN - LOG_OVERHEAD);
        if codec == Codec::None && self.records_count as usize > records_len / MIN_RECORD_LEN {
            return corrupt("the record count does not fit the batch length");
        }
        if self.records_count > 0 && records_len == 0 {
            return corrupt("the batch counts records but holds none");
        }
        if self.base_offset.0.checked_add(i64::from(self.last_offset_delta)).is_none() {
            return corrupt("the last offset lies beyond 2^63");
        }
        Ok(())
    }

    /// Checks what holds for batches of producers but not for all batches on disk (Kafka `LogValidator.validateBatch`): at least one record, no offset
    /// missing, no control records, a sequence wherever there is a producer id.
    ///
    /// # Errors
    /// [`RecordsError::Invalid`] or [`RecordsError::InvalidTimestamp`] naming the rule.
    pub fn check_from_producer(&self) -> Result<(), RecordsError> {
        let invalid = |what| Err(RecordsError::Invalid(what));
        if self.records_count == 0 {
            return invalid("a batch without records");
        }
        if self.records_count - 1 != self.last_offset_delta {
            return invalid("the record count and the offset range of the batch differ");
        }
        if self.is_control() {
            return invalid("Clients are not allowed to write control records");
        }
        if self.timestamp_type() == TimestampType::LogAppendTime {
            return Err(RecordsError::InvalidTimestamp("Producer should not set timestamp type to LogAppendTime"));
        }
        if self.delete_horizon_ms().is_some() {
            return invalid("clients may not set a delete horizon");
        }
        if self.has_producer_id() && (self.base_sequence < 0 || self.producer_epoch < 0) {
            return invalid("a producer id without a sequence number and epoch");
        }
        if self.is_transactional() && !self.has_producer_id() {
            return invalid("a transactional batch without a producer id");
        }
        Ok(())
    }

    /// Size of the whole batch in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        LOG_OVERHEAD + self.batch_length as usize
    }

    /// Offset of the last record the batch was written with.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.last_offset_delta))
    }

    /// First offset after the batch.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    /// Compression of the records.
    #[must_use]
    pub fn codec(&self) -> Codec {
        Codec::from_attributes(self.attributes).unwrap_or_default()
    }

    /// Who set the timestamps.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME_BIT == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Part of a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Holds markers for brokers and consumers, not records of users.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Time in ms from which the cleaner may drop the batch's tombstones and markers (KIP-534), if one was set.
    #[must_use]
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp)
    }

    /// Written by an idempotent or transactional producer.
    #[must_use]
    pub fn has_producer_id(&self) -> bool {
        self.producer_id != NO_PRODUCER_ID
    }

    /// Sequence number of the last record; they wrap from 2^31-1 to 0.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        increment_sequence(self.base_sequence, self.last_offset_delta)
    }
}

/// The sequence number `by` after `sequence`, which wraps from 2^31-1 to 0 (Kafka `DefaultRecordBatch.incrementSequence`).
#[must_use]
pub fn increment_sequence(sequence: i32, by: i32) -> i32 {
    ((i64::from(sequence) + i64::from(by)) & i64::from(i32::MAX)) as i32
}

/// Magic byte of the batch or message at the front of `bytes`, if that much is there.
#[must_use]
pub fn peek_magic(bytes: &[u8]) -> Option<i8> {
    bytes.get(MAGIC_AT).map(|magic| *magic as i8)
}

/// Size in bytes of the batch or message at the front of `bytes`, as its length field claims; the same in all three formats. `None` while that field is
/// not complete.
///
/// # Errors
/// [`RecordsError::Corrupt`] when the length is negative.
pub fn peek_size(bytes: &[u8]) -> Result<Option<usize>, RecordsError> {
    let Some(head) = bytes.first_chunk::<LOG_OVERHEAD>() else { return Ok(None) };
    let length = i32::from_be_bytes(at(head, 8));
    match usize::try_from(length) {
        Ok(length) => Ok(Some(LOG_OVERHEAD + length)),
        Err(_) => Err(RecordsError::Corrupt("a batch length is negative")),
    }
}

/// Compares the CRC in the header with one computed over the whole of `batch`, which must be exactly one batch.
///
/// # Errors
/// [`RecordsError::CrcMismatch`], or [`RecordsError::Truncated`] below a full header.
pub fn verify_crc(batch: &[u8]) -> Result<(), RecordsError> {
    if batch.len() < HEADER_LEN {
        return Err(RecordsError::Truncated { what: "a record batch", needed: HEADER_LEN, available: batch.len() });
    }
    let stored = u32::from_be_bytes(at(batch, CRC_AT));
    let computed = crc_fast::crc32_iscsi(&batch[ATTRIBUTES_AT..]);
    if stored == computed { Ok(()) } else { Err(RecordsError::CrcMismatch { stored, computed }) }
}

/// Stamps the offset of the first record. The CRC does not cover it.
///
/// # Panics
/// When `batch` is shorter than a header, as do the other patches: they are for batches whose header was parsed.
pub fn set_base_offset(batch: &mut [u8], base_offset: Offset) {
    batch[..8].copy_from_slice(&base_offset.0.to_be_bytes());
}

/// Stamps the epoch of the appending leader. The CRC does not cover it.
///
/// # Panics
/// As [`set_base_offset`].
pub fn set_partition_leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) {
    batch[LEADER_EPOCH_AT..MAGIC_AT].copy_from_slice(&epoch.0.to_be_bytes());
}

/// Sets what the timestamps mean and the largest of them, and computes the CRC anew. `batch` must be exactly one batch.
///
/// # Panics
/// As [`set_base_offset`].
pub fn set_max_timestamp(batch: &mut [u8], timestamp_type: TimestampType, max_timestamp: i64) {
    let mut attributes = i16::from_be_bytes(at(batch, ATTRIBUTES_AT));
    match timestamp_type {
        TimestampType::CreateTime => attributes &= !LOG_APPEND_TIME_BIT,
        TimestampType::LogAppendTime => attributes |= LOG_APPEND_TIME_BIT,
    }
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&max_timestamp.to_be_bytes());
    write_crc(batch);
}

/// Makes the batch one of `message.timestamp.type=LogAppendTime`, appended at `now_ms`. `batch` must be exactly one batch.
///
/// # Panics
/// As [`set_base_offset`].
pub fn set_append_time(batch: &mut [u8], now_ms: i64) {
    set_max_timestamp(batch, TimestampType::LogAppendTime, now_ms);
}

/// Gives a finished batch its producer and sequence, and computes the CRC anew: a producer that learns a new epoch re-stamps what it has queued.
///
/// # Panics
/// As [`set_base_offset`].
pub fn set_producer_state(batch: &mut [u8], producer_id: i64, producer_epoch: i16, base_sequence: i32) {
    batch[PRODUCER_ID_AT..PRODUCER_ID_AT + 8].copy_from_slice(&producer_id.to_be_bytes());
    batch[PRODUCER_EPOCH_AT..PRODUCER_EPOCH_AT + 2].copy_from_slice(&producer_epoch.to_be_bytes());
    batch[BASE_SEQUENCE_AT..BASE_SEQUENCE_AT + 4].copy_from_slice(&base_sequence.to_be_bytes());
    write_crc(batch);
}

pub(super) fn write_crc(batch: &mut [u8]) {
    let crc = crc_fast::crc32_iscsi(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

/// Writes a header into the first 61 bytes of `batch` and the CRC over its end. The length is taken from `batch`, not from `header`.
pub(in crate::records) fn write_header(batch: &mut [u8], header: &BatchHeader) {
    let length = (batch.len() - LOG_OVERHEAD) as i32;
    batch[..8].copy_from_slice(&header.base_offset.0.to_be_bytes());
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[12..16].copy_from_slice(&header.partition_leader_epoch.0.to_be_bytes());
    batch[MAGIC_AT] = MAGIC_V2 as u8;
    batch[21..23].copy_from_slice(&header.attributes.to_be_bytes());
    batch[23..27].copy_from_slice(&header.last_offset_delta.to_be_bytes());
    batch[27..35].copy_from_slice(&header.base_timestamp.to_be_bytes());
    batch[35..43].copy_from_slice(&header.max_timestamp.to_be_bytes());
    batch[43..51].copy_from_slice(&header.producer_id.to_be_bytes());
    batch[51..53].copy_from_slice(&header.producer_epoch.to_be_bytes());
    batch[53..57].copy_from_slice(&header.base_sequence.to_be_bytes());
    batch[57..61].copy_from_slice(&header.records_count.to_be_bytes());
    write_crc(batch);
}

/// Puts the attribute bits together.
pub(in crate::records) fn attributes(
    codec: Codec,
    timestamp_type: TimestampType,
    transactional: bool,
    control: bool,
    delete_horizon: bool,
) -> i16 {
    let mut attributes = i16::from(codec.id());
    if timestamp_type == TimestampType::LogAppendTime {
        attributes |= LOG_APPEND_TIME_BIT;
    }
    if transactional {
        attributes |= TRANSACTIONAL_BIT;
    }
    if control {
        attributes |= CONTROL_BIT;
    }
    if delete_horizon {
        attributes |= DELETE_HORIZON_BIT;
    }
    attributes
}

pub(super) fn at<const N: usize>(bytes: &[u8], from: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[from..from + N]);
    field
}
