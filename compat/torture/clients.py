"""Clients that live through every fault and note what they were told: an idempotent producer, a reader, and what all workloads share."""
import json
import logging
import threading
import time

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness import Failed

RECONNECT = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 50, "log_level": 0, "socket.timeout.ms": 5000,
             "socket.connection.setup.timeout.ms": 2000, "topic.metadata.refresh.interval.ms": 2000, "topic.metadata.refresh.fast.interval.ms": 100}
# librdkafka asks a broker of 0.9 no versions.
OF_APACHE_09 = {"api.version.request": False, "broker.version.fallback": "0.9.0.1"}
DELIVERY_S = 120     # a record that is not stored by then is given up: longer than any fault
UNDELIVERED_MAX = 5000
CREATE_S = 60
SETTLE_S = 60
# What a client is told while servers are away or change places, and tries again by itself.
PASSING = {
    KafkaError._TRANSPORT, KafkaError._DESTROY_BROKER, KafkaError._TIMED_OUT_QUEUE, KafkaError._WAIT_COORD, KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT, KafkaError._MAX_POLL_EXCEEDED, KafkaError._RESOLVE, KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REQUEST_TIMED_OUT, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR,
    KafkaError.KAFKA_STORAGE_ERROR, KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.NOT_ENOUGH_REPLICAS, KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND, KafkaError.REPLICA_NOT_AVAILABLE,
}
# A record is certainly not stored where the client never sent it.
NEVER_SENT = {KafkaError._PURGE_QUEUE, KafkaError.MSG_SIZE_TOO_LARGE}


def settings(cluster, **more):
    return {**RECONNECT, **(OF_APACHE_09 if cluster.kind == "apache" else {}), "bootstrap.servers": cluster.bootstrap, **more}


def key_of(topic, partition):
    return f"{topic}-{partition}"


def create_topic(cluster, topic, partitions, replicas=3, **config):
    if cluster.kind == "apache":
        # 0.9 has no request for it: the znodes are what its tool writes.
        brokers = [broker.id for broker in cluster.brokers]
        assignment = {str(number): [brokers[(number + step) % len(brokers)] for step in range(replicas)] for number in range(partitions)}
        cluster.kazoo.ensure_path("/config/topics")
        cluster.kazoo.create(f"/config/topics/{topic}", json.dumps({"version": 1, "config": config}).encode())
        cluster.kazoo.create(f"/brokers/topics/{topic}", json.dumps({"version": 1, "partitions": assignment}).encode())
    else:
        admin = AdminClient(settings(cluster))
        new = NewTopic(topic, partitions, replicas, config={key: str(value) for key, value in config.items()})

        def created():
            try:
                admin.create_topics([new], operation_timeout=CREATE_S, request_timeout=CREATE_S)[topic].result(CREATE_S)
            except KafkaException as refused:
                # The controller hears of a broker a moment after that has registered.
                if refused.args[0].code() != KafkaError.INVALID_REPLICATION_FACTOR:
                    raise
                return False
            return True

        cluster.wait(created, f"brokers enough for {topic}")
    cluster.wait(lambda: all(cluster.leader(topic, number) for number in range(partitions)), f"a leader for each partition of {topic}")


class Stoppable(threading.Thread):
    """A thread that works until told to stop; what ends it otherwise fails the run."""

    def __init__(self, name):
        super().__init__(name=name, daemon=True)
        self.ended, self.problem = threading.Event(), None

    def run(self):
        try:
            self.work()
        except Exception as error:
            self.problem = f"{self.name} ended: {type(error).__name__}: {error}"

    def stop(self, seconds=SETTLE_S):
        self.ended.set()
        if self.ident is not None:  # it was started
            self.join(seconds)
        if self.problem or self.is_alive():
            raise Failed(self.problem or f"{self.name} hangs: it does not end within {seconds} s")


class NewEpochs(logging.Handler):
    """Notes that librdkafka begins a new epoch, in which it sends once more what it has no answer to: stored already, it is a duplicate that no broker can see."""

    def __init__(self, history, process):
        super().__init__()
        self.history, self.process = history, process

    def emit(self, record):
        text = record.getMessage()
        if "epoch bump" in text:
            self.history.add("new-epoch", process=self.process, what=text)


