//! Writes record batches v2: for producers, for the cleaner, which leaves gaps between offsets, and for conversion from older formats.
//!
//! Records are collected uncompressed and packed once, in [`BatchBuilder::build`]. Offsets inside a batch always rise.

use bytes::Bytes;

use super::batch::{
    self, BatchHeader, ControlMarker, HEADER_LEN, HeadersRef, LOG_OVERHEAD, MAGIC_V2, RecordRef, TimestampType,
};
use super::compression::{self, Codec};
use super::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, RecordsError, varint};
use crate::types::{LeaderEpoch, Offset};

/// Everything about a batch except its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchOptions {
    /// Compression of the records.
    pub codec: Codec,
    /// Level on the codec's own scale; `None` is Kafka's default.
    pub level: Option<i32>,
    /// Offset of a record with delta 0; producers leave it 0 for the log to stamp.
    pub base_offset: Offset,
    /// Epoch of the leader, if it is known already.
    pub partition_leader_epoch: LeaderEpoch,
    /// With `Some(now_ms)` the batch is one of LogAppendTime.
    pub log_append_time: Option<i64>,
    /// Idempotent producer's id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Sequence number of the first record.
    pub base_sequence: i32,
    /// Part of a transaction.
    pub is_transactional: bool,
    /// Markers instead of records.
    pub is_control: bool,
    /// Time from which tombstones in it may go (KIP-534); set by the cleaner.
    pub delete_horizon_ms: Option<i64>,
}

impl Default for BatchOptions {
    fn default() -> BatchOptions {
        BatchOptions {
            codec: Codec::None,
            level: None,
            base_offset: Offset::ZERO,
            partition_leader_epoch: LeaderEpoch::NONE,
            log_append_time: None,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            is_transactional: false,
            is_control: false,
            delete_horizon_ms: None,
        }
    }
}

impl BatchOptions {
    /// The options another batch was written with, for rewriting it with some of its records.
    #[must_use]
    pub fn like(header: &BatchHeader) -> BatchOptions {
        BatchOptions {
            codec: header.codec(),
            level: None,
            base_offset: header.base_offset,
            partition_leader_epoch: header.partition_leader_epoch,
            log_append_time: (header.timestamp_type() == TimestampType::LogAppendTime).then_some(header.max_timestamp),
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            is_transactional: header.is_transactional(),
            is_control: header.is_control(),
            delete_horizon_ms: header.delete_horizon_ms(),
        }
    }
}

