"""Other people's clients, unchanged, while the leader, the group's coordinator, the controller and the store's leader are killed in turn."""
import collections
import logging
import shutil
import signal
import statistics
import threading
import time

import kafka

import apache
import campaign
import flood
from clients import Stoppable, create_topic
from cluster import Cluster
from groups import OldConsumer, begin_at_the_beginning
from harness import Failed, Workspace
from loopback import Loopback

SESSION_MS, GRACE_S = 6000, 5
DOWN_S, BETWEEN_S = (1, 5), 2
SETTLE_S = 90
LINES_PER_SECOND = 20
logging.getLogger("kafka").setLevel(logging.CRITICAL)


def java_hash(text):
    """`String.hashCode`, which says which partition of `__consumer_offsets` a group is kept in."""
    value = 0
    for character in text:
        value = (31 * value + ord(character)) & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


class Lines:
    """Somebody's producer that is fed numbered lines, and somebody's consumers that print them: each line comes out of each consumer at least once."""

    def __init__(self, name, producer, consumers):
        self.name, self.producer, self.consumers, self.typed = name, producer, consumers, 0
        self.going = threading.Event()
        self.thread = threading.Thread(target=self.type, daemon=True)

    def start(self):
        self.thread.start()

    def type(self):
        while not self.going.wait(1 / LINES_PER_SECOND):
            try:
                self.producer.type(str(self.typed))
            except OSError:
                return  # it ended: told in `settle`
            self.typed += 1

    def printed(self, consumer):
        return collections.Counter(int(line) for line in list(consumer.out) if line.strip().isdigit())

    def settle(self):
        """What is wrong, a list of sentences."""
        self.going.set()
        self.thread.join(10)
        if self.producer.process.poll() is not None:
            return [f"{self.name}: the producer ended: {self.producer.tail()}"]
        self.producer.process.stdin.close()
        code = self.producer.finish(SETTLE_S)
        problems = [f"{self.name}: the producer ended with {code}: {self.producer.tail()}"] if code else []
        deadline = time.monotonic() + SETTLE_S
        for role, consumer in self.consumers.items():
            while missing := set(range(self.typed)) - set(self.printed(consumer)):
                if time.monotonic() > deadline or consumer.process.poll() is not None:
                    problems.append(f"{self.name}: {role} did not print {len(missing)} of {self.typed} lines, such as {sorted(missing)[:5]}: {consumer.tail()}")
                    break
                time.sleep(0.2)
            if extra := set(self.printed(consumer)) - set(range(self.typed)):
                problems.append(f"{self.name}: {role} printed lines that nobody typed: {sorted(extra)[:5]}")
        return problems

    def figures(self):
        again = {role: sum(self.printed(consumer).values()) - len(self.printed(consumer)) for role, consumer in self.consumers.items()}
        return {"lines": self.typed, "printed_again": again}


def kcat(workspace, cluster):
    create_topic(cluster, "zoo-kcat", 3)
    quick = ["-X", "reconnect.backoff.max.ms=500", "-X", "socket.timeout.ms=5000", "-X", "topic.metadata.refresh.interval.ms=2000"]
    producer = workspace.start(["kcat", "-q", "-P", "-b", cluster.bootstrap, "-t", "zoo-kcat", "-X", "acks=all", "-X", "enable.idempotence=true", "-X", "linger.ms=5",
                                "-X", "message.timeout.ms=120000", "-E", *quick], stdin=True)
    consumer = workspace.start(["kcat", "-q", "-u", "-E", "-b", cluster.bootstrap, "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000", *quick, "-G", "kcats", "zoo-kcat"])
    return Lines("kcat", producer, {"kcat -G": consumer})


