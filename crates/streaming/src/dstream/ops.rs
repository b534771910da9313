//! Operators on every DStream. Each does to the RDD of every batch what its name does to an RDD.

use std::sync::Arc;

use crate::context::StreamingContext;
use crate::dstream::graph::AnyStream;
use crate::dstream::{DStream, Generated, Keep};
use crate::error::{StreamingError, TaskError};
use crate::rdd::{Data, Key, Rdd};
use crate::time::{Millis, Time};

impl<T: Data> DStream<T> {
    /// Each record to one record.
    pub fn map<U: Data>(&self, function: impl Fn(T) -> U + Send + Sync + 'static) -> DStream<U> {
        let function = Arc::new(function);
        self.each(move |rdd| {
            let function = function.clone();
            rdd.map(move |item| function(item))
        })
    }

    /// [`DStream::map`] by a function that may fail.
    pub fn try_map<U: Data>(&self, function: impl Fn(T) -> Result<U, TaskError> + Send + Sync + 'static) -> DStream<U> {
        let function = Arc::new(function);
        self.each(move |rdd| {
            let function = function.clone();
            rdd.try_map(move |item| function(item))
        })
    }

    /// Each record to any number of records.
    pub fn flat_map<U: Data, I: IntoIterator<Item = U> + 'static>(
        &self,
        function: impl Fn(T) -> I + Send + Sync + 'static,
    ) -> DStream<U> {
        let function = Arc::new(function);
        self.each(move |rdd| {
            let function = function.clone();
            rdd.flat_map(move |item| function(item))
        })
    }

    /// The records of which `predicate` is true.
    pub fn filter(&self, predicate: impl Fn(&T) -> bool + Send + Sync + 'static) -> DStream<T> {
        let predicate = Arc::new(predicate);
        self.each(move |rdd| {
            let predicate = predicate.clone();
            rdd.filter(move |item| predicate(item))
        })
    }

    /// Whole partitions to whole partitions, by one call each.
    pub fn map_partitions<U: Data>(
        &self,
        function: impl Fn(Vec<T>) -> Result<Vec<U>, TaskError> + Send + Sync + 'static,
    ) -> DStream<U> {
        self.map_partitions_with_index(move |_, block| function(block))
    }

    /// [`DStream::map_partitions`] with the number of the partition.
    pub fn map_partitions_with_index<U: Data>(
        &self,
        function: impl Fn(usize, Vec<T>) -> Result<Vec<U>, TaskError> + Send + Sync + 'static,
    ) -> DStream<U> {
        let function = Arc::new(function);
        self.each(move |rdd| {
            let function = function.clone();
            rdd.map_partitions_with_index(move |partition, block| function(partition, block))
        })
    }

    /// Each partition as one record.
    pub fn glom(&self) -> DStream<Vec<T>> {
        self.each(|rdd| rdd.glom())
    }

    /// Evenly over `partitions` partitions.
    pub fn repartition(&self, partitions: usize) -> DStream<T> {
        self.each(move |rdd| rdd.repartition(partitions))
    }

    /// Every record to the partition that `partitioner` names.
    pub fn partition_by(
        &self,
        partitions: usize,
        partitioner: impl Fn(&T) -> Result<usize, TaskError> + Send + Sync + 'static,
    ) -> DStream<T> {
        let partitioner = Arc::new(partitioner);
        self.each(move |rdd| {
            let partitioner = partitioner.clone();
            rdd.partition_by(partitions, move |item| partitioner(item))
        })
    }

    /// All records of a batch merged by an associative function; an empty batch stays empty.
    pub fn reduce(&self, merge: impl Fn(T, T) -> T + Send + Sync + 'static) -> DStream<T> {
        let merge = Arc::new(merge);
        self.each(move |rdd| {
            let (first, last) = (merge.clone(), merge.clone());
            rdd.map_partitions(move |block| Ok(block.into_iter().reduce(|a, b| first(a, b)).into_iter().collect()))
                .partition_by(1, |_| Ok(0))
                .map_partitions(move |block| Ok(block.into_iter().reduce(|a, b| last(a, b)).into_iter().collect()))
        })
    }

    /// The number of records of each batch; 0 of an empty one.
    pub fn count(&self) -> DStream<u64> {
        self.each(|rdd| {
            rdd.map_partitions(|block| Ok(vec![block.len() as u64]))
                .partition_by(1, |_| Ok(0))
                .map_partitions(|counts| Ok(vec![counts.into_iter().sum()]))
        })
    }

    /// The records of this stream and of another of the same slide.
    ///
    /// # Errors
    /// Streams of different contexts or slides.
    pub fn union(&self, other: &DStream<T>) -> Result<DStream<T>, StreamingError> {
        self.context().union(&[self.clone(), other.clone()])
    }

    /// What `function` makes of the RDD of each batch. It runs while the batch is made, on the generator's thread.
    pub fn transform<U: Data>(
        &self,
        function: impl Fn(Rdd<T>, Time) -> Result<Rdd<U>, TaskError> + Send + Sync + 'static,
    ) -> DStream<U> {
        self.derive(move |rdd, time| function(rdd, time).map(Some))
    }

    /// What `function` makes of the RDDs of this stream and another of the same slide; nothing where either has no batch.
    ///
    /// # Errors
    /// Streams of different contexts or slides.
    pub fn transform_with<U: Data, V: Data>(
        &self,
        other: &DStream<U>,
        function: impl Fn(Rdd<T>, Rdd<U>, Time) -> Result<Rdd<V>, TaskError> + Send + Sync + 'static,
    ) -> Result<DStream<V>, StreamingError> {
        self.check_same_slide(other)?;
        let (left, right) = (self.clone(), other.clone());
        let parents: Vec<Arc<dyn AnyStream>> = vec![self.as_any(), other.as_any()];
        Ok(DStream::build(self.context(), self.0.slide, parents, Millis::new(0), Keep::No, move |_, time| {
            match (left.get_or_compute(time)?, right.get_or_compute(time)?) {
                (Some(left), Some(right)) => function(left, right, time).map(Some),
                _ => Ok(None),
            }
        }))
    }

    /// A function of the RDD alone.
    pub(crate) fn each<U: Data>(&self, function: impl Fn(Rdd<T>) -> Rdd<U> + Send + Sync + 'static) -> DStream<U> {
        self.derive(move |rdd, _| Ok(Some(function(rdd))))
    }
}

