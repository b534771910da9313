//! Start, errors, events and the end of a program.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::{BATCH, Program, TEST_LIMIT};
use crate::listener::{BatchInfo, OutputOperationInfo};
use crate::{StreamingContext, StreamingContextState, StreamingError, StreamingListener, TaskError};

#[derive(Debug, thiserror::Error)]
#[error("This is a failure on {0}")]
struct Bad(i32);

#[test]
fn a_failing_function_comes_out_of_await_and_later_batches_go_on() {
    let mut program = Program::new();
    let input = program.input(vec![vec![1], vec![2], vec![3]]);
    let seen = program.collect(&input.try_map(|n| if n == 1 { Err(Bad(n).into()) } else { Ok(n) }));
    program.ssc.start().unwrap();
    program.run(3);
    let error = program.ssc.await_termination_or_timeout(TEST_LIMIT).unwrap_err();
    assert!(error.to_string().contains("This is a failure on 1"), "{error}");
    assert_eq!(error.find::<Bad>().unwrap().0, 1);
    assert!(matches!(error, StreamingError::Job { time, .. } if time.ms() == 1000));
    assert_eq!(*seen.lock(), [vec![2], vec![3]]);
}

#[test]
fn a_failing_transform_costs_its_batch_only() {
    let mut program = Program::new();
    let input = program.input(vec![vec![1], vec![2]]);
    let stream =
        input.transform(|rdd, time| if time.ms() == 1000 { Err(TaskError::message("no rdd")) } else { Ok(rdd) });
    let seen = program.collect(&stream);
    program.ssc.start().unwrap();
    program.run(2);
    let error = program.ssc.await_termination_or_timeout(TEST_LIMIT).unwrap_err();
    assert!(matches!(error, StreamingError::Generate { .. }), "{error}");
    assert_eq!(*seen.lock(), [vec![2]]);
}

#[test]
fn a_panic_in_an_output_operation_is_reported() {
    let mut program = Program::new();
    program.input(vec![vec![1]]).foreach_rdd(|_, _| panic!("out of paper"));
    program.ssc.start().unwrap();
    program.run(1);
    let error = program.ssc.await_termination_or_timeout(TEST_LIMIT).unwrap_err();
    assert!(error.to_string().contains("out of paper"), "{error}");
}

#[test]
fn the_states_of_a_context() {
    let mut program = Program::new();
    let ssc = program.ssc.clone();
    assert_eq!(ssc.state(), StreamingContextState::Initialized);
    assert!(ssc.start().unwrap_err().to_string().contains("No output operations registered"));
    let input = program.input(vec![vec![1]]);
    let seen = program.collect(&input);
    ssc.start().unwrap();
    ssc.start().unwrap();
    assert_eq!(ssc.state(), StreamingContextState::Active);
    assert!(!ssc.await_termination_or_timeout(Duration::from_millis(1)).unwrap());
    program.run(1);
    ssc.stop(false);
    ssc.stop(true);
    assert_eq!(ssc.state(), StreamingContextState::Stopped);
    assert!(ssc.await_termination_or_timeout(TEST_LIMIT).unwrap());
    assert!(matches!(ssc.start(), Err(StreamingError::Stopped)));
    assert_eq!(*seen.lock(), [vec![1]]);
}

#[test]
fn an_output_added_after_start_is_reported() {
    let mut program = Program::new();
    let input = program.input(vec![vec![1]]);
    let seen = program.collect(&input);
    program.ssc.start().unwrap();
    input.map(|n| n + 1).print();
    program.run(1);
    let error = program.ssc.await_termination_or_timeout(TEST_LIMIT).unwrap_err();
    assert!(error.to_string().contains("after starting a context is not supported"), "{error}");
    assert_eq!(*seen.lock(), [vec![1]]);
}

