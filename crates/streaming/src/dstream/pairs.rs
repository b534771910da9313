//! Operators by key. Where no number of partitions is given it is the executor's default parallelism; [`DStream::transform`] reaches the
//! forms of [`crate::rdd::pairs`] that take one.

use std::sync::Arc;

use crate::dstream::DStream;
use crate::error::{StreamingError, TaskError};
use crate::rdd::pairs::{Grouped, Joined};
use crate::rdd::{Data, Key, Rdd};

/// An operator of two RDDs, with the number of partitions it makes.
type Operator<K, V, W, U> = fn(&Rdd<(K, V)>, &Rdd<(K, W)>, usize) -> Rdd<U>;

impl<K: Key, V: Data> DStream<(K, V)> {
    /// Each key of a batch with its values merged by an associative function.
    pub fn reduce_by_key(&self, merge: impl Fn(V, V) -> V + Send + Sync + 'static) -> DStream<(K, V)> {
        self.reduce_by_key_in(self.default_parallelism(), merge)
    }

    /// [`DStream::reduce_by_key`] over `partitions` partitions.
    pub fn reduce_by_key_in(
        &self,
        partitions: usize,
        merge: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> DStream<(K, V)> {
        let merge = Arc::new(merge);
        self.each(move |rdd| {
            let merge = merge.clone();
            rdd.reduce_by_key(partitions, move |a, b| merge(a, b))
        })
    }

    /// Each key of a batch with one value made of all its values; see [`Rdd::combine_by_key`].
    pub fn combine_by_key<C: Data>(
        &self,
        partitions: usize,
        create: impl Fn(V) -> Result<C, TaskError> + Send + Sync + 'static,
        merge_value: impl Fn(C, V) -> Result<C, TaskError> + Send + Sync + 'static,
        merge_combiners: impl Fn(C, C) -> Result<C, TaskError> + Send + Sync + 'static,
    ) -> DStream<(K, C)> {
        let (create, merge_value, merge_combiners) =
            (Arc::new(create), Arc::new(merge_value), Arc::new(merge_combiners));
        self.each(move |rdd| {
            let (create, merge_value, merge_combiners) = (create.clone(), merge_value.clone(), merge_combiners.clone());
            rdd.combine_by_key(
                partitions,
                move |value| create(value),
                move |combined, value| merge_value(combined, value),
                move |a, b| merge_combiners(a, b),
            )
        })
    }

    /// Each key of a batch with all its values.
    pub fn group_by_key(&self) -> DStream<(K, Vec<V>)> {
        let partitions = self.default_parallelism();
        self.each(move |rdd| rdd.group_by_key(partitions))
    }

    /// Each value to another.
    pub fn map_values<W: Data>(&self, function: impl Fn(V) -> W + Send + Sync + 'static) -> DStream<(K, W)> {
        let function = Arc::new(function);
        self.each(move |rdd| {
            let function = function.clone();
            rdd.map_values(move |value| function(value))
        })
    }

    /// Each value to any number of values.
    pub fn flat_map_values<W: Data, I: IntoIterator<Item = W> + 'static>(
        &self,
        function: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> DStream<(K, W)> {
        let function = Arc::new(function);
        self.each(move |rdd| {
            let function = function.clone();
            rdd.flat_map_values(move |value| function(value))
        })
    }

    /// Each key of a batch with its values here and in `other`.
    ///
    /// # Errors
    /// Streams of different contexts or slides; the same for the joins.
    pub fn cogroup<W: Data>(&self, other: &DStream<(K, W)>) -> Result<DStream<Grouped<K, V, W>>, StreamingError> {
        self.with(other, Rdd::cogroup)
    }

    /// Every pair of values of one key here and in `other`.
    ///
    /// # Errors
    /// See [`DStream::cogroup`].
    pub fn join<W: Data>(&self, other: &DStream<(K, W)>) -> Result<DStream<Joined<K, V, W>>, StreamingError> {
        self.with(other, Rdd::join)
    }

    /// [`DStream::join`] that also keeps values here without one in `other`.
    ///
    /// # Errors
    /// See [`DStream::cogroup`].
    pub fn left_outer_join<W: Data>(
        &self,
        other: &DStream<(K, W)>,
    ) -> Result<DStream<Joined<K, V, Option<W>>>, StreamingError> {
        self.with(other, Rdd::left_outer_join)
    }

    /// [`DStream::join`] that also keeps values of `other` without one here.
    ///
    /// # Errors
    /// See [`DStream::cogroup`].
    pub fn right_outer_join<W: Data>(
        &self,
        other: &DStream<(K, W)>,
    ) -> Result<DStream<Joined<K, Option<V>, W>>, StreamingError> {
        self.with(other, Rdd::right_outer_join)
    }

    /// [`DStream::join`] that also keeps values of either side without one in the other.
    ///
    /// # Errors
    /// See [`DStream::cogroup`].
    #[allow(clippy::type_complexity, reason = "the type is the outer join's own shape")]
    pub fn full_outer_join<W: Data>(
        &self,
        other: &DStream<(K, W)>,
    ) -> Result<DStream<Joined<K, Option<V>, Option<W>>>, StreamingError> {
        self.with(other, Rdd::full_outer_join)
    }

    fn with<W: Data, U: Data>(
        &self,
        other: &DStream<(K, W)>,
        operator: Operator<K, V, W, U>,
    ) -> Result<DStream<U>, StreamingError> {
        let partitions = self.default_parallelism();
        self.transform_with(other, move |left, right, _| Ok(operator(&left, &right, partitions)))
    }
}
