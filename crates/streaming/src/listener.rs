//! What a program can watch: Spark's streaming events, handed to listeners in the order they happened, on a thread of their own, so that a
//! slow listener never holds up a batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, TrySendError, bounded};
use parking_lot::Mutex;

use crate::error::StreamingError;
use crate::time::Time;

/// Events that may wait for slow listeners; later ones are dropped, and counted (Spark's
/// `spark.scheduler.listenerbus.eventqueue.capacity`).
const QUEUE_EVENTS_MAX: usize = 10_000;

/// Receives events. Every method does nothing unless written.
pub trait StreamingListener: Send + Sync {
    /// The context started, at this time of its clock in milliseconds.
    fn on_streaming_started(&self, _time_ms: i64) {}
    /// A receiver began.
    fn on_receiver_started(&self, _receiver: &ReceiverInfo) {}
    /// A receiver failed; it goes on or ends as its source says.
    fn on_receiver_error(&self, _receiver: &ReceiverInfo) {}
    /// A receiver ended.
    fn on_receiver_stopped(&self, _receiver: &ReceiverInfo) {}
    /// A batch was made and waits for its turn.
    fn on_batch_submitted(&self, _batch: &BatchInfo) {}
    /// The first output operation of a batch begins.
    fn on_batch_started(&self, _batch: &BatchInfo) {}
    /// All output operations of a batch have ended, well or not.
    fn on_batch_completed(&self, _batch: &BatchInfo) {}
    /// An output operation begins.
    fn on_output_operation_started(&self, _operation: &OutputOperationInfo) {}
    /// An output operation ended; see its `failure_reason`.
    fn on_output_operation_completed(&self, _operation: &OutputOperationInfo) {}
}

/// A source that receives by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverInfo {
    /// Its input stream.
    pub stream_id: usize,
    /// What it is.
    pub name: String,
    /// Whether it is running.
    pub active: bool,
    /// Where it receives from.
    pub location: String,
    /// Last thing that went wrong.
    pub last_error_message: String,
    /// The same with its causes.
    pub last_error: String,
    /// When, in milliseconds since 1970; -1 where nothing has.
    pub last_error_time: i64,
}

/// What one input stream gave to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInputInfo {
    /// The input stream.
    pub input_stream_id: usize,
    /// Records.
    pub num_records: u64,
    /// For people: files, offset ranges. Empty where there is nothing to say.
    pub description: String,
}

/// A batch as far as it is known at the moment of the event. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchInfo {
    /// The batch.
    pub batch_time: Time,
    /// Input by stream.
    pub stream_id_to_input_info: BTreeMap<usize, StreamInputInfo>,
    /// When it was made.
    pub submission_time: i64,
    /// When its first output operation began.
    pub processing_start_time: Option<i64>,
    /// When its last output operation ended.
    pub processing_end_time: Option<i64>,
    /// Its output operations by number.
    pub output_operation_infos: BTreeMap<usize, OutputOperationInfo>,
}

impl BatchInfo {
    /// Milliseconds from being made to being started.
    #[must_use]
    pub fn scheduling_delay(&self) -> Option<i64> {
        Some(self.processing_start_time? - self.submission_time)
    }

    /// Milliseconds from start to end.
    #[must_use]
    pub fn processing_delay(&self) -> Option<i64> {
        Some(self.processing_end_time? - self.processing_start_time?)
    }

    /// Milliseconds from being made to the end.
    #[must_use]
    pub fn total_delay(&self) -> Option<i64> {
        Some(self.scheduling_delay()? + self.processing_delay()?)
    }

    /// Records of all input streams.
    #[must_use]
    pub fn num_records(&self) -> u64 {
        self.stream_id_to_input_info.values().map(|info| info.num_records).sum()
    }

    /// Whether any output operation failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.output_operation_infos.values().any(|info| info.failure_reason.is_some())
    }
}

