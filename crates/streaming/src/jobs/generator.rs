//! Makes the jobs of each batch when its time comes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::context::Inner;
use crate::dstream::graph::Job;
use crate::error::{StreamingError, TaskError};
use crate::jobs::clock::{BatchClock, StopSignal};
use crate::jobs::scheduler::JobSet;
use crate::listener::{BatchInfo, Event};
use crate::scheduler::context::panic_text;
use crate::time::Time;

/// The loop of the generator's thread: a batch at each multiple of the interval from `first` on until `stop`. When the queue of job sets is
/// full it waits, and then makes the batches that have become due one right after the other.
pub(crate) fn run(inner: &Arc<Inner>, first: Time, stop: &StopSignal, job_sets: &Sender<JobSet>) {
    let mut next = first;
    while inner.clock.wait_until(next.ms(), stop) {
        generate(inner, next, job_sets);
        next = next + inner.batch;
    }
    // What sources took in before a graceful stop still gets its batch, at its proper time. A manual clock would never get there.
    if inner.is_stopping_gracefully() && inner.graph.has_pending_input() {
        if matches!(inner.clock, BatchClock::System(_)) {
            inner.clock.wait_until(next.ms(), &StopSignal::default());
        }
        generate(inner, next, job_sets);
    }
}

fn generate(inner: &Arc<Inner>, time: Time, job_sets: &Sender<JobSet>) {
    let made = catch_unwind(AssertUnwindSafe(|| inner.graph.generate_jobs(time)))
        .unwrap_or_else(|panic| Err(TaskError::message(format!("panicked: {}", panic_text(&*panic)))));
    let input = inner.take_input(time);
    let (jobs, failed) = match made {
        Ok(jobs) => (jobs, false),
        Err(error) => {
            inner.waiter.report(StreamingError::Generate { time, error });
            (Vec::new(), true)
        }
    };
    let info = BatchInfo {
        batch_time: time,
        stream_id_to_input_info: input,
        submission_time: inner.clock.now_ms(),
        processing_start_time: None,
        processing_end_time: None,
        output_operation_infos: jobs.iter().map(|job: &Job| (job.id, job.info(time))).collect(),
    };
    if !jobs.is_empty() {
        inner.bus.post(Event::BatchSubmitted(info.clone()));
    }
    // The scheduler hangs up only when the context is stopped, and the batch is then not wanted.
    let _ = job_sets.send(JobSet { time, jobs, info, failed });
}
