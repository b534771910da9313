//! `StreamingContext` and `DStream`: what the package's classes of these names hold.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};
use streaming::text::Text;
use streaming::{DStream, Rdd, RddQueue, StreamingContext, StreamingContextState, StreamingError, TaskError, Time};

use crate::arguments::Items;
use crate::block::{Block, in_python, raise};
use crate::kafka::{self, Params, Shape};
use crate::listener::PythonListener;
use crate::rdd::{PyContext, PyRdd};
use crate::turn::in_task;

/// How often a wait for the end looks whether Ctrl-C was pressed.
const SIGNAL_POLL: Duration = Duration::from_millis(100);

/// A streaming program.
#[pyclass(name = "StreamingContext", module = "_tidemill", frozen)]
pub struct PyStreamingContext(pub StreamingContext);

/// A stream of RDDs of blocks.
#[pyclass(name = "DStream", module = "_tidemill", frozen)]
pub struct PyDStream(pub DStream<Block>);

#[pymethods]
impl PyStreamingContext {
    #[new]
    fn new(py: Python<'_>, context: PyRef<'_, PyContext>, batch_ms: u64) -> PyResult<PyStreamingContext> {
        let made = StreamingContext::new(&context.0, Duration::from_millis(batch_ms));
        made.map(PyStreamingContext).map_err(|error| raise(py, error))
    }

