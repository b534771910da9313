#!/usr/bin/env python3
"""measure.py [--quick | --long] [--pyspark VENV] [--out DIR]: what run.sh runs. Each step is a program with a log of its own in DIR; the table is made of these logs at the end."""
import argparse
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "compat"))
import harness  # noqa: E402
import report  # noqa: E402

PYSPARK = "4.3.0"
CORPUS_LINES = 1_000_000
# What a steady load is measured with.
STEADY_RATE = 20_000
STEADY_INTERVAL_MS = 50
# Lines of a batch out of a queue: enough that Spark's cost per batch does not count.
QUEUE_LINES = 200_000
# Batches without a record that are looked at.
EMPTY_BATCHES = 100
# By how much a step may take longer than planned.
SLACK_S = 120

# seconds of steady load; lines that the Rust and the Python job read from a topic; batches of a queue
FORMS = {
    "quick": dict(steady=30, rust_lines=2_000_000, python_lines=600_000, batches=4),
    "usual": dict(steady=120, rust_lines=4_000_000, python_lines=1_200_000, batches=6),
    "long": dict(steady=600, rust_lines=4_000_000, python_lines=1_200_000, batches=8),
}


class Bench:
    def __init__(self, space, out, form, venv):
        self.space, self.out, self.form, self.venv = space, out, form, venv
        self.corpus = out / "corpus.txt"
        self.groups = 0

    def say(self, text):
        print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)

    # Programs

    def run(self, name, command, seconds, env=None):
        """A program under the eyes of process_tree.py; gives it under way."""
        self.say(name)
        for stale in self.out.glob(name + ".*"):
            stale.unlink()
        watched = [sys.executable, HERE / "process_tree.py", self.out / (name + ".samples"), *command]
        with open(self.out / (name + ".stdout"), "w") as stdout, open(self.out / (name + ".stderr"), "w") as stderr:
            process = subprocess.Popen([str(word) for word in watched], cwd=self.space.path, env={**os.environ, **(env or {})},
                                       stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True)
        process.name, process.limit = name, seconds + SLACK_S
        return process

    def finish(self, process):
        try:
            code = process.wait(process.limit)
        except subprocess.TimeoutExpired:
            process.kill()
            code = "too late"
        if code != 0:
            self.say("%s ended with %s: %s" % (process.name, code, (self.out / (process.name + ".stderr")).read_text()[-2000:]))

    def log(self, name):
        return ["--log", self.out / (name + ".log")]

    def rust(self, name, arguments, seconds=60):
        return self.run(name, [os.environ["JOB"], *arguments, *self.log(name)], seconds)

    def python(self, name, threads, arguments, seconds=60):
        submit = [harness.PROGRAM, "spark-submit", "--master", "local[%d]" % threads, HERE / "word_count.py"]
        return self.run(name, [*submit, *arguments, *self.log(name)], seconds, self.native())

    def spark(self, name, threads, arguments, seconds=90):
        submit = [self.venv / "bin/spark-submit", "--master", "local[%d]" % threads, "--conf", "spark.driver.host=127.0.0.1",
                  "--conf", "spark.driver.bindAddress=127.0.0.1", HERE / "word_count.py"]
        # Its own commands ask PATH for their interpreter.
        env = {"PYSPARK_PYTHON": str(self.venv / "bin/python"), "SPARK_LOCAL_IP": "127.0.0.1",
               "PATH": "%s:%s" % (self.venv / "bin", os.environ["PATH"])}
        return self.run(name, [*submit, *arguments, *self.log(name)], seconds, env)

    def loop(self, name, lines, *flags):
        return self.run(name, [sys.executable, HERE / "plain_loop.py", self.corpus, lines, self.out / (name + ".log"), *flags], 60)

    def native(self):
        built = pathlib.Path(os.environ["CARGO_TARGET_DIR"]) / "release/lib_tidemill.so"
        return {"TIDEMILL_NATIVE": os.environ.get("TIDEMILL_NATIVE") or str(built), "PYSPARK_PYTHON": sys.executable}

    # Servers

    def start_servers(self):
        self.keeper_port, self.broker_port = harness.free_port(), harness.free_port()
        keeper = self.space.properties("zookeeper.properties", {"clientPort": self.keeper_port, "dataDir": "keeper"})
        self.space.start([harness.PROGRAM, "zookeeper-server-start", keeper])
        harness.wait_port(self.keeper_port)
        broker = self.space.properties("server.properties", {
            "listeners": "PLAINTEXT://127.0.0.1:%d" % self.broker_port, "zookeeper.connect": "127.0.0.1:%d" % self.keeper_port,
            "log.dirs": "kafka-logs", "log.flush.before.ack": "never"})
        self.space.start([harness.PROGRAM, "kafka-server-start", broker]).wait_line(r"\[KafkaServer id=0\] started")

    def kafka(self, topic):
        """The source of a job that reads a topic from its beginning, in a group of its own."""
        self.groups += 1
        return ["kafka", "127.0.0.1:%d" % self.keeper_port, topic, "group-%d" % self.groups]

    def topic(self, name):
        code, _, error = harness.run([harness.PROGRAM, "kafka-topics", "--create", "--topic", name, "--partitions", 1, "--replication-factor", 1,
                                      "--zookeeper", "127.0.0.1:%d" % self.keeper_port])
        if code:
            raise harness.Failed(error)
        return name

    def producer(self, topic, stdin):
        command = [harness.PROGRAM, "kafka-console-producer", "--broker-list", "127.0.0.1:%d" % self.broker_port, "--topic", topic]
        return subprocess.Popen(command, stdin=stdin, stdout=subprocess.DEVNULL, start_new_session=True)

    def fill(self, topic, lines):
        """Puts lines of the corpus, again and again, into a topic."""
        self.say("filling %s with %d lines" % (topic, lines))
        producer = self.producer(self.topic(topic), subprocess.PIPE)
        with open(self.corpus, "rb") as f:
            corpus = f.read()
        while lines > 0:
            part = corpus if lines >= CORPUS_LINES else b"".join(corpus.splitlines(True)[:lines])
            producer.stdin.write(part)
            lines -= CORPUS_LINES
        producer.stdin.close()
        producer.wait(SLACK_S)

    # Steps

    def throughput(self):
        form = self.form
        queue = ["queue", self.corpus, "--batches", form["batches"], "--lines-per-batch"]
        self.finish(self.loop("loop", 2 * QUEUE_LINES))
        self.finish(self.loop("loop-message", 2 * QUEUE_LINES, "--message"))
        if self.venv:
            self.finish(self.spark("spark-queue-2", 2, [*queue, QUEUE_LINES, "--empty-batches", 5]))
        for threads in (1, 2):
            self.finish(self.python("python-queue-%d" % threads, threads, [*queue, QUEUE_LINES]))
        self.fill("few", form["python_lines"])
        for threads in (1, 2):
            steps = ["--interval", 0.1, "--lines", form["python_lines"], "--seconds", 60]
            self.finish(self.python("python-kafka-%d" % threads, threads, [*self.kafka("few"), *steps]))
        self.finish(self.loop("loop-again", 2 * QUEUE_LINES))
        self.finish(self.loop("loop-message-again", 2 * QUEUE_LINES, "--message"))
        self.fill("many", form["rust_lines"])
        for threads in (1, 2):
            steps = ["--threads", threads, "--interval-ms", 100, "--lines", form["rust_lines"], "--seconds", 60]
            self.finish(self.rust("rust-kafka-%d" % threads, [*self.kafka("many"), *steps]))

    def idle(self):
        """An empty topic: what a batch costs that holds nothing, and the time from the start of the process to the end of the first one."""
        self.topic("empty")
        seconds = EMPTY_BATCHES * 0.1 + 1
        jobs = [self.python("python-empty", 2, [*self.kafka("empty"), "--interval", 0.1, "--seconds", seconds, "--print"])]
        self.finish(jobs.pop())
        self.finish(self.rust("rust-empty", [*self.kafka("empty"), "--interval-ms", 100, "--seconds", int(seconds), "--print"]))
        self.finish(self.python("python-start", 2, [*self.kafka("empty"), "--seconds", 3, "--print"]))
        self.finish(self.rust("rust-start", [*self.kafka("empty"), "--seconds", 3, "--print"]))

    def steady(self):
        """The same load for a while on a Rust and a Python job at once."""
        seconds = self.form["steady"]
        feeder = subprocess.Popen([sys.executable, HERE / "feeder.py", self.corpus, str(STEADY_RATE), str(seconds)], stdout=subprocess.PIPE,
                                  start_new_session=True)
        producer = self.producer(self.topic("steady"), feeder.stdout)
        feeder.stdout.close()
        rust = self.rust("rust-steady", [*self.kafka("steady"), "--interval-ms", STEADY_INTERVAL_MS, "--seconds", seconds + 2], seconds)
        python = self.python("python-steady", 2, [*self.kafka("steady"), "--interval", STEADY_INTERVAL_MS / 1000, "--seconds", seconds + 2], seconds)
        self.finish(rust)
        self.finish(python)
        feeder.wait(SLACK_S)
        producer.wait(SLACK_S)


