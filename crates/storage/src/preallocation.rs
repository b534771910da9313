//! Disk space reserved ahead of the end of a growing segment: it halves the cost of an append and makes a sync cheaper.
//!
//! The file's length never shows it (KEEP_SIZE): a visible tail of zeros would break Kafka's readers. Nothing is reserved before 1 MiB is
//! written, so small topics cost nothing; then the reserve doubles up to 32 MiB ahead, within one budget for the directory.

use std::sync::Arc;

use runtime::File;

use crate::error::Result;
use crate::log_dir::LogDir;
use crate::segment::Segment;

/// Bytes written before anything is reserved; also the first reserve.
pub const STEP_BYTES_MIN: u64 = 1 << 20;
/// Largest reserve.
pub const STEP_BYTES_MAX: u64 = 32 << 20;

/// What is reserved for the active segment of one log.
#[derive(Debug)]
pub struct Preallocation {
    log_dir: Arc<LogDir>,
    /// Position up to which space is reserved; at most the written bytes where nothing is.
    reserved_to: u64,
    /// Bytes taken from the directory's budget.
    budget_taken: u64,
}

impl Preallocation {
    /// Nothing reserved, for a segment of `written` bytes.
    #[must_use]
    pub fn new(log_dir: Arc<LogDir>, written: u64) -> Preallocation {
        Preallocation { log_dir, reserved_to: written, budget_taken: 0 }
    }

    /// Reserves the next step where an append that makes the segment `size` bytes long goes beyond what is reserved. Never fails: a disk
    /// that has no space to reserve may still have space to write.
    pub fn advance(&mut self, file: &File, size: u64, segment_bytes: u64) {
        if size < STEP_BYTES_MIN || size <= self.reserved_to {
            return;
        }
        let step = size.next_power_of_two().clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
        let step = step.min(segment_bytes.saturating_sub(size));
        // What was reserved is written now, so its share of the budget is free.
        self.log_dir.return_budget(self.budget_taken);
        self.budget_taken = 0;
        self.reserved_to = size;
        if step == 0 || !self.log_dir.take_budget(step) {
            return;
        }
        self.budget_taken = step;
        match file.reserve(size, step) {
            Ok(()) => self.reserved_to = size + step,
            Err(error) => {
                tracing::debug!(%error, "no space reserved ahead");
                self.abandon();
                self.reserved_to = size;
            }
        }
    }

    /// Gives unused space back: the segment is closed, or idle.
    ///
    /// # Errors
    /// The file cannot be cut to its own length; the directory is offline then.
    pub fn release(&mut self, segment: &Segment) -> Result<()> {
        if self.budget_taken > 0 {
            segment.cut_file(segment.size())?;
        }
        self.abandon();
        Ok(())
    }

    /// Gives the budget back without touching the file.
    pub fn abandon(&mut self) {
        self.log_dir.return_budget(self.budget_taken);
        self.budget_taken = 0;
        self.reserved_to = 0;
    }
}

impl Drop for Preallocation {
    fn drop(&mut self) {
        self.abandon();
    }
}
