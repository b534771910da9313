"""W11: the keeper itself under kazoo: registers with compare and set, sequential nodes, ephemerals."""
import itertools
import time

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, KazooException, NoNodeError, SessionExpiredError
from kazoo.retry import KazooRetry

import checker
from clients import SETTLE_S, Stoppable
from history import History

ROOT, REGISTERS, CLIENTS = "/torture", 4, 3
PAUSE_S = 0.02
SESSION_S = 4.0


class Client(Stoppable):
    """One session at a time; it reads, writes and swaps, and now and then begins anew."""

    def __init__(self, number, cluster, history, rng, values):
        super().__init__(f"keeper client {number}")
        self.cluster, self.history, self.rng, self.values, self.process = cluster, history, rng, values, f"client{number}"
        self.seen, self.left, self.kazoo = {}, [], None

    def connect(self):
        self.kazoo = KazooClient(hosts=self.cluster.connect, timeout=SESSION_S, randomize_hosts=True, connection_retry=KazooRetry(max_tries=-1, delay=0.05, max_delay=0.3),
                                 command_retry=KazooRetry(max_tries=0))
        self.kazoo.start_async()
        while not self.ended.is_set() and not self.kazoo.connected:
            self.ended.wait(0.05)

    def disconnect(self):
        try:
            self.kazoo.stop()
            self.kazoo.close()
        except KazooException:
            pass

    def work(self):
        self.connect()
        until = time.monotonic() + self.rng.uniform(5, 20)
        while not self.ended.wait(PAUSE_S):
            if time.monotonic() > until:
                self.disconnect()
                self.connect()
                until = time.monotonic() + self.rng.uniform(5, 20)
            if self.kazoo.connected:
                self.rng.choice([self.read, self.write, self.swap, self.read, self.swap, self.sequential, self.ephemeral])()
        self.disconnect()

    def register(self):
        return f"{ROOT}/r{self.rng.randrange(REGISTERS)}"

    def note(self, f, key, do, value=None, **fields):
        """Does it, and notes what came of it: ok with value and version, fail where it certainly was not done, info where nobody knows."""
        invoked, kind, version = time.monotonic(), "ok", None
        try:
            value, version = do()
        except BadVersionError:
            kind = "fail"
        except (KazooException, TimeoutError) as error:
            kind = "fail" if f == "read" else "info"
            if isinstance(error, SessionExpiredError):
                # Told to a client that had sent nothing yet; it may have sent it, all the same.
                kind = "info"
        self.history.add(f, process=self.process, key=key, type=kind, value=value, version=version, invoked=invoked, **fields)
        if version is not None:
            self.seen[key] = version

    def read(self):
        key = self.register()

        def do():
            # A server that lags behind catches up first: without it ZooKeeper promises no more than the client's own order.
            self.kazoo.sync(key)
            data, stat = self.kazoo.get(key)
            return data.decode(), stat.version

        self.note("read", key, do)

    def write(self):
        key, value = self.register(), f"{self.process}:{next(self.values)}"
        self.note("write", key, lambda: (value, self.kazoo.set(key, value.encode()).version), value)

    def swap(self):
        key, value = self.register(), f"{self.process}:{next(self.values)}"
        expected = self.seen.get(key, 0)
        self.note("cas", key, lambda: (value, self.kazoo.set(key, value.encode(), version=expected).version), value, expected=expected)

    def sequential(self):
        invoked = time.monotonic()
        try:
            path = self.kazoo.create(f"{ROOT}/queue/n-", sequence=True)
        except (KazooException, TimeoutError):
            return
        self.history.add("sequence", process=self.process, key=f"{ROOT}/queue", number=int(path[-10:]), invoked=invoked)

    def ephemeral(self):
        path = f"{ROOT}/sessions/{self.process}-{next(self.values)}"
        try:
            self.kazoo.create(path, ephemeral=True)
        except (KazooException, TimeoutError):
            return


class RegisterWorkload:
    name = "W11"

    def __init__(self, cluster, rng):
        self.cluster, self.history, values = cluster, History(), itertools.count()
        self.clients = [Client(number, cluster, self.history, rng, values) for number in range(CLIENTS)]

    def prepare(self):
        for path in (f"{ROOT}/queue", f"{ROOT}/sessions"):
            self.cluster.kazoo.ensure_path(path)
        for number in range(REGISTERS):
            self.cluster.kazoo.create(f"{ROOT}/r{number}", b"first")

    def start(self):
        for client in self.clients:
            client.start()

    def settle(self):
        for client in self.clients:
            client.stop()
        # Every session was closed, or is over by now: nothing of any is left.
        deadline = time.monotonic() + SESSION_S * 2 + 10
        while left := self.cluster.children(f"{ROOT}/sessions"):
            if time.monotonic() > deadline:
                for name in left:
                    try:
                        owner = self.cluster.kazoo.get(f"{ROOT}/sessions/{name}")[1].ephemeralOwner
                        self.history.add("error", process="onlooker", what=f"the ephemeral {name} of a session that is over, {owner:#x}, is still there")
                    except NoNodeError:
                        pass
                break
            time.sleep(0.2)
        numbers = {operation["number"] for operation in self.history.taken() if operation["f"] == "sequence"}
        there = {int(name[-10:]) for name in self.cluster.children(f"{ROOT}/queue")}
        for number in sorted(numbers - there):
            self.history.add("error", process="onlooker", what=f"the sequential node {number}, which was confirmed, is gone")

    def check(self):
        operations = self.history.taken()
        return checker.merge(checker.registers(operations), checker.sequences(operations), checker.client_errors(operations))

    def figures(self):
        kinds = [operation["type"] for operation in self.history.taken() if operation["f"] in ("read", "write", "cas")]
        return {"operations": len(kinds), "unknown": kinds.count("info")}

    def close(self):
        for client in self.clients:
            client.ended.set()
