//! A record as a Kafka source gives it.

use std::sync::Arc;

use bytes::Bytes;
use protocol::types::TopicPartition;

use crate::dstream::DStream;
use crate::error::Step;
use crate::rdd::{Rdd, RddOp, Sink};
use crate::scheduler::TaskContext;
use crate::scheduler::stages::Dependency;
use crate::text::{Text, TextBlocks};

/// A record of a topic. Key and value are slices of what the broker sent, or of what that unpacks to; they keep it alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// Milliseconds since 1970; -1 where the record carries none.
    pub timestamp: i64,
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
}

impl From<(&TopicPartition, protocol::records::Record)> for Record {
    fn from((partition, record): (&TopicPartition, protocol::records::Record)) -> Record {
        Record {
            topic: partition.topic.clone(),
            partition: partition.partition,
            offset: record.offset.0,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
        }
    }
}

/// The values of a partition as text, gathered in blocks.
struct Values(Rdd<Record>);

impl RddOp<Text> for Values {
    fn partitions(&self) -> usize {
        self.0.num_partitions()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        vec![self.0.as_dependency()]
    }

    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, Text>) -> Step {
        let mut blocks = TextBlocks::default();
        self.0.each_fetched(partition, task, &mut |fetched| {
            fetched.visit(|record| {
                let Some(value) = record.value else { return Ok(()) };
                blocks.push(value);
                blocks.drain_closed().try_for_each(&mut *sink)
            })?
        })?;
        blocks.finish().into_iter().try_for_each(sink)
    }
}

impl Rdd<Record> {
    /// The values as text, many of them in one shared block. Records without a value are left out; what is not UTF-8 is replaced.
    pub fn text(&self) -> Rdd<Text> {
        Rdd::from_op(self.context(), Values(self.clone()))
    }
}

impl DStream<Record> {
    /// The values as text; see [`Rdd::text`].
    pub fn text(&self) -> DStream<Text> {
        self.each(|rdd| rdd.text())
    }
}
