//! Record batches v2: the unit that producers send, logs store and consumers fetch (Kafka `DefaultRecordBatch`, KIP-98).
//!
//! ```text
//!  0 base offset i64          23 last offset delta i32    51 producer epoch i16
//!  8 length i32 (from 12 on)  27 base timestamp i64       53 base sequence i32
//! 12 leader epoch i32         35 max timestamp i64        57 record count i32
//! 16 magic i8 = 2             43 producer id i64          61 records, perhaps compressed
//! 17 CRC-32C u32 over 21..    (21 attributes i16)
//! ```
//!
//! A [`BatchHeader`] that exists has lengths, counts and deltas that agree with each other and with the bytes it was read from; only the CRC and the
//! records themselves are still to be checked. Base offset and leader epoch lie outside the CRC, so the log stamps both without touching the rest.

use std::fmt;

use bytes::Bytes;

use super::compression::{self, Codec};
use super::{NO_PRODUCER_ID, NO_SEQUENCE, RecordsError, varint};
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
const ATTRIBUTES_AT: usize = 21;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;

const LOG_APPEND_TIME_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;
const DELETE_HORIZON_BIT: i16 = 0x40;

/// Smallest record: length, attributes, two deltas, two absent fields, no headers.
const MIN_RECORD_LEN: usize = 7;
/// Smallest header of a record: an empty key and an absent value.
const MIN_HEADER_LEN: usize = 2;

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

