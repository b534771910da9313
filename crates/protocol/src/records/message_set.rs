//! Message sets v0 (Kafka 0.8, 0.9) and v1 (0.10), and conversion between them and record batches v2 (Kafka `LegacyRecord`, `AbstractLegacyRecordBatch`,
//! `RecordsUtil`).
//!
//! ```text
//! 0 offset i64   8 size i32   12 CRC-32 u32 over 16..   16 magic i8   17 attributes i8   [18 timestamp i64, v1 only]   key   value
//! ```
//!
//! Key and value are 4-byte lengths and bytes; -1 stands for absent. A compressed set is one *wrapper* message whose value is a packed message set, and
//! which bears the offset of its last inner message. Inner offsets are absolute in v0; in v1 they count from 0 and the wrapper's offset says where that
//! lies. A wrapper inside a wrapper is refused. No log of ours is written in these formats.

use bytes::Bytes;

use super::batch::{self, BatchHeader, HeadersRef, MAGIC_AT, MAGIC_V2, RecordBatch, RecordRef, TimestampType};
use super::builder::{BatchBuilder, BatchOptions};
use super::compression::{self, Codec};
use super::{NO_TIMESTAMP, RecordsError};
use crate::types::Offset;

/// Offset and size in front of each message.
const LOG_OVERHEAD: usize = batch::LOG_OVERHEAD;
const CRC_LEN: usize = 4;
/// Message v0 without key and value: CRC, magic, attributes and two lengths.
const MIN_SIZE_V0: usize = 14;
/// The same with a timestamp.
const MIN_SIZE_V1: usize = 22;
const LOG_APPEND_TIME_BIT: u8 = 0x08;

/// Uncompressed messages are gathered into batches of about this many bytes when an old log is read.
const GATHERED_BATCH_BYTES: usize = 64 * 1024;

/// One message of format v0 or v1, its CRC already verified. With a codec its value is a packed message set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its place in the log; of a wrapper, the place of its last inner message.
    pub offset: Offset,
    /// 0 or 1.
    pub magic: i8,
    /// Compression of the value.
    pub codec: Codec,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// Milliseconds since 1970, or [`NO_TIMESTAMP`] in v0.
    pub timestamp: i64,
    /// Absent and empty are different things.
    pub key: Option<Bytes>,
    /// Absent means deleted where a topic is compacted.
    pub value: Option<Bytes>,
}

impl Message {
    /// Reads the one message that `entry` consists of, from its offset to its end.
    fn parse(entry: &Bytes) -> Result<Message, RecordsError> {
        let corrupt = RecordsError::Corrupt;
        let [offset @ .., _, _, _, _] = entry.first_chunk::<LOG_OVERHEAD>().ok_or(corrupt("a message is cut short"))?;
        let body = &entry[LOG_OVERHEAD..];
        if body.len() < MIN_SIZE_V0 {
            return Err(corrupt("a message is smaller than its fixed part"));
        }
        let magic = body[4] as i8;
        let min_size = match magic {
            0 => MIN_SIZE_V0,
            1 => MIN_SIZE_V1,
            other => return Err(RecordsError::UnsupportedMagic(other)),
        };
        if body.len() < min_size {
            return Err(corrupt("a message is smaller than its fixed part"));
        }
        let (stored, checked) = body.split_at(CRC_LEN);
        let stored = u32::from_be_bytes([stored[0], stored[1], stored[2], stored[3]]);
        let computed = crc_fast::crc32_iso_hdlc(checked);
        if stored != computed {
            return Err(RecordsError::CrcMismatch { stored, computed });
        }
        let attributes = checked[1];
        let codec = Codec::from_attributes(i16::from(attributes))?;
        if codec == Codec::Zstd {
            return Err(RecordsError::NotRepresentable { magic, what: "zstd" });
        }
        let mut rest = &checked[2..];
        let (timestamp, timestamp_type) = match rest.split_first_chunk::<8>() {
            Some((timestamp, after)) if magic == 1 => {
                rest = after;
                let append_time = attributes & LOG_APPEND_TIME_BIT != 0;
                let kind = if append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
                (i64::from_be_bytes(*timestamp), kind)
            }
            _ => (NO_TIMESTAMP, TimestampType::CreateTime),
        };
        let key = take_nullable(&mut rest)?.map(|key| entry.slice_ref(key));
        let value = take_nullable(&mut rest)?.map(|value| entry.slice_ref(value));
        if !rest.is_empty() {
            return Err(corrupt("bytes follow the value of a message"));
        }
        let offset = Offset(i64::from_be_bytes(*offset));
        Ok(Message { offset, magic, codec, timestamp_type, timestamp, key, value })
    }

