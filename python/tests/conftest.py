"""Puts the package on the path as spark-submit does, and gives each test a context of its own."""
import pathlib
import sys
import time

import pytest

PYTHON = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PYTHON / "tidemill/shim"), str(PYTHON)]


# No test waits longer than this for what must come.
LIMIT_S = 60


def wait_for(condition, ssc=None):
    """Waits until the condition holds, the streaming context ends, or the limit is over; raises what a job raised. Whoever calls it looks again."""
    deadline = time.monotonic() + LIMIT_S
    while not condition() and time.monotonic() < deadline:
        if ssc is None:
            time.sleep(0.02)
        elif ssc.awaitTerminationOrTimeout(0.05):
            break


@pytest.fixture
def sc():
    from pyspark import SparkConf, SparkContext
    # One reduce partition unless a test says otherwise, so that orders can be compared.
    context = SparkContext(conf=SparkConf().setMaster("local[2]").setAppName("test").set("spark.default.parallelism", 1))
    yield context
    context.stop()


@pytest.fixture
def run(sc):
    """run(inputs, operate): what `operate` of a stream of these batches gives, one list a batch."""
    from pyspark.streaming import StreamingContext

    def run_batches(inputs, operate, batches=None, interval=0.1):
        ssc = StreamingContext(sc, interval)
        results = []
        stream = ssc.queueStream([sc.parallelize(batch, 2) for batch in inputs])
        operate(stream).foreachRDD(lambda rdd: results.append(rdd.collect()))
        wanted = batches or len(inputs)
        ssc.start()
        try:
            wait_for(lambda: len(results) >= wanted, ssc)
        finally:
            ssc.stop(stopSparkContext=False)
        assert len(results) >= wanted, f"only {len(results)} of {wanted} batches came"
        return results[:wanted]

    return run_batches
