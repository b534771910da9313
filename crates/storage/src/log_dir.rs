//! One of the broker's `log.dirs`: its lock, its health, and the recovery points promised in it.
//!
//! Always true: after the first failed write or sync every operation in the directory fails with that first cause, which is logged once. A
//! full file system is no failure: it only keeps appends out while it lasts ([`crate::log_manager::LogDirState::Full`]). The
//! offsets in its checkpoint files are lowered on disk *before* a log is cut below them.

mod stored_offsets;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use protocol::types::TopicPartition;
use runtime::{Disk, Durations};
pub use stored_offsets::StoredOffsets;
pub(crate) use stored_offsets::judge;

use crate::checkpoints::{CLEANER_FILE, HIGH_WATERMARK_FILE, LOG_START_FILE, RECOVERY_POINT_FILE};
use crate::error::{Result, StorageError};

/// Bytes that all logs of one directory together may reserve ahead of their ends.
pub const PREALLOCATION_BUDGET_BYTES: u64 = 512 << 20;

/// One log directory.
#[derive(Debug)]
pub struct LogDir {
    path: PathBuf,
    disk: Disk,
    failure: OnceLock<Arc<str>>,
    full: AtomicBool,
    low: AtomicBool,
    said_full: AtomicBool,
    free_when_full: AtomicU64,
    reserved_bytes: AtomicU64,
    /// Directories of logs that were made since the start.
    logs_made: AtomicU64,
    /// How many of them have names that outlast a power cut.
    logs_named: AtomicU64,
    /// Offsets up to which each log was synced: never above the bytes that were.
    pub(crate) recovery_points: StoredOffsets,
    /// High watermarks.
    pub(crate) high_watermarks: StoredOffsets,
    /// First offsets that may be read, where older records are still there.
    pub(crate) log_starts: StoredOffsets,
    /// How long the syncs of its logs took.
    pub(crate) flushes: Durations,
    /// Offsets up to which logs were cleaned.
    pub(crate) cleaned: StoredOffsets,
}

