//! Hands the first error and the end of a context to whoever waits for it.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::StreamingError;

#[derive(Default)]
pub(crate) struct Waiter {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    error: Option<StreamingError>,
    stopped: bool,
    batches: u64,
}

impl Waiter {
    /// Logs the error, and keeps it for whoever waits. The first one stays: later ones are often its consequences.
    pub(crate) fn report(&self, error: StreamingError) {
        tracing::error!("{error}");
        self.state.lock().error.get_or_insert(error);
        self.changed.notify_all();
    }

    pub(crate) fn stopped(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }

    pub(crate) fn batch_done(&self) {
        self.state.lock().batches += 1;
        self.changed.notify_all();
    }

    /// Waits for an error or the end; `false` where neither came in time. No limit waits for ever.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Result<bool, StreamingError> {
        let over = |state: &mut State| state.error.is_none() && !state.stopped;
        let mut state = self.state.lock();
        match limit {
            None => self.changed.wait_while(&mut state, over),
            Some(limit) => {
                self.changed.wait_while_for(&mut state, over, limit);
            }
        }
        match &state.error {
            Some(error) => Err(error.clone()),
            None => Ok(state.stopped),
        }
    }

    /// Waits until `count` batches have been dealt with since start; `false` where they were not in time.
    pub(crate) fn wait_batches(&self, count: u64, limit: Duration) -> bool {
        let mut state = self.state.lock();
        !self.changed.wait_while_for(&mut state, |state| state.batches < count, limit).timed_out()
    }
}
