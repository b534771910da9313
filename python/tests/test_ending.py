"""How programs end: by a signal, an exception, a last line. Each is a process of its own; `submitted` is what spark-submit makes of it."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

PYTHON = pathlib.Path(__file__).resolve().parent.parent
LIMIT_S = 60
# Of a program with a batch each 0.1 s.
QUEUE_UP_S = 0.5
LATE = re.compile(r"warn: processing .* batches queued")
PORT_HELD = re.compile(r"warn: Service 'SparkUI' could not bind on port ")

PROGRAM = """
import sys, time
from pyspark import SparkContext
from pyspark.streaming import StreamingContext

def work(x):
    if sys.argv[1] == "loop":
        print("ready", flush=True)
        while True:
            pass
    if sys.argv[1] == "fail":
        raise ValueError("boom")
    return x

sc = SparkContext("local[2]", "ending")
ssc = StreamingContext(sc, 0.1)
ssc.queueStream([[i] for i in range(1000)]).map(work).foreachRDD(lambda rdd: rdd.collect())
ssc.start()
if sys.argv[1] == "exit":
    sys.exit(3)
if sys.argv[1] == "job":
    sc.parallelize([0], 1).foreach(lambda _: (print("ready", flush=True), time.sleep(2)))
if sys.argv[1] == "caught":
    try:
        print("ready", flush=True)
        ssc.awaitTermination()
    except KeyboardInterrupt:
        ssc.stop()
        print("stopped", flush=True)
        sys.exit(5)
if sys.argv[1] != "last line":
    if sys.argv[1] == "wait":
        print("ready", flush=True)
    ssc.awaitTermination()
"""


@pytest.mark.parametrize("submitted, what, number, code, said", [
    (True, "wait", signal.SIGINT, 130, ""),
    (True, "wait", signal.SIGTERM, 143, ""),
    (True, "loop", signal.SIGINT, 130, ""),
    (True, "job", signal.SIGINT, 130, ""),
    (True, "caught", signal.SIGINT, 5, ""),
    (True, "fail", None, 1, "ValueError: boom"),
    (True, "exit", None, 3, ""),
    (True, "last line", None, 0, ""),
    (False, "loop", signal.SIGINT, -signal.SIGINT, "KeyboardInterrupt"),
    (False, "wait", signal.SIGTERM, -signal.SIGTERM, ""),
    (False, "last line", None, 0, ""),
])
def test_a_program_ends(submitted, what, number, code, said):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PYTHON / "tidemill/shim"), str(PYTHON)])}
    environment.pop("TIDEMILL_SPARK_CONF", None)
    if submitted:
        environment["TIDEMILL_SPARK_CONF"] = "{}"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, what], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               # Whoever started the tests in the background had SIGINT ignored, and children inherit that.
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        if number is not None:
            assert process.stdout.readline() == "ready\n"
            if what == "loop":
                # Batches queue up behind the one that loops, which would be told once it ends.
                time.sleep(QUEUE_UP_S)
            process.send_signal(number)
        _, err = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    # Whether Spark's port is held by somebody else says nothing of how a program ends.
    lines = [line for line in err.splitlines() if not PORT_HELD.match(line)]
    if what != "loop":
        # A slow machine is told of, and with right, before the end comes; a batch that loops has nothing to tell until then.
        lines = [line for line in lines if not LATE.fullmatch(line)]
    assert (process.returncode, lines[-1:]) == (code, [said] if said else []), err
    assert not any(LATE.fullmatch(line) for line in lines), err


def test_an_exception_is_shown_with_the_lines_of_the_program_alone(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    err = submitted_err([str(script), "fail"])
    places = [line.strip() for line in err.splitlines() if line.strip().startswith("File ")]
    assert places and all(str(script) in place for place in places), err
    assert any(place.endswith("in work") for place in places), err


def test_a_source_that_cannot_start_is_told_without_a_traceback():
    source = 'from pyspark.streaming.kafka import KafkaUtils; KafkaUtils.createStream(ssc, "127.0.0.1:1", "g", {"t": 1}).pprint()\nssc.start()'
    program = PROGRAM.split("ssc.queueStream")[0] + source
    err = submitted_err(["-c", program, "none"])
    lines = [line for line in err.splitlines() if not line.startswith("  warnings") and "DeprecationWarning" not in line]
    assert "Traceback" not in err and lines[0].startswith("error: cannot start Kafka stream of group g"), err
    assert lines[-1] == "help: bin/zookeeper-server-start.sh config/zookeeper.properties", err


def submitted_err(arguments):
    """Stderr of a program that spark-submit runs and that fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PYTHON / "tidemill/shim"), str(PYTHON)]), "TIDEMILL_SPARK_CONF": "{}"}
    done = subprocess.run([sys.executable, *arguments], env=environment, text=True, capture_output=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 1, done.stderr
    return done.stderr
