"""StreamingContext: the entry to DStreams."""
import os
import sys
import threading

from pyspark.ending import CannotStart
from pyspark.rdd import RDD, _local
from pyspark.storagelevel import StorageLevel
from pyspark.streaming import listener as _listener
from pyspark.streaming.dstream import DStream
from pyspark.streaming.util import milliseconds_of, unwrap, wrap
from tidemill._native import native

__all__ = ["StreamingContext"]


# How long one look lasts whether the engine has stopped. The engine itself limits a stop without grace.
STOP_LOOK_MS = 1000


class StreamingContext:
    """Runs DStreams, a batch every `batchDuration` seconds. At most one is active in a process."""

    _activeContext = None
    _lock = threading.RLock()

    def __init__(self, sparkContext, batchDuration=None, jssc=None):
        if batchDuration is None:
            raise ValueError("the batch interval is missing: StreamingContext(sc, 1)")
        self._sc = sparkContext
        self._jvm = sparkContext._jvm
        self._batch_ms = milliseconds_of(batchDuration)
        if self._batch_ms < 1:
            raise ValueError("the batch interval is %s seconds, less than a millisecond" % batchDuration)
        self._jssc = _Engine(native.StreamingContext(sparkContext._native, self._batch_ms))

    # Only one

    @classmethod
    def getOrCreate(cls, checkpointPath, setupFunc):
        """Makes a context by `setupFunc`: nothing is recovered from `checkpointPath`, and it says so where something is there."""
        _say_not_recovered(checkpointPath)
        return setupFunc()

    @classmethod
    def getActive(cls):
        """The context that was started and not yet stopped, or None."""
        active = cls._activeContext
        if active is not None and active._jssc.stopped():
            cls._activeContext = None
        return cls._activeContext

    @classmethod
    def getActiveOrCreate(cls, checkpointPath, setupFunc):
        if setupFunc is None:
            raise Exception("setupFunc cannot be None")
        active = cls.getActive()
        if active is not None:
            return active
        return cls.getOrCreate(checkpointPath, setupFunc) if checkpointPath is not None else setupFunc()

    # Running

    @property
    def sparkContext(self):
        return self._sc

    def start(self):
        """Starts the batches. Errors of jobs come out of awaitTermination."""
        with StreamingContext._lock:
            if StreamingContext.getActive() not in (None, self):
                raise ValueError("Only one StreamingContext may be started at once. Currently running StreamingContext was started before")
            self._sc._serve_ui(self._jssc.native)
            self._jssc.start()
            StreamingContext._activeContext = self

    def awaitTermination(self, timeout=None):
        """Waits for the end, or for `timeout` seconds. Raises what a job raised."""
        if timeout is None:
            self._jssc.wait(None)
        else:
            self.awaitTerminationOrTimeout(timeout)

    def awaitTerminationOrTimeout(self, timeout):
        """Waits at most `timeout` seconds; True where it ended. Raises what a job raised."""
        return self._jssc.wait(int(timeout * 1000))

    def stop(self, stopSparkContext=True, stopGraceFully=False):
        """Stops the batches; gracefully means that what was received is processed first."""
        self._jssc.stop(stopGraceFully)
        if StreamingContext._activeContext is self:
            StreamingContext._activeContext = None
        if stopSparkContext:
            self._sc.stop()

    def remember(self, duration):
        """RDDs of the last `duration` seconds are kept for slice()."""
        self._jssc.native.remember(milliseconds_of(duration))

    def checkpoint(self, directory):
        """Makes the folder, for programs that set it. State lives in memory in this version: a restart begins without it."""
        _say_not_recovered(directory)
        os.makedirs(_local(directory), exist_ok=True)

    def addStreamingListener(self, streamingListener):
        self._jssc.native.add_listener(lambda event, values: _listener.dispatch(streamingListener, event, values))

    # Sources

    def socketTextStream(self, hostname, port, storageLevel=StorageLevel.MEMORY_AND_DISK_2):
        """Lines that a server sends, reconnecting where it goes away."""
        return DStream(self._jssc.native.socket_text_stream(hostname, port), self)

    def textFileStream(self, directory):
        """Lines of files that appear in a folder; a file must appear complete, by a rename."""
        return DStream(self._jssc.native.text_file_stream(_local(directory)), self)

    def binaryRecordsStream(self, directory, recordLength):
        """Records of equal length of files that appear in a folder."""
        return DStream(self._jssc.native.binary_records_stream(_local(directory), recordLength), self)

    def queueStream(self, rdds, oneAtATime=True, default=None):
        """The RDDs (or lists) of a list, one a batch, or all of them in the first."""
        if default is not None and not isinstance(default, RDD):
            default = self._sc.parallelize(default)
        rdds = [rdd if isinstance(rdd, RDD) else self._sc.parallelize(rdd) for rdd in rdds or []]
        handles = [rdd._jrdd for rdd in rdds]
        return DStream(self._jssc.native.queue_stream(handles, oneAtATime, None if default is None else default._jrdd), self)

    # Several streams

    def transform(self, dstreams, transformFunc):
        """`transformFunc` takes the RDDs of all streams as a list and returns an RDD."""
        def compute(jrdds, _):
            return unwrap(transformFunc([wrap(jrdd, self._sc) for jrdd in jrdds]), "transform")

        first, rest = dstreams[0], dstreams[1:]
        return DStream(first._jdstream.transform([stream._jdstream for stream in rest], compute), self)

    def union(self, *dstreams):
        if not dstreams:
            raise ValueError("should have at least one DStream to union")
        if len({stream._slideDuration for stream in dstreams}) > 1:
            raise ValueError("All DStreams should have same slide duration")
        if len(dstreams) == 1:
            return dstreams[0]
        return self.transform(list(dstreams), lambda rdds: self._sc.union(rdds))


class _Engine:
    """What programs and suites reach for as `_jssc`, around the native context."""

    def __init__(self, native_context):
        self.native = native_context

    def start(self):
        try:
            self.native.start()
        except RuntimeError as error:
            if str(error).startswith("cannot start "):
                raise CannotStart(str(error)) from None
            raise

    def stop(self, graceful=False, also_graceful=None):
        # Spark's has the forms stop(stopSparkContext) and stop(stopSparkContext, stopGracefully).
        gracefully = bool(graceful if also_graceful is None else also_graceful)
        if threading.current_thread() is not threading.main_thread():
            self.native.stop(gracefully)
            return
        # On the main thread Ctrl-C ends the wait.
        while not self.native.stop_within(gracefully, STOP_LOOK_MS):
            pass

    def stopped(self):
        return self.native.is_stopped()

    def wait(self, milliseconds):
        return self.native.await_termination(milliseconds)


def _say_not_recovered(directory):
    if directory and os.path.isdir(_local(directory)) and os.listdir(_local(directory)):
        print("note: nothing is recovered from the checkpoint directory %s in this version; state starts empty" % directory, file=sys.stderr)
