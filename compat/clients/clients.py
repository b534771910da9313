"""Today's clients, unchanged, on our broker: kcat, confluent-kafka (librdkafka), kafka-python."""
import collections
import pathlib
import shutil
import signal
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness import PROGRAM, PYTHON, Checks, Failed, Workspace, expect, free_port, run

import confluent_kafka
import confluent_kafka.admin
import kafka
import kafka.admin

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


class Server:
    """Keeper and broker in one process, for all checks of this file."""

    def __init__(self, workspace):
        self.port, self.zookeeper = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        data = str(workspace.path / "data")
        self.process = workspace.start([PROGRAM, "serve", "--keeper-port", str(self.zookeeper), "--port", str(self.port), "--data-dir", data])
        self.process.wait_line(r"started")

    def create(self, topic, partitions=1, **config):
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.address})
        new = confluent_kafka.admin.NewTopic(topic, partitions, 1, config=config)
        for future in admin.create_topics([new]).values():
            future.result(20)


# kcat

def kcat_round_trip(server):
    server.create("kcat", 2)
    lines = "".join(f"key{i}:value {i}\n" for i in range(1000))
    for codec in CODECS:
        code, _, err = run(["kcat", "-q", "-P", "-b", server.address, "-t", "kcat", "-K", ":", "-z", codec], text=lines)
        expect(code, 0, f"kcat -P -z {codec} ({err[-300:]})")
    code, out, err = run(["kcat", "-q", "-C", "-b", server.address, "-t", "kcat", "-e", "-o", "beginning", "-f", "%k:%s\n"])
    expect(code, 0, f"kcat -C ({err[-300:]})")
    expect(collections.Counter(out.splitlines()), collections.Counter({line: len(CODECS) for line in lines.splitlines()}), "what kcat read")


def kcat_lists_metadata(server):
    code, out, _ = run(["kcat", "-L", "-b", server.address, "-t", "kcat"])
    expect(code, 0, "kcat -L")
    for part in ("1 brokers:", f"broker 0 at", 'topic "kcat" with 2 partitions', "leader 0, replicas: 0, isrs: 0"):
        if part not in out:
            raise Failed(f"kcat -L does not say {part!r}:\n{out}")


def kcat_reads_by_time(server):
    server.create("times")
    run(["kcat", "-q", "-P", "-b", server.address, "-t", "times"], text="before\n")
    time.sleep(0.05)
    middle = int(time.time() * 1000)
    run(["kcat", "-q", "-P", "-b", server.address, "-t", "times"], text="after\n")
    _, out, _ = run(["kcat", "-q", "-C", "-b", server.address, "-t", "times", "-e", "-o", f"s@{middle}"])
    expect(out, "after\n", "what was written after the timestamp")


# confluent-kafka

def produce_confluent(server, topic, count, **config):
    """Gives the offsets by value, as the delivery reports said."""
    producer = confluent_kafka.Producer({"bootstrap.servers": server.address, "linger.ms": 5, **config})
    offsets, errors = {}, []

    def report(error, message):
        if error:
            errors.append(str(error))
        else:
            offsets[message.value()] = (message.partition(), message.offset())

    for i in range(count):
        producer.produce(topic, f"v{i}".encode(), key=f"k{i % 10}".encode(), on_delivery=report)
        producer.poll(0)
    producer.flush(30)
    expect(errors, [], "failed deliveries")
    expect(len(offsets), count, "deliveries")
    return offsets


def consumer_confluent(server, group, topic):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": server.address, "group.id": group, "auto.offset.reset": "earliest",
                                         "session.timeout.ms": 6000, "enable.auto.commit": False})
    consumer.subscribe([topic])
    return consumer


def poll_all(consumers, wanted, seconds=40):
    """Polls until `wanted` values came; gives them in the order they came, per consumer."""
    values = [[] for _ in consumers]
    deadline = time.monotonic() + seconds
    while sum(map(len, values)) < wanted:
        if time.monotonic() > deadline:
            raise Failed(f"only {sum(map(len, values))} of {wanted} records within {seconds} s")
        for consumer, got in zip(consumers, values):
            message = consumer.poll(0.05)
            if message is None:
                continue
            if message.error():
                raise Failed(str(message.error()))
            got.append(message.value())
    return values


def idempotent_producer(server):
    server.create("idempotent")
    offsets = produce_confluent(server, "idempotent", 5000, **{"enable.idempotence": True, "compression.type": "lz4"})
    expect(sorted(offset for _, offset in offsets.values()), list(range(5000)), "offsets of the deliveries")
    consumer = consumer_confluent(server, "idempotent-readers", "idempotent")
    expect(poll_all([consumer], 5000)[0], [f"v{i}".encode() for i in range(5000)], "records in order")
    consumer.close()


