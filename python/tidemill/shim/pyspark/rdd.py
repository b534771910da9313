"""RDD: a list in partitions, described by how to compute it.

A partition is one Python list (a *block*) to the engine. Narrow operators are not run one by one: a chain of them, up to the map side of a
shuffle, becomes one function of a block (`fusion.py`), so that the engine calls into Python once per partition whatever the chain's length.
Only shuffles, caches, unions and sources are nodes of the engine's own graph.
"""
import bisect
import heapq
import itertools
import operator
import os
import random

from pyspark.fusion import fused, listed
from pyspark.resultiterable import ResultIterable
from pyspark.shuffle import Aggregator, buckets, owned, portable_hash
from pyspark.statcounter import StatCounter
from pyspark.storagelevel import StorageLevel

__all__ = ["RDD", "portable_hash"]

# Keys sampled per target partition to find the bounds of a sort.
SORT_SAMPLES_PER_PARTITION = 20
# A later round of take() looks at this many times the partitions seen so far.
TAKE_SCALE_UP = 4


class Partitioner:
    """How keys find their partition: equal partitioners make a second shuffle needless."""

    def __init__(self, numPartitions, partitionFunc):
        self.numPartitions = numPartitions
        self.partitionFunc = partitionFunc

    def __eq__(self, other):
        return isinstance(other, Partitioner) and (self.numPartitions, self.partitionFunc) == (other.numPartitions, other.partitionFunc)

    def __hash__(self):
        return hash((self.numPartitions, self.partitionFunc))

    def __call__(self, key):
        return self.partitionFunc(key) % self.numPartitions


