//! Operators that move records between partitions.
//!
//! The map side computes a parent partition, sorts its records into one bucket per reduce partition and keeps the buckets in memory; the
//! reduce side reads its bucket of every map output. The buckets live as long as the shuffled RDD, so a second action does not run the map
//! side again. The scheduler runs the map side as a stage of its own; should an output be missing all the same (a kept partition was
//! forgotten between planning and reading), the reader computes it itself.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::error::{Step, TaskError};
use crate::rdd::{Data, Rdd, RddOp, Sink};
use crate::scheduler::TaskContext;
use crate::scheduler::stages::{AnyRdd, Dependency, ShuffleStage};

/// The records of one map partition, by reduce partition.
pub(crate) type Buckets<B> = Vec<Vec<B>>;

type Write<B> = Box<dyn Fn(usize, &TaskContext) -> Result<Buckets<B>, TaskError> + Send + Sync>;

/// A shuffle and, once it ran, its buckets.
pub(crate) struct Shuffle<B> {
    id: u64,
    parent: Arc<dyn AnyRdd>,
    reducers: usize,
    write: Write<B>,
    outputs: Vec<OnceLock<Buckets<B>>>,
    turn: Mutex<()>,
}

impl<B: Data> Shuffle<B> {
    /// `write` sorts a partition of `parent` into `reducers` buckets.
    pub(crate) fn new<T: Data>(
        parent: &Rdd<T>,
        reducers: usize,
        write: impl Fn(&Rdd<T>, usize, &TaskContext) -> Result<Buckets<B>, TaskError> + Send + Sync + 'static,
    ) -> Arc<Shuffle<B>> {
        let rdd = parent.clone();
        Arc::new(Shuffle {
            id: parent.context().next_id(),
            parent: parent.as_any(),
            reducers,
            write: Box::new(move |partition, task| write(&rdd, partition, task)),
            outputs: (0..parent.num_partitions()).map(|_| OnceLock::new()).collect(),
            turn: Mutex::new(()),
        })
    }

    pub(crate) fn reducers(&self) -> usize {
        self.reducers
    }

    pub(crate) fn maps(&self) -> usize {
        self.outputs.len()
    }

    /// What map partition `map` sent to `reducer`.
    pub(crate) fn bucket(&self, map: usize, reducer: usize, task: &TaskContext) -> Result<&[B], TaskError> {
        if self.outputs[map].get().is_none() {
            self.run_map(map, task)?;
        }
        Ok(self.outputs[map].get().map_or(&[], |buckets| &buckets[reducer]))
    }

    /// Everything sent to `reducer`, in the order of the map partitions.
    pub(crate) fn read(&self, reducer: usize, task: &TaskContext, sink: Sink<'_, B>) -> Step {
        for map in 0..self.maps() {
            self.bucket(map, reducer, task)?.iter().cloned().try_for_each(&mut *sink)?;
        }
        Ok(())
    }

    pub(crate) fn as_dependency(self: &Arc<Self>) -> Dependency {
        Dependency::Shuffle(self.clone())
    }
}

impl<B: Data> ShuffleStage for Shuffle<B> {
    fn id(&self) -> u64 {
        self.id
    }

    fn parent(&self) -> Arc<dyn AnyRdd> {
        self.parent.clone()
    }

    fn missing(&self) -> Vec<usize> {
        (0..self.outputs.len()).filter(|&map| self.outputs[map].get().is_none()).collect()
    }

    fn run_map(&self, partition: usize, task: &TaskContext) -> Result<(), TaskError> {
        let buckets = (self.write)(partition, task)?;
        // A second computation of the same partition brings the same records.
        let _ = self.outputs[partition].set(buckets);
        Ok(())
    }

    fn turn(&self) -> &Mutex<()> {
        &self.turn
    }
}

/// The reduce side that passes records on as they came.
pub(crate) struct Shuffled<B>(pub(crate) Arc<Shuffle<B>>);

impl<B: Data> RddOp<B> for Shuffled<B> {
    fn partitions(&self) -> usize {
        self.0.reducers()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        vec![self.0.as_dependency()]
    }

    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, B>) -> Step {
        self.0.read(partition, task, sink)
    }
}

