"""What both trials share: the clients under load, and what is looked at after each restart."""
import json
import random
import socket
import struct
import time

import confluent_kafka
import confluent_kafka.admin
from kazoo.client import KazooClient

from clients import GROUP, PARTITIONS, PAUSE_S, RECONNECT, TOPIC, Load, Reader, fail_on, wait_for
from harness import Failed, expect, port_is_free

# Below the range that connections take their own ports from: a client that keeps connecting to a dead server on loopback would, once in a while, reach itself and
# hold the server's port.
PORTS = range(21300, 21400)

NOT_YET = (confluent_kafka.KafkaError.NOT_COORDINATOR, confluent_kafka.KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
           confluent_kafka.KafkaError.COORDINATOR_NOT_AVAILABLE)


def two_ports():
    return random.sample([port for port in PORTS if port_is_free(port)], 2)


class Trial:
    """Kills with `strike`, which a trial brings itself, and checks that nothing acknowledged is gone."""

    def __init__(self, workspace, rng):
        self.workspace, self.rng = workspace, rng
        self.port, self.zookeeper = two_ports()
        self.address = f"127.0.0.1:{self.port}"
        self.restarts = []  # seconds from the start of a process until the broker in it leads every partition
        self.start()
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.address})
        admin.create_topics([confluent_kafka.admin.NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(20)
        self.commit_the_beginning()
        self.load, self.reader = Load(self.address, random.Random(rng.random())), Reader(self.address)
        self.load.resume()
        self.load.start()
        self.reader.start()

    def round(self):
        self.load.resume()
        time.sleep(self.rng.uniform(0.1, 1.5))
        self.strike()
        if self.rng.random() < 0.5:
            self.reader.renew.set()
        self.load.pause()
        self.records_are_all_there()
        self.group_reads_to_the_end()

    def end(self):
        self.load.ended.set()
        self.reader.ended.set()
        self.load.join(PAUSE_S)
        self.reader.join(PAUSE_S)
        fail_on(self.load.problems + self.reader.problems)

    def figures(self):
        """What this trial adds to the line of its campaign."""
        return {}

    def outsider(self, group):
        return confluent_kafka.Consumer({**RECONNECT, "bootstrap.servers": self.address, "group.id": group, "enable.auto.commit": False,
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

    def wait_until_serving(self, process, started):
        """Notes the seconds from the start of the broker's process until it leads every partition."""
        deadline = started + PAUSE_S
        while not self.leads_all():
            if process.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"the broker does not serve again\n{process.tail()}")
            time.sleep(0.005)
        self.restarts.append(time.monotonic() - started)

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

    def keeper_client(self):
        client = KazooClient(hosts=f"127.0.0.1:{self.zookeeper}")
        client.start(20)
        return client

    def registration(self):
        """The session that /brokers/ids/0 belongs to."""
        client = self.keeper_client()
        try:
            data, stat = client.get("/brokers/ids/0")
        finally:
            client.stop()
            client.close()
        expect(json.loads(data)["port"], self.port, "the port in /brokers/ids/0")
        if not stat.ephemeralOwner:
            raise Failed("/brokers/ids/0 is not ephemeral")
        return stat.ephemeralOwner

    def commits_stand(self, confirmed):
        consumer = self.outsider(GROUP)
        asked = [confluent_kafka.TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]
        for stored in committed(consumer, asked):
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


def committed(consumer, partitions):
    """What is committed. A broker that has just started may have to say once more that it is not the coordinator yet, as Apache's does."""
    deadline = time.monotonic() + PAUSE_S
    while True:
        try:
            return consumer.committed(partitions, timeout=PAUSE_S)
        except confluent_kafka.KafkaException as error:
            if error.args[0].code() not in NOT_YET or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


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
