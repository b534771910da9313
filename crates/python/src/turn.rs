//! Tasks that run Python take turns.
//!
//! Two threads that both compute in Python only pass the interpreter's lock back and forth, every five milliseconds, each time with cold caches:
//! together they are slower than one after the other. So a task waits until the one before has left Python. A task that waits for something
//! else there (a socket, a sleep) lets the interpreter's lock go meanwhile, and must not keep the others out: a waiting task looks now and
//! then whether that lock is free, and where it stays so goes ahead without its turn.

use std::time::Duration;

use parking_lot::Mutex;
use pyo3::prelude::*;
use runtime::Clock;
use streaming::TaskError;

use crate::block::in_python;

/// Held by the task whose turn it is. One for the process, because the interpreter's lock is.
static TURN: Mutex<()> = Mutex::new(());

/// Wait before the first look at the interpreter's lock; each further wait is twice as long, up to the second.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const WAIT_MAX: Duration = Duration::from_millis(320);

/// A lock that is got within this time was free: whoever computes in Python lets it go only after five milliseconds.
const FREE_WITHIN: Duration = Duration::from_millis(2);

/// It must be free that often, with a pause between: a task that leaves Python, or passes the lock to the main thread and gets it back,
/// leaves it free for a moment too, and then two would compute at once.
const FREE_TIMES: u32 = 3;
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// Runs a task's call into Python when its turn comes.
pub fn in_task<T>(call: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T, TaskError> {
    let mut wait = FIRST_WAIT;
    loop {
        if let Some(_turn) = TURN.try_lock_for(wait) {
            return in_python(call);
        }
        if interpreter_is_free()? {
            // Whoever had the turn may be gone by now.
            let _turn = TURN.try_lock();
            return in_python(call);
        }
        wait = (wait * 2).min(WAIT_MAX);
    }
}

/// Whether nobody computes in Python.
fn interpreter_is_free() -> Result<bool, TaskError> {
    let clock = Clock::real();
    for look in 0..FREE_TIMES {
        if look > 0 {
            clock.block_for(LOOK_PAUSE);
        }
        let asked = clock.now();
        let free = Python::try_attach(|_| clock.now().saturating_duration_since(asked) < FREE_WITHIN);
        match free {
            Some(true) => {}
            Some(false) => return Ok(false),
            None => return Err(TaskError::message("the Python interpreter is ending")),
        }
    }
    Ok(true)
}
