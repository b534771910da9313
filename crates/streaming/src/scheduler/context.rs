//! `SparkContext`: the threads, ids and default parallelism of one program, and the jobs it runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use crossbeam_channel::unbounded;
use parking_lot::Mutex;
use runtime::Clock;

use crate::error::{JobError, StreamingError, TaskError};
use crate::notes::Notes;
use crate::rdd::{Data, Rdd};
use crate::scheduler::pool::Pool;
use crate::scheduler::{TaskContext, stages};

/// Threads that `local[n]` may ask for.
const THREADS_MAX: usize = 1024;

/// The executor of one program. Cheap to clone; all clones are the same executor.
#[derive(Clone)]
pub struct SparkContext(Arc<Inner>);

struct Inner {
    app_name: String,
    parallelism: usize,
    pool: Pool,
    next_id: AtomicU64,
    stopped: AtomicBool,
    jobs: Mutex<Vec<Weak<AtomicBool>>>,
    clock: Clock,
    notes: Notes,
    /// Where sources talk to the network; made when the first of them needs it.
    io: Mutex<Option<tokio::runtime::Runtime>>,
}

/// Threads of the sources' network runtime: they only frame and copy.
const IO_THREADS: usize = 1;

/// Threads for calls that block, of which name lookups are the only ones here.
const IO_BLOCKING_THREADS_MAX: usize = 4;

impl SparkContext {
    /// An executor in this process: `local` (one thread), `local[n]`, or `local[*]` (a thread per core).
    ///
    /// # Errors
    /// A master of another kind (`spark://`, `yarn`, ...), or no threads.
    pub fn new(master: &str, app_name: &str) -> Result<SparkContext, StreamingError> {
        let parallelism = local_threads(master)?;
        let pool = Pool::start(parallelism).map_err(|error| StreamingError::Thread(Arc::new(error)))?;
        Ok(SparkContext(Arc::new(Inner {
            app_name: app_name.to_owned(),
            parallelism,
            pool,
            next_id: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            jobs: Mutex::new(Vec::new()),
            clock: Clock::real(),
            notes: Notes::default(),
            io: Mutex::new(None),
        })))
    }

    /// The name given at construction.
    #[must_use]
    pub fn app_name(&self) -> &str {
        &self.0.app_name
    }

    /// Threads that run tasks, and the number of partitions where none is asked for.
    #[must_use]
    pub fn default_parallelism(&self) -> usize {
        self.0.parallelism
    }

    /// The clock that measures this program.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.0.clock
    }

    /// What this program's user is told by.
    #[must_use]
    pub fn notes(&self) -> &Notes {
        &self.0.notes
    }

    /// Refuses all further jobs and cancels those under way.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        self.cancel_all_jobs();
    }

    /// Whether [`SparkContext::stop`] was called.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }

    /// Cancels the jobs under way: their waiting tasks do not start, running ones end at their next check.
    pub fn cancel_all_jobs(&self) {
        for job in self.0.jobs.lock().drain(..) {
            if let Some(cancelled) = job.upgrade() {
                cancelled.store(true, Ordering::SeqCst);
            }
        }
    }

    /// The runtime on which sources talk to the network.
    pub(crate) fn io(&self) -> std::io::Result<tokio::runtime::Handle> {
        let mut io = self.0.io.lock();
        let runtime = match io.take() {
            Some(runtime) => runtime,
            None => runtime::spawn::multi_thread("streaming-io", IO_THREADS, IO_BLOCKING_THREADS_MAX)?,
        };
        Ok(io.insert(runtime).handle().clone())
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.0.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Computes the named partitions of `rdd`, one task each, and gives what `function` made of them, in that order. Blocks.
    ///
    /// # Errors
    /// The first task that failed; see [`JobError`].
    pub fn run_job<T: Data, R: Send + 'static>(
        &self,
        rdd: &Rdd<T>,
        partitions: &[usize],
        function: impl Fn(&Rdd<T>, usize, &TaskContext) -> Result<R, TaskError> + Send + Sync + 'static,
    ) -> Result<Vec<R>, JobError> {
        if TaskContext::is_inside_task() {
            return Err(JobError::InsideTask);
        }
        let in_rdd = rdd.num_partitions();
        if let Some(&partition) = partitions.iter().find(|&&partition| partition >= in_rdd) {
            return Err(JobError::NoSuchPartition { partition, partitions: in_rdd });
        }
        let cancelled = Arc::new(AtomicBool::new(false));
        {
            let mut jobs = self.0.jobs.lock();
            jobs.retain(|job| job.strong_count() > 0);
            jobs.push(Arc::downgrade(&cancelled));
        }
        if self.is_stopped() {
            return Err(JobError::Stopped);
        }
        for shuffle in stages::pending_shuffles(rdd.as_any()) {
            let _turn = shuffle.turn().lock();
            let missing = shuffle.missing();
            let stage = shuffle.clone();
            self.run_stage(&cancelled, &missing, move |partition, task| stage.run_map(partition, task))?;
        }
        let rdd = rdd.clone();
        self.run_stage(&cancelled, partitions, move |partition, task| function(&rdd, partition, task))
    }

    /// Runs one task per partition and waits for all of them, so that nothing of a failed job runs on behind the caller's back.
    fn run_stage<R: Send + 'static>(
        &self,
        cancelled: &Arc<AtomicBool>,
        partitions: &[usize],
        function: impl Fn(usize, &TaskContext) -> Result<R, TaskError> + Send + Sync + 'static,
    ) -> Result<Vec<R>, JobError> {
        let function = Arc::new(function);
        let (results, arrived) = unbounded();
        for (index, &partition) in partitions.iter().enumerate() {
            let (function, cancelled, results) = (function.clone(), cancelled.clone(), results.clone());
            self.0.pool.run(Box::new(move || {
                let task = TaskContext::new(partition, cancelled);
                let result = match task.check() {
                    Ok(()) => run_task(&*function, partition, &task),
                    Err(cancelled) => Err(cancelled),
                };
                drop(function);
                // The caller waits for every task, so the receiver is there.
                let _ = results.send((index, partition, result));
            }));
        }
        drop((results, function));
        let mut done: Vec<Option<R>> = partitions.iter().map(|_| None).collect();
        let mut failure: Option<JobError> = None;
        for (index, partition, result) in arrived {
            match result {
                Ok(value) => done[index] = Some(value),
                Err(error) if failure.is_none() => {
                    let by_caller = cancelled.swap(true, Ordering::SeqCst);
                    failure = Some(if by_caller { JobError::Cancelled } else { JobError::Task { partition, error } });
                }
                Err(_later) => {}
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(done.into_iter().flatten().collect()),
        }
    }
}

