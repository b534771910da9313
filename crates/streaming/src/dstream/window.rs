//! Operators over the batches of a window.
//!
//! A window of length `window` is taken every `slide`; both are multiples of the parent's slide. Before the program's first batch there is
//! nothing, so the first windows are shorter.

use std::sync::Arc;
use std::time::Duration;

use crate::dstream::{DStream, Generated, Keep};
use crate::error::{StreamingError, TaskError};
use crate::rdd::{Data, Key, Rdd, pairs};
use crate::time::{Millis, Time};

/// A window from this many of its slides on is updated by taking away what left it, where an inverse is known; a shorter one is reduced anew
/// (PySpark's rule).
const INVERSE_SLIDES_MIN: i64 = 5;

impl<T: Data> DStream<T> {
    /// Checked lengths of a window over this stream.
    fn check_window(&self, window: Duration, slide: Duration) -> Result<(Millis, Millis), StreamingError> {
        let parent = self.0.slide;
        let (window, slide) = (Millis::from_duration(window)?, Millis::from_duration(slide)?);
        for (what, span) in [("window", window), ("slide", slide)] {
            if !span.is_multiple_of(parent) {
                return Err(StreamingError::invalid(format!(
                    "The {what} duration of windowed DStream ({span}) must be a multiple of the slide duration of parent \
                     DStream ({parent})"
                )));
            }
        }
        Ok((window, slide))
    }

    /// Every `slide` the records of the last `window`.
    ///
    /// # Errors
    /// A window or slide that is no multiple of this stream's slide; the same for all operators here.
    pub fn window(&self, window: Duration, slide: Duration) -> Result<DStream<T>, StreamingError> {
        let (window, slide) = self.check_window(window, slide)?;
        // Each batch is read by several windows.
        let parent = self.persist();
        Ok(DStream::build(self.context(), slide, vec![self.as_any()], window, Keep::No, move |stream, time| {
            let rdds = parent.slice(time - window + parent.0.slide, time)?;
            Ok(Some(stream.context().spark_context().union(&rdds)))
        }))
    }

    /// Every `slide` the records of the last `window` merged.
    ///
    /// # Errors
    /// See [`DStream::window`].
    pub fn reduce_by_window(
        &self,
        merge: impl Fn(T, T) -> T + Send + Sync + 'static,
        window: Duration,
        slide: Duration,
    ) -> Result<DStream<T>, StreamingError> {
        let merge = Arc::new(merge);
        let again = merge.clone();
        Ok(self.reduce(move |a, b| merge(a, b)).window(window, slide)?.reduce(move |a, b| again(a, b)))
    }

    /// The same for a merge that `inverse` can undo: what enters the window is added, what leaves it is taken away.
    ///
    /// # Errors
    /// See [`DStream::window`].
    pub fn reduce_by_window_with_inverse(
        &self,
        merge: impl Fn(T, T) -> T + Send + Sync + 'static,
        inverse: impl Fn(T, T) -> T + Send + Sync + 'static,
        window: Duration,
        slide: Duration,
    ) -> Result<DStream<T>, StreamingError> {
        let pairs = self.map(|item| ((), item));
        let reduced = pairs.reduce_by_key_and_window_with_inverse(merge, inverse, window, slide, 1, None)?;
        Ok(reduced.map(|((), item)| item))
    }

    /// Every `slide` the number of records of the last `window`.
    ///
    /// # Errors
    /// See [`DStream::window`].
    pub fn count_by_window(&self, window: Duration, slide: Duration) -> Result<DStream<u64>, StreamingError> {
        self.count().reduce_by_window_with_inverse(|a, b| a + b, |a, b| a.wrapping_sub(b), window, slide)
    }

    /// A window reduced by functions on whole RDDs, for wrappers in other languages. Every `slide`, `reduce(Some(previous) or None, new)`
    /// merges the union of new batches into the previous window's result, after `inverse(previous, old)` took away the batches that left
    /// it; without an inverse, or for a window of fewer than five slides, each window is reduced anew by `reduce(None, all)`.
    ///
    /// # Errors
    /// See [`DStream::window`].
    pub fn reduced_window_transform(
        &self,
        window: Duration,
        slide: Duration,
        reduce: impl Fn(Option<Rdd<T>>, Rdd<T>, Time) -> Result<Rdd<T>, TaskError> + Send + Sync + 'static,
        inverse: Option<InverseRdd<T>>,
    ) -> Result<DStream<T>, StreamingError> {
        let (window, slide) = self.check_window(window, slide)?;
        let parent = self.persist();
        let step = self.0.slide;
        let by_difference = window.get() >= slide.get() * INVERSE_SLIDES_MIN;
        let union = |rdds: Vec<Rdd<T>>| rdds.first().map(|first| first.context().union(&rdds));
        let stream = DStream::build(
            self.context(),
            slide,
            vec![self.as_any()],
            window,
            Keep::AndForgetLineage,
            move |stream, time| -> Generated<T> {
                let previous = stream.get_or_compute(time - slide)?;
                stream.check_backlog(previous.as_ref(), time - slide)?;
                let begin = time - window;
                if let (Some(inverse), Some(previous), true) = (&inverse, previous, by_difference) {
                    let old = union(parent.slice(begin - slide + step, begin)?);
                    let reduced = match old {
                        Some(old) => inverse(previous, old, time)?,
                        None => previous,
                    };
                    let new = union(parent.slice(time - slide + step, time)?);
                    return Ok(Some(match new {
                        Some(new) => reduce(Some(reduced), new, time)?,
                        None => reduced,
                    }));
                }
                let current = union(parent.slice(begin + step, time)?);
                current.map(|current| reduce(None, current, time)).transpose()
            },
        );
        Ok(stream.register_state())
    }
}

