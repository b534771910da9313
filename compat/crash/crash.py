"""Kills `tidemill serve` at random moments under load and looks, after each restart, at what it must have kept.

One idempotent producer and one group reader (confluent-kafka) live through all rounds. The record with number n of a partition is the n-th the producer was given for
it, so a log that lost nothing, doubled nothing and kept the order has number n at offset n.
"""
import argparse
import json
import pathlib
import random
import signal
import socket
import struct
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness import PROGRAM, Checks, Failed, Workspace, expect, port_is_free

import confluent_kafka
import confluent_kafka.admin
from kazoo.client import KazooClient

TOPIC, GROUP, PARTITIONS = "crashed", "readers", 4
# Below the range that connections take their own ports from: a client that keeps connecting to a dead server on loopback would, once in a while, reach itself and
# hold the server's port.
PORTS = range(21300, 21400)
PAUSE_S = 60            # longest wait for clients to settle after a restart
UNDELIVERED_MAX = 2000  # records the load holds while nobody answers
VALUE_BYTES_MAX = 2000
COMMIT_EVERY = 40       # records between two commits
RECONNECT = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 50, "log_level": 0}


def wait_for(condition, what, problems=(), seconds=PAUSE_S):
    deadline = time.monotonic() + seconds
    while not condition():
        fail_on(problems)
        if time.monotonic() > deadline:
            raise Failed(f"{what() if callable(what) else what}: not within {seconds} s")
        time.sleep(0.01)


def fail_on(problems):
    if problems:
        raise Failed("; ".join(problems[:5]))


class Server:
    """Keeper and broker in one process that can be killed and started again on the same data and ports."""

    def __init__(self, workspace):
        self.workspace = workspace
        self.port, self.zookeeper = random.sample([port for port in PORTS if port_is_free(port)], 2)
        self.address = f"127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        # Small segments, so that kills meet rolls and producer snapshots too.
        overrides = ["log.segment.bytes=262144", "group.initial.rebalance.delay.ms=0"]
        command = [PROGRAM, "serve", "--port", self.port, "--keeper-port", self.zookeeper, "--data-dir", self.workspace.path / "data"]
        self.process = self.workspace.start(command + [word for override in overrides for word in ("--override", override)])

    def kill(self):
        code = self.process.stop(signal.SIGKILL)
        expect(code, -signal.SIGKILL, f"the exit code of a server that was killed ({self.process.tail()})")
        fail_on([line for line in self.process.err if "panicked" in line])

    def leads_all(self):
        """Asks over a connection of its own, in Metadata v1: a client library would answer with its own back-off."""
        body = struct.pack(">hhih5sih", 3, 1, 1, 5, b"crash", 1, len(TOPIC)) + TOPIC.encode()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as peer:
                peer.settimeout(5)
                peer.sendall(struct.pack(">i", len(body)) + body)
                with peer.makefile("rb") as answer:
                    size, = struct.unpack(">i", answer.read(4))
                    return partitions_led(answer.read(size)) == PARTITIONS
        except (OSError, struct.error):
            return False

    def wait_until_serving(self, started):
        """Gives the seconds from the start of the process until it leads every partition."""
        deadline = started + PAUSE_S
        while not self.leads_all():
            if self.process.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"the server does not serve again\n{self.process.tail()}")
            time.sleep(0.005)
        return time.monotonic() - started


def partitions_led(answer):
    """Partitions with a leader and without an error in a Metadata v1 response about one topic."""
    at = 4

    def take(form):
        nonlocal at
        value, = struct.unpack_from(">" + form, answer, at)
        at += struct.calcsize(">" + form)
        return value

    def skip_text():
        nonlocal at
        length = take("h")
        at += max(length, 0)

    for _ in range(take("i")):
        take("i"), skip_text(), take("i"), skip_text()
    take("i")
    led = 0
    for _ in range(take("i")):
        take("h"), skip_text(), take("b")
        for _ in range(take("i")):
            error, _, leader = take("h"), take("i"), take("i")
            led += error == 0 and leader == 0
            for _ in range(2):
                for _ in range(take("i")):
                    take("i")
    return led


