"""A fast idempotent producer, and a group of three that reads what it writes: the record with number n of a partition has to stand at offset n."""
import threading
import time

import confluent_kafka
from confluent_kafka import KafkaException, TopicPartition

from clients import PASSING, Stoppable, create_topic, settings

TOPIC, PARTITIONS, GROUP, MEMBERS = "zoo-flood", 6, "trio", 3
PER_SECOND = 20_000
STEP = 200              # records given at a time
UNDELIVERED_MAX = 90_000
DELIVERY_S = 120
COMMIT_EVERY_S = 0.5


class Flood(Stoppable):
    def __init__(self, cluster):
        super().__init__("flood")
        self.given, self.acknowledged, self.without_offset = [0] * PARTITIONS, [0] * PARTITIONS, 0
        self.problems, self.silence, self.last = [], 0.0, None
        self.producer = confluent_kafka.Producer(settings(cluster, **{
            "enable.idempotence": True, "acks": "all", "linger.ms": 5, "compression.type": "lz4", "message.timeout.ms": 1000 * DELIVERY_S,
            "queue.buffering.max.messages": 2 * UNDELIVERED_MAX, "on_delivery": self.delivered, "error_cb": self.told}))

    def told(self, error):
        if error.fatal():
            self.problems.append(f"the producer gave up: {error}")

    def delivered(self, error, message):
        partition, number = message.partition(), int(message.value())
        if error is not None:
            self.problems.append(f"number {number} of partition {partition} was not delivered: {error}")
            return
        offset = message.offset()
        if offset is None or offset < 0:
            self.without_offset += 1
        elif offset != number:
            self.problems.append(f"number {number} of partition {partition} was acknowledged at offset {offset}")
        if number != self.acknowledged[partition]:
            self.problems.append(f"number {number} of partition {partition} was acknowledged as the {self.acknowledged[partition]}-th")
        self.acknowledged[partition] = number + 1
        self.last[partition] = time.monotonic()

    def since_last(self):
        """Seconds that the quietest partition has been without an acknowledgement."""
        return time.monotonic() - min(self.last)

    def work(self):
        due, turn = time.monotonic(), 0
        self.last = [due] * PARTITIONS
        while not self.ended.is_set() and not self.problems:
            if len(self.producer) < UNDELIVERED_MAX:
                partition, turn = turn % PARTITIONS, turn + 1
                for number in range(self.given[partition], self.given[partition] + STEP):
                    self.producer.produce(TOPIC, b"%d" % number, partition=partition)
                self.given[partition] += STEP
            self.producer.poll(0)
            self.silence = max(self.silence, self.since_last())
            due += STEP / PER_SECOND
            while (pause := due - time.monotonic()) > 0:
                self.producer.poll(pause)
            if pause < -1:
                due = time.monotonic()  # a busy machine, or nobody to send to: no flood of floods afterwards

    def take_silence(self):
        """The longest wait of any partition since the last call."""
        taken, self.silence = self.silence, 0.0
        return taken

    def settle(self):
        self.stop()
        left = self.producer.flush(DELIVERY_S)
        if left or self.given != self.acknowledged:
            self.problems.append(f"{left} records have no answer after {DELIVERY_S} s: given {self.given}, acknowledged {self.acknowledged}")


class Trio:
    """What the members of the group know together: of each partition what was confirmed, and what was asked for."""

    def __init__(self, cluster):
        self.confirmed, self.asked, self.problems, self.read = [0] * PARTITIONS, [0] * PARTITIONS, [], 0
        self.lock = threading.Lock()
        self.members = [TrioMember(cluster, self, number) for number in range(MEMBERS)]

    def start(self):
        for member in self.members:
            member.start()

    def settle(self, ends, seconds=DELIVERY_S):
        deadline = time.monotonic() + seconds
        while self.confirmed != ends and not self.problems:
            if time.monotonic() > deadline:
                self.problems.append(f"the group has committed {self.confirmed}, the ends are {ends}: not within {seconds} s")
            time.sleep(0.1)
        for member in self.members:
            member.stop()


class TrioMember(Stoppable):
    def __init__(self, cluster, trio, number):
        super().__init__(f"member {number} of {GROUP}")
        self.trio, self.starts, self.position = trio, {}, {}
        self.consumer = confluent_kafka.Consumer(settings(cluster, **{
            "group.id": GROUP, "enable.auto.commit": False, "auto.offset.reset": "earliest", "session.timeout.ms": 6000, "heartbeat.interval.ms": 500, "fetch.wait.max.ms": 100}))

    def assigned(self, _, partitions):
        with self.trio.lock:
            self.position = {}
            self.starts = {place.partition: self.trio.confirmed[place.partition] for place in partitions}

    def revoked(self, *_):
        self.position, self.starts = {}, {}

    def work(self):
        self.consumer.subscribe([TOPIC], on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.revoked)
        due = time.monotonic() + COMMIT_EVERY_S
        while not self.ended.is_set():
            # One by one: a revocation in the middle of several would be seen after records that came before it.
            message = self.consumer.poll(0.1)
            if message is not None:
                self.take(message)
            if time.monotonic() > due:
                self.commit()
                due = time.monotonic() + COMMIT_EVERY_S
        self.consumer.close()

    def take(self, message):
        if message.error() is not None:
            if message.error().code() not in PASSING:
                self.trio.problems.append(f"{self.name} was told {message.error()}")
            return
        partition, offset, number = message.partition(), message.offset(), int(message.value())
        expected = self.position.get(partition)
        if offset != number:
            self.trio.problems.append(f"offset {offset} of partition {partition} has number {number}")
        if expected is None and not self.starts.get(partition, 0) <= offset <= self.trio.asked[partition]:
            self.trio.problems.append(f"{self.name} goes on at {offset} of partition {partition}, not within {self.starts.get(partition)}..{self.trio.asked[partition]}")
        if expected is not None and offset != expected:
            self.trio.problems.append(f"{self.name} got offset {offset} of partition {partition} instead of {expected}")
        self.position[partition] = offset + 1
        self.trio.read += 1

    def commit(self):
        asked = dict(self.position)
        if not asked:
            return
        with self.trio.lock:
            for partition, offset in asked.items():
                self.trio.asked[partition] = max(self.trio.asked[partition], offset)
        try:
            done = self.consumer.commit(offsets=[TopicPartition(TOPIC, partition, offset) for partition, offset in asked.items()], asynchronous=False)
        except KafkaException:
            return  # at another generation, or nobody answered: asked for, not confirmed
        with self.trio.lock:
            for place in done:
                if place.error is None:
                    self.trio.confirmed[place.partition] = max(self.trio.confirmed[place.partition], place.offset)


def prepare(cluster):
    create_topic(cluster, TOPIC, PARTITIONS)
