//! The files of a segment: their names, their way to stable storage, and their end.

use std::sync::atomic::Ordering;

use runtime::File;

use crate::error::{Result, StorageError};
use crate::segment::Segment;
use crate::{offset_index, time_index};

/// Where a segment stands between being written and being gone: a suffix after the names of its files (Kafka `LogSegment`, `UnifiedLog`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// In use.
    Live,
    /// Being written by the cleaner; a start removes it.
    Cleaned,
    /// Written by the cleaner as a whole; a start puts it in the place of the segments it was made from.
    Swap,
    /// Out of use; a start removes it.
    Deleted,
}

impl Stage {
    /// The suffix.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Stage::Live => "",
            Stage::Cleaned => ".cleaned",
            Stage::Swap => ".swap",
            Stage::Deleted => ".deleted",
        }
    }
}

impl Segment {
    /// Cuts the `.log` file to `size` bytes. Reserved space beyond goes too.
    ///
    /// # Errors
    /// What the file system says; the directory is offline then.
    pub(crate) fn cut_file(&self, size: u64) -> Result<()> {
        self.checked.cut(size);
        let failed = |error| self.dir.log_dir().fail("cut", &self.log.path(), error);
        self.log.pin().map_err(failed)?.set_len(size).map_err(failed)
    }

    /// Writes index entries out, the last timestamp included, and lets go of their memory.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_out_indexes(&self) -> Result<()> {
        let end = self.end();
        let written = self
            .time_index
            .maybe_append(end.max_timestamp, end.offset_of_max_timestamp)
            .and_then(|()| self.time_index.write_out())
            .and_then(|()| self.offset_index.write_out());
        written.map_err(|error| self.dir.log_dir().write_failed("write index of", &self.log.path(), error))
    }

    /// Writes out what a start has built anew: a closed segment holds nothing in memory, and the next start may believe its files. A disk that is full keeps it from being written,
    /// and the log from nothing else.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn write_out_rebuilt(&self) -> Result<()> {
        let written = self.time_index.write_out().and_then(|()| self.offset_index.write_out());
        match written.map_err(|error| self.dir.log_dir().write_failed("write index of", &self.log.path(), error)) {
            Err(StorageError::NoSpace { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes the files of the indexes. A segment without records has none: what is to be opened and removed with 10,000 logs that nobody writes to should be little.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn make_indexes(&self) -> Result<()> {
        let made = self.offset_index.make().and_then(|()| self.time_index.make());
        made.map_err(|error| self.dir.log_dir().write_failed("create index of", &self.log.path(), error))
    }

    /// Waits until the `.log` file is on stable storage.
    ///
    /// # Errors
    /// What the file system says; the directory is offline then.
    pub fn sync(&self) -> Result<()> {
        let failed = |error| self.dir.log_dir().fail("sync", &self.log.path(), error);
        self.log.pin().map_err(failed)?.sync_data().map_err(failed)
    }

    /// Makes the `.log` file look last written at `at_ms`: what a rewritten segment takes over from the one it was made of.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn set_modified_ms(&self, at_ms: i64) -> Result<()> {
        let set = self.log.pin().and_then(|file| file.set_modified_ms(at_ms));
        set.map_err(|error| self.dir.log_dir().write_failed("set the time of", &self.log.path(), error))
    }

    /// Waits until both indexes are on stable storage: those of a closed segment before the log counts as synced beyond it, for then they are believed; those of the last one at a
    /// shutdown in order.
    ///
    /// # Errors
    /// What the file system says; the directory is offline then.
    pub fn sync_indexes(&self) -> Result<()> {
        let failed = |error| self.dir.log_dir().fail("sync index of", &self.log.path(), error);
        self.offset_index.sync().and_then(|()| self.time_index.sync()).map_err(failed)
    }

    /// Takes the files out of use by the suffix `.deleted`; [`Segment::remove`] removes them later. Readers that hold the segment read on.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn mark_deleted(&self) -> Result<()> {
        self.deleted.store(true, Ordering::Release);
        self.set_stage(Stage::Deleted)
    }

    /// Renames the files to those of a stage. The `.log` file goes first out of use and comes last into use, so that a crash between never leaves
    /// it beside the index of another.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn set_stage(&self, stage: Stage) -> Result<()> {
        let name = |name: String| format!("{name}{}", stage.suffix());
        let log = || self.log.rename(name(file_name(self.base_offset)));
        let indexes = || {
            self.offset_index.file().rename(name(offset_index::file_name(self.base_offset)))?;
            self.time_index.file().rename(name(time_index::file_name(self.base_offset)))
        };
        let renamed = match stage {
            Stage::Deleted => log().and_then(|()| indexes()),
            Stage::Live | Stage::Cleaned | Stage::Swap => indexes().and_then(|()| log()),
        };
        renamed.map_err(|error| self.dir.log_dir().write_failed("rename segment", &self.log.path(), error))
    }

    /// Whether the segment was taken out of use.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Removes the files.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn remove(&self) -> Result<()> {
        let removed = self
            .log
            .remove()
            .and_then(|()| self.offset_index.file().remove())
            .and_then(|()| self.time_index.file().remove());
        removed.map_err(|error| StorageError::io("remove", &self.log.path(), error))
    }

    /// Closes the files.
    pub fn close(&self) {
        self.log.close();
        self.offset_index.file().close();
        self.time_index.file().close();
    }

    /// The `.log` file, open for reading.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read_file(&self) -> Result<File> {
        self.log.open().map_err(|error| self.read_error("open segment", error))
    }
}

/// Name of the `.log` file of the segment that begins at `base_offset`.
#[must_use]
pub fn file_name(base_offset: i64) -> String {
    format!("{base_offset:020}.log")
}

/// The base offset in the name of a file with this suffix.
#[must_use]
pub fn base_offset_of(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}
