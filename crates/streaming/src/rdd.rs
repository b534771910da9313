//! `Rdd<T>`: a partitioned collection that knows how to compute itself.
//!
//! An RDD is a description; nothing runs before an action. A partition is computed push-style: the source calls the next operator with each
//! record, that one calls the next, so a chain of narrow operators is one loop without anything stored in between. Where a whole partition
//! is wanted as a `Vec` (`map_partitions`, `glom`, a shuffle), [`RddOp::block`] hands it over without copying where the source has it.
//!
//! Always true: computing a partition twice gives the same records unless the user's functions do not; elements need no serialization.
//!
//! # Layout
//! - [`op`]: the trait behind every RDD, and the elements' bounds
//! - [`cache`]: kept partitions, and lineage cut once all are kept
//! - [`source`]: collections of the program
//! - [`narrow`]: operators within a partition, union and coalesce
//! - [`shuffle`]: operators that move records between partitions
//! - [`combiner`]: the hash table that merges values by key
//! - [`pairs`]: reduce, group, cogroup and join by key
//! - [`actions`]: what runs a job
//! - [`text`]: text files out

pub mod actions;
mod cache;
pub(crate) mod combiner;
pub mod narrow;
pub mod op;
pub mod pairs;
pub mod shuffle;
pub mod source;
pub mod text;

use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::{Step, TaskError};
use crate::rdd::cache::Cache;
use crate::rdd::source::Blocks;
use crate::scheduler::stages::{AnyRdd, Dependency};
use crate::scheduler::{SparkContext, TaskContext};
use crate::sources::kafka::OffsetRange;
use crate::sources::kafka::fetched::FetchedBlocks;

pub use op::{Data, Key, RddOp, Sink};

/// A partitioned collection that knows how to compute itself. Cheap to clone; all clones are the same RDD.
pub struct Rdd<T: Data>(Arc<Node<T>>);

struct Node<T: Data> {
    id: u64,
    context: SparkContext,
    partitions: usize,
    /// Replaced by the computed blocks when the lineage is cut.
    op: RwLock<Arc<dyn RddOp<T>>>,
    cache: Cache<T>,
    /// Number of partitions by [`pairs::key_partition`], where the records are known to lie so.
    hashed_by: Option<usize>,
    /// Where a Kafka source's own RDD comes from.
    fetched: Option<Origin>,
}

#[derive(Clone)]
struct Origin {
    ranges: Arc<[OffsetRange]>,
    /// None where the records are no longer those that were fetched.
    blocks: Option<Arc<dyn FetchedBlocks>>,
}

impl<T: Data> Clone for Rdd<T> {
    fn clone(&self) -> Rdd<T> {
        Rdd(self.0.clone())
    }
}

impl<T: Data> std::fmt::Debug for Rdd<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rdd({}, {} partitions)", self.0.id, self.0.partitions)
    }
}

impl<T: Data> Rdd<T> {
    /// An RDD of an own operator: how sources and wrappers in other languages come in.
    pub fn from_op(context: &SparkContext, op: impl RddOp<T>) -> Rdd<T> {
        Rdd::build(context, Arc::new(op), None, None)
    }

    /// The same where keys are known to lie in their partitions.
    fn hashed(context: &SparkContext, op: impl RddOp<T>, hashed_by: Option<usize>) -> Rdd<T> {
        Rdd::build(context, Arc::new(op), hashed_by, None)
    }

    fn build(
        context: &SparkContext,
        op: Arc<dyn RddOp<T>>,
        hashed_by: Option<usize>,
        fetched: Option<Origin>,
    ) -> Rdd<T> {
        Rdd(Arc::new(Node {
            id: context.next_id(),
            context: context.clone(),
            partitions: op.partitions(),
            op: RwLock::new(op),
            cache: Cache::default(),
            hashed_by,
            fetched,
        }))
    }

    /// The RDD of a Kafka source, with a note of the offsets its partitions hold.
    pub(crate) fn of_fetched(
        context: &SparkContext,
        op: impl RddOp<T> + FetchedBlocks,
        ranges: Arc<[OffsetRange]>,
    ) -> Rdd<T> {
        let op = Arc::new(op);
        Rdd::build(context, op.clone(), None, Some(Origin { ranges, blocks: Some(op) }))
    }

    /// An RDD whose partitions are made of those of `source`, whose offsets it goes on telling.
    pub(crate) fn with_offset_ranges_of<S: Data>(source: &Rdd<S>, op: impl RddOp<T>) -> Rdd<T> {
        let fetched = source.0.fetched.as_ref().map(|fetched| Origin { blocks: None, ..fetched.clone() });
        Rdd::build(source.context(), Arc::new(op), None, fetched)
    }

