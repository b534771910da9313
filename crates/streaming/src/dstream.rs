//! `DStream<T>`: a sequence of RDDs, one per batch.
//!
//! A DStream is a rule that makes the RDD of a batch time out of those of its parents. The RDD of a time is made once and remembered as long
//! as windows or states behind it need it; a rule that failed for a time is remembered as failed, so that it is not tried again by every
//! window that covers it.
//!
//! Always true: RDDs are made under the graph's lock, by the generator's thread or by whoever asks for a slice; no rule runs twice for a time.
//!
//! # Layout
//! - [`graph`]: inputs and outputs of a context
//! - [`ops`]: operators on every DStream
//! - [`pairs`]: operators by key
//! - [`window`]: operators over several batches
//! - [`state`]: streams that build on their own past
//! - [`output`]: what a program does with its batches

pub(crate) mod graph;
pub mod ops;
pub mod output;
pub mod pairs;
pub mod state;
pub mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

use crate::context::StreamingContext;
use crate::dstream::graph::AnyStream;
use crate::error::{StreamingError, TaskError};
use crate::rdd::{Data, Rdd};
use crate::time::{Millis, Time};

/// The RDD of a batch time; none where the stream has no batch at that time.
pub type Generated<T> = Result<Option<Rdd<T>>, TaskError>;

type Compute<T> = Box<dyn Fn(&DStream<T>, Time) -> Generated<T> + Send + Sync>;

/// A sequence of RDDs, one per batch. Cheap to clone; all clones are the same stream.
pub struct DStream<T: Data>(Arc<Node<T>>);

struct Node<T: Data> {
    id: usize,
    context: StreamingContext,
    /// Time from one of its RDDs to the next.
    slide: Millis,
    parents: Vec<Arc<dyn AnyStream>>,
    /// How much longer than itself its parents must remember: the length of a window.
    reach: Millis,
    compute: Compute<T>,
    keep: AtomicU8,
    batches: Mutex<Batches<T>>,
}

/// What is done with the RDDs of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Keep {
    No,
    /// Partitions are kept in memory while the RDD is remembered.
    Partitions,
    /// And what they were computed from is forgotten: for streams that build on their own past.
    AndForgetLineage,
}

struct Batches<T: Data> {
    zero: Option<Time>,
    remember: Millis,
    /// RDDs up to here are forgotten.
    cleared: Option<Time>,
    generated: BTreeMap<Time, Generated<T>>,
}

impl<T: Data> Clone for DStream<T> {
    fn clone(&self) -> DStream<T> {
        DStream(self.0.clone())
    }
}

impl<T: Data> DStream<T> {
    fn build(
        context: &StreamingContext,
        slide: Millis,
        parents: Vec<Arc<dyn AnyStream>>,
        reach: Millis,
        keep: Keep,
        compute: impl Fn(&DStream<T>, Time) -> Generated<T> + Send + Sync + 'static,
    ) -> DStream<T> {
        DStream(Arc::new(Node {
            id: context.inner().graph.next_stream_id(),
            context: context.clone(),
            slide,
            parents,
            reach,
            compute: Box::new(compute),
            keep: AtomicU8::new(keep as u8),
            // A stream remembers its last batch: a state is built on it.
            batches: Mutex::new(Batches { zero: None, remember: slide, cleared: None, generated: BTreeMap::new() }),
        }))
    }

    pub(crate) fn input(
        context: &StreamingContext,
        compute: impl Fn(&DStream<T>, Time) -> Generated<T> + Send + Sync + 'static,
    ) -> DStream<T> {
        DStream::build(context, context.batch_interval(), Vec::new(), Millis::new(0), Keep::No, compute)
    }

    /// A stream of the same slide whose RDDs are made of this one's.
    fn derive<U: Data>(&self, make: impl Fn(Rdd<T>, Time) -> Generated<U> + Send + Sync + 'static) -> DStream<U> {
        let parent = self.clone();
        DStream::build(self.context(), self.0.slide, vec![self.as_any()], Millis::new(0), Keep::No, move |_, time| {
            match parent.get_or_compute(time)? {
                Some(rdd) => make(rdd, time),
                None => Ok(None),
            }
        })
    }

    /// Number of the stream within its context: what events call a stream id where it is an input.
    #[must_use]
    pub fn id(&self) -> usize {
        self.0.id
    }

    /// The context it belongs to.
    #[must_use]
    pub fn context(&self) -> &StreamingContext {
        &self.0.context
    }

    /// Time from one of its RDDs to the next.
    #[must_use]
    pub fn slide_interval(&self) -> Millis {
        self.0.slide
    }

