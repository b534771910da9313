//! RDDs that the program made beforehand: for tests and for trying things out.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::context::StreamingContext;
use crate::dstream::{DStream, Generated};
use crate::rdd::{Data, Rdd};
use crate::scheduler::SparkContext;
use crate::sources::{Input, InputSource};
use crate::time::Time;

/// A queue that the program may go on filling while batches take from it. Clones are the same queue.
#[derive(Clone)]
pub struct RddQueue<T: Data>(Arc<Mutex<VecDeque<Rdd<T>>>>);

impl<T: Data> RddQueue<T> {
    /// A queue of these RDDs.
    #[must_use]
    pub fn new(rdds: Vec<Rdd<T>>) -> RddQueue<T> {
        RddQueue(Arc::new(Mutex::new(rdds.into())))
    }

    /// Adds an RDD for a later batch. The caller holds the bound: the queue itself has none.
    pub fn push(&self, rdd: Rdd<T>) {
        self.0.lock().push_back(rdd);
    }
}

struct QueueSource<T: Data> {
    queue: RddQueue<T>,
    one_at_a_time: bool,
    default: Option<Rdd<T>>,
}

impl<T: Data> InputSource<T> for QueueSource<T> {
    fn name(&self) -> String {
        "queue stream".to_owned()
    }

    fn compute(&self, spark: &SparkContext, _time: Time, input: &mut Input) -> Generated<T> {
        input.untold = true;
        let mut queue = self.queue.0.lock();
        let take = if self.one_at_a_time { queue.len().min(1) } else { queue.len() };
        let rdds: Vec<Rdd<T>> = queue.drain(..take).collect();
        Ok(Some(match (&rdds[..], &self.default) {
            ([], Some(default)) => default.clone(),
            (rdds, _) => spark.union(rdds),
        }))
    }
}

impl StreamingContext {
    /// A stream of the RDDs in a queue, one per batch or all there are; `default`, else an empty RDD, once there are none.
    pub fn queue_stream<T: Data>(
        &self,
        queue: RddQueue<T>,
        one_at_a_time: bool,
        default: Option<Rdd<T>>,
    ) -> DStream<T> {
        self.input_stream(QueueSource { queue, one_at_a_time, default })
    }
}
