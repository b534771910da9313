"""Between the engine's handles and PySpark's objects."""
from datetime import datetime

from pyspark.rdd import RDD


def time_of(milliseconds):
    """A batch time as user functions get it."""
    return datetime.fromtimestamp(milliseconds / 1000.0)


def milliseconds_of(time):
    """The batch time of a datetime or of a number of seconds."""
    if isinstance(time, datetime):
        return int(round(time.timestamp() * 1000))
    return int(round(time * 1000))


def wrap(jrdd, ctx):
    """The RDD of an engine handle; None stays None."""
    return None if jrdd is None else RDD(jrdd, ctx)


def unwrap(rdd, what):
    """The engine handle of what a user's function returned."""
    if rdd is None:
        return None
    if not isinstance(rdd, RDD):
        raise TypeError("the function of %s must return an RDD, not %s" % (what, type(rdd).__name__))
    return rdd._jrdd


def rddToFileName(prefix, suffix, timestamp):
    """`prefix-<ms>[.suffix]` of a batch time."""
    if isinstance(timestamp, datetime):
        timestamp = milliseconds_of(timestamp)
    return "%s-%d" % (prefix, timestamp) if suffix is None else "%s-%d.%s" % (prefix, timestamp, suffix)
