//! How far the start of a log manager is, for whoever waits for it.
//!
//! Always true: nothing here decreases, and `logs_loaded` never exceeds `logs`.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Filled in by [`crate::LogManager::open`] while it runs.
#[derive(Debug, Default)]
pub struct RecoveryProgress {
    logs: AtomicUsize,
    logs_loaded: AtomicUsize,
    bytes_checked: AtomicU64,
    unclean: AtomicBool,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Logs to load; 0 until the directories are listed.
    pub logs: usize,
    /// Of these, those that are loaded.
    pub logs_loaded: usize,
    /// Bytes whose checksums were computed.
    pub bytes_checked: u64,
    /// Whether a directory was not shut down cleanly, so that logs are checked.
    pub unclean: bool,
}

impl RecoveryProgress {
    /// How far it is now.
    #[must_use]
    pub fn read(&self) -> Recovered {
        let logs_loaded = self.logs_loaded.load(Ordering::Acquire);
        Recovered {
            logs: self.logs.load(Ordering::Acquire),
            logs_loaded,
            bytes_checked: self.bytes_checked.load(Ordering::Relaxed),
            unclean: self.unclean.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn begin(&self, logs: usize, unclean: bool) {
        self.unclean.store(unclean, Ordering::Relaxed);
        self.logs.store(logs, Ordering::Release);
    }

    pub(crate) fn loaded_one(&self) {
        self.logs_loaded.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn checked(&self, bytes: u64) {
        self.bytes_checked.fetch_add(bytes, Ordering::Relaxed);
    }
}