#[test]
fn a_graceful_stop_runs_all_batches_that_wait() {
    let program = Program::new();
    let input = program.input((0..5).map(|n| vec![n]).collect());
    let (gate, seen) = (Arc::new(Mutex::new(())), super::Seen::default());
    let (held, into) = (gate.clone(), seen.clone());
    let started = Arc::new(AtomicUsize::new(0));
    let counter = started.clone();
    input.foreach_rdd(move |rdd, _| {
        counter.fetch_add(1, Ordering::SeqCst);
        drop(held.lock());
        into.lock().extend(rdd.collect()?);
        Ok(())
    });
    program.ssc.start().unwrap();
    let closed = gate.lock();
    program.clock.advance(BATCH * 5);
    // The first batch is held; the others wait behind it.
    while started.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    let ssc = program.ssc.clone();
    let stopping = runtime::thread("stopping", move || ssc.stop(true)).unwrap();
    drop(closed);
    stopping.join().unwrap();
    let seen = seen.lock().clone();
    assert_eq!(seen, (0..seen.len() as i32).collect::<Vec<_>>(), "in order and without a gap");
    assert!(!seen.is_empty());
}

#[test]
fn a_stop_inside_a_job_does_not_wait_for_itself() {
    let program = Program::new();
    let ssc = program.ssc.clone();
    program.input(vec![vec![1]]).foreach_rdd(move |_, _| {
        ssc.stop(true);
        Ok(())
    });
    program.ssc.start().unwrap();
    program.clock.advance(BATCH);
    assert!(program.ssc.await_termination_or_timeout(TEST_LIMIT).unwrap());
}

#[test]
fn a_stop_without_grace_cancels_the_running_job() {
    let program = Program::new();
    let started = Arc::new(AtomicUsize::new(0));
    let counter = started.clone();
    let input = program.input(vec![(0..10).collect::<Vec<i32>>()]);
    // A task that ends only when it is cancelled.
    let endless = input.transform(move |rdd, _| {
        let counter = counter.clone();
        Ok(crate::Rdd::from_op(rdd.context(), Endless(counter)))
    });
    let seen = program.collect(&endless);
    program.ssc.start().unwrap();
    program.clock.advance(BATCH);
    while started.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    program.ssc.stop(false);
    assert_eq!(program.ssc.state(), StreamingContextState::Stopped);
    assert!(seen.lock().is_empty());
    // What a stop cancels is no failure.
    assert!(program.ssc.await_termination_or_timeout(TEST_LIMIT).unwrap());
}

struct Endless(Arc<AtomicUsize>);

impl crate::rdd::RddOp<i32> for Endless {
    fn partitions(&self) -> usize {
        1
    }
    fn dependencies(&self) -> Vec<crate::scheduler::stages::Dependency> {
        Vec::new()
    }
    fn run(&self, _: usize, task: &crate::scheduler::TaskContext, _: crate::rdd::Sink<'_, i32>) -> crate::error::Step {
        self.0.fetch_add(1, Ordering::SeqCst);
        loop {
            task.check()?;
            std::thread::yield_now();
        }
    }
}

#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn note(&self, event: &str, time: i64) {
        self.0.lock().push(format!("{event} {time}"));
    }
}

impl StreamingListener for Recorder {
    fn on_streaming_started(&self, time_ms: i64) {
        self.note("started", time_ms);
    }
    fn on_batch_submitted(&self, batch: &BatchInfo) {
        assert_eq!((batch.scheduling_delay(), batch.processing_delay(), batch.total_delay()), (None, None, None));
        self.note("batch submitted", batch.batch_time.ms());
    }
    fn on_batch_started(&self, batch: &BatchInfo) {
        assert!(batch.scheduling_delay().is_some_and(|delay| delay >= 0));
        assert_eq!(batch.processing_delay(), None);
        self.note("batch started", batch.batch_time.ms());
    }
    fn on_batch_completed(&self, batch: &BatchInfo) {
        assert!(batch.total_delay().is_some_and(|delay| delay >= 0));
        assert!(batch.output_operation_infos.values().all(|info| info.duration().is_some()));
        self.note(if batch.has_failed() { "batch failed" } else { "batch completed" }, batch.batch_time.ms());
    }
    fn on_output_operation_started(&self, operation: &OutputOperationInfo) {
        self.note(&format!("output {} started", operation.id), operation.batch_time.ms());
    }
    fn on_output_operation_completed(&self, operation: &OutputOperationInfo) {
        let how = operation.failure_reason.as_deref().unwrap_or("well");
        self.note(&format!("output {} completed {how},", operation.id), operation.batch_time.ms());
    }
}

