"""Three brokers and a metadata store in namespaces of their own, and what an onlooker asks of them."""
import contextlib
import json
import logging
import signal
import time

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.retry import KazooRetry

import wire
from disks import Disk
from harness import Failed
from servers import BROKER_DISK_MB, BROKER_PORT, STORE_DISK_MB, STORE_PORT, ApacheBroker, Broker, Keeper, ZooKeeper

BROKERS = 3
STORES = {"keeper": 1, "zookeeper": 3}
SETTLE_S = 60  # longest wait for a cluster to be whole again once everything runs and nothing is cut
logging.getLogger("kazoo").setLevel(logging.CRITICAL)


class Cluster:
    """Servers are started by `start`; everything is ended on exit."""

    def __init__(self, network, folder, store="keeper", session_ms=6000, on_disks=True, brokers="tidemill", settings=None):
        self.network, self.folder, self.store, self.session_ms = network, folder, store, session_ms
        self.on_disks, self.made = on_disks, contextlib.ExitStack()
        self.kind = brokers
        store_hosts = [network.add(f"store{number}") for number in range(1, STORES[store] + 1)]
        store_class = {"keeper": Keeper, "zookeeper": ZooKeeper}[store]
        self.stores = [store_class(number, store_hosts, *self.place(host, STORE_DISK_MB)) for number, host in enumerate(store_hosts, 1)]
        self.connect = ",".join(f"{host.address}:{STORE_PORT}" for host in store_hosts)
        settings = {
            "zookeeper.session.timeout.ms": session_ms, "zookeeper.connection.timeout.ms": 20000, "min.insync.replicas": 2, "default.replication.factor": BROKERS,
            "offsets.topic.replication.factor": BROKERS, "offsets.topic.num.partitions": 6, "replica.lag.time.max.ms": session_ms, "log.segment.bytes": 1 << 20,
            "group.initial.rebalance.delay.ms": 0, "auto.create.topics.enable": "false", "delete.topic.enable": "true", "replica.socket.timeout.ms": session_ms,
            "controlled.shutdown.enable": "true", **(settings or {})}
        broker_class = {"tidemill": Broker, "apache": ApacheBroker}[brokers]
        self.brokers = [broker_class(number, self.connect, settings, *self.place(network.add(f"broker{number}"), BROKER_DISK_MB)) for number in range(BROKERS)]
        self.bootstrap = ",".join(broker.address for broker in self.brokers)
        self.servers = self.stores + self.brokers
        self.kazoo = None

    def place(self, host, megabytes):
        folder = self.folder / host.name
        folder.mkdir()
        return host, folder, self.made.enter_context(Disk(folder / "disk", megabytes)) if self.on_disks else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.kazoo:
            self.kazoo.stop()
            self.kazoo.close()
        for server in reversed(self.servers):
            try:
                server.end(signal.SIGKILL)
            except Exception as error:
                print(f"        {server.name} is not ended: {error}", flush=True)
        self.made.close()

    def start(self):
        for server in self.stores:
            server.start()
        for server in self.stores:
            server.wait_ready()
        self.kazoo = KazooClient(hosts=self.connect, timeout=10, connection_retry=KazooRetry(max_tries=-1, delay=0.1, max_delay=0.5),
                                 command_retry=KazooRetry(max_tries=-1, deadline=SETTLE_S, delay=0.05, max_delay=0.5))
        self.kazoo.start(30)
        for broker in self.brokers:
            broker.start()
        for broker in self.brokers:
            broker.wait_ready()
        self.wait(lambda: self.registered() == {broker.id for broker in self.brokers}, "all brokers registered")

    def wait(self, condition, what, seconds=SETTLE_S):
        """Waits for a condition that may be asked of servers which do not answer yet; gives the seconds it took."""
        started = time.monotonic()
        seen = None
        while True:
            try:
                if condition():
                    return time.monotonic() - started
            except (KazooException, OSError) as error:
                seen = f"{type(error).__name__}: {error}"
            for server in self.servers:
                if server.fell():
                    raise Failed(server.fell())
            if time.monotonic() - started > seconds:
                raise Failed(f"not {what() if callable(what) else what} within {seconds} s{f' ({seen})' if seen else ''}")
            time.sleep(0.05)

    # What the metadata store holds.

    def node(self, path):
        """The JSON of a znode; None where there is no such znode."""
        try:
            return json.loads(self.kazoo.retry(self.kazoo.get, path)[0] or b"null")
        except NoNodeError:
            return None

    def children(self, path):
        try:
            return self.kazoo.retry(self.kazoo.get_children, path)
        except NoNodeError:
            return []

    def registered(self):
        return {int(number) for number in self.children("/brokers/ids")}

    def topics(self):
        """{topic: {partition: replicas}} of what is not being deleted."""
        gone = set(self.children("/admin/delete_topics"))
        found = {topic: self.node(f"/brokers/topics/{topic}") for topic in self.children("/brokers/topics") if topic not in gone}
        return {topic: {int(number): replicas for number, replicas in node["partitions"].items()} for topic, node in found.items() if node}

    def state(self, topic, partition):
        """The JSON of the state znode: leader, isr, leader_epoch."""
        return self.node(f"/brokers/topics/{topic}/partitions/{partition}/state")

    def leader(self, topic, partition=0):
        """The broker that leads, as the store has it; None where nobody does."""
        state = self.state(topic, partition)
        return next((broker for broker in self.brokers if state and broker.id == state["leader"]), None)

    def followers(self, topic, partition=0):
        leader = self.leader(topic, partition)
        return [broker for broker in self.brokers if broker is not leader]

    def controller(self):
        node = self.node("/controller")
        return next((broker for broker in self.brokers if node and broker.id == node["brokerid"]), None)

    def store_leader(self):
        """The server of the metadata store that leads it; the only one where it is alone."""
        return next((server for server in self.stores if server.mode() in ("leader", "standalone")), None)

    # Whether all is well.

    def not_whole(self):
        """What is missing until every partition has a living leader and all of its replicas in sync; empty where nothing is."""
        alive = self.registered()
        missing = [f"broker {broker.id} is not registered" for broker in self.brokers if broker.id not in alive]
        for topic, partitions in self.topics().items():
            for partition, replicas in partitions.items():
                state = self.state(topic, partition)
                if not state or state["leader"] not in alive or set(state["isr"]) != set(replicas):
                    missing.append(f"{topic}-{partition} is assigned to {replicas} and has {state}")
        return missing

    def wait_whole(self, seconds=SETTLE_S):
        return self.wait(lambda: not self.not_whole(), lambda: f"whole: {self.not_whole()[:6]}", seconds)

    def views_that_differ(self):
        """Where a broker's metadata is not what the store holds."""
        topics = self.topics()
        expected = {topic: {partition: (state["leader"], sorted(replicas), sorted(state["isr"]))
                            for partition, replicas in partitions.items() if (state := self.state(topic, partition))} for topic, partitions in topics.items()}
        differences = []
        for broker in self.brokers:
            seen = {topic: {number: (view.leader, sorted(view.replicas), sorted(view.isr)) for number, view in partitions.items()}
                    for topic, partitions in wire.metadata(broker.host.address, BROKER_PORT).items()}
            if seen != expected:
                differences += [f"{broker.name} has {topic} as {seen.get(topic)}, the store as {expected.get(topic)}"
                                for topic in sorted(set(seen) | set(expected)) if seen.get(topic) != expected.get(topic)]
        return differences

    def wait_views_agree(self, seconds=30):
        return self.wait(lambda: not self.views_that_differ(), lambda: f"one view: {self.views_that_differ()[:4]}", seconds)
