//! The swap: a rewritten segment takes the place of those it was made from, so that a crash at any moment leaves the old ones or the new one.
//!
//! 1. `.cleaned`: written and synced. A start removes it.
//! 2. `.swap`: the `.log` is renamed last, and the names are synced. From here on a start finishes what follows.
//! 3. The old files are renamed to `.deleted`, and the names are synced.
//! 4. The new files take their names, `.log` last, and the names are synced. The old ones are removed after `file.delete.delay.ms`.
//!
//! Steps 2 to 4 hold the log's append lock: what is cut or removed meanwhile would come back by the swap. Kafka's own interrupted swaps
//! (`LogLoader`) are finished by the same rules.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::entry::{EntryScanner, SCAN_WINDOW_BYTES, ScanError};
use crate::error::{Result, StorageError};
use crate::log::Log;
use crate::log_dir::PartitionDir;
use crate::segment::{Segment, Stage, base_offset_of, file_name};
use crate::{offset_index, time_index};

use runtime::disk::{Entry, Open};

/// Apache's index of aborted transactions; we keep none.
const TXN_INDEX_SUFFIX: &str = ".txnindex";

impl Log {
    /// Puts `cleaned`, written whole, in the place of `old`. `false` where the log was cut since `cuts` or one of them is no longer part of it;
    /// nothing changed then.
    ///
    /// # Errors
    /// What the file system says, or the log is closed. Once the swap has begun, a failure takes the directory offline, for a start to finish it.
    pub(crate) fn replace_segments(&self, cuts: u64, old: &[Arc<Segment>], cleaned: &Arc<Segment>) -> Result<bool> {
        self.touch();
        // Also of a segment that is left without records: a swap knows three files.
        cleaned.make_indexes()?;
        cleaned.write_out_indexes()?;
        cleaned.sync()?;
        cleaned.sync_indexes()?;
        self.sync_names()?;
        let _flush = self.lock_flushes();
        {
            let mut state = self.lock_state()?;
            let is_current = {
                let segments = self.segments.read();
                let holds =
                    |old: &Arc<Segment>| segments.get(&old.base_offset()).is_some_and(|held| Arc::ptr_eq(held, old));
                // The last segment grows; it is never one of them.
                self.cuts() == cuts && old.iter().all(holds) && old.len() < segments.len()
            };
            if !is_current {
                return Ok(false);
            }
            self.swap_files(old, cleaned).inspect_err(|error| self.dir.log_dir().take_offline(error))?;
            {
                let mut segments = self.segments.write();
                for old in old {
                    segments.remove(&old.base_offset());
                }
                segments.insert(cleaned.base_offset(), cleaned.clone());
            }
            self.delete_later(&mut state, old, self.clock.now_ms());
            cleaned.log_file().unpin();
            self.remove_snapshots(None)?;
        }
        self.sync_names()?;
        Ok(true)
    }

    fn swap_files(&self, old: &[Arc<Segment>], cleaned: &Segment) -> Result<()> {
        cleaned.set_stage(Stage::Swap)?;
        self.sync_names()?;
        for segment in old.iter().rev() {
            segment.mark_deleted()?;
            let txn_index = self.dir.file(&format!("{:020}{TXN_INDEX_SUFFIX}", segment.base_offset()));
            // Aborted records are gone, so what it says of them is not needed.
            remove_if_there(&self.dir, txn_index)?;
        }
        self.sync_names()?;
        cleaned.set_stage(Stage::Live)
    }
}