#[test]
fn listeners_see_events_in_order() {
    let mut program = Program::new();
    let recorder = Arc::new(Recorder::default());
    program.ssc.add_streaming_listener(recorder.clone());
    let input = program.input(vec![vec![1], vec![2]]);
    program.collect(&input);
    input.foreach_rdd(|_, time| if time.ms() == 2000 { Err(TaskError::message("badly")) } else { Ok(()) });
    program.ssc.start().unwrap();
    program.run(2);
    program.ssc.stop(true);
    assert_eq!(
        *recorder.0.lock(),
        [
            "started 0",
            "batch submitted 1000",
            "batch started 1000",
            "output 0 started 1000",
            "output 0 completed well, 1000",
            "output 1 started 1000",
            "output 1 completed well, 1000",
            "batch completed 1000",
            "batch submitted 2000",
            "batch started 2000",
            "output 0 started 2000",
            "output 0 completed well, 2000",
            "output 1 started 2000",
            "output 1 completed badly, 2000",
            "batch failed 2000",
        ]
    );
}

#[test]
fn a_listener_that_panics_harms_nobody() {
    struct Panics;
    impl StreamingListener for Panics {
        fn on_batch_started(&self, _: &BatchInfo) {
            panic!("listener");
        }
    }
    let mut program = Program::new();
    program.ssc.add_streaming_listener(Arc::new(Panics));
    let recorder = Arc::new(Recorder::default());
    program.ssc.add_streaming_listener(recorder.clone());
    let input = program.input(vec![vec![1]]);
    program.collect(&input);
    program.ssc.start().unwrap();
    program.run(1);
    program.ssc.stop(true);
    assert!(recorder.0.lock().contains(&"batch completed 1000".to_owned()));
}

#[test]
fn batches_are_made_for_every_interval_the_clock_jumped_over() {
    let mut program = Program::new();
    let input = program.input((0..4).map(|n| vec![n]).collect());
    let seen = program.collect(&input);
    program.ssc.start().unwrap();
    program.clock.advance(BATCH * 4);
    program.batches = 4;
    assert!(program.ssc.await_batches(4, TEST_LIMIT));
    program.run(0);
    assert_eq!(*seen.lock(), [vec![0], vec![1], vec![2], vec![3]]);
}

#[test]
fn the_system_clock_drives_batches_too() {
    let sc = crate::SparkContext::new("local[2]", "test").unwrap();
    let ssc = StreamingContext::new(&sc, Duration::from_millis(20)).unwrap();
    let times: super::Seen<i64> = super::Seen::default();
    let into = times.clone();
    let rdd = sc.parallelize(vec![1], 1);
    ssc.queue_stream(crate::RddQueue::new(Vec::new()), true, Some(rdd)).foreach_rdd(move |_, time| {
        into.lock().push(time.ms());
        Ok(())
    });
    ssc.start().unwrap();
    assert!(ssc.await_batches(3, TEST_LIMIT));
    ssc.stop(true);
    let times = times.lock();
    assert!(times.iter().all(|time| time % 20 == 0), "aligned to the interval: {times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 20), "without a gap: {times:?}");
}

#[test]
fn a_state_function_that_failed_once_is_tried_again_by_the_next_batch() {
    let mut program = Program::new();
    let failures = Arc::new(AtomicUsize::new(0));
    let counter = failures.clone();
    let input = program.input(vec![vec![("a", 1)], vec![("a", 2)], vec![("a", 3)]]);
    let sums = input.try_update_state_by_key(1, None, move |_, values: Vec<i32>, sum: Option<i32>| {
        // Twice within the second batch: by its output, and by the engine that wants the state.
        if values == [2] && counter.fetch_add(1, Ordering::SeqCst) < 2 {
            return Err(Bad(2).into());
        }
        Ok(Some(sum.unwrap_or(0) + values.iter().sum::<i32>()))
    });
    let seen = program.collect(&sums);
    program.ssc.start().unwrap();
    program.run(3);
    assert_eq!(*seen.lock(), [[("a", 1)], [("a", 6)]], "the second batch's values are not lost");
    assert!(program.ssc.await_termination_or_timeout(TEST_LIMIT).unwrap_err().find::<Bad>().is_some());
}
