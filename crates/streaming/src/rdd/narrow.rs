//! Operators whose partitions read few partitions of the parent: nothing moves between tasks.

use std::marker::PhantomData;

use crate::error::{Step, TaskError};
use crate::rdd::{Data, Rdd, RddOp, Sink};
use crate::scheduler::stages::Dependency;
use crate::scheduler::{SparkContext, TaskContext};

/// A function from one record to any number of pushes.
struct Push<T: Data, U, F> {
    parent: Rdd<T>,
    function: F,
    output: PhantomData<fn() -> U>,
}

impl<T: Data, U: Data, F> RddOp<U> for Push<T, U, F>
where
    F: Fn(T, Sink<'_, U>) -> Step + Send + Sync + 'static,
{
    fn partitions(&self) -> usize {
        self.parent.num_partitions()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        vec![self.parent.as_dependency()]
    }

    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, U>) -> Step {
        self.parent.run(partition, task, &mut |item| (self.function)(item, sink))
    }
}

/// A function from a whole partition to a whole partition.
struct MapPartitions<T: Data, U, F> {
    parent: Rdd<T>,
    function: F,
    output: PhantomData<fn() -> U>,
}

impl<T: Data, U: Data, F> RddOp<U> for MapPartitions<T, U, F>
where
    F: Fn(usize, Vec<T>) -> Result<Vec<U>, TaskError> + Send + Sync + 'static,
{
    fn partitions(&self) -> usize {
        self.parent.num_partitions()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        vec![self.parent.as_dependency()]
    }

    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, U>) -> Step {
        self.block(partition, task)?.into_iter().try_for_each(sink)
    }

    fn block(&self, partition: usize, task: &TaskContext) -> Result<Vec<U>, TaskError> {
        (self.function)(partition, self.parent.block(partition, task)?)
    }
}

/// The partitions of several RDDs, one after the other.
struct Union<T: Data> {
    /// Each with the number of its first partition.
    parents: Vec<(usize, Rdd<T>)>,
    partitions: usize,
}

impl<T: Data> Union<T> {
    fn locate(&self, partition: usize) -> (&Rdd<T>, usize) {
        let after = self.parents.partition_point(|(first, _)| *first <= partition);
        let (first, parent) = &self.parents[after - 1];
        (parent, partition - first)
    }
}

impl<T: Data> RddOp<T> for Union<T> {
    fn partitions(&self) -> usize {
        self.partitions
    }

    fn dependencies(&self) -> Vec<Dependency> {
        self.parents.iter().map(|(_, parent)| parent.as_dependency()).collect()
    }

    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, T>) -> Step {
        let (parent, partition) = self.locate(partition);
        parent.run(partition, task, sink)
    }

    fn block(&self, partition: usize, task: &TaskContext) -> Result<Vec<T>, TaskError> {
        let (parent, partition) = self.locate(partition);
        parent.block(partition, task)
    }
}

/// Partition `p` of the result is a run of partitions of each parent.
struct Gather<T: Data> {
    /// For each partition what it reads, in order.
    reads: Vec<Vec<(usize, usize)>>,
    parents: Vec<Rdd<T>>,
}

impl<T: Data> RddOp<T> for Gather<T> {
    fn partitions(&self) -> usize {
        self.reads.len()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        self.parents.iter().map(Rdd::as_dependency).collect()
    }

    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, T>) -> Step {
        for &(parent, partition) in &self.reads[partition] {
            self.parents[parent].run(partition, task, sink)?;
        }
        Ok(())
    }
}

