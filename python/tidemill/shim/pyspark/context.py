"""SparkContext: the entry to RDDs. Tasks run on threads of this process."""
import getpass
import glob
import gzip
import importlib
import os
import re
import sys
import threading
import time

from tidemill._native import native

from pyspark import ending
from pyspark.accumulators import (COMPLEX_ACCUMULATOR_PARAM, FLOAT_ACCUMULATOR_PARAM, INT_ACCUMULATOR_PARAM, Accumulator)
from pyspark.broadcast import Broadcast
from pyspark.conf import SparkConf
from pyspark.files import SparkFiles
from pyspark.rdd import RDD, _local
from pyspark.version import __version__

__all__ = ["SparkContext"]

LOG_LEVELS = ("ALL", "DEBUG", "ERROR", "FATAL", "INFO", "OFF", "TRACE", "WARN")


class SparkContext:
    """One application. Only one may be active in a process."""

    _lock = threading.RLock()
    _active_spark_context = None
    _next_accumulator_id = 0
    # Programs and test suites look at these; there is no JVM behind them.
    _gateway = None
    _jvm = None

    PACKAGE_EXTENSIONS = (".zip", ".egg", ".jar")

    def __init__(self, master=None, appName=None, sparkHome=None, pyFiles=None, environment=None, batchSize=0, serializer=None, conf=None,
                 gateway=None, jsc=None, profiler_cls=None):
        with SparkContext._lock:
            active = SparkContext._active_spark_context
            if active is not None:
                raise ValueError("Cannot run multiple SparkContexts at once; existing SparkContext(app=%s, master=%s)"
                                 % (active.appName, active.master))
            self._conf = conf if conf is not None else SparkConf()
            if master:
                self._conf.setMaster(master)
            if appName:
                self._conf.setAppName(appName)
            self._conf.setIfMissing("spark.master", "local[*]")
            self._conf.setIfMissing("spark.app.name", os.path.basename(sys.argv[0] or "pyspark-shell"))
            for key, value in (environment or {}).items():
                self._conf.setExecutorEnv(key, value)
            self.master = self._conf.get("spark.master")
            self.appName = self._conf.get("spark.app.name")
            self.environment = environment or {}
            self.startTime = int(time.time() * 1000)
            self._native = native.Context(_threads(self.master), self.appName)
            self._checkpoint_directory = None
            self._temporary = None
            self._ui = None
            for path in (self._conf.get("spark.files") or "").split(","):
                if path:
                    self.addFile(path)
            for path in pyFiles or []:
                self.addPyFile(path)
            SparkContext._active_spark_context = self
            ending.install()

    @classmethod
    def getOrCreate(cls, conf=None):
        with SparkContext._lock:
            if SparkContext._active_spark_context is None:
                SparkContext(conf=conf or SparkConf())
            return SparkContext._active_spark_context

    def __getnewargs__(self):
        raise Exception("It appears that you are attempting to reference SparkContext from a broadcast variable, action, or transformation. "
                        "SparkContext can only be used on the driver, not in code that it run on workers. For more information, see SPARK-5063.")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def __repr__(self):
        return "<SparkContext master=%s appName=%s>" % (self.master, self.appName)

    @property
    def version(self):
        return __version__

    @property
    def applicationId(self):
        return "local-%d" % self.startTime

    @property
    def uiWebUrl(self):
        """Where metrics and health of a started streaming job are; None where they are not."""
        return self._ui.url if self._ui is not None else None

    def _serve_ui(self, native_streaming_context):
        """Opens the port of a streaming job that is about to start."""
        if self._ui is not None:
            self._ui.stop()
        self._ui = native.Ui(native_streaming_context, dict(self._conf.getAll()), self.applicationId)
        if self.uiWebUrl is not None and sys.stderr is not None and sys.stderr.isatty():
            print("metrics and health on %s" % self.uiWebUrl, file=sys.stderr)

    @property
    def defaultParallelism(self):
        return int(self._conf.get("spark.default.parallelism") or self._native.threads)

    @property
    def defaultMinPartitions(self):
        return min(self.defaultParallelism, 2)

    def getConf(self):
        conf = SparkConf(loadDefaults=False)
        conf.setAll(self._conf.getAll())
        return conf

    def sparkUser(self):
        return getpass.getuser()

    def stop(self):
        with SparkContext._lock:
            if self._ui is not None:
                self._ui.stop()
                self._ui = None
            if self._native is not None:
                self._native.stop()
                self._native = None
            if SparkContext._active_spark_context is self:
                SparkContext._active_spark_context = None

    def setLogLevel(self, logLevel):
        """Checked and accepted: the engine itself logs nothing that a level would hide."""
        if str(logLevel).upper() not in LOG_LEVELS:
            raise ValueError("requirement failed: Supplied level %s did not match one of: %s" % (logLevel, ",".join(LOG_LEVELS)))

    def setCheckpointDir(self, dirName):
        self._checkpoint_directory = _local(dirName)
        os.makedirs(self._checkpoint_directory, exist_ok=True)

    def setLocalProperty(self, key, value):
        """Properties of a job group mean nothing without a scheduler to read them."""

    def setJobGroup(self, groupId, description, interruptOnCancel=False):
        """See setLocalProperty."""

    # RDDs

    def emptyRDD(self):
        return RDD(self._native.parallelize([]), self)

    def parallelize(self, c, numSlices=None):
        items = c if isinstance(c, range) else list(c)
        count = int(numSlices) if numSlices is not None else self.defaultParallelism
        if count < 1:
            raise ValueError("Positive number of slices required")
        length = len(items)
        blocks = [list(items[length * i // count:length * (i + 1) // count]) for i in range(count)]
        return RDD(self._native.parallelize(blocks), self)

    def range(self, start, end=None, step=1, numSlices=None):
        if end is None:
            start, end = 0, start
        return self.parallelize(range(start, end, step), numSlices)

    def textFile(self, name, minPartitions=None, use_unicode=True):
        """Lines of files: a path, a folder, a pattern, or several with commas between. `.gz` is unpacked."""
        paths = _files(name)
        per_file = max(1, -(-(minPartitions or self.defaultMinPartitions) // max(len(paths), 1)))
        parts = [(path, i, per_file) for path in paths for i in range(per_file)]

        def lines(part):
            path, i, count = part
            opened = gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")
            with opened as file:
                texts = file.read().split(b"\n")
            if texts and not texts[-1]:
                texts.pop()
            mine = texts[len(texts) * i // count:len(texts) * (i + 1) // count]
            return [text.rstrip(b"\r").decode("utf-8", "replace") if use_unicode else text.rstrip(b"\r") for text in mine]

        return self.parallelize(parts, max(len(parts), 1)).flatMap(lines)

    def wholeTextFiles(self, path, minPartitions=None, use_unicode=True):
        def whole(file_path):
            with open(file_path, "rb") as file:
                data = file.read()
            return "file:" + os.path.abspath(file_path), data.decode("utf-8", "replace") if use_unicode else data

        paths = _files(path)
        return self.parallelize(paths, max(1, min(len(paths), minPartitions or self.defaultMinPartitions))).map(whole)

    def binaryRecords(self, path, recordLength):
        def records(file_path):
            with open(file_path, "rb") as file:
                data = file.read()
            return [data[at:at + recordLength] for at in range(0, len(data) - recordLength + 1, recordLength)]

        paths = _files(path)
        return self.parallelize(paths, max(len(paths), 1)).flatMap(records)

    def union(self, rdds):
        first, rest = rdds[0], rdds[1:]
        return RDD(first._jrdd.union([rdd._jrdd for rdd in rest]), self)

    def runJob(self, rdd, partitionFunc, partitions=None, allowLocal=False):
        """Runs a function on partitions of an RDD and gives its items in order. An exception of the function is raised here as it is."""
        partitions = range(rdd.getNumPartitions()) if partitions is None else partitions
        jrdd = rdd.mapPartitions(partitionFunc)._jrdd
        if threading.current_thread() is threading.main_thread():
            blocks = self._run_watching_for_signals(lambda: jrdd.run(list(partitions)))
        else:
            blocks = jrdd.run(list(partitions))
        return [item for block in blocks for item in block]

    def cancelAllJobs(self):
        """Jobs under way fail; no waiting task of theirs starts."""
        self._native.cancel_all_jobs()

    def _run_watching_for_signals(self, job):
        """Runs a job in another thread, because the main one is where Python's signal handlers run: Ctrl-C ends the job."""
        results, errors = [], []

        def run():
            try:
                results.append(job())
            except BaseException as error:  # it is the caller's
                errors.append(error)

        thread = threading.Thread(target=run, name="job", daemon=True)
        thread.start()
        try:
            thread.join()
        except BaseException:
            if self._native is not None:
                self.cancelAllJobs()
            raise
        if errors:
            raise errors.pop()
        return results.pop()

    # Shared values

    def broadcast(self, value):
        return Broadcast(self, value)

    def accumulator(self, value, accum_param=None):
        if accum_param is None:
            for kind, param in ((int, INT_ACCUMULATOR_PARAM), (float, FLOAT_ACCUMULATOR_PARAM), (complex, COMPLEX_ACCUMULATOR_PARAM)):
                if isinstance(value, kind):
                    accum_param = param
                    break
            else:
                raise TypeError("No default accumulator param for type %s" % type(value))
        SparkContext._next_accumulator_id += 1
        return Accumulator(SparkContext._next_accumulator_id - 1, value, accum_param)

    def addFile(self, path, recursive=False):
        SparkFiles._add(_local(path))

    def addPyFile(self, path):
        path = _local(path)
        SparkFiles._add(path)
        folder = path if path.lower().endswith(self.PACKAGE_EXTENSIONS) else os.path.dirname(os.path.abspath(path))
        if folder not in sys.path:
            sys.path.insert(1, folder)
        importlib.invalidate_caches()


def _threads(master):
    """Task threads of `local`, `local[3]`, `local[3,2]` (with failures) or `local[*]`."""
    if master == "local":
        return 1
    found = re.fullmatch(r"local\[\s*(\d+|\*)\s*(?:,\s*\d+\s*)?\]", master)
    if not found:
        raise ValueError("Could not parse Master URL: '%s' (this engine runs local, local[N] and local[*])" % master)
    if found.group(1) == "*":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = int(found.group(1))
    if count < 1:
        raise ValueError("Asked to run locally with %d threads" % count)
    return count


def _files(name):
    """The files that a path of textFile means, sorted; hidden files are left out, as in Hadoop."""
    found = []
    for part in name.split(","):
        matches = sorted(glob.glob(_local(part)))
        if not matches:
            raise FileNotFoundError("Input path does not exist: file:%s" % os.path.abspath(_local(part)))
        for match in matches:
            if os.path.isdir(match):
                found += [os.path.join(match, entry) for entry in sorted(os.listdir(match)) if not entry.startswith((".", "_"))]
            else:
                found.append(match)
    return found