/// One output operation of one batch. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputOperationInfo {
    /// The batch.
    pub batch_time: Time,
    /// Number of the operation in the program, from 0.
    pub id: usize,
    /// What it is: `print`, `foreachRDD`, ...
    pub name: String,
    /// For people.
    pub description: String,
    /// When it began.
    pub start_time: Option<i64>,
    /// When it ended.
    pub end_time: Option<i64>,
    /// Why it failed, where it did.
    pub failure_reason: Option<String>,
}

impl OutputOperationInfo {
    /// Milliseconds from begin to end.
    #[must_use]
    pub fn duration(&self) -> Option<i64> {
        Some(self.end_time? - self.start_time?)
    }
}

#[derive(Debug)]
pub(crate) enum Event {
    StreamingStarted(i64),
    ReceiverStarted(ReceiverInfo),
    ReceiverError(ReceiverInfo),
    ReceiverStopped(ReceiverInfo),
    BatchSubmitted(BatchInfo),
    BatchStarted(BatchInfo),
    BatchCompleted(BatchInfo),
    OutputOperationStarted(OutputOperationInfo),
    OutputOperationCompleted(OutputOperationInfo),
}

/// Hands events to listeners.
#[derive(Default)]
pub(crate) struct ListenerBus {
    listeners: Arc<Mutex<Vec<Arc<dyn StreamingListener>>>>,
    running: Mutex<Option<(Sender<Event>, JoinHandle<()>)>>,
    dropped: AtomicU64,
}

impl ListenerBus {
    pub(crate) fn add(&self, listener: Arc<dyn StreamingListener>) {
        self.listeners.lock().push(listener);
    }

    pub(crate) fn start(&self) -> Result<(), StreamingError> {
        let (events, waiting) = bounded::<Event>(QUEUE_EVENTS_MAX);
        let listeners = self.listeners.clone();
        let thread = runtime::thread("listener-bus", move || {
            crate::jobs::mark_engine_thread();
            for event in waiting {
                let listeners = listeners.lock().clone();
                for listener in listeners {
                    deliver(&*listener, &event);
                }
            }
        })
        .map_err(|error| StreamingError::Thread(Arc::new(error)))?;
        *self.running.lock() = Some((events, thread));
        Ok(())
    }

    pub(crate) fn post(&self, event: Event) {
        let Some(events) = self.running.lock().as_ref().map(|(events, _)| events.clone()) else {
            return;
        };
        if let Err(TrySendError::Full(_)) = events.try_send(event)
            && self.dropped.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!(QUEUE_EVENTS_MAX, "streaming listeners are too slow: events are being dropped");
        }
    }

    /// Waits until the listeners have seen every event, unless it is a listener that asks.
    pub(crate) fn stop(&self) {
        let running = self.running.lock().take();
        if let Some((events, thread)) = running {
            drop(events);
            if thread.thread().id() != std::thread::current().id() {
                // A listener's panic is caught where it happens.
                let _ = thread.join();
            }
        }
    }
}

fn deliver(listener: &dyn StreamingListener, event: &Event) {
    let call = std::panic::AssertUnwindSafe(|| match event {
        Event::StreamingStarted(time_ms) => listener.on_streaming_started(*time_ms),
        Event::ReceiverStarted(receiver) => listener.on_receiver_started(receiver),
        Event::ReceiverError(receiver) => listener.on_receiver_error(receiver),
        Event::ReceiverStopped(receiver) => listener.on_receiver_stopped(receiver),
        Event::BatchSubmitted(batch) => listener.on_batch_submitted(batch),
        Event::BatchStarted(batch) => listener.on_batch_started(batch),
        Event::BatchCompleted(batch) => listener.on_batch_completed(batch),
        Event::OutputOperationStarted(operation) => listener.on_output_operation_started(operation),
        Event::OutputOperationCompleted(operation) => listener.on_output_operation_completed(operation),
    });
    if let Err(panic) = std::panic::catch_unwind(call) {
        tracing::error!(panic = crate::scheduler::context::panic_text(&*panic), "a streaming listener panicked");
    }
}
