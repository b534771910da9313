//! Tasks, threads and the pool for calls that block.

use std::future::Future;
use std::io;

pub use tokio::task::AbortHandle;

use crate::sim_host::SimHost;

/// A task under way. Await it for its result; dropping it lets the task run on.
pub type Task<T> = tokio::task::JoinHandle<T>;

/// Starts a task on the current tokio runtime.
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

/// Runs a call that blocks (an `fdatasync`, a cold read, a recovery) on the runtime's pool for such calls. Never for an append: the hop
/// doubles its cost.
#[allow(clippy::disallowed_methods, reason = "the one door to the blocking pool")]
pub fn spawn_blocking<F, T>(call: F) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if SimHost::is_played() {
        let result = call();
        return tokio::spawn(std::future::ready(result));
    }
    tokio::task::spawn_blocking(call)
}

/// Starts a named thread.
///
/// # Errors
/// Where the machine has no thread left to give.
pub fn thread<F, T>(name: impl Into<String>, body: F) -> io::Result<std::thread::JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    std::thread::Builder::new().name(name.into()).spawn(body)
}

/// A tokio runtime of `workers` threads for I/O, with the blocking pool bounded by `blocking_threads_max`.
///
/// # Errors
/// Where the machine has no thread or descriptor left to give.
pub fn multi_thread(name: &str, workers: usize, blocking_threads_max: usize) -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers.max(1))
        .max_blocking_threads(blocking_threads_max.max(1))
        .thread_name(name)
        .enable_all()
        .build()
}

/// A tokio runtime for one host of a simulated world: without sockets, timers of its own and threads. [`run_until_idle`] runs its tasks.
///
/// # Errors
/// Where the machine gives none.
pub fn simulated() -> io::Result<tokio::runtime::Runtime> {
    // With no interval after which it would look at sockets and timers, it looks up only when no task can go on.
    tokio::runtime::Builder::new_current_thread().event_interval(u32::MAX).build()
}

/// Runs the tasks of a [`simulated`] runtime until all of them wait.
pub fn run_until_idle(runtime: &tokio::runtime::Runtime) {
    runtime.block_on(async {
        // A task that yields for fairness goes on when the first yield is over.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
    });
}

/// A tokio runtime that runs on the thread that blocks on it.
///
/// # Errors
/// Where the machine has no descriptor left to give.
pub fn current_thread() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Worker threads that fit this machine.
#[must_use]
pub fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