def environment(venv):
    """A virtual environment with real PySpark: the one that is named, else one made once."""
    if venv is None:
        venv = harness.SETUP / ("pyspark-" + PYSPARK)
        if not (venv / "bin/spark-submit").exists():
            print("installing pyspark==%s (520 MB) into %s" % (PYSPARK, venv), file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "pyspark==" + PYSPARK], check=True)
    return venv


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", dest="form", action="store_const", const="quick", default="usual", help="at most 3 minutes")
    parser.add_argument("--long", dest="form", action="store_const", const="long", help="10 minutes of steady load")
    parser.add_argument("--pyspark", type=pathlib.Path, help="a virtual environment with pyspark " + PYSPARK)
    parser.add_argument("--without-pyspark", action="store_true")
    parser.add_argument("--only", choices=["throughput", "idle", "steady"], help="one part of it")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / "tidemill-bench/streaming")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    venv = None if options.without_pyspark else environment(options.pyspark)
    with harness.Workspace("bench-streaming") as space:
        bench = Bench(space, options.out.resolve(), FORMS[options.form], venv and venv.resolve())
        if not bench.corpus.exists():
            bench.say("writing the corpus")
            subprocess.run([sys.executable, HERE / "gen_corpus.py", bench.corpus, str(CORPUS_LINES)], check=True)
        bench.start_servers()
        for part in ["throughput", "idle", "steady"]:
            if options.only in (None, part):
                getattr(bench, part)()
    report.table(bench.out)


if __name__ == "__main__":
    main()
