//! `create_direct_stream`: each batch reads, of every partition, from where the one before ended up to the end as it is when the batch is
//! made, less what the rate limits leave for later.

use client::kafka::{OffsetReset, OffsetSpec};
use parking_lot::Mutex;
use protocol::types::TopicPartition;

use crate::context::StreamingContext;
use crate::dstream::{DStream, Generated};
use crate::error::{StreamingError, TaskError};
use crate::listener::BatchInfo;
use crate::notes::Notes;
use crate::scheduler::SparkContext;
use crate::sources::kafka::cluster::KafkaCluster;
use crate::sources::kafka::rate::{RateEstimator, RateLimits, allowance};
use crate::sources::kafka::{Joined, OffsetRange, Record, note_joined, rdd};
use crate::sources::{Input, InputSource, SourceEvents};
use crate::time::{Millis, Time};

struct DirectSource {
    cluster: KafkaCluster,
    topics: Vec<String>,
    limits: RateLimits,
    batch: Millis,
    state: Mutex<State>,
}

struct State {
    stream_id: usize,
    /// Where each partition is read next.
    current: Vec<(TopicPartition, i64)>,
    estimator: Option<RateEstimator>,
    /// Records per second of all partitions together.
    rate: Option<f64>,
}

/// A stream of the records of topics, read straight from their brokers, without a consumer group (Spark's `KafkaUtils.createDirectStream`).
/// Its RDDs have a partition per Kafka partition and tell their offsets by [`crate::Rdd::offset_ranges`].
///
/// `params` are Kafka's: `metadata.broker.list` or `bootstrap.servers` is needed; `auto.offset.reset` (`largest` unless given) says where to
/// begin where `from_offsets` does not.
///
/// # Errors
/// Parameters that cannot be used; neither topics nor offsets.
pub fn create_direct_stream(
    context: &StreamingContext,
    topics: &[String],
    params: &[(String, String)],
    from_offsets: &[(TopicPartition, i64)],
    limits: RateLimits,
) -> Result<DStream<Record>, StreamingError> {
    if topics.is_empty() && from_offsets.is_empty() {
        return Err(StreamingError::invalid("a direct stream needs topics or offsets to start from"));
    }
    let cluster = KafkaCluster::new(context.spark_context(), params)?;
    if from_offsets.is_empty() && cluster.offset_reset() == OffsetReset::None {
        return Err(StreamingError::invalid("auto.offset.reset=none needs offsets to start from"));
    }
    let batch = context.batch_interval();
    let mut current = from_offsets.to_vec();
    current.sort();
    let state = State {
        stream_id: 0,
        current,
        estimator: limits.backpressure.map(|pid| RateEstimator::new(pid, batch)),
        rate: limits.backpressure.and_then(|pid| pid.initial_rate),
    };
    let source = DirectSource { cluster, topics: topics.to_vec(), limits, batch, state: Mutex::new(state) };
    Ok(context.input_stream(source))
}

impl DirectSource {
    /// Where partitions begin that the caller gave no offsets for.
    fn first_offsets(&self, user: &Notes) -> Result<Vec<(TopicPartition, i64)>, TaskError> {
        let partitions = self.cluster.partitions_of(&self.topics)?;
        let earliest = self.cluster.offsets(&partitions, OffsetSpec::Earliest)?;
        if self.cluster.offset_reset() == OffsetReset::Earliest {
            return Ok(partitions.into_iter().zip(earliest).collect());
        }
        let latest = self.cluster.offsets(&partitions, OffsetSpec::Latest)?;
        let joined = partitions.iter().zip(latest.iter().zip(earliest)).map(|(partition, (latest, earliest))| Joined {
            partition: partition.clone(),
            offset: *latest,
            older: latest - earliest,
        });
        note_joined(&joined.collect::<Vec<_>>(), user);
        Ok(partitions.into_iter().zip(latest).collect())
    }
}

impl InputSource<Record> for DirectSource {
    fn name(&self) -> String {
        "Kafka direct stream".to_owned()
    }

    fn start(&self, spark: &SparkContext, _events: &SourceEvents, stream_id: usize) -> Result<(), TaskError> {
        let mut state = self.state.lock();
        state.stream_id = stream_id;
        if state.current.is_empty() {
            state.current = self.first_offsets(spark.notes())?;
        }
        Ok(())
    }

