//! One of a log directory's checkpoint files: an offset for each log, as it is on disk.
//!
//! Always true: what is remembered here is what the file says, or nothing where it is damaged; a log that is about to lose what an offset promises has it lowered on disk first.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use protocol::types::TopicPartition;

use super::LogDir;
use crate::checkpoints;
use crate::error::{Result, StorageError};

/// One checkpoint file, by its name in the directory.
#[derive(Debug)]
pub struct StoredOffsets {
    file: &'static str,
    offsets: Mutex<BTreeMap<TopicPartition, i64>>,
    /// The file is damaged: it is written anew even where nothing changed.
    is_damaged: AtomicBool,
}

impl StoredOffsets {
    pub(super) fn new(file: &'static str) -> StoredOffsets {
        StoredOffsets { file, offsets: Mutex::new(BTreeMap::new()), is_damaged: AtomicBool::new(false) }
    }

    /// Takes over what was read from the file.
    pub(crate) fn set(&self, offsets: BTreeMap<TopicPartition, i64>) {
        *self.offsets.lock() = offsets;
    }

    /// Notes that the file cannot be believed; nothing is known.
    pub(crate) fn set_damaged(&self) {
        self.is_damaged.store(true, Ordering::Release);
    }

    /// The offset of a log, where the file names it.
    pub(crate) fn get(&self, partition: &TopicPartition) -> Option<i64> {
        self.offsets.lock().get(partition).copied()
    }

    /// Says this offset of a log.
    ///
    /// # Errors
    /// The directory is offline, or the write failed.
    pub(crate) fn note(&self, dir: &LogDir, partition: &TopicPartition, offset: i64) -> Result<()> {
        self.change(dir, |stored| (stored.get(partition) != Some(&offset)).then(|| with(stored, partition, offset)))
    }

    /// Replaces the file, where it would say something else. The offsets are asked for when nobody else can change the file any more: else what
    /// was read before a cut could be written after it.
    ///
    /// # Errors
    /// The directory is offline, or the write failed.
    pub(crate) fn replace(&self, dir: &LogDir, offsets: impl FnOnce() -> BTreeMap<TopicPartition, i64>) -> Result<()> {
        self.change(dir, |stored| {
            let offsets = offsets();
            (*stored != offsets || self.is_damaged.load(Ordering::Acquire)).then_some(offsets)
        })
    }

    /// Says at most `offset` of a log that the file names.
    ///
    /// # Errors
    /// The directory is offline, or the write failed; the log must not be cut then.
    pub(crate) fn lower(&self, dir: &LogDir, partition: &TopicPartition, offset: i64) -> Result<()> {
        self.change(dir, |stored| {
            let lower = stored.get(partition).is_some_and(|known| *known > offset);
            lower.then(|| with(stored, partition, offset))
        })
    }

    /// Says at least `offset` of a log.
    ///
    /// # Errors
    /// The directory is offline, or the write failed.
    pub(crate) fn raise(&self, dir: &LogDir, partition: &TopicPartition, offset: i64) -> Result<()> {
        self.change(dir, |stored| {
            let higher = stored.get(partition).is_none_or(|known| *known < offset);
            higher.then(|| with(stored, partition, offset))
        })
    }

    /// Says nothing of a log any more.
    ///
    /// # Errors
    /// The directory is offline, or the write failed.
    pub(crate) fn forget(&self, dir: &LogDir, partition: &TopicPartition) -> Result<()> {
        self.change(dir, |stored| {
            stored.contains_key(partition).then(|| {
                let mut offsets = stored.clone();
                offsets.remove(partition);
                offsets
            })
        })
    }

    fn change(
        &self,
        dir: &LogDir,
        change: impl FnOnce(&BTreeMap<TopicPartition, i64>) -> Option<BTreeMap<TopicPartition, i64>>,
    ) -> Result<()> {
        dir.check()?;
        let mut stored = self.offsets.lock();
        let Some(offsets) = change(&stored) else { return Ok(()) };
        let path = dir.path().join(self.file);
        checkpoints::write_offsets(dir.disk(), &path, &offsets).map_err(|error| judge(dir, &path, error))?;
        *stored = offsets;
        self.is_damaged.store(false, Ordering::Release);
        Ok(())
    }
}

fn with(
    stored: &BTreeMap<TopicPartition, i64>,
    partition: &TopicPartition,
    offset: i64,
) -> BTreeMap<TopicPartition, i64> {
    let mut offsets = stored.clone();
    offsets.insert(partition.clone(), offset);
    offsets
}

/// A checkpoint that cannot be written takes its directory offline as any failed write does, unless there was no room.
pub(crate) fn judge(dir: &LogDir, path: &Path, error: StorageError) -> StorageError {
    match error {
        StorageError::Io { action, source, .. } => {
            let source = match source.raw_os_error() {
                Some(errno) => io::Error::from_raw_os_error(errno),
                None => io::Error::new(source.kind(), source.to_string()),
            };
            dir.write_failed(action, path, source)
        }
        other => other,
    }
}
