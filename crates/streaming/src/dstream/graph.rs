//! The graph of one context: its inputs, its outputs and the lock under which batches are made.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, ReentrantMutex};

use crate::error::TaskError;
use crate::listener::{BatchInfo, OutputOperationInfo};
use crate::scheduler::SparkContext;
use crate::sources::{AnySource, SourceEvents};
use crate::time::{Millis, Time};

/// A DStream whose element type is not known here.
pub(crate) trait AnyStream: Send + Sync {
    /// Sets the time before the first batch, here and in all parents.
    fn initialize(&self, zero: Time);
    /// Keeps RDDs at least this long, and what parents need for it.
    fn remember(&self, span: Millis);
    /// Forgets RDDs that a completed batch has made old, here and in all parents.
    fn clear_metadata(&self, completed: Time);
    /// For a DStream that builds on its own past: computes what it keeps of this batch.
    fn materialize(&self, time: Time) -> Result<(), TaskError>;
}

/// What an output operation does with one batch.
pub(crate) type JobBody = Box<dyn FnOnce() -> Result<(), TaskError> + Send>;

/// One output operation of one batch.
pub(crate) struct Job {
    pub(crate) id: usize,
    pub(crate) name: String,
    pub(crate) body: JobBody,
}

impl Job {
    pub(crate) fn info(&self, time: Time) -> OutputOperationInfo {
        OutputOperationInfo {
            batch_time: time,
            id: self.id,
            name: self.name.clone(),
            description: format!("{} at batch {time}", self.name),
            start_time: None,
            end_time: None,
            failure_reason: None,
        }
    }
}

type MakeJob = Box<dyn Fn(Time) -> Result<Option<JobBody>, TaskError> + Send + Sync>;

struct Output {
    name: String,
    parent: Arc<dyn AnyStream>,
    make: MakeJob,
}

#[derive(Default)]
pub(crate) struct Graph {
    /// Held while RDDs of a batch are made. Making one asks the parents for theirs, so the same thread takes it again.
    making: ReentrantMutex<()>,
    streams: AtomicUsize,
    inputs: Mutex<Vec<Arc<dyn AnySource>>>,
    outputs: Mutex<Vec<Arc<Output>>>,
    states: Mutex<Vec<Arc<dyn AnyStream>>>,
}

impl Graph {
    pub(crate) fn next_stream_id(&self) -> usize {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn lock(&self) -> parking_lot::ReentrantMutexGuard<'_, ()> {
        self.making.lock()
    }

    pub(crate) fn add_input(&self, source: Arc<dyn AnySource>) {
        self.inputs.lock().push(source);
    }

    pub(crate) fn add_output(&self, name: &str, parent: Arc<dyn AnyStream>, make: MakeJob) {
        self.outputs.lock().push(Arc::new(Output { name: name.to_owned(), parent, make }));
    }

    pub(crate) fn add_state(&self, stream: Arc<dyn AnyStream>) {
        self.states.lock().push(stream);
    }

    pub(crate) fn has_outputs(&self) -> bool {
        !self.outputs.lock().is_empty()
    }

    pub(crate) fn initialize(&self, zero: Time, remember: Option<Millis>) {
        for output in self.outputs() {
            output.parent.initialize(zero);
            if let Some(span) = remember {
                output.parent.remember(span);
            }
        }
    }

    pub(crate) fn generate_jobs(&self, time: Time) -> Result<Vec<Job>, TaskError> {
        let _making = self.lock();
        let mut jobs = Vec::new();
        for (id, output) in self.outputs().into_iter().enumerate() {
            if let Some(body) = (output.make)(time)? {
                jobs.push(Job { id, name: output.name.clone(), body });
            }
        }
        Ok(jobs)
    }

    pub(crate) fn materialize_states(&self, time: Time) -> Result<(), TaskError> {
        let states = self.states.lock().clone();
        states.iter().try_for_each(|state| state.materialize(time))
    }

    pub(crate) fn clear_metadata(&self, completed: Time) {
        let _making = self.lock();
        for output in self.outputs() {
            output.parent.clear_metadata(completed);
        }
    }

    pub(crate) fn start_inputs(&self, spark: &SparkContext, events: &SourceEvents) -> Result<(), (String, TaskError)> {
        for input in self.inputs() {
            input.start(spark, events).map_err(|error| (input.name(), error))?;
        }
        Ok(())
    }

    pub(crate) fn stop_inputs(&self) {
        for input in self.inputs() {
            input.stop();
        }
    }

    pub(crate) fn close_inputs(&self) {
        for input in self.inputs() {
            input.close();
        }
    }

    pub(crate) fn has_pending_input(&self) -> bool {
        self.inputs().iter().any(|input| input.has_pending())
    }

    pub(crate) fn batch_completed(&self, info: &BatchInfo, succeeded: bool) {
        for input in self.inputs() {
            input.batch_completed(info, succeeded);
        }
    }

    /// Lets go of everything, so that streams, which know their context, do not keep it alive.
    pub(crate) fn clear(&self) {
        self.inputs.lock().clear();
        self.outputs.lock().clear();
        self.states.lock().clear();
    }

    fn inputs(&self) -> Vec<Arc<dyn AnySource>> {
        self.inputs.lock().clone()
    }

    fn outputs(&self) -> Vec<Arc<Output>> {
        self.outputs.lock().clone()
    }
}