class Load(threading.Thread):
    """Produces with acks=all and idempotence until stopped, through every restart."""

    def __init__(self, address, rng):
        super().__init__(daemon=True)
        self.rng = rng
        self.producer = confluent_kafka.Producer({
            **RECONNECT, "bootstrap.servers": address, "enable.idempotence": True, "acks": "all", "linger.ms": 2, "batch.num.messages": 50,
            "message.timeout.ms": 1000 * PAUSE_S * 2, "error_cb": self.on_error})
        self.given = [0] * PARTITIONS
        self.acknowledged = [0] * PARTITIONS
        self.without_offset = 0
        self.problems = []
        self.going, self.idle, self.ended = threading.Event(), threading.Event(), threading.Event()

    def on_error(self, error):
        if error.fatal():
            self.problems.append(f"the producer gave up: {error}")

    def report(self, number):
        def delivered(error, message):
            if error:
                self.problems.append(f"number {number} of partition {message.partition()} was not delivered: {error}")
                return
            partition = message.partition()
            # A batch sent again of which the broker knows no more than that it is older than the last one: the client takes it as stored, offset unknown.
            self.without_offset += message.offset() is None
            if number != self.acknowledged[partition] or message.offset() not in (number, None):
                self.problems.append(f"number {number} of partition {partition} was acknowledged at offset {message.offset()}, as the "
                                     f"{self.acknowledged[partition]}-th")
            self.acknowledged[partition] = number + 1
        return delivered

    def run(self):
        while not self.ended.is_set():
            if not self.going.is_set():
                if self.producer.flush(0.1) == 0:
                    self.idle.set()
                    self.going.wait(0.05)
                continue
            for _ in range(self.rng.randrange(1, 12)):
                if len(self.producer) >= UNDELIVERED_MAX:
                    break
                partition = self.rng.randrange(PARTITIONS)
                number = self.given[partition]
                value = f"{partition}:{number}:".encode() + b"x" * self.rng.randrange(VALUE_BYTES_MAX)
                self.producer.produce(TOPIC, value, partition=partition, on_delivery=self.report(number))
                self.given[partition] += 1
            self.producer.poll(0.005)

    def resume(self):
        self.idle.clear()
        self.going.set()

    def pause(self):
        """Stops giving records and waits until every one given is acknowledged."""
        self.going.clear()
        wait_for(self.idle.is_set, lambda: f"{len(self.producer)} records are not acknowledged", self.problems)
        fail_on(self.problems)
        expect(self.acknowledged, self.given, "acknowledged records of each partition")


