"""The processes under torture: brokers, a keeper of ours or Debian's ZooKeeper ensemble, each in a namespace and on a disk of its own."""
import os
import pathlib
import signal
import socket
import struct
import time

import apache
from disks import command
from harness import PROGRAM, Failed, Process

BROKER_PORT, STORE_PORT, QUORUM_PORT, ELECTION_PORT = 9092, 2181, 2888, 3888
BROKER_DISK_MB, STORE_DISK_MB = 512, 192
START_S = 40
FAKETIME = ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib64/faketime/libfaketime.so.1"]
JAVA = ["java", "-Xmx160m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]


def faketime():
    """libfaketime, which gives one process a clock of its own; None where it is not installed."""
    return next((path for path in FAKETIME if os.path.isfile(path)), None)


class Server:
    """One process that can be killed, stopped, continued and started again on the same data."""

    def __init__(self, name, host, folder, disk=None):
        self.name, self.host, self.disk = name, host, disk
        self.folder = folder
        self.data = disk.path if disk else folder / "data"
        self.process, self.said, self.paused, self.starts = None, [], False, 0
        self.clock = folder / "clock"
        folder.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(exist_ok=True)

    def command(self):
        raise NotImplementedError

    def environment(self):
        """A clock of its own, which a fault may step, where the library for it is there."""
        if not faketime() or not self.clock.exists():
            return {}
        return {"LD_PRELOAD": faketime(), "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def start(self):
        self.process = Process(self.host.inside(self.command()), cwd=self.folder, env=self.environment())
        self.starts += 1

    @property
    def running(self):
        return self.process is not None

    def send_signal(self, how):
        try:
            os.kill(self.process.process.pid, how)
        except ProcessLookupError:
            pass

    def end(self, how=signal.SIGKILL, seconds=60):
        """Ends it; what it said is kept."""
        if not self.running:
            return None
        if self.paused and how != signal.SIGKILL:
            self.resume()
        self.paused = False
        code = self.process.stop(how, seconds)
        for reader in self.process.readers:
            reader.join(5)
        self.said += [f"-- {self.name}, started {self.starts} times, ended by {signal.Signals(how).name} with {code}"] + self.process.out + self.process.err
        self.process = None
        return code

    def pause(self):
        if self.running:
            self.paused = True
            self.send_signal(signal.SIGSTOP)

    def resume(self):
        self.paused = False
        if self.running:
            self.send_signal(signal.SIGCONT)

    def step_clock(self, seconds):
        """Its wall clock jumps; what it measures time by does not."""
        self.clock.write_text(f"{seconds:+d}\n")

    def fell(self):
        """What it said last, where it ended without having been asked to."""
        if self.running and self.process.process.poll() is not None:
            return f"{self.name} ended by itself with {self.process.process.returncode}: {self.process.tail()}"
        return None

    def panics(self):
        lines = self.said + (self.process.err if self.running else [])
        return [f"{self.name}: {line}" for line in lines if "panicked" in line]

    def log(self):
        return self.said + (self.process.out + self.process.err if self.running else [])

    def answers(self, port, request=None, expected=b""):
        try:
            with socket.create_connection((self.host.address, port), 1) as peer:
                if request:
                    peer.settimeout(2)
                    peer.sendall(request)
                    return expected in peer.recv(4096)
                return True
        except OSError:
            return False

    def ready(self):
        raise NotImplementedError

    def before_power_cut(self):
        """What has to be on disk for reasons of its own."""

    def wait_ready(self, seconds=START_S):
        deadline = time.monotonic() + seconds
        while not self.ready():
            if self.fell() or time.monotonic() > deadline:
                raise Failed(self.fell() or f"{self.name} does not serve within {seconds} s\n{self.process.tail()}")
            time.sleep(0.05)


class Broker(Server):
    """A Tidemill broker."""

    def __init__(self, number, connect, settings, *place):
        super().__init__(f"broker{number}", *place)
        self.id, self.connect, self.settings = number, connect, settings
        self.address = f"{self.host.address}:{BROKER_PORT}"
        self.logs = self.data / "kafka-logs"

    def properties(self):
        return {"broker.id": self.id, "listeners": f"PLAINTEXT://{self.address}", "log.dirs": self.logs, "zookeeper.connect": self.connect, "http.listener": "none",
                **self.settings}

    def command(self):
        path = self.folder / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in self.properties().items()))
        return [PROGRAM, "kafka-server-start", path]

    def ready(self):
        return self.answers(BROKER_PORT)


