"""Compacted topics, written and read by others' clients: kcat, confluent-kafka (librdkafka), kafka-python."""
import pathlib
import shutil
import signal
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness import PROGRAM, Checks, Failed, Workspace, expect, free_port, run

import confluent_kafka
import confluent_kafka.admin
import kafka
from kafka.record import MemoryRecords

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
# What kafka-python unpacks without further packages.
PYTHON_CODECS = ["none", "gzip"]
KEYS = 20
# Small segments that are cleaned as soon as they are closed.
COMPACTED = {"cleanup.policy": "compact", "segment.bytes": "20000", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "1000",
             "file.delete.delay.ms": "1000"}
WAIT_S = 60


class Server:
    """Keeper and broker in one process; its cleaner looks for work ten times a second."""

    def __init__(self, workspace):
        self.workspace = workspace
        self.port, self.keeper_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.data = workspace.path / "data"
        self.logs = self.data / "kafka-logs"
        self.start()

    def start(self):
        self.process = self.workspace.start([PROGRAM, "serve", "--keeper-port", str(self.keeper_port), "--port", str(self.port), "--data-dir", str(self.data),
                                             "--override", "log.cleaner.backoff.ms=100"])
        self.process.wait_line(r"started")

    def admin(self):
        return confluent_kafka.admin.AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def create(self, topic, **config):
        admin = self.admin()
        for future in admin.create_topics([confluent_kafka.admin.NewTopic(topic, 1, 1, config=config)]).values():
            future.result(20)

    def cleaned_to(self, topic):
        """The offset up to which the log was cleaned, as Kafka's own file says it."""
        try:
            lines = (self.logs / "cleaner-offset-checkpoint").read_text().splitlines()[2:]
        except FileNotFoundError:
            return 0
        return next((int(line.split()[2]) for line in lines if line.split()[:2] == [topic, "0"]), 0)

    def wait_cleaned(self, topic, offset):
        deadline = time.monotonic() + WAIT_S
        while self.cleaned_to(topic) < offset:
            if time.monotonic() > deadline:
                raise Failed(f"{topic} is cleaned up to {self.cleaned_to(topic)}, not {offset}, after {WAIT_S} s")
            time.sleep(0.05)


class Table:
    """What was written: every record by its offset, and the last value of each key."""

    def __init__(self, server, topic):
        self.server, self.topic = server, topic
        self.records, self.last, self.end = {}, {}, 0

    def write(self, pairs, codec="none", **config):
        producer = confluent_kafka.Producer({"bootstrap.servers": self.server.address, "linger.ms": 5, "compression.type": codec,
                                             "batch.size": 8000, **config})
        errors = []

        def report(error, message):
            if error:
                errors.append(str(error))
                return
            self.records[message.offset()] = (message.key(), message.value())
            self.end = max(self.end, message.offset() + 1)

        for key, value in pairs:
            producer.produce(self.topic, value, key=key, on_delivery=report)
            producer.poll(0)
            self.last[key] = value
        producer.flush(30)
        expect(errors[:3], [], "failed deliveries")

    def check(self, read, who):
        """`read` is what a client read from the beginning: offset, key, value."""
        offsets = [offset for offset, _, _ in read]
        expect(offsets, sorted(set(offsets)), f"offsets that {who} read, in order and once")
        for offset, key, value in read:
            expect((key, value), self.records[offset], f"the record at offset {offset}, read by {who}")
        table = {}
        for _, key, value in read:
            table[key] = value
        present = {key: value for key, value in self.last.items() if value is not None}
        expect({key: value for key, value in table.items() if value is not None}, present, f"the table that {who} read")


def read_confluent(server, topic, end, start=0):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": server.address, "group.id": "nobody", "enable.partition.eof": True, "log_level": 0,
                                         "auto.offset.reset": "error"})
    consumer.assign([confluent_kafka.TopicPartition(topic, 0, start)])
    read, deadline = [], time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            expect(message.error().code(), confluent_kafka.KafkaError._PARTITION_EOF, "what ends the read")
            consumer.close()
            return read
        read.append((message.offset(), message.key(), message.value()))
    raise Failed(f"no end of {topic} within {WAIT_S} s; {len(read)} records read of {end} offsets")


def read_kafka_python(server, topic, end):
    consumer = kafka.KafkaConsumer(bootstrap_servers=server.address, consumer_timeout_ms=WAIT_S * 1000)
    partition = kafka.TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    read = []
    while consumer.position(partition) < end:
        for message in consumer.poll(1000).get(partition, []):
            read.append((message.offset, message.key, message.value))
    consumer.close()
    return read


