//! The brokers, for callers that block: tasks and the batch generator.

use std::time::Duration;

use client::kafka::{
    ClientConfig, ClientError, Cluster, ConsumerConfig, FetchedBlock, OffsetReset, OffsetSpec, RangeReader,
};
use protocol::types::{Offset, TopicPartition};
use runtime::Clock;
use tokio::runtime::Handle;

use crate::error::{Step, StreamingError, TaskError};
use crate::scheduler::{SparkContext, TaskContext};
use crate::sources::kafka::OffsetRange;

/// Time between two looks at whether a waiting task is still wanted.
const CANCEL_LOOK: Duration = Duration::from_millis(200);

/// Names that choose Java classes or tune what is not here; they are taken and mean nothing.
const WITHOUT_MEANING: &[&str] = &[
    "key.deserializer",
    "value.deserializer",
    "serializer.class",
    "socket.receive.buffer.bytes",
    "zookeeper.connect",
    "zookeeper.connection.timeout.ms",
];

/// The brokers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct KafkaCluster {
    io: Handle,
    cluster: Cluster,
    config: ConsumerConfig,
}

impl KafkaCluster {
    /// Takes Kafka's configurations, of 0.8 and of today. Nothing is sent yet.
    ///
    /// # Errors
    /// No brokers named, or a value that cannot be used.
    pub(crate) fn new(spark: &SparkContext, params: &[(String, String)]) -> Result<KafkaCluster, StreamingError> {
        let config = consumer_config(params)?;
        let io = spark.io().map_err(|error| StreamingError::Thread(std::sync::Arc::new(error)))?;
        let cluster = Cluster::new(config.client.clone(), Clock::real());
        Ok(KafkaCluster { io, cluster, config })
    }

    /// Where a partition without an offset begins.
    pub(crate) fn offset_reset(&self) -> OffsetReset {
        self.config.auto_offset_reset
    }

    /// All partitions of the topics.
    pub(crate) fn partitions_of(&self, topics: &[String]) -> Result<Vec<TopicPartition>, ClientError> {
        self.io.block_on(async {
            let mut partitions = Vec::new();
            for name in topics {
                let topic = self.cluster.topic(name, false, self.cluster.default_deadline()).await?;
                partitions
                    .extend(topic.partitions.iter().map(|p| TopicPartition::new(topic.name.clone(), p.partition)));
            }
            partitions.sort();
            Ok(partitions)
        })
    }

    /// An end of each partition's log, in the order of `partitions`.
    pub(crate) fn offsets(&self, partitions: &[TopicPartition], end: OffsetSpec) -> Result<Vec<i64>, ClientError> {
        let wanted: Vec<_> = partitions.iter().map(|partition| (partition.clone(), end)).collect();
        let level = self.config.isolation_level;
        let listing =
            client::kafka::consumer::list_offsets(&self.cluster, &wanted, level, self.cluster.default_deadline());
        let mut found = self.io.block_on(listing);
        let offset = |partition: &TopicPartition| match found.remove(partition) {
            Some(Ok(listed)) => Ok(listed.map_or(0, |listed| listed.offset.0)),
            Some(Err(error)) => Err(error),
            None => Err(ClientError::NotAssigned { partition: partition.clone() }),
        };
        partitions.iter().map(offset).collect()
    }

    /// Pushes the records of a range into the sink, fetch by fetch. While the sink works on a block the next one is on its way.
    pub(crate) fn read(
        &self,
        range: &OffsetRange,
        task: &TaskContext,
        sink: &mut dyn FnMut(&FetchedBlock) -> Step,
    ) -> Step {
        let partition = TopicPartition::new(range.topic.clone(), range.partition);
        let (from, until) = (Offset(range.from_offset), Offset(range.until_offset));
        let reader = RangeReader::new(self.cluster.clone(), &self.config, partition, from, until);
        let mut fetching = self.fetch(reader);
        loop {
            let (reader, block) = self.wait(&mut fetching, task)?;
            let Some(block) = block.map_err(|error| read_error(&error, range))? else {
                return Ok(());
            };
            fetching = self.fetch(reader);
            sink(&block)?;
        }
    }

    fn fetch(&self, mut reader: RangeReader) -> Fetching {
        let deadline = self.cluster.default_deadline();
        Fetching(self.io.spawn(async move {
            let block = reader.next(deadline).await;
            (reader, block)
        }))
    }

    fn wait(&self, fetching: &mut Fetching, task: &TaskContext) -> Result<Fetched, TaskError> {
        loop {
            task.check()?;
            let waited = self.io.block_on(async { tokio::time::timeout(CANCEL_LOOK, &mut fetching.0).await });
            if let Ok(fetched) = waited {
                return Ok(fetched?);
            }
        }
    }
}

type Fetched = (RangeReader, Result<Option<FetchedBlock>, ClientError>);

/// A fetch on its way; dropping it ends it.
struct Fetching(tokio::task::JoinHandle<Fetched>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn read_error(error: &ClientError, range: &OffsetRange) -> TaskError {
    let mut text = format!("{error} ({range})");
    if matches!(error, ClientError::OffsetOutOfRange { .. }) {
        text.push_str(
            ": the log does not hold this range; records that retention removed before they were read are gone",
        );
    } else if let Some(cause) = error.cause() {
        text = format!("{text}: {cause}");
    }
    TaskError::message(text)
}

fn consumer_config(params: &[(String, String)]) -> Result<ConsumerConfig, StreamingError> {
    let bad = |error: ClientError| StreamingError::invalid(error.to_string());
    let brokers = params.iter().find(|(name, _)| name == "metadata.broker.list" || name == "bootstrap.servers");
    let Some((_, brokers)) = brokers else {
        return Err(StreamingError::invalid("Must specify metadata.broker.list or bootstrap.servers"));
    };
    let mut config = ConsumerConfig::new(ClientConfig::parse(brokers).map_err(bad)?);
    for (name, value) in params {
        if !config.set(name, value).map_err(bad)? && !WITHOUT_MEANING.contains(&name.as_str()) {
            tracing::warn!("The configuration '{name}' was supplied but isn't a known config.");
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_then_and_now() {
        let check = |params: &[(&str, &str)], expected: Result<OffsetReset, &str>| {
            let params: Vec<_> = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            match (consumer_config(&params), expected) {
                (Ok(config), Ok(reset)) => assert_eq!(config.auto_offset_reset, reset, "{params:?}"),
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{params:?}: {error}"),
                (Ok(_), Err(text)) => panic!("{params:?} should be refused: {text}"),
                (Err(error), Ok(_)) => panic!("{params:?}: {error}"),
            }
        };
        check(&[("metadata.broker.list", "localhost:9092")], Ok(OffsetReset::Latest));
        check(&[("bootstrap.servers", "a:1,b:2"), ("auto.offset.reset", "smallest")], Ok(OffsetReset::Earliest));
        check(&[("bootstrap.servers", "a:1"), ("no.such.thing", "x")], Ok(OffsetReset::Latest));
        check(&[("auto.offset.reset", "smallest")], Err("Must specify metadata.broker.list"));
        check(&[("bootstrap.servers", "nonsense")], Err("Invalid url in bootstrap.servers"));
        check(&[("bootstrap.servers", "a:1"), ("auto.offset.reset", "middle")], Err("auto.offset.reset"));
    }
}
