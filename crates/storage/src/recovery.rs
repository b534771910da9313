//! From a partition's directory to a log, after a clean shutdown or a crash.
//!
//! What lies below the recovery point was synced and acknowledged: damage there refuses the log and changes nothing. Above it a crash may have
//! torn anything, in the last segment and in closed ones that were not synced yet: the log is cut at the first damage. Where intact batches
//! follow the damage, what is cut is kept beside the log in `.damaged` files, because then it may be more than a torn write.

mod check;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use protocol::records::batch::RecordBatch;
use protocol::types::TopicPartition;
use runtime::Disk;
use runtime::disk::Entry as DirEntry;

use crate::checkpoints::{self, PARTITION_METADATA_FILE};
use crate::cleaner::swap;
use crate::config::LogConfig;
use crate::entry::{Entry, EntryScanner, LOOKUP_WINDOW_BYTES, SCAN_WINDOW_BYTES, ScanError};
use crate::error::{Result, StorageError};
use crate::file_cache::FileCache;
use crate::leader_epoch::LeaderEpochCache;
use crate::log::Loaded;
use crate::log_dir::PartitionDir;
use crate::producer_state::{ProducerStates, snapshot};
use crate::progress::RecoveryProgress;
use crate::segment::{self, Segment};

/// Longest control batch that is looked into.
const CONTROL_BATCH_BYTES_MAX: usize = 64 << 10;

/// What is known about a log before its directory is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// The last shutdown was clean.
    pub clean: bool,
    /// Offset up to which the log was synced.
    pub recovery_point: i64,
    /// The log ended there: a broker that shut down cleanly said so, and a checksum vouches for it.
    pub recovery_point_is_exact: bool,
    /// Log start offset of the checkpoint; 0 where it has none.
    pub log_start: i64,
    /// The cleaner was at work here once, whatever the topic's policy is now.
    pub was_cleaned: bool,
    /// Wall time in ms.
    pub now_ms: i64,
}

/// What loading one log had to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRecovery {
    /// Bytes whose checksums were computed.
    pub checked_bytes: u64,
    /// Bytes cut off the last segment.
    pub truncated_bytes: u64,
    /// Why they were cut.
    pub truncated_because: Option<String>,
    /// Where they were kept, if intact batches were among them.
    pub set_aside: Option<PathBuf>,
    /// Segments whose indexes were built anew.
    pub indexes_rebuilt: usize,
}

/// Reads a partition's directory.
///
/// # Errors
/// What the file system says, or [`StorageError::Damaged`] where the log must not be served.
pub(crate) fn load(
    partition: &TopicPartition,
    dir: &Arc<PartitionDir>,
    cache: &Arc<FileCache>,
    config: &LogConfig,
    options: LoadOptions,
    progress: &RecoveryProgress,
) -> Result<(Loaded, LogRecovery)> {
    let mut report = LogRecovery::default();
    let mut names = list(dir)?;
    if swap::finish_swaps(dir, &names)? {
        names = list(dir)?;
    }
    let bases = find_segments(dir, &names)?;
    let mut segments = BTreeMap::new();
    let mut must_walk = Vec::new();
    for (at, base) in bases.iter().enumerate() {
        let (segment, walk) = Segment::open(dir, *base, cache, options.now_ms)?;
        if let Some(next) = bases.get(at + 1) {
            segment.set_next_offset(*next);
        }
        if walk {
            must_walk.push(*base);
        }
        segments.insert(*base, Arc::new(segment));
    }
    let mut epochs = match LeaderEpochCache::load(dir) {
        Err(error @ StorageError::Checkpoint { .. }) => {
            tracing::error!(%error, "a checkpoint is damaged: it is built anew from the batches of the log");
            let up_to = if options.clean { i64::MAX } else { options.recovery_point };
            LeaderEpochCache::rebuild(dir, &epochs_of(&segments, up_to)?)?
        }
        epochs => epochs?,
    };

    let mut checked_to = None;
    if !options.clean {
        checked_to = check::check_segments(dir, &mut segments, &mut epochs, config, options, &mut report, progress)?;
    }
    let bases: Vec<i64> = segments.keys().copied().collect();
    let last_base = bases.last().copied();
    for (base, segment) in &segments {
        let checked = checked_to.is_some_and(|from| *base >= from);
        let is_last = Some(*base) == last_base;
        if checked || (!must_walk.contains(base) && !is_last) {
            continue;
        }
        // The last segment of a clean shutdown must lead from its last index entry to the end of the file.
        if must_walk.contains(base) || !segment.find_end()? {
            let walked = segment.walk(false, config, |_, _| Ok(()))?;
            report.indexes_rebuilt += 1;
            if let Some((position, why)) = walked.damage {
                return Err(StorageError::Damaged { path: segment.log_file().path(), position, why });
            }
            restore_next_offset(segment, &bases);
        }
    }

    for segment in segments.values().rev().skip(1) {
        segment.write_out_rebuilt()?;
    }

    let mut log_start = options.log_start.max(bases.first().copied().unwrap_or(0));
    let mut log_end = segments.last_key_value().map_or(log_start, |(_, segment)| segment.end().next_offset);
    if log_end < options.recovery_point {
        let (path, position) = match segments.last_key_value() {
            Some((_, segment)) => (segment.log_file().path(), segment.size()),
            None => (dir.path(), 0),
        };
        let why = format!(
            "the log ends at offset {log_end}, but was synced up to {}; records are missing",
            options.recovery_point
        );
        return Err(StorageError::Damaged { path, position, why });
    }
    if options.recovery_point_is_exact
        && log_end > options.recovery_point
        && let Some((_, segment)) = segments.last_key_value()
    {
        let why = format!("the log ends at offset {log_end}, but was closed at {}", options.recovery_point);
        return Err(StorageError::Damaged { path: segment.log_file().path(), position: segment.size(), why });
    }
    if log_end < log_start {
        // Records before the log start were deleted, and those after it never reached the disk.
        tracing::warn!(%partition, log_end, log_start, "the log ends before its start offset; it begins anew there");
        for segment in segments.values() {
            segment.remove()?;
        }
        segments.clear();
        log_end = log_start;
    }
    let found_none = segments.is_empty();
    if found_none {
        let fresh = Segment::create(dir, log_start, cache, options.now_ms)?;
        segments.insert(log_start, Arc::new(fresh));
        log_end = log_start;
    }
    log_start = log_start.max(segments.first_key_value().map_or(0, |(base, _)| *base));
    epochs.truncate_from_end(log_end);
    epochs.truncate_from_start(log_start)?;
    remove_snapshots_above(dir.disk(), &names, log_end)?;
    let producers = load_producers(dir, partition, &names, &segments, log_start, log_end, options, config)?;
    let topic_id = checkpoints::read_topic_id(dir.disk(), &dir.file(PARTITION_METADATA_FILE))?;
    // After a crash what was checked is in the page cache at best; the first flush makes it durable.
    let durable = if options.clean { log_end } else { options.recovery_point.min(log_end) };
    // A log that never held a record may have names that were never synced, also where the shutdown was clean.
    let is_new = log_end == 0 && segments.len() == 1 && segments.values().all(|segment| segment.size() == 0);
    let is_closed = options.clean && !found_none && report == LogRecovery::default();
    let (is_named, is_untouched) = (is_closed && !is_new, is_closed || (is_new && durable == 0));
    Ok((Loaded { segments, producers, epochs, log_start, log_end, durable, topic_id, is_named, is_untouched }, report))
}