fn write_crc(batch: &mut [u8]) {
    let crc = crc_fast::crc32_iscsi(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

/// Writes a header into the first 61 bytes of `batch` and the CRC over its end. The length is taken from `batch`, not from `header`.
pub(super) fn write_header(batch: &mut [u8], header: &BatchHeader) {
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
pub(super) fn attributes(
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

fn at<const N: usize>(bytes: &[u8], from: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[from..from + N]);
    field
}

/// One whole batch: its header and all its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordBatch {
    /// The parsed header.
    pub header: BatchHeader,
    /// The batch from base offset to last record.
    pub bytes: Bytes,
}

impl RecordBatch {
    /// Takes the batch at the front of `bytes`; what follows it is not looked at.
    ///
    /// # Errors
    /// As [`BatchHeader::parse`], and [`RecordsError::Truncated`] when the batch does not end in `bytes`.
    pub fn parse(bytes: &Bytes) -> Result<RecordBatch, RecordsError> {
        let header = BatchHeader::parse(bytes)?;
        if header.size() > bytes.len() {
            return Err(RecordsError::Truncated {
                what: "a record batch",
                needed: header.size(),
                available: bytes.len(),
            });
        }
        Ok(RecordBatch { header, bytes: bytes.slice(..header.size()) })
    }

    /// Compares the CRC with the bytes.
    ///
    /// # Errors
    /// [`RecordsError::CrcMismatch`].
    pub fn verify_crc(&self) -> Result<(), RecordsError> {
        verify_crc(&self.bytes)
    }

    /// The records as they lie in the batch, perhaps compressed.
    #[must_use]
    pub fn records_bytes(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// Starts reading the records, unpacking them first if they are compressed: to at most `max_decompressed` bytes.
    ///
    /// # Errors
    /// Those of [`compression::decompress`]. Errors of single records come from the iterator, which ends with the first of them.
    pub fn records(&self, max_decompressed: usize) -> Result<Records, RecordsError> {
        let codec = self.header.codec();
        let data = match codec {
            Codec::None => self.records_bytes(),
            _ => Bytes::from(compression::decompress(codec, MAGIC_V2, &self.bytes[HEADER_LEN..], max_decompressed)?),
        };
        Ok(Records::new(self.header, data))
    }

    /// What the control batch says, if the batch is one and holds a marker.
    ///
    /// # Errors
    /// [`RecordsError`] when its record cannot be read.
    pub fn control_marker(&self) -> Result<Option<ControlMarker>, RecordsError> {
        if !self.header.is_control() {
            return Ok(None);
        }
        // Control batches are a few dozen bytes and never compressed by a broker.
        const MAX_CONTROL_BATCH: usize = 64 * 1024;
        let mut records = self.records(MAX_CONTROL_BATCH)?;
        match records.next_ref() {
            None => Ok(None),
            Some(record) => ControlMarker::parse(&record?).map(Some),
        }
    }
}

/// Goes over batches that lie one after the other, as in a log segment, a produce request or a fetch response.
///
/// The last one may be cut short, which ends the iteration without an error; [`BatchIter::rest`] tells how much was left. After an error it ends too.
#[derive(Debug, Clone)]
pub struct BatchIter {
    rest: Bytes,
    failed: bool,
}

impl BatchIter {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> BatchIter {
        BatchIter { rest: bytes, failed: false }
    }

    /// What has not been handed out: after the end, the partial batch or nothing.
    #[must_use]
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for BatchIter {
    type Item = Result<RecordBatch, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let size = match peek_size(&self.rest) {
            Ok(Some(size)) if size <= self.rest.len() => size,
            Ok(_) => return None,
            Err(error) => {
                self.failed = true;
                return Some(Err(error));
            }
        };
        // The length field has had its say; a header that does not fit into it is damage and no cut.
        let bytes = self.rest.slice(..size);
        match BatchHeader::parse(&bytes) {
            Ok(header) => {
                self.rest = self.rest.slice(size..);
                Some(Ok(RecordBatch { header, bytes }))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(match error {
                    RecordsError::Truncated { .. } => {
                        RecordsError::Corrupt("the batch length is smaller than a batch header")
                    }
                    other => other,
                }))
            }
        }
    }
}

/// The records of one batch, read one by one. Iterating gives owned [`Record`]s, which are slices of the batch; [`Records::next_ref`] borrows instead.
#[derive(Debug, Clone)]
pub struct Records {
    header: BatchHeader,
    data: Bytes,
    cursor: Cursor,
}

/// Where in the unpacked records the next one begins, and what it must obey.
#[derive(Debug, Clone)]
struct Cursor {
    position: usize,
    left: i32,
    last_delta: i32,
    failed: bool,
}

impl Records {
    fn new(header: BatchHeader, data: Bytes) -> Records {
        let cursor = Cursor { position: 0, left: header.records_count, last_delta: -1, failed: false };
        Records { header, data, cursor }
    }

    /// The header of the batch they come from.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Size of the unpacked records in bytes.
    #[must_use]
    pub fn unpacked_len(&self) -> usize {
        self.data.len()
    }

    /// The next record without a reference count touched.
    pub fn next_ref(&mut self) -> Option<Result<RecordRef<'_>, RecordsError>> {
        self.cursor.next(&self.header, &self.data)
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let data = &self.data;
        let record = self.cursor.next(&self.header, data)?;
        Some(record.map(|record| Record {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(|key| data.slice_ref(key)),
            value: record.value.map(|value| data.slice_ref(value)),
            headers: record.headers.to_owned(data),
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.cursor.left as usize + 1))
    }
}

impl Cursor {
    fn next<'a>(&mut self, header: &BatchHeader, data: &'a [u8]) -> Option<Result<RecordRef<'a>, RecordsError>> {
        if self.failed {
            return None;
        }
        let mut rest = &data[self.position..];
        if self.left == 0 {
            if !rest.is_empty() {
                self.failed = true;
                return Some(Err(RecordsError::Corrupt("bytes follow the last record of a batch")));
            }
            return None;
        }
        match RecordRef::parse(&mut rest, header, self.last_delta) {
            Ok(record) => {
                self.position = data.len() - rest.len();
                self.left -= 1;
                self.last_delta = (record.offset.0 - header.base_offset.0) as i32;
                Some(Ok(record))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

/// One record, borrowed from the unpacked batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Its place in the log.
    pub offset: Offset,
    /// Milliseconds since 1970; [`super::NO_TIMESTAMP`] where the producer knew none.
    pub timestamp: i64,
    /// Absent and empty are different things.
    pub key: Option<&'a [u8]>,
    /// Absent means deleted where a topic is compacted.
    pub value: Option<&'a [u8]>,
    /// Its headers, already checked.
    pub headers: HeadersRef<'a>,
}

impl<'a> RecordRef<'a> {
    fn parse(rest: &mut &'a [u8], batch: &BatchHeader, last_delta: i32) -> Result<RecordRef<'a>, RecordsError> {
        let length = varint::read_i32(rest)?;
        let mut body = take(rest, length, "a record")?;
        // The attributes of a record are reserved and ignored.
        take(&mut body, 1, "record attributes")?;
        let timestamp_delta = varint::read_i64(&mut body)?;
        let offset_delta = varint::read_i32(&mut body)?;
        if offset_delta <= last_delta || offset_delta > batch.last_offset_delta {
            return Err(RecordsError::Corrupt("record offsets do not rise within the batch's range"));
        }
        let key = take_nullable(&mut body, "a record key")?;
        let value = take_nullable(&mut body, "a record value")?;
        let headers = HeadersRef::parse(body)?;
        let timestamp = match batch.timestamp_type() {
            TimestampType::CreateTime => batch.base_timestamp.wrapping_add(timestamp_delta),
            TimestampType::LogAppendTime => batch.max_timestamp,
        };
        Ok(RecordRef { offset: batch.base_offset.plus(i64::from(offset_delta)), timestamp, key, value, headers })
    }
}

fn take<'a>(rest: &mut &'a [u8], length: i32, what: &'static str) -> Result<&'a [u8], RecordsError> {
    let Ok(length) = usize::try_from(length) else {
        return Err(RecordsError::Corrupt("a length inside a record is negative"));
    };
    match rest.split_at_checked(length) {
        Some((taken, after)) => {
            *rest = after;
            Ok(taken)
        }
        None => Err(RecordsError::Truncated { what, needed: length, available: rest.len() }),
    }
}

fn take_nullable<'a>(rest: &mut &'a [u8], what: &'static str) -> Result<Option<&'a [u8]>, RecordsError> {
    match varint::read_i32(rest)? {
        // Kafka reads every negative length as "absent".
        ..0 => Ok(None),
        length => take(rest, length, what).map(Some),
    }
}

/// Headers of a borrowed record, still encoded but known to be well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadersRef<'a> {
    count: usize,
    /// The headers without their count.
    encoded: &'a [u8],
}

impl<'a> HeadersRef<'a> {
    /// No headers.
    pub const EMPTY: HeadersRef<'static> = HeadersRef { count: 0, encoded: &[] };

    fn parse(mut body: &'a [u8]) -> Result<HeadersRef<'a>, RecordsError> {
        let count = varint::read_i32(&mut body)?;
        let encoded = body;
        let count = match usize::try_from(count) {
            Ok(count) if count <= encoded.len() / MIN_HEADER_LEN => count,
            _ => return Err(RecordsError::Corrupt("the header count does not fit the record")),
        };
        for _ in 0..count {
            let key_len = varint::read_i32(&mut body)?;
            take(&mut body, key_len, "a header key")?;
            take_nullable(&mut body, "a header value")?;
        }
        if !body.is_empty() {
            return Err(RecordsError::Corrupt("bytes follow the headers of a record"));
        }
        Ok(HeadersRef { count, encoded })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Key and value of each, in the producer's order; keys may repeat.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.encoded;
        (0..self.count).map_while(move |_| {
            let key_len = varint::read_i32(&mut rest).ok()?;
            let key = take(&mut rest, key_len, "a header key").ok()?;
            let value = take_nullable(&mut rest, "a header value").ok()?;
            Some((key, value))
        })
    }

    /// The encoded form without the count, for a builder that copies it.
    pub(super) fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    fn to_owned(self, data: &Bytes) -> Headers {
        if self.count == 0 {
            return Headers::default();
        }
        Headers { count: self.count, encoded: data.slice_ref(self.encoded) }
    }
}

/// One record: slices of the unpacked batch, which lives as long as any of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Its place in the log.
    pub offset: Offset,
    /// Milliseconds since 1970; [`super::NO_TIMESTAMP`] where the producer knew none.
    pub timestamp: i64,
    /// Absent and empty are different things.
    pub key: Option<Bytes>,
    /// Absent means deleted where a topic is compacted.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Headers,
}

/// Headers of a [`Record`], decoded when looked at.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers {
    count: usize,
    encoded: Bytes,
}

impl Headers {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each header as slices of the batch, in the producer's order; keys may repeat.
    pub fn iter(&self) -> impl Iterator<Item = Header> + '_ {
        self.as_ref().iter().map(|(key, value)| Header {
            key: self.encoded.slice_ref(key),
            value: value.map(|value| self.encoded.slice_ref(value)),
        })
    }

    /// The last value under `key`, which is the one Kafka's `lastHeader` gives.
    #[must_use]
    pub fn last(&self, key: &str) -> Option<Header> {
        self.iter().filter(|header| header.key == key.as_bytes()).last()
    }

    /// Borrows them, as [`super::BatchBuilder`] takes them.
    #[must_use]
    pub fn as_ref(&self) -> HeadersRef<'_> {
        HeadersRef { count: self.count, encoded: &self.encoded }
    }

    /// Encodes headers for [`super::BatchBuilder`].
    ///
    /// # Errors
    /// [`RecordsError::Oversized`] when a key or value is longer than 2^31-1 bytes.
    pub fn encode<'a>(
        headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<Headers, RecordsError> {
        let mut encoded = Vec::new();
        let mut count = 0;
        for (key, value) in headers {
            super::builder::write_nullable(&mut encoded, Some(key))?;
            super::builder::write_nullable(&mut encoded, value)?;
            count += 1;
        }
        Ok(Headers { count, encoded: Bytes::from(encoded) })
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// One header of a record (KIP-82).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// UTF-8 by convention; nothing enforces it.
    pub key: Bytes,
    /// Absent and empty are different things.
    pub value: Option<Bytes>,
}

/// What the single record of a control batch says (Kafka `ControlRecordType`, `EndTransactionMarker`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlMarker {
    /// The producer's open transaction is void.
    Abort {
        /// Epoch of the transaction coordinator that wrote it.
        coordinator_epoch: i32,
    },
    /// The producer's open transaction stands.
    Commit {
        /// Epoch of the transaction coordinator that wrote it.
        coordinator_epoch: i32,
    },
    /// A marker of KRaft or of a later version, which readers of partitions skip.
    Other {
        /// Its type number.
        kind: i16,
    },
}

