//! Which records of a batch stay (Kafka `Cleaner.cleanInto`, `MemoryRecords.filterTo`): bytes in, bytes out, no I/O and no clock.
//!
//! Always true: offsets, timestamps and codec of what stays are as they were, and so is the range of offsets of a batch that stays. Messages
//! v0 and v1 stay as they are or go; what must be changed of them is written as a batch v2.

use std::collections::HashMap;

use bytes::Bytes;
use protocol::records::batch::{self, ControlMarker, RecordBatch, RecordRef};
use protocol::records::message_set::Message;
use protocol::records::{
    BatchBuilder, BatchHeader, BatchOptions, Codec, MAX_DECOMPRESSED_BYTES, RecordsError, TimestampType,
};
use protocol::types::Offset;

use crate::cleaner::offset_map::OffsetMap;
use crate::cleaner::transactions::Transactions;
use crate::entry::Entry;
use crate::legacy;

/// What a producer's state rests on, so that it must stay though its records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastOfProducer {
    /// The batch that ends at this offset holds its last sequence number.
    Batch(i64),
    /// It wrote no batch of this epoch, so the marker tells the epoch.
    Marker(i16),
}

/// What decides over records in one pass.
#[derive(Debug)]
pub struct Rules<'a> {
    /// Last offset of each key.
    pub map: &'a OffsetMap,
    /// Time of the pass, in ms.
    pub now_ms: i64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// The producers that are known now.
    pub producers: &'a HashMap<i64, LastOfProducer>,
    /// First offset that the pass does not look at. The batch before it stays, so that the log's last offset can be seen.
    pub end: i64,
}

/// What becomes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filtered {
    /// It stays as it is.
    Unchanged,
    /// These bytes take its place.
    Changed(Vec<u8>),
    /// Nothing is left of it.
    Gone,
}

/// What became of an entry, and how many records it had and has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The entry.
    pub filtered: Filtered,
    /// Records before.
    pub read: u64,
    /// Records that stay.
    pub kept: u64,
}

/// What becomes of an entry, whose bytes were checked against their CRC.
///
/// # Errors
/// The records cannot be read.
pub fn filter(
    entry: &Entry,
    bytes: Bytes,
    rules: &Rules<'_>,
    transactions: &mut Transactions,
) -> Result<Outcome, RecordsError> {
    match entry.batch {
        Some(header) => filter_batch(&RecordBatch { header, bytes }, rules, transactions),
        None => filter_messages(entry, bytes, rules),
    }
}

fn filter_batch(
    batch: &RecordBatch,
    rules: &Rules<'_>,
    transactions: &mut Transactions,
) -> Result<Outcome, RecordsError> {
    let header = &batch.header;
    let horizon = header.delete_horizon_ms();
    // Markers of other kinds than transactions' are not ours to drop.
    let marker_is_spent = header.is_control()
        && matches!(batch.control_marker()?, Some(ControlMarker::Abort { .. } | ControlMarker::Commit { .. }) | None)
        && transactions.meet(header);
    let discards = match header.is_control() {
        true => marker_is_spent && horizon.is_some_and(|horizon| horizon <= rules.now_ms),
        false => {
            transactions.meet(header);
            transactions.is_aborted(header)
        }
    };
    let mut records = batch.records(MAX_DECOMPRESSED_BYTES)?;
    let again = records.clone();
    let mut keeps = Vec::with_capacity(usize::try_from(header.records_count).unwrap_or_default());
    let mut keeps_tombstone = false;
    while let Some(record) = records.next_ref() {
        let record = record?;
        let keep = !discards && (header.is_control() || rules.keeps(&record, horizon));
        keeps_tombstone |= keep && !header.is_control() && record.value.is_none();
        keeps.push(keep);
    }
    let kept = keeps.iter().filter(|keep| **keep).count();
    let sets_horizon = (keeps_tombstone || marker_is_spent) && horizon.is_none();
    let filtered = if kept == 0 {
        // An empty batch that stays was rewritten before.
        match rules.keeps_empty(header) {
            true if keeps.is_empty() => Filtered::Unchanged,
            true => Filtered::Changed(empty(header)?),
            false => Filtered::Gone,
        }
    } else if kept == keeps.len() && !sets_horizon {
        Filtered::Unchanged
    } else {
        let horizon = if sets_horizon { Some(rules.horizon()) } else { horizon };
        Filtered::Changed(rewrite(header, again, &keeps, horizon, batch.bytes.len())?)
    };
    Ok(Outcome { filtered, read: keeps.len() as u64, kept: kept as u64 })
}

