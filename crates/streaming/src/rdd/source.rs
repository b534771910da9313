//! RDDs of collections that the program already holds.

use std::sync::Arc;

use crate::error::{Step, TaskError};
use crate::rdd::{Data, Rdd, RddOp, Sink};
use crate::scheduler::stages::Dependency;
use crate::scheduler::{SparkContext, TaskContext};

/// Partitions that lie in memory.
pub(crate) struct Blocks<T>(pub(crate) Vec<Arc<Vec<T>>>);

impl<T: Data> RddOp<T> for Blocks<T> {
    fn partitions(&self) -> usize {
        self.0.len()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        Vec::new()
    }

    fn run(&self, partition: usize, _task: &TaskContext, sink: Sink<'_, T>) -> Step {
        self.0[partition].iter().cloned().try_for_each(sink)
    }

    fn block(&self, partition: usize, _task: &TaskContext) -> Result<Vec<T>, TaskError> {
        Ok(self.0[partition].to_vec())
    }

    fn is_materialized(&self) -> bool {
        true
    }
}

impl SparkContext {
    /// An RDD of `items` cut into `partitions` even runs; the first ones are the shorter (as Spark slices).
    #[must_use]
    pub fn parallelize<T: Data>(&self, items: Vec<T>, partitions: usize) -> Rdd<T> {
        let (count, partitions) = (items.len(), partitions.max(1));
        let mut items = items.into_iter();
        let blocks = (0..partitions).map(|i| {
            let size = (i + 1) * count / partitions - i * count / partitions;
            Arc::new(items.by_ref().take(size).collect())
        });
        Rdd::from_op(self, Blocks(blocks.collect()))
    }

    /// An RDD whose partitions are given.
    #[must_use]
    pub fn from_partitions<T: Data>(&self, partitions: Vec<Vec<T>>) -> Rdd<T> {
        Rdd::from_op(self, Blocks(partitions.into_iter().map(Arc::new).collect()))
    }

    /// An RDD without partitions.
    #[must_use]
    pub fn empty_rdd<T: Data>(&self) -> Rdd<T> {
        Rdd::from_op(self, Blocks(Vec::new()))
    }
}
