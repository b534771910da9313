"""RDD operators against what plain Python gives."""
import operator

import pytest
from conftest import LIMIT_S


def test_narrow_operators_are_fused_and_keep_order(sc):
    numbers = sc.parallelize(range(10), 3)
    result = numbers.map(lambda x: x + 1).filter(lambda x: x % 2 == 0).flatMap(lambda x: [x, -x]).collect()
    assert result == [2, -2, 4, -4, 6, -6, 8, -8, 10, -10]


@pytest.mark.parametrize("operate, expected", [
    (lambda r: r.count(), 10),
    (lambda r: r.sum(), 45),
    (lambda r: r.take(4), [0, 1, 2, 3]),
    (lambda r: r.first(), 0),
    (lambda r: r.top(2), [9, 8]),
    (lambda r: r.takeOrdered(2, key=lambda x: -x), [9, 8]),
    (lambda r: r.reduce(operator.add), 45),
    (lambda r: r.fold(0, operator.add), 45),
    (lambda r: r.max(), 9),
    (lambda r: r.isEmpty(), False),
    (lambda r: r.getNumPartitions(), 3),
    (lambda r: r.glom().map(len).collect(), [3, 3, 4]),
    (lambda r: r.zipWithIndex().collect()[-1], (9, 9)),
    (lambda r: r.map(lambda x: x % 3).countByValue(), {0: 4, 1: 3, 2: 3}),
    (lambda r: sorted(r.map(lambda x: x % 3).distinct().collect()), [0, 1, 2]),
    (lambda r: r.repartition(2).count(), 10),
    (lambda r: r.coalesce(1).glom().collect(), [list(range(10))]),
    (lambda r: r.sortBy(lambda x: -x, numPartitions=3).collect(), list(range(9, -1, -1))),
    (lambda r: r.union(r).count(), 20),
    (lambda r: r.cartesian(r).count(), 100),
    (lambda r: sorted(r.subtract(r.filter(lambda x: x > 3)).collect()), [0, 1, 2, 3]),
])
def test_actions(sc, operate, expected):
    assert operate(sc.parallelize(range(10), 3)) == expected


def test_pairs(sc):
    left = sc.parallelize([("a", 1), ("b", 2), ("a", 3)], 2)
    right = sc.parallelize([("a", "x"), ("c", "y")], 2)
    assert sorted(left.reduceByKey(operator.add).collect()) == [("a", 4), ("b", 2)]
    assert sorted(left.groupByKey().mapValues(list).collect()) == [("a", [1, 3]), ("b", [2])]
    assert sorted(left.join(right).collect()) == [("a", (1, "x")), ("a", (3, "x"))]
    assert sorted(left.leftOuterJoin(right).collect()) == [("a", (1, "x")), ("a", (3, "x")), ("b", (2, None))]
    assert sorted(left.rightOuterJoin(right).collect()) == [("a", (1, "x")), ("a", (3, "x")), ("c", (None, "y"))]
    assert left.sortByKey(ascending=False).keys().collect() == ["b", "a", "a"]


def _extend(a, b):
    a.extend(b)
    return a


@pytest.mark.parametrize("operate, expected", [
    (lambda r: r.reduceByKey(_extend), [("a", [1, 2]), ("b", [3])]),
    (lambda r: r.groupByKey().mapValues(lambda lists: sum(lists, [])), [("a", [1, 2]), ("b", [3])]),
    (lambda r: r.combineByKey(list, _extend, _extend), [("a", [1, 2]), ("b", [3])]),
    (lambda r: r.foldByKey([], _extend), [("a", [1, 2]), ("b", [3])]),
])
def test_functions_that_change_their_arguments_change_no_record(sc, operate, expected):
    pairs = sc.parallelize([("a", [1]), ("b", [3]), ("a", [2])], 3)
    result = operate(pairs)
    assert [result.collect() for _ in range(3)] == [expected] * 3
    assert pairs.values().reduce(_extend) == [1, 3, 2]
    assert pairs.collect() == [("a", [1]), ("b", [3]), ("a", [2])]


def test_the_users_exception_comes_out_as_it_was(sc):
    with pytest.raises(ZeroDivisionError):
        sc.parallelize([1, 0], 2).map(lambda x: 1 / x).collect()
    assert sc.parallelize([1]).count() == 1, "the context goes on"


def test_a_cached_rdd_is_computed_once(sc):
    calls = []
    cached = sc.parallelize([1, 2], 1).map(lambda x: calls.append(x) or x).cache()
    assert (cached.collect(), cached.count(), calls) == ([1, 2], 2, [1, 2])


def test_text_files(sc, tmp_path):
    path = str(tmp_path / "out")
    sc.parallelize(["a", "b", "c"], 2).saveAsTextFile(path)
    assert (tmp_path / "out/_SUCCESS").exists()
    assert sc.textFile(path).collect() == ["a", "b", "c"]
    with pytest.raises(FileExistsError):
        sc.parallelize(["x"]).saveAsTextFile(path)


def test_only_one_context_at_a_time(sc):
    from pyspark import SparkContext
    with pytest.raises(ValueError, match="Cannot run multiple SparkContexts at once"):
        SparkContext("local", "second")


def test_accumulators_and_broadcasts(sc):
    total, factor = sc.accumulator(0), sc.broadcast(3)
    sc.parallelize(range(100), 4).foreach(lambda x: total.add(x * factor.value))
    assert total.value == 3 * sum(range(100))


def test_sql_says_that_it_is_not_here():
    with pytest.raises(ImportError, match="pyspark.sql is not part of Tidemill"):
        import pyspark.sql  # noqa: F401


def test_a_task_that_waits_lets_the_others_run(sc):
    import threading
    other_ran = threading.Event()

    def wait_or_tell(partition, _):
        if partition == 0:
            return [other_ran.wait(LIMIT_S)]
        other_ran.set()
        return []

    assert sc.parallelize(range(2), 2).mapPartitionsWithIndex(wait_or_tell).collect() == [True]