impl ControlMarker {
    /// Reads a control record.
    ///
    /// # Errors
    /// [`RecordsError::Corrupt`] when key or value are too short for their version.
    pub fn parse(record: &RecordRef<'_>) -> Result<ControlMarker, RecordsError> {
        let Some([version @ .., kind_high, kind_low]) = record.key.and_then(|key| key.first_chunk::<4>()) else {
            return Err(RecordsError::Corrupt("the key of a control record is too short"));
        };
        if i16::from_be_bytes(*version) < 0 {
            return Err(RecordsError::Corrupt("the version of a control record is negative"));
        }
        let kind = i16::from_be_bytes([*kind_high, *kind_low]);
        if !matches!(kind, 0 | 1) {
            return Ok(ControlMarker::Other { kind });
        }
        let Some(value) = record.value.and_then(|value| value.first_chunk::<6>()) else {
            return Err(RecordsError::Corrupt("the value of a transaction marker is too short"));
        };
        let coordinator_epoch = i32::from_be_bytes(at(value, 2));
        Ok(if kind == 0 {
            ControlMarker::Abort { coordinator_epoch }
        } else {
            ControlMarker::Commit { coordinator_epoch }
        })
    }

    /// Key and value of the record, version 0.
    #[must_use]
    pub fn encode(self) -> ([u8; 4], [u8; 6]) {
        let (kind, epoch) = match self {
            ControlMarker::Abort { coordinator_epoch } => (0i16, coordinator_epoch),
            ControlMarker::Commit { coordinator_epoch } => (1, coordinator_epoch),
            ControlMarker::Other { kind } => (kind, 0),
        };
        let mut key = [0; 4];
        key[2..].copy_from_slice(&kind.to_be_bytes());
        let mut value = [0; 6];
        value[2..].copy_from_slice(&epoch.to_be_bytes());
        (key, value)
    }
}

#[cfg(test)]
mod tests;