    /// Unique within its context.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The context that runs its jobs.
    #[must_use]
    pub fn context(&self) -> &SparkContext {
        &self.0.context
    }

    /// Number of partitions.
    #[must_use]
    pub fn num_partitions(&self) -> usize {
        self.0.partitions
    }

    /// Kafka's offsets of each partition: only on the RDD that a Kafka source itself made, as Spark's `HasOffsetRanges`.
    #[must_use]
    pub fn offset_ranges(&self) -> Option<&[OffsetRange]> {
        self.0.fetched.as_ref().map(|fetched| &*fetched.ranges)
    }

    /// Its records as they were fetched, unless it keeps them.
    pub(crate) fn fetched_blocks(&self) -> Option<&Arc<dyn FetchedBlocks>> {
        if self.0.cache.slots().is_some() {
            return None;
        }
        self.0.fetched.as_ref()?.blocks.as_ref()
    }

    /// Pushes the records of a partition into `sink` until they end or the sink halts.
    ///
    /// # Errors
    /// The sink's own halt, or why the partition could not be computed.
    pub fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, T>) -> Step {
        let _depth = task.enter()?;
        match self.0.cache.slots() {
            None => self.op().run(partition, task, sink),
            Some(slots) => {
                let block = self.cached_block(&slots, partition, task)?;
                block.iter().cloned().try_for_each(sink)
            }
        }
    }

    /// The records of a partition.
    ///
    /// # Errors
    /// Why the partition could not be computed.
    pub fn block(&self, partition: usize, task: &TaskContext) -> Result<Vec<T>, TaskError> {
        let _depth = task.enter()?;
        match self.0.cache.slots() {
            None => self.op().block(partition, task),
            Some(slots) => Ok(self.cached_block(&slots, partition, task)?.to_vec()),
        }
    }

    /// Keeps partitions in memory once they are computed, until [`Rdd::unpersist`] or the last handle is gone. Spark's storage levels on
    /// disk and in replicas mean the same here.
    pub fn persist(&self) -> Rdd<T> {
        if !self.op().is_materialized() {
            self.0.cache.keep(self.0.partitions);
        }
        self.clone()
    }

    /// [`Rdd::persist`] under its short name.
    pub fn cache(&self) -> Rdd<T> {
        self.persist()
    }

    /// Forgets kept partitions. An RDD whose lineage was cut keeps its data: there is no other copy.
    pub fn unpersist(&self) {
        self.0.cache.forget();
    }

    /// Whether [`Rdd::persist`] is in force.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.0.cache.slots().is_some() || self.op().is_materialized()
    }

    /// Keeps all partitions, and once all are computed forgets how they were: what stands before can then be freed. For RDDs that each
    /// batch builds on the one before.
    pub fn local_checkpoint(&self) -> Rdd<T> {
        if !self.op().is_materialized() {
            self.0.cache.keep(self.0.partitions);
            self.0.cache.cut_lineage();
        }
        self.clone()
    }

    /// Whether it holds all its data and depends on nothing.
    #[must_use]
    pub fn is_materialized(&self) -> bool {
        self.op().is_materialized()
    }

    pub(crate) fn hashed_by(&self) -> Option<usize> {
        self.0.hashed_by
    }

    pub(crate) fn as_any(&self) -> Arc<dyn AnyRdd> {
        self.0.clone()
    }

    pub(crate) fn as_dependency(&self) -> Dependency {
        Dependency::Narrow(self.as_any())
    }

    fn op(&self) -> Arc<dyn RddOp<T>> {
        self.0.op.read().clone()
    }

    fn cached_block(
        &self,
        slots: &cache::Slots<T>,
        partition: usize,
        task: &TaskContext,
    ) -> Result<Arc<Vec<T>>, TaskError> {
        let block = slots.get_or_compute(partition, || self.op().block(partition, task))?;
        if let Some(blocks) = self.0.cache.complete_cut(slots) {
            *self.0.op.write() = Arc::new(Blocks(blocks));
            self.0.cache.forget();
        }
        Ok(block)
    }
}

impl<T: Data> AnyRdd for Node<T> {
    fn id(&self) -> u64 {
        self.id
    }

    fn dependencies(&self) -> Vec<Dependency> {
        match self.cache.slots() {
            Some(slots) if slots.is_full() => Vec::new(),
            _ => self.op.read().dependencies(),
        }
    }
}

#[cfg(test)]
mod tests;
