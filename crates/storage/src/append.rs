//! Appends: from checked bytes to the page cache.
//!
//! Batches are stored as they came; only offset, leader epoch and (LogAppendTime) timestamp are patched in place. Everything that can be
//! refused is refused before the first byte is written, so an append is whole or absent. The write is inline: handing it to another thread
//! doubles its cost.

use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use protocol::records::batch::{self, ControlMarker, RecordBatch};
use protocol::records::{BatchHeader, MAX_DECOMPRESSED_BYTES, NO_TIMESTAMP, TimestampType};
use protocol::types::{LeaderEpoch, Offset};

use crate::config::LogConfig;
use crate::entry::{ENTRY_BYTES_MIN, Entry};
use crate::error::AppendError;
use crate::log::{Log, State};
use crate::segment::Added;

/// Who hands over the batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppendOrigin {
    /// A producer: every rule for clients applies.
    #[default]
    Client,
    /// A coordinator of this broker: control batches are allowed and sequences are not checked.
    Coordinator,
}

/// Circumstances of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendOptions {
    /// Wall time in ms.
    pub now_ms: i64,
    /// Who hands over the batches.
    pub origin: AppendOrigin,
}

impl AppendOptions {
    /// An append by a producer at `now_ms`.
    #[must_use]
    pub fn client(now_ms: i64) -> AppendOptions {
        AppendOptions { now_ms, origin: AppendOrigin::Client }
    }
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendInfo {
    /// Offset of the first record.
    pub first_offset: Offset,
    /// Offset of the last record. An ack waits for the offset after it.
    pub last_offset: Offset,
    /// Largest timestamp, -1 where there is none.
    pub max_timestamp: i64,
    /// The broker's time with LogAppendTime, else -1.
    pub log_append_time: i64,
    /// First offset of the log, for the response.
    pub log_start_offset: Offset,
    /// The batches are in the log since an earlier request; nothing was written.
    pub duplicate: bool,
    /// `flush.messages` is reached: the answer should wait until [`AppendInfo::last_offset`] is durable. The sync is under way.
    pub flush_due: bool,
}

impl Log {
    /// Appends batches v2 of a producer, giving them the next offsets and `epoch`. `batches` is patched in place.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was written then.
    pub fn append_as_leader(
        &self,
        batches: &mut [u8],
        epoch: LeaderEpoch,
        options: AppendOptions,
    ) -> Result<AppendInfo, AppendError> {
        self.check_appends()?;
        let config = self.config();
        let mut parsed = self.check_batches(batches, options, &config)?;
        let append_time = match config.message_timestamp_type {
            TimestampType::LogAppendTime => options.now_ms,
            TimestampType::CreateTime => NO_TIMESTAMP,
        };
        if append_time != NO_TIMESTAMP {
            for (header, range) in &mut parsed {
                batch::set_append_time(&mut batches[range.clone()], append_time);
                header.max_timestamp = append_time;
            }
        }

        let mut state = self.lock_state()?;
        let first_offset = self.log_end_offset();
        let mut next = first_offset;
        for (header, range) in &mut parsed {
            header.base_offset = next;
            header.partition_leader_epoch = epoch;
            next = header.next_offset();
            let bytes = &mut batches[range.clone()];
            batch::set_base_offset(bytes, header.base_offset);
            batch::set_partition_leader_epoch(bytes, epoch);
        }
        if options.origin == AppendOrigin::Client
            && let Some(stored) = state.producers.check_from_producer(parsed.iter().map(|(header, _)| header))?
        {
            return Ok(AppendInfo {
                first_offset: Offset(stored.first_offset()),
                last_offset: Offset(stored.last_offset),
                max_timestamp: stored.timestamp,
                log_append_time: if append_time == NO_TIMESTAMP { NO_TIMESTAMP } else { stored.timestamp },
                log_start_offset: self.log_start_offset(),
                duplicate: true,
                flush_due: false,
            });
        }
        let entries: Vec<Entry> = parsed.iter().map(|(header, range)| entry_of(header, range)).collect();
        let info = AppendInfo {
            first_offset,
            last_offset: Offset(next.0 - 1),
            max_timestamp: parsed.iter().map(|(header, _)| header.max_timestamp).max().unwrap_or(NO_TIMESTAMP),
            log_append_time: append_time,
            log_start_offset: self.log_start_offset(),
            duplicate: false,
            flush_due: false,
        };
        let flush_due = self.write(&mut state, batches, &entries, options.now_ms, &config)?;
        Ok(AppendInfo { flush_due, ..info })
    }

