//! Whole programs on a manual clock: input batches in, output batches out. No test sleeps.

mod basic_operations;
mod inputs;
mod lifecycle;
mod windows;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::{BatchClock, DStream, Data, ManualClock, RddQueue, SparkContext, StreamingContext};

const BATCH: Duration = Duration::from_secs(1);

/// Time that no healthy test needs.
const TEST_LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Program {
    pub(crate) ssc: StreamingContext,
    pub(crate) clock: ManualClock,
    batches: u64,
}

pub(crate) type Seen<T> = Arc<Mutex<Vec<T>>>;

impl Program {
    pub(crate) fn new() -> Program {
        Program::at(ManualClock::new())
    }

    pub(crate) fn at(clock: ManualClock) -> Program {
        let sc = SparkContext::new("local[2]", "test").unwrap();
        let ssc = StreamingContext::with_clock(&sc, BATCH, BatchClock::Manual(clock.clone())).unwrap();
        Program { ssc, clock, batches: 0 }
    }

    /// A stream of these batches, each in two partitions.
    pub(crate) fn input<T: Data>(&self, batches: Vec<Vec<T>>) -> DStream<T> {
        let sc = self.ssc.spark_context();
        let rdds = batches.into_iter().map(|batch| sc.parallelize(batch, 2)).collect();
        self.ssc.queue_stream(RddQueue::new(rdds), true, None)
    }

    pub(crate) fn collect<T: Data>(&self, stream: &DStream<T>) -> Seen<Vec<T>> {
        let seen = Seen::default();
        let into = seen.clone();
        stream.foreach_rdd(move |rdd, _| {
            into.lock().push(rdd.collect()?);
            Ok(())
        });
        seen
    }

    /// Runs this many more batches.
    pub(crate) fn run(&mut self, batches: u64) {
        for _ in 0..batches {
            self.clock.advance(BATCH);
            self.batches += 1;
            assert!(self.ssc.await_batches(self.batches, TEST_LIMIT), "batch {} did not end", self.batches);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.ssc.stop(false);
    }
}

/// Runs the stream that `operator` makes of `input` and compares its first batches; a batch's records are compared sorted.
pub(crate) fn check<T: Data, U: Data + Ord + std::fmt::Debug>(
    input: &[&[T]],
    operator: impl Fn(&DStream<T>) -> DStream<U>,
    expected: &[&[U]],
) {
    let mut program = Program::new();
    let stream = operator(&program.input(input.iter().map(|batch| batch.to_vec()).collect()));
    let seen = program.collect(&stream);
    let slides = stream.slide_interval().get() / program.ssc.batch_interval().get();
    program.ssc.start().unwrap();
    program.run(expected.len() as u64 * slides.unsigned_abs());
    program.ssc.stop(true);
    program.ssc.await_termination().unwrap();
    let mut seen = seen.lock().clone();
    seen.iter_mut().for_each(|batch| batch.sort());
    assert_eq!(seen, expected);
}