/// The log of a directory that was just made: nothing is in it, and nothing has to be looked for.
///
/// # Errors
/// What the file system says.
pub(crate) fn begin(
    partition: &TopicPartition,
    dir: &Arc<PartitionDir>,
    cache: &Arc<FileCache>,
    now_ms: i64,
) -> Result<Loaded> {
    let fresh = Segment::create(dir, 0, cache, now_ms)?;
    Ok(Loaded {
        segments: BTreeMap::from([(0, Arc::new(fresh))]),
        producers: ProducerStates::new(partition.clone(), 0),
        epochs: LeaderEpochCache::new(dir),
        log_start: 0,
        log_end: 0,
        durable: 0,
        topic_id: None,
        is_named: false,
        is_untouched: true,
    })
}

/// What a partition's directory holds.
pub(crate) fn list(dir: &PartitionDir) -> Result<Vec<DirEntry>> {
    let path = dir.path();
    dir.disk().read_dir(&path).map_err(|error| StorageError::io("list", &path, error))
}

/// Base offsets of the segments, in order. Files that a crash left half done or half removed go.
fn find_segments(dir: &Arc<PartitionDir>, entries: &[DirEntry]) -> Result<Vec<i64>> {
    let disk = dir.disk();
    let names: Vec<&str> = entries.iter().filter_map(|entry| entry.name.to_str()).collect();
    let bases: Vec<i64> = names.iter().filter_map(|name| segment::base_offset_of(name, ".log")).collect();
    for entry in entries {
        let Some(name) = entry.name.to_str() else { continue };
        let orphan = [".index", ".timeindex", ".txnindex"]
            .iter()
            .find_map(|suffix| segment::base_offset_of(name, suffix))
            .is_some_and(|base| bases.binary_search(&base).is_err());
        if [".deleted", ".cleaned", ".tmp"].iter().any(|suffix| name.ends_with(suffix)) || orphan {
            tracing::info!(file = %entry.path.display(), "removing what a stopped broker left behind");
            disk.remove_file(&entry.path).map_err(|error| StorageError::io("remove", &entry.path, error))?;
        }
    }
    Ok(bases)
}

/// The leader epochs of the batches below `up_to`, each with its first offset, by their headers alone.
fn epochs_of(segments: &BTreeMap<i64, Arc<Segment>>, up_to: i64) -> Result<Vec<(i32, i64)>> {
    let mut epochs: Vec<(i32, i64)> = Vec::new();
    for segment in segments.values() {
        let mut scanner = EntryScanner::new(segment.read_file()?, 0, segment.size(), LOOKUP_WINDOW_BYTES);
        loop {
            match scanner.next_entry() {
                Ok(Some(entry)) if entry.base_offset < up_to => {
                    let (epoch, start) = (entry.leader_epoch(), entry.base_offset);
                    if epoch >= 0 && epochs.last().is_none_or(|last| last.0 < epoch && last.1 <= start) {
                        epochs.push((epoch, start));
                    }
                }
                Ok(_) | Err(ScanError::Damaged { .. }) => break,
                Err(error) => return Err(segment.scan_error(error)),
            }
        }
    }
    Ok(epochs)
}