impl<T: Data> Rdd<T> {
    /// Each record to any number of records, pushed into the sink: what `map`, `filter` and `flat_map` are made of.
    pub fn push<U: Data>(&self, function: impl Fn(T, Sink<'_, U>) -> Step + Send + Sync + 'static) -> Rdd<U> {
        Rdd::from_op(self.context(), Push { parent: self.clone(), function, output: PhantomData })
    }

    /// Like [`Rdd::push`] for functions that leave every record with its key's partition.
    pub(crate) fn push_in_place<U: Data>(
        &self,
        function: impl Fn(T, Sink<'_, U>) -> Step + Send + Sync + 'static,
    ) -> Rdd<U> {
        let op = Push { parent: self.clone(), function, output: PhantomData };
        Rdd::hashed(self.context(), op, self.hashed_by())
    }

    /// Each record to one record.
    pub fn map<U: Data>(&self, function: impl Fn(T) -> U + Send + Sync + 'static) -> Rdd<U> {
        self.push(move |item, sink| sink(function(item)))
    }

    /// [`Rdd::map`] by a function that may fail.
    pub fn try_map<U: Data>(&self, function: impl Fn(T) -> Result<U, TaskError> + Send + Sync + 'static) -> Rdd<U> {
        self.push(move |item, sink| sink(function(item)?))
    }

    /// Each record to any number of records.
    pub fn flat_map<U: Data, I: IntoIterator<Item = U>>(
        &self,
        function: impl Fn(T) -> I + Send + Sync + 'static,
    ) -> Rdd<U> {
        self.push(move |item, sink| function(item).into_iter().try_for_each(sink))
    }

    /// The records of which `predicate` is true.
    pub fn filter(&self, predicate: impl Fn(&T) -> bool + Send + Sync + 'static) -> Rdd<T> {
        self.push_in_place(move |item, sink| if predicate(&item) { sink(item) } else { Ok(()) })
    }

    /// Whole partitions to whole partitions, by one call each.
    pub fn map_partitions<U: Data>(
        &self,
        function: impl Fn(Vec<T>) -> Result<Vec<U>, TaskError> + Send + Sync + 'static,
    ) -> Rdd<U> {
        self.map_partitions_with_index(move |_, block| function(block))
    }

    /// [`Rdd::map_partitions`] with the number of the partition.
    pub fn map_partitions_with_index<U: Data>(
        &self,
        function: impl Fn(usize, Vec<T>) -> Result<Vec<U>, TaskError> + Send + Sync + 'static,
    ) -> Rdd<U> {
        Rdd::from_op(self.context(), MapPartitions { parent: self.clone(), function, output: PhantomData })
    }

    /// [`Rdd::map_partitions`] that leaves every key in its partition.
    pub(crate) fn map_partitions_in_place<U: Data>(
        &self,
        function: impl Fn(Vec<T>) -> Result<Vec<U>, TaskError> + Send + Sync + 'static,
    ) -> Rdd<U> {
        let op = MapPartitions { parent: self.clone(), function: move |_, block| function(block), output: PhantomData };
        Rdd::hashed(self.context(), op, self.hashed_by())
    }

    /// Each partition as one record.
    pub fn glom(&self) -> Rdd<Vec<T>> {
        self.map_partitions(|block| Ok(vec![block]))
    }

    /// The records of this RDD, then those of `other`; nothing is merged.
    pub fn union(&self, other: &Rdd<T>) -> Rdd<T> {
        self.context().union(&[self.clone(), other.clone()])
    }

    /// At most `partitions` partitions, each a run of the present ones, without a shuffle.
    pub fn coalesce(&self, partitions: usize) -> Rdd<T> {
        let (old, new) = (self.num_partitions(), partitions.clamp(1, self.num_partitions().max(1)));
        let reads = (0..new).map(|i| (i * old / new..(i + 1) * old / new).map(|from| (0, from)).collect());
        Rdd::from_op(self.context(), Gather { reads: reads.collect(), parents: vec![self.clone()] })
    }
}

impl SparkContext {
    /// The records of all `rdds`, in order. RDDs that are partitioned alike by key stay so: their partitions are joined one to one.
    #[must_use]
    pub fn union<T: Data>(&self, rdds: &[Rdd<T>]) -> Rdd<T> {
        if let [only] = rdds {
            return only.clone();
        }
        let hashed_by = rdds.first().and_then(Rdd::hashed_by);
        if let Some(partitions) = hashed_by
            && rdds.iter().all(|rdd| rdd.hashed_by() == hashed_by)
        {
            let reads = (0..partitions).map(|partition| (0..rdds.len()).map(|rdd| (rdd, partition)).collect());
            let op = Gather { reads: reads.collect(), parents: rdds.to_vec() };
            return Rdd::hashed(self, op, hashed_by);
        }
        let mut partitions = 0;
        let mut parents = Vec::with_capacity(rdds.len());
        for rdd in rdds.iter().filter(|rdd| rdd.num_partitions() > 0) {
            parents.push((partitions, rdd.clone()));
            partitions += rdd.num_partitions();
        }
        Rdd::from_op(self, Union { parents, partitions })
    }
}