    fn start(&self, py: Python<'_>) -> PyResult<()> {
        // A source may wait for its server: Ctrl-C ends the wait, and leaves what has begun to the end of the program.
        let (started, waiting) = bounded(1);
        let context = self.0.clone();
        let start = move || {
            let _ = started.send(context.start());
        };
        runtime::thread("start", start).map_err(PyErr::from)?;
        loop {
            match py.detach(|| waiting.recv_timeout(SIGNAL_POLL)) {
                Ok(done) => return done.map_err(|error| explain(py, error)),
                Err(RecvTimeoutError::Timeout) => py.check_signals()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PyRuntimeError::new_err("the start of the streaming context panicked"));
                }
            }
        }
    }

    fn stop(&self, py: Python<'_>, gracefully: bool) {
        py.detach(|| self.0.stop(gracefully));
    }

    /// Begins to stop and waits at most `limit_ms` milliseconds; whether it is stopped. Raises KeyboardInterrupt.
    fn stop_within(&self, py: Python<'_>, gracefully: bool, limit_ms: u64) -> PyResult<bool> {
        let mut left = Duration::from_millis(limit_ms);
        loop {
            let step = left.min(SIGNAL_POLL);
            if py.detach(|| self.0.stop_within(gracefully, step)) {
                return Ok(true);
            }
            py.check_signals()?;
            left -= step;
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.0.state() == StreamingContextState::Stopped
    }

    /// Waits for the end, at most `timeout_ms` milliseconds where given; whether it ended. Raises what a job raised, and KeyboardInterrupt.
    #[pyo3(signature = (timeout_ms=None))]
    fn await_termination(&self, py: Python<'_>, timeout_ms: Option<u64>) -> PyResult<bool> {
        // A program that waits again after an exception is not at its end, and wants to be told.
        self.0.spark_context().notes().hold_back(false);
        self.wait_for_end(py, timeout_ms).inspect_err(|_| self.0.spark_context().notes().hold_back(true))
    }

    fn remember(&self, py: Python<'_>, span_ms: u64) -> PyResult<()> {
        self.0.remember(Duration::from_millis(span_ms)).map_err(|error| explain(py, error))
    }

    /// `function(event name, dict)` is called for every event.
    fn add_listener(&self, function: Py<PyAny>) {
        self.0.add_streaming_listener(Arc::new(PythonListener::new(function)));
    }

    /// Lines that a server sends.
    fn socket_text_stream(&self, host: &str, port: u16) -> PyDStream {
        PyDStream(texts(&self.0.socket_text_stream(host, port)))
    }

    /// Lines of files that appear in a folder.
    fn text_file_stream(&self, directory: PathBuf) -> PyDStream {
        PyDStream(texts(&self.0.text_file_stream(&directory)))
    }

    /// Records of equal length of files that appear in a folder.
    fn binary_records_stream(&self, py: Python<'_>, directory: PathBuf, record_length: usize) -> PyResult<PyDStream> {
        let stream = self.0.binary_records_stream(&directory, record_length).map_err(|error| explain(py, error))?;
        Ok(PyDStream(stream.map_partitions(|records| {
            in_task(|py| Ok(vec![Block::new(&PyList::new(py, records.iter().map(|record| PyBytes::new(py, record)))?)]))
        })))
    }

    /// Pairs of topics' records, read as a member of a ZooKeeper consumer group.
    fn kafka_stream(
        &self,
        py: Python<'_>,
        topics: HashMap<String, i32>,
        params: Params,
        key_decoder: Option<Py<PyAny>>,
        value_decoder: Option<Py<PyAny>>,
    ) -> PyResult<PyDStream> {
        let made = kafka::stream(&self.0, topics, params, Shape::new(key_decoder, value_decoder, false));
        made.map(PyDStream).map_err(|error| explain(py, error))
    }

    /// Topics' records by ranges of offsets; `starts` are (topic, partition, offset), `conf` is Spark's.
    #[allow(clippy::too_many_arguments, reason = "one call of Python's own createDirectStream")]
    fn kafka_direct_stream(
        &self,
        py: Python<'_>,
        topics: Items<String>,
        params: Params,
        starts: Items<(String, i32, i64)>,
        conf: Params,
        key_decoder: Option<Py<PyAny>>,
        value_decoder: Option<Py<PyAny>>,
        with_metadata: bool,
    ) -> PyResult<PyDStream> {
        let shape = Shape::new(key_decoder, value_decoder, with_metadata);
        let made = kafka::direct_stream(&self.0, topics.0, params, starts.0, &conf, shape);
        made.map(PyDStream).map_err(|error| explain(py, error))
    }

    /// The RDDs of a list, one a batch or all in the first, then `default` or an empty one.
    fn queue_stream(
        &self,
        rdds: Items<PyRef<'_, PyRdd>>,
        one_at_a_time: bool,
        default: Option<PyRef<'_, PyRdd>>,
    ) -> PyDStream {
        let queue = RddQueue::new(rdds.0.iter().map(|rdd| rdd.0.clone()).collect());
        PyDStream(self.0.queue_stream(queue, one_at_a_time, default.map(|rdd| rdd.0.clone())))
    }
}

impl PyStreamingContext {
    fn wait_for_end(&self, py: Python<'_>, timeout_ms: Option<u64>) -> PyResult<bool> {
        let mut left = timeout_ms.map(Duration::from_millis);
        loop {
            let step = left.map_or(SIGNAL_POLL, |left| left.min(SIGNAL_POLL));
            let ended = py.detach(|| self.0.await_termination_or_timeout(step)).map_err(|error| explain(py, error))?;
            py.check_signals()?;
            left = left.map(|left| left.saturating_sub(step));
            if ended || left == Some(Duration::ZERO) {
                return Ok(ended);
            }
        }
    }
}

#[pymethods]
impl PyDStream {
    #[getter]
    fn slide_ms(&self) -> i64 {
        self.0.slide_interval().get()
    }

    fn persist(&self) {
        self.0.persist();
    }

