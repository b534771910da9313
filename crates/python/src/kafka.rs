//! Kafka's records as blocks of Python tuples.
//!
//! `None` for a decoder stands for `utf8_decoder`, which is then done here while the tuples are built, as they are read; any other decoder is
//! called with the bytes or None, once for each record.

use std::collections::HashMap;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use streaming::kafka::{
    self, Fetched, FetchedCursor, OffsetRange, Pid, RateLimits, Record, RecordView, TopicPartition,
};
use streaming::{DStream, Rdd, SparkContext, StreamingContext, StreamingError, TaskError};

use crate::block::{Block, raise};
use crate::turn::in_task;

/// What becomes of each record.
#[derive(Clone)]
pub struct Shape(Arc<Inner>);

enum Inner {
    /// `(key, value)` by these decoders.
    Pairs { key: Option<Py<PyAny>>, value: Option<Py<PyAny>> },
    /// `(topic, partition, offset, key bytes, value bytes)`.
    WithMetadata,
}

/// Records of which no Python objects have been made.
pub struct Unread {
    fetched: Fetched,
    shape: Shape,
}

/// Makes Python objects of records, run by run.
pub struct Cursor {
    records: FetchedCursor,
    shape: Shape,
    ended: bool,
}

impl Unread {
    /// Begins at the first record.
    pub fn cursor(&self) -> Cursor {
        Cursor { records: self.fetched.cursor(), shape: self.shape.clone(), ended: false }
    }
}

impl Cursor {
    /// A list of the next records, at most `most` of them; None behind the last.
    pub fn next_run<'py>(&mut self, py: Python<'py>, most: usize) -> PyResult<Option<Bound<'py, PyList>>> {
        if self.ended {
            return Ok(None);
        }
        let mut tuples = Vec::new();
        let visited = self.records.visit_some(most, |record| -> PyResult<()> {
            tuples.push(self.shape.tuple(py, record)?);
            Ok(())
        });
        // An error ends it too: what comes behind is not known.
        self.ended = true;
        self.ended = !visited.map_err(|error| raise(py, error))??;
        if tuples.is_empty() { Ok(None) } else { PyList::new(py, tuples).map(Some) }
    }
}

impl Shape {
    /// Pairs, or all there is to know where `with_metadata`.
    pub fn new(key: Option<Py<PyAny>>, value: Option<Py<PyAny>>, with_metadata: bool) -> Shape {
        Shape(Arc::new(if with_metadata { Inner::WithMetadata } else { Inner::Pairs { key, value } }))
    }

    /// Whether making the objects calls functions of the program.
    fn calls_functions(&self) -> bool {
        matches!(&*self.0, Inner::Pairs { key, value } if key.is_some() || value.is_some())
    }

    fn block(&self, fetched: &Fetched) -> Result<Block, TaskError> {
        let unread = Block::Unread(Arc::new(Unread { fetched: fetched.clone(), shape: self.clone() }));
        if self.calls_functions() {
            // One call into Python for what one fetch brought, so that nothing waits for the network with the interpreter's lock in hand.
            return in_task(|py| Ok(Block::new(&unread.list(py)?)));
        }
        Ok(unread)
    }

    fn tuple<'py>(&self, py: Python<'py>, record: RecordView<'_>) -> PyResult<Bound<'py, PyTuple>> {
        match &*self.0 {
            Inner::Pairs { key, value } => {
                (decode(py, key, record.key)?, decode(py, value, record.value)?).into_pyobject(py)
            }
            Inner::WithMetadata => {
                let bytes = |part: Option<&[u8]>| part.map(|part| PyBytes::new(py, part));
                (&**record.topic, record.partition, record.offset, bytes(record.key), bytes(record.value))
                    .into_pyobject(py)
            }
        }
    }

    fn rdd(&self, rdd: &Rdd<Record>) -> Rdd<Block> {
        let shape = self.clone();
        rdd.map_fetched(move |fetched| shape.block(fetched))
    }
}

