//! Runs the job sets of batches, one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::Receiver;

use crate::context::Inner;
use crate::dstream::graph::Job;
use crate::error::{StreamingError, TaskError};
use crate::listener::{BatchInfo, Event};
use crate::scheduler::context::panic_text;
use crate::time::Time;

/// Batches that may wait for their turn. When a job is that far behind, the generator waits.
pub(crate) const WAITING_BATCHES_MAX: usize = 64;

/// The jobs of one batch.
pub(crate) struct JobSet {
    pub(crate) time: Time,
    pub(crate) jobs: Vec<Job>,
    pub(crate) info: BatchInfo,
    /// Whether the jobs could not be made.
    pub(crate) failed: bool,
}

/// The loop of the scheduler's thread: ends when the generator has hung up, or at once when the context is stopped without grace.
pub(crate) fn run(inner: &Arc<Inner>, job_sets: &Receiver<JobSet>) {
    for job_set in job_sets {
        if inner.is_aborting() {
            break;
        }
        run_batch(inner, job_set);
        inner.waiter.batch_done();
    }
}

fn run_batch(inner: &Arc<Inner>, job_set: JobSet) {
    let JobSet { time, jobs, mut info, mut failed } = job_set;
    let has_jobs = !jobs.is_empty();
    if has_jobs {
        info.processing_start_time = Some(inner.clock.now_ms());
        inner.bus.post(Event::BatchStarted(info.clone()));
    }
    for job in jobs {
        failed |= !run_job(inner, time, job, &mut info);
    }
    // States that no output operation computed would otherwise hang on to all batches before.
    if let Err(error) = inner.graph.materialize_states(time)
        && !std::mem::replace(&mut failed, true)
    {
        inner.report_unless_aborting(StreamingError::Job { time, output: "state".to_owned(), error });
    }
    if has_jobs {
        info.processing_end_time = Some(inner.clock.now_ms());
        warn_when_late(inner, &info);
        inner.bus.post(Event::BatchCompleted(info.clone()));
    }
    inner.graph.batch_completed(&info, !failed);
    inner.graph.clear_metadata(time);
}

/// Runs one output operation; whether it succeeded.
fn run_job(inner: &Arc<Inner>, time: Time, job: Job, info: &mut BatchInfo) -> bool {
    let mut operation = job.info(time);
    operation.start_time = Some(inner.clock.now_ms());
    inner.bus.post(Event::OutputOperationStarted(operation.clone()));
    let Job { id, name, body } = job;
    let result = catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|panic| Err(TaskError::message(format!("panicked: {}", panic_text(&*panic)))));
    operation.end_time = Some(inner.clock.now_ms());
    operation.failure_reason = result.as_ref().err().map(ToString::to_string);
    info.output_operation_infos.insert(id, operation.clone());
    inner.bus.post(Event::OutputOperationCompleted(operation));
    match result {
        Ok(()) => true,
        Err(error) => {
            inner.report_unless_aborting(StreamingError::Job { time, output: name, error });
            false
        }
    }
}

fn warn_when_late(inner: &Inner, info: &BatchInfo) {
    let (took, waited) = (info.processing_delay().unwrap_or(0), info.scheduling_delay().unwrap_or(0));
    if took > inner.batch.get() {
        tracing::warn!(
            "batch {} took {took} ms, longer than the batch interval of {}; it had waited {waited} ms before",
            info.batch_time,
            inner.batch
        );
    }
}
