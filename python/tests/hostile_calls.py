"""Calls into the extension with whatever Python can hand over: hostile_calls.py SEED COUNT LAST.

Each call takes good arguments and puts something else in the place of some of them, and functions that are called back give something else, raise, or call in
again. Every outcome is fine but a panic, an abort, a hang and memory that nobody asked for. LAST is a file that names the call under way, for whoever finds this
process dead.
"""
import math
import os
import pathlib
import random
import resource
import sys

PYTHON = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PYTHON / "tidemill/shim"), str(PYTHON)]

from tidemill._native import native  # noqa: E402

# Address space beyond what the interpreter has when the calls begin.
MEMORY_BYTES_MAX = 2 << 30

# Of the streams that are made, which run this long now and then.
INTERVAL_MS, BATCHES = 20, 5


class Awkward:
    """Has every conversion, and each of them fails."""

    def __init__(self, error):
        self.error = error

    def fail(self, *_):
        raise self.error

    __index__ = __int__ = __float__ = __iter__ = __len__ = __hash__ = __eq__ = __str__ = __call__ = __bool__ = __getitem__ = fail


class Endless(list):
    """A list that lies about its length and grows while it is read."""

    def __len__(self):
        return 1 << 40

    def __iter__(self):
        for number in range(100):
            list.append(self, number)
            yield self


def raising(*_):
    raise ValueError("of the user")


def exiting(*_):
    raise SystemExit(3)