fn decode<'py>(py: Python<'py>, decoder: &Option<Py<PyAny>>, part: Option<&[u8]>) -> PyResult<Bound<'py, PyAny>> {
    match (decoder, part) {
        (None, None) => Ok(py.None().into_bound(py)),
        // Decoded by Python itself, which raises its own exception for bytes that are no UTF-8.
        (None, Some(part)) => Ok(PyString::from_bytes(py, part)?.into_any()),
        (Some(decoder), part) => decoder.bind(py).call1((part.map(|part| PyBytes::new(py, part)),)),
    }
}

/// Kafka's parameters as the engine takes them.
pub type Params = HashMap<String, String>;

fn list(params: Params) -> Vec<(String, String)> {
    let mut list: Vec<(String, String)> = params.into_iter().collect();
    list.sort();
    list
}

/// The stream of a member of a ZooKeeper consumer group; `params` hold `zookeeper.connect` and `group.id`.
pub fn stream(
    context: &StreamingContext,
    topics: HashMap<String, i32>,
    params: Params,
    shape: Shape,
) -> Result<DStream<Block>, StreamingError> {
    let text = |name: &str| params.get(name).cloned().unwrap_or_default();
    let mut topics: Vec<(String, i32)> = topics.into_iter().collect();
    topics.sort();
    let stream = kafka::create_stream(context, &text("zookeeper.connect"), &text("group.id"), &topics, &list(params))?;
    Ok(stream.transform(move |rdd, _| Ok(shape.rdd(&rdd))))
}

/// The stream that reads offset ranges; `conf` is Spark's, for the limits of its rate.
pub fn direct_stream(
    context: &StreamingContext,
    topics: Vec<String>,
    params: Params,
    starts: Vec<(String, i32, i64)>,
    conf: &Params,
    shape: Shape,
) -> Result<DStream<Block>, StreamingError> {
    let starts: Vec<_> =
        starts.into_iter().map(|(topic, partition, offset)| (TopicPartition::new(topic, partition), offset)).collect();
    let stream = kafka::create_direct_stream(context, &topics, &list(params), &starts, limits(conf)?)?;
    Ok(stream.transform(move |rdd, _| Ok(shape.rdd(&rdd))))
}

/// The records of offset ranges.
pub fn rdd(
    spark: &SparkContext,
    params: Params,
    ranges: Vec<(String, i32, i64, i64)>,
    shape: &Shape,
) -> Result<Rdd<Block>, StreamingError> {
    let ranges = ranges.into_iter().map(|(topic, partition, from_offset, until_offset)| OffsetRange {
        topic: topic.into(),
        partition,
        from_offset,
        until_offset,
    });
    Ok(shape.rdd(&kafka::create_rdd(spark, &list(params), ranges.collect())?))
}

/// `spark.streaming.kafka.maxRatePerPartition` and `spark.streaming.backpressure.*`.
fn limits(conf: &Params) -> Result<RateLimits, StreamingError> {
    fn number<T: std::str::FromStr>(conf: &Params, name: &str) -> Result<Option<T>, StreamingError> {
        let Some(text) = conf.get(name) else { return Ok(None) };
        let parsed = text
            .trim()
            .parse()
            .map_err(|_| StreamingError::Invalid(format!("{name} should be a number, but was {text}")));
        parsed.map(Some)
    }
    let mut limits = RateLimits {
        max_rate_per_partition: number(conf, "spark.streaming.kafka.maxRatePerPartition")?,
        backpressure: None,
    };
    if conf.get("spark.streaming.backpressure.enabled").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        let usual = Pid::default();
        limits.backpressure = Some(Pid {
            proportional: number(conf, "spark.streaming.backpressure.pid.proportional")?.unwrap_or(usual.proportional),
            integral: number(conf, "spark.streaming.backpressure.pid.integral")?.unwrap_or(usual.integral),
            derivative: number(conf, "spark.streaming.backpressure.pid.derived")?.unwrap_or(usual.derivative),
            min_rate: number(conf, "spark.streaming.backpressure.pid.minRate")?.unwrap_or(usual.min_rate),
            initial_rate: number(conf, "spark.streaming.backpressure.initialRate")?,
        });
    }
    Ok(limits)
}
