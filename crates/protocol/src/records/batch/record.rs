//! Single records of a batch v2, borrowed from its unpacked bytes or sharing them, and their headers.

use std::fmt;

use bytes::Bytes;

use super::super::{RecordsError, builder, varint};
use super::header::{BatchHeader, TimestampType};
use crate::types::Offset;

/// Smallest header of a record: an empty key and an absent value.
const MIN_HEADER_LEN: usize = 2;

/// One record, borrowed from the unpacked batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Its place in the log.
    pub offset: Offset,
    /// Milliseconds since 1970; [`crate::records::NO_TIMESTAMP`] where the producer knew none.
    pub timestamp: i64,
    /// Absent and empty are different things.
    pub key: Option<&'a [u8]>,
    /// Absent means deleted where a topic is compacted.
    pub value: Option<&'a [u8]>,
    /// Its headers, already checked.
    pub headers: HeadersRef<'a>,
}

impl<'a> RecordRef<'a> {
    pub(super) fn parse(
        rest: &mut &'a [u8],
        batch: &BatchHeader,
        last_delta: i32,
    ) -> Result<RecordRef<'a>, RecordsError> {
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
    pub(in crate::records) fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    pub(super) fn to_owned(self, data: &Bytes) -> Headers {
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
    /// Milliseconds since 1970; [`crate::records::NO_TIMESTAMP`] where the producer knew none.
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
            builder::write_nullable(&mut encoded, Some(key))?;
            builder::write_nullable(&mut encoded, value)?;
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