    /// Appends what a leader sent to this follower, offsets and epochs as they are: batches v2, or messages v0/v1 that the leader still has.
    /// A batch cut at the end is left out. Offsets may leap (the leader's log may be compacted) but not go back. `None` where no whole batch
    /// was given.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was written then.
    pub fn append_as_follower(&self, batches: &[u8], now_ms: i64) -> Result<Option<AppendInfo>, AppendError> {
        self.check_appends()?;
        let config = self.config();
        let mut entries: Vec<Entry> = Vec::new();
        let mut position = 0;
        while batches.len() - position >= ENTRY_BYTES_MIN {
            let rest = &batches[position..];
            match batch::peek_size(rest) {
                Ok(Some(size)) if size <= rest.len() => {}
                Ok(_) => break,
                Err(error) => return Err(AppendError::CorruptMessage(error.to_string())),
            }
            let entry = Entry::parse(rest, position as u64, rest.len() as u64).map_err(AppendError::CorruptMessage)?;
            check_crc(&rest[..entry.size as usize], &entry)?;
            if entries.last().is_some_and(|last: &Entry| entry.base_offset <= last.last_offset) {
                return Err(AppendError::CorruptMessage(format!("offset {} goes back", entry.base_offset)));
            }
            position += entry.size as usize;
            entries.push(entry);
        }
        let (Some(first), Some(last)) = (entries.first().copied(), entries.last().copied()) else { return Ok(None) };
        let mut state = self.lock_state()?;
        if first.base_offset < self.log_end_offset().0 {
            return Err(AppendError::OffsetsDoNotContinue {
                partition: self.partition().clone(),
                first: Offset(first.base_offset),
                log_end: self.log_end_offset(),
            });
        }
        let info = AppendInfo {
            first_offset: Offset(first.base_offset),
            last_offset: Offset(last.last_offset),
            max_timestamp: entries.iter().map(|entry| entry.max_timestamp).max().unwrap_or(NO_TIMESTAMP),
            log_append_time: NO_TIMESTAMP,
            log_start_offset: self.log_start_offset(),
            duplicate: false,
            flush_due: false,
        };
        let flush_due = self.write(&mut state, &batches[..position], &entries, now_ms, &config)?;
        Ok(Some(AppendInfo { flush_due, ..info }))
    }

    /// Everything that can be said without the lock about batches of a producer.
    fn check_batches(
        &self,
        batches: &[u8],
        options: AppendOptions,
        config: &LogConfig,
    ) -> Result<Vec<(BatchHeader, Range<usize>)>, AppendError> {
        if batches.len() > config.segment_bytes as usize {
            return Err(AppendError::RecordListTooLarge {
                partition: self.partition().clone(),
                size: batches.len(),
                max: config.segment_bytes as usize,
            });
        }
        let mut parsed = Vec::with_capacity(1);
        let mut position = 0;
        while position < batches.len() {
            let header = BatchHeader::parse(&batches[position..])
                .map_err(|error| AppendError::CorruptMessage(error.to_string()))?;
            let size = header.size();
            if size > batches.len() - position {
                return Err(AppendError::CorruptMessage(format!(
                    "the batch header promises {size} bytes, {} were sent",
                    batches.len() - position
                )));
            }
            if size > config.max_message_bytes as usize {
                return Err(AppendError::RecordTooLarge {
                    partition: self.partition().clone(),
                    size,
                    max: config.max_message_bytes as usize,
                });
            }
            let bytes = &batches[position..position + size];
            batch::verify_crc(bytes).map_err(|error| AppendError::CorruptMessage(error.to_string()))?;
            if options.origin == AppendOrigin::Client {
                header.check_from_producer().map_err(|error| AppendError::InvalidRecord(error.to_string()))?;
            }
            if config.message_timestamp_type == TimestampType::CreateTime {
                check_timestamps(&header, bytes, options.now_ms, config)?;
            }
            parsed.push((header, position..position + size));
            position += size;
        }
        if parsed.is_empty() {
            return Err(AppendError::InvalidRecord("the request holds no record batch".to_owned()));
        }
        Ok(parsed)
    }

