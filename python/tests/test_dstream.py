"""DStream operators: input batches, expected output batches."""
import operator
import os

import pytest
from conftest import LIMIT_S, wait_for


def _changes_the_state_it_is_given(new, state):
    state = state if state is not None else []
    state.extend(new)
    return state


@pytest.mark.parametrize("inputs, operate, expected", [
    ([[1, 2], [3]], lambda s: s.map(str), [["1", "2"], ["3"]]),
    ([[1, 2, 3], [4]], lambda s: s.filter(lambda x: x % 2), [[1, 3], []]),
    ([["a b", "c"], []], lambda s: s.flatMap(lambda line: line.split(" ")), [["a", "b", "c"], []]),
    ([[1, 2, 3], []], lambda s: s.count(), [[3], [0]]),
    ([[1, 2, 3], [4]], lambda s: s.reduce(operator.add), [[6], [4]]),
    ([["a", "b", "a"]], lambda s: s.countByValue(), [[("a", 2), ("b", 1)]]),
    ([[("a", 1), ("a", 2), ("b", 3)]], lambda s: s.reduceByKey(operator.add), [[("a", 3), ("b", 3)]]),
    ([[("a", 1), ("a", 2)]], lambda s: s.groupByKey().mapValues(list), [[("a", [1, 2])]]),
    ([[("a", 1)]], lambda s: s.mapValues(lambda v: v + 1), [[("a", 2)]]),
    ([[1], [2]], lambda s: s.union(s.map(lambda x: -x)), [[1, -1], [2, -2]]),
    ([[3, 1, 2]], lambda s: s.transform(lambda rdd: rdd.sortBy(lambda x: x)), [[1, 2, 3]]),
    ([[("a", 1)], [("b", 2)]], lambda s: s.join(s.mapValues(lambda v: v * 10)), [[("a", (1, 10))], [("b", (2, 20))]]),
    ([[1], [2], [3]], lambda s: s.window(0.2, 0.1), [[1], [1, 2], [2, 3]]),
    ([[1], [2], [3]], lambda s: s.countByWindow(0.2, 0.1), [[1], [2], [2]]),
    ([["a"], ["a"], []], lambda s: s.map(lambda x: (x, 1)).updateStateByKey(lambda new, old: sum(new) + (old or 0)),
     [[("a", 1)], [("a", 2)], [("a", 2)]]),
    ([[("a", 1)], [("a", 2)], []], lambda s: s.updateStateByKey(_changes_the_state_it_is_given),
     [[("a", [1])], [("a", [1, 2])], [("a", [1, 2])]]),
    ([["a"], ["a"], [], []],
     lambda s: s.map(lambda x: (x, 1)).reduceByKeyAndWindow(operator.add, operator.sub, 0.2, 0.1, filterFunc=lambda kv: kv[1] > 0),
     [[("a", 1)], [("a", 2)], [("a", 1)], []]),
])
def test_operators(run, inputs, operate, expected):
    assert run(inputs, operate) == expected


def test_pprint_prints_sparks_block(run, capsys):
    from datetime import datetime
    times = []

    def operate(stream):
        stream.pprint(2)
        return stream.transform(lambda time, rdd: times.append(time) or rdd)

    run([["a", "b", "c"]], operate)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == lines[2] == "-" * 43
    assert lines[1] == f"Time: {times[0]}" and isinstance(times[0], datetime)
    assert lines[3:7] == ["a", "b", "...", ""]


def test_a_failing_function_leaves_await_termination_and_later_batches_go_on(sc):
    from pyspark.streaming import StreamingContext
    ssc = StreamingContext(sc, 0.1)
    seen = []
    ssc.queueStream([[0], [1], [2]]).map(lambda x: 1 / x).foreachRDD(lambda rdd: seen.extend(rdd.collect()))
    ssc.start()
    with pytest.raises(ZeroDivisionError):
        ssc.awaitTerminationOrTimeout(LIMIT_S)
    wait_for(lambda: len(seen) >= 2)
    ssc.stop(stopSparkContext=False)
    assert seen == [1.0, 0.5]


def test_a_window_must_be_a_multiple_of_the_batch(sc):
    from pyspark.streaming import StreamingContext
    ssc = StreamingContext(sc, 0.2)
    stream = ssc.queueStream([[("a", 1)]])
    with pytest.raises(ValueError):
        stream.reduceByKeyAndWindow(operator.add, None, 0.3, 0.2)
    ssc.stop(stopSparkContext=False)


def test_listeners_are_told_of_batches(sc):
    from pyspark.streaming import StreamingContext, StreamingListener
    told = []

    class Listener(StreamingListener):
        def onBatchCompleted(self, completed):
            info = completed.batchInfo()
            told.append((info.batchTime().milliseconds(), info.processingDelay(), info.outputOperationInfos()[0].failureReason()))

    ssc = StreamingContext(sc, 0.1)
    ssc.addStreamingListener(Listener())
    ssc.queueStream([[1]]).foreachRDD(lambda rdd: rdd.count())
    ssc.start()
    wait_for(lambda: told, ssc)
    ssc.stop(stopSparkContext=False)
    time, delay, failure = told[0]
    assert time % 100 == 0 and delay >= 0 and failure is None


def test_saved_batches_are_folders_of_text(run, tmp_path):
    prefix = str(tmp_path / "out")
    run([["a", "b"]], lambda stream: stream.saveAsTextFiles(prefix, "txt") or stream)
    folders = sorted(name for name in os.listdir(tmp_path))
    assert folders and all(name.startswith("out-") and name.endswith(".txt") for name in folders)
    assert os.path.exists(tmp_path / folders[0] / "_SUCCESS")


def test_new_files_become_lines(sc, tmp_path):
    from pyspark.streaming import StreamingContext
    ssc = StreamingContext(sc, 0.2)
    lines, batches = [], []
    ssc.textFileStream(str(tmp_path)).foreachRDD(lambda rdd: batches.append(1) or lines.extend(rdd.collect()))
    ssc.start()
    # A file's time of writing is that of the system's last tick, so one written at once may seem to be older than the stream.
    wait_for(lambda: batches, ssc)
    (tmp_path / ".hidden").write_text("not this\n")
    (tmp_path / ".written").write_text("one\ntwo\n")
    os.rename(tmp_path / ".written", tmp_path / "written")
    wait_for(lambda: lines, ssc)
    ssc.stop(stopSparkContext=False)
    assert lines == ["one", "two"]


def test_a_socket_gives_lines(sc):
    import socket
    import threading
    from pyspark.streaming import StreamingContext
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = server.accept()
        connection.sendall(b"hello world\nagain\n")
        stop.wait(20)
        connection.close()

    stop = threading.Event()
    thread = threading.Thread(target=serve)
    thread.start()
    ssc = StreamingContext(sc, 0.1)
    lines = []
    ssc.socketTextStream("127.0.0.1", server.getsockname()[1]).foreachRDD(lambda rdd: lines.extend(rdd.collect()))
    ssc.start()
    wait_for(lambda: len(lines) == 2, ssc)
    ssc.stop(stopSparkContext=False)
    stop.set()
    thread.join()
    server.close()
    assert lines == ["hello world", "again"]
