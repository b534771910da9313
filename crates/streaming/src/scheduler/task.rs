//! What a running task knows: its partition, whether its job was cancelled, and how deep it stands in the lineage.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::TaskError;

/// RDDs that one task may run nested in each other. Each costs stack; a longer lineage is cut by `cache()`.
pub const LINEAGE_DEPTH_MAX: u32 = 400;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Passed to everything that computes a partition.
#[derive(Debug)]
pub struct TaskContext {
    partition: usize,
    cancelled: Arc<AtomicBool>,
    depth: Cell<u32>,
}

impl TaskContext {
    pub(crate) fn new(partition: usize, cancelled: Arc<AtomicBool>) -> TaskContext {
        TaskContext { partition, cancelled, depth: Cell::new(0) }
    }

    /// The partition this task was started for.
    #[must_use]
    pub fn partition(&self) -> usize {
        self.partition
    }

    /// Whether the result is no longer wanted. Sources that take long ask now and then.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Fails where the job was cancelled.
    ///
    /// # Errors
    /// "job was cancelled".
    pub fn check(&self) -> Result<(), TaskError> {
        if self.is_cancelled() { Err(crate::error::JobError::Cancelled.into()) } else { Ok(()) }
    }

    /// Steps one RDD further up the lineage until the guard is dropped.
    pub(crate) fn enter(&self) -> Result<Depth<'_>, TaskError> {
        self.check()?;
        let depth = self.depth.get() + 1;
        if depth > LINEAGE_DEPTH_MAX {
            return Err(TaskError::message(format!(
                "lineage of more than {LINEAGE_DEPTH_MAX} RDDs without a shuffle; cache() one of them on the way"
            )));
        }
        self.depth.set(depth);
        Ok(Depth(self))
    }

    /// Whether the current thread runs a task.
    pub(crate) fn is_inside_task() -> bool {
        INSIDE.with(Cell::get)
    }

    /// Marks the current thread as running a task while `body` runs.
    pub(crate) fn inside<R>(body: impl FnOnce() -> R) -> R {
        INSIDE.with(|inside| inside.set(true));
        let result = body();
        INSIDE.with(|inside| inside.set(false));
        result
    }
}

/// Guard of [`TaskContext::enter`].
pub(crate) struct Depth<'a>(&'a TaskContext);

impl Drop for Depth<'_> {
    fn drop(&mut self) {
        self.0.depth.set(self.0.depth.get() - 1);
    }
}