fn run_task<R>(
    function: &(impl Fn(usize, &TaskContext) -> Result<R, TaskError> + ?Sized),
    partition: usize,
    task: &TaskContext,
) -> Result<R, TaskError> {
    TaskContext::inside(|| {
        catch_unwind(AssertUnwindSafe(|| function(partition, task)))
            .unwrap_or_else(|panic| Err(TaskError::message(format!("panicked: {}", panic_text(&*panic)))))
    })
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_owned()
    }
}

fn local_threads(master: &str) -> Result<usize, StreamingError> {
    let threads = match master {
        "local" => Some(1),
        "local[*]" => Some(runtime::spawn::parallelism()),
        _ => master.strip_prefix("local[").and_then(|rest| rest.strip_suffix(']')).and_then(|n| n.parse().ok()),
    };
    match threads {
        Some(threads) if (1..=THREADS_MAX).contains(&threads) => Ok(threads),
        _ => Err(StreamingError::invalid(format!(
            "master {master:?} is not local, local[n] (n from 1 to {THREADS_MAX}) or local[*]"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters() {
        let check =
            |master: &str, expected: Option<usize>| assert_eq!(local_threads(master).ok(), expected, "{master}");
        check("local", Some(1));
        check("local[4]", Some(4));
        check("local[*]", Some(runtime::spawn::parallelism()));
        check("local[0]", None);
        check("local[4", None);
        check("yarn", None);
        check("spark://h:7077", None);
    }

    #[test]
    fn an_action_inside_a_task_is_refused() {
        let sc = SparkContext::new("local[2]", "test").unwrap();
        let inner = sc.parallelize(vec![1, 2, 3], 1);
        let error = sc.parallelize(vec![0], 1).try_map(move |_| Ok(inner.count()?)).collect().unwrap_err();
        assert!(error.to_string().contains("SPARK-5063"), "{error}");
    }

    #[test]
    fn a_panic_is_an_error_of_its_task_and_the_pool_lives_on() {
        let sc = SparkContext::new("local", "test").unwrap();
        let error = sc.parallelize(vec![1], 1).map(|_| -> i32 { panic!("no such luck") }).collect().unwrap_err();
        assert!(error.to_string().contains("no such luck"), "{error}");
        assert_eq!(sc.parallelize(vec![1, 2], 2).collect().unwrap(), vec![1, 2]);
    }

    #[test]
    fn a_stopped_context_runs_nothing() {
        let sc = SparkContext::new("local", "test").unwrap();
        let rdd = sc.parallelize(vec![1], 1);
        sc.stop();
        assert!(matches!(rdd.count(), Err(JobError::Stopped)));
    }
}
