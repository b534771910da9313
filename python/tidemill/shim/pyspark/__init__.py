"""The part of PySpark that streaming programs use, on Tidemill's engine.

The names, signatures and meanings are those of PySpark 2.4; everything runs in this process.
"""
import sys

# Before anything is imported that an old interpreter cannot even read.
if sys.version_info < (3, 9):
    sys.stderr.write("error: Python %d.%d cannot run this\n" % sys.version_info[:2])
    sys.stderr.write("cause: this pyspark needs Python 3.9 or newer; %s is older\n" % sys.executable)
    sys.stderr.write("help: PYSPARK_PYTHON=python3 bin/spark-submit %s\n" % " ".join(sys.argv))
    sys.exit(1)

from pyspark.accumulators import Accumulator, AccumulatorParam
from pyspark.broadcast import Broadcast
from pyspark.conf import SparkConf
from pyspark.context import SparkContext
from pyspark.files import SparkFiles
from pyspark.rdd import RDD
from pyspark.storagelevel import StorageLevel
from pyspark.version import __version__

__all__ = ["Accumulator", "AccumulatorParam", "Broadcast", "RDD", "SparkConf", "SparkContext", "SparkFiles", "StorageLevel"]
