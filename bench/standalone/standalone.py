"""Start, idle cost, idle connections and many partitions of standalone `tidemill`, as markdown."""
import argparse
import os
import pathlib
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import wire
from markdown import table

PROGRAM = os.environ["TIDEMILL"]
START_MAX_S = 60
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Server:
    """Keeper and broker in one process, with their data in a folder of their own."""

    def __init__(self, folder, *overrides):
        self.port, self.keeper_port = free_port(), free_port()
        words = [PROGRAM, "serve", "--port", str(self.port), "--keeper-port", str(self.keeper_port), "--data-dir", str(folder)]
        for override in overrides:
            words += ["--override", override]
        self.started = time.perf_counter()
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.answered_ms = self.named_ms = None
        while self.named_ms is None:
            if self.process.poll() is not None or time.perf_counter() - self.started > START_MAX_S:
                raise SystemExit(f"error: {' '.join(words)} does not serve")
            try:
                with wire.connect(self.port) as connection:
                    while self.named_ms is None:
                        named = wire.brokers(connection)
                        now_ms = (time.perf_counter() - self.started) * 1000
                        self.answered_ms = self.answered_ms or now_ms
                        self.named_ms = now_ms if named else None
            except OSError:
                time.sleep(0.0002)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def status(self, name):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        return 0

    def rss_kib(self):
        return self.status("VmRSS")

    def files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_ticks(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def switches(self):
        """Context switches of all threads."""
        count = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if "ctxt_switches" in line:
                    count += int(line.split()[1])
        return count

    def while_idle(self, seconds):
        """CPU seconds and wakeups per second over a time without requests."""
        ticks, switches = self.cpu_ticks(), self.switches()
        time.sleep(seconds)
        return (self.cpu_ticks() - ticks) / TICKS_PER_S, (self.switches() - switches) / seconds


def measure_start(work, count):
    fresh, again = [], []
    for number in range(count):
        folder = work / f"start{number}"
        for times in (fresh, again):
            with Server(folder) as server:
                times.append((server.answered_ms, server.named_ms))
        shutil.rmtree(folder)
    rows = []
    for name, times in (("first start, empty folder", fresh), ("start again", again)):
        median = [statistics.median(column) for column in zip(*times)]
        least = [min(column) for column in zip(*times)]
        rows.append((name, f"{median[0]:.1f}", f"{least[0]:.1f}", f"{median[1]:.1f}", f"{least[1]:.1f}"))
    table(("start", "ms to the first Metadata answer, median", "least", "ms to one that names the broker, median", "least"), *rows)


def measure_idle(work, seconds):
    with Server(work / "idle") as server:
        time.sleep(2)
        rss = server.rss_kib()
        cpu, switches = server.while_idle(seconds)
        table(("idle", "RSS MiB", "threads", "open files", f"CPU s in {seconds} s", "context switches a second"),
              ("standalone, no topic", f"{rss / 1024:.1f}", server.status("Threads"), server.files(), f"{cpu:.2f}", f"{switches:.1f}"))


def measure_connections(work, counts):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rows = []
    for count in counts:
        with Server(work / f"connections{count}") as server:
            before = server.rss_kib()
            connections = []
            for _ in range(count):
                connection = wire.connect(server.port)
                wire.call(connection, wire.API_VERSIONS, 0, b"")
                connections.append(connection)
            time.sleep(1)
            each = (server.rss_kib() - before) / count
            cpu, switches = server.while_idle(10)
            times = []
            for _ in range(2000):
                began = time.perf_counter()
                wire.call(connections[-1], wire.API_VERSIONS, 0, b"")
                times.append((time.perf_counter() - began) * 1e6)
            times.sort()
            rows.append((count, f"{each:.1f}", f"{cpu:.2f}", f"{switches:.1f}", f"{times[1000]:.0f}", f"{times[1980]:.0f}"))
            for connection in connections:
                connection.close()
    table(("idle connections", "KiB each", "CPU s in 10 s", "context switches a second", "ApiVersions p50 µs", "p99 µs"), *rows)


def produce_latency(server, topic, partitions, batch, count=3000, rate=500):
    """Milliseconds at p50 and p99 of single records with acks=1, to the partitions in turn, at a steady rate."""
    connection = wire.connect(server.port)
    for number in range(200):
        wire.produce(connection, topic, number % partitions, batch)
    times, due = [], time.perf_counter()
    for number in range(count):
        due += 1 / rate
        time.sleep(max(0, due - time.perf_counter()))
        began = time.perf_counter()
        wire.produce(connection, topic, number % partitions, batch)
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    return times[count // 2], times[count * 99 // 100]


def create_topic(server, topic, partitions):
    began = time.perf_counter()
    words = [PROGRAM, "kafka-topics", "--create", "--bootstrap-server", f"127.0.0.1:{server.port}", "--topic", topic,
             "--partitions", str(partitions), "--replication-factor", "1"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure_partitions(work, count):
    batch = wire.record_batch(b"x" * 100, int(time.time() * 1000))
    folder = work / "partitions"
    with Server(folder) as server:
        create_topic(server, "one", 1)
        one = produce_latency(server, "one", 1, batch)
        before = server.rss_kib()
        made_s = create_topic(server, "many", count)
        time.sleep(2)
        after = server.rss_kib()
        untouched_files = server.files()
        alone = produce_latency(server, "one", 1, batch)
        all_of_them = produce_latency(server, "many", count, batch)
        written, files = server.rss_kib(), server.files()
        cpu, switches = server.while_idle(20)
        began = time.perf_counter()
        create_topic(server, "late", 1)
        late_s = time.perf_counter() - began
    with Server(folder) as server:
        again_ms = server.named_ms
        time.sleep(2)
        restarted = server.rss_kib()
    latency = lambda pair: f"{pair[0]:.3f} / {pair[1]:.3f}"
    table((f"{count} partitions", ""),
          ("made in", f"{made_s:.2f} s"),
          ("one topic more, beside them", f"{late_s * 1000:.0f} ms with the tool's own start"),
          ("memory: untouched, with a record in each, after a restart",
           f"{(after - before) / count:.1f}, {(written - before) / count:.1f} KiB each; {restarted / 1024:.0f} MiB in all"),
          ("open files: untouched, written", f"{untouched_files}, {files}"),
          ("produce of one record, acks=1, 500/s, p50 / p99 ms: to a topic of 1 partition, before", latency(one)),
          ("the same, beside them", latency(alone)),
          ("to all of them in turn", latency(all_of_them)),
          ("idle: CPU s in 20 s, context switches a second", f"{cpu:.2f}, {switches:.1f}"),
          ("started again, to a Metadata answer that names the broker", f"{again_ms:.0f} ms"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--idle", type=int, default=60, help="seconds")
    parser.add_argument("--connections", default="1000,5000")
    parser.add_argument("--partitions", type=int, default=2000)
    parser.add_argument("--only", default="start,idle,connections,partitions")
    options = parser.parse_args()
    parts = options.only.split(",")
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        work = pathlib.Path(folder)
        if "start" in parts:
            measure_start(work, options.starts)
        if "idle" in parts:
            measure_idle(work, options.idle)
        if "connections" in parts:
            measure_connections(work, [int(count) for count in options.connections.split(",")])
        if "partitions" in parts:
            measure_partitions(work, options.partitions)


if __name__ == "__main__":
    sys.exit(main())
