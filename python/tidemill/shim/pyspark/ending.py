"""How a program ends: by Ctrl-C, by SIGTERM, by an exception, by its last line.

However it ends, the engine is stopped before the interpreter goes away: offsets of finished batches are written, the consumer group's nodes
are given back, and no thread of the engine comes back into an interpreter that is no more. Under `spark-submit` Ctrl-C and SIGTERM end a
program as they end Spark's: exit codes 130 and 143 and no traceback. An exception is shown with the program's own lines, without those of this
package, and a source that cannot be started with cause and help instead of lines. A program that plain `python` runs keeps Python's own ways.
"""
import atexit
import ctypes
import os
import signal
import pathlib
import sys
import threading
import traceback

from pyspark.conf import CONF_VARIABLE

# How long the batch under way may go on, then how long it may take to notice that it may not; after that it is left behind.
GRACE_MS = 1000
LEFT_BEHIND_MS = 3000
LOOK_MS = 1000

# The folder of this package: its lines tell the user of a traceback nothing.
PACKAGE = str(pathlib.Path(__file__).resolve().parents[2]) + os.sep

_installed = False


class CannotStart(RuntimeError):
    """A source of the program cannot be started; the message says which and why."""


def install():
    """Called by the first SparkContext of the process."""
    global _installed
    if _installed:
        return
    _installed = True
    atexit.register(_at_exit)
    if CONF_VARIABLE not in os.environ or threading.current_thread() is not threading.main_thread():
        return
    # What the program has set for itself stays.
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_terminate)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _hook


def _on_terminate(number, _):
    raise SystemExit(128 + number)


def _hook(kind, error, trace):
    if issubclass(kind, KeyboardInterrupt):
        sys.exit(128 + signal.SIGINT)
    if issubclass(kind, CannotStart):
        print("error: %s" % error, file=sys.stderr)
        if "ZooKeeper" in str(error):
            print("help: bin/zookeeper-server-start.sh config/zookeeper.properties", file=sys.stderr)
        return
    failure = getattr(error, "_spark_failure", None)
    if failure is not None:
        # What Spark says of such a job, and people search for; the exception itself follows.
        print("error: %s, most recent failure:" % failure, file=sys.stderr)
    shown = traceback.TracebackException(kind, error, trace)
    _leave_out_package(shown, set())
    print("".join(shown.format()), end="", file=sys.stderr)


def _leave_out_package(shown, seen):
    """Leaves only the program's lines in a traceback and in those of its causes; all lines where none is the program's."""
    if shown is None or id(shown) in seen:
        return
    seen.add(id(shown))
    lines = [line for line in shown.stack if not os.path.abspath(line.filename).startswith(PACKAGE)]
    if lines:
        shown.stack = traceback.StackSummary.from_list(lines)
    _leave_out_package(shown.__cause__, seen)
    _leave_out_package(shown.__context__, seen)


def _at_exit():
    from pyspark.context import SparkContext
    from pyspark.streaming.context import StreamingContext
    try:
        streaming, spark = StreamingContext._activeContext, SparkContext._active_spark_context
        if streaming is not None:
            _stop(streaming)
        if spark is not None:
            spark.stop()
    except KeyboardInterrupt:
        # Ctrl-C once more, while the engine stops: now at once.
        os._exit(128 + signal.SIGINT)


def _stop(streaming):
    engine = streaming._jssc.native
    if streaming._sc._conf.get("spark.streaming.stopGracefullyOnShutdown", "false").lower() == "true":
        while not engine.stop_within(True, LOOK_MS):
            pass
    elif not engine.stop_within(False, GRACE_MS):
        _interrupt_functions()
        engine.stop_within(False, LEFT_BEHIND_MS)


def _interrupt_functions():
    """Raises SystemExit in the user's functions that engine threads are running. One that is inside a call of C stays there."""
    of_python = {thread.ident for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread)}
    for ident in sys._current_frames():
        if ident not in of_python:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))
