"""How pairs find their partition, and how their values are combined there."""
import copy
import sys

# Values that nobody can change, so that one object may stand for all its copies.
UNCHANGEABLE = frozenset((int, float, str, bytes, bool, complex, type(None)))


def portable_hash(x):
    """Hash of a key, the same for equal keys whatever their type; tuples and None as PySpark hashes them."""
    if x is None:
        return 0
    if isinstance(x, tuple):
        result = 0x345678
        for item in x:
            result ^= portable_hash(item)
            result *= 1000003
            result &= sys.maxsize
        result ^= len(x)
        return -2 if result == -1 else int(result)
    return hash(x)


def owned(value):
    """A value that a user's function may change in place without changing the record, the state or the shuffled block it comes from.

    Spark hands every function values fresh from a pickle; here records are shared, and copied only where a function is invited to change them.
    """
    kind = type(value)
    if kind in UNCHANGEABLE or (kind is tuple and all(type(item) in UNCHANGEABLE for item in value)):
        return value
    return copy.deepcopy(value)


class Aggregator:
    """The three functions of combineByKey, and `own`, which makes a combiner that may be changed of one that is shared."""

    def __init__(self, createCombiner, mergeValue, mergeCombiners, own=owned):
        self.own = own
        self.createCombiner = createCombiner
        self.mergeValue = mergeValue
        self.mergeCombiners = mergeCombiners

    def combine_values(self, _, pairs):
        """(key, value) pairs of one partition to one (key, combiner) each, in the order the keys first came."""
        create, merge = self.createCombiner, self.mergeValue
        combined = {}
        for key, value in pairs:
            combined[key] = merge(combined[key], value) if key in combined else create(value)
        return combined.items()

    def combine_combiners(self, _, pairs):
        """(key, combiner) pairs to one each."""
        merge, own = self.mergeCombiners, self.own
        combined = {}
        for key, combiner in pairs:
            combined[key] = merge(combined[key], combiner) if key in combined else own(combiner)
        return combined.items()


def buckets(partitions, partition_function):
    """The map side of a shuffle: a block of pairs to one list per target partition."""
    if partitions == 1:
        return lambda _, block: [list(block)]

    def split(_, block):
        lists = [[] for _ in range(partitions)]
        for pair in block:
            lists[partition_function(pair[0]) % partitions].append(pair)
        return lists

    return split
