//! After a crash: what is whole, and where the log is cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use runtime::disk::Open;

use super::{LoadOptions, LogRecovery, restore_next_offset};
use crate::config::LogConfig;
use crate::entry::{self, Entry, SCAN_WINDOW_BYTES};
use crate::error::{Result, StorageError};
use crate::leader_epoch::{KnownEpochs, LeaderEpochCache};
use crate::log_dir::PartitionDir;
use crate::progress::RecoveryProgress;
use crate::segment::{self, Segment};

/// Ends the name of a file that keeps what was cut off a log though intact batches were in it.
const DAMAGED_SUFFIX: &str = ".damaged";

/// After a crash: computes every checksum from the segment that holds the recovery point on, and sees that older segments are whole. Gives
/// the base offset from which segments were walked.
pub(super) fn check_segments(
    dir: &Arc<PartitionDir>,
    segments: &mut BTreeMap<i64, Arc<Segment>>,
    epochs: &mut LeaderEpochCache,
    config: &LogConfig,
    options: LoadOptions,
    report: &mut LogRecovery,
    progress: &RecoveryProgress,
) -> Result<Option<i64>> {
    let bases: Vec<i64> = segments.keys().copied().collect();
    if bases.is_empty() {
        return Ok(None);
    }
    let from = segments.range(..=options.recovery_point).next_back().map_or(bases[0], |(base, _)| *base);
    for (_, segment) in segments.range(..from) {
        // Synced long ago: the walk from its last index entry shows whether its file is still whole.
        if !segment.find_end()? {
            let walked = segment.walk(false, config, |_, _| Ok(()))?;
            report.indexes_rebuilt += 1;
            if let Some((position, why)) = walked.damage {
                return Err(StorageError::Damaged { path: segment.log_file().path(), position, why });
            }
        }
        restore_next_offset(segment, &bases);
    }
    let mut cut_after = None;
    for (at, (base, segment)) in bases.iter().zip(segments.values()).enumerate().filter(|(_, (base, _))| **base >= from)
    {
        let mut held = HeldAgainst::new(*base, &options, epochs.known(), config);
        let mut seen_epochs: Vec<(i32, i64)> = Vec::new();
        let walked = segment.walk(true, config, |entry, _| {
            progress.checked(u64::from(entry.size));
            held.look_at(entry);
            if seen_epochs.last().is_none_or(|last| last.0 < entry.leader_epoch()) {
                seen_epochs.push((entry.leader_epoch(), entry.base_offset));
            }
            Ok(())
        })?;
        if let Some(wrong) = held.wrong {
            if wrong.follows < options.recovery_point {
                let path = segment.log_file().path();
                return Err(StorageError::Damaged { path, position: wrong.position, why: wrong.why });
            }
            cut_tail(dir, segment, wrong.position, wrong.follows, &wrong.why, report)?;
            segment.walk(true, config, |_, _| Ok(()))?;
            report.checked_bytes += wrong.position;
            report.indexes_rebuilt += 1;
            cut_after = Some(*base);
            break;
        }
        report.checked_bytes += walked.valid_bytes;
        report.indexes_rebuilt += 1;
        let next_offset = segment.end().next_offset;
        // A crash can take the end of a closed segment, too, and leave what came after it. (The cleaner may take the last records of one, but
        // it cleans only what was synced.)
        let gap = bases.get(at + 1).filter(|next| !may_leap(config, &options) && next_offset < **next).map(|next| {
            let why = format!("it ends at offset {next_offset}, and the next segment begins at {next}");
            (walked.valid_bytes, why)
        });
        if let Some((position, why)) = walked.damage.or(gap) {
            if next_offset < options.recovery_point {
                return Err(StorageError::Damaged { path: segment.log_file().path(), position, why });
            }
            cut_tail(dir, segment, position, next_offset, &why, report)?;
            cut_after = Some(*base);
        }
        for (epoch, start) in seen_epochs {
            if epochs.latest().is_none_or(|latest| latest.0 < epoch) {
                epochs.assign(epoch, start);
            }
        }
        epochs.write_out()?;
        if cut_after.is_some() {
            break;
        }
        restore_next_offset(segment, &bases);
    }
    if let Some(last) = cut_after {
        for segment in segments.split_off(&(last + 1)).into_values() {
            set_aside(dir, &segment, report)?;
        }
    }
    Ok(Some(from))
}

/// The batches of a segment held against what else is known: where the log ended when it was synced last, and its leader epochs. A checksum covers neither.
struct HeldAgainst {
    recovery_point: i64,
    may_leap: bool,
    epochs: KnownEpochs,
    /// First offset after the batches looked at.
    follows: i64,
    /// The first batch that cannot be.
    wrong: Option<Wrong>,
}

