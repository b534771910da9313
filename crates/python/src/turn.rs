//! Tasks that run Python take turns.
//!
//! Two threads that both compute in Python only pass the interpreter's lock back and forth, every five milliseconds, each time with cold caches:
//! together they are slower than one after the other. So a task waits until the one before has left Python. A task that waits for something
//! else there (a socket, a sleep) lets the interpreter's lock go meanwhile, and must not keep the others out: a waiting task looks now and
//! then whether that lock is free, and where it is goes ahead without its turn.

use std::time::Duration;

use parking_lot::Mutex;
use pyo3::prelude::*;
use runtime::Clock;
use streaming::TaskError;

use crate::block::{PythonError, in_python};

/// Held by the task whose turn it is. One for the process, because the interpreter's lock is.
static TURN: Mutex<()> = Mutex::new(());

/// Wait before the first look at the interpreter's lock; each further wait is twice as long, up to the second.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const WAIT_MAX: Duration = Duration::from_millis(320);

/// A lock that is got within this time was free: whoever computes in Python lets it go only after five milliseconds.
const FREE_WITHIN: Duration = Duration::from_millis(2);

/// Runs a task's call into Python when its turn comes.
pub fn in_task<T>(call: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T, TaskError> {
    let mut call = Some(call);
    let mut wait = FIRST_WAIT;
    loop {
        if let Some(_turn) = TURN.try_lock_for(wait) {
            let call = call.take().expect("a call is taken once, by the branch that returns");
            return in_python(call);
        }
        let clock = Clock::real();
        let asked = clock.now();
        let went_ahead = Python::try_attach(|py| {
            let free = clock.now().saturating_duration_since(asked) < FREE_WITHIN;
            free.then(|| call.take().expect("a call is taken once, by the branch that returns")(py))
        });
        match went_ahead {
            Some(Some(result)) => return result.map_err(|error| PythonError::new(error).into()),
            Some(None) => wait = (wait * 2).min(WAIT_MAX),
            None => return Err(TaskError::message("the Python interpreter is ending")),
        }
    }
}
