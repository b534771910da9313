//! Records where they lie in what a broker sent: read without a copy and without a reference count touched.

use std::marker::PhantomData;
use std::sync::Arc;

use client::kafka::{BlockRecords, FetchedBlock};
use protocol::types::TopicPartition;

use crate::error::{Step, TaskError};
use crate::rdd::{Rdd, RddOp, Sink};
use crate::scheduler::TaskContext;
use crate::scheduler::stages::Dependency;
use crate::sources::kafka::Record;

/// A record, borrowed from what the broker sent. See [`Record`] for its parts.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// The topic.
    pub topic: &'a Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// Milliseconds since 1970; -1 where the record carries none.
    pub timestamp: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
}

/// Some records of a partition, one behind the other: what one fetch brought. Cheap to clone.
#[derive(Clone)]
pub struct Fetched(Place);

#[derive(Clone)]
enum Place {
    Block(FetchedBlock),
    /// Of an RDD that keeps its records.
    Kept(Arc<[Record]>),
}

/// Shows the records of a [`Fetched`] in order, some at a time.
pub struct FetchedCursor(At);

enum At {
    Block(TopicPartition, Box<BlockRecords>),
    /// The records and the number of those that were shown.
    Kept(Arc<[Record]>, usize),
}

impl Fetched {
    /// Begins at the first record.
    #[must_use]
    pub fn cursor(&self) -> FetchedCursor {
        FetchedCursor(match &self.0 {
            Place::Block(block) => At::Block(block.topic_partition.clone(), Box::new(block.records())),
            Place::Kept(records) => At::Kept(records.clone(), 0),
        })
    }

    /// Shows `visit` the records until it fails; the inner error is its own.
    ///
    /// # Errors
    /// Where what the broker sent is damaged.
    pub fn visit<E>(&self, visit: impl FnMut(RecordView<'_>) -> Result<(), E>) -> Result<Result<(), E>, TaskError> {
        self.cursor().visit_some(usize::MAX, visit).map(|visited| visited.map(|_more| ()))
    }
}

impl FetchedCursor {
    /// Shows `visit` the next records, at most `most` of them, until it fails; the inner error is its own. Whether there may be more.
    ///
    /// # Errors
    /// Where what the broker sent is damaged.
    pub fn visit_some<E>(
        &mut self,
        most: usize,
        mut visit: impl FnMut(RecordView<'_>) -> Result<(), E>,
    ) -> Result<Result<bool, E>, TaskError> {
        match &mut self.0 {
            At::Block(from, records) => Ok(records.visit_some(most, |record| {
                visit(RecordView {
                    topic: &from.topic,
                    partition: from.partition,
                    offset: record.offset.0,
                    timestamp: record.timestamp,
                    key: record.key,
                    value: record.value,
                })
            })?),
            At::Kept(records, shown) => {
                let rest = &records[*shown..];
                let next = &rest[..rest.len().min(most)];
                *shown += next.len();
                let visited = next.iter().try_for_each(|record| {
                    visit(RecordView {
                        topic: &record.topic,
                        partition: record.partition,
                        offset: record.offset,
                        timestamp: record.timestamp,
                        key: record.key.as_deref(),
                        value: record.value.as_deref(),
                    })
                });
                Ok(visited.map(|()| *shown < records.len()))
            }
        }
    }
}

/// An operator that can also give its partitions as they were fetched.
pub(crate) trait FetchedBlocks: Send + Sync {
    /// Pushes what was fetched of a partition, in order, until the sink halts.
    fn push_blocks(&self, partition: usize, task: &TaskContext, sink: &mut dyn FnMut(&FetchedBlock) -> Step) -> Step;

    /// The same as records that stand for themselves.
    fn push_records(&self, partition: usize, task: &TaskContext, sink: Sink<'_, Record>) -> Step {
        self.push_blocks(partition, task, &mut |block| {
            for record in block.records() {
                let record = record.map_err(TaskError::from)?;
                sink(Record::from((&block.topic_partition, record)))?;
            }
            Ok(())
        })
    }
}

impl Rdd<Record> {
    /// Calls `function` with the records of a partition, fetch by fetch.
    pub(crate) fn each_fetched(
        &self,
        partition: usize,
        task: &TaskContext,
        function: &mut dyn FnMut(&Fetched) -> Step,
    ) -> Step {
        match self.fetched_blocks() {
            Some(source) => {
                let _depth = task.enter()?;
                source.push_blocks(partition, task, &mut |block| function(&Fetched(Place::Block(block.clone()))))
            }
            None => function(&Fetched(Place::Kept(self.block(partition, task)?.into()))),
        }
    }

    /// What `function` makes of each fetch; the RDD still tells the Kafka offsets of its partitions. For wrappers in other languages, which
    /// make their own objects of records.
    pub fn map_fetched<U: crate::Data>(
        &self,
        function: impl Fn(&Fetched) -> Result<U, TaskError> + Send + Sync + 'static,
    ) -> Rdd<U> {
        Rdd::with_offset_ranges_of(self, MapFetched { parent: self.clone(), function, output: PhantomData })
    }
}

struct MapFetched<U, F> {
    parent: Rdd<Record>,
    function: F,
    output: PhantomData<fn() -> U>,
}

impl<U: crate::Data, F> RddOp<U> for MapFetched<U, F>
where
    F: Fn(&Fetched) -> Result<U, TaskError> + Send + Sync + 'static,
{
    fn partitions(&self) -> usize {
        self.parent.num_partitions()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        vec![self.parent.as_dependency()]
    }

    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, U>) -> Step {
        self.parent.each_fetched(partition, task, &mut |fetched| sink((self.function)(fetched)?))
    }
}
