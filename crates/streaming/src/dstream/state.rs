//! Streams that build on their own past.
//!
//! The RDD of a batch is made of the one before. Its partitions are computed within its batch and kept, and how they were computed is
//! forgotten, so the past does not pile up.

use std::sync::Arc;

use crate::dstream::{DStream, Generated, Keep};
use crate::error::TaskError;
use crate::jobs::scheduler::WAITING_BATCHES_MAX;
use crate::rdd::{Data, Key, Rdd};
use crate::time::{Millis, Time};

/// Batches in a row whose state may wait to be computed: those that wait for their turn, and some that failed.
const BACKLOG_MAX: usize = WAITING_BATCHES_MAX + 16;

impl<T: Data> DStream<T> {
    /// A state made by a function on whole RDDs, for wrappers in other languages: `function(state before, batch)` gives the state after.
    /// `initial` stands for the state before the first batch. Where this stream has no batch at a time, the state stays.
    pub fn state_transform<S: Data>(
        &self,
        initial: Option<Rdd<S>>,
        function: impl Fn(Option<Rdd<S>>, Rdd<T>, Time) -> Result<Rdd<S>, TaskError> + Send + Sync + 'static,
    ) -> DStream<S> {
        let parent = self.clone();
        let slide = self.0.slide;
        let keep = Keep::AndForgetLineage;
        let stream =
            DStream::build(self.context(), slide, vec![self.as_any()], Millis::new(0), keep, move |stream, time| {
                let before = stream.get_or_compute(time - slide)?;
                stream.check_backlog(before.as_ref(), time - slide)?;
                let before = before.or_else(|| initial.clone());
                match parent.get_or_compute(time)? {
                    Some(batch) => function(before, batch, time).map(Some),
                    None => Ok(before),
                }
            });
        stream.register_state()
    }

    /// Has the graph compute the stream's RDD in every batch, whether or not an output does.
    pub(super) fn register_state(self) -> DStream<T> {
        self.context().inner().graph.add_state(self.as_any());
        self
    }

    /// Fails where too many batches before have not been computed: each would be computed inside the next.
    pub(super) fn check_backlog(&self, before: Option<&Rdd<T>>, time: Time) -> Generated<T> {
        if before.is_none_or(Rdd::is_materialized) {
            return Ok(None);
        }
        let batches = self.0.batches.lock();
        let waiting = batches.generated.range(..=time).rev();
        let waiting = waiting.take_while(|(_, rdd)| matches!(rdd, Ok(Some(rdd)) if !rdd.is_materialized())).count();
        if waiting > BACKLOG_MAX {
            return Err(TaskError::message(format!(
                "the states of {waiting} batches before this one could not be computed"
            )));
        }
        Ok(None)
    }
}

impl<K: Key, V: Data> DStream<(K, V)> {
    /// A state per key: in every batch `update(new values, state)` is called for every key that has either, and gives the state after, or
    /// `None` to drop the key.
    pub fn update_state_by_key<S: Data>(
        &self,
        update: impl Fn(Vec<V>, Option<S>) -> Option<S> + Send + Sync + 'static,
    ) -> DStream<(K, S)> {
        let partitions = self.default_parallelism();
        self.try_update_state_by_key(partitions, None, move |_, values, state| Ok(update(values, state)))
    }

    /// [`DStream::update_state_by_key`] by a function that sees the key and may fail, over `partitions` partitions, from an initial state on.
    pub fn try_update_state_by_key<S: Data>(
        &self,
        partitions: usize,
        initial: Option<Rdd<(K, S)>>,
        update: impl Fn(&K, Vec<V>, Option<S>) -> Result<Option<S>, TaskError> + Send + Sync + 'static,
    ) -> DStream<(K, S)> {
        let update = Arc::new(update);
        self.state_transform(initial, move |before, batch: Rdd<(K, V)>, _| {
            let update = update.clone();
            let before = before.unwrap_or_else(|| batch.context().empty_rdd());
            let groups = before.cogroup(&batch, partitions);
            Ok(groups.push_in_place(move |(key, (state, values)), sink| {
                match update(&key, values, state.into_iter().next())? {
                    Some(state) => sink((key, state)),
                    None => Ok(()),
                }
            }))
        })
    }
}
