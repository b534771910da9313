"""Points kazoo's own test suite at one running keeper, and holds it to the list of known failures.

Loaded with `pytest -p plugin`. The suite asks `kazoo.testing.harness.get_global_cluster` for its servers; here it gets a "cluster" of one server, started from
$TIDEMILL_KEEPER_CMD with a properties file as its last argument. A test in known-failures.txt must fail (xfail, strict), one with a question mark before it may; any other must pass.
"""
import atexit
import os
import pathlib
import shlex
import socket
import subprocess
import tempfile
import time

import kazoo.testing.harness
import pytest

HERE = pathlib.Path(__file__).parent
START_SECONDS_MAX = 20


class Server:
    def __init__(self, directory):
        self.directory = directory
        self.process = None
        probe = socket.socket()
        probe.bind(("127.0.0.1", int(os.environ.get("TIDEMILL_KEEPER_PORT", "0"))))
        self.port = probe.getsockname()[1]
        probe.close()
        self.log = directory / "keeper.log"
        self.properties = directory / "zookeeper.properties"
        self.properties.write_text(
            f"dataDir={directory / 'data'}\n"
            f"clientPort={self.port}\n"
            "clientPortAddress=127.0.0.1\n"
            "maxClientCnxns=0\n"
            "tickTime=2000\n"
            "4lw.commands.whitelist=*\n"
            # The password of super is "test", as in kazoo's own harness.
            "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=\n"
        )

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def secure_address(self):
        return self.address

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def run(self):
        if self.running:
            return
        command = shlex.split(os.environ["TIDEMILL_KEEPER_CMD"]) + [str(self.properties)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.is_ok():
            if not self.running or time.monotonic() > deadline:
                raise RuntimeError(f"keeper did not start:\n{self.log.read_text()}")
            time.sleep(0.02)

    def is_ok(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"ruok")
                return connection.recv(4) == b"imok"
        except OSError:
            return False

    def stop(self):
        """Ends it as a power cut would: kazoo's suite then also tests recovery."""
        if self.running:
            self.process.kill()
            self.process.wait()
        self.process = None

    def get_logs(self):
        return [self.log.read_text()[-20000:]] if self.log.exists() else []


class Cluster:
    def __init__(self):
        self.holder = tempfile.TemporaryDirectory(prefix="tidemill-kazoo-")
        self.servers = [Server(pathlib.Path(self.holder.name))]

    def __getitem__(self, index):
        return self.servers[index]

    def __iter__(self):
        return iter(self.servers)

    def start(self):
        for server in self.servers:
            server.run()

    def stop(self):
        for server in self.servers:
            server.stop()

    def terminate(self):
        self.stop()

    def reset(self):
        self.stop()
        self.start()

    def get_logs(self):
        return [line for server in self.servers for line in server.get_logs()]


CLUSTER = None


def get_cluster():
    global CLUSTER
    if CLUSTER is None:
        CLUSTER = Cluster()
        atexit.register(CLUSTER.terminate)
    return CLUSTER


kazoo.testing.harness.get_global_cluster = get_cluster


def known_failures():
    known = {}
    for line in (HERE / "known-failures.txt").read_text().splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            test, _, reason = line.partition(" ")
            known[test] = reason.strip()
    return known


def short_name(item):
    """`test_client.py::TestClient::test_x`, wherever kazoo is installed."""
    return item.nodeid.rsplit("/", 1)[-1]


def pytest_collection_modifyitems(items):
    known = known_failures()
    for item in items:
        for mark, strict in (("", True), ("?", False)):
            reason = known.get(mark + short_name(item))
            if reason is not None:
                item.add_marker(pytest.mark.xfail(reason=reason, strict=strict))
