"""The part of PySpark that streaming programs use, on Tidemill's engine.

The names, signatures and meanings are those of PySpark 2.4; everything runs in this process.
"""
from pyspark.accumulators import Accumulator, AccumulatorParam
from pyspark.broadcast import Broadcast
from pyspark.conf import SparkConf
from pyspark.context import SparkContext
from pyspark.files import SparkFiles
from pyspark.rdd import RDD
from pyspark.storagelevel import StorageLevel
from pyspark.version import __version__

__all__ = ["Accumulator", "AccumulatorParam", "Broadcast", "RDD", "SparkConf", "SparkContext", "SparkFiles", "StorageLevel"]
