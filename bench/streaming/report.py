#!/usr/bin/env python3
"""report.py DIR: the table of what measure.py's steps left in DIR. A step that is not there, or did not end well, is a dash."""
import json
import pathlib
import statistics
import sys

MEGABYTE = 1 << 20
# The first batches of a job run code that is not warm yet: Spark's JVM most of all.
WARM_UP_BATCHES = 1
# The part of a steady run that counts as its beginning, and as its end.
QUARTER = 4
# Processes take their memory in the first seconds; what they hold later must not grow.
SETTLED_SHARE = 0.25


class Step:
    """The log and the samples of one program."""

    def __init__(self, out, name):
        self.events = read(out / (name + ".log"))
        self.samples = read(out / (name + ".samples"))
        self.lines = next((event["lines"] for event in self.named("queued")), None)

    def named(self, name):
        return [event for event in self.events if event["ev"] == name]

    def time_of(self, name):
        return self.named(name)[0]["t"]

    def cpu_at(self, time):
        return max((sample["cpu"] for sample in self.samples if sample["t"] <= time), default=0)

    @property
    def batches(self):
        return self.named("batch")

    # Lines a second, and CPU seconds for a million lines

    def loop(self):
        return self.named("loop")[0]["lines"] / self.named("loop")[0]["seconds"]

    def queue(self):
        """Over the time that batches took, without the first."""
        full = [event["bt"] for event in self.named("out") if event["words"]][WARM_UP_BATCHES:]
        spent = [batch for batch in self.batches if batch["bt"] in full]
        cpu = self.cpu_at(spent[-1]["t"]) - self.cpu_at(spent[0]["t"] - spent[0]["proc"] / 1000)
        return self.lines * len(spent) / sum(batch["proc"] for batch in spent) * 1000, cpu / (self.lines * len(spent)) * 1e6

    def kafka(self):
        """From the start of the job to the end of the last batch: joining, fetching, counting and waiting for batches to begin."""
        full = [batch for batch in self.batches if batch["n"]]
        lines, since = sum(batch["n"] for batch in full), self.time_of("started")
        return lines / (full[-1]["t"] - since), (self.cpu_at(full[-1]["t"]) - self.cpu_at(since)) / lines * 1e6

    # Milliseconds

    def empty(self):
        """Median and worst of batches without records, the first ones left out; and CPU milliseconds of each."""
        at_rest = [batch for batch in self.batches if not batch["n"]]
        if self.lines:
            full = [event["bt"] for event in self.named("out") if event["words"]]
            at_rest = [batch for batch in at_rest if batch["bt"] > full[-1]]
            return statistics.median(batch["proc"] for batch in at_rest), max(batch["proc"] for batch in at_rest), None
        at_rest = at_rest[len(at_rest) // QUARTER:]
        cpu = self.cpu_at(at_rest[-1]["t"]) - self.cpu_at(at_rest[0]["t"])
        return statistics.median(batch["proc"] for batch in at_rest), max(batch["proc"] for batch in at_rest), cpu / len(at_rest) * 1000

    def first(self):
        """Seconds from the start of the process to the end of its first batch."""
        return self.batches[0]["t"] - self.samples[0]["begun"]

    # Steady load

    def steady(self):
        """Of batches with records: scheduling delay at the beginning (median, largest) and at the end, processing, lines a second, CPU."""
        full = [batch for batch in self.batches if batch["n"]]
        part = max(1, len(full) // QUARTER)
        seconds = full[-1]["t"] - full[0]["t"]
        lines = sum(batch["n"] for batch in full)
        delays = [batch["sched"] for batch in full]
        return {
            "early": statistics.median(delays[:part]), "late": statistics.median(delays[-part:]), "largest": max(delays),
            "took": statistics.median(batch["proc"] for batch in full), "rate": lines / seconds,
            "cpu": (self.cpu_at(full[-1]["t"]) - self.cpu_at(full[0]["t"])) / lines * 1e6, "seconds": seconds,
        }

    def memory(self):
        """Resident megabytes once settled and at the end (medians of a quarter each), and the most there was."""
        settled = self.samples[int(len(self.samples) * SETTLED_SHARE):-1]
        part = max(1, len(settled) // QUARTER)
        middle = [statistics.median(sample["rss"] for sample in some) / MEGABYTE for some in (settled[:part], settled[-part:])]
        return middle[0], middle[1], max(sample["rss"] for sample in self.samples) / MEGABYTE


def read(path):
    if not path.exists():
        return []
    with open(path) as f:
        return [json.loads(line) for line in f if line.startswith("{") and line.endswith(("}", "}\n"))]


def table(out):
    steps = {path.stem: Step(out, path.stem) for path in out.glob("*.samples")}

    def figure(form, *parts):
        """The text of a row's figure, or a dash where a step that it needs is missing or was cut short."""
        try:
            return form(*(steps[part] for part in parts))
        except (KeyError, IndexError, ValueError, ZeroDivisionError, statistics.StatisticsError):
            return "-"

    def rate(way, *parts):
        return figure(lambda *found: "%s lines/s, %.1f CPU s per million lines" % (thousands(way(found[0])[0]), way(found[0])[1]), *parts)

    def best_loop(*loops):
        return max(loop.loop() for loop in loops)

    rows = [
        ("plain CPython loop, 3 lambdas", figure(lambda *loops: "%s lines/s" % thousands(best_loop(*loops)), "loop", "loop-again")),
        ("plain CPython loop, 4 lambdas (with the one that takes the message's value)",
         figure(lambda *loops: "%s lines/s" % thousands(best_loop(*loops)), "loop-message", "loop-message-again")),
        ("PySpark 4.3.0, queueStream, local[2]", rate(Step.queue, "spark-queue-2")),
    ]
    for threads in (1, 2):
        name = "python-queue-%d" % threads
        ratio = figure(lambda job, *loops: "**%.2f** of the loop" % (job.queue()[0] / best_loop(*loops)), name, "loop", "loop-again")
        rows.append(("Python job, queueStream, local[%d]" % threads, "%s; %s" % (rate(Step.queue, name), ratio)))
    for threads in (1, 2):
        name = "python-kafka-%d" % threads
        ratio = figure(lambda job, *loops: "**%.2f** of the loop" % (job.kafka()[0] / best_loop(*loops)), name, "loop-message", "loop-message-again")
        rows.append(("Python job, Kafka topic, local[%d]" % threads, "%s; %s" % (rate(Step.kafka, name), ratio)))
    for threads in (1, 2):
        name = "rust-kafka-%d" % threads
        ratio = figure(lambda job, spark: "**%.1f** times PySpark" % (job.kafka()[0] / spark.queue()[0]), name, "spark-queue-2")
        rows.append(("Rust job, Kafka topic, local[%d]" % threads, "%s; %s" % (rate(Step.kafka, name), ratio)))
    for name, step in (("PySpark 4.3.0", "spark-queue-2"), ("Python job", "python-empty"), ("Rust job", "rust-empty")):
        def empty(job):
            median, largest, cpu = job.empty()
            return "median %g ms, largest %g ms%s" % (median, largest, "" if cpu is None else ", %.1f ms of CPU" % cpu)
        rows.append(("empty batch: " + name, figure(empty, step)))
    for name, step in (("PySpark 4.3.0 (queueStream)", "spark-queue-2"), ("Python job", "python-start"), ("Rust job", "rust-start")):
        rows.append(("start of the process to the end of its first batch, interval 1 s: " + name, figure(lambda job: "%.2f s" % job.first(), step)))
    for name, step in (("Python job, local[2]", "python-steady"), ("Rust job, local[2]", "rust-steady")):
        def steady(job):
            return "{rate:,.0f} lines/s for {seconds:.0f} s: scheduling delay {early:g} ms at first, {late:g} ms at last, largest {largest:g} ms; " \
                   "batch {took:g} ms; {cpu:.1f} CPU s per million lines".format(**job.steady())
        rows.append(("50 ms interval: " + name, figure(steady, step)))
        rows.append(("memory under that load: " + name, figure(lambda job: "%.0f MB once settled, %.0f MB at the end, at most %.0f MB" % job.memory(), step)))
    print("| what | figure |\n|---|---|")
    for row in rows:
        print("| %s | %s |" % row)


def thousands(number):
    return "%s k" % format(round(number / 1000), ",")


if __name__ == "__main__":
    table(pathlib.Path(sys.argv[1]))
