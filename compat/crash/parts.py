"""Keeper, broker and word count as three processes, of which any one or several are killed.

The word count is a Python script on `KafkaUtils.createStream`, so its place in each partition stands in `/consumers/.../offsets`. At least once means two things
here: what those offsets say was read has been counted, and in the end every record has been.
"""
import signal
import time

from kazoo.exceptions import NoNodeError

from clients import PARTITIONS, PAUSE_S, TOPIC, fail_on, wait_for
from harness import PROGRAM, ROOT, Failed, expect, wait_port
from trial import Trial
from word_counts import WordCounts

JOB = ROOT / "compat/crash/job.py"
JOB_GROUP = "counters"
PARTS = ("keeper", "broker", "job")  # in the order in which they are started
ENDS_S = 0.3                         # longest pause between two kills of one strike


class Counts(WordCounts):
    """Over all the lives of the word count."""

    def add(self, line):
        try:
            super().add(line)
        except ValueError:
            pass  # cut by a kill: it was not counted, and its offsets cannot have been committed

    def missing(self, ends):
        """Records below these ends, one a partition, that were not counted."""
        counts = self.take()
        return [f"{partition}:{number}:" for partition, end in enumerate(ends) for number in range(end) if not counts[f"{partition}:{number}:"]]


class Parts(Trial):
    def start(self):
        self.running, self.kills = {}, 0
        self.counts = Counts(self.workspace.path / "counts.jsonl")
        self.keeper_properties = self.workspace.properties("zookeeper.properties", {
            "clientPort": self.zookeeper, "dataDir": self.workspace.path / "keeper", "tickTime": 500})
        self.broker_properties = self.workspace.properties("server.properties", {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port}", "log.dirs": self.workspace.path / "kafka-logs",
            "zookeeper.connect": f"127.0.0.1:{self.zookeeper}", "log.segment.bytes": 262144, "group.initial.rebalance.delay.ms": 0})
        self.spawn("keeper")
        wait_port(self.zookeeper, process=self.running["keeper"])
        self.spawn("broker")
        self.running["broker"].wait_line(r"started")

    def spawn(self, part):
        command = {
            "keeper": [PROGRAM, "zookeeper-server-start", self.keeper_properties],
            "broker": [PROGRAM, "kafka-server-start", self.broker_properties],
            "job": [ROOT / "bin/spark-submit", JOB, f"127.0.0.1:{self.zookeeper}", TOPIC, JOB_GROUP, self.counts.path],
        }[part]
        self.running[part] = self.workspace.start(command)

    def kill(self, part):
        process = self.running[part]
        code = process.stop(signal.SIGKILL)
        self.kills += 1
        expect(code, -signal.SIGKILL, f"the exit code of a {part} that was killed ({process.tail()})")
        fail_on([line for line in process.err if "panicked" in line])

    def strike(self):
        if "job" not in self.running:
            self.spawn("job")
        victims = [part for part in PARTS if self.rng.random() < 0.5] or [self.rng.choice(PARTS)]
        for part in self.rng.sample(victims, len(victims)):
            self.kill(part)
            time.sleep(self.rng.uniform(0, ENDS_S))
        confirmed = list(self.reader.confirmed)
        started = time.monotonic()
        for part in victims:
            if part != "job":
                self.spawn(part)
        if "broker" in victims:
            self.wait_until_serving(self.running["broker"], started)
            self.running["broker"].wait_line(r"started")
        self.what_was_committed_was_counted()
        if "job" in victims:
            self.spawn("job")
        self.commits_stand(confirmed)

    def round(self):
        super().round()
        self.every_record_is_counted()
        self.nothing_is_left_of_the_dead()

    def job_offsets(self, client):
        offsets = []
        for partition in range(PARTITIONS):
            try:
                offsets.append(int(client.get(f"/consumers/{JOB_GROUP}/offsets/{TOPIC}/{partition}")[0]))
            except NoNodeError:
                offsets.append(0)
        return offsets

    def what_was_committed_was_counted(self):
        client = self.keeper_client()
        try:
            offsets = self.job_offsets(client)
        finally:
            client.stop()
            client.close()
        missing = self.counts.missing(offsets)
        if missing:
            raise Failed(f"/consumers/{JOB_GROUP}/offsets says {offsets}, but {len(missing)} records below were not counted: {missing[:10]}")

    def every_record_is_counted(self):
        client = self.keeper_client()
        try:
            wait_for(lambda: not self.counts.missing(self.load.given),
                     lambda: f"{len(self.counts.missing(self.load.given))} records are not counted: {self.counts.missing(self.load.given)[:10]}; "
                             f"the job {self.running['job'].tail()}")
            wait_for(lambda: self.job_offsets(client) == self.load.given,
                     lambda: f"/consumers/{JOB_GROUP}/offsets says {self.job_offsets(client)}, the ends are {self.load.given}")
        finally:
            client.stop()
            client.close()

    def nothing_is_left_of_the_dead(self):
        """Once the sessions of the killed are over, each ephemeral belongs to the one broker or to the one job."""
        client = self.keeper_client()
        try:
            deadline = time.monotonic() + PAUSE_S
            while True:
                left = self.leftovers(client)
                if not left:
                    return
                if time.monotonic() > deadline:
                    raise Failed(f"ephemerals are not as they should be: {left}")
                time.sleep(0.05)
        finally:
            client.stop()
            client.close()

    def leftovers(self, client):
        owners = dict(ephemerals(client, "/"))
        group = f"/consumers/{JOB_GROUP}"
        members = [path for path in owners if path.startswith(f"{group}/ids/")]
        of_job = members + [f"{group}/owners/{TOPIC}/{partition}" for partition in range(PARTITIONS)]
        of_broker = ["/brokers/ids/0", "/controller"]
        good = (len(members) == 1 and set(owners) == {*of_job, *of_broker} and len({owners[path] for path in of_job}) == 1
                and len({owners[path] for path in of_broker}) == 1)
        return None if good else {path: hex(owner) for path, owner in owners.items()}

    def figures(self):
        return {"kills": self.kills, "counted_again": self.counts.repeated()}

    def end(self):
        super().end()
        for part in reversed(PARTS):
            # Spark's own exit code after a signal is the JVM's.
            code = 128 + signal.SIGTERM if part == "job" else 0
            expect(self.running[part].stop(signal.SIGTERM), code, f"the exit code of the {part} after SIGTERM ({self.running[part].tail()})")

    def said(self):
        return {part: process.err[-10:] for part, process in self.running.items()}


def ephemerals(client, path):
    """Every ephemeral node below a path, with the session it belongs to."""
    try:
        children, stat = client.get_children(path, include_data=True)
    except NoNodeError:
        return
    if stat.ephemeralOwner:
        yield path, stat.ephemeralOwner
    for child in children:
        yield from ephemerals(client, f"{path.rstrip('/')}/{child}")