/// Collects the records of one batch.
///
/// ```
/// use tidemill_protocol::records::{BatchBuilder, BatchOptions};
/// let mut batch = BatchBuilder::new(BatchOptions::default());
/// batch.append(1_700_000_000_000, None, Some(b"hello hadoop"), None)?;
/// let bytes = batch.build()?;
/// # Ok::<(), tidemill_protocol::records::RecordsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// Room for the header, then the encoded records: what `build` returns when nothing is compressed.
    buffer: Vec<u8>,
    count: i32,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    last_delta: i32,
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new(options: BatchOptions) -> BatchBuilder {
        BatchBuilder::with_capacity(options, 0)
    }

    /// An empty batch with room for `capacity` bytes in all.
    #[must_use]
    pub fn with_capacity(options: BatchOptions, capacity: usize) -> BatchBuilder {
        let mut buffer = Vec::with_capacity(capacity.max(HEADER_LEN));
        buffer.resize(HEADER_LEN, 0);
        let base_timestamp = options.delete_horizon_ms;
        BatchBuilder { options, buffer, count: 0, base_timestamp, max_timestamp: NO_TIMESTAMP, last_delta: -1 }
    }

    /// Adds a record at the next offset and returns its offset delta. `headers` come from [`super::Headers`] or another record.
    ///
    /// # Errors
    /// [`RecordsError::Oversized`] when the batch would grow beyond what the format can say; the batch is as it was then.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Option<HeadersRef<'_>>,
    ) -> Result<i32, RecordsError> {
        let delta = self.last_delta.checked_add(1).ok_or(RecordsError::Oversized("the offset range"))?;
        self.append_at(delta, timestamp, key, value, headers)?;
        Ok(delta)
    }

    /// Adds a record `offset_delta` after the base offset, which must lie beyond the last one's.
    ///
    /// # Errors
    /// [`RecordsError::Corrupt`] when it does not; [`RecordsError::Oversized`] as [`BatchBuilder::append`].
    pub fn append_at(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Option<HeadersRef<'_>>,
    ) -> Result<(), RecordsError> {
        if offset_delta <= self.last_delta {
            return Err(RecordsError::Corrupt("record offsets do not rise within the batch's range"));
        }
        let headers = headers.unwrap_or(HeadersRef::EMPTY);
        let base_timestamp = self.base_timestamp.unwrap_or(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(base_timestamp);
        let body = body_len(offset_delta, timestamp_delta, key, value, headers);
        let after = self.buffer.len() + varint::len_i64(body as i64) + body;
        if after - LOG_OVERHEAD > i32::MAX as usize {
            return Err(RecordsError::Oversized("the record batch"));
        }
        let out = &mut self.buffer;
        out.reserve(after - out.len());
        varint::write_i64(out, body as i64);
        out.push(0);
        varint::write_i64(out, timestamp_delta);
        varint::write_i32(out, offset_delta);
        write_nullable(out, key)?;
        write_nullable(out, value)?;
        varint::write_i64(out, headers.len() as i64);
        out.extend_from_slice(headers.encoded());
        debug_assert_eq!(out.len(), after, "a record's size was computed wrongly");
        self.base_timestamp = Some(base_timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_delta = offset_delta;
        self.count += 1;
        Ok(())
    }

    /// Adds a record of another batch at its own offset.
    ///
    /// # Errors
    /// As [`BatchBuilder::append_at`], also when the offset lies before this batch's base or 2^31 beyond it.
    pub fn append_record(&mut self, record: &RecordRef<'_>) -> Result<(), RecordsError> {
        let delta = record.offset.0.checked_sub(self.options.base_offset.0).and_then(|delta| i32::try_from(delta).ok());
        let delta = delta.ok_or(RecordsError::Oversized("the offset range"))?;
        self.append_at(delta, record.timestamp, record.key, record.value, Some(record.headers))
    }

    /// Adds the one record of a control batch; the options should say `is_control`.
    ///
    /// # Errors
    /// As [`BatchBuilder::append`].
    pub fn append_marker(&mut self, timestamp: i64, marker: ControlMarker) -> Result<i32, RecordsError> {
        let (key, value) = marker.encode();
        self.append(timestamp, Some(&key), Some(&value), None)
    }

    /// Records so far.
    #[must_use]
    pub fn count(&self) -> i32 {
        self.count
    }

    /// No record yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Size in bytes the batch would have uncompressed: an upper bound for any sensible codec.
    #[must_use]
    pub fn uncompressed_size(&self) -> usize {
        self.buffer.len()
    }

    /// Most bytes that one more record can add, without knowing its neighbours (Kafka `DefaultRecord.recordSizeUpperBound`).
    #[must_use]
    pub fn record_size_upper_bound(key: Option<&[u8]>, value: Option<&[u8]>, headers: Option<HeadersRef<'_>>) -> usize {
        let headers = headers.unwrap_or(HeadersRef::EMPTY);
        5 + body_len(i32::MAX, i64::MAX, key, value, headers)
    }

    /// Ends the offset range at `last_offset_delta`, also when the records there are gone: compaction keeps a batch's range.
    pub fn set_last_offset_delta(&mut self, last_offset_delta: i32) {
        self.last_delta = self.last_delta.max(last_offset_delta);
    }

    /// Sets producer and sequence, which an idempotent producer knows only when it drains the batch.
    pub fn set_producer_state(&mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) {
        self.options.producer_id = producer_id;
        self.options.producer_epoch = producer_epoch;
        self.options.base_sequence = base_sequence;
    }

    /// Packs the records and writes the header. A batch without records is what the cleaner leaves of a producer's last batch.
    ///
    /// # Errors
    /// [`RecordsError::Oversized`] when compression made the batch larger than the format can say.
    pub fn build(self) -> Result<Bytes, RecordsError> {
        self.build_vec().map(Bytes::from)
    }

    /// As [`BatchBuilder::build`], but the bytes can still be changed.
    ///
    /// # Errors
    /// As [`BatchBuilder::build`].
    pub fn build_vec(self) -> Result<Vec<u8>, RecordsError> {
        let options = &self.options;
        // An empty batch holds nothing to unpack, so it must not claim a codec whose frame is missing.
        let codec = if self.count == 0 { Codec::None } else { options.codec };
        let timestamp_type = match options.log_append_time {
            None => TimestampType::CreateTime,
            Some(_) => TimestampType::LogAppendTime,
        };
        let header = BatchHeader {
            base_offset: options.base_offset,
            batch_length: 0,
            partition_leader_epoch: options.partition_leader_epoch,
            crc: 0,
            attributes: batch::attributes(
                codec,
                timestamp_type,
                options.is_transactional,
                options.is_control,
                options.delete_horizon_ms.is_some(),
            ),
            last_offset_delta: self.last_delta.max(0),
            base_timestamp: self.base_timestamp.unwrap_or(NO_TIMESTAMP),
            max_timestamp: options.log_append_time.unwrap_or(self.max_timestamp),
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            records_count: self.count,
        };
        let mut bytes = match codec {
            Codec::None => self.buffer,
            _ => {
                let records = &self.buffer[HEADER_LEN..];
                let mut packed = Vec::with_capacity(HEADER_LEN + records.len() / 2);
                packed.resize(HEADER_LEN, 0);
                compression::compress(codec, MAGIC_V2, options.level, records, &mut packed)?;
                packed
            }
        };
        if bytes.len() - LOG_OVERHEAD > i32::MAX as usize {
            return Err(RecordsError::Oversized("the record batch"));
        }
        batch::write_header(&mut bytes, &header);
        Ok(bytes)
    }
}

fn body_len(
    offset_delta: i32,
    timestamp_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: HeadersRef<'_>,
) -> usize {
    1 + varint::len_i64(timestamp_delta)
        + varint::len_i64(i64::from(offset_delta))
        + nullable_len(key)
        + nullable_len(value)
        + varint::len_i64(headers.len() as i64)
        + headers.encoded().len()
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => 1,
        Some(bytes) => varint::len_i64(bytes.len() as i64) + bytes.len(),
    }
}

pub(super) fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<(), RecordsError> {
    let Some(bytes) = bytes else {
        varint::write_i32(out, -1);
        return Ok(());
    };
    let length = i32::try_from(bytes.len()).map_err(|_| RecordsError::Oversized("a record field"))?;
    varint::write_i32(out, length);
    out.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests;