    /// Writes checked entries that continue the log. Gives whether `flush.messages` is reached.
    fn write(
        &self,
        state: &mut State,
        bytes: &[u8],
        entries: &[Entry],
        now_ms: i64,
        config: &LogConfig,
    ) -> Result<bool, AppendError> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(false) };
        let markers = control_markers(bytes, entries)?;
        let mut added = Added::from(first);
        added.last_offset = last.last_offset;
        for entry in entries {
            if entry.max_timestamp > added.max_timestamp {
                added.max_timestamp = entry.max_timestamp;
                added.offset_of_max_timestamp = entry.last_offset;
            }
        }
        let mut active = self.active();
        if active.should_roll(bytes.len() as u64, &added, now_ms, config)? {
            // Named by the end of the log where that can be: then a segment that ends before the next one begins has lost records.
            let log_end = self.log_end_offset().0;
            let reaches = i32::try_from(last.last_offset.saturating_sub(log_end)).is_ok();
            active = self.roll(state, if reaches { log_end } else { first.base_offset }, now_ms)?;
        }
        if active.offset_too_far(last.last_offset) {
            return Err(AppendError::InvalidRecord("the offsets span more than a segment can say".to_owned()));
        }
        // The epoch is on disk before the first batch that carries it: an epoch without records is harmless, the reverse is not.
        for entry in entries {
            let epoch = LeaderEpoch(entry.leader_epoch());
            if epoch.0 >= 0 && self.latest_epoch() != Some(epoch) {
                self.epochs.write().assign(epoch.0, entry.base_offset);
            }
        }
        self.touch();
        if let Err(error) = self.write_what_records_need().and_then(|()| active.append(bytes, entries, config)) {
            // Epochs of batches that did not get in.
            self.epochs.write().truncate_from_end(self.log_end_offset().0 + 1);
            return Err(error.into());
        }
        for (entry, marker) in entries.iter().zip(markers) {
            match &entry.batch {
                Some(batch) => state.producers.note(batch, marker),
                None => state.producers.advance_to(entry.next_offset()),
            }
        }
        self.publish_first_unstable(state);
        if self.durable_offset() == self.log_end_offset() {
            self.unflushed_since_ms.store(now_ms, Ordering::Relaxed);
        }
        self.log_end.store(added.last_offset + 1, Ordering::Release);
        self.note_append(now_ms);
        if let Ok(file) = active.read_file() {
            state.preallocation.advance(&file, active.size(), u64::from(config.segment_bytes));
        }
        let unflushed = self.log_end_offset().0 - self.durable_offset().0;
        let flush_due = unflushed >= config.flush_messages;
        if flush_due {
            self.request_flush();
        }
        Ok(flush_due)
    }
}

fn entry_of(header: &BatchHeader, range: &Range<usize>) -> Entry {
    Entry {
        position: range.start as u64,
        size: header.size() as u32,
        magic: batch::MAGIC_V2,
        base_offset: header.base_offset.0,
        last_offset: header.last_offset().0,
        max_timestamp: header.max_timestamp,
        batch: Some(*header),
    }
}

fn check_crc(bytes: &[u8], entry: &Entry) -> Result<(), AppendError> {
    if entry.batch.is_some() {
        return batch::verify_crc(bytes).map_err(|error| AppendError::CorruptMessage(error.to_string()));
    }
    let stored = u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
    let computed = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &bytes[16..]) as u32;
    if stored == computed {
        return Ok(());
    }
    Err(AppendError::CorruptMessage(format!("Record is corrupt (stored crc = {stored}, computed crc = {computed})")))
}

/// The records are unpacked for this only where the topic sets a bound.
fn check_timestamps(header: &BatchHeader, bytes: &[u8], now_ms: i64, config: &LogConfig) -> Result<(), AppendError> {
    let (before_max, after_max) = (config.message_timestamp_before_max_ms, config.message_timestamp_after_max_ms);
    if before_max == i64::MAX && after_max == i64::MAX {
        return Ok(());
    }
    let corrupt = |error: protocol::records::RecordsError| AppendError::CorruptMessage(error.to_string());
    let batch = RecordBatch { header: *header, bytes: Bytes::copy_from_slice(bytes) };
    let mut records = batch.records(MAX_DECOMPRESSED_BYTES).map_err(corrupt)?;
    while let Some(record) = records.next_ref() {
        let timestamp = record.map_err(corrupt)?.timestamp;
        if timestamp == NO_TIMESTAMP {
            continue;
        }
        let (earliest, latest) = (now_ms.saturating_sub(before_max), now_ms.saturating_add(after_max));
        if timestamp < earliest || timestamp > latest {
            return Err(AppendError::InvalidTimestamp(format!(
                "Timestamp {timestamp} of message with offset {} is out of range. The timestamp should be within [{earliest}, {latest}]",
                header.base_offset
            )));
        }
    }
    Ok(())
}

/// What each control batch says, before anything is written; most appends have none.
fn control_markers(bytes: &[u8], entries: &[Entry]) -> Result<Vec<Option<ControlMarker>>, AppendError> {
    let mut markers = Vec::with_capacity(entries.len());
    for entry in entries {
        markers.push(match &entry.batch {
            Some(header) if header.is_control() => {
                let position = entry.position as usize;
                let bytes = Bytes::copy_from_slice(&bytes[position..position + entry.size as usize]);
                let batch = RecordBatch { header: *header, bytes };
                batch.control_marker().map_err(|error| AppendError::CorruptMessage(error.to_string()))?
            }
            _ => None,
        });
    }
    Ok(markers)
}

#[cfg(test)]
mod tests;
