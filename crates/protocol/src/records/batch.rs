//! Record batches v2: the unit that producers send, logs store and consumers fetch (Kafka `DefaultRecordBatch`, KIP-98).
//!
//! A [`BatchHeader`] that exists has lengths, counts and deltas that agree with each other and with the bytes it was read from; only the CRC and the
//! records themselves are still to be checked. Base offset and leader epoch lie outside the CRC, so the log stamps both without touching the rest.

mod control;
mod header;
mod record;

use bytes::Bytes;

use super::RecordsError;
use super::compression::{self, Codec};

pub use control::ControlMarker;
pub use header::{
    BatchHeader, HEADER_LEN, LOG_OVERHEAD, MAGIC_AT, MAGIC_V2, TimestampType, increment_sequence, peek_magic,
    peek_size, set_append_time, set_base_offset, set_max_timestamp, set_partition_leader_epoch, set_producer_state,
    verify_crc,
};
pub(super) use header::{attributes, write_header};
pub use record::{Header, Headers, HeadersRef, Record, RecordRef};

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

#[cfg(test)]
mod tests;
