//! `StreamingContext`: the life of a streaming program, from its first DStream to its end.
//!
//! Always true: it goes from initialized to active to stopped and never back; only an initialized one takes new streams and outputs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::bounded;
use parking_lot::{Condvar, Mutex};

use crate::dstream::graph::Graph;
use crate::error::StreamingError;
use crate::jobs::clock::{BatchClock, StopSignal};
use crate::jobs::scheduler::WAITING_BATCHES_MAX;
use crate::jobs::waiter::Waiter;
use crate::jobs::{generator, is_engine_thread, mark_engine_thread, scheduler};
use crate::listener::{Event, ListenerBus, StreamInputInfo, StreamingListener};
use crate::scheduler::SparkContext;
use crate::sources::SourceEvents;
use crate::time::{Millis, Time};

/// How long a stop without grace waits for the job that is running, before it leaves it behind.
const ABORT_WAIT: Duration = Duration::from_secs(10);

/// The context started last, for [`StreamingContext::get_active`].
static ACTIVE: Mutex<Option<StreamingContext>> = Mutex::new(None);

/// A streaming program. Cheap to clone; all clones are the same program.
#[derive(Clone)]
pub struct StreamingContext(Arc<Inner>);

/// Where in its life a context is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamingContextState {
    /// Streams and outputs can be added.
    Initialized,
    /// Batches run.
    Active,
    /// Over.
    Stopped,
}

pub(crate) struct Inner {
    pub(crate) spark: SparkContext,
    pub(crate) batch: Millis,
    pub(crate) clock: BatchClock,
    pub(crate) graph: Graph,
    pub(crate) bus: Arc<ListenerBus>,
    pub(crate) waiter: Waiter,
    remember: Mutex<Option<Millis>>,
    /// What input streams gave to batches that are being made.
    input: Mutex<BTreeMap<Time, BTreeMap<usize, StreamInputInfo>>>,
    stop: StopSignal,
    graceful: AtomicBool,
    abort: AtomicBool,
    life: Mutex<Life>,
    life_changed: Condvar,
}

struct Life {
    state: StreamingContextState,
    /// One caller is stopping; others wait for it.
    stopping: bool,
    threads: Option<Threads>,
}

struct Threads {
    generator: JoinHandle<()>,
    scheduler: JoinHandle<()>,
}

impl StreamingContext {
    /// A program that makes a batch every `interval`.
    ///
    /// # Errors
    /// An interval that is not a whole, positive number of milliseconds.
    pub fn new(spark: &SparkContext, interval: Duration) -> Result<StreamingContext, StreamingError> {
        StreamingContext::with_clock(spark, interval, BatchClock::System(spark.clock()))
    }

    /// The same by a clock of the caller's.
    ///
    /// # Errors
    /// An interval that is not a whole, positive number of milliseconds.
    pub fn with_clock(
        spark: &SparkContext,
        interval: Duration,
        clock: BatchClock,
    ) -> Result<StreamingContext, StreamingError> {
        Ok(StreamingContext(Arc::new(Inner {
            spark: spark.clone(),
            batch: Millis::from_duration(interval)?,
            clock,
            graph: Graph::default(),
            bus: Arc::default(),
            waiter: Waiter::default(),
            remember: Mutex::new(None),
            input: Mutex::default(),
            stop: StopSignal::default(),
            graceful: AtomicBool::new(false),
            abort: AtomicBool::new(false),
            life: Mutex::new(Life { state: StreamingContextState::Initialized, stopping: false, threads: None }),
            life_changed: Condvar::new(),
        })))
    }

    /// The context that is started and not stopped, where there is one.
    #[must_use]
    pub fn get_active() -> Option<StreamingContext> {
        ACTIVE.lock().clone()
    }

    /// The executor.
    #[must_use]
    pub fn spark_context(&self) -> &SparkContext {
        &self.0.spark
    }

    /// The batch interval.
    #[must_use]
    pub fn batch_interval(&self) -> Millis {
        self.0.batch
    }

    /// Where in its life it is.
    #[must_use]
    pub fn state(&self) -> StreamingContextState {
        self.0.life.lock().state
    }

    /// Keeps the RDDs of every DStream for at least `span`, for queries from outside.
    ///
    /// # Errors
    /// A span that is not a whole, positive number of milliseconds.
    pub fn remember(&self, span: Duration) -> Result<(), StreamingError> {
        *self.0.remember.lock() = Some(Millis::from_duration(span)?);
        Ok(())
    }

