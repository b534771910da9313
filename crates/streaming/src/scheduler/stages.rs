//! Cuts a lineage into stages: the shuffles that must have run before an RDD can be computed, parents first.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::TaskError;
use crate::scheduler::TaskContext;

/// An RDD whose element type is not known here.
pub trait AnyRdd: Send + Sync {
    /// Unique within the process.
    fn id(&self) -> u64;
    /// What it must have to be computed; empty once it holds all its partitions itself.
    fn dependencies(&self) -> Vec<Dependency>;
}

/// How an RDD depends on another.
pub enum Dependency {
    /// Each partition reads few partitions of the parent, within the same task.
    Narrow(Arc<dyn AnyRdd>),
    /// Each partition reads all partitions of the parent: a stage ends here.
    Shuffle(Arc<dyn ShuffleStage>),
}

/// The map side of a shuffle.
pub trait ShuffleStage: Send + Sync {
    /// Unique within the process.
    fn id(&self) -> u64;
    /// The RDD whose partitions are the map tasks.
    fn parent(&self) -> Arc<dyn AnyRdd>;
    /// Map partitions that have no output yet.
    fn missing(&self) -> Vec<usize>;
    /// Computes the output of one map partition and keeps it.
    ///
    /// # Errors
    /// What the functions of the stage said.
    fn run_map(&self, partition: usize, task: &TaskContext) -> Result<(), TaskError>;
    /// Held by the job that runs the stage, so that a second job waits instead of running the functions twice.
    fn turn(&self) -> &parking_lot::Mutex<()>;
}

enum Visit {
    Rdd(Arc<dyn AnyRdd>),
    /// All parents of this shuffle have been visited.
    Done(Arc<dyn ShuffleStage>),
}

/// Shuffles with missing output that `root` needs, each after those it needs itself. A loop, not a recursion: lineages grow with the
/// number of batches.
pub(crate) fn pending_shuffles(root: Arc<dyn AnyRdd>) -> Vec<Arc<dyn ShuffleStage>> {
    let mut pending = Vec::new();
    let mut seen_rdds = HashSet::new();
    let mut done_shuffles = HashSet::new();
    let mut stack = vec![Visit::Rdd(root)];
    while let Some(visit) = stack.pop() {
        let rdd = match visit {
            // A shuffle may be pushed once per path that leads to it. Its first Done comes after all its parents, because whatever is
            // pushed later is popped earlier.
            Visit::Done(shuffle) => {
                if done_shuffles.insert(shuffle.id()) {
                    pending.push(shuffle);
                }
                continue;
            }
            Visit::Rdd(rdd) => rdd,
        };
        if !seen_rdds.insert(rdd.id()) {
            continue;
        }
        for dependency in rdd.dependencies() {
            match dependency {
                Dependency::Narrow(parent) => stack.push(Visit::Rdd(parent)),
                Dependency::Shuffle(shuffle) if done_shuffles.contains(&shuffle.id()) => {}
                Dependency::Shuffle(shuffle) if shuffle.missing().is_empty() => {}
                Dependency::Shuffle(shuffle) => {
                    let parent = shuffle.parent();
                    stack.push(Visit::Done(shuffle));
                    stack.push(Visit::Rdd(parent));
                }
            }
        }
    }
    pending
}