class ApacheBroker(Broker):
    """Kafka 0.9.0.1, against which the rig itself is held."""

    def properties(self):
        mine = super().properties()
        for key in ("http.listener", "group.initial.rebalance.delay.ms", "log.flush.before.ack"):
            if mine.pop(key, None) == "always":
                mine["log.flush.interval.messages"] = 1
        return {**mine, "host.name": self.host.address, "port": BROKER_PORT, "advertised.host.name": self.host.address, "advertised.port": BROKER_PORT,
                "delete.topic.enable": "true", "log.cleaner.enable": "false", "unclean.leader.election.enable": "false"}

    def command(self):
        return apache.java("kafka.Kafka", super().command()[-1])

    def fell(self):
        """It does not wait for the session that it left behind; a supervisor would start it until that is over."""
        last = super().fell()
        if last and "already registered" in last:
            self.end()
            self.start()
            return None
        return last


class Keeper(Server):
    """A keeper of ours."""

    def __init__(self, number, _hosts, *place):
        super().__init__(f"keeper{number}", *place)

    def command(self):
        path = self.folder / "zookeeper.properties"
        path.write_text(f"clientPort={STORE_PORT}\nclientPortAddress={self.host.address}\ndataDir={self.data}/keeper\ntickTime=1000\nmaxClientCnxns=0\n"
                        "4lw.commands.whitelist=*\n")
        return [PROGRAM, "zookeeper-server-start", path]

    def mode(self):
        return "standalone" if self.ready() else None

    def ready(self):
        return self.answers(STORE_PORT, b"srvr", b"Mode:")

    def password(self, session):
        """Of a session, out of the keeper's own log: session, time-out and password stand in a row."""
        for path in sorted(pathlib.Path(self.data).rglob("*")):
            if path.is_file():
                data = path.read_bytes()
                found = data.find(struct.pack(">q", session))
                while found >= 0:
                    timeout, = struct.unpack(">i", data[found + 8:found + 12])
                    if 1000 <= timeout <= 60_000:
                        return data[found + 12:found + 28]
                    found = data.find(struct.pack(">q", session), found + 1)
        raise Failed(f"session {session:#x} is not in the keeper's log")


class ZooKeeper(Server):
    """One server of Debian's ZooKeeper ensemble."""

    def __init__(self, number, hosts, *place):
        super().__init__(f"zookeeper{number}", *place)
        self.number, self.hosts = number, hosts

    def command(self):
        data = self.data / "zookeeper"
        data.mkdir(exist_ok=True)
        (data / "myid").write_text(f"{self.number}\n")
        servers = "".join(f"server.{number}={host.address}:{QUORUM_PORT}:{ELECTION_PORT}\n" for number, host in enumerate(self.hosts, 1))
        path = self.folder / "zoo.cfg"
        path.write_text(f"tickTime=1000\ninitLimit=10\nsyncLimit=4\ndataDir={data}\nclientPort={STORE_PORT}\nclientPortAddress={self.host.address}\n"
                        f"maxClientCnxns=0\n4lw.commands.whitelist=*\nadmin.enableServer=false\n{servers}")
        return [*JAVA, "-Dzookeeper.extendedTypesEnabled=true", "-Dzookeeper.preAllocSize=2048", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp", ":".join(apache.ZOOKEEPER_JARS), "org.apache.zookeeper.server.quorum.QuorumPeerMain", path]

    def before_power_cut(self):
        """ZooKeeper does not sync its snapshots, and does not start without one (ZOOKEEPER-3056): its weakness is not what is looked for here. Its log it does sync."""
        command("sync", "-f", self.data)

    def mode(self):
        return next((mode for mode in ("leader", "follower") if self.answers(STORE_PORT, b"srvr", f"Mode: {mode}".encode())), None)

    def ready(self):
        return self.answers(STORE_PORT, b"srvr", b"Mode:")

    def password(self, session):
        """ZooKeeper's passwords follow from the session's number: java.util.Random, seeded with it and a constant of the server's."""
        state = ((session ^ 0xB3415C00) ^ 0x5DEECE66D) & ((1 << 48) - 1)
        out = b""
        for _ in range(4):
            state = (state * 0x5DEECE66D + 0xB) & ((1 << 48) - 1)
            out += struct.pack("<I", state >> 16 & 0xFFFFFFFF)
        return out