def read_kcat(server, topic):
    code, out, err = run(["kcat", "-q", "-C", "-b", server.address, "-t", topic, "-e", "-o", "beginning", "-f", "%o %k %S %s\n"])
    expect(code, 0, f"kcat -C ({err[-300:]})")
    read = []
    for line in out.splitlines():
        offset, key, size, value = line.split(" ", 3)
        read.append((int(offset), key.encode(), None if size == "-1" else value.encode()))
    return read


def pairs(round_):
    return [(f"key{n % KEYS}".encode(), f"round {round_} value {n} {'x' * 40}".encode()) for n in range(600)]


def the_last_of_each_key(server, table, codecs):
    server.create(table.topic, **COMPACTED)
    for round_, codec in enumerate(codecs):
        table.write(pairs(round_), codec, **{"enable.idempotence": round_ % 2 == 1})
    table.write([(b"key3", None), (b"never", None)])
    full = table.end
    # The last segment is never cleaned: what fills it pushes everything before it into the cleaner's reach.
    table.write([(f"filler{n % 5}".encode(), b"y" * 400) for n in range(300)])
    server.wait_cleaned(table.topic, full)
    read = read_confluent(server, table.topic, table.end)
    table.check(read, "confluent-kafka")
    before = [offset for offset, _, _ in read if offset < full]
    if len(before) > KEYS + 2:
        raise Failed(f"{len(before)} records are left below offset {full}, of {KEYS} keys")


def kcat_reads_the_same(server, table):
    read = read_kcat(server, table.topic)
    table.check(read, "kcat")
    expect(read == read_confluent(server, table.topic, table.end), True, "whether kcat read what confluent-kafka read")


def kafka_python_reads_the_same(server, table):
    read = read_kafka_python(server, table.topic, table.end)
    table.check(read, "kafka-python")
    expect(read == read_confluent(server, table.topic, table.end), True, "whether kafka-python read what confluent-kafka read")


def from_within_a_gap(server, table):
    everything = read_confluent(server, table.topic, table.end)
    present = {offset for offset, _, _ in everything}
    for start in [offset for offset in range(0, table.end, 97) if offset not in present][:10]:
        read = read_confluent(server, table.topic, table.end, start)
        expect(read == [record for record in everything if record[0] >= start], True, f"whether a read from {start} gives all that is left from there on")


def tombstones_go(server, table):
    time.sleep(1.1)  # delete.retention.ms, counted from the pass that met them
    mark = table.end
    table.write([(f"filler{n % 5}".encode(), b"z" * 400) for n in range(300)])
    server.wait_cleaned(table.topic, mark)
    read = read_confluent(server, table.topic, table.end)
    table.check(read, "confluent-kafka")
    expect([record for record in read if record[2] is None], [], "tombstones")


def files_are_sound(server, table):
    directory = server.logs / f"{table.topic}-0"
    segments = sorted(directory.glob("*.log"))
    offsets = []
    for segment in segments:
        code, out, err = run([PROGRAM, "kafka-dump-log", "--deep-iteration", "--files",
                              ",".join(str(segment.with_suffix(suffix)) for suffix in (".log", ".index", ".timeindex"))])
        expect(code, 0, f"kafka-dump-log ({err[-300:]})")
        for wrong in ("isvalid: false", "Mismatches", "invalid bytes"):
            if wrong in out:
                raise Failed(f"kafka-dump-log says {wrong!r} of {segment.name}")
        records = MemoryRecords(segment.read_bytes())
        while records.has_next():
            batch = records.next_batch()
            expect(batch.validate_crc(), True, f"a checksum of {segment.name}, computed by kafka-python")
            offsets.extend(record.offset for record in batch)
    expect(offsets, [offset for offset, _, _ in read_confluent(server, table.topic, table.end)], "offsets in the files")


def a_restart_changes_nothing(server, table, how):
    expected = read_confluent(server, table.topic, table.end)
    server.process.stop(how)
    server.start()
    expect(read_confluent(server, table.topic, table.end) == expected, True, "whether the same is read after the restart")
    left = [path.name for path in (server.logs / f"{table.topic}-0").iterdir() if path.suffix in (".swap", ".cleaned", ".deleted")]
    expect(left, [], "files left over")