impl<T: Key> DStream<T> {
    /// Each distinct record of a batch with how often it occurs.
    pub fn count_by_value(&self) -> DStream<(T, u64)> {
        self.map(|item| (item, 1)).reduce_by_key(|a, b| a + b)
    }
}

impl StreamingContext {
    /// The records of all `streams`, which have one slide.
    ///
    /// # Errors
    /// No stream, or streams of different contexts or slides.
    pub fn union<T: Data>(&self, streams: &[DStream<T>]) -> Result<DStream<T>, StreamingError> {
        self.transform(streams, |rdds, _| {
            let rdds: Vec<Rdd<T>> = rdds.into_iter().flatten().collect();
            Ok(rdds.first().map(|first| first.context().union(&rdds)))
        })
    }

    /// What `function` makes of the RDDs of all `streams`, which have one slide. It sees `None` for a stream without a batch at that time,
    /// and may make none itself: the general form behind the operators, for wrappers in other languages.
    ///
    /// # Errors
    /// No stream, or streams of different contexts or slides.
    pub fn transform<T: Data, U: Data>(
        &self,
        streams: &[DStream<T>],
        function: impl Fn(Vec<Option<Rdd<T>>>, Time) -> Generated<U> + Send + Sync + 'static,
    ) -> Result<DStream<U>, StreamingError> {
        let Some(first) = streams.first() else {
            return Err(StreamingError::invalid("Empty array of DStreams"));
        };
        streams.iter().try_for_each(|stream| first.check_same_slide(stream))?;
        let parents = streams.iter().map(DStream::as_any).collect();
        let streams = streams.to_vec();
        Ok(DStream::build(self, first.slide_interval(), parents, Millis::new(0), Keep::No, move |_, time| {
            let rdds = streams.iter().map(|stream| stream.get_or_compute(time)).collect::<Result<Vec<_>, _>>()?;
            function(rdds, time)
        }))
    }
}
