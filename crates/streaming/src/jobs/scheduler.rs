//! Runs the job sets of batches, one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::Receiver;

use crate::context::Inner;
use crate::dstream::graph::Job;
use crate::error::{StreamingError, TaskError};
use crate::listener::{BatchInfo, Event};
use crate::scheduler::context::panic_text;
use crate::time::{Millis, Time};

/// Batches that may wait for their turn. When a job is that far behind, the generator waits.
pub(crate) const WAITING_BATCHES_MAX: usize = 64;

/// Batches behind a late one from which on the user is warned.
const QUEUED_TO_WARN: usize = 2;

/// Time from one such warning to the next.
const LATE_WARNING_PAUSE_MS: i64 = 30_000;

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
    let mut warned = None;
    for job_set in job_sets {
        if inner.is_aborting() {
            break;
        }
        if let Some(took_ms) = run_batch(inner, job_set) {
            warn_when_late(inner, took_ms, job_sets.len(), &mut warned);
        }
        inner.waiter.batch_done();
    }
}

/// Milliseconds that the outputs took, where there were any.
fn run_batch(inner: &Arc<Inner>, job_set: JobSet) -> Option<i64> {
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
        inner.bus.post(Event::BatchCompleted(info.clone()));
    }
    inner.graph.batch_completed(&info, !failed);
    inner.graph.clear_metadata(time);
    info.processing_delay()
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

/// Tells the user that batches come faster than they are done, but not with every batch.
fn warn_when_late(inner: &Inner, took_ms: i64, queued: usize, warned_ms: &mut Option<i64>) {
    let now_ms = inner.clock.now_ms();
    let again = warned_ms.is_none_or(|warned_ms| now_ms - warned_ms >= LATE_WARNING_PAUSE_MS);
    if let Some(warning) = late_warning(took_ms, inner.batch, queued)
        && again
    {
        *warned_ms = Some(now_ms);
        inner.spark.notes().say(&warning);
    }
}

/// A single batch that took long is nothing to warn of; batches that queue up behind it are.
fn late_warning(took_ms: i64, interval: Millis, queued: usize) -> Option<String> {
    let seconds = |ms: i64| ms as f64 / 1000.0;
    (took_ms > interval.get() && queued >= QUEUED_TO_WARN).then(|| {
        let (took, interval) = (seconds(took_ms), seconds(interval.get()));
        format!("warn: processing {took:.1} s > batch interval {interval} s; {queued} batches queued")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_needs_a_batch_that_is_late_and_others_behind_it() {
        let check = |took_ms, interval, queued, expected: Option<&str>| {
            assert_eq!(late_warning(took_ms, Millis::new(interval), queued).as_deref(), expected);
        };
        check(1800, 1000, 5, Some("warn: processing 1.8 s > batch interval 1 s; 5 batches queued"));
        check(80, 50, 2, Some("warn: processing 0.1 s > batch interval 0.05 s; 2 batches queued"));
        check(1000, 1000, 5, None);
        check(1800, 1000, 1, None);
    }
}