/// A closed segment's next offset is the first of the next one, whatever a walk found: compaction may have removed its last records.
fn restore_next_offset(segment: &Segment, bases: &[i64]) {
    let after = bases.partition_point(|base| *base <= segment.base_offset());
    if let Some(next) = bases.get(after) {
        segment.set_next_offset(*next);
    }
}

/// The producer state at `log_end`, in a directory that holds `names`: the latest snapshot that can be read, and the batches after it. A broker that shut down cleanly and left
/// no snapshot (before 0.11) had no idempotent producers, so its log need not be walked.
#[allow(clippy::too_many_arguments, reason = "a start and a cut know these apart from each other")]
pub(crate) fn load_producers(
    dir: &Arc<PartitionDir>,
    partition: &TopicPartition,
    names: &[DirEntry],
    segments: &BTreeMap<i64, Arc<Segment>>,
    log_start: i64,
    log_end: i64,
    LoadOptions { clean, now_ms, .. }: LoadOptions,
    config: &LogConfig,
) -> Result<ProducerStates> {
    let mut snapshots: Vec<(i64, PathBuf)> = names
        .iter()
        .filter_map(|entry| Some((entry.name.to_str().and_then(snapshot::offset_of)?, entry.path.clone())))
        .filter(|(offset, _)| *offset <= log_end)
        .collect();
    // Also from records before the log start that are still here: a producer that repeats one of them must be known.
    let first_offset = segments.first_key_value().map_or(log_start, |(base, _)| log_start.min(*base));
    let mut states = ProducerStates::new(partition.clone(), first_offset);
    let unread = clean && snapshots.is_empty();
    if unread {
        states.advance_to(log_end);
    }
    while let Some((offset, path)) = snapshots.pop() {
        match snapshot::read(dir.disk(), &path) {
            Ok(producers) => {
                states.restore(producers, offset, now_ms, config.producer_id_expiration_ms);
                break;
            }
            Err(why) => {
                tracing::warn!(file = %path.display(), why, "ignoring a producer snapshot");
                dir.disk().remove_file(&path).map_err(|error| StorageError::io("remove", &path, error))?;
            }
        }
    }
    // A first batch that cannot be read is told of when somebody asks for it; here it says nothing.
    let is_recent = |first: &Segment| {
        first.first_timestamp().is_ok_and(|first| now_ms.saturating_sub(first) < config.producer_id_expiration_ms)
    };
    let remembered = log_end == 0 || !unread && segments.values().next().is_some_and(|first| is_recent(first));
    states.set_all_known(first_offset == 0 && remembered);
    let from = states.end_offset();
    if from < log_end {
        replay(&mut states, segments, from)?;
        states.advance_to(log_end);
        states.expire(now_ms, config.producer_id_expiration_ms);
    }
    Ok(states)
}

fn replay(states: &mut ProducerStates, segments: &BTreeMap<i64, Arc<Segment>>, from: i64) -> Result<()> {
    let floor = segments.range(..=from).next_back().map_or(i64::MIN, |(base, _)| *base);
    for (_, segment) in segments.range(floor..) {
        let end = segment.end();
        let Some(first) = segment.locate(from, &end)? else { continue };
        let mut scanner = EntryScanner::new(segment.read_file()?, first.position, end.size, SCAN_WINDOW_BYTES);
        while let Some(entry) = scanner.next_entry().map_err(|error| segment.scan_error(error))? {
            note(states, segment, &entry, &mut scanner)?;
        }
    }
    Ok(())
}

fn note(states: &mut ProducerStates, segment: &Segment, entry: &Entry, scanner: &mut EntryScanner) -> Result<()> {
    let Some(header) = entry.batch else {
        states.advance_to(entry.next_offset());
        return Ok(());
    };
    let mut marker = None;
    if header.is_control() {
        let bytes = scanner.entry_bytes(entry, CONTROL_BATCH_BYTES_MAX).map_err(|error| segment.scan_error(error))?;
        let batch = RecordBatch { header, bytes: Bytes::from(bytes) };
        marker = batch.control_marker().map_err(|error| StorageError::Damaged {
            path: segment.log_file().path(),
            position: entry.position,
            why: error.to_string(),
        })?;
    }
    states.note(&header, marker);
    Ok(())
}

/// Removes snapshots taken beyond the end of the log, of those in `names`.
pub(crate) fn remove_snapshots_above(disk: Disk, names: &[DirEntry], log_end: i64) -> Result<()> {
    for entry in names {
        if entry.name.to_str().and_then(snapshot::offset_of).is_some_and(|offset| offset > log_end) {
            disk.remove_file(&entry.path).map_err(|error| StorageError::io("remove", &entry.path, error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
