//! RDDs through their actions: what Spark's RDDSuite and PairRDDFunctionsSuite look at.

use super::*;
use crate::error::JobError;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

fn context() -> SparkContext {
    SparkContext::new("local[2]", "test").unwrap()
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

fn words() -> Vec<(&'static str, u64)> {
    "to be or not to be".split(' ').map(|word| (word, 1)).collect()
}

#[test]
fn narrow_operators_keep_order() {
    let sc = context();
    for partitions in [1, 2, 3, 10] {
        let rdd = sc.parallelize((1..=7).collect(), partitions);
        assert_eq!(rdd.num_partitions(), partitions);
        let out = rdd.map(|n| n * 10).flat_map(|n| [n, n + 1]).filter(|n| n % 3 != 0).collect().unwrap();
        assert_eq!(out, [10, 11, 20, 31, 40, 41, 50, 61, 70, 71], "{partitions} partitions");
    }
}

#[test]
fn slices_are_those_of_spark() {
    let check = |count: i32, partitions: usize, expected: &[&[i32]]| {
        let parts = context().parallelize((1..=count).collect(), partitions).glom().collect().unwrap();
        assert_eq!(parts, expected, "{count} in {partitions}");
    };
    check(5, 2, &[&[1, 2], &[3, 4, 5]]);
    check(2, 3, &[&[], &[1], &[2]]);
    check(0, 1, &[&[]]);
}

#[test]
fn union_and_coalesce() {
    let sc = context();
    let a = sc.parallelize(vec![1, 2, 3], 3);
    let b = sc.parallelize(vec![4, 5], 1);
    let all = sc.union(&[a.clone(), sc.empty_rdd(), b.clone()]);
    assert_eq!(all.num_partitions(), 4);
    assert_eq!(all.collect().unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(all.coalesce(2).collect_partitions().unwrap(), [vec![1, 2], vec![3, 4, 5]]);
    assert!(sc.empty_rdd::<i32>().coalesce(2).collect().unwrap().is_empty());
    assert_eq!(sc.union::<i32>(&[]).count().unwrap(), 0);
}

#[test]
fn by_key() {
    let sc = context();
    for (from, to) in [(1, 1), (1, 3), (3, 1), (4, 2), (9, 9)] {
        let rdd = sc.parallelize(words(), from);
        let counts = sorted(rdd.reduce_by_key(to, |a, b| a + b).collect().unwrap());
        assert_eq!(counts, [("be", 2), ("not", 1), ("or", 1), ("to", 2)], "{from} to {to}");
        let groups = sorted(rdd.group_by_key(to).map_values(|ones| ones.len()).collect().unwrap());
        assert_eq!(groups, [("be", 2), ("not", 1), ("or", 1), ("to", 2)], "{from} to {to}");
        assert_eq!(sorted(rdd.keys().distinct(to).collect().unwrap()), ["be", "not", "or", "to"]);
    }
}

#[test]
fn keys_lie_where_key_partition_says_and_are_not_moved_twice() {
    let rdd = context().parallelize((0..100).map(|n| (n, n)).collect(), 4).partition_by_key(3);
    for (partition, block) in rdd.collect_partitions().unwrap().into_iter().enumerate() {
        assert!(!block.is_empty());
        assert!(block.iter().all(|(key, _)| pairs::key_partition(key, 3) == partition));
    }
    let again = rdd.map_values(|n| n + 1).reduce_by_key(3, |a, b| a + b);
    assert!(again.as_any().dependencies().iter().all(|dependency| matches!(dependency, Dependency::Narrow(_))));
    assert_eq!(again.count().unwrap(), 100);
}

#[test]
fn joins() {
    let sc = context();
    let left = sc.parallelize(vec![("a", 1), ("b", 2), ("a", 3)], 2);
    let right = sc.parallelize(vec![("a", 'x'), ("c", 'y')], 2);
    assert_eq!(sorted(left.join(&right, 2).collect().unwrap()), [("a", (1, 'x')), ("a", (3, 'x'))]);
    assert_eq!(
        sorted(left.left_outer_join(&right, 2).collect().unwrap()),
        [("a", (1, Some('x'))), ("a", (3, Some('x'))), ("b", (2, None))]
    );
    assert_eq!(
        sorted(left.right_outer_join(&right, 2).collect().unwrap()),
        [("a", (Some(1), 'x')), ("a", (Some(3), 'x')), ("c", (None, 'y'))]
    );
    assert_eq!(
        sorted(left.full_outer_join(&right, 3).collect().unwrap()),
        [("a", (Some(1), Some('x'))), ("a", (Some(3), Some('x'))), ("b", (Some(2), None)), ("c", (None, Some('y')))]
    );
    let groups: BTreeMap<_, _> = left.cogroup(&right, 1).collect().unwrap().into_iter().collect();
    assert_eq!(groups["a"], (vec![1, 3], vec!['x']));
    assert_eq!(groups["c"], (vec![], vec!['y']));
}

#[test]
fn partition_by_and_repartition() {
    let sc = context();
    let rdd = sc.parallelize((0..10).collect(), 3);
    let by_rest = rdd.partition_by(2, |n| Ok(*n as usize % 2)).collect_partitions().unwrap();
    assert_eq!(by_rest, [vec![0, 2, 4, 6, 8], vec![1, 3, 5, 7, 9]]);
    let error = rdd.partition_by(2, |_| Ok(2)).collect().unwrap_err();
    assert!(error.to_string().contains("partitioner gave 2"), "{error}");
    let sizes: Vec<usize> = rdd.repartition(5).glom().map(|block| block.len()).collect().unwrap();
    assert_eq!(sizes.iter().sum::<usize>(), 10);
    assert!(sizes.iter().all(|size| (1..=3).contains(size)), "{sizes:?}");
}

#[test]
fn sort_by_orders_across_partitions() {
    let sc = context();
    let items: Vec<u32> = (0..1000).map(|n| n * 7919 % 1000).collect();
    let sorted_rdd = sc.parallelize(items, 4).sort_by(3, |n| *n).unwrap();
    assert_eq!(sorted_rdd.num_partitions(), 3);
    assert_eq!(sorted_rdd.collect().unwrap(), (0..1000).collect::<Vec<u32>>());
}

#[test]
fn actions() {
    let sc = context();
    let rdd = sc.parallelize((1..=10).collect::<Vec<i64>>(), 4);
    assert_eq!(rdd.count().unwrap(), 10);
    assert_eq!(rdd.reduce(|a, b| a + b).unwrap(), Some(55));
    assert_eq!(rdd.first().unwrap(), Some(1));
    assert!(rdd.take(0).unwrap().is_empty());
    assert_eq!(rdd.take(3).unwrap(), [1, 2, 3]);
    assert_eq!(rdd.take(99).unwrap().len(), 10);
    assert!(!rdd.is_empty().unwrap());
    assert!(rdd.filter(|_| false).is_empty().unwrap());
    assert_eq!(sc.empty_rdd::<i64>().reduce(|a, b| a + b).unwrap(), None);
}

#[test]
fn take_computes_no_more_partitions_than_it_needs() {
    let computed = Arc::new(AtomicUsize::new(0));
    let seen = computed.clone();
    let rdd = context().parallelize((0..100).collect(), 20).map_partitions(move |block| {
        seen.fetch_add(1, Ordering::SeqCst);
        Ok(block)
    });
    assert_eq!(rdd.take(5).unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(computed.swap(0, Ordering::SeqCst), 1);
    assert_eq!(rdd.take(6).unwrap().len(), 6);
    assert_eq!(computed.load(Ordering::SeqCst), 1 + 4);
}

#[test]
fn a_cached_rdd_is_computed_once_and_a_shuffle_runs_once() {
    let computed = Arc::new(AtomicUsize::new(0));
    let seen = computed.clone();
    let rdd = context().parallelize(words(), 2).map_partitions(move |block| {
        seen.fetch_add(1, Ordering::SeqCst);
        Ok(block)
    });
    let counts = rdd.reduce_by_key(2, |a, b| a + b);
    counts.count().unwrap();
    counts.count().unwrap();
    assert_eq!(computed.swap(0, Ordering::SeqCst), 2, "two map tasks, once");
    rdd.persist();
    rdd.count().unwrap();
    rdd.count().unwrap();
    assert_eq!(computed.swap(0, Ordering::SeqCst), 2);
    rdd.unpersist();
    rdd.count().unwrap();
    assert_eq!(computed.load(Ordering::SeqCst), 2);
}

#[test]
fn local_checkpoint_forgets_the_parents() {
    let sc = context();
    let mut sum = sc.parallelize(vec![0u64; 2], 2);
    // Far longer than a lineage may be.
    for _ in 0..1000 {
        sum = sum.map(|n| n + 1).local_checkpoint();
        sum.materialize().unwrap();
        assert!(sum.is_materialized() && sum.as_any().dependencies().is_empty());
    }
    sum.unpersist();
    assert_eq!(sum.collect().unwrap(), [1000, 1000]);
}

#[test]
fn a_lineage_too_deep_is_an_error_not_a_crash() {
    let mut rdd = context().parallelize(vec![1], 1);
    for _ in 0..1000 {
        rdd = rdd.map(|n| n);
    }
    let error = rdd.collect().unwrap_err();
    assert!(error.to_string().contains("cache()"), "{error}");
}

#[test]
fn the_first_failure_ends_the_job() {
    #[derive(Debug, thiserror::Error)]
    #[error("record {0} is bad")]
    struct Bad(i32);
    let rdd = context().parallelize((0..1000).collect(), 100);
    let error = rdd.try_map(|n| if n == 537 { Err(Bad(n).into()) } else { Ok(n) }).map(|n| (n, 1));
    match error.reduce_by_key(2, |a, b| a + b).collect().unwrap_err() {
        JobError::Task { partition, error } => {
            assert_eq!(partition, 53);
            assert_eq!(error.find::<Bad>().unwrap().0, 537);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn stages_run_parents_first_whatever_the_shape() {
    let sc = context();
    let base = sc.parallelize(words(), 2).reduce_by_key(2, |a, b| a + b);
    let longer = base.map(|(word, count)| (word.len(), count)).reduce_by_key(3, |a, b| a + b);
    let joined = base.map(|(word, _)| (word.len(), word)).join(&longer, 2);
    let order = crate::scheduler::stages::pending_shuffles(joined.as_any());
    assert_eq!(order.len(), 4);
    for (position, shuffle) in order.iter().enumerate() {
        let needs = crate::scheduler::stages::pending_shuffles(shuffle.parent());
        for need in needs {
            assert!(order[..position].iter().any(|earlier| earlier.id() == need.id()));
        }
    }
    assert_eq!(sorted(joined.collect().unwrap()), [(2, ("be", 5)), (2, ("or", 5)), (2, ("to", 5)), (3, ("not", 1))]);
}

#[test]
fn text_files_in_hadoops_layout() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let rdd = context().parallelize(vec!["a", "b", "c"], 2);
    rdd.save_as_text_file(&out).unwrap();
    let names: Vec<String> = runtime::Disk::real()
        .read_dir(&out)
        .unwrap()
        .into_iter()
        .map(|e| e.name.to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["_SUCCESS", "part-00000", "part-00001"]);
    let part = runtime::Disk::real().read(&out.join("part-00001"), 100).unwrap();
    assert_eq!(part, b"b\nc\n");
    let again = rdd.save_as_text_file(&out).unwrap_err();
    assert!(again.to_string().contains("already exists"), "{again}");
}