impl LogDir {
    /// Wraps a directory that is there already.
    #[must_use]
    pub fn new(path: PathBuf, disk: Disk) -> LogDir {
        LogDir {
            path,
            disk,
            failure: OnceLock::new(),
            full: AtomicBool::new(false),
            low: AtomicBool::new(false),
            said_full: AtomicBool::new(false),
            free_when_full: AtomicU64::new(0),
            reserved_bytes: AtomicU64::new(0),
            logs_made: AtomicU64::new(0),
            logs_named: AtomicU64::new(0),
            recovery_points: StoredOffsets::new(RECOVERY_POINT_FILE),
            high_watermarks: StoredOffsets::new(HIGH_WATERMARK_FILE),
            log_starts: StoredOffsets::new(LOG_START_FILE),
            flushes: Durations::default(),
            cleaned: StoredOffsets::new(CLEANER_FILE),
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk it is on.
    #[must_use]
    pub fn disk(&self) -> Disk {
        self.disk
    }

    /// Fails where the directory is offline.
    ///
    /// # Errors
    /// [`StorageError::DirOffline`] with the first cause.
    pub fn check(&self) -> Result<()> {
        match self.failure.get() {
            None => Ok(()),
            Some(cause) => Err(StorageError::DirOffline { dir: self.path.clone(), cause: cause.clone() }),
        }
    }

    /// Fails where the directory is offline, or full.
    ///
    /// # Errors
    /// [`StorageError::DirOffline`], [`StorageError::NoSpace`].
    pub fn check_appends(&self) -> Result<()> {
        self.check()?;
        if self.is_full() {
            return Err(StorageError::NoSpace { dir: self.path.clone(), action: "append" });
        }
        Ok(())
    }

    /// Whether a write found no room, and none was seen since.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Bytes that were free when a write last found too few.
    pub(crate) fn free_when_full(&self) -> u64 {
        self.free_when_full.load(Ordering::Acquire)
    }

    /// There is room again, and people may be told anew when it is gone.
    pub(crate) fn end_full(&self) {
        self.said_full.store(false, Ordering::Release);
        self.full.store(false, Ordering::Release);
    }

    /// Whether there is little room left.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.low.load(Ordering::Acquire)
    }

    pub(crate) fn set_low(&self, low: bool) {
        self.low.store(low, Ordering::Release);
    }

    /// Notes whether people were told that the directory is full; gives what was noted before.
    pub(crate) fn said_full(&self, said: bool) -> bool {
        self.said_full.swap(said, Ordering::AcqRel)
    }

    /// Takes the directory offline, saying why the first time, and gives the error for the caller.
    pub fn fail(&self, action: &'static str, path: &Path, source: io::Error) -> StorageError {
        let error = StorageError::io(action, path, source);
        self.take_offline(&error);
        error
    }

    /// Keeps a directory offline that could not be opened. The report of the start says so.
    pub(crate) fn keep_offline(&self, cause: &StorageError) {
        let _ = self.failure.set(cause.to_string().into());
    }

    /// Takes the directory offline for a cause found elsewhere.
    pub fn take_offline(&self, cause: &StorageError) {
        let text: Arc<str> = cause.to_string().into();
        if self.failure.set(text).is_ok() {
            tracing::error!(
                dir = %self.path.display(),
                %cause,
                "log directory is offline until the broker is restarted: what it holds is trusted only after a check"
            );
        }
    }

    /// Judges a failed write: a full disk leaves the directory online, anything else takes it offline.
    pub(crate) fn write_failed(&self, action: &'static str, path: &Path, source: io::Error) -> StorageError {
        if is_full(&source) {
            let free = self.disk.free_bytes(&self.path).unwrap_or(0);
            self.free_when_full.store(free, Ordering::Release);
            self.full.store(true, Ordering::Release);
            return StorageError::NoSpace { dir: self.path.clone(), action };
        }
        self.fail(action, path, source)
    }

    /// Takes up to `bytes` from the preallocation budget.
    pub(crate) fn take_budget(&self, bytes: u64) -> bool {
        self.reserved_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
                reserved.checked_add(bytes).filter(|total| *total <= PREALLOCATION_BUDGET_BYTES)
            })
            .is_ok()
    }

    /// Gives bytes back to the preallocation budget.
    pub(crate) fn return_budget(&self, bytes: u64) {
        let result = self
            .reserved_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| reserved.checked_sub(bytes));
        debug_assert!(result.is_ok(), "more bytes given back than taken");
    }

    /// Bytes reserved ahead of the ends of logs.
    #[must_use]
    pub fn reserved_bytes(&self) -> u64 {
        self.reserved_bytes.load(Ordering::Relaxed)
    }

    /// Makes the directory of a log, whose name outlasts a power cut only after [`PartitionDir::sync_names`]. `None` where a directory of that name is there already.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn make_log(self: &Arc<Self>, path: PathBuf) -> Result<Option<PartitionDir>> {
        match self.disk.create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(self.write_failed("create", &path, error)),
        }
        let number = self.logs_made.fetch_add(1, Ordering::AcqRel) + 1;
        Ok(Some(PartitionDir { number, ..PartitionDir::new(self.clone(), path) }))
    }

    /// Makes the names of all logs in it outlast a power cut.
    ///
    /// # Errors
    /// What the file system says; the directory is offline then.
    pub(crate) fn sync_names(&self) -> Result<()> {
        self.disk.sync_dir(&self.path).map_err(|error| self.fail("sync", &self.path, error))
    }

    /// Makes the name of the log made as the `number`th outlast a power cut, and with it those of all that were made so far: one sync for a topic of 1,000 partitions.
    fn sync_names_to(&self, number: u64) -> io::Result<()> {
        if number <= self.logs_named.load(Ordering::Acquire) {
            return Ok(());
        }
        let made = self.logs_made.load(Ordering::Acquire);
        self.disk.sync_dir(&self.path)?;
        self.logs_named.fetch_max(made, Ordering::AcqRel);
        Ok(())
    }

    /// Offset up to which the log of `partition` was cleaned, where it was.
    #[must_use]
    pub fn cleaned_to(&self, partition: &TopicPartition) -> Option<i64> {
        self.cleaned.get(partition)
    }
}

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Directory of one partition. Its name changes when the log is marked for deletion, under the feet of readers that still hold segments.
#[derive(Debug)]
pub struct PartitionDir {
    log_dir: Arc<LogDir>,
    path: RwLock<PathBuf>,
    /// Which of the directories made since the start it is; 0 for one that was there.
    number: u64,
    /// An index of a segment was found not to fit: there is something to mend.
    pub(crate) has_wrong_index: AtomicBool,
}

impl PartitionDir {
    /// Names the directory of a partition, which is there already.
    #[must_use]
    pub fn new(log_dir: Arc<LogDir>, path: PathBuf) -> PartitionDir {
        PartitionDir { log_dir, path: RwLock::new(path), number: 0, has_wrong_index: AtomicBool::new(false) }
    }

    /// The log directory it is in.
    #[must_use]
    pub fn log_dir(&self) -> &Arc<LogDir> {
        &self.log_dir
    }

    /// The disk it is on.
    #[must_use]
    pub fn disk(&self) -> Disk {
        self.log_dir.disk
    }

    /// The directory as it is called now.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.path.read().clone()
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.read().join(name)
    }

    /// Makes the names in the directory, and its own, outlast a power cut.
    ///
    /// # Errors
    /// What the file system says; the log directory is offline then.
    pub(crate) fn sync_names(&self) -> Result<()> {
        let path = self.path();
        let synced = self.disk().sync_dir(&path).and_then(|()| self.log_dir.sync_names_to(self.number));
        synced.map_err(|error| self.log_dir.fail("sync", &path, error))
    }

    /// Gives the directory another name, on disk and here.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn rename(&self, to: PathBuf) -> io::Result<()> {
        let mut path = self.path.write();
        self.log_dir.disk.rename(&path, &to)?;
        *path = to;
        self.log_dir.disk.sync_dir(&self.log_dir.path)
    }
}
