//! What the engine tells the user of a program, who may have no log: lines on stderr, each complete.
//!
//! Once a program ends they are held back: behind a traceback, or beside a prompt that is back, they would only hide what the user looks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where notes go. Clones are one place.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    held_back: Arc<AtomicBool>,
}

impl Notes {
    /// Shows one line, unless notes are held back.
    #[allow(clippy::print_stderr, reason = "this is the one place that speaks to the user of the program")]
    pub fn say(&self, line: &str) {
        if !self.held_back.load(Ordering::SeqCst) {
            eprintln!("{line}");
        }
    }

    /// From now on nothing is shown, or, with `false`, everything again.
    pub fn hold_back(&self, held_back: bool) {
        self.held_back.store(held_back, Ordering::SeqCst);
    }
}
