"""The clients that live through every kill: an idempotent producer and a member of a consumer group (confluent-kafka), each judging what it is told.

The record with number n of a partition is the n-th the producer was given for it, so a log that lost nothing, doubled nothing and kept the order has number n at
offset n. Its value begins with the word `partition:number:`, which is what the word count counts.
"""
import threading
import time

import confluent_kafka

from harness import Failed, expect

TOPIC, GROUP, PARTITIONS = "crashed", "readers", 4
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
        self.turn = threading.Lock()  # nothing is idle that was told to go on meanwhile

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
                    with self.turn:
                        if not self.going.is_set():
                            self.idle.set()
                    self.going.wait(0.05)
                continue
            for _ in range(self.rng.randrange(1, 12)):
                if len(self.producer) >= UNDELIVERED_MAX:
                    break
                partition = self.rng.randrange(PARTITIONS)
                number = self.given[partition]
                value = f"{partition}:{number}: ".encode() + b"x" * self.rng.randrange(VALUE_BYTES_MAX)
                self.producer.produce(TOPIC, value, partition=partition, on_delivery=self.report(number))
                self.given[partition] += 1
            self.producer.poll(0.005)

    def resume(self):
        with self.turn:
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
