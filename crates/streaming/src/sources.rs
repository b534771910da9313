//! Where records come from. A source gives each batch an RDD; what it gave to a batch is fixed once the batch is made.
//!
//! # Layout
//! - [`queue`]: RDDs that the program made beforehand
//! - [`socket`]: lines from a TCP server
//! - [`files`]: new files of a directory
//! - [`kafka`]: topics of a broker

pub mod files;
pub mod kafka;
pub mod queue;
pub mod socket;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::context::StreamingContext;
use crate::dstream::{DStream, Generated};
use crate::error::TaskError;
use crate::jobs::clock::BatchClock;
use crate::listener::{BatchInfo, Event, ListenerBus, ReceiverInfo, StreamInputInfo};
use crate::rdd::Data;
use crate::scheduler::SparkContext;
use crate::time::Time;

/// A source of an input stream.
pub trait InputSource<T: Data>: Send + Sync + 'static {
    /// What people read in errors and events.
    fn name(&self) -> String;

    /// Begins to take records in. Called once, before the first batch.
    ///
    /// # Errors
    /// Why it cannot; the program then does not start.
    fn start(&self, _spark: &SparkContext, _events: &SourceEvents, _stream_id: usize) -> Result<(), TaskError> {
        Ok(())
    }

    /// Takes no more records in. Those that are in can still be asked for by [`InputSource::compute`].
    fn stop(&self) {}

    /// Whether records are in that no batch has got.
    fn has_pending(&self) -> bool {
        false
    }

    /// The records of a batch. Called once for each batch, in order.
    ///
    /// # Errors
    /// Why there is no batch; the next one is tried all the same.
    fn compute(&self, spark: &SparkContext, time: Time, input: &mut Input) -> Generated<T>;

    /// All output operations of a batch have ended.
    fn batch_completed(&self, _batch: &BatchInfo, _succeeded: bool) {}

    /// The last batch has ended, after [`InputSource::stop`].
    fn close(&self) {}
}

/// What a source says about the records it gives to a batch.
#[derive(Debug, Default)]
pub struct Input {
    /// Records.
    pub num_records: u64,
    /// For people; may stay empty.
    pub description: String,
    /// Listeners hear nothing of this input: so it is with queues in Spark.
    pub untold: bool,
}

/// A source whose element type is not known.
pub(crate) trait AnySource: Send + Sync {
    fn name(&self) -> String;
    fn start(&self, spark: &SparkContext, events: &SourceEvents) -> Result<(), TaskError>;
    fn stop(&self);
    fn has_pending(&self) -> bool;
    fn batch_completed(&self, batch: &BatchInfo, succeeded: bool);
    fn close(&self);
}

struct Registered<T> {
    stream_id: usize,
    source: Arc<dyn InputSource<T>>,
}

impl<T: Data> AnySource for Registered<T> {
    fn name(&self) -> String {
        self.source.name()
    }
    fn start(&self, spark: &SparkContext, events: &SourceEvents) -> Result<(), TaskError> {
        self.source.start(spark, events, self.stream_id)
    }
    fn stop(&self) {
        self.source.stop();
    }
    fn has_pending(&self) -> bool {
        self.source.has_pending()
    }
    fn batch_completed(&self, batch: &BatchInfo, succeeded: bool) {
        self.source.batch_completed(batch, succeeded);
    }
    fn close(&self) {
        self.source.close();
    }
}

impl StreamingContext {
    /// The stream of a source.
    pub fn input_stream<T: Data>(&self, source: impl InputSource<T>) -> DStream<T> {
        let source: Arc<dyn InputSource<T>> = Arc::new(source);
        let computing = source.clone();
        let stream = DStream::input(self, move |stream, time| {
            let mut input = Input::default();
            let inner = stream.context().inner();
            let rdd = computing.compute(&inner.spark, time, &mut input)?;
            let Input { num_records, description, untold } = input;
            if !untold {
                inner.report_input(time, StreamInputInfo { input_stream_id: stream.id(), num_records, description });
            }
            Ok(rdd)
        });
        if self.check_open() {
            self.inner().graph.add_input(Arc::new(Registered { stream_id: stream.id(), source }));
        }
        stream
    }
}

/// Tells listeners how a receiver fares. Cheap to clone.
#[derive(Clone)]
pub struct SourceEvents {
    bus: Arc<ListenerBus>,
    clock: BatchClock,
}

/// The state of one receiver, told to listeners whenever it changes.
pub(crate) struct ReceiverState {
    events: SourceEvents,
    info: Mutex<ReceiverInfo>,
}

impl SourceEvents {
    pub(crate) fn new(bus: Arc<ListenerBus>, clock: BatchClock) -> SourceEvents {
        SourceEvents { bus, clock }
    }

    pub(crate) fn receiver(&self, stream_id: usize, name: &str, location: &str) -> ReceiverState {
        let info = ReceiverInfo {
            stream_id,
            name: name.to_owned(),
            active: true,
            location: location.to_owned(),
            last_error_message: String::new(),
            last_error: String::new(),
            last_error_time: -1,
        };
        self.bus.post(Event::ReceiverStarted(info.clone()));
        ReceiverState { events: self.clone(), info: Mutex::new(info) }
    }
}

impl ReceiverState {
    pub(crate) fn error(&self, message: &str, error: &str) {
        let mut info = self.info.lock();
        info.last_error_message = message.to_owned();
        info.last_error = error.to_owned();
        info.last_error_time = self.events.clock.now_ms();
        self.events.bus.post(Event::ReceiverError(info.clone()));
    }

    pub(crate) fn stopped(&self) {
        let mut info = self.info.lock();
        if std::mem::take(&mut info.active) {
            self.events.bus.post(Event::ReceiverStopped(info.clone()));
        }
    }
}