class Sender(Stoppable):
    """Appends whole numbers, each once, with acks=all and, where the server knows it, idempotence."""

    def __init__(self, cluster, history, rng, topic, partitions, per_second, process="producer", base=0):
        super().__init__(f"{process} of {topic}")
        self.cluster, self.history, self.rng, self.topic, self.partitions, self.per_second, self.process = cluster, history, rng, topic, partitions, per_second, process
        self.number, self.burst, self.waiting = base, 0, {}
        idempotent = {} if cluster.kind == "apache" else {"enable.idempotence": True, "debug": "eos"}
        logger = logging.Logger(process)
        logger.addHandler(NewEpochs(history, process))
        self.producer = confluent_kafka.Producer(settings(cluster, **idempotent, **{
            "acks": "all", "linger.ms": 2, "batch.num.messages": 50, "message.timeout.ms": 1000 * DELIVERY_S, "error_cb": self.on_error}), logger=logger)

    def on_error(self, error):
        if error.fatal():
            self.history.add("error", process=self.process, what=f"the producer gave up: {error}")

    def delivered(self, number, sent, burst):
        def report(error, message):
            self.waiting.pop(number, None)
            kind = "ok" if error is None else "fail" if error.code() in NEVER_SENT else "info"
            self.history.add("send", type=kind, process=self.process, key=key_of(self.topic, message.partition()), value=number,
                             offset=message.offset() if error is None and (message.offset() or 0) >= 0 else None, sent=sent, burst=burst,
                             **({"error": str(error)} if error else {}))
        return report

    def work(self):
        due = time.monotonic()
        while not self.ended.is_set():
            self.burst += 1
            for _ in range(self.rng.randrange(1, 6)):
                due += 1 / self.per_second
                if len(self.producer) < UNDELIVERED_MAX:
                    self.send()
            self.producer.poll(0)
            while (pause := due - time.monotonic()) > 0 and not self.ended.is_set():
                self.producer.poll(min(pause, 0.2))
            if pause < -1:
                due = time.monotonic()  # the machine was busy: no flood afterwards

    def send(self):
        number, sent = self.number, time.monotonic()
        self.number += 1
        partition = self.rng.randrange(self.partitions)
        self.waiting[number] = (partition, sent, self.burst)
        value = str(number).encode() + b" " * self.rng.randrange(200)
        try:
            self.producer.produce(self.topic, value, partition=partition, on_delivery=self.delivered(number, sent, self.burst))
        except BufferError:
            del self.waiting[number]
        except KafkaException as error:
            # It gave up, as `on_error` has noted: there is nothing more to send.
            del self.waiting[number]
            self.history.add("error", process=self.process, what=f"the producer takes nothing more: {error}")
            self.ended.set()

    def settle(self, seconds=DELIVERY_S):
        """Stops, and waits for what is under way; a record without any answer by then is noted as one that hangs."""
        self.stop()
        self.producer.flush(seconds)
        for number, (partition, sent, burst) in list(self.waiting.items()):
            self.history.add("send", type="info", process=self.process, key=key_of(self.topic, partition), value=number, offset=None, sent=sent, burst=burst)
            self.history.add("error", process=self.process, what=f"number {number} of partition {partition} had no answer within {seconds} s")


def value_of(message):
    return int(message.value())


class Reader(Stoppable):
    """Reads every partition from the beginning on, again and again, and asks for the ends."""

    def __init__(self, cluster, history, rng, topic, partitions, process="reader", again_s=15):
        super().__init__(f"{process} of {topic}")
        self.cluster, self.history, self.rng, self.topic, self.partitions, self.process, self.again_s = cluster, history, rng, topic, partitions, process, again_s

    def consumer(self):
        return confluent_kafka.Consumer(settings(self.cluster, **{
            "group.id": f"{self.process}-alone", "enable.auto.commit": False, "auto.offset.reset": "error", "fetch.wait.max.ms": 100, "fetch.error.backoff.ms": 50}))

    def assign(self, consumer, at=0):
        self.history.add("assign", process=self.process)
        consumer.assign([TopicPartition(self.topic, partition, at) for partition in range(self.partitions)])

    def take(self, messages):
        records = []
        for message in messages:
            if message.error() is None:
                records.append([key_of(self.topic, message.partition()), message.offset(), value_of(message)])
            elif message.error().code() not in PASSING:
                self.history.add("error", process=self.process, what=f"reading partition {message.partition()}: {message.error()}")
        if records:
            self.history.add("poll", process=self.process, group=None, records=records)
        return records

    def work(self):
        while not self.ended.is_set():
            consumer = self.consumer()
            self.assign(consumer)
            until = time.monotonic() + self.rng.uniform(0.5, 1.5) * self.again_s
            ask = time.monotonic() + 1
            while not self.ended.is_set() and time.monotonic() < until:
                self.take(consumer.consume(500, 0.2))
                if time.monotonic() > ask:
                    self.ask_end(consumer, self.rng.randrange(self.partitions), 1)
                    ask = time.monotonic() + 1
            consumer.close()

    def ask_end(self, consumer, partition, seconds):
        invoked = time.monotonic()
        try:
            _, end = consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=seconds)
        except KafkaException as error:
            if error.args[0].code() not in PASSING:
                self.history.add("error", process=self.process, what=f"asking for the end of partition {partition}: {error}")
            return None
        self.history.add("watermark", process=self.process, key=key_of(self.topic, partition), offset=end, invoked=invoked)
        return end

    def read_to_the_end(self, seconds=SETTLE_S):
        """After all is over: reads each partition from its beginning to its end; gives the ends."""
        self.process = f"{self.process}-last"
        consumer = self.consumer()
        deadline = time.monotonic() + seconds
        ends = {}
        while len(ends) < self.partitions:
            for partition in range(self.partitions):
                if partition not in ends and (end := self.ask_end(consumer, partition, 5)) is not None:
                    ends[partition] = end
            if time.monotonic() > deadline:
                raise Failed(f"the ends of {self.topic} are not told within {seconds} s: {ends}")
        self.assign(consumer)
        position = dict.fromkeys(range(self.partitions), 0)
        while any(position[partition] < ends[partition] for partition in ends):
            for key, offset, _ in self.take(consumer.consume(2000, 0.2)):
                partition = int(key.rpartition("-")[2])
                position[partition] = max(position[partition], offset + 1)
            if time.monotonic() > deadline:
                raise Failed(f"{self.topic} cannot be read to its end within {seconds} s: {position} of {ends}")
        consumer.close()
        return ends
