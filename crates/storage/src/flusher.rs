//! Group commit: one `fdatasync` serves everybody who waits for it.
//!
//! A caller asks that a log be durable up to an offset and is called back. A log is in the queue at most once; whoever asks while its sync is
//! under way is served by the next one, which covers all that was appended meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use protocol::types::Offset;

use crate::error::{Result, StorageError};
use crate::log::Log;

/// Callers that may wait for one log; beyond it [`StorageError::TooManyWaiters`].
pub const WAITERS_MAX: usize = 100_000;

/// Called once, from a thread of the flusher or from the caller's own where nothing is left to do, with the offset that is durable.
pub type FlushDone = Box<dyn FnOnce(Result<Offset>) + Send>;

/// A bounded pool of threads that sync logs. Cheap to clone; the threads end with [`Flusher::shutdown`].
#[derive(Clone)]
pub struct Flusher {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
}

#[derive(Default)]
struct Queue {
    logs: VecDeque<Arc<Log>>,
    stopped: bool,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// Who waits for one log, and whether it is in the queue.
#[derive(Default)]
pub(crate) struct FlushWaiters(Mutex<Waiters>);

#[derive(Default)]
struct Waiters {
    queued: bool,
    waiting: Vec<(Offset, FlushDone)>,
}

impl std::fmt::Debug for FlushWaiters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlushWaiters").field("waiting", &self.0.lock().waiting.len()).finish()
    }
}

impl std::fmt::Debug for Flusher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flusher").field("queued", &self.shared.queue.lock().logs.len()).finish()
    }
}

impl Flusher {
    /// Starts `threads` threads. With none, requests wait until somebody calls [`Flusher::run_queued`]: so that a simulation decides when.
    ///
    /// # Errors
    /// Where the machine has no thread left to give.
    pub fn start(threads: usize) -> std::io::Result<Flusher> {
        let shared = Arc::new(Shared { queue: Mutex::new(Queue::default()), work: Condvar::new() });
        for number in 0..threads {
            let worker = shared.clone();
            let thread = runtime::thread(format!("log-flusher-{number}"), move || worker.run())?;
            shared.queue.lock().threads.push(thread);
        }
        Ok(Flusher { shared })
    }

    /// Asks that `log` be durable up to `up_to`, which must not lie beyond its end. `done` is called once that is so, or when it cannot be.
    pub fn request(&self, log: &Arc<Log>, up_to: Offset, done: FlushDone) {
        let durable = log.durable_offset();
        if durable >= up_to {
            done(log.check_open().map(|()| durable));
            return;
        }
        {
            let mut waiters = log.flush_waiters.0.lock();
            if waiters.waiting.len() >= WAITERS_MAX {
                drop(waiters);
                done(Err(StorageError::TooManyWaiters { partition: log.partition().clone() }));
                return;
            }
            waiters.waiting.push((up_to, done));
            if waiters.queued {
                return;
            }
            waiters.queued = true;
        }
        self.shared.enqueue(log.clone(), false);
    }

    /// Logs that wait to be synced.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.queue.lock().logs.len()
    }

    /// Syncs, on the caller's own thread, every log that waits for it now.
    pub fn run_queued(&self) {
        loop {
            let Some(log) = self.shared.queue.lock().logs.pop_front() else { return };
            self.shared.serve(log);
        }
    }

    /// Serves those who wait and ends the threads. Later requests are refused.
    pub fn shutdown(&self) {
        self.stop();
        self.run_queued();
        let threads = std::mem::take(&mut self.shared.queue.lock().threads);
        for thread in threads {
            // A thread that panicked has said so; nobody waits for what it would have returned.
            let _ = thread.join();
        }
    }

    /// Refuses later requests; the threads end once those who wait are served. Unlike [`Flusher::shutdown`] it may be called from a callback.
    pub fn stop(&self) {
        self.shared.queue.lock().stopped = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn enqueue(&self, log: Arc<Log>, from_worker: bool) {
        let mut queue = self.queue.lock();
        // A worker looks at the queue once more before it ends, so what it queues itself is served.
        if queue.stopped && !from_worker {
            drop(queue);
            let partition = log.partition().clone();
            log.flush_waiters.answer_all(&Err(StorageError::Closed { partition }));
            return;
        }
        queue.logs.push_back(log);
        drop(queue);
        self.work.notify_one();
    }

    fn run(&self) {
        loop {
            let log = {
                let mut queue = self.queue.lock();
                loop {
                    if let Some(log) = queue.logs.pop_front() {
                        break log;
                    }
                    if queue.stopped {
                        return;
                    }
                    self.work.wait(&mut queue);
                }
            };
            self.serve(log);
        }
    }

    fn serve(&self, log: Arc<Log>) {
        // Those who ask from here on are not served by this sync, which may have looked at the end of the log already.
        let waiting = log.flush_waiters.take();
        let began = log.clock.now();
        let result = log.flush();
        log.dir().log_dir().flushes.add(log.clock.now().saturating_duration_since(began));
        let again = log.flush_waiters.finish();
        for (up_to, done) in waiting {
            done(match &result {
                Ok(durable) if *durable < up_to => {
                    Err(StorageError::Cut { partition: log.partition().clone(), offset: up_to })
                }
                result => result.clone(),
            });
        }
        if again {
            self.enqueue(log, true);
        }
    }
}

impl FlushWaiters {
    fn take(&self) -> Vec<(Offset, FlushDone)> {
        std::mem::take(&mut self.0.lock().waiting)
    }

    /// Ends a turn. Gives whether others asked meanwhile, for whom the log must be queued again.
    fn finish(&self) -> bool {
        let mut waiters = self.0.lock();
        waiters.queued = !waiters.waiting.is_empty();
        waiters.queued
    }

    fn answer_all(&self, result: &Result<Offset>) {
        let served = {
            let mut waiters = self.0.lock();
            waiters.queued = false;
            std::mem::take(&mut waiters.waiting)
        };
        for (_, done) in served {
            done(result.clone());
        }
    }
}

#[cfg(test)]
mod tests;
