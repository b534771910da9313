"""A keeper on a small tmpfs that runs full and is freed again, with kazoo as the client.  See README.md beside this file."""
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import PROGRAM, Checks, Failed, Workspace, expect, free_port

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import OperationTimeoutError
from kazoo.retry import KazooRetry

DISK_BYTES = 4 << 20
BALLAST_BYTES = 2 << 20
WAIT_S = 20
FULL = "no space left; writes are refused"
AGAIN = "there is room again"


class Disk:
    """A tmpfs that is there as long as the block; what others keep on it is a file of zeros."""

    def __init__(self, place):
        self.place = place

    def __enter__(self):
        self.place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", self.place], check=True, capture_output=True)
        self.ballast = self.place / "of-others"
        self.ballast.write_bytes(bytes(BALLAST_BYTES))
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.place], check=False, capture_output=True)

    def free(self):
        self.ballast.unlink()


def wait_for(condition, what):
    until = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {WAIT_S} s")
        time.sleep(0.05)


def word(port, letters):
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as connection:
        connection.sendall(letters.encode())
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


def http(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=WAIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Keeper:
    """A keeper on the tmpfs, whose lives share directory and ports."""

    def __init__(self, workspace, disk):
        self.workspace, self.port, self.http = workspace, free_port(), free_port()
        self.properties = workspace.properties("zookeeper.properties", {
            "clientPort": self.port, "dataDir": disk.place / "keeper",
            "metricsProvider.className": "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider", "metricsProvider.httpPort": self.http})
        self.start()

    def start(self):
        self.process = self.workspace.start([PROGRAM, "zookeeper-server-start", self.properties])
        self.process.wait_line("ready in")

    def said(self, text):
        return sum(text in line for line in [*self.process.out, *self.process.err])

    def client(self):
        client = KazooClient(f"127.0.0.1:{self.port}", timeout=10)
        client.start(WAIT_S)
        return client


def numbered(client):
    return sorted((name for name in client.get_children("/") if name.startswith("n")), key=lambda name: int(name[1:]))


def full_and_freed():
    with Workspace("keeper-disk") as workspace, Disk(workspace.path / "disk") as disk:
        keeper = Keeper(workspace, disk)
        client, states = keeper.client(), []
        client.add_listener(states.append)
        client.create("/here", b"", ephemeral=True)
        expect(http(keeper.http, "/readyz"), (200, "ready\n"), "/readyz")
        written = []
        try:
            while True:
                client.create(f"/n{len(written)}", os.urandom(1000))
                written.append(f"n{len(written)}")
        except OperationTimeoutError:
            pass
        if len(written) < 100:
            raise Failed(f"only {len(written)} nodes found room")

        # Writes are refused, and nothing else is.
        zxid = client.last_zxid
        for write in (lambda: client.set("/n0", b"x"), lambda: client.delete("/n1"), lambda: client.create("/other", b"", sequence=True)):
            try:
                write()
                raise Failed("a write on a full disk was done")
            except OperationTimeoutError:
                pass
        expect(numbered(client), written, "nodes on the full disk")
        expect(client.get("/n0")[1].version, 0, "version of a node whose change was refused")
        expect(client.last_zxid, zxid, "zxid after refused writes")
        other = keeper.client()
        expect(numbered(other), written, "nodes as a session sees them that began on the full disk")
        other.stop()

        # It shows.
        expect(word(keeper.port, "ruok"), f"imok, but no space is left in {disk.place / 'keeper'}: writes are refused", "ruok")
        expect(word(keeper.port, "isro"), "ro", "isro")
        expect([line for line in word(keeper.port, "mntr").splitlines() if "disk_full" in line or "server_state" in line],
               ["zk_server_state\tread-only", "zk_disk_full\t1"], "mntr")
        expect(http(keeper.http, "/readyz"), (503, "the disk of the keeper's log is full: writes are refused until there is room\n"), "/readyz")
        wait_for(lambda: "tidemill_keeper_disk_full 1" in http(keeper.http, "/metrics")[1], "the metric")

        # A client that retries, as kazoo and Curator do, sees nothing but a slow write.
        retried = []
        retry = KazooRetry(max_tries=-1, delay=0.1, max_delay=0.3)
        thread = threading.Thread(target=lambda: retried.append(retry(client.create, "/retried", b"")), daemon=True)
        thread.start()
        time.sleep(1.2)
        expect(retried, [], "a write on a full disk that is retried")
        disk.free()
        thread.join(WAIT_S)
        expect(retried, ["/retried"], "the write once there is room")
        client.set("/n0", b"after")
        expect(word(keeper.port, "ruok"), "imok", "ruok with room again")
        wait_for(lambda: http(keeper.http, "/readyz") == (200, "ready\n"), "ready again")
        expect((keeper.said(FULL), keeper.said(AGAIN)), (1, 1), "how often it was said")
        expect(states, [], "changes of the session's state")

        # Nothing that was answered is lost, also by a kill.
        keeper.process.process.kill()
        keeper.process.process.wait(WAIT_S)
        keeper.start()
        wait_for(lambda: client.state == KazooState.CONNECTED and states, "the session goes on")
        expect(numbered(client), written, "nodes after a kill")
        expect(client.get("/n0")[0], b"after", "data after a kill")
        expect(client.exists("/here") is not None, True, "the ephemeral node is there")
        expect(KazooState.LOST in states, False, "the session was lost")
        client.stop()
        expect(keeper.process.stop(), 0, "exit code")


def can_mount(workspace):
    try:
        with Disk(workspace / "disk"):
            return None
    except (OSError, subprocess.CalledProcessError) as error:
        return getattr(error, "stderr", None) or error


def main():
    checks = Checks()
    with Workspace("keeper-disk-mount") as workspace:
        why_not = can_mount(workspace.path)
    if why_not:
        checks.skip("a keeper's disk runs full and is freed", f"no tmpfs can be mounted: {why_not}")
    else:
        checks.check("a keeper's disk runs full and is freed", full_and_freed)
    checks.close()


main()
