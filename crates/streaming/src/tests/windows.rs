//! Operators over several batches: what Spark's WindowOperationsSuite looks at.

use std::time::Duration;

use super::{Program, check};
use crate::DStream;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn window() {
    let input: &[&[i32]] = &[&[0], &[1], &[2], &[3], &[4], &[5]];
    let of = |window, slide| move |s: &DStream<i32>| s.window(seconds(window), seconds(slide)).unwrap();
    check(input, of(1, 1), input);
    check(input, of(2, 1), &[&[0], &[0, 1], &[1, 2], &[2, 3], &[3, 4], &[4, 5], &[5], &[]]);
    // Tumbling.
    check(input, of(2, 2), &[&[0, 1], &[2, 3], &[4, 5], &[]]);
    // Larger than the slide.
    check(input, of(3, 2), &[&[0, 1], &[1, 2, 3], &[3, 4, 5], &[5], &[]]);
    // Smaller than the slide: nobody asks for the batches in between, so the queue gives the next RDD later.
    check(input, of(1, 2), &[&[0], &[1], &[2], &[3]]);
}

#[test]
fn a_window_that_is_no_multiple_of_the_batch_is_refused() {
    let program = Program::new();
    let input = program.input(vec![vec![1]]);
    let check = |window: u64, slide: u64, what: &str| {
        let refused = |result: Result<(), crate::StreamingError>| {
            let error = result.expect_err("refused").to_string();
            assert!(error.contains(what), "{window} {slide}: {error}");
        };
        let (window, slide) = (Duration::from_millis(window), Duration::from_millis(slide));
        refused(input.window(window, slide).map(|_| ()));
        refused(input.reduce_by_window(|a, _| a, window, slide).map(|_| ()));
        refused(input.count_by_window(window, slide).map(|_| ()));
        refused(input.map(|n| (n, 1)).reduce_by_key_and_window(|a, _| a, window, slide).map(|_| ()));
        refused(input.count_by_value_and_window(window, slide).map(|_| ()));
    };
    check(1500, 1000, "The window duration of windowed DStream (1500 ms) must be a multiple");
    check(2000, 500, "The slide duration of windowed DStream (500 ms) must be a multiple");
    check(0, 1000, "positive");
    // A window over a window counts in its parent's slide.
    let twos = input.window(seconds(2), seconds(2)).unwrap();
    assert!(twos.window(seconds(3), seconds(2)).is_err());
    assert!(twos.union(&input).is_err(), "different slides");
}

#[test]
fn reduce_by_window() {
    let input: &[&[i32]] = &[&[1, 1], &[2], &[], &[4]];
    let expected: &[&[i32]] = &[&[2], &[4], &[4], &[6], &[4], &[4]];
    check(input, |s| s.reduce_by_window(|a, b| a + b, seconds(3), seconds(1)).unwrap(), expected);
    // A key stays with what is left of it: 0 once everything has left.
    check(
        input,
        |s| s.reduce_by_window_with_inverse(|a, b| a + b, |a, b| a - b, seconds(3), seconds(1)).unwrap(),
        &[&[2], &[4], &[4], &[6], &[4], &[4], &[0]],
    );
}

#[test]
fn count_by_window() {
    check(
        &[&[1], &[2, 2], &[3, 3, 3], &[4]],
        |s: &DStream<i32>| s.count_by_window(seconds(2), seconds(1)).unwrap(),
        &[&[1], &[3], &[5], &[4], &[1], &[0]],
    );
}

#[test]
fn count_by_value_and_window_drops_what_left() {
    check(
        &[&["a"], &["b", "b"], &["a", "b"]],
        |s: &DStream<&'static str>| s.count_by_value_and_window(seconds(2), seconds(1)).unwrap(),
        &[&[("a", 1)], &[("a", 1), ("b", 2)], &[("a", 1), ("b", 3)], &[("a", 1), ("b", 1)], &[]],
    );
}

const BY_KEY: &[&[(&str, i32)]] = &[&[("a", 1)], &[("a", 2), ("b", 1)], &[], &[("a", 4)], &[("c", 7)]];