def apache_09(workspace, cluster):
    create_topic(cluster, "zoo-old", 3)
    # Its new producer ends with "Memory records is not writable" once it has to send again while lines come (KAFKA-3594).
    producer = workspace.start(apache.tool("kafka-console-producer", "--old-producer", "--sync", "--broker-list", cluster.bootstrap, "--topic", "zoo-old",
                                           "--request-required-acks", "-1", "--message-send-max-retries", "10000", "--retry-backoff-ms", "200",
                                           "--request-timeout-ms", "5000"), stdin=True)
    settings = workspace.path / "new-consumer.properties"
    settings.write_text("group.id=zoo-new\nauto.offset.reset=earliest\nsession.timeout.ms=6000\nheartbeat.interval.ms=1000\nmetadata.max.age.ms=2000\nrequest.timeout.ms=7000\n")
    new = workspace.start(apache.tool("kafka-console-consumer", "--new-consumer", "--bootstrap-server", cluster.bootstrap, "--topic", "zoo-old", "--from-beginning",
                                      "--consumer.config", settings))
    begin_at_the_beginning(cluster, "zoo-zookeeper", "zoo-old", 3)
    old = workspace.start(OldConsumer(cluster, "zoo-old", "apache").command("zoo-zookeeper"))
    return Lines("Apache 0.9.0.1", producer, {"console consumer (new)": new, "console consumer (ZooKeeper)": old})


class KafkaPython(Stoppable):
    """kafka-python: an idempotent producer and a member of a group, which commits."""

    def __init__(self, cluster):
        super().__init__("kafka-python")
        create_topic(cluster, "zoo-python", 3)
        self.name, self.servers, self.acknowledged, self.sent, self.problems, self.seen = "kafka-python", cluster.bootstrap.split(","), set(), 0, [], collections.Counter()
        quick = {"bootstrap_servers": self.servers, "reconnect_backoff_ms": 50, "reconnect_backoff_max_ms": 500, "retry_backoff_ms": 100, "metadata_max_age_ms": 2000}
        self.producer = kafka.KafkaProducer(**quick, acks="all", enable_idempotence=True, request_timeout_ms=5000, delivery_timeout_ms=120000, max_block_ms=60000)
        # Here and not where it reads: what goes wrong with it is told.
        self.consumer = kafka.KafkaConsumer("zoo-python", group_id="zoo-python", auto_offset_reset="earliest", enable_auto_commit=True, auto_commit_interval_ms=500,
                                            session_timeout_ms=6000, heartbeat_interval_ms=1000, request_timeout_ms=9000, **quick)
        self.done = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)

    def start(self):
        super().start()
        self.reader.start()

    def work(self):
        while not self.ended.wait(1 / LINES_PER_SECOND):
            number, self.sent = self.sent, self.sent + 1
            future = self.producer.send("zoo-python", str(number).encode())
            future.add_callback(lambda _, number=number: self.acknowledged.add(number))
            future.add_errback(lambda error, number=number: self.problems.append(f"number {number} was not delivered: {error!r}"))

    def read(self):
        try:
            while not self.done.is_set():
                for messages in self.consumer.poll(timeout_ms=200).values():
                    self.seen.update(int(message.value) for message in messages)
        except Exception as error:  # told in `settle`
            self.problems.append(f"the reader ended: {type(error).__name__}: {error}")
        finally:
            self.consumer.close()

    def settle(self):
        self.stop()
        self.producer.flush(120)
        deadline = time.monotonic() + SETTLE_S
        while (missing := self.acknowledged - set(self.seen)) and time.monotonic() < deadline and self.reader.is_alive():
            time.sleep(0.2)
        assigned = sorted(self.consumer.assignment()) if missing else None
        self.done.set()
        self.reader.join(30)
        self.producer.close()
        lost = [f"kafka-python: {len(missing)} acknowledged records were not read, such as {sorted(missing)[:5]}; its reader has taken {len(self.seen)} and is assigned {assigned}"] if missing else []
        unanswered = self.sent - len(self.acknowledged)
        return [f"kafka-python: {problem}" for problem in self.problems[:3]] + lost + ([f"kafka-python: {unanswered} records have no answer"] if unanswered else [])

    def figures(self):
        return {"records": len(self.acknowledged), "read_again": sum(self.seen.values()) - len(self.seen)}


