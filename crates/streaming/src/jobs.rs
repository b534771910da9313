//! Batches: a generator makes the jobs of each batch when its time comes, a scheduler runs them, one batch after the other.
//!
//! Always true: batch times are consecutive multiples of the interval; batches run in the order of their times; a batch that fails is
//! reported and the next one runs.
//!
//! # Layout
//! - [`clock`]: the timer's clock, or one that a test turns
//! - [`generator`]: jobs for each batch time
//! - [`scheduler`]: runs job sets
//! - [`waiter`]: hands errors and the end to whoever waits

pub mod clock;
pub(crate) mod generator;
pub(crate) mod scheduler;
pub(crate) mod waiter;

use std::cell::Cell;

pub use clock::{BatchClock, ManualClock};

thread_local! {
    static ENGINE: Cell<bool> = const { Cell::new(false) };
}

/// Marks the current thread as one that `stop` would wait for.
pub(crate) fn mark_engine_thread() {
    ENGINE.with(|engine| engine.set(true));
}

/// Whether the current thread is one that `stop` would wait for.
pub(crate) fn is_engine_thread() -> bool {
    ENGINE.with(Cell::get)
}
