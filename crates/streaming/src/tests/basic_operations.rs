//! Operators on single batches: what Spark's BasicOperationsSuite looks at.

use super::{Program, check};
use crate::{Rdd, TaskError};

const NUMBERS: &[&[i32]] = &[&[1, 2, 3, 4], &[5, 6, 7, 8], &[9, 10, 11, 12]];

#[test]
fn map() {
    check(
        NUMBERS,
        |s| s.map(|n| n.to_string()),
        &[
            &["1", "2", "3", "4"].map(String::from),
            &["5", "6", "7", "8"].map(String::from),
            &["10", "11", "12", "9"].map(String::from),
        ],
    );
}

#[test]
fn flat_map_and_filter() {
    check(NUMBERS, |s| s.flat_map(|n| [n, n * 2]).filter(|n| n % 4 == 0), &[&[4, 4, 8], &[8, 12, 16], &[12, 20, 24]]);
}

#[test]
fn glom() {
    check(NUMBERS, |s| s.glom(), &[&[vec![1, 2], vec![3, 4]], &[vec![5, 6], vec![7, 8]], &[vec![9, 10], vec![11, 12]]]);
}

#[test]
fn map_partitions() {
    check(
        NUMBERS,
        |s| s.map_partitions(|block| Ok(vec![block.into_iter().sum::<i32>()])),
        &[&[3, 7], &[11, 15], &[19, 23]],
    );
    check(
        NUMBERS,
        |s| s.map_partitions_with_index(|index, block| Ok(vec![(index, block.len())])),
        &[&[(0, 2), (1, 2)], &[(0, 2), (1, 2)]],
    );
}

#[test]
fn repartition_and_partition_by() {
    check(NUMBERS, |s| s.repartition(4).glom().map(|block| block.len()), &[&[1, 1, 1, 1]]);
    let by_rest = |s: &crate::DStream<i32>| s.partition_by(2, |n| Ok(*n as usize % 2)).glom();
    check(NUMBERS, by_rest, &[&[vec![1, 3], vec![2, 4]]]);
}

#[test]
fn count_of_an_empty_batch_is_zero() {
    check(&[&[], &[1], &[1, 2, 3]], |s| s.count(), &[&[0], &[1], &[3], &[0]]);
}

#[test]
fn count_by_value() {
    check(&[&[1, 1, 1, 2], &[], &[3]], |s| s.count_by_value(), &[&[(1, 3), (2, 1)], &[], &[(3, 1)]]);
}

#[test]
fn reduce_of_an_empty_batch_is_empty() {
    check(&[&[1, 2, 3, 4], &[], &[9]], |s| s.reduce(|a, b| a + b), &[&[10], &[], &[9]]);
}

#[test]
fn word_count() {
    check(
        &[&["to be or", "not to be"], &["", "to  to"]],
        |s| s.flat_map(|line| line.split(' ')).map(|word| (word, 1)).reduce_by_key(|a, b| a + b),
        &[&[("be", 2), ("not", 1), ("or", 1), ("to", 2)], &[("", 2), ("to", 2)], &[]],
    );
}

const PAIRS: &[&[(&str, i32)]] = &[&[("a", 1), ("a", 2), ("b", 3)], &[("c", 4)], &[]];