    /// The messages inside a wrapper, at their offsets in the log. A message without codec gives itself.
    ///
    /// # Errors
    /// Those of unpacking to at most `max_decompressed` bytes, and [`RecordsError::Corrupt`] for an empty or cut set, another format inside, or a
    /// wrapper inside the wrapper.
    pub fn expand(self, max_decompressed: usize) -> Result<Vec<Message>, RecordsError> {
        if self.codec == Codec::None {
            return Ok(vec![self]);
        }
        let corrupt = |what| Err(RecordsError::Corrupt(what));
        let Some(packed) = &self.value else { return corrupt("a wrapper message has no value") };
        let set = Bytes::from(compression::decompress(self.codec, self.magic, packed, max_decompressed)?);
        let mut inner = MessageSetIter::new(set);
        let mut messages = inner.by_ref().collect::<Result<Vec<Message>, _>>()?;
        if !inner.rest().is_empty() {
            return corrupt("the last message of a compressed set is cut short");
        }
        let Some(last) = messages.last() else { return corrupt("a compressed message set is empty") };
        let base = if self.magic == 0 { 0 } else { self.offset.0.wrapping_sub(last.offset.0) };
        for message in &mut messages {
            if message.magic != self.magic {
                return corrupt("a compressed message set holds another format than its wrapper");
            }
            if message.codec != Codec::None {
                return corrupt("a compressed message set holds a compressed message set");
            }
            message.offset = Offset(message.offset.0.wrapping_add(base));
            if self.timestamp_type == TimestampType::LogAppendTime {
                message.timestamp_type = TimestampType::LogAppendTime;
                message.timestamp = self.timestamp;
            }
        }
        Ok(messages)
    }

    /// The message as a record of a batch v2 would be.
    #[must_use]
    pub fn as_record(&self) -> RecordRef<'_> {
        RecordRef {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: HeadersRef::EMPTY,
        }
    }

    /// The append time, where the broker that wrote the message set one.
    fn log_append_time(&self) -> Option<i64> {
        (self.timestamp_type == TimestampType::LogAppendTime).then_some(self.timestamp)
    }
}

fn take_nullable<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordsError> {
    let (length, after) = rest.split_first_chunk::<4>().ok_or(RecordsError::Corrupt("a message is cut short"))?;
    let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
        *rest = after;
        return Ok(None);
    };
    match after.split_at_checked(length) {
        Some((taken, after)) => {
            *rest = after;
            Ok(Some(taken))
        }
        None => Err(RecordsError::Corrupt("a key or value is longer than its message")),
    }
}

/// Goes over the messages of a set, wrappers unopened. A last message that is cut short ends it without an error, as brokers cut fetch responses anywhere;
/// the first error ends it too.
#[derive(Debug, Clone)]
pub struct MessageSetIter {
    rest: Bytes,
    failed: bool,
}

impl MessageSetIter {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> MessageSetIter {
        MessageSetIter { rest: bytes, failed: false }
    }

    /// What has not been handed out: after the end, the partial message or nothing.
    #[must_use]
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for MessageSetIter {
    type Item = Result<Message, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = next_entry(&mut self.rest, &mut self.failed)?;
        let message = entry.and_then(|entry| Message::parse(&entry));
        self.failed = message.is_err();
        Some(message)
    }
}

/// Cuts the next whole batch or message off `rest`; the place of their sizes is the same in all formats.
fn next_entry(rest: &mut Bytes, failed: &mut bool) -> Option<Result<Bytes, RecordsError>> {
    if *failed {
        return None;
    }
    match batch::peek_size(rest) {
        Ok(Some(size)) if size <= rest.len() => Some(Ok(rest.split_to(size))),
        Ok(_) => None,
        Err(error) => {
            *failed = true;
            Some(Err(error))
        }
    }
}

/// Goes over batches of any format and hands out batches v2: messages v0 and v1 are converted on the way and keep their offsets and timestamps.
///
/// For readers of old logs and of old brokers. Only one wrapper is unpacked at a time. The CRC of old messages is verified, that of batches v2 is left to the
/// caller, as with [`batch::BatchIter`]; the end is treated as there.
#[derive(Debug, Clone)]
pub struct AnyBatchIter {
    rest: Bytes,
    failed: bool,
    max_decompressed: usize,
}

impl AnyBatchIter {
    /// Starts at the front of `bytes`; a wrapper may unpack to `max_decompressed` bytes.
    #[must_use]
    pub fn new(bytes: Bytes, max_decompressed: usize) -> AnyBatchIter {
        AnyBatchIter { rest: bytes, failed: false, max_decompressed }
    }