fn rewrite(
    header: &BatchHeader,
    mut records: batch::Records,
    keeps: &[bool],
    delete_horizon_ms: Option<i64>,
    capacity: usize,
) -> Result<Vec<u8>, RecordsError> {
    let options = BatchOptions { delete_horizon_ms, ..BatchOptions::like(header) };
    let mut builder = BatchBuilder::with_capacity(options, capacity);
    for keep in keeps {
        let Some(record) = records.next_ref() else { break };
        if *keep {
            builder.append_record(&record?)?;
        }
    }
    builder.set_last_offset_delta(header.last_offset_delta);
    builder.build_vec()
}

/// The header of a batch without its records: range of offsets, producer, sequence and timestamp stay.
fn empty(header: &BatchHeader) -> Result<Vec<u8>, RecordsError> {
    let options = BatchOptions { delete_horizon_ms: None, ..BatchOptions::like(header) };
    let mut builder = BatchBuilder::new(options);
    builder.set_last_offset_delta(header.last_offset_delta);
    let mut bytes = builder.build_vec()?;
    batch::set_max_timestamp(&mut bytes, header.timestamp_type(), header.max_timestamp);
    Ok(bytes)
}

fn filter_messages(entry: &Entry, bytes: Bytes, rules: &Rules<'_>) -> Result<Outcome, RecordsError> {
    // The attributes follow the magic byte in both old formats.
    let codec = Codec::from_attributes(bytes.get(batch::MAGIC_AT + 1).copied().map_or(0, i16::from))?;
    let messages = legacy::messages(bytes)?;
    let read = messages.len() as u64;
    let first_offset = messages.first().map_or(entry.last_offset, |message| message.offset.0);
    let kept: Vec<&Message> = messages.iter().filter(|message| rules.keeps(&message.as_record(), None)).collect();
    let kept_count = kept.len() as u64;
    let keeps_tombstone =
        kept.iter().any(|message| message.value.is_none() && message.offset.0 <= rules.map.latest_offset());
    let filtered = if kept.is_empty() {
        Filtered::Gone
    } else if kept_count == read && !keeps_tombstone {
        Filtered::Unchanged
    } else {
        let log_append_time =
            (messages[0].timestamp_type == TimestampType::LogAppendTime).then_some(messages[0].timestamp);
        let mut builder = BatchBuilder::new(BatchOptions {
            codec,
            base_offset: Offset(first_offset),
            log_append_time,
            delete_horizon_ms: keeps_tombstone.then(|| rules.horizon()),
            ..BatchOptions::default()
        });
        for message in kept {
            builder.append_record(&message.as_record())?;
        }
        let range = entry.last_offset.saturating_sub(first_offset);
        builder.set_last_offset_delta(i32::try_from(range).map_err(|_| RecordsError::Oversized("the offset range"))?);
        Filtered::Changed(builder.build_vec()?)
    };
    Ok(Outcome { filtered, read, kept: kept_count })
}

impl Rules<'_> {
    /// Whether a record stays: one that the map does not reach, or the last of its key, a tombstone until its horizon.
    fn keeps(&self, record: &RecordRef<'_>, horizon: Option<i64>) -> bool {
        if record.offset.0 > self.map.latest_offset() {
            return true;
        }
        // Nobody could ask for a record without a key, nor ever replace it.
        let Some(key) = record.key else { return false };
        let is_latest = self.map.get(key).is_none_or(|latest| record.offset.0 >= latest);
        is_latest && (record.value.is_some() || horizon.is_none_or(|horizon| self.now_ms < horizon))
    }

    /// Whether a batch stays when all its records go.
    fn keeps_empty(&self, header: &BatchHeader) -> bool {
        let is_last_of_producer = match self.producers.get(&header.producer_id) {
            Some(LastOfProducer::Batch(last_offset)) => header.last_offset().0 == *last_offset,
            Some(LastOfProducer::Marker(epoch)) => header.is_control() && header.producer_epoch == *epoch,
            None => false,
        };
        (header.has_producer_id() && is_last_of_producer) || header.next_offset().0 == self.end
    }

    fn horizon(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms)
    }
}

#[cfg(test)]
mod tests;
