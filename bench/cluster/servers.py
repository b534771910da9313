"""A keeper and three brokers, each a process of its own, and what Metadata says of them."""
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import time

BENCH = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(BENCH), str(BENCH / "standalone")]
import wire

PROGRAM = os.environ.get("TIDEMILL", "tidemill")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
BROKERS = 3
# The session time-out that failovers are counted from.
SESSION_S = 6
WAIT_MAX_S = 180
CREATE_TOPICS = 19


def free_ports(count):
    taken = [socket.socket() for _ in range(count)]
    for one in taken:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


def cpu_s(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def warm(folder, gb):
    """Touches page cache: a virtual machine may have handed idle pages back, and whoever writes first pays for getting them again."""
    path, block = folder / "warm", bytes(1 << 20)
    with path.open("wb") as file:
        for _ in range(int(gb * 1024)):
            file.write(block)
    path.unlink()


def wait_for(what, ask):
    """Asks until there is an answer, and gives it."""
    end = time.monotonic() + WAIT_MAX_S
    while time.monotonic() < end:
        try:
            answer = ask()
        except OSError:
            answer = None
        if answer:
            return answer
        time.sleep(0.01)
    raise SystemExit(f"error: not within {WAIT_MAX_S} s: {what}")


class Metadata:
    """A Metadata v1 response that asks for all topics."""

    def __init__(self, body):
        self.body, self.at = body, 0
        self.brokers = {}
        for _ in range(self.take(">i")):
            broker, host = self.take(">i"), self.text()
            self.brokers[broker] = self.take(">i")
            self.text()
        self.controller = self.take(">i")
        # Leader and number of replicas in sync, by topic and partition.
        self.topics = {}
        for _ in range(self.take(">i")):
            self.take(">h")
            partitions = self.topics[self.text()] = {}
            self.take(">b")
            for _ in range(self.take(">i")):
                _, number, leader, replicas = struct.unpack_from(">hiii", self.body, self.at)
                (in_sync,) = struct.unpack_from(">i", self.body, self.at + 14 + 4 * replicas)
                self.at += 18 + 4 * (replicas + in_sync)
                partitions[number] = (leader, in_sync)

    def take(self, what):
        (value,) = struct.unpack_from(what, self.body, self.at)
        self.at += struct.calcsize(what)
        return value

    def text(self):
        length = self.take(">h")
        if length < 0:
            return ""
        self.at += length
        return self.body[self.at - length:self.at].decode()

    def is_led(self, topic, partitions, by):
        """Whether all partitions of a topic have a leader among these brokers."""
        found = self.topics.get(topic, {})
        return len(found) == partitions and all(leader in by for leader, _ in found.values())

    def is_in_sync(self, topic, partitions, replicas):
        found = self.topics.get(topic, {})
        return len(found) == partitions and all(leader >= 0 and in_sync == replicas for leader, in_sync in found.values())


class Cluster:
    """A keeper and brokers, in a folder of their own."""

    def __init__(self, folder, settings=(), brokers=BROKERS):
        self.folder = folder
        self.keeper_port, *self.ports = free_ports(1 + brokers)
        self.settings = list(settings)
        self.connections = {}
        self.brokers = {}
        (folder / "logs").mkdir(parents=True)
        (folder / "keeper.properties").write_text(
            f"dataDir={folder}/keeper\nclientPort={self.keeper_port}\nclientPortAddress=127.0.0.1\n")
        self.keeper = self.start("keeper", "zookeeper-server-start", folder / "keeper.properties")
        wait_for("the keeper listens", lambda: socket.create_connection(("127.0.0.1", self.keeper_port), 1).close() or True)
        for broker in range(brokers):
            self.start_broker(broker)
        for broker in range(brokers):
            wait_for("every broker knows all", lambda: len(self.metadata(broker).brokers) == brokers)

    def start(self, name, *words):
        with (self.folder / "logs" / f"{name}.log").open("a") as log:
            return subprocess.Popen([PROGRAM, *map(str, words)], stdout=log, stderr=log)

    def start_broker(self, broker):
        path = self.folder / f"server-{broker}.properties"
        path.write_text("\n".join([
            f"broker.id={broker}", f"listeners=PLAINTEXT://127.0.0.1:{self.ports[broker]}", f"log.dirs={self.folder}/broker-{broker}",
            f"zookeeper.connect=127.0.0.1:{self.keeper_port}", f"zookeeper.session.timeout.ms={SESSION_S * 1000}", "http.listener=",
            *self.settings, ""]))
        self.brokers[broker] = self.start(f"broker-{broker}", "kafka-server-start", path)

    def kill(self, broker):
        process = self.brokers.pop(broker)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if connection := self.connections.pop(broker, None):
            connection.close()

    def stop(self):
        for process in [*self.brokers.values(), self.keeper]:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def cpu_s(self):
        """CPU seconds of each broker that runs, and of the keeper."""
        return {name: cpu_s(process) for name, process in [*self.brokers.items(), ("keeper", self.keeper)]}

    def bootstrap(self):
        return ",".join(f"127.0.0.1:{self.ports[broker]}" for broker in self.brokers)

    def call(self, broker, *request):
        try:
            if broker not in self.connections:
                self.connections[broker] = wire.connect(self.ports[broker])
                self.connections[broker].settimeout(WAIT_MAX_S)
            return wire.call(self.connections[broker], *request)
        except OSError:
            self.connections.pop(broker, None)
            raise

    def metadata(self, broker):
        return Metadata(self.call(broker, wire.METADATA, 1, struct.pack(">i", -1)))

    def create(self, topic, partitions, replicas):
        """CreateTopics v0, to the controller. Gives how long the answer took."""
        controller = wait_for("there is a controller", lambda: (found := self.metadata(min(self.brokers)).controller) in self.brokers and (found,))[0]
        name = topic.encode()
        body = struct.pack(">ih", 1, len(name)) + name + struct.pack(">ihii", partitions, replicas, 0, 0) + struct.pack(">i", WAIT_MAX_S * 1000)
        began = time.monotonic()
        response = self.call(controller, CREATE_TOPICS, 0, body)
        (error,) = struct.unpack_from(">h", response, 4 + 2 + len(name))
        if error:
            raise SystemExit(f"error: creating {topic}: error {error}")
        return time.monotonic() - began