    /// What has not been handed out: after the end, the partial batch or nothing.
    #[must_use]
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }

    fn convert(&mut self, entry: Bytes) -> Result<RecordBatch, RecordsError> {
        if batch::peek_magic(&entry) == Some(MAGIC_V2) {
            let header = BatchHeader::parse(&entry)?;
            return Ok(RecordBatch { header, bytes: entry });
        }
        let first = Message::parse(&entry)?;
        let compressed = first.codec != Codec::None;
        let mut messages = first.expand(self.max_decompressed)?;
        if !compressed {
            self.gather_like(&mut messages)?;
        }
        let Some(first) = messages.first() else { return Err(RecordsError::Corrupt("a message set is empty")) };
        if first.offset < Offset::ZERO {
            return Err(RecordsError::Corrupt("a message has a negative offset"));
        }
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: first.offset,
            log_append_time: first.log_append_time(),
            ..BatchOptions::default()
        });
        for message in &messages {
            builder.append_record(&message.as_record())?;
        }
        RecordBatch::parse(&builder.build()?)
    }

    /// Takes the uncompressed messages that follow and can share a batch with the one in `messages`.
    fn gather_like(&mut self, messages: &mut Vec<Message>) -> Result<(), RecordsError> {
        let append_time = messages.first().and_then(Message::log_append_time);
        let base = messages.first().map_or(0, |first| first.offset.0);
        let mut bytes = 0;
        while bytes < GATHERED_BATCH_BYTES {
            let before = self.rest.clone();
            let Some(entry) = next_entry(&mut self.rest, &mut self.failed) else { break };
            // Damage further on is met again, and reported, when its turn comes.
            let next = entry.ok().filter(|entry| matches!(batch::peek_magic(entry), Some(0 | 1)));
            let next = next.and_then(|entry| Message::parse(&entry).ok()).filter(|next| {
                next.codec == Codec::None
                    && next.log_append_time() == append_time
                    && next.offset.0.checked_sub(base).is_some_and(|delta| delta <= i64::from(i32::MAX))
            });
            let Some(next) = next else {
                self.rest = before;
                self.failed = false;
                break;
            };
            bytes += before.len() - self.rest.len();
            messages.push(next);
        }
        Ok(())
    }
}

impl Iterator for AnyBatchIter {
    type Item = Result<RecordBatch, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = next_entry(&mut self.rest, &mut self.failed)?;
        let batch = entry.and_then(|entry| self.convert(entry));
        self.failed = batch.is_err();
        Some(batch)
    }
}

/// Makes one batch v2 of the message set a producer sent (Kafka `LogValidator.convertAndAssignOffsetsNonCompressed`): records in the order of the set with
/// offsets from 0, which the log stamps later, under the codec the set was packed with. A cut last message is left out, and a set without any whole message
/// gives no bytes.
///
/// # Errors
/// [`RecordsError`] of the first message that is damaged, packs itself twice, needs more than `max_decompressed` bytes (counted over the whole set), or
/// claims a LogAppendTime.
pub fn up_convert(set: Bytes, max_decompressed: usize) -> Result<Vec<u8>, RecordsError> {
    let mut codec = Codec::None;
    let mut messages = Vec::new();
    let mut left = max_decompressed;
    for message in MessageSetIter::new(set) {
        let message = message?;
        if message.timestamp_type == TimestampType::LogAppendTime {
            return Err(RecordsError::InvalidTimestamp("Producer should not set timestamp type to LogAppendTime"));
        }
        if message.codec == Codec::None {
            messages.push(message);
            continue;
        }
        codec = message.codec;
        let inner = message.expand(left)?;
        let unpacked: usize = inner.iter().map(size_of_message).sum();
        left = left.saturating_sub(unpacked);
        messages.extend(inner);
    }
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
    for message in &messages {
        builder.append(message.timestamp, message.key.as_deref(), message.value.as_deref(), None)?;
    }
    builder.build_vec()
}

fn size_of_message(message: &Message) -> usize {
    let fixed = if message.magic == 0 { MIN_SIZE_V0 } else { MIN_SIZE_V1 };
    LOG_OVERHEAD + fixed + message.key.as_ref().map_or(0, Bytes::len) + message.value.as_ref().map_or(0, Bytes::len)
}

