//! One pass over one log: learn the last offset of each key in the dirty part, then write every segment up to there anew with what stays.
//!
//! The log is in use all the while. Nothing of it changes before a rewritten segment is whole and on disk; a log that was cut, closed or
//! deleted meanwhile ends the pass, and what it had written goes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use protocol::records::batch::RecordBatch;
use protocol::records::{BatchHeader, MAX_DECOMPRESSED_BYTES, NO_SEQUENCE, RecordsError};
use runtime::Random;

use crate::cleaner::filter::{self, Filtered, LastOfProducer, Rules};
use crate::cleaner::offset_map::OffsetMap;
use crate::cleaner::range::{self, CleanRange, LogFacts, SegmentFacts};
use crate::cleaner::throttle::Throttle;
use crate::cleaner::transactions::{Survey, Transactions};
use crate::config::LogConfig;
use crate::entry::{Entry, EntryScanner, SCAN_WINDOW_BYTES};
use crate::error::StorageError;
use crate::legacy;
use crate::log::Log;
use crate::segment::{Segment, Stage};
use crate::{offset_index, time_index};

/// Longest entry that is looked into.
const ENTRY_BYTES_MAX: usize = MAX_DECOMPRESSED_BYTES;
/// Bytes read between two looks at whether to go on.
const CHECK_BYTES: u64 = 1 << 20;

/// What a pass may use.
#[derive(Debug)]
pub struct Limits<'a> {
    /// Memory of the map of keys.
    pub map_bytes: u64,
    /// Share of the map that is filled.
    pub load_factor: f64,
    /// Bytes gathered before they are written.
    pub buffer_bytes: usize,
    /// Slows the pass down.
    pub throttle: &'a Throttle,
    /// Ends the pass.
    pub stop: &'a AtomicBool,
    /// For the secret of the map.
    pub random: Random,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// What it set out to clean.
    pub range: CleanRange,
    /// Offset up to which the log is clean now.
    pub cleaned_to: i64,
    /// Bytes of the segments that were written anew, before.
    pub bytes_read: u64,
    /// Their bytes after.
    pub bytes_written: u64,
    /// Records in them before.
    pub records_read: u64,
    /// Records in them after.
    pub records_kept: u64,
    /// Segments before.
    pub segments_before: usize,
    /// Segments after.
    pub segments_after: usize,
    /// Share of the map that was used.
    pub map_utilization: f64,
}

/// Why a pass ended early.
#[derive(Debug)]
pub enum PassError {
    /// The log was cut, closed or deleted, or the cleaner is stopping.
    Aborted,
    /// The log cannot be read or written.
    Storage(StorageError),
}

impl From<StorageError> for PassError {
    fn from(error: StorageError) -> PassError {
        PassError::Storage(error)
    }
}

/// What could be cleaned of a log now.
///
/// # Errors
/// A segment cannot be read.
pub fn range_of(log: &Log, config: &LogConfig, now_ms: i64) -> Result<CleanRange, StorageError> {
    Ok(range::range_of(&facts(log, &log.segments(), config)?, config, now_ms))
}

fn facts(log: &Log, segments: &[Arc<Segment>], config: &LogConfig) -> Result<LogFacts, StorageError> {
    let ages = config.max_compaction_lag_ms != i64::MAX;
    let young = config.min_compaction_lag_ms > 0;
    let mut known = Vec::with_capacity(segments.len());
    for segment in segments {
        known.push(SegmentFacts {
            base_offset: segment.base_offset(),
            bytes: segment.size(),
            offset_index_bytes: (segment.offset_index().len() * offset_index::ENTRY_BYTES) as u64,
            time_index_bytes: (segment.time_index().len() * time_index::ENTRY_BYTES) as u64,
            largest_timestamp: if young { segment.largest_timestamp() } else { -1 },
            first_timestamp: if ages { Some(segment.first_timestamp()?) } else { None },
        });
    }
    Ok(LogFacts {
        segments: known,
        offsets: log.log_start_offset().0..log.log_end_offset().0,
        last_stable_offset: log.last_stable_offset(log.high_watermark()).0,
        cleaned_to: log.dir().log_dir().cleaned_to(log.partition()),
    })
}