    /// Adds a listener; it sees what happens from now on.
    pub fn add_streaming_listener(&self, listener: Arc<dyn StreamingListener>) {
        self.0.bus.add(listener);
    }

    /// Starts the sources and the batches. On an active context it does nothing.
    ///
    /// # Errors
    /// No output operation, a source that cannot start, a context that is stopped.
    pub fn start(&self) -> Result<(), StreamingError> {
        let inner = &self.0;
        let mut life = inner.life.lock();
        match life.state {
            StreamingContextState::Initialized => {}
            StreamingContextState::Active => {
                tracing::warn!("StreamingContext has already been started");
                return Ok(());
            }
            StreamingContextState::Stopped => return Err(StreamingError::Stopped),
        }
        if inner.spark.is_stopped() {
            return Err(StreamingError::invalid("the SparkContext of this StreamingContext is stopped"));
        }
        if !inner.graph.has_outputs() {
            return Err(StreamingError::invalid("No output operations registered, so nothing to execute"));
        }
        inner.spark.notes().hold_back(false);
        match self.start_threads() {
            Ok(threads) => {
                life.threads = Some(threads);
                life.state = StreamingContextState::Active;
                *ACTIVE.lock() = Some(self.clone());
                Ok(())
            }
            Err(error) => {
                inner.stop.set(&inner.clock);
                inner.graph.stop_inputs();
                inner.graph.close_inputs();
                inner.bus.stop();
                inner.graph.clear();
                life.state = StreamingContextState::Stopped;
                inner.waiter.stopped();
                Err(error)
            }
        }
    }

    fn start_threads(&self) -> Result<Threads, StreamingError> {
        let inner = &self.0;
        inner.bus.start()?;
        inner.bus.post(Event::StreamingStarted(inner.clock.now_ms()));
        let events = SourceEvents::new(inner.bus.clone(), inner.clock.clone());
        inner
            .graph
            .start_inputs(&inner.spark, &events)
            .map_err(|(name, error)| StreamingError::Source { name, error })?;
        let first = Time::from_ms(inner.clock.now_ms()).floor(inner.batch, Time::from_ms(0)) + inner.batch;
        inner.graph.initialize(first - inner.batch, *inner.remember.lock());

        let (job_sets, waiting) = bounded(WAITING_BATCHES_MAX);
        let no_thread = |error| StreamingError::Thread(Arc::new(error));
        let context = inner.clone();
        let scheduler = runtime::thread("job-scheduler", move || {
            mark_engine_thread();
            scheduler::run(&context, &waiting);
        })
        .map_err(no_thread)?;
        let context = inner.clone();
        let generator = runtime::thread("job-generator", move || {
            mark_engine_thread();
            generator::run(&context, first, &context.stop, &job_sets);
        })
        .map_err(no_thread)?;
        Ok(Threads { generator, scheduler })
    }

    /// Waits until the context is stopped.
    ///
    /// # Errors
    /// The first error of a batch. Batches go on behind it until the context is stopped.
    pub fn await_termination(&self) -> Result<(), StreamingError> {
        self.0.waiter.wait(None).map(|_stopped| ())
    }

    /// The same, for at most `limit`; whether the context is stopped.
    ///
    /// # Errors
    /// The first error of a batch.
    pub fn await_termination_or_timeout(&self, limit: Duration) -> Result<bool, StreamingError> {
        self.0.waiter.wait(Some(limit))
    }

    /// Waits until `count` batches since start have been dealt with, well or not; `false` where they were not within `limit`. For tests
    /// that turn a manual clock.
    #[must_use]
    pub fn await_batches(&self, count: u64, limit: Duration) -> bool {
        self.0.waiter.wait_batches(count, limit)
    }