#[test]
fn reduce_by_key_and_window_with_and_without_inverse() {
    let check_both = |window: u64, slide: u64, expected: &[&[(&'static str, i32)]]| {
        let (window, slide) = (seconds(window), seconds(slide));
        check(BY_KEY, |s| s.reduce_by_key_and_window(|a, b| a + b, window, slide).unwrap(), expected);
        let nonzero =
            || -> Option<crate::dstream::window::KeyFilter<&'static str, i32>> { Some(Box::new(|(_, n)| *n != 0)) };
        check(
            BY_KEY,
            |s| {
                s.reduce_by_key_and_window_with_inverse(|a, b| a + b, |a, b| a - b, window, slide, 2, nonzero())
                    .unwrap()
            },
            expected,
        );
    };
    check_both(1, 1, BY_KEY);
    check_both(
        2,
        1,
        &[
            &[("a", 1)],
            &[("a", 3), ("b", 1)],
            &[("a", 2), ("b", 1)],
            &[("a", 4)],
            &[("a", 4), ("c", 7)],
            &[("c", 7)],
            &[],
        ],
    );
    check_both(2, 2, &[&[("a", 3), ("b", 1)], &[("a", 4)], &[("c", 7)], &[]]);
    check_both(3, 2, &[&[("a", 3), ("b", 1)], &[("a", 6), ("b", 1)], &[("a", 4), ("c", 7)], &[]]);
    // A slide longer than the window: what was in the window before has left it as a whole.
    check_both(1, 2, &[&[("a", 1)], &[("a", 2), ("b", 1)], &[], &[("a", 4)], &[("c", 7)], &[]]);
}

#[test]
fn a_window_goes_on_for_ever_without_piling_up() {
    let mut program = Program::new();
    let input = program.input((0..300).map(|n| vec![("n", n)]).collect());
    let sums =
        input.reduce_by_key_and_window_with_inverse(|a, b| a + b, |a, b| a - b, seconds(10), seconds(1), 1, None);
    let seen = program.collect(&sums.unwrap());
    program.ssc.start().unwrap();
    program.run(300);
    program.ssc.stop(true);
    program.ssc.await_termination().unwrap();
    assert_eq!(seen.lock().last().unwrap(), &[("n", (290..300).sum::<i32>())]);
}

#[test]
fn group_by_key_and_window() {
    check(
        BY_KEY,
        |s| s.group_by_key_and_window(seconds(2), seconds(1)).unwrap(),
        &[&[("a", vec![1])], &[("a", vec![1, 2]), ("b", vec![1])], &[("a", vec![2]), ("b", vec![1])]],
    );
}

#[test]
fn a_window_reduced_by_functions_on_rdds() {
    let sum = |s: &DStream<i32>, inverse: bool| {
        let fold =
            |rdd: crate::Rdd<i32>| rdd.coalesce(1).map_partitions(|block| Ok(vec![block.into_iter().sum::<i32>()]));
        s.reduced_window_transform(
            seconds(5),
            seconds(1),
            move |previous, new, _| {
                Ok(fold(match previous {
                    Some(previous) => previous.union(&new),
                    None => new,
                }))
            },
            inverse.then(|| -> crate::dstream::window::InverseRdd<i32> {
                Box::new(move |previous, old, _| Ok(fold(previous.union(&old.map(|n| -n)))))
            }),
        )
        .unwrap()
    };
    let input: &[&[i32]] = &[&[1], &[2, 3], &[4], &[], &[5], &[6], &[7]];
    for inverse in [false, true] {
        check(input, |s| sum(s, inverse), &[&[1], &[6], &[10], &[10], &[15], &[20], &[22], &[18], &[18]]);
    }
}

#[test]
fn a_short_window_does_not_make_a_long_one_compute_again() {
    let mut program = Program::new();
    let computed = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = computed.clone();
    let input = program.input((0..6).map(|n| vec![n]).collect()).map(move |n| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        n
    });
    let short = program.collect(&input.window(seconds(1), seconds(1)).unwrap());
    let long = program.collect(&input.window(seconds(4), seconds(1)).unwrap());
    program.ssc.start().unwrap();
    program.run(6);
    assert_eq!(short.lock()[5], [5]);
    assert_eq!(long.lock()[5], [2, 3, 4, 5]);
    assert_eq!(computed.load(std::sync::atomic::Ordering::SeqCst), 6, "each record once");
}