/// A batch whose checksum is right and whose place is not.
struct Wrong {
    position: u64,
    /// First offset after the batch before it.
    follows: i64,
    why: String,
}

impl HeldAgainst {
    fn new(base_offset: i64, options: &LoadOptions, epochs: KnownEpochs, config: &LogConfig) -> HeldAgainst {
        let (recovery_point, may_leap) = (options.recovery_point, may_leap(config, options));
        HeldAgainst { recovery_point, may_leap, epochs, follows: base_offset, wrong: None }
    }

    fn look_at(&mut self, entry: &Entry) {
        let follows = std::mem::replace(&mut self.follows, entry.next_offset());
        if self.wrong.is_some() || entry.batch.is_none() {
            return;
        }
        // The log ended at the recovery point once: no batch reaches over it, and none leaps over it.
        let point = self.recovery_point;
        let reaches = entry.base_offset < point && point < entry.next_offset();
        let leaps = follows < point && point <= entry.base_offset && entry.base_offset > follows && !self.may_leap;
        // An epoch is in its checkpoint before the first batch that carries it.
        let epoch = self.epochs.at(entry.last_offset).filter(|_| self.epochs.vouched && entry.leader_epoch() != -1);
        let why = if reaches || leaps {
            format!(
                "the log was synced up to offset {point}, this batch is {} to {}",
                entry.base_offset, entry.last_offset
            )
        } else if epoch.is_some_and(|epoch| epoch != entry.leader_epoch()) {
            format!("leader epoch {} is not the one of its offsets", entry.leader_epoch())
        } else {
            return;
        };
        let follows = if reaches { follows.min(entry.base_offset) } else { follows };
        self.wrong = Some(Wrong { position: entry.position, follows, why });
    }
}

/// Whether offsets may be missing between batches: compaction takes them.
fn may_leap(config: &LogConfig, options: &LoadOptions) -> bool {
    config.compact || options.was_cleaned
}

/// Takes a segment behind a cut out of the log; one that holds anything is kept.
fn set_aside(dir: &Arc<PartitionDir>, segment: &Segment, report: &mut LogRecovery) -> Result<()> {
    let bytes = segment.size();
    if bytes == 0 {
        return segment.remove();
    }
    let path = segment.log_file().path();
    let kept = dir.file(&format!("{}.0{DAMAGED_SUFFIX}", segment::file_name(segment.base_offset())));
    dir.disk().rename(&path, &kept).map_err(|error| StorageError::io("set aside", &path, error))?;
    tracing::error!(file = %path.display(), kept = %kept.display(), bytes, "the log was cut before this segment; it is kept");
    segment.remove()?;
    report.truncated_bytes += bytes;
    report.set_aside.get_or_insert(kept);
    Ok(())
}

fn cut_tail(
    dir: &Arc<PartitionDir>,
    segment: &Segment,
    position: u64,
    next_offset: i64,
    why: &str,
    report: &mut LogRecovery,
) -> Result<()> {
    let path = segment.log_file().path();
    let failed = |action, error| StorageError::io(action, &path, error);
    let file = segment.read_file()?;
    let length = file.len().map_err(|error| failed("read", error))?;
    let intact =
        entry::find_intact_batch(&file, position + 1, length, next_offset).map_err(|error| failed("read", error))?;
    if let Some(intact) = intact {
        let kept = dir.file(&format!("{}.{position}{DAMAGED_SUFFIX}", segment::file_name(segment.base_offset())));
        let copy = dir.disk().open(&kept, Open::Truncate).map_err(|error| StorageError::io("create", &kept, error))?;
        let mut buffer = vec![0; SCAN_WINDOW_BYTES];
        let mut at = position;
        while at < length {
            let read = file.read_at(&mut buffer, at).map_err(|error| failed("read", error))?;
            if read == 0 {
                break;
            }
            copy.write_all_at(&buffer[..read], at - position)
                .map_err(|error| StorageError::io("write", &kept, error))?;
            at += read as u64;
        }
        copy.sync_data().map_err(|error| StorageError::io("sync", &kept, error))?;
        tracing::error!(
            file = %path.display(), position, why, intact, kept = %kept.display(),
            "the log is damaged, but intact batches follow; the log is cut here and what is cut is kept"
        );
        report.set_aside = Some(kept);
    } else {
        tracing::warn!(file = %path.display(), position, bytes = length - position, why, "cutting off the torn end of the log");
    }
    segment.cut_file(position)?;
    segment.sync()?;
    report.truncated_bytes += length - position;
    report.truncated_because = Some(format!("{}: at byte {position}: {why}", path.display()));
    Ok(())
}
