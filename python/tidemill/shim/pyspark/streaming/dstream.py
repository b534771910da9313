"""DStream: an RDD every slide interval, and what can be done with it."""
import inspect
import operator

from pyspark.rdd import RDD, portable_hash
from pyspark.resultiterable import ResultIterable
from pyspark.shuffle import owned
from pyspark.storagelevel import StorageLevel
from pyspark.streaming.util import milliseconds_of, rddToFileName, time_of, unwrap, wrap

__all__ = ["DStream"]


class DStream:
    """A sequence of RDDs of one kind."""

    def __init__(self, jdstream, ssc, jrdd_deserializer=None):
        self._jdstream = jdstream
        self._ssc = ssc
        self._sc = ssc._sc
        self.is_cached = False
        self.is_checkpointed = False

    def context(self):
        return self._ssc

    @property
    def _slideDuration(self):
        """Seconds between two RDDs."""
        return self._jdstream.slide_ms / 1000.0

    def _wrap(self, jrdd):
        return wrap(jrdd, self._sc)

    # Narrow operators

    def mapPartitionsWithIndex(self, f, preservesPartitioning=False):
        return self.transform(lambda rdd: rdd.mapPartitionsWithIndex(f, preservesPartitioning))

    def mapPartitions(self, f, preservesPartitioning=False):
        return self.mapPartitionsWithIndex(lambda _, iterator: f(iterator), preservesPartitioning)

    def map(self, f, preservesPartitioning=False):
        return self.transform(lambda rdd: rdd.map(f, preservesPartitioning))

    def flatMap(self, f, preservesPartitioning=False):
        return self.transform(lambda rdd: rdd.flatMap(f, preservesPartitioning))

    def filter(self, f):
        return self.transform(lambda rdd: rdd.filter(f))

    def mapValues(self, f):
        return self.transform(lambda rdd: rdd.mapValues(f))

    def flatMapValues(self, f):
        return self.flatMap(lambda pair: ((pair[0], value) for value in f(pair[1])), True)

    def glom(self):
        return self.mapPartitions(lambda iterator: [list(iterator)])

    # Within a batch

    def count(self):
        return self.mapPartitions(lambda iterator: [sum(1 for _ in iterator)]).reduce(operator.add)

    def reduce(self, func):
        return self.map(lambda x: (None, x)).reduceByKey(func, 1).map(operator.itemgetter(1))

    def reduceByKey(self, func, numPartitions=None):
        return self.combineByKey(owned, func, func, numPartitions)

    def combineByKey(self, createCombiner, mergeValue, mergeCombiners, numPartitions=None):
        numPartitions = self._partitions(numPartitions)
        return self.transform(lambda rdd: rdd.combineByKey(createCombiner, mergeValue, mergeCombiners, numPartitions))

    def partitionBy(self, numPartitions, partitionFunc=portable_hash):
        return self.transform(lambda rdd: rdd.partitionBy(numPartitions, partitionFunc))

    def groupByKey(self, numPartitions=None):
        numPartitions = self._partitions(numPartitions)
        return self.transform(lambda rdd: rdd.groupByKey(numPartitions))

    def countByValue(self):
        return self.map(lambda x: (x, 1)).reduceByKey(operator.add)

    def repartition(self, numPartitions):
        return self.transform(lambda rdd: rdd.repartition(numPartitions))

    def _partitions(self, numPartitions):
        return self._sc.defaultParallelism if numPartitions is None else numPartitions

    # Any function of the batch's RDD

    def transform(self, func):
        """`func` takes the RDD, or the time and the RDD, and returns an RDD."""
        return TransformedDStream(self, _with_time(func, 1))

    def transformWith(self, func, other, keepSerializer=False):
        """`func` takes both RDDs, or the time and both, and returns an RDD."""
        func = _with_time(func, 2)

        def compute(jrdds, milliseconds):
            a, b = (self._wrap(jrdd) for jrdd in jrdds)
            return unwrap(func(time_of(milliseconds), a, b), "transformWith")

        return DStream(self._jdstream.transform([other._jdstream], compute), self._ssc)

    # Several streams

    def union(self, other):
        if self._slideDuration != other._slideDuration:
            raise ValueError("the two DStream should have same slide duration")
        return self.transformWith(lambda a, b: a.union(b), other)

    def cogroup(self, other, numPartitions=None):
        numPartitions = self._partitions(numPartitions)
        return self.transformWith(lambda a, b: a.cogroup(b, numPartitions), other)

    def join(self, other, numPartitions=None):
        numPartitions = self._partitions(numPartitions)
        return self.transformWith(lambda a, b: a.join(b, numPartitions), other)

    def leftOuterJoin(self, other, numPartitions=None):
        numPartitions = self._partitions(numPartitions)
        return self.transformWith(lambda a, b: a.leftOuterJoin(b, numPartitions), other)

    def rightOuterJoin(self, other, numPartitions=None):
        numPartitions = self._partitions(numPartitions)
        return self.transformWith(lambda a, b: a.rightOuterJoin(b, numPartitions), other)

    def fullOuterJoin(self, other, numPartitions=None):
        numPartitions = self._partitions(numPartitions)
        return self.transformWith(lambda a, b: a.fullOuterJoin(b, numPartitions), other)

    # Outputs

    def foreachRDD(self, func):
        """`func` takes the RDD, or the time and the RDD; what it does is the batch's work."""
        func = _with_time(func, 1)
        self._jdstream.foreach_rdd(lambda jrdd, milliseconds: func(time_of(milliseconds), self._wrap(jrdd)))

    def pprint(self, num=10):
        """Prints the first `num` items of every batch."""
        def print_items(time, rdd):
            taken = rdd.take(num + 1)
            lines = ["-" * 43, "Time: %s" % time, "-" * 43, *map(str, taken[:num])]
            if len(taken) > num:
                lines.append("...")
            # One write a block: two streams that print do not mix their lines.
            print("\n".join(lines) + "\n", flush=True)

        self.foreachRDD(print_items)

    def saveAsTextFiles(self, prefix, suffix=None):
        """Each batch's RDD as text files in the folder `prefix-<ms>[.suffix]`."""
        def save(time, rdd):
            try:
                rdd.saveAsTextFile(rddToFileName(prefix, suffix, time))
            except FileExistsError:
                # A batch that is run again after a recovery finds its own output.
                pass

        self.foreachRDD(save)

    # Keeping RDDs

    def cache(self):
        return self.persist(StorageLevel.MEMORY_ONLY)

    def persist(self, storageLevel=StorageLevel.MEMORY_ONLY):
        self.is_cached = True
        self._jdstream.persist()
        return self

    def checkpoint(self, interval):
        """Accepted: state lives in memory (see StreamingContext.checkpoint)."""
        self.is_checkpointed = True
        return self

    def slice(self, begin, end):
        """The RDDs from `begin` to `end`, both included: datetimes or seconds."""
        return [self._wrap(jrdd) for jrdd in self._jdstream.slice(milliseconds_of(begin), milliseconds_of(end))]

    # Windows

    def _validate_window_param(self, window, slide):
        step = self._jdstream.slide_ms
        if milliseconds_of(window) % step != 0:
            raise ValueError("windowDuration must be multiple of the parent dstream's slide (batch) duration (%d ms)" % step)
        if slide and milliseconds_of(slide) % step != 0:
            raise ValueError("slideDuration must be multiple of the parent dstream's slide (batch) duration (%d ms)" % step)

    def window(self, windowDuration, slideDuration=None):
        self._validate_window_param(windowDuration, slideDuration)
        slide = self._slideDuration if slideDuration is None else slideDuration
        return DStream(self._jdstream.window(milliseconds_of(windowDuration), milliseconds_of(slide)), self._ssc)

    def reduceByWindow(self, reduceFunc, invReduceFunc, windowDuration, slideDuration):
        keyed = self.map(lambda x: (1, x))
        return keyed.reduceByKeyAndWindow(reduceFunc, invReduceFunc, windowDuration, slideDuration, 1).map(operator.itemgetter(1))

    def countByWindow(self, windowDuration, slideDuration):
        return self.map(lambda x: 1).reduceByWindow(operator.add, operator.sub, windowDuration, slideDuration)

    def countByValueAndWindow(self, windowDuration, slideDuration, numPartitions=None):
        counted = self.map(lambda x: (x, 1)).reduceByKeyAndWindow(operator.add, operator.sub, windowDuration, slideDuration, numPartitions)
        return counted.filter(lambda pair: pair[1] > 0)

    def groupByKeyAndWindow(self, windowDuration, slideDuration, numPartitions=None):
        lists = self.mapValues(lambda x: [x])
        grouped = lists.reduceByKeyAndWindow(lambda a, b: a + b, lambda a, b: a[len(b):], windowDuration, slideDuration, numPartitions)
        return grouped.mapValues(ResultIterable)

    def reduceByKeyAndWindow(self, func, invFunc, windowDuration, slideDuration=None, numPartitions=None, filterFunc=None):
        """With `invFunc` a long window is kept up to date by adding what came and taking away what left."""
        self._validate_window_param(windowDuration, slideDuration)
        numPartitions = self._partitions(numPartitions)
        slide = self._slideDuration if slideDuration is None else slideDuration
        reduced = self.reduceByKey(func, numPartitions)
        if not invFunc:
            return reduced.window(windowDuration, slide).reduceByKey(func, numPartitions)

        def add(previous, new, _):
            together = self._wrap(new) if previous is None else self._wrap(previous).union(self._wrap(new))
            result = together.reduceByKey(func, numPartitions)
            return unwrap(result.filter(filterFunc) if filterFunc else result, "reduceByKeyAndWindow")

        def take_away(previous, old, _):
            left = self._wrap(old).reduceByKey(func, numPartitions)
            joined = self._wrap(previous).leftOuterJoin(left, numPartitions)
            result = joined.mapValues(lambda pair: pair[0] if pair[1] is None else invFunc(pair[0], pair[1]))
            return unwrap(result, "reduceByKeyAndWindow")

        windowed = reduced._jdstream.reduced_window(milliseconds_of(windowDuration), milliseconds_of(slide), add, take_away)
        return DStream(windowed, self._ssc)

    # State

    def updateStateByKey(self, updateFunc, numPartitions=None, initialRDD=None):
        """`updateFunc(new values, state or None)` is called for every key of the batch and of the state; None drops the key."""
        numPartitions = self._partitions(numPartitions)
        if initialRDD is not None and not isinstance(initialRDD, RDD):
            initialRDD = self._sc.parallelize(initialRDD)

        def step(previous, batch, _):
            batch = self._wrap(batch)
            if previous is None and initialRDD is None:
                grouped = batch.groupByKey(numPartitions).mapValues(lambda values: (list(values), None))
            else:
                state = initialRDD if previous is None else self._wrap(previous)
                together = state.cogroup(batch, numPartitions)
                grouped = together.mapValues(lambda both: (list(both[1]), owned(next(iter(both[0]), None))))
            updated = grouped.mapValues(lambda values_and_state: updateFunc(*values_and_state))
            return unwrap(updated.filter(lambda pair: pair[1] is not None), "updateStateByKey")

        return DStream(self._jdstream.state(step), self._ssc)


class TransformedDStream(DStream):
    """A function of the RDD of one parent. Chains of them become one function, as chains of narrow operators do in an RDD."""

    def __init__(self, prev, func):
        self._ssc = prev._ssc
        self._sc = prev._sc
        self.is_cached = False
        self.is_checkpointed = False
        self._jdstream_val = None
        if type(prev) is TransformedDStream and not prev.is_cached and not prev.is_checkpointed:
            before = prev.func
            self.func = lambda time, rdd: func(time, before(time, rdd))
            self.prev = prev.prev
        else:
            self.func = func
            self.prev = prev

    @property
    def _jdstream(self):
        if self._jdstream_val is None:
            def compute(jrdds, milliseconds):
                return unwrap(self.func(time_of(milliseconds), self.prev._wrap(jrdds[0])), "transform")

            self._jdstream_val = self.prev._jdstream.transform([], compute)
        return self._jdstream_val


def _with_time(func, rdds):
    """Makes a function that takes only the RDDs (`rdds` of them) take the time first."""
    if len(inspect.signature(func).parameters) == rdds:
        return lambda _, *arguments: func(*arguments)
    return func
