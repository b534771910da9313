"""A log directory without room, one that fails, and a bit that flips in one: what confluent-kafka, an operator and a supervisor see of it.

The directory is a small tmpfs of the run's own. It fills because a file beside the logs takes most of it, and has room again when that file goes. It fails because a
read-only mount of itself is laid over it: files that are open go on, everything new is refused, as on a file system that an error made read-only.
"""
import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import PROGRAM, Checks, Failed, Workspace, expect, free_port, wait_port

TMPFS_MB = 64
FILLER_MB = 40
VALUE_BYTES = 100_000
TOPIC = "filling"
KAFKA_STORAGE_ERROR = 56
WAIT_S = 60
RECONNECT = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 50, "log_level": 0}


class Mounts:
    """Mounts made for the run, taken away at its end, the last first."""

    def __init__(self):
        self.made = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        while self.made:
            self.take_away()

    def mount(self, path, *options):
        subprocess.run(["mount", *options, str(path)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if "remount,ro,bind" not in options:
            self.made.append(path)

    def make_read_only(self, path):
        self.mount(path, "--bind", str(path))
        self.mount(path, "-o", "remount,ro,bind")

    def take_away(self):
        subprocess.run(["umount", "--lazy", str(self.made.pop())], check=True)


def wait_for(condition, what, process, seconds=WAIT_S):
    deadline = time.monotonic() + seconds
    while not condition():
        if process.process.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds} s\n{process.tail()}")
        time.sleep(0.05)


def ready(http):
    """Status and text of /readyz."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/readyz", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Keeper:
    """A keeper on a disk of its own, and brokers on it."""

    def __init__(self, workspace):
        self.workspace, self.port = workspace, free_port()
        properties = workspace.properties("zookeeper.properties", {"clientPort": self.port, "dataDir": workspace.path / "keeper"})
        self.process = workspace.start([PROGRAM, "zookeeper-server-start", properties])
        wait_port(self.port, process=self.process)

    def start_broker(self, log_dir, **settings):
        port, http = free_port(), free_port()
        properties = self.workspace.properties("server.properties", {
            "listeners": f"PLAINTEXT://127.0.0.1:{port}", "log.dirs": log_dir, "zookeeper.connect": f"127.0.0.1:{self.port}",
            "http.listener": f"127.0.0.1:{http}", "log.segment.bytes": 4 << 20, "offsets.topic.num.partitions": 1, **settings})
        broker = self.workspace.start([PROGRAM, "kafka-server-start", properties])
        broker.port, broker.http = port, http
        broker.wait_line(r"started")
        wait_for(lambda: ready(http)[0] == 200, "readyz 200", broker)
        return broker


def make_topic(broker, name):
    admin = AdminClient({**RECONNECT, "bootstrap.servers": f"127.0.0.1:{broker.port}"})
    for future in admin.create_topics([NewTopic(name, 1, 1)]).values():
        future.result(30)


class Load:
    """Records by number; what was acknowledged, at which offset."""

    def __init__(self, port, topic=TOPIC, **settings):
        self.topic, self.acknowledged, self.errors, self.given = topic, {}, [], 0
        self.producer = confluent_kafka.Producer({
            **RECONNECT, "bootstrap.servers": f"127.0.0.1:{port}", "acks": "all", "linger.ms": 0, "message.timeout.ms": 60000, **settings})

    def send(self, number):
        def delivered(error, message):
            if error:
                self.errors.append(error.code())
            else:
                self.acknowledged[number] = message.offset()
        self.producer.produce(self.topic, value_of(number), partition=0, on_delivery=delivered)
        self.given += 1


def value_of(number):
    return (f"{number}:".encode() * (VALUE_BYTES // 2))[:VALUE_BYTES]


def read_all(port, end, topic=TOPIC):
    consumer = confluent_kafka.Consumer({**RECONNECT, "bootstrap.servers": f"127.0.0.1:{port}", "group.id": "reader", "auto.offset.reset": "error"})
    consumer.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
    found, deadline = {}, time.monotonic() + WAIT_S
    while max(found, default=-1) < end - 1:
        message = consumer.poll(0.5)
        if time.monotonic() > deadline:
            raise Failed(f"{len(found)} of {end} records were read")
        if message is not None and message.error():
            raise Failed(f"reading: {message.error()}")
        if message is not None:
            found[message.offset()] = message.value()
    consumer.close()
    return found


def count(lines, text):
    return sum(text in line for line in lines)


def fills_and_goes_on(workspace, mounts, keeper):
    path = workspace.path / "small"
    path.mkdir()
    mounts.mount(path, "-t", "tmpfs", "-o", f"size={TMPFS_MB}m", "tmpfs")
    filler = path / "filler"
    with open(filler, "wb") as file:
        for _ in range(FILLER_MB):
            file.write(bytes(1 << 20))
    broker = keeper.start_broker(path / "kafka-logs")
    make_topic(broker, TOPIC)

    # Without retries the client shows the broker's own error.
    load = Load(broker.port, retries=0)
    while not load.errors:
        load.send(load.given)
        load.producer.flush(WAIT_S)
        if load.given * VALUE_BYTES > TMPFS_MB << 20:
            raise Failed(f"{load.given} records of {VALUE_BYTES} bytes went into {TMPFS_MB - FILLER_MB} MB\n{broker.tail()}")
    expect(load.errors, [KAFKA_STORAGE_ERROR], "the error of the record that found no room")
    expect(len(load.acknowledged), load.given - 1, "records acknowledged before")

    wait_for(lambda: ready(broker.http)[0] == 503, "readyz 503", broker)
    if "no space left in" not in ready(broker.http)[1]:
        raise Failed(f"readyz says {ready(broker.http)[1]!r}")
    wait_for(lambda: count(broker.err, "no space left in"), "the line about it", broker)
    # Asking again changes nothing, and is not told of again.
    for _ in range(20):
        load.send(load.given)
        load.producer.flush(WAIT_S)
    expect(set(load.errors), {KAFKA_STORAGE_ERROR}, "further errors")
    # What is there can be read meanwhile.
    found = read_all(broker.port, len(load.acknowledged))
    expect([found[offset] for offset in range(len(found))], [value_of(number) for number in range(len(found))], "records read while the disk is full")

    # One that tries again, as clients do unless told otherwise, gets through when there is room.
    patient = Load(broker.port, **{"enable.idempotence": True})
    first = load.given
    for number in range(first, first + 5):
        patient.send(number)
    patient.producer.poll(1.5)
    expect(patient.acknowledged, {}, "records acknowledged without room")
    told = [line for line in broker.err if "no space left in" in line]
    if len(told) != 1:
        raise Failed("told of more than once:\n" + "\n".join(told))
    filler.unlink()
    if patient.producer.flush(WAIT_S):
        raise Failed(f"{len(patient.producer)} records were not delivered after there was room again\n{broker.tail()}")
    expect(patient.errors, [], "errors of the client that tries again")
    wait_for(lambda: ready(broker.http)[0] == 200, "readyz 200", broker)
    for number in range(first + 5, first + 20):
        patient.send(number)
    patient.producer.flush(WAIT_S)

    end = len(load.acknowledged) + len(patient.acknowledged)
    found = read_all(broker.port, end)
    for number, offset in {**load.acknowledged, **patient.acknowledged}.items():
        expect(found[offset] == value_of(number), True, f"record {number} at offset {offset}")
    expect(len(found), end, "records in the log: nothing that was refused is there")
    expect(broker.stop(), 0, "exit code")
    broker = keeper.start_broker(path / "kafka-logs")
    expect(read_all(broker.port, end), found, "records after a restart")
    expect(broker.stop(), 0, "exit code")


def last_words(process):
    return "\n".join(process.err[-12:])


def the_only_directory_fails(workspace, mounts, keeper):
    path = workspace.path / "failing"
    path.mkdir()
    mounts.mount(path, "-t", "tmpfs", "-o", f"size={TMPFS_MB}m", "tmpfs")
    logs = path / "kafka-logs"
    broker = keeper.start_broker(logs)
    make_topic(broker, "failing")
    load = Load(broker.port, topic="failing")
    for number in range(10):
        load.send(number)
    load.producer.flush(WAIT_S)
    expect(len(load.acknowledged), 10, "records acknowledged")
    mounts.make_read_only(logs)
    # The next write that is not into an open file: a checkpoint, or a topic.
    try:
        make_topic(broker, "another")
    except confluent_kafka.KafkaException:
        pass
    code = broker.finish(WAIT_S)
    expect(code, 1, f"exit code, {last_words(broker)}")
    if count(broker.err, f"Shutdown broker because all log dirs in {logs} have failed") == 0:
        raise Failed(f"the last words are\n{last_words(broker)}")
    if count(broker.err, "Read-only file system") == 0:
        raise Failed(f"the cause is not said:\n{last_words(broker)}")
    expect(count(broker.err, "is offline until the broker is restarted"), 1, "lines about the directory")
    mounts.take_away()
    broker = keeper.start_broker(logs)
    found = read_all(broker.port, 10, "failing")
    expect([found[offset] for offset in range(10)], [value_of(number) for number in range(10)], "records after the disk was mended")
    expect(broker.stop(), 0, "exit code")


def one_process_ends_and_says_why(workspace, mounts, command):
    path = workspace.path / command
    path.mkdir()
    mounts.mount(path, "-t", "tmpfs", "-o", f"size={TMPFS_MB}m", "tmpfs")
    ports = {"serve": ["--port", free_port(), "--keeper-port", free_port(), "--http", "none"], "demo": []}[command]
    process = workspace.start([PROGRAM, command, "--data-dir", path, *ports])
    logs = path / "kafka-logs"
    wait_for(lambda: any(logs.glob("*-0")) or command == "serve" and (logs / "meta.properties").exists(), "a log directory", process)
    if command == "serve":
        process.wait_line(r"ready in")
        wait_port(ports[1], process=process)
    else:
        process.wait_until(lambda out, err: any("Time: " in line for line in out), "a batch of the word count", WAIT_S)
    mounts.make_read_only(logs)
    if command == "serve":
        broker = type("Broker", (), {"port": ports[1]})
        try:
            make_topic(broker, TOPIC)
        except confluent_kafka.KafkaException:
            pass
    code = process.finish(WAIT_S)
    expect(code, 1, f"exit code, {last_words(process)}")
    if count(process.err, "all log dirs") == 0:
        raise Failed(f"the last words are\n{last_words(process)}")
    if count(process.err, "panicked"):
        raise Failed(last_words(process))
    mounts.take_away()
    # The keeper in the same process ended in good order: nothing has to be replayed or cut, and both start again.
    again = workspace.start([PROGRAM, "serve", "--data-dir", path, "--port", free_port(), "--keeper-port", free_port(), "--http", "none"])
    again.wait_line(r"ready in")
    expect(again.stop(), 0, "exit code after the disk was mended")


def a_flipped_bit_is_not_served(workspace, mounts, keeper):
    path = workspace.path / "flipped"
    records, per_segment = 30, 10
    broker = keeper.start_broker(path, **{"log.segment.bytes": per_segment * (VALUE_BYTES + 200)})
    make_topic(broker, "flipped")
    load = Load(broker.port, topic="flipped")
    for number in range(records):
        load.send(number)
        load.producer.flush(WAIT_S)
    expect([load.acknowledged[number] for number in range(records)], list(range(records)), "offsets")
    expect(broker.stop(), 0, "exit code")
    first = path / "flipped-0" / f"{0:020}.log"
    size, bad = first.stat().st_size // per_segment, 5
    expect(first.stat().st_size, size * per_segment, f"bytes of {per_segment} batches")
    with open(first, "r+b") as file:
        file.seek(bad * size + size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 4]))
    broker = keeper.start_broker(path)
    # Without the client's own checksums: what it gets is what the broker sends.
    consumer = confluent_kafka.Consumer({**RECONNECT, "bootstrap.servers": f"127.0.0.1:{broker.port}", "group.id": "reader", "auto.offset.reset": "error",
                                         "check.crcs": False, "fetch.error.backoff.ms": 50})
    consumer.assign([confluent_kafka.TopicPartition("flipped", 0, 0)])
    found, codes, deadline = {}, [], time.monotonic() + WAIT_S
    while len(found) < records - 1:
        message = consumer.poll(0.5)
        if time.monotonic() > deadline:
            raise Failed(f"{sorted(found)} were read, and the errors {codes}\n{broker.tail()}")
        if message is None:
            continue
        if message.error():
            codes.append(message.error().code())
            if len(codes) == 3:
                # An operator goes past it.
                consumer.seek(confluent_kafka.TopicPartition("flipped", 0, bad + 1))
            continue
        expect(message.value() == value_of(message.offset()), True, f"the record at {message.offset()}")
        found[message.offset()] = True
    expect(sorted(found), [number for number in range(records) if number != bad], "offsets read")
    corrupt = confluent_kafka.KafkaError._BAD_MSG, 2
    if not codes or any(code not in corrupt for code in codes):
        raise Failed(f"the errors are {codes}, not CORRUPT_MESSAGE")
    consumer.close()
    told = [line for line in broker.err if "a batch on disk is damaged" in line]
    if len(told) != 1 or str(first) not in told[0] or f'"position":{bad * size}' not in told[0] or f'"offset":{bad}' not in told[0]:
        raise Failed("the broker says\n" + "\n".join(told))
    expect(broker.stop(), 0, "exit code")


def can_mount(workspace):
    """Why no file system can be mounted here, or None."""
    if os.geteuid() != 0:
        return "mounting a file system takes root"
    probe = workspace.path / "probe"
    probe.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(probe)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        return f"no tmpfs can be mounted: {done.stderr.strip()}"
    subprocess.run(["umount", str(probe)], check=True)
    return None


def main():
    checks = Checks()
    parts = [
        ("a flipped bit in a closed segment is answered with CORRUPT_MESSAGE, told of once, and gone past", a_flipped_bit_is_not_served, ()),
        ("a full directory refuses appends, says so once, and goes on when there is room", fills_and_goes_on, ()),
        ("a broker whose only directory fails ends with exit code 1 and says why", the_only_directory_fails, ()),
        ("tidemill serve ends so, too, and its keeper in good order", one_process_ends_and_says_why, ("serve",)),
        ("tidemill demo ends so, too", one_process_ends_and_says_why, ("demo",)),
    ]
    with Workspace("full-disk") as workspace, Mounts() as mounts:
        why = can_mount(workspace)
        keeper = Keeper(workspace)
        for name, part, more in parts:
            if why and part is not a_flipped_bit_is_not_served:
                checks.skip(name, why)
            else:
                checks.check(name, part, workspace, mounts, *(more or (keeper,)))
                for process in workspace.processes:
                    if process is not keeper.process and process.process.poll() is None:
                        process.stop()
        keeper.process.stop()
    checks.close()


main()