    /// `function(list of RDDs, milliseconds)` gives the RDD of the batch, or None. The list holds this stream's RDD, then the others'; None
    /// stands for a stream that has no batch at that time.
    fn transform(
        &self,
        py: Python<'_>,
        others: Items<PyRef<'_, PyDStream>>,
        function: Py<PyAny>,
    ) -> PyResult<PyDStream> {
        let streams: Vec<DStream<Block>> =
            std::iter::once(self.0.clone()).chain(others.0.iter().map(|stream| stream.0.clone())).collect();
        let made = self.0.context().transform(&streams, move |rdds: Vec<Option<Rdd<Block>>>, time| {
            // A function of RDDs has nothing to work on where one is missing.
            if rdds.iter().any(Option::is_none) {
                return Ok(None);
            }
            in_python(|py| {
                let rdds: Vec<Option<PyRdd>> = rdds.into_iter().map(|rdd| rdd.map(PyRdd)).collect();
                let result = function.bind(py).call1((rdds, time.ms()))?;
                Ok(result.extract::<Option<PyRef<'_, PyRdd>>>()?.map(|rdd| rdd.0.clone()))
            })
        });
        made.map(PyDStream).map_err(|error| explain(py, error))
    }

    /// `function(rdd, milliseconds)` is called in every batch for what it does.
    fn foreach_rdd(&self, function: Py<PyAny>) {
        self.0.foreach_rdd(move |rdd, time| in_python(|py| function.bind(py).call1((PyRdd(rdd), time.ms())).map(drop)));
    }

    fn window(&self, py: Python<'_>, window_ms: u64, slide_ms: u64) -> PyResult<PyDStream> {
        let made = self.0.window(Duration::from_millis(window_ms), Duration::from_millis(slide_ms));
        made.map(PyDStream).map_err(|error| explain(py, error))
    }

    /// A window kept up to date: `add(previous RDD or None, new RDD, ms)` and `take_away(previous, old, ms)` give RDDs.
    fn reduced_window(
        &self,
        py: Python<'_>,
        window_ms: u64,
        slide_ms: u64,
        add: Py<PyAny>,
        take_away: Py<PyAny>,
    ) -> PyResult<PyDStream> {
        let inverse = move |previous, old, time| merge(&take_away, Some(previous), old, time);
        let made = self.0.reduced_window_transform(
            Duration::from_millis(window_ms),
            Duration::from_millis(slide_ms),
            move |previous, new, time| merge(&add, previous, new, time),
            Some(Box::new(inverse)),
        );
        made.map(PyDStream).map_err(|error| explain(py, error))
    }

    /// `function(state RDD or None, batch RDD, ms)` gives the state after the batch.
    fn state(&self, function: Py<PyAny>) -> PyDStream {
        PyDStream(self.0.state_transform(None, move |before, batch, time| merge(&function, before, batch, time)))
    }

    /// The RDDs from one time to another, both included.
    fn slice(&self, py: Python<'_>, from_ms: i64, until_ms: i64) -> PyResult<Vec<PyRdd>> {
        let stream = self.0.clone();
        let rdds = py.detach(|| stream.slice(Time::from_ms(from_ms), Time::from_ms(until_ms)));
        Ok(rdds.map_err(|error| raise(py, error))?.into_iter().map(PyRdd).collect())
    }
}

/// Blocks of Python strings.
fn texts(lines: &DStream<Text>) -> DStream<Block> {
    lines.map_partitions(|lines| {
        in_task(|py| Ok(vec![Block::new(&PyList::new(py, lines.iter().map(|line| PyString::new(py, line.as_str())))?)]))
    })
}

/// Calls `function(first or None, second, ms)`, which gives an RDD.
fn merge(
    function: &Py<PyAny>,
    first: Option<Rdd<Block>>,
    second: Rdd<Block>,
    time: Time,
) -> Result<Rdd<Block>, TaskError> {
    in_python(|py| {
        let result = function.bind(py).call1((first.map(PyRdd), PyRdd(second), time.ms()))?;
        Ok(result.extract::<PyRef<'_, PyRdd>>()?.0.clone())
    })
}

/// A mistake of the program is a ValueError; what a job raised is raised as it was.
pub fn explain(py: Python<'_>, error: StreamingError) -> PyErr {
    match error {
        StreamingError::Invalid(text) => PyValueError::new_err(text),
        other => raise(py, other),
    }
}
