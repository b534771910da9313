//! Readers that do not understand what is stored: batches v2 become message sets, and whoever does not know zstd is told so.
//!
//! It reads from the disk and rewrites every record: never on the threads that serve everybody.

use std::io;

use bytes::Bytes;
use protocol::error::ErrorCode;
use protocol::records::batch::{HEADER_LEN, LOG_OVERHEAD, MAGIC_V2};
use protocol::records::message_set::down_convert;
use protocol::records::{BatchHeader, Codec, MAX_DECOMPRESSED_BYTES};
use protocol::types::Offset;
use protocol::wire::Records;

use super::{Answered, BATCHES_V2_FROM, refused};
use crate::fetch_sessions::Wanted;
use crate::network::FileSlice;

/// First version that understands messages v1.
const MESSAGES_V1_FROM: i16 = 2;

/// Puts what a reader of this version understands in place of the slice, or an error. The slice stays where it is understood as it is.
pub(super) fn rewrite(partition: &mut Answered, version: i16) {
    let Some(slice) = &partition.slice else { return };
    match for_reader(slice, &partition.wanted, version) {
        Ok(None) => {}
        Ok(Some(converted)) => {
            partition.data.records = Records::Bytes(converted);
            partition.slice = None;
        }
        Err(code) => {
            partition.data = refused(&partition.wanted, code);
            partition.slice = None;
        }
    }
}

fn for_reader(slice: &FileSlice, wanted: &Wanted, version: i16) -> Result<Option<Bytes>, ErrorCode> {
    let unreadable = |error: io::Error| {
        tracing::error!(topic = %wanted.topic.name, partition = wanted.partition, %error, "read failed");
        ErrorCode::KAFKA_STORAGE_ERROR
    };
    if version >= BATCHES_V2_FROM {
        return match holds_zstd(slice).map_err(unreadable)? {
            true => Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
            false => Ok(None),
        };
    }
    let mut stored = vec![0; usize::try_from(slice.length).unwrap_or_default()];
    slice.file.read_exact_at(&mut stored, slice.position).map_err(unreadable)?;
    let magic = if version >= MESSAGES_V1_FROM { 1 } else { 0 };
    let converted = down_convert(stored.into(), magic, Offset(wanted.fetch_offset), MAX_DECOMPRESSED_BYTES);
    converted.map(|converted| Some(Bytes::from(converted))).map_err(|error| {
        let topic = &wanted.topic.name;
        tracing::warn!(%topic, partition = wanted.partition, %error, "cannot convert records for an old consumer");
        error.error_code()
    })
}

/// Walks over the headers of a slice; the records stay where they are.
fn holds_zstd(slice: &FileSlice) -> io::Result<bool> {
    let end = slice.position + slice.length;
    let mut at = slice.position;
    let mut head = [0u8; HEADER_LEN];
    while at + LOG_OVERHEAD as u64 <= end {
        let read = slice.file.read_at(&mut head, at)?;
        let Some(size) = head.get(8..12).filter(|_| read >= LOG_OVERHEAD).and_then(|size| size.try_into().ok()) else {
            break;
        };
        let size = u64::from(u32::from_be_bytes(size));
        if read == HEADER_LEN
            && head[16] == MAGIC_V2.cast_unsigned()
            && BatchHeader::parse(&head).is_ok_and(|header| header.codec() == Codec::Zstd)
        {
            return Ok(true);
        }
        at += LOG_OVERHEAD as u64 + size;
    }
    Ok(false)
}
