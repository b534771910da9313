//! The trait behind every RDD, and what its elements must be.

use std::hash::Hash;

use crate::error::{Halt, Step, TaskError};
use crate::scheduler::TaskContext;
use crate::scheduler::stages::Dependency;

/// An element of an RDD: it moves between threads and is copied where two readers want it. No serialization is asked for.
pub trait Data: Send + Sync + Clone + 'static {}
impl<T: Send + Sync + Clone + 'static> Data for T {}

/// An element that records are brought together by.
pub trait Key: Data + Hash + Eq {}
impl<T: Data + Hash + Eq> Key for T {}

/// Where records are pushed.
pub type Sink<'a, T> = &'a mut dyn FnMut(T) -> Step;

/// How an RDD computes its partitions.
pub trait RddOp<T: Data>: Send + Sync + 'static {
    /// Number of partitions; never changes.
    fn partitions(&self) -> usize;

    /// RDDs it reads.
    fn dependencies(&self) -> Vec<Dependency>;

    /// Pushes the records of one partition into the sink until it halts.
    ///
    /// # Errors
    /// The sink's halt, passed on as it is, or a failure of its own.
    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, T>) -> Step;

    /// The records of one partition at once.
    ///
    /// # Errors
    /// Why it could not be computed.
    fn block(&self, partition: usize, task: &TaskContext) -> Result<Vec<T>, TaskError> {
        let mut block = Vec::new();
        self.run(partition, task, &mut |item| {
            block.push(item);
            Ok(())
        })
        .or_else(Halt::into_result)?;
        Ok(block)
    }

    /// Whether the partitions already lie in memory and nothing is read to get them.
    fn is_materialized(&self) -> bool {
        false
    }
}