class Reader(threading.Thread):
    """A member of a group: reads, commits what it read, and notes what the broker confirmed."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address = address
        self.position = {}
        self.confirmed = [0] * PARTITIONS  # the broker said so
        self.asked = [0] * PARTITIONS      # the broker may have done so
        self.problems = []
        self.renew, self.ended = threading.Event(), threading.Event()
        self.renewals = 0

    def join_group(self):
        self.position = {}
        consumer = confluent_kafka.Consumer({
            **RECONNECT, "bootstrap.servers": self.address, "group.id": GROUP, "auto.offset.reset": "error", "enable.auto.commit": False,
            "session.timeout.ms": 10000, "heartbeat.interval.ms": 500})

        def start_over(*_):
            self.position = {}

        consumer.subscribe([TOPIC], on_assign=start_over, on_revoke=start_over, on_lost=start_over)
        return consumer

    def run(self):
        try:
            consumer = self.join_group()
            unsaved = 0
            while not self.ended.is_set():
                if self.renew.is_set():
                    consumer.close()
                    consumer = self.join_group()
                    self.renewals += 1
                    unsaved = 0
                    self.renew.clear()
                message = consumer.poll(0.05)
                if message is not None and self.take(message):
                    unsaved += 1
                if unsaved >= COMMIT_EVERY or (message is None and unsaved):
                    unsaved = 0 if self.commit(consumer) else unsaved
            consumer.close()
        except Exception as error:  # told to the main thread, which fails the round
            self.problems.append(f"the reader ended: {type(error).__name__}: {error}")

    def take(self, message):
        """Checks that a record is the one that had to come; gives whether there was one."""
        if message.error():
            # What a client does not try again by itself is a problem: a position out of range, a group without its offsets.
            if message.error().code() not in (confluent_kafka.KafkaError._TRANSPORT, confluent_kafka.KafkaError._ALL_BROKERS_DOWN):
                self.problems.append(f"the reader was told {message.error()}")
            return False
        partition, offset = message.partition(), message.offset()
        expected = self.position.get(partition)
        if expected is None and not self.confirmed[partition] <= offset <= self.asked[partition]:
            self.problems.append(f"the group goes on at {offset} of partition {partition}, not within "
                                 f"{self.confirmed[partition]}..{self.asked[partition]}")
        if expected is not None and offset != expected:
            self.problems.append(f"the reader got offset {offset} of partition {partition} instead of {expected}")
        self.position[partition] = offset + 1
        return True

    def commit(self, consumer):
        offsets = [confluent_kafka.TopicPartition(TOPIC, partition, offset) for partition, offset in self.position.items()]
        if not offsets:
            return True
        for asked in offsets:
            self.asked[asked.partition] = max(self.asked[asked.partition], asked.offset)
        try:
            done = consumer.commit(offsets=offsets, asynchronous=False)
        except confluent_kafka.KafkaException:
            # The server died, or the group is at another generation: asked for, not confirmed, and asked for again.
            return False
        for saved in done:
            if saved.error is None:
                self.confirmed[saved.partition] = max(self.confirmed[saved.partition], saved.offset)
        return all(saved.error is None for saved in done)


class Trial:
    """The server, its clients, and what is checked after each restart."""

    def __init__(self, workspace, rng):
        self.rng = rng
        self.server = Server(workspace)
        self.server.start()
        self.server.process.wait_line(r"started")
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.server.address})
        admin.create_topics([confluent_kafka.admin.NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(20)
        self.commit_the_beginning()
        self.load, self.reader = Load(self.server.address, random.Random(rng.random())), Reader(self.server.address)
        self.load.resume()
        self.load.start()
        self.reader.start()
        self.owner = self.registration()
        self.restarts, self.records_at_kills = [], 0

    def outsider(self, group):
        return confluent_kafka.Consumer({**RECONNECT, "bootstrap.servers": self.server.address, "group.id": group, "enable.auto.commit": False,
                                         "auto.offset.reset": "error"})

    def commit_the_beginning(self):
        """So that a group without offsets is always an error."""
        consumer = self.outsider(GROUP)
        beginning = [confluent_kafka.TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)]
        deadline = time.monotonic() + PAUSE_S
        while True:
            try:
                consumer.commit(offsets=beginning, asynchronous=False)
                break
            except confluent_kafka.KafkaException:
                # The offsets topic is being created.
                if time.monotonic() > deadline:
                    raise
        consumer.close()

    def registration(self):
        """The session that /brokers/ids/0 belongs to."""
        client = KazooClient(hosts=f"127.0.0.1:{self.server.zookeeper}")
        client.start(20)
        try:
            data, stat = client.get("/brokers/ids/0")
        finally:
            client.stop()
            client.close()
        expect(json.loads(data)["port"], self.server.port, "the port in /brokers/ids/0")
        if not stat.ephemeralOwner:
            raise Failed("/brokers/ids/0 is not ephemeral")
        return stat.ephemeralOwner

    def round(self):
        self.load.resume()
        time.sleep(self.rng.uniform(0.1, 1.5))
        self.server.kill()
        if self.rng.random() < 0.3:
            # Once more while it recovers.
            self.server.start()
            time.sleep(self.rng.uniform(0.0, 0.4))
            self.server.kill()
        # Taken after the kill: what was acknowledged by now has to be there.
        confirmed = list(self.reader.confirmed)
        started = time.monotonic()
        self.server.start()
        self.restarts.append(self.server.wait_until_serving(started))
        # It answers as soon as it leads; that it is registered anew it says itself.
        self.server.process.wait_line(r"started")
        owner = self.registration()
        if owner == self.owner:
            raise Failed("/brokers/ids/0 still belongs to the session of the server that was killed")
        self.owner = owner
        self.commits_stand(confirmed)
        if self.rng.random() < 0.5:
            self.reader.renew.set()
        self.load.pause()
        self.records_are_all_there()
        self.group_reads_to_the_end()

    def commits_stand(self, confirmed):
        consumer = self.outsider(GROUP)
        asked = [confluent_kafka.TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]
        for stored in consumer.committed(asked, timeout=PAUSE_S):
            if stored.error is not None:
                raise Failed(f"the commit of partition {stored.partition} cannot be read: {stored.error}")
            low, high = confirmed[stored.partition], self.reader.asked[stored.partition]
            if not low <= stored.offset <= high:
                raise Failed(f"the commit of partition {stored.partition} is {stored.offset}; confirmed was {low}, asked for at most {high}")
        consumer.close()

    def records_are_all_there(self):
        consumer = self.outsider("nobody")
        consumer.assign([confluent_kafka.TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
        expected = [0] * PARTITIONS
        deadline = time.monotonic() + PAUSE_S
        while expected != self.load.given:
            if time.monotonic() > deadline:
                raise Failed(f"records of each partition are {expected}, not {self.load.given}")
            for message in consumer.consume(1000, 0.1):
                if message.error():
                    raise Failed(f"reading the log again: {message.error()}")
                partition, offset = message.partition(), message.offset()
                head = message.value().split(b":", 2)[:2]
                if offset != expected[partition] or head != [b"%d" % partition, b"%d" % offset]:
                    raise Failed(f"offset {offset} of partition {partition} has {head}, where number {expected[partition]} belongs")
                expected[partition] += 1
        for partition in range(PARTITIONS):
            ends = consumer.get_watermark_offsets(confluent_kafka.TopicPartition(TOPIC, partition), timeout=20)
            expect(ends, (0, self.load.given[partition]), f"first and end offset of partition {partition}")
        consumer.close()

    def group_reads_to_the_end(self):
        wait_for(lambda: self.reader.confirmed == self.load.given and not self.reader.renew.is_set(),
                 lambda: f"commits of the group are {self.reader.confirmed}, the ends {self.load.given}", self.reader.problems)
        fail_on(self.reader.problems)

    def end(self):
        self.load.ended.set()
        self.reader.ended.set()
        self.load.join(PAUSE_S)
        self.reader.join(PAUSE_S)
        fail_on(self.load.problems + self.reader.problems)
        expect(self.server.process.stop(signal.SIGTERM), 0, "the exit code after SIGTERM")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--nightly", action="store_true", help="100 rounds")
    options.add_argument("--rounds", type=int, help="8 where not given")
    options.add_argument("--seed", type=int, help="of the moments and the records; a new one where not given")
    options = options.parse_args()
    rounds = options.rounds or (100 if options.nightly else 8)
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}, {rounds} rounds", flush=True)
    checks = Checks()
    with Workspace("crash") as workspace:
        trial = Trial(workspace, random.Random(seed))
        for number in range(1, rounds + 1):
            if not checks.check(f"round {number}", trial.round):
                print(f"        with --seed {seed}; the server said {trial.server.process.err[-15:]}", flush=True)
                if number < rounds:
                    checks.skip(f"rounds {number + 1} to {rounds}", "a round failed")
                break
        else:
            checks.check("the end in good order", trial.end)
        if trial.restarts:
            print(f"{sum(trial.load.acknowledged)} records acknowledged ({trial.load.without_offset} without an offset), {len(trial.restarts)} restarts, {trial.reader.renewals} new members; "
                  f"from start to serving {max(trial.restarts):.2f} s at most")
    checks.close()


if __name__ == "__main__":
    main()
