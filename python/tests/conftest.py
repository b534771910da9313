"""Puts the package on the path as spark-submit does, and gives each test a context of its own."""
import pathlib
import sys

import pytest

PYTHON = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PYTHON / "tidemill/shim"), str(PYTHON)]


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
            for _ in range(200):
                if len(results) >= wanted or ssc.awaitTerminationOrTimeout(0.05):
                    break
        finally:
            ssc.stop(stopSparkContext=False)
        assert len(results) >= wanted, f"only {len(results)} of {wanted} batches came"
        return results[:wanted]

    return run_batches