class RDD:
    """A list in partitions."""

    def __init__(self, jrdd, ctx, partitioner=None):
        self._jrdd = jrdd
        self.ctx = ctx
        self.is_cached = False
        self.is_checkpointed = False
        self.partitioner = partitioner
        self._name = None

    # What it is

    def __repr__(self):
        return "%s[%d]" % (type(self).__name__, self.id())

    def __getnewargs__(self):
        raise Exception("It appears that you are attempting to broadcast an RDD or reference an RDD from an action or transformation. "
                        "RDD transformations and actions can only be invoked by the driver, not inside of other transformations; for example, "
                        "rdd1.map(lambda x: rdd2.values.count() * x) is invalid because the values transformation and count action cannot be "
                        "performed inside of the rdd1.map transformation. For more information, see SPARK-5063.")

    def id(self):
        return self._jrdd.id

    @property
    def context(self):
        return self.ctx

    def name(self):
        return self._name

    def setName(self, name):
        self._name = name
        return self

    def getNumPartitions(self):
        return self._jrdd.num_partitions

    def toDebugString(self):
        return ("(%d) %s %s" % (self.getNumPartitions(), self._name or type(self).__name__, self.id())).encode()

    # Keeping it

    def cache(self):
        return self.persist(StorageLevel.MEMORY_ONLY)

    def persist(self, storageLevel=StorageLevel.MEMORY_ONLY):
        self.is_cached = True
        self._storage_level = storageLevel
        self._jrdd.persist()
        return self

    def unpersist(self, blocking=False):
        self.is_cached = False
        self._jrdd.unpersist()
        return self

    def getStorageLevel(self):
        return self._storage_level if self.is_cached else StorageLevel(False, False, False, False, 1)

    def checkpoint(self):
        """Cuts the lineage: here the data stay in memory."""
        self.persist()
        self.is_checkpointed = True

    localCheckpoint = checkpoint

    def isCheckpointed(self):
        return self.is_checkpointed

    # Narrow operators

    def mapPartitionsWithIndex(self, f, preservesPartitioning=False):
        return PipelinedRDD(self, "whole", f, preservesPartitioning)

    def mapPartitions(self, f, preservesPartitioning=False):
        return self.mapPartitionsWithIndex(lambda _, iterator: f(iterator), preservesPartitioning)

    def map(self, f, preservesPartitioning=False):
        return PipelinedRDD(self, "map", f, preservesPartitioning)

    def flatMap(self, f, preservesPartitioning=False):
        return PipelinedRDD(self, "flat", f, preservesPartitioning)

    def filter(self, f):
        return PipelinedRDD(self, "filter", f, True)

    def mapValues(self, f):
        return PipelinedRDD(self, "values", f, True)

    def flatMapValues(self, f):
        return self.flatMap(lambda pair: ((pair[0], value) for value in f(pair[1])), True)

    def glom(self):
        return self.mapPartitions(lambda iterator: [list(iterator)])

    def keys(self):
        return self.map(operator.itemgetter(0))

    def values(self):
        return self.map(operator.itemgetter(1))

    def keyBy(self, f):
        return self.map(lambda x: (f(x), x))

    def sample(self, withReplacement, fraction, seed=None):
        if fraction < 0.0:
            raise ValueError("Negative fraction value: %s" % fraction)
        seed = random.randrange(1 << 32) if seed is None else seed

        def take_some(index, iterator):
            generator = random.Random(seed ^ index)
            for item in iterator:
                if withReplacement:
                    # Poisson by counting exponential gaps.
                    at = generator.expovariate(1.0)
                    while at < fraction:
                        yield item
                        at += generator.expovariate(1.0)
                elif generator.random() < fraction:
                    yield item

        return self.mapPartitionsWithIndex(take_some, True)

    def zipWithIndex(self):
        starts = [0]
        if self.getNumPartitions() > 1:
            counts = self.mapPartitions(lambda iterator: [sum(1 for _ in iterator)]).collect()
            starts = [0] + list(itertools.accumulate(counts))
        return self.mapPartitionsWithIndex(lambda index, iterator: zip(iterator, itertools.count(starts[index])))

    def zipWithUniqueId(self):
        partitions = self.getNumPartitions()
        return self.mapPartitionsWithIndex(lambda index, iterator: zip(iterator, itertools.count(index, partitions)))

    # Several RDDs

    def union(self, other):
        same = self.partitioner is not None and self.partitioner == other.partitioner and self.getNumPartitions() == other.getNumPartitions()
        partitioner = self.partitioner if same else None
        if same:
            # Equal partitioners: partition i of both goes into partition i, and no key moves.
            return RDD(self._jrdd.zip(other._jrdd, lambda _, a, b: list(a) + list(b)), self.ctx, partitioner)
        return RDD(self._jrdd.union([other._jrdd]), self.ctx)

    def __add__(self, other):
        if not isinstance(other, RDD):
            raise TypeError
        return self.union(other)

    def zip(self, other):
        if self.getNumPartitions() != other.getNumPartitions():
            raise ValueError("Can only zip with RDD which has the same number of partitions")

        def pairs(_, a, b):
            if len(a) != len(b):
                raise ValueError("Can only zip RDDs with same number of elements in each partition")
            return list(zip(a, b))

        return RDD(self._jrdd.zip(other._jrdd, pairs), self.ctx)

    def cartesian(self, other):
        right = other.collect()
        return self.flatMap(lambda a: [(a, b) for b in right])

    def intersection(self, other):
        return self.map(lambda v: (v, None)).cogroup(other.map(lambda v: (v, None))).filter(lambda kv: all(kv[1])).keys()

    def subtract(self, other, numPartitions=None):
        return self.map(lambda x: (x, True)).subtractByKey(other.map(lambda x: (x, True)), numPartitions).keys()

    def subtractByKey(self, other, numPartitions=None):
        only_left = self.cogroup(other, numPartitions).filter(lambda kv: kv[1][0] and not kv[1][1])
        return only_left.flatMapValues(operator.itemgetter(0))

    # Moving records

    def partitionBy(self, numPartitions, partitionFunc=portable_hash):
        if numPartitions is None:
            numPartitions = self._defaultReducePartitions()
        partitioner = Partitioner(numPartitions, partitionFunc)
        if self.partitioner == partitioner:
            return self
        source, steps = self._chain()
        return RDD(source.shuffle(numPartitions, buckets(numPartitions, partitionFunc, fused(steps))), self.ctx, partitioner)

    def repartition(self, numPartitions):
        return self.coalesce(numPartitions, shuffle=True)

    def coalesce(self, numPartitions, shuffle=False):
        if numPartitions < 1:
            raise ValueError("Number of partitions must be positive.")
        if not shuffle:
            return RDD(self._jrdd.coalesce(numPartitions), self.ctx)

        def deal(index, lists):
            block = list(itertools.chain.from_iterable(lists))
            # Each partition starts at another target, so that many small ones still spread.
            return [block[(target - index) % numPartitions::numPartitions] for target in range(numPartitions)]

        return RDD(self._jrdd.shuffle(numPartitions, deal), self.ctx)

    def _chain(self):
        """The engine's RDD that a chain of narrow operators begins with, and the steps behind it."""
        return self._jrdd, ()

    def _defaultReducePartitions(self):
        if self.ctx._conf.contains("spark.default.parallelism"):
            return self.ctx.defaultParallelism
        return self.getNumPartitions()

    def distinct(self, numPartitions=None):
        return self.map(lambda x: (x, None)).reduceByKey(lambda x, _: x, numPartitions).keys()

    def sortByKey(self, ascending=True, numPartitions=None, keyfunc=lambda x: x):
        if numPartitions is None:
            numPartitions = self._defaultReducePartitions()

        def in_order(iterator):
            return sorted(iterator, key=lambda pair: keyfunc(pair[0]), reverse=not ascending)

        if numPartitions == 1:
            return (self.coalesce(1) if self.getNumPartitions() > 1 else self).mapPartitions(in_order, True)
        keys = sorted(keyfunc(key) for key in self.keys()._sampled(numPartitions * SORT_SAMPLES_PER_PARTITION))
        if not keys:
            return self
        bounds = [keys[len(keys) * (i + 1) // numPartitions] for i in range(numPartitions - 1)]

        def by_range(key):
            at = bisect.bisect_left(bounds, keyfunc(key))
            return at if ascending else numPartitions - 1 - at

        return self.partitionBy(numPartitions, by_range).mapPartitions(in_order, True)

    def _sampled(self, wanted):
        """About `wanted` items spread over all partitions."""
        partitions = self.getNumPartitions()
        each = -(-wanted // max(partitions, 1))

        def some(index, iterator):
            items = list(iterator)
            return items if len(items) <= each else random.Random(index).sample(items, each)

        return self.mapPartitionsWithIndex(some).collect()

    def sortBy(self, keyfunc, ascending=True, numPartitions=None):
        return self.keyBy(keyfunc).sortByKey(ascending, numPartitions).values()

    # By key

    def combineByKey(self, createCombiner, mergeValue, mergeCombiners, numPartitions=None, partitionFunc=portable_hash):
        return self._combined(Aggregator(createCombiner, mergeValue, mergeCombiners), numPartitions, partitionFunc)

    def _combined(self, aggregator, numPartitions, partitionFunc):
        if numPartitions is None:
            numPartitions = self._defaultReducePartitions()
        combined = PipelinedRDD(self, "combine", aggregator, True)
        shuffled = combined.partitionBy(numPartitions, partitionFunc)
        if shuffled is combined:
            return combined
        return PipelinedRDD(shuffled, "combine", aggregator.of_combiners(), True)

    def reduceByKey(self, func, numPartitions=None, partitionFunc=portable_hash):
        return self.combineByKey(owned, func, func, numPartitions, partitionFunc)

    def aggregateByKey(self, zeroValue, seqFunc, combFunc, numPartitions=None, partitionFunc=portable_hash):
        import copy
        return self.combineByKey(lambda v: seqFunc(copy.deepcopy(zeroValue), v), seqFunc, combFunc, numPartitions, partitionFunc)

    def foldByKey(self, zeroValue, func, numPartitions=None, partitionFunc=portable_hash):
        return self.aggregateByKey(zeroValue, func, func, numPartitions, partitionFunc)

    def groupByKey(self, numPartitions=None, partitionFunc=portable_hash):
        def append(values, value):
            values.append(value)
            return values

        def extend(a, b):
            a.extend(b)
            return a

        # A list of its own is enough: grouping changes no value.
        return self._combined(Aggregator(lambda x: [x], append, extend, own=list), numPartitions, partitionFunc).mapValues(ResultIterable)

    def groupBy(self, f, numPartitions=None, partitionFunc=portable_hash):
        return self.map(lambda x: (f(x), x)).groupByKey(numPartitions, partitionFunc)

    def cogroup(self, other, numPartitions=None):
        return _cogroup([self, other], numPartitions)

    def groupWith(self, other, *others):
        return _cogroup([self, other, *others], None)

    def join(self, other, numPartitions=None):
        return self.cogroup(other, numPartitions).flatMapValues(lambda groups: itertools.product(*groups))

    def leftOuterJoin(self, other, numPartitions=None):
        return self.cogroup(other, numPartitions).flatMapValues(lambda groups: itertools.product(groups[0], groups[1].data or [None]))

    def rightOuterJoin(self, other, numPartitions=None):
        return self.cogroup(other, numPartitions).flatMapValues(lambda groups: itertools.product(groups[0].data or [None], groups[1]))

    def fullOuterJoin(self, other, numPartitions=None):
        return self.cogroup(other, numPartitions).flatMapValues(
            lambda groups: itertools.product(groups[0].data or [None], groups[1].data or [None]))

    def lookup(self, key):
        values = self.filter(lambda kv: kv[0] == key).values()
        if self.partitioner is not None:
            return self.ctx.runJob(values, lambda x: x, [self.partitioner(key)])
        return values.collect()

    # Actions

    def collect(self):
        return self.ctx.runJob(self, lambda iterator: iterator)

    def toLocalIterator(self):
        for partition in range(self.getNumPartitions()):
            yield from self.ctx.runJob(self, lambda iterator: iterator, [partition])

    def collectAsMap(self):
        return dict(self.collect())

    def count(self):
        return sum(self.mapPartitions(lambda iterator: [sum(1 for _ in iterator)]).collect())

    def countApprox(self, timeout, confidence=0.95):
        return self.count()

    def isEmpty(self):
        return self.getNumPartitions() == 0 or len(self.take(1)) == 0

    def take(self, num):
        """The first `num` items: runs one partition first, then more, until there are enough."""
        items, seen, partitions = [], 0, self.getNumPartitions()
        while len(items) < num and seen < partitions:
            count = 1 if seen == 0 else min(seen * TAKE_SCALE_UP, partitions - seen)
            left = num - len(items)
            items += self.ctx.runJob(self, lambda iterator: itertools.islice(iterator, left), range(seen, min(seen + count, partitions)))[:left]
            seen += count
        return items

    def first(self):
        items = self.take(1)
        if items:
            return items[0]
        raise ValueError("RDD is empty")

    def top(self, num, key=None):
        parts = self.mapPartitions(lambda iterator: [heapq.nlargest(num, iterator, key=key)]).collect()
        return heapq.nlargest(num, itertools.chain.from_iterable(parts), key=key)

    def takeOrdered(self, num, key=None):
        parts = self.mapPartitions(lambda iterator: [heapq.nsmallest(num, iterator, key=key)]).collect()
        return heapq.nsmallest(num, itertools.chain.from_iterable(parts), key=key)

    def takeSample(self, withReplacement, num, seed=None):
        if num < 0:
            raise ValueError("Sample size cannot be negative.")
        items, generator = self.collect(), random.Random(seed)
        if withReplacement:
            return [generator.choice(items) for _ in range(num)] if items else []
        return generator.sample(items, min(num, len(items)))

    def reduce(self, f):
        def reduced(iterator):
            iterator = iter(iterator)
            for initial in iterator:
                initial = owned(initial)
                for item in iterator:
                    initial = f(initial, item)
                yield initial

        parts = self.mapPartitions(reduced).collect()
        if not parts:
            raise ValueError("Can not reduce() empty RDD")
        result = parts[0]
        for part in parts[1:]:
            result = f(result, part)
        return result

    def treeReduce(self, f, depth=2):
        return self.reduce(f)

    def fold(self, zeroValue, op):
        return self.aggregate(zeroValue, op, op)

    def aggregate(self, zeroValue, seqOp, combOp):
        import copy

        def folded(iterator):
            result = copy.deepcopy(zeroValue)
            for item in iterator:
                result = seqOp(result, item)
            yield result

        result = copy.deepcopy(zeroValue)
        for part in self.mapPartitions(folded).collect():
            result = combOp(result, part)
        return result

    def treeAggregate(self, zeroValue, seqOp, combOp, depth=2):
        return self.aggregate(zeroValue, seqOp, combOp)

    def foreach(self, f):
        def each(iterator):
            for item in iterator:
                f(item)
            return ()

        self.mapPartitions(each).count()

    def foreachPartition(self, f):
        def whole(iterator):
            result = f(iterator)
            # A generator runs only when it is read.
            for _ in result if hasattr(result, "__next__") else ():
                pass
            return ()

        self.mapPartitions(whole).count()

    def countByValue(self):
        counts = {}
        for part in self.mapPartitions(_counted).collect():
            for value, count in part.items():
                counts[value] = counts.get(value, 0) + count
        return _default_zero(counts)

    def countByKey(self):
        return self.keys().countByValue()

    def max(self, key=None):
        return self.reduce(max if key is None else lambda a, b: max(a, b, key=key))

    def min(self, key=None):
        return self.reduce(min if key is None else lambda a, b: min(a, b, key=key))

    def sum(self):
        return self.mapPartitions(lambda iterator: [sum(iterator)]).fold(0, operator.add)

    def stats(self):
        return self.mapPartitions(lambda iterator: [StatCounter(iterator)]).reduce(lambda a, b: a.mergeStats(b))

    def mean(self):
        return self.stats().mean()

    def variance(self):
        return self.stats().variance()

    def stdev(self):
        return self.stats().stdev()

    def sampleVariance(self):
        return self.stats().sampleVariance()

    def sampleStdev(self):
        return self.stats().sampleStdev()

    def saveAsTextFile(self, path, compressionCodecClass=None):
        """One `part-NNNNN` a partition, then `_SUCCESS`. Local paths only, `file:` allowed."""
        if compressionCodecClass is not None:
            raise NotImplementedError("saveAsTextFile without compression only")
        path = _local(path)
        if os.path.exists(path):
            raise FileExistsError("Output directory file:%s already exists" % os.path.abspath(path))
        os.makedirs(path)

        def write(index, iterator):
            name = os.path.join(path, "part-%05d" % index)
            with open(name + ".tmp", "w", encoding="utf-8", newline="\n") as file:
                for item in iterator:
                    file.write(item.decode("utf-8") if isinstance(item, bytes) else str(item))
                    file.write("\n")
            os.replace(name + ".tmp", name)
            return ()

        self.mapPartitionsWithIndex(write).count()
        open(os.path.join(path, "_SUCCESS"), "w").close()

    def toDF(self, *_, **__):
        raise NotImplementedError("there is no Spark SQL here: collect() the RDD and work on plain Python objects")


class PipelinedRDD(RDD):
    """Narrow operators on one parent, fused into one function of a block."""

    def __init__(self, prev, kind, function, preservesPartitioning=False):
        self._prev_jrdd, before = prev._chain()
        self._steps = (*before, (kind, function))
        self.ctx = prev.ctx
        self.is_cached = False
        self.is_checkpointed = False
        self.partitioner = prev.partitioner if preservesPartitioning else None
        self._name = None
        self._jrdd_val = None

    def _chain(self):
        # What is kept is computed once, so others begin with it.
        if self.is_cached or self.is_checkpointed:
            return self._jrdd, ()
        return self._prev_jrdd, self._steps

    def getNumPartitions(self):
        return self._prev_jrdd.num_partitions

    @property
    def _jrdd(self):
        if self._jrdd_val is None:
            self._jrdd_val = self._prev_jrdd.map_blocks(listed(self._steps))
        return self._jrdd_val


def _cogroup(rdds, numPartitions):
    """(key, (values of the first, values of the second, ...)) for every key of any."""
    if numPartitions is None:
        numPartitions = max(rdd._defaultReducePartitions() for rdd in rdds)
    count = len(rdds)

    def tagged(number):
        return lambda pair: (pair[0], (number, pair[1]))

    together = rdds[0].map(tagged(0), True)
    for number, rdd in enumerate(rdds[1:], 1):
        together = together.union(rdd.map(tagged(number), True))

    def groups(values):
        lists = [[] for _ in range(count)]
        for number, value in values:
            lists[number].append(value)
        return tuple(ResultIterable(values) for values in lists)

    return together.groupByKey(numPartitions).mapValues(groups)


def _counted(iterator):
    counts = {}
    for item in iterator:
        counts[item] = counts.get(item, 0) + 1
    yield counts


def _default_zero(counts):
    import collections
    return collections.defaultdict(int, counts)


def _local(path):
    """A local path out of `file:///x`, `file:/x` or `/x`."""
    if path.startswith("file:"):
        return "/" + path[len("file:"):].lstrip("/")
    if "://" in path:
        raise ValueError("only local files here: %s" % path)
    return path