/// Cleans a log once.
///
/// # Errors
/// See [`PassError`]. What was put in place before stays; all of it is as good as before.
pub fn clean(log: &Log, now_ms: i64, limits: &Limits<'_>) -> Result<Report, PassError> {
    // Cuts from here on end the pass, so this comes first.
    let cuts = log.cuts();
    let config = log.config();
    let segments = log.segments();
    let facts = facts(log, &segments, &config)?;
    let range = range::range_of(&facts, &config, now_ms);
    let mut pass = Pass { log, config: &config, cuts, limits, unchecked_bytes: 0 };
    let closed: Vec<Arc<Segment>> =
        segments.into_iter().filter(|segment| segment.base_offset() < range.first_uncleanable).collect();

    // What is copied is copied with its offset, which no checksum covers.
    let epochs = log.epochs.read().known();
    for segment in &closed {
        let bytes = segment.verify_all(&epochs)?;
        pass.check(bytes)?;
    }
    let (survey, end) = pass.survey(&closed, range)?;
    let mut map = OffsetMap::new(survey.records(), limits.map_bytes, limits.load_factor, limits.random);
    let mut transactions = survey.into_transactions();
    pass.fill(&mut map, &closed, range.first_dirty, end, &transactions)?;
    let cleaned_to = map.latest_offset() + 1;
    let mut report = Report {
        range,
        cleaned_to: cleaned_to.max(range.first_dirty),
        bytes_read: 0,
        bytes_written: 0,
        records_read: 0,
        records_kept: 0,
        segments_before: 0,
        segments_after: 0,
        map_utilization: map.utilization(),
    };
    if cleaned_to <= range.first_dirty {
        return Ok(report);
    }
    let producers = last_of_producers(log);
    let rules = Rules {
        map: &map,
        now_ms,
        delete_retention_ms: config.delete_retention_ms,
        producers: &producers,
        end: range.first_uncleanable,
    };
    let reached: Vec<SegmentFacts> =
        facts.segments[..closed.len()].iter().take_while(|segment| segment.base_offset < cleaned_to).copied().collect();
    for group in range::groups(&reached, range.first_uncleanable, &config) {
        pass.rewrite(&closed[group], &rules, &mut transactions, &mut report)?;
    }
    let log_dir = log.dir().log_dir();
    log_dir.cleaned.note(log_dir, log.partition(), report.cleaned_to)?;
    Ok(report)
}

/// What must stay for the sake of each known producer.
fn last_of_producers(log: &Log) -> HashMap<i64, LastOfProducer> {
    let producers = log.producers().into_iter();
    producers
        .map(|(id, producer)| {
            let last = producer.batches.back().filter(|batch| batch.last_sequence != NO_SEQUENCE);
            let last =
                last.map_or(LastOfProducer::Marker(producer.epoch), |batch| LastOfProducer::Batch(batch.last_offset));
            (id, last)
        })
        .collect()
}

struct Pass<'a> {
    log: &'a Log,
    config: &'a LogConfig,
    cuts: u64,
    limits: &'a Limits<'a>,
    unchecked_bytes: u64,
}