impl<T: Data> Rdd<T> {
    /// Every record to the partition that `partitioner` names.
    ///
    /// The job fails where it names one that is not below `partitions`.
    pub fn partition_by(
        &self,
        partitions: usize,
        partitioner: impl Fn(&T) -> Result<usize, TaskError> + Send + Sync + 'static,
    ) -> Rdd<T> {
        let partitions = partitions.max(1);
        let shuffle = Shuffle::new(self, partitions, move |rdd, partition, task| {
            let mut buckets: Buckets<T> = (0..partitions).map(|_| Vec::new()).collect();
            rdd.run(partition, task, &mut |item| {
                let to = partitioner(&item)?;
                match buckets.get_mut(to) {
                    Some(bucket) => bucket.push(item),
                    None => {
                        let error = format!("partitioner gave {to} where there are {partitions} partitions");
                        return Err(TaskError::message(error).into());
                    }
                }
                Ok(())
            })
            .or_else(crate::error::Halt::into_result)?;
            Ok(buckets)
        });
        Rdd::from_op(self.context(), Shuffled(shuffle))
    }

    /// The same over whole partitions: `partitioner` gets the records of one partition and gives back `partitions` buckets, by one call.
    pub fn partition_blocks_by(
        &self,
        partitions: usize,
        partitioner: impl Fn(Vec<T>) -> Result<Vec<Vec<T>>, TaskError> + Send + Sync + 'static,
    ) -> Rdd<T> {
        let partitions = partitions.max(1);
        let shuffle = Shuffle::new(self, partitions, move |rdd, partition, task| {
            let buckets = partitioner(rdd.block(partition, task)?)?;
            if buckets.len() == partitions {
                return Ok(buckets);
            }
            let error = format!("partitioner gave {} buckets where there are {partitions} partitions", buckets.len());
            Err(TaskError::message(error))
        });
        Rdd::from_op(self.context(), Shuffled(shuffle))
    }

    /// Evenly over `partitions` partitions: each partition deals its records out in turn, each beginning somewhere else.
    pub fn repartition(&self, partitions: usize) -> Rdd<T> {
        let partitions = partitions.max(1);
        let shuffle = Shuffle::new(self, partitions, move |rdd, partition, task| {
            let mut buckets: Buckets<T> = (0..partitions).map(|_| Vec::new()).collect();
            let mut next = (partition * partitions / rdd.num_partitions()) % partitions;
            for item in rdd.block(partition, task)? {
                buckets[next].push(item);
                next = (next + 1) % partitions;
            }
            Ok(buckets)
        });
        Rdd::from_op(self.context(), Shuffled(shuffle))
    }

    /// Sorted by `key` over `partitions` partitions, the smallest in the first. Two passes: the first reads the keys to find where to cut.
    ///
    /// # Errors
    /// Where the first pass fails.
    pub fn sort_by<K: Data + Ord>(
        &self,
        partitions: usize,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
    ) -> Result<Rdd<T>, crate::error::JobError> {
        /// Keys sampled of each partition: enough for even runs at the partition counts of one machine.
        const SAMPLE: usize = 256;
        let key = Arc::new(key);
        let sample_key = key.clone();
        let mut sample: Vec<K> = self
            .map_partitions(move |block| {
                let step = block.len().div_ceil(SAMPLE).max(1);
                Ok(block.iter().step_by(step).map(|item| sample_key(item)).collect())
            })
            .collect()?;
        sample.sort_unstable();
        let partitions = partitions.max(1);
        let bounds: Vec<K> =
            (1..partitions).filter_map(|i| sample.get(i * sample.len() / partitions).cloned()).collect();
        let partition_key = key.clone();
        let ranged = self.partition_by(partitions, move |item| {
            let key = partition_key(item);
            Ok(bounds.partition_point(|bound| *bound <= key))
        });
        Ok(ranged.map_partitions(move |mut block| {
            block.sort_by_cached_key(|item| key(item));
            Ok(block)
        }))
    }
}
