"""How pairs find their partition, and how their values are combined there."""
import copy
import sys

# Values that nobody can change, so that one object may stand for all its copies.
UNCHANGEABLE = frozenset((int, float, str, bytes, bool, complex, type(None)))


# Keys whose portable hash is their hash.
HASHED_PLAINLY = frozenset((str, int, float, bytes, bool))


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

    def of_combiners(self):
        """What the reduce side does: combiners are its values."""
        return Aggregator(self.own, self.mergeCombiners, self.mergeCombiners, self.own)


def buckets(partitions, partition_function, items_of):
    """The map side of a shuffle: what `items_of` makes of a partition, pairs, as one list per target partition."""
    if partitions == 1:
        return lambda partition, lists: [list(items_of(partition, lists))]
    # The usual function is not called for the usual keys.
    is_usual = partition_function is portable_hash

    def split(partition, lists):
        targets = [[] for _ in range(partitions)]
        for pair in items_of(partition, lists):
            key = pair[0]
            number = hash(key) if is_usual and type(key) in HASHED_PLAINLY else partition_function(key)
            targets[number % partitions].append(pair)
        return targets

    return split