    fn compute(&self, spark: &SparkContext, _time: Time, input: &mut Input) -> Generated<Record> {
        let mut state = self.state.lock();
        let partitions: Vec<TopicPartition> = state.current.iter().map(|(partition, _)| partition.clone()).collect();
        let latest = self.cluster.offsets(&partitions, OffsetSpec::Latest)?;
        let ranges = plan(&state.current, &latest, state.rate, &self.limits, self.batch)?;
        for ((_, offset), range) in state.current.iter_mut().zip(&ranges) {
            *offset = range.until_offset;
        }
        input.num_records = ranges.iter().map(OffsetRange::count).sum();
        let lines: Vec<String> = ranges.iter().filter(|range| range.count() > 0).map(describe).collect();
        input.description = lines.join("\n");
        Ok(Some(rdd::of_ranges(spark, self.cluster.clone(), ranges)))
    }

    fn batch_completed(&self, batch: &BatchInfo, _succeeded: bool) {
        let mut state = self.state.lock();
        let records = batch.stream_id_to_input_info.get(&state.stream_id).map_or(0, |input| input.num_records);
        if let Some(rate) = state.estimator.as_mut().and_then(|estimator| estimator.on_batch(batch, records)) {
            state.rate = Some(rate);
        }
    }
}

/// What a batch reads, given where each partition stands and ends.
fn plan(
    current: &[(TopicPartition, i64)],
    latest: &[i64],
    rate: Option<f64>,
    limits: &RateLimits,
    batch: Millis,
) -> Result<Vec<OffsetRange>, TaskError> {
    for ((partition, offset), latest) in current.iter().zip(latest) {
        if latest < offset {
            return Err(TaskError::message(format!(
                "the log of {partition} ends at offset {latest}, before offset {offset} which is to be read next: the topic was made \
                 anew; start the job with new offsets"
            )));
        }
    }
    let lags: Vec<i64> = current.iter().zip(latest).map(|((_, offset), latest)| latest - offset).collect();
    let allowed = allowance(&lags, rate, limits.max_rate_per_partition, batch);
    let until = |number: usize, offset: i64| match &allowed {
        Some(allowed) => latest[number].min(offset.saturating_add(allowed[number])),
        None => latest[number],
    };
    let ranges = current.iter().enumerate().map(|(number, (partition, offset))| OffsetRange {
        topic: partition.topic.clone(),
        partition: partition.partition,
        from_offset: *offset,
        until_offset: until(number, *offset),
    });
    Ok(ranges.collect())
}

fn describe(range: &OffsetRange) -> String {
    format!(
        "topic: {}\tpartition: {}\toffsets: {} to {}",
        range.topic, range.partition, range.from_offset, range.until_offset
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_goes_on_where_the_last_one_ended() {
        let check = |current: &[i64],
                     latest: &[i64],
                     limits: RateLimits,
                     rate: Option<f64>,
                     expected: &[(i64, i64)]| {
            let current: Vec<_> =
                current.iter().enumerate().map(|(n, offset)| (TopicPartition::new("t", n as i32), *offset)).collect();
            let ranges = plan(&current, latest, rate, &limits, Millis::new(2000)).unwrap();
            let ranges: Vec<_> = ranges.iter().map(|range| (range.from_offset, range.until_offset)).collect();
            assert_eq!(ranges, expected);
        };
        let none = RateLimits::default;
        check(&[0, 5], &[10, 5], none(), None, &[(0, 10), (5, 5)]);
        let limited = || RateLimits { max_rate_per_partition: Some(3), backpressure: None };
        check(&[0, 5], &[10, 6], limited(), None, &[(0, 6), (5, 6)]);
        check(&[0, 0], &[300, 100], none(), Some(20.0), &[(0, 30), (0, 10)]);
        check(&[i64::MAX - 1], &[i64::MAX], limited(), None, &[(i64::MAX - 1, i64::MAX)]);
    }

    #[test]
    fn a_log_that_went_back_is_said_to_be_new() {
        let current = [(TopicPartition::new("t", 0), 10)];
        let error = plan(&current, &[3], None, &RateLimits::default(), Millis::new(1000)).unwrap_err();
        assert!(error.to_string().contains("the log of t-0 ends at offset 3"), "{error}");
    }
}