/// Takes the records of an RDD away from a reduced one.
pub type InverseRdd<T> = Box<dyn Fn(Rdd<T>, Rdd<T>, Time) -> Result<Rdd<T>, TaskError> + Send + Sync>;

/// Whether a key stays in a window.
pub type KeyFilter<K, V> = Box<dyn Fn(&(K, V)) -> bool + Send + Sync>;

impl<T: Key> DStream<T> {
    /// Every `slide` each distinct record of the last `window` with how often it occurs.
    ///
    /// # Errors
    /// See [`DStream::window`].
    pub fn count_by_value_and_window(
        &self,
        window: Duration,
        slide: Duration,
    ) -> Result<DStream<(T, u64)>, StreamingError> {
        let partitions = self.default_parallelism();
        self.map(|item| (item, 1u64)).reduce_by_key_and_window_with_inverse(
            |a, b| a + b,
            |a, b| a.wrapping_sub(b),
            window,
            slide,
            partitions,
            Some(Box::new(|(_, count)| *count != 0)),
        )
    }
}

impl<K: Key, V: Data> DStream<(K, V)> {
    /// Every `slide` each key of the last `window` with its values merged. The batches are merged once each, the windows of them anew.
    ///
    /// # Errors
    /// See [`DStream::window`].
    pub fn reduce_by_key_and_window(
        &self,
        merge: impl Fn(V, V) -> V + Send + Sync + 'static,
        window: Duration,
        slide: Duration,
    ) -> Result<DStream<(K, V)>, StreamingError> {
        let merge = Arc::new(merge);
        let again = merge.clone();
        Ok(self.reduce_by_key(move |a, b| merge(a, b)).window(window, slide)?.reduce_by_key(move |a, b| again(a, b)))
    }

    /// The same for a merge that `inverse` can undo. A key stays, with whatever value is left of it, until `filter` drops it.
    ///
    /// # Errors
    /// See [`DStream::window`].
    pub fn reduce_by_key_and_window_with_inverse(
        &self,
        merge: impl Fn(V, V) -> V + Send + Sync + 'static,
        inverse: impl Fn(V, V) -> V + Send + Sync + 'static,
        window: Duration,
        slide: Duration,
        partitions: usize,
        filter: Option<KeyFilter<K, V>>,
    ) -> Result<DStream<(K, V)>, StreamingError> {
        let (window, slide) = self.check_window(window, slide)?;
        let (merge, inverse, filter) = (Arc::new(merge), Arc::new(inverse), filter.map(Arc::new));
        let once = merge.clone();
        let reduced = self.reduce_by_key_in(partitions, move |a, b| once(a, b)).persist();
        let step = self.0.slide;
        let parents = vec![reduced.as_any()];
        let keep = Keep::AndForgetLineage;
        let stream = DStream::build(self.context(), slide, parents, window, keep, move |stream, time| {
            let previous = stream.get_or_compute(time - slide)?;
            stream.check_backlog(previous.as_ref(), time - slide)?;
            let spark = stream.context().spark_context();
            let begin = time - window;
            // What left the window and what came in since the last one; a slide longer than the window jumps over batches in between.
            let old = reduced.slice(begin - slide + step, begin.min(time - slide))?;
            let new = reduced.slice((time - slide + step).max(begin + step), time)?;
            let old_count = old.len();
            let rdds: Vec<_> =
                [previous.unwrap_or_else(|| spark.empty_rdd())].into_iter().chain(old).chain(new).collect();
            let (merge, inverse) = (merge.clone(), inverse.clone());
            let merged = pairs::cogroup_many(spark, &rdds, partitions).push_in_place(move |(key, values), sink| {
                let value = slide_value(values, old_count, &*merge, &*inverse)?;
                sink((key, value))
            });
            Ok(Some(match &filter {
                Some(filter) => {
                    let filter = filter.clone();
                    merged.filter(move |pair| filter(pair))
                }
                None => merged,
            }))
        });
        Ok(stream.register_state())
    }

    /// Every `slide` each key of the last `window` with all its values.
    ///
    /// # Errors
    /// See [`DStream::window`].
    pub fn group_by_key_and_window(
        &self,
        window: Duration,
        slide: Duration,
    ) -> Result<DStream<(K, Vec<V>)>, StreamingError> {
        let partitions = self.default_parallelism();
        let append = |mut all: Vec<V>, mut more: Vec<V>| {
            all.append(&mut more);
            Ok(all)
        };
        Ok(self.group_by_key().window(window, slide)?.combine_by_key(partitions, Ok, append, append))
    }
}

/// A key's value in a window out of its value in the one before (first, if any), what left it (the next `old_count`) and what came in.
fn slide_value<V>(
    values: Vec<Vec<V>>,
    old_count: usize,
    merge: &impl Fn(V, V) -> V,
    inverse: &impl Fn(V, V) -> V,
) -> Result<V, TaskError> {
    let mut values = values.into_iter();
    let previous = values.next().into_iter().flatten().next();
    let old = values.by_ref().take(old_count).flatten().reduce(merge);
    let new = values.flatten().reduce(merge);
    match (previous, new) {
        (None, None) => Err(TaskError::message(
            "Neither previous window has value for key, nor new values found. Are you sure your key class hashes consistently?",
        )),
        (None, Some(new)) => Ok(new),
        (Some(previous), new) => {
            let left = match old {
                Some(old) => inverse(previous, old),
                None => previous,
            };
            Ok(match new {
                Some(new) => merge(left, new),
                None => left,
            })
        }
    }
}