def assigned(consumers, partitions, seconds=40):
    """Polls until the consumers own all partitions between them; gives what each owns. Records are not expected here."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for consumer in consumers:
            consumer.poll(0.05)
        owned = [sorted(p.partition for p in consumer.assignment()) for consumer in consumers]
        if sorted(sum(owned, [])) == list(range(partitions)) and all(owned):
            return owned
    raise Failed(f"the group owns {owned} after {seconds} s")


def group_of_two(server):
    """Two members share four partitions; one leaves, the other takes all; commits are where the next one starts."""
    server.create("group", 4)
    first, second = (consumer_confluent(server, "pair", "group") for _ in range(2))
    owned = assigned([first, second], 4)
    expect([len(part) for part in owned], [2, 2], "partitions of each member")
    produce_confluent(server, "group", 400)
    values = poll_all([first, second], 400)
    expect(sorted(sum(values, [])), sorted(f"v{i}".encode() for i in range(400)), "records of both")
    first.commit(asynchronous=False)
    second.commit(asynchronous=False)
    second.close()
    expect(assigned([first], 4), [[0, 1, 2, 3]], "partitions after one left")
    first.close()
    after = consumer_confluent(server, "pair", "group")
    assigned([after], 4)
    if (message := after.poll(1)) is not None:
        raise Failed(f"{message.value()!r} came again although it was committed")
    after.close()


def member_killed(server):
    """A member that dies without a word is taken out of the group after its session time-out."""
    server.create("killed", 2)
    victim_program = (
        "import confluent_kafka,sys\n"
        "c=confluent_kafka.Consumer({'bootstrap.servers':sys.argv[1],'group.id':'victims','session.timeout.ms':6000})\n"
        "c.subscribe(['killed'])\n"
        "while True:\n"
        "  c.poll(0.1)\n"
        "  if c.assignment(): print(len(c.assignment()),flush=True)\n")
    with Workspace("victim") as workspace:
        victim = workspace.start([PYTHON, "-c", victim_program, server.address])
        victim.wait_line("^2$")
        survivor = consumer_confluent(server, "victims", "killed")
        deadline = time.monotonic() + 30
        while len(survivor.assignment()) != 1 and time.monotonic() < deadline:
            survivor.poll(0.05)
        expect(len(survivor.assignment()), 1, "partitions of the second member")
        victim.stop(signal.SIGKILL)
        expect(assigned([survivor], 2), [[0, 1]], "partitions after the kill")
        survivor.close()


def admin_confluent(server):
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": server.address})
    server.create("admin", 1, **{"retention.ms": "60000"})
    resource = confluent_kafka.admin.ConfigResource("topic", "admin")
    config = admin.describe_configs([resource])[resource].result(20)
    expect((config["retention.ms"].value, config["segment.bytes"].value), ("60000", "1073741824"), "the topic's configuration")
    admin.create_partitions([confluent_kafka.admin.NewPartitions("admin", 3)])["admin"].result(20)
    expect(len(admin.list_topics("admin", timeout=20).topics["admin"].partitions), 3, "partitions")
    cluster = admin.describe_cluster().result(20)
    expect((len(cluster.nodes), cluster.controller.id), (1, 0), "the cluster")
    try:
        server.create("admin")
        raise Failed("a topic was created twice")
    except confluent_kafka.KafkaException as error:
        expect(error.args[0].code(), confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS, "the error of a second creation")
    groups = {group.group_id for group in admin.list_consumer_groups().result(20).valid}
    if "pair" not in groups:
        raise Failed(f"the group of an earlier check is not listed: {groups}")
    admin.delete_topics(["admin"])["admin"].result(20)
    deadline = time.monotonic() + 10
    while "admin" in admin.list_topics(timeout=20).topics:
        if time.monotonic() > deadline:
            raise Failed("the deleted topic is still listed")
        time.sleep(0.1)


def transactional_id_is_refused(server):
    producer = confluent_kafka.Producer({"bootstrap.servers": server.address, "transactional.id": "t"})
    try:
        producer.init_transactions(10)
        raise Failed("transactions do not exist yet, but were begun")
    except confluent_kafka.KafkaException as error:
        if error.args[0].retriable():
            raise Failed(f"{error} is retriable: the client would try for ever") from None


# kafka-python

def kafka_python_round_trip(server):
    server.create("kafka-python", 2)
    producer = kafka.KafkaProducer(bootstrap_servers=server.address, acks="all", compression_type="gzip")
    sent = [producer.send("kafka-python", f"v{i}".encode(), headers=[("h", b"x")]) for i in range(300)]
    producer.flush(20)
    expect(len({(m.partition, m.offset) for m in (future.get(20) for future in sent)}), 300, "deliveries")
    producer.close()
    consumer = kafka.KafkaConsumer("kafka-python", bootstrap_servers=server.address, group_id="kafka-python-readers", auto_offset_reset="earliest",
                                   consumer_timeout_ms=15000)
    values = []
    for message in consumer:
        expect(message.headers, [("h", b"x")], "headers")
        values.append(message.value)
        if len(values) == 300:
            break
    expect(sorted(values), sorted(f"v{i}".encode() for i in range(300)), "records")
    consumer.commit()
    consumer.close()
    admin = kafka.admin.KafkaAdminClient(bootstrap_servers=server.address)
    offsets = admin.list_group_offsets({"kafka-python-readers": None})["kafka-python-readers"]
    admin.close()
    expect(sum(offset.offset for offset in offsets.values()), 300, "committed offsets")


def main():
    checks = Checks()
    with Workspace("clients") as workspace:
        server = Server(workspace)
        if shutil.which("kcat"):
            checks.check("kcat: produce with every codec, consume", kcat_round_trip, server)
            checks.check("kcat: metadata", kcat_lists_metadata, server)
            checks.check("kcat: from a timestamp", kcat_reads_by_time, server)
        else:
            checks.skip("kcat (3 checks)", "kcat is not installed")
        checks.check("confluent-kafka: idempotent producer, order and offsets", idempotent_producer, server)
        checks.check("confluent-kafka: a group of two, one leaves", group_of_two, server)
        checks.check("confluent-kafka: a member is killed", member_killed, server)
        checks.check("confluent-kafka: admin", admin_confluent, server)
        checks.check("confluent-kafka: a transactional id is refused for good", transactional_id_is_refused, server)
        checks.check("kafka-python: produce, group, commit, admin", kafka_python_round_trip, server)
        checks.check("the server stops cleanly", lambda: expect(server.process.stop(signal.SIGTERM), 0, "its exit code"))
    checks.close()


if __name__ == "__main__":
    main()