impl Pass<'_> {
    /// Whether to go on, and when.
    fn check(&mut self, bytes: u64) -> Result<(), PassError> {
        self.limits.throttle.pause(bytes, self.limits.stop);
        self.unchecked_bytes += bytes;
        if self.unchecked_bytes < CHECK_BYTES {
            return Ok(());
        }
        self.unchecked_bytes = 0;
        if self.limits.stop.load(Ordering::Relaxed) || self.log.cuts() != self.cuts || self.log.check_open().is_err() {
            return Err(PassError::Aborted);
        }
        Ok(())
    }

    /// Looks at the headers of the dirty part. Gives the offset at which the pass must end.
    fn survey(&mut self, closed: &[Arc<Segment>], range: CleanRange) -> Result<(Survey, i64), PassError> {
        let mut survey = Survey::default();
        let mut end = range.first_uncleanable;
        'segments: for segment in from(closed, range.first_dirty) {
            let mut scanner = scanner(segment)?;
            while let Some(entry) = scanner.next_entry().map_err(|error| segment.scan_error(error))? {
                if entry.last_offset < range.first_dirty {
                    continue;
                }
                self.check(u64::from(entry.size.min(SURVEYED_BYTES)))?;
                let goes_on = match &entry.batch {
                    None => {
                        // A wrapper does not say how many messages it holds; each takes more than a byte.
                        survey.note_records(u64::from(entry.size));
                        true
                    }
                    Some(header) => survey.note(header, marker_of(segment, &entry, header, &mut scanner)?),
                };
                if !goes_on {
                    end = entry.next_offset();
                    break 'segments;
                }
            }
        }
        let end = survey.first_open().map_or(end, |open| open.min(end));
        Ok((survey, end))
    }

    /// Learns the last offset of each key from `first_dirty` on, up to `end` or until the map is full.
    fn fill(
        &mut self,
        map: &mut OffsetMap,
        closed: &[Arc<Segment>],
        first_dirty: i64,
        end: i64,
        transactions: &Transactions,
    ) -> Result<(), PassError> {
        for segment in from(closed, first_dirty) {
            let mut scanner = scanner(segment)?;
            while let Some(entry) = scanner.next_checked().map_err(|error| segment.scan_error(error))? {
                self.check(u64::from(entry.size))?;
                if entry.last_offset < first_dirty {
                    continue;
                }
                // A transaction that ends the pass may begin inside no batch, so batches are whole here.
                if entry.base_offset >= end {
                    return Ok(());
                }
                let skips = entry.batch.is_some_and(|header| header.is_control() || transactions.is_aborted(&header));
                if !skips {
                    let bytes = scanner.entry_bytes(&entry, ENTRY_BYTES_MAX);
                    let bytes = Bytes::from(bytes.map_err(|error| segment.scan_error(error))?);
                    let fits = fill_from(map, &entry, bytes, first_dirty);
                    if !fits.map_err(|error| damaged(segment, &entry, &error))? {
                        return Ok(());
                    }
                }
                map.advance_to(entry.last_offset);
            }
            // Offsets that are gone already need no key.
            map.advance_to(segment.end().next_offset.min(end) - 1);
        }
        Ok(())
    }

    /// Writes one segment in the place of several, with what stays of them.
    fn rewrite(
        &mut self,
        old: &[Arc<Segment>],
        rules: &Rules<'_>,
        transactions: &mut Transactions,
        report: &mut Report,
    ) -> Result<(), PassError> {
        let (Some(first), Some(last)) = (old.first(), old.last()) else { return Ok(()) };
        let log = self.log;
        let cleaned =
            Segment::create_at(Stage::Cleaned, log.dir(), first.base_offset(), &log.cache, log.clock.now_ms())?;
        let written = self.write_kept(old, &cleaned, rules, transactions, report);
        let is_same = matches!(written, Ok(false)) && old.len() == 1;
        let placed = match written {
            Err(error) => Err(error),
            Ok(_) if is_same => Ok(false),
            Ok(_) => {
                cleaned.set_next_offset(last.end().next_offset);
                if let Some(modified_ms) = last.modified_ms() {
                    cleaned.set_modified_ms(modified_ms)?;
                }
                let cleaned = Arc::new(cleaned);
                match log.replace_segments(self.cuts, old, &cleaned) {
                    Ok(true) => {
                        report.segments_before += old.len();
                        report.segments_after += 1;
                        report.bytes_written += cleaned.size();
                        return Ok(());
                    }
                    Ok(false) => {
                        cleaned.remove()?;
                        return Err(PassError::Aborted);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        report.segments_before += old.len();
        report.segments_after += old.len();
        report.bytes_written += cleaned.size();
        cleaned.remove()?;
        placed.map(|_: bool| ())
    }

    /// Writes what stays of `old`. Gives whether anything went or changed.
    fn write_kept(
        &mut self,
        old: &[Arc<Segment>],
        cleaned: &Segment,
        rules: &Rules<'_>,
        transactions: &mut Transactions,
        report: &mut Report,
    ) -> Result<bool, PassError> {
        let mut changed = false;
        let mut out = Output { bytes: Vec::new(), entries: Vec::new(), next_offset: cleaned.base_offset() };
        for segment in old {
            let mut scanner = scanner(segment)?;
            while let Some(entry) = scanner.next_checked().map_err(|error| segment.scan_error(error))? {
                let bytes = scanner.entry_bytes(&entry, ENTRY_BYTES_MAX).map_err(|error| segment.scan_error(error))?;
                let bytes = Bytes::from(bytes);
                let outcome = filter::filter(&entry, bytes.clone(), rules, transactions)
                    .map_err(|error| damaged(segment, &entry, &error))?;
                report.bytes_read += u64::from(entry.size);
                report.records_read += outcome.read;
                report.records_kept += outcome.kept;
                let kept: &[u8] = match &outcome.filtered {
                    Filtered::Unchanged => &bytes,
                    Filtered::Changed(bytes) => bytes,
                    Filtered::Gone => &[],
                };
                changed |= outcome.filtered != Filtered::Unchanged;
                self.check(u64::from(entry.size) + kept.len() as u64)?;
                if !kept.is_empty() {
                    out.add(kept).map_err(|why| StorageError::Damaged {
                        path: segment.log_file().path(),
                        position: entry.position,
                        why,
                    })?;
                }
                if out.bytes.len() >= self.limits.buffer_bytes {
                    out.write_to(cleaned, self.config)?;
                }
            }
        }
        out.write_to(cleaned, self.config)?;
        Ok(changed)
    }
}

/// What a survey of a batch costs: its header, not its records.
const SURVEYED_BYTES: u32 = 61;

/// What is written next.
struct Output {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    next_offset: i64,
}

impl Output {
    fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        let entry = Entry::parse(bytes, self.bytes.len() as u64, bytes.len() as u64)?;
        if entry.base_offset < self.next_offset {
            return Err(format!("offset {} does not follow {}", entry.base_offset, self.next_offset - 1));
        }
        self.next_offset = entry.next_offset();
        self.bytes.extend_from_slice(bytes);
        self.entries.push(entry);
        Ok(())
    }

    fn write_to(&mut self, cleaned: &Segment, config: &LogConfig) -> Result<(), StorageError> {
        if self.entries.is_empty() {
            return Ok(());
        }
        if cleaned.size() + self.bytes.len() as u64 > crate::segment::SEGMENT_BYTES_MAX {
            let why = "what stays of these segments is more than one segment can hold".to_owned();
            return Err(StorageError::Damaged { path: cleaned.log_file().path(), position: cleaned.size(), why });
        }
        cleaned.append(&self.bytes, &self.entries, config)?;
        self.bytes.clear();
        self.entries.clear();
        Ok(())
    }
}

/// The segments from the one that holds `offset` on.
fn from(closed: &[Arc<Segment>], offset: i64) -> &[Arc<Segment>] {
    let at = closed.partition_point(|segment| segment.base_offset() <= offset).saturating_sub(1);
    closed.get(at..).unwrap_or_default()
}

fn scanner(segment: &Segment) -> Result<EntryScanner, StorageError> {
    Ok(EntryScanner::new(segment.read_file()?, 0, segment.end().size, SCAN_WINDOW_BYTES))
}

fn marker_of(
    segment: &Segment,
    entry: &Entry,
    header: &BatchHeader,
    scanner: &mut EntryScanner,
) -> Result<Option<protocol::records::batch::ControlMarker>, StorageError> {
    if !header.is_control() {
        return Ok(None);
    }
    let bytes = scanner.entry_bytes(entry, ENTRY_BYTES_MAX).map_err(|error| segment.scan_error(error))?;
    let batch = RecordBatch { header: *header, bytes: Bytes::from(bytes) };
    batch.control_marker().map_err(|error| damaged(segment, entry, &error))
}

/// Puts the keys of an entry into the map. `false` where it is full.
fn fill_from(map: &mut OffsetMap, entry: &Entry, bytes: Bytes, first_dirty: i64) -> Result<bool, RecordsError> {
    let mut put = |offset: i64, key: Option<&[u8]>| match key {
        Some(key) if offset >= first_dirty => map.put(key, offset).is_ok(),
        _ => true,
    };
    let Some(header) = entry.batch else {
        for message in legacy::messages(bytes)? {
            if !put(message.offset.0, message.key.as_deref()) {
                return Ok(false);
            }
        }
        return Ok(true);
    };
    let batch = RecordBatch { header, bytes };
    let mut records = batch.records(MAX_DECOMPRESSED_BYTES)?;
    while let Some(record) = records.next_ref() {
        let record = record?;
        if !put(record.offset.0, record.key) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn damaged(segment: &Segment, entry: &Entry, error: &RecordsError) -> StorageError {
    StorageError::Damaged { path: segment.log_file().path(), position: entry.position, why: error.to_string() }
}