class Killer:
    """Kills in turn, waits, starts again, and waits until all is well; notes how long the flood stood still."""

    def __init__(self, cluster, rng, load):
        self.cluster, self.rng, self.load, self.rows = cluster, rng, load, collections.defaultdict(list)
        self.turns = {
            "leader": lambda: cluster.leader(flood.TOPIC),
            "coordinator": lambda: cluster.leader("__consumer_offsets", abs(java_hash(flood.GROUP)) % len(cluster.topics()["__consumer_offsets"])),
            "controller": cluster.controller,
            "store's leader": cluster.store_leader,
        }

    def strike(self, role):
        victim = self.turns[role]()
        if victim is None:
            raise Failed(f"there is no {role}")
        self.load.take_silence()
        victim.end(signal.SIGKILL)
        time.sleep(self.rng.uniform(*DOWN_S))
        victim.start()
        started = time.monotonic()
        self.cluster.wait_whole()
        while self.load.since_last() > 1 and not self.load.problems:
            if time.monotonic() - started > SESSION_MS / 1000 + GRACE_S:
                raise Failed(f"a partition has no acknowledgement for {self.load.since_last():.1f} s, {time.monotonic() - started:.1f} s after the {role} was started again")
            time.sleep(0.05)
        silence = self.load.take_silence()
        self.rows[role].append(silence)
        print(f"        {role:16} {victim.name:10} killed: the flood stood still for {silence:.2f} s at most", flush=True)
        time.sleep(BETWEEN_S)

    def go(self, seconds):
        deadline = time.monotonic() + seconds
        while True:
            for role in self.turns:
                self.strike(role)
                if self.load.problems:
                    return
            if time.monotonic() > deadline:
                return


def through_it(cluster, workspace, seconds, rng, result):
    flood.prepare(cluster)
    load, trio = flood.Flood(cluster), flood.Trio(cluster)
    others = [KafkaPython(cluster)]
    others += [kcat(workspace, cluster)] if shutil.which("kcat") else []
    others += [] if apache.missing() else [apache_09(workspace, cluster)]
    started = time.monotonic()
    for client in (load, trio, *others):
        client.start()
    time.sleep(BETWEEN_S)
    # Somebody has to be in the group before it has a coordinator.
    cluster.wait(lambda: "__consumer_offsets" in cluster.topics() and trio.read, "the group reading")
    killer = Killer(cluster, rng, load)
    try:
        killer.go(seconds)
    finally:
        lasted = time.monotonic() - started
        load.settle()
        trio.settle(load.acknowledged)
        problems = load.problems + trio.problems + [problem for client in others for problem in client.settle()]
        problems += [panic for server in cluster.servers for panic in server.panics()[:2]]
        result.update({"kills": sum(map(len, killer.rows.values())), "silence_s": {role: [round(silence, 2) for silence in silences] for role, silences in killer.rows.items()},
                       "records": sum(load.acknowledged), "per_second": round(sum(load.acknowledged) / lasted), "without_offset": load.without_offset,
                       "minutes": round(lasted / 60, 2), "others": {client.name: client.figures() for client in others}})
        for role, silences in killer.rows.items():
            print(f"        {role}: killed {len(silences)} times, the flood stood still for {statistics.median(silences):.1f} s (median), {max(silences):.1f} s at most", flush=True)
        print(f"        {sum(load.acknowledged)} records of the flood, {result['per_second']} a second; {result['others']}", flush=True)
    if problems:
        raise Failed("; ".join(problems[:5])[:3000])


def zoo(checks, store, seconds, rng):
    result = {"store": store}
    with Workspace("cluster-zoo") as workspace, Cluster(Loopback(), workspace.path, store, SESSION_MS, on_disks=False) as cluster:
        good = checks.check(f"{store}: three brokers for the clients", cluster.start) and checks.check(
            f"{store}: confluent-kafka, kafka-python, kcat and Apache 0.9.0.1 lose nothing while leaders die in turn", through_it, cluster, workspace, seconds, rng, result)
    campaign.Campaign("cluster-zoo").add({**result, "failed": not good})
    for name, why in (("kcat", None if shutil.which("kcat") else "not installed"), ("Apache 0.9.0.1", apache.missing())):
        if why:
            checks.skip(f"{store}: {name}", why)