#[test]
fn by_key() {
    check(PAIRS, |s| s.group_by_key(), &[&[("a", vec![1, 2]), ("b", vec![3])], &[("c", vec![4])], &[]]);
    check(PAIRS, |s| s.map_values(|n| n * 10), &[&[("a", 10), ("a", 20), ("b", 30)], &[("c", 40)]]);
    check(
        PAIRS,
        |s| s.flat_map_values(|n| 0..n),
        &[&[("a", 0), ("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2)], &[("c", 0), ("c", 1), ("c", 2), ("c", 3)]],
    );
    let largest = |s: &crate::DStream<(&'static str, i32)>| {
        s.combine_by_key(2, |n| Ok(n.to_string()), |c, n| Ok(format!("{c}+{n}")), |a, b| Ok(format!("{a}+{b}")))
    };
    check(PAIRS, largest, &[&[("a", "1+2".to_owned()), ("b", "3".to_owned())], &[("c", "4".to_owned())]]);
}

/// Runs an operator of two streams.
fn check_two<T: crate::Data, U: crate::Data, V: crate::Data + Ord + std::fmt::Debug>(
    left: &[&[T]],
    right: &[&[U]],
    operator: impl Fn(&crate::DStream<T>, &crate::DStream<U>) -> crate::DStream<V>,
    expected: &[&[V]],
) {
    let mut program = Program::new();
    let left = program.input(left.iter().map(|batch| batch.to_vec()).collect());
    let right = program.input(right.iter().map(|batch| batch.to_vec()).collect());
    let seen = program.collect(&operator(&left, &right));
    program.ssc.start().unwrap();
    program.run(expected.len() as u64);
    let mut seen = seen.lock().clone();
    seen.iter_mut().for_each(|batch| batch.sort());
    assert_eq!(seen, expected);
}

#[test]
fn union_pads_the_shorter_input() {
    check_two(&[&[1, 2], &[3]], &[&[4]], |a, b| a.union(b).unwrap(), &[&[1, 2, 4], &[3], &[]]);
}

#[test]
fn joins_and_cogroup() {
    let left: &[&[(&str, i32)]] = &[&[("a", 1), ("b", 2)], &[("x", 9)]];
    let right: &[&[(&str, char)]] = &[&[("a", 'x'), ("c", 'y')], &[]];
    check_two(left, right, |a, b| a.join(b).unwrap(), &[&[("a", (1, 'x'))], &[]]);
    check_two(
        left,
        right,
        |a, b| a.left_outer_join(b).unwrap(),
        &[&[("a", (1, Some('x'))), ("b", (2, None))], &[("x", (9, None))]],
    );
    check_two(left, right, |a, b| a.right_outer_join(b).unwrap(), &[&[("a", (Some(1), 'x')), ("c", (None, 'y'))], &[]]);
    check_two(
        left,
        right,
        |a, b| a.full_outer_join(b).unwrap(),
        &[&[("a", (Some(1), Some('x'))), ("b", (Some(2), None)), ("c", (None, Some('y')))], &[("x", (Some(9), None))]],
    );
    check_two(
        left,
        right,
        |a, b| a.cogroup(b).unwrap(),
        &[
            &[("a", (vec![1], vec!['x'])), ("b", (vec![2], vec![])), ("c", (vec![], vec!['y']))],
            &[("x", (vec![9], vec![]))],
        ],
    );
}

#[test]
fn transform_sees_rdd_and_time() {
    check(
        NUMBERS,
        |s| s.transform(|rdd, time| Ok(rdd.map(move |n| i64::from(n) * time.ms()))),
        &[&[1000, 2000, 3000, 4000], &[10_000, 12_000, 14_000, 16_000]],
    );
    check_two(
        NUMBERS,
        NUMBERS,
        |a, b| a.transform_with(b, |x, y, _| Ok(x.union(&y).distinct(1))).unwrap(),
        &[&[1, 2, 3, 4]],
    );
}

#[test]
fn update_state_by_key_calls_for_every_key() {
    // A key without new values is counted up too; a key is dropped where the function gives none.
    let update = |values: Vec<i32>, state: Option<i32>| {
        let next = state.unwrap_or(0) + values.iter().sum::<i32>() + 100 * i32::from(values.is_empty());
        (next < 200).then_some(next)
    };
    check(
        &[&[("a", 1)], &[("b", 5)], &[("a", 2), ("a", 3)], &[], &[]],
        |s| s.update_state_by_key(update),
        &[&[("a", 1)], &[("a", 101), ("b", 5)], &[("a", 106), ("b", 105)], &[], &[]],
    );
}

#[test]
fn state_starts_from_the_initial_rdd() {
    let mut program = Program::new();
    let initial = program.ssc.spark_context().parallelize(vec![("a", 10), ("z", 1)], 1);
    let input = program.input(vec![vec![("a", 1)], vec![("b", 1)]]);
    let counts = input.try_update_state_by_key(3, Some(initial), |key, values: Vec<i32>, state: Option<i32>| {
        if *key == "bad" {
            Err(TaskError::message("bad key"))
        } else {
            Ok(Some(state.unwrap_or(0) + values.len() as i32))
        }
    });
    let seen = program.collect(&counts);
    program.ssc.start().unwrap();
    program.run(2);
    let mut seen = seen.lock().clone();
    seen.iter_mut().for_each(|batch| batch.sort_unstable());
    assert_eq!(seen, [vec![("a", 11), ("z", 1)], vec![("a", 11), ("b", 1), ("z", 1)]]);
}

#[test]
fn a_state_that_no_output_computes_does_not_pile_up() {
    let mut program = Program::new();
    let counts = program
        .input(vec![vec![("a", 1)]])
        .update_state_by_key(|values: Vec<i32>, state| Some(state.unwrap_or(0) + 1 + values.len() as i32));
    let last: super::Seen<Rdd<(&str, i32)>> = super::Seen::default();
    let into = last.clone();
    counts.foreach_rdd(move |rdd, _| {
        let mut last = into.lock();
        last.clear();
        last.push(rdd);
        Ok(())
    });
    program.ssc.start().unwrap();
    // More batches than a lineage may be deep.
    program.run(500);
    assert_eq!(last.lock()[0].collect().unwrap(), [("a", 501)]);
    program.ssc.await_termination_or_timeout(std::time::Duration::ZERO).unwrap();
}

#[test]
fn slice_gives_remembered_batches() {
    let mut program = Program::new();
    let input = program.input(NUMBERS.iter().map(|batch| batch.to_vec()).collect());
    program.ssc.remember(super::BATCH * 10).unwrap();
    input.foreach_rdd(|_, _| Ok(()));
    assert!(input.slice(crate::Time::from_ms(0), crate::Time::from_ms(1)).is_err(), "not initialized");
    program.ssc.start().unwrap();
    program.run(3);
    let rdds = input.slice(crate::Time::from_ms(1000), crate::Time::from_ms(2999)).unwrap();
    let batches: Vec<Vec<i32>> = rdds.iter().map(|rdd| rdd.collect().unwrap()).collect();
    assert_eq!(batches, [vec![1, 2, 3, 4], vec![5, 6, 7, 8]]);
}

#[test]
fn old_batches_are_forgotten() {
    let mut program = Program::new();
    let input = program.input((0..10).map(|n| vec![n]).collect());
    input.foreach_rdd(|_, _| Ok(()));
    program.ssc.start().unwrap();
    program.run(10);
    let rdds = input.slice(crate::Time::from_ms(1000), crate::Time::from_ms(10_000)).unwrap();
    assert_eq!(rdds.len(), 1, "only the last batch is remembered");
}

#[test]
fn text_files_per_batch() {
    let directory = tempfile::tempdir().unwrap();
    let prefix = directory.path().join("out").display().to_string();
    let mut program = Program::new();
    let input = program.input(vec![vec!["a", "b"], vec!["c"]]);
    input.save_as_text_files(&prefix, None);
    input.save_as_text_files(&prefix, Some("txt"));
    program.ssc.start().unwrap();
    program.run(2);
    let disk = runtime::Disk::real();
    for (name, expected) in
        [("out-1000/part-00000", "a\n"), ("out-1000.txt/part-00001", "b\n"), ("out-2000/_SUCCESS", "")]
    {
        let text = disk.read(&directory.path().join(name), 100).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), expected, "{name}");
    }
}