    /// Ends the program. With grace what the sources have taken in is still processed, and all waiting batches with it; without, the
    /// running job is cancelled. Inside a job or a listener it only asks for the end and does not wait for it. The executor stays as it is.
    pub fn stop(&self, gracefully: bool) {
        {
            let mut life = self.0.life.lock();
            if life.state == StreamingContextState::Initialized {
                life.state = StreamingContextState::Stopped;
                self.0.graph.clear();
                self.0.life_changed.notify_all();
                self.0.waiter.stopped();
                return;
            }
            if life.state == StreamingContextState::Stopped {
                return;
            }
            if life.stopping {
                if !is_engine_thread() {
                    self.0.life_changed.wait_while(&mut life, |life| life.state != StreamingContextState::Stopped);
                }
                return;
            }
            life.stopping = true;
        }
        if is_engine_thread() {
            let context = self.clone();
            if let Err(error) = runtime::thread("stop", move || context.stop_now(gracefully)) {
                self.0.waiter.report(StreamingError::Thread(Arc::new(error)));
            }
        } else {
            self.stop_now(gracefully);
        }
    }

    /// The same in a thread of its own, waited for at most `limit`; whether the context is stopped. Calling it again waits on.
    pub fn stop_within(&self, gracefully: bool, limit: Duration) -> bool {
        let life = self.0.life.lock();
        let under_way = life.stopping || life.state == StreamingContextState::Stopped;
        drop(life);
        if !under_way {
            let context = self.clone();
            if let Err(error) = runtime::thread("stop", move || context.stop(gracefully)) {
                self.0.waiter.report(StreamingError::Thread(Arc::new(error)));
            }
        }
        let mut life = self.0.life.lock();
        let running = |life: &mut Life| life.state != StreamingContextState::Stopped;
        !self.0.life_changed.wait_while_for(&mut life, running, limit).timed_out()
    }

    fn stop_now(&self, gracefully: bool) {
        let inner = &self.0;
        inner.graceful.store(gracefully, Ordering::SeqCst);
        inner.abort.store(!gracefully, Ordering::SeqCst);
        if !gracefully {
            inner.spark.notes().hold_back(true);
        }
        inner.graph.stop_inputs();
        inner.stop.set(&inner.clock);
        let threads = inner.life.lock().threads.take();
        if let Some(Threads { generator, scheduler }) = threads {
            if gracefully {
                // Their panics are caught where they happen.
                let _ = generator.join();
                let _ = scheduler.join();
            } else {
                self.abandon(&[generator, scheduler]);
            }
        }
        inner.graph.close_inputs();
        inner.bus.stop();
        inner.graph.clear();
        ACTIVE.lock().take_if(|active| Arc::ptr_eq(&active.0, inner));
        {
            let mut life = inner.life.lock();
            life.state = StreamingContextState::Stopped;
            inner.life_changed.notify_all();
        }
        inner.waiter.stopped();
    }

    /// Cancels what runs until the threads have ended, but not longer than [`ABORT_WAIT`]: a user's function cannot be ended from outside.
    fn abandon(&self, threads: &[JoinHandle<()>]) {
        const LOOK: Duration = Duration::from_millis(5);
        let clock = self.0.spark.clock();
        let deadline = clock.now() + ABORT_WAIT;
        while threads.iter().any(|thread| !thread.is_finished()) {
            self.0.spark.cancel_all_jobs();
            if clock.now() >= deadline {
                tracing::warn!(?ABORT_WAIT, "a job did not end when cancelled; it is left behind");
                return;
            }
            clock.block_for(LOOK);
        }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    /// Whether streams and outputs may still be added; reports the mistake where not.
    pub(crate) fn check_open(&self) -> bool {
        let open = self.state() == StreamingContextState::Initialized;
        if !open {
            self.0.waiter.report(StreamingError::invalid(
                "Adding new inputs, transformations, and output operations after starting a context is not supported",
            ));
        }
        open
    }
}

impl Inner {
    pub(crate) fn report_input(&self, time: Time, info: StreamInputInfo) {
        self.input.lock().entry(time).or_default().insert(info.input_stream_id, info);
    }

    pub(crate) fn take_input(&self, time: Time) -> BTreeMap<usize, StreamInputInfo> {
        let mut input = self.input.lock();
        let later = input.split_off(&(time + Millis::new(1)));
        let mut until = std::mem::replace(&mut *input, later);
        until.remove(&time).unwrap_or_default()
    }

    pub(crate) fn is_stopping_gracefully(&self) -> bool {
        self.graceful.load(Ordering::SeqCst)
    }

    pub(crate) fn is_aborting(&self) -> bool {
        self.abort.load(Ordering::SeqCst)
    }

    /// Jobs that a stop cancelled have not failed.
    pub(crate) fn report_unless_aborting(&self, error: StreamingError) {
        if !self.is_aborting() {
            self.waiter.report(error);
        }
    }
}