/// Makes message sets of format `magic` (0 or 1) of the batches in `batches`, for a fetcher that knows nothing newer (Kafka `RecordsUtil.downConvert`).
///
/// Offsets stay. Headers, control batches and a cut last batch are left out; compressed batches stay compressed with their codec and whole, of others only
/// records from `first_offset` on are taken, because old consumers expect that. Batches already in `magic` or older pass as they are.
///
/// # Errors
/// [`RecordsError::NotRepresentable`] for zstd, which Kafka answers with UNSUPPORTED_COMPRESSION_TYPE (76), and what reading the batches gives.
///
/// # Panics
/// When `magic` is neither 0 nor 1.
pub fn down_convert(
    batches: Bytes,
    magic: i8,
    first_offset: Offset,
    max_decompressed: usize,
) -> Result<Vec<u8>, RecordsError> {
    assert!(matches!(magic, 0 | 1), "message sets have magic 0 or 1");
    let mut out = Vec::with_capacity(batches.len());
    let mut rest = batches;
    let mut failed = false;
    while let Some(entry) = next_entry(&mut rest, &mut failed) {
        let entry = entry?;
        match batch::peek_magic(&entry) {
            Some(MAGIC_V2) => {
                let header = BatchHeader::parse(&entry)?;
                down_convert_batch(
                    &RecordBatch { header, bytes: entry },
                    magic,
                    first_offset,
                    max_decompressed,
                    &mut out,
                )?;
            }
            Some(older) if older <= magic => out.extend_from_slice(&entry),
            _ => {
                // A v1 message for a v0 reader takes the way over v2.
                for batch in AnyBatchIter::new(entry, max_decompressed) {
                    down_convert_batch(&batch?, magic, first_offset, max_decompressed, &mut out)?;
                }
            }
        }
    }
    Ok(out)
}

fn down_convert_batch(
    batch: &RecordBatch,
    magic: i8,
    first_offset: Offset,
    max_decompressed: usize,
    out: &mut Vec<u8>,
) -> Result<(), RecordsError> {
    let header = &batch.header;
    if header.is_control() {
        return Ok(());
    }
    let codec = header.codec();
    if codec == Codec::Zstd {
        return Err(RecordsError::NotRepresentable { magic, what: "zstd" });
    }
    let timestamp_type = header.timestamp_type();
    let mut records = batch.records(max_decompressed)?;
    if codec == Codec::None {
        while let Some(record) = records.next_ref() {
            let record = record?;
            if record.offset >= first_offset {
                let body = MessageBody { codec, timestamp_type, timestamp: record.timestamp };
                write_message(out, record.offset, magic, &body, record.key, record.value)?;
            }
        }
        return Ok(());
    }
    let mut inner = Vec::with_capacity(records.unpacked_len());
    let mut ends: Option<(Offset, Offset)> = None;
    let mut max_timestamp = NO_TIMESTAMP;
    while let Some(record) = records.next_ref() {
        let record = record?;
        let first = ends.map_or(record.offset, |(first, _)| first);
        let offset = if magic == 0 { record.offset } else { Offset(record.offset.0 - first.0) };
        let body = MessageBody { codec: Codec::None, timestamp_type, timestamp: record.timestamp };
        write_message(&mut inner, offset, magic, &body, record.key, record.value)?;
        max_timestamp = max_timestamp.max(record.timestamp);
        ends = Some((first, record.offset));
    }
    let Some((_, last)) = ends else { return Ok(()) };
    let mut packed = Vec::new();
    compression::compress(codec, magic, None, &inner, &mut packed)?;
    let body = MessageBody { codec, timestamp_type, timestamp: max_timestamp };
    write_message(out, last, magic, &body, None, Some(&packed))
}

/// What a message says besides offset, key and value.
struct MessageBody {
    codec: Codec,
    timestamp_type: TimestampType,
    timestamp: i64,
}

fn write_message(
    out: &mut Vec<u8>,
    offset: Offset,
    magic: i8,
    body: &MessageBody,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<(), RecordsError> {
    let fixed = if magic == 0 { MIN_SIZE_V0 } else { MIN_SIZE_V1 };
    let size = fixed + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
    let size = i32::try_from(size).map_err(|_| RecordsError::Oversized("a message"))?;
    let mut attributes = body.codec.id();
    if magic == 1 && body.timestamp_type == TimestampType::LogAppendTime {
        attributes |= LOG_APPEND_TIME_BIT;
    }
    out.reserve(LOG_OVERHEAD + size as usize);
    let start = out.len();
    out.extend_from_slice(&offset.0.to_be_bytes());
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&[0; CRC_LEN]);
    out.push(magic as u8);
    out.push(attributes);
    if magic == 1 {
        out.extend_from_slice(&body.timestamp.to_be_bytes());
    }
    for field in [key, value] {
        // Both lengths fit, because the message's size does.
        out.extend_from_slice(&field.map_or(-1, |field| field.len() as i32).to_be_bytes());
        out.extend_from_slice(field.unwrap_or_default());
    }
    let crc = crc_fast::crc32_iso_hdlc(&out[start + MAGIC_AT..]);
    out[start + LOG_OVERHEAD..start + MAGIC_AT].copy_from_slice(&crc.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests;