class Calls:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.context = native.Context(2, "hostile")
        self.rdds = [self.context.parallelize([[1, 2], [("a", 1)], []])]
        self.contexts, self.streams = [], []
        self.new_streaming()

    def new_streaming(self):
        self.contexts = [native.StreamingContext(self.context, INTERVAL_MS)]
        self.streams = [self.contexts[0].queue_stream([self.rdds[0]], True, None)]

    def value(self):
        """Anything."""
        pick = self.random.choice
        return pick([
            lambda: pick([0, 1, 2, 3, -1, 255, 1 << 16, 1 << 31, -(1 << 31), (1 << 63) - 1, -(1 << 63), 1 << 63, (1 << 64) - 1, 1 << 64, 10 ** 40]),
            lambda: pick([0.0, -0.5, math.nan, math.inf, 1e308]),
            lambda: pick(["", "t", "\0", "\ud800", "x" * 70000, "..", "/dev/null", "ключ", "localhost:99999", "1", "-1", "1e99"]),
            lambda: pick([b"", b"\xff\xfe", bytearray(3), memoryview(b"abc"), None, True, ..., Exception, type]),
            lambda: [self.value() for _ in range(self.random.randrange(4))],
            lambda: tuple(self.value() for _ in range(self.random.randrange(5))),
            lambda: {pick(["t", "group.id", "zookeeper.connect", "metadata.broker.list", "auto.offset.reset", 1, None]): self.value() for _ in range(self.random.randrange(4))},
            lambda: pick([Endless([1]), range(1 << 40), iter([1]), Awkward(ValueError("awkward")), Awkward(KeyboardInterrupt()), Awkward(MemoryError())]),
            self.function, lambda: pick(self.rdds), lambda: pick(self.streams), lambda: self.contexts[0], lambda: self.context,
        ])()

    def function(self):
        """Something to be called back: by chance a good one, one that gives anything, raises, or calls in again."""
        rdd = self.random.choice(self.rdds)
        anything = self.value if self.random.random() < 0.5 else lambda: None
        return self.random.choice([
            lambda *a: a[-1], lambda *a: [[], []], lambda *a: [1, 2], lambda *a: Endless([1]), lambda *a: rdd, lambda *a: anything(), raising, exiting,
            lambda: None, lambda *a: rdd.map_blocks(raising), lambda *a: rdd.run([0]) and [], Awkward(ValueError("awkward")),
        ])

    def damaged(self, good):
        """The arguments, some of them replaced; now and then one more or less."""
        arguments = [value if self.random.random() < 0.7 else self.value() for value in good]
        if self.random.random() < 0.03:
            arguments.append(self.value())
        if arguments and self.random.random() < 0.03:
            arguments.pop()
        return arguments

    def call(self):
        """One call; its name, and what does it."""
        pick = self.random.choice
        rdd, stream, streaming, number = pick(self.rdds), pick(self.streams), self.contexts[0], self.random.randrange(4)
        # For what would end the one that is to run, or keep it waiting for a server.
        other = native.StreamingContext(self.context, INTERVAL_MS)
        good = pick([
            (native.Context, 1, "name"),
            (self.context.parallelize, [[1], ["a"]]),
            (self.context.kafka_rdd, {"metadata.broker.list": "127.0.0.1:1"}, [("t", 0, 0, 1)], None, None, False),
            (rdd.map_blocks, self.function()),
            (rdd.union, [pick(self.rdds)]),
            (rdd.coalesce, number),
            (rdd.shuffle, number, self.function()),
            (rdd.zip, pick(self.rdds), self.function()),
            (rdd.run, [number]),
            (rdd.run, list(range(min(rdd.num_partitions, 8)))),
            (rdd.persist,), (rdd.unpersist,), (rdd.offset_ranges,),
            (native.StreamingContext, self.context, INTERVAL_MS),
            (other.stop_within, False, 1), (streaming.await_termination, 1),
            (streaming.remember, 1000),
            (streaming.add_listener, self.function()),
            (streaming.socket_text_stream, "127.0.0.1", 1),
            (streaming.text_file_stream, "/nonexistent"),
            (streaming.binary_records_stream, "/nonexistent", 10),
            (other.kafka_stream, {"t": 1}, {"zookeeper.connect": "127.0.0.1:1", "group.id": "g"}, None, None),
            (other.kafka_direct_stream, ["t"], {"metadata.broker.list": "127.0.0.1:1"}, [("t", 0, 0)], {}, None, None, False),
            (streaming.queue_stream, [rdd], True, None),
            (stream.persist,),
            (stream.transform, [pick(self.streams)], self.function()),
            (stream.foreach_rdd, self.function()),
            (stream.window, 3 * INTERVAL_MS, INTERVAL_MS),
            (stream.reduced_window, 3 * INTERVAL_MS, INTERVAL_MS, self.function(), self.function()),
            (stream.state, self.function()),
            (stream.slice, 0, 1000),
        ])
        arguments = self.damaged(good[1:])
        # A wait takes as long as it was told to.
        if good[0].__name__ == "await_termination" and (not arguments or arguments[0] is None or isinstance(arguments[0], int)):
            arguments[:1] = [1]
        if good[0].__name__ == "stop_within" and len(arguments) > 1 and isinstance(arguments[1], int):
            arguments[1] = 1
        return good[0], arguments

    def run_streams(self):
        """Runs the streams that the calls made for some batches; what their functions do is theirs."""
        streaming = self.contexts[0]
        try:
            streaming.start()
            streaming.await_termination(BATCHES * INTERVAL_MS)
        finally:
            streaming.stop(False)

    def keep(self, made):
        """What a call made is what later calls work on: at most 30 of each, and no RDD that would have to ask a broker."""
        for kind, kept in ((native.Rdd, self.rdds), (native.DStream, self.streams)):
            if isinstance(made, kind):
                kept.append(made)
                if len(kept) > 30:
                    kept[:15] = []


def main():
    seed, count, last = int(sys.argv[1]), int(sys.argv[2]), os.open(sys.argv[3], os.O_RDWR | os.O_CREAT)
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES_MAX, used + MEMORY_BYTES_MAX))
    calls = Calls(seed)
    raised = 0
    for number in range(count):
        if number % 500 == 499:
            try:
                os.pwrite(last, f"seed {seed} call {number}: streams".encode().ljust(200), 0)
                calls.run_streams()
            except (Exception, SystemExit, KeyboardInterrupt):
                pass
            calls = Calls(seed + number)
        try:
            function, arguments = calls.call()
            os.pwrite(last, f"seed {seed} call {number}: {function.__name__}".encode().ljust(200)[:200], 0)
            made = function(*arguments)
            if not function.__name__.startswith("kafka"):
                calls.keep(made)
        except (Exception, SystemExit, KeyboardInterrupt):
            raised += 1
        except BaseException as error:  # PanicException is one.
            sys.exit(f"seed {seed} call {number}: {function.__name__}{tuple(map(type, arguments))} raised {type(error).__name__}: {error}")
    print(f"{count} calls, {raised} of them raised")


if __name__ == "__main__":
    main()