    /// Keeps the partitions of its RDDs in memory once they are computed.
    pub fn persist(&self) -> DStream<T> {
        self.0.keep.fetch_max(Keep::Partitions as u8, Ordering::SeqCst);
        self.clone()
    }

    /// [`DStream::persist`] under its short name.
    pub fn cache(&self) -> DStream<T> {
        self.persist()
    }

    /// The RDD of a batch time, made if need be.
    ///
    /// # Errors
    /// Why it could not be made.
    pub fn get_or_compute(&self, time: Time) -> Generated<T> {
        let _making = self.0.context.inner().graph.lock();
        if let Some(known) = self.known(time) {
            return known;
        }
        let generated = (self.0.compute)(self, time);
        if let Ok(Some(rdd)) = &generated {
            let keep = self.0.keep.load(Ordering::SeqCst);
            if keep == Keep::Partitions as u8 {
                rdd.persist();
            } else if keep == Keep::AndForgetLineage as u8 {
                rdd.local_checkpoint();
            }
        }
        self.0.batches.lock().generated.insert(time, generated.clone());
        generated
    }

    /// What is known of a time without making anything.
    fn known(&self, time: Time) -> Option<Generated<T>> {
        let batches = self.0.batches.lock();
        if let Some(generated) = batches.generated.get(&time) {
            return Some(generated.clone());
        }
        let Some(zero) = batches.zero else {
            return Some(Err(TaskError::message("the stream belongs to no output operation of a started context")));
        };
        let valid = time > zero && (time - zero).is_multiple_of(self.0.slide);
        let forgotten = batches.cleared.is_some_and(|cleared| time <= cleared);
        if !valid || forgotten { Some(Ok(None)) } else { None }
    }

    /// The RDDs of all batch times from `from` to `until`, both included.
    ///
    /// # Errors
    /// Why one could not be made.
    pub fn slice(&self, from: Time, until: Time) -> Result<Vec<Rdd<T>>, TaskError> {
        let zero = self.0.batches.lock().zero;
        let zero = zero.ok_or_else(|| TaskError::message(format!("stream {} has not been initialized", self.0.id)))?;
        let mut time = from.floor(self.0.slide, zero).max(zero);
        let until = until.floor(self.0.slide, zero);
        let mut rdds = Vec::new();
        while time <= until {
            rdds.extend(self.get_or_compute(time)?);
            time = time + self.0.slide;
        }
        Ok(rdds)
    }

    pub(crate) fn as_any(&self) -> Arc<dyn AnyStream> {
        self.0.clone()
    }

    fn check_same_slide<U: Data>(&self, other: &DStream<U>) -> Result<(), StreamingError> {
        if !Arc::ptr_eq(self.0.context.inner(), other.0.context.inner()) {
            return Err(StreamingError::invalid("the DStreams belong to different StreamingContexts"));
        }
        if self.0.slide != other.0.slide {
            return Err(StreamingError::invalid("Some of the DStreams have different slide durations"));
        }
        Ok(())
    }

    fn default_parallelism(&self) -> usize {
        self.0.context.spark_context().default_parallelism()
    }
}

impl<T: Data> AnyStream for Node<T> {
    fn initialize(&self, zero: Time) {
        {
            let mut batches = self.batches.lock();
            if batches.zero == Some(zero) {
                return;
            }
            batches.zero = Some(zero);
        }
        let remember = self.batches.lock().remember;
        for parent in &self.parents {
            parent.initialize(zero);
            parent.remember(remember + self.reach);
        }
    }

    fn remember(&self, span: Millis) {
        {
            let mut batches = self.batches.lock();
            if batches.remember >= span {
                return;
            }
            batches.remember = span;
        }
        for parent in &self.parents {
            parent.remember(span + self.reach);
        }
    }

    fn clear_metadata(&self, completed: Time) {
        let old = {
            let mut batches = self.batches.lock();
            let until = completed - batches.remember;
            if batches.cleared.is_some_and(|cleared| cleared >= until) {
                return;
            }
            batches.cleared = Some(until);
            let kept = batches.generated.split_off(&(until + Millis::new(1)));
            std::mem::replace(&mut batches.generated, kept)
        };
        // Only what this stream itself had kept: another may pass on the same RDD and still need its partitions.
        if self.keep.load(Ordering::SeqCst) == Keep::Partitions as u8 {
            old.into_values().flatten().flatten().for_each(|rdd| rdd.unpersist());
        }
        for parent in &self.parents {
            parent.clear_metadata(completed);
        }
    }

    fn materialize(&self, time: Time) -> Result<(), TaskError> {
        let generated = self.batches.lock().generated.get(&time).cloned();
        if let Some(Ok(Some(rdd))) = generated
            && !rdd.is_materialized()
        {
            rdd.materialize()?;
        }
        Ok(())
    }
}