/// Finishes swaps that a crash cut short, or takes them back, before the segments of a partition are looked at. `entries` is what the directory holds; gives whether it
/// holds something else now.
///
/// # Errors
/// What the file system says; [`StorageError::Damaged`] where a rewritten segment is.
pub(crate) fn finish_swaps(dir: &Arc<PartitionDir>, entries: &[Entry]) -> Result<bool> {
    let names: Vec<&str> = entries.iter().filter_map(|entry| entry.name.to_str()).collect();
    let bases_with = |stage: Stage, kinds: &[&str]| -> BTreeSet<i64> {
        let base = |name: &&str, kind: &str| base_offset_of(name, &format!("{kind}{}", stage.suffix()));
        names.iter().flat_map(|name| kinds.iter().filter_map(|kind| base(name, kind))).collect()
    };
    const KINDS: &[&str] = &[".log", ".index", ".timeindex", TXN_INDEX_SUFFIX];
    let swaps = bases_with(Stage::Swap, KINDS);
    if swaps.is_empty() {
        return Ok(false);
    }
    // Several segments may be swapped in at once, the last one first: as long as one of them is not named so, none counts.
    let void_from = bases_with(Stage::Cleaned, KINDS).first().copied().unwrap_or(i64::MAX);
    let whole = bases_with(Stage::Swap, &[".log"]);
    let live = bases_with(Stage::Live, &[".log"]);
    for base in swaps.range(void_from..) {
        for kind in KINDS {
            remove_if_there(dir, dir.file(&staged(*base, kind, Stage::Swap)))?;
        }
    }
    for base in swaps.range(..void_from) {
        if whole.contains(base) {
            let next_offset = end_of_swap(dir, *base)?;
            tracing::info!(dir = %dir.path().display(), base_offset = base, next_offset, "finishing a compaction that was cut short");
            for old in live.range(*base..next_offset.max(base.saturating_add(1))) {
                for kind in KINDS {
                    remove_if_there(dir, dir.file(&staged(*old, kind, Stage::Live)))?;
                }
            }
            sync(dir)?;
        }
        for kind in [".index", ".timeindex", TXN_INDEX_SUFFIX, ".log"] {
            // An index whose log has its name already is the right one for it.
            if whole.contains(base) || live.contains(base) {
                rename_if_there(dir, &staged(*base, kind, Stage::Swap), &staged(*base, kind, Stage::Live))?;
            } else {
                remove_if_there(dir, dir.file(&staged(*base, kind, Stage::Swap)))?;
            }
        }
        sync(dir)?;
    }
    Ok(true)
}

/// The first offset after a rewritten segment, every checksum in it looked at: the files it replaces go by it.
fn end_of_swap(dir: &Arc<PartitionDir>, base: i64) -> Result<i64> {
    let path = dir.file(&staged(base, ".log", Stage::Swap));
    let failed = |error| StorageError::io("read", &path, error);
    let file = dir.disk().open(&path, Open::Read).map_err(failed)?;
    let length = file.len().map_err(failed)?;
    let mut scanner = EntryScanner::new(file, 0, length, SCAN_WINDOW_BYTES);
    let mut next_offset = base;
    loop {
        match scanner.next_checked() {
            Ok(Some(entry)) => next_offset = next_offset.max(entry.next_offset()),
            Ok(None) => return Ok(next_offset),
            Err(ScanError::Io(error)) => return Err(failed(error)),
            Err(ScanError::Damaged { position, why }) => return Err(StorageError::Damaged { path, position, why }),
        }
    }
}

fn staged(base: i64, kind: &str, stage: Stage) -> String {
    let name = match kind {
        ".log" => file_name(base),
        ".index" => offset_index::file_name(base),
        ".timeindex" => time_index::file_name(base),
        other => format!("{base:020}{other}"),
    };
    format!("{name}{}", stage.suffix())
}

fn sync(dir: &PartitionDir) -> Result<()> {
    let path = dir.path();
    dir.disk().sync_dir(&path).map_err(|error| StorageError::io("sync", &path, error))
}

fn remove_if_there(dir: &PartitionDir, path: PathBuf) -> Result<()> {
    match dir.disk().remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", &path, error)),
        _ => Ok(()),
    }
}

fn rename_if_there(dir: &PartitionDir, from: &str, to: &str) -> Result<()> {
    let from = dir.file(from);
    match dir.disk().rename(&from, &dir.file(to)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io("rename", &from, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