def killed_while_it_cleans(server, rounds):
    table = Table(server, "killed")
    server.create("killed", **COMPACTED)
    for round_ in range(rounds):
        table.write(pairs(round_), CODECS[round_ % len(CODECS)])
        time.sleep(0.013 * (round_ % 9))
        server.process.stop(signal.SIGKILL)
        server.start()
        table.check(read_confluent(server, "killed", table.end), f"confluent-kafka after kill {round_ + 1}")


def without_a_key(server, table):
    errors = []
    producer = confluent_kafka.Producer({"bootstrap.servers": server.address})
    producer.produce(table.topic, b"no key", on_delivery=lambda error, _: errors.append(error))
    producer.flush(20)
    expect([error and error.name() for error in errors], ["INVALID_RECORD"], "the delivery report")
    code, _, err = run(["kcat", "-P", "-b", server.address, "-t", table.topic, "-X", "message.timeout.ms=5000"], text="no key\n") if shutil.which("kcat") else (1, "", "")
    expect(code, 1, f"kcat's exit code ({err[-300:]})")


def policies_and_keys(server, table):
    admin = server.admin()
    resource = confluent_kafka.admin.ConfigResource(confluent_kafka.admin.ConfigResource.Type.TOPIC, table.topic)
    values = next(iter(admin.describe_configs([resource]).values())).result(20)
    for name, value in COMPACTED.items():
        expect(values[name].value, value, name)
    partition = confluent_kafka.TopicPartition(table.topic, 0, 5)
    try:
        next(iter(admin.delete_records([partition]).values())).result(20)
        raise Failed("DeleteRecords on a compacted topic succeeded")
    except confluent_kafka.KafkaException as refused:
        expect(refused.args[0].name(), "POLICY_VIOLATION", "the answer to DeleteRecords")
    server.create("both", **{"cleanup.policy": "compact,delete"})
    partition = confluent_kafka.TopicPartition("both", 0, 0)
    expect(next(iter(admin.delete_records([partition]).values())).result(20).low_watermark, 0, "DeleteRecords with compact,delete")


def offsets_topic_is_compacted(server):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": server.address, "group.id": "committers", "enable.auto.commit": False})
    server.create("committed")
    consumer.commit(offsets=[confluent_kafka.TopicPartition("committed", 0, 7)], asynchronous=False)
    consumer.close()
    resource = confluent_kafka.admin.ConfigResource(confluent_kafka.admin.ConfigResource.Type.TOPIC, "__consumer_offsets")
    admin = server.admin()
    values = next(iter(admin.describe_configs([resource]).values())).result(20)
    found = {name: values[name].value for name in ("cleanup.policy", "segment.bytes", "compression.type")}
    expect(found, {"cleanup.policy": "compact", "segment.bytes": "104857600", "compression.type": "producer"}, "configuration of __consumer_offsets")


def main():
    rounds = 40 if "--nightly" in sys.argv else 6
    checks = Checks()
    with Workspace("compaction") as workspace:
        server = Server(workspace)
        table = Table(server, "compacted")
        checks.check("every codec: the last record of each key stays at its offset", the_last_of_each_key, server, table, CODECS)
        plain = Table(server, "plain")
        checks.check("the same with codecs that kafka-python knows", the_last_of_each_key, server, plain, PYTHON_CODECS)
        checks.check("kafka-python reads the same", kafka_python_reads_the_same, server, plain)
        if shutil.which("kcat"):
            checks.check("kcat reads the same", kcat_reads_the_same, server, table)
        else:
            checks.skip("kcat (1 check)", "kcat is not installed")
        checks.check("a read from within a gap", from_within_a_gap, server, table)
        checks.check("tombstones go after delete.retention.ms", tombstones_go, server, table)
        checks.check("the files, by kafka-dump-log and kafka-python's decoder", files_are_sound, server, plain)
        checks.check("a record without a key is refused", without_a_key, server, table)
        checks.check("configuration, DeleteRecords", policies_and_keys, server, table)
        checks.check("__consumer_offsets is compacted", offsets_topic_is_compacted, server)
        checks.check("a clean restart reads equal", a_restart_changes_nothing, server, table, signal.SIGTERM)
        checks.check("a killed broker reads equal", a_restart_changes_nothing, server, table, signal.SIGKILL)
        checks.check(f"killed {rounds} times while it cleans", killed_while_it_cleans, server, rounds)
        checks.check("the server stops cleanly", lambda: expect(server.process.stop(signal.SIGTERM), 0, "its exit code"))
    checks.close()


if __name__ == "__main__":
    main()
