"""The histories in which Kafka-like systems lost acknowledged records, played with real processes, each on a fresh topic.

Every script ends the same way: all servers run, and every acknowledged record is read, once, at its offset; the replicas hold the same bytes.
"""
import contextlib
import signal
import time

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

import disks
import replicas
import wire
from clients import settings
from cluster import Cluster
from harness import Failed, Workspace, expect
from loopback import Loopback
from servers import BROKER_PORT

SESSION_MS = 3000
REPLICAS_S = 20
DELIVERY_S = 30
STORE_GONE_S = 5   # within which a client is served while there is no store
REFUSED_S = 2      # within which a write is refused, or hangs, that must not be acknowledged


class Script:
    """A topic of one partition on some of the brokers, and what was acknowledged in it."""

    def __init__(self, cluster, number, assignment, **config):
        self.cluster, self.topic = cluster, f"loss-{number}"
        self.acknowledged, self.sent = {}, 0
        admin = AdminClient(settings(cluster))
        new = NewTopic(self.topic, 1, replica_assignment=[assignment], config={key.replace("_", "."): str(value) for key, value in config.items()})
        admin.create_topics([new], operation_timeout=30)[self.topic].result(30)
        self.wait(lambda: self.isr() == set(assignment), "everybody in sync")
        self.assignment = assignment

    def broker(self, number):
        return self.cluster.brokers[number]

    def wait(self, condition, what):
        return self.cluster.wait(condition, lambda: f"{what} of {self.topic}, whose state is {self.state()}", 60)

    def state(self):
        return self.cluster.state(self.topic, 0) or {"leader": -1, "isr": []}

    def isr(self):
        return set(self.state()["isr"])

    def send(self, count=1, seconds=DELIVERY_S, **more):
        """Sends with acks=all, each record when the one before it has its answer; gives how many were acknowledged."""
        producer = confluent_kafka.Producer(settings(self.cluster, acks="all", **{"linger.ms": 0, "message.timeout.ms": round(seconds * 1000), **more}))
        before = len(self.acknowledged)
        for _ in range(count):
            number, self.sent = self.sent, self.sent + 1

            def delivered(error, message, number=number):
                if error is None:
                    self.acknowledged[number] = message.offset()

            producer.produce(self.topic, str(number).encode(), partition=0, on_delivery=delivered)
            producer.flush(seconds + 5)
        return len(self.acknowledged) - before

    def leader_serves(self, number):
        """Waits until a broker leads by its own word, not only by the store's."""
        self.wait(lambda: wire.metadata(self.broker(number).host.address, BROKER_PORT)[self.topic][0].leader == number, f"broker {number} as leader")

    def nothing_is_lost(self):
        for server in self.cluster.servers:
            server.resume()
            if not server.running:
                server.start()
        self.wait(lambda: self.isr() == set(self.assignment) and self.state()["leader"] in self.assignment, "everybody in sync again")
        # One more shows that it takes writes, and brings the high watermark to the end of what was there before.
        expect(self.send(), 1, "records acknowledged after all is well again")
        found = self.read()
        for number, offset in self.acknowledged.items():
            if found.get(offset) != number:
                raise Failed(f"number {number}, acknowledged at offset {offset}, is lost: {found.get(offset)} is there; the log is {sorted(found.items())[-20:]}")
        expect(len(set(found.values())), len(found), "different records in the log")
        deadline = time.monotonic() + REPLICAS_S
        while (differing := replicas.of_topic(self.cluster, self.topic, {0: max(found) + 1})) and time.monotonic() < deadline:
            time.sleep(0.2)
        expect(differing, [], "differences between replicas")

    def read(self):
        consumer = confluent_kafka.Consumer(settings(self.cluster, **{"group.id": "losses", "auto.offset.reset": "error", "enable.auto.commit": False, "fetch.wait.max.ms": 50}))
        place = confluent_kafka.TopicPartition(self.topic, 0, 0)
        deadline = time.monotonic() + 30
        end, found = None, {}
        while end is None:
            try:
                end = consumer.get_watermark_offsets(place, timeout=5)[1]
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
        consumer.assign([place])
        while len(found) < end:
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                found[message.offset()] = int(message.value())
            if time.monotonic() > deadline:
                raise Failed(f"{sorted(found)} were read of {end} records of {self.topic}")
        consumer.close()
        return found


def follower_restarts_and_the_leader_dies(cluster, number, rng):
    """KIP-101, scenario 1: a follower that has not heard of the last high watermark starts again; before it has, the leader dies."""
    script = Script(cluster, number, [0, 1, 2], min_insync_replicas=2)
    expect(script.send(5), 5, "records acknowledged")
    follower, other = script.broker(1), script.broker(2)
    other.pause()
    follower.end(signal.SIGKILL)
    follower.start()
    follower.wait_ready()
    time.sleep(rng.uniform(0, 0.4))
    script.broker(0).end(signal.SIGKILL)
    other.resume()
    script.wait(lambda: script.state()["leader"] in (1, 2), "a new leader")
    script.send(3)
    script.broker(0).start()
    script.nothing_is_lost()


def logs_part_after_both_fail(cluster, number, rng):
    """KIP-101, scenario 2: the leader has a record that its follower lacks; both die; the follower comes back first and takes another at that offset."""
    script = Script(cluster, number, [0, 1], min_insync_replicas=1)
    expect(script.send(5), 5, "records acknowledged")
    leader, follower = script.broker(0), script.broker(1)
    follower.pause()
    script.send(1, seconds=0.5)
    leader.end(signal.SIGKILL)
    follower.end(signal.SIGKILL)
    follower.start()
    follower.wait_ready()
    # It was in sync; whether it may still lead is not for it to say after such an end, and what it is not asked to take it cannot lose.
    script.wait(lambda: script.state()["leader"] in (1, -1), "the follower as leader, or nobody")
    script.send(3, seconds=REFUSED_S)
    leader.start()
    script.nothing_is_lost()


def leaders_change_twice_in_a_row(cluster, number, rng):
    """KIP-279: two changes of leaders so fast that a replica misses the one between; each leader has records of its own that nobody copied."""
    script = Script(cluster, number, [0, 1, 2], min_insync_replicas=2)
    expect(script.send(3), 3, "records acknowledged")
    for _ in range(3):
        leader = script.broker(script.state()["leader"])
        others = [script.broker(number) for number in script.assignment if number != leader.id]
        for other in others:
            other.pause()
        script.send(2, seconds=0.3)
        leader.end(signal.SIGKILL)
        for other in others:
            other.resume()
        script.wait(lambda gone=leader.id: script.state()["leader"] not in (-1, gone), "a new leader")
        script.send(rng.randrange(3))
        leader.start()
        script.wait(lambda: len(script.isr()) >= 2, "two in sync")
    script.nothing_is_lost()


def last_replica_standing(cluster, number, rng):
    """KIP-966: followers leave the ISR one by one, stopped or shut down in order; the last one loses its power, and with it what it had not synced: those that left have everything."""
    script = Script(cluster, number, [0, 1, 2], min_insync_replicas=2)
    expect(script.send(5), 5, "records acknowledged")
    one, other, last = rng.sample([script.broker(number) for number in (0, 1, 2)], 3)
    leave(one, rng)
    script.wait(lambda: script.isr() == {other.id, last.id}, "a smaller ISR")
    expect(script.send(5), 5, "records acknowledged by two")
    leave(other, rng)
    script.wait(lambda: script.isr() <= {last.id}, "the last one")
    expect(script.send(1, seconds=REFUSED_S), 0, "records acknowledged by the last one alone")
    lose_power(last)
    time.sleep(rng.uniform(0, SESSION_MS / 1000 + 1))
    for broker in rng.sample([one, other, last], 3):
        broker.resume()
        if not broker.running:
            broker.start()
    script.nothing_is_lost()


def leave(broker, rng):
    if rng.random() < 0.5:
        broker.pause()
    else:
        expect(broker.end(signal.SIGTERM), 0, f"the exit code of {broker.name} after SIGTERM")


def no_unclean_leader_by_default(cluster, number, rng):
    """Jepsen 2013: the ISR shrinks to the leader, which takes more and dies: whoever lacks that must not lead, however long it takes."""
    script = Script(cluster, number, [0, 1], min_insync_replicas=1)
    expect(script.send(3), 3, "records acknowledged")
    leader, follower = script.broker(0), script.broker(1)
    follower.end(signal.SIGKILL)
    script.wait(lambda: script.isr() == {0}, "the leader alone in sync")
    expect(script.send(5), 5, "records acknowledged by the leader alone")
    leader.end(signal.SIGKILL)
    follower.start()
    follower.wait_ready()
    script.wait(lambda: script.state()["leader"] == -1, "no leader")
    time.sleep(1)
    expect(script.state()["leader"], -1, "the leader while only the one that lacks records is there")
    expect(script.send(1, seconds=REFUSED_S), 0, "records acknowledged without a leader")
    leader.start()
    script.nothing_is_lost()


def the_leader_returns_before_anybody_noticed(cluster, number, rng):
    """A leader loses power and what it had not synced, and is back before its session is over: it must not lead with less than its followers have."""
    script = Script(cluster, number, [0, 1, 2], min_insync_replicas=2)
    expect(script.send(20), 20, "records acknowledged")
    leader = script.broker(0)
    lose_power(leader)
    time.sleep(rng.uniform(0, 1))
    leader.start()
    script.send(3)
    script.nothing_is_lost()


def the_store_is_gone_for_a_while(cluster, number, rng):
    """A store without a majority, beyond the brokers' session time-out: what needs no change of metadata goes on, what does is refused in time, and nobody has to be started again."""
    script = Script(cluster, number, [0, 1, 2], min_insync_replicas=2)
    expect(script.send(5), 5, "records acknowledged")
    lives = [broker.starts for broker in cluster.brokers]
    gone = rng.sample(cluster.stores, len(cluster.stores) // 2 + 1)
    for store in gone:
        store.end(signal.SIGKILL)
    time.sleep(SESSION_MS / 1000 + rng.uniform(1, 3))
    # Clients that never were here before: they ask who leads, write and read.
    expect(script.send(5, seconds=STORE_GONE_S), 5, "records acknowledged without a store")
    expect(len(script.read()), 10, "records read without a store")
    refused = created(cluster, f"{script.topic}-late", STORE_GONE_S)
    if refused is None:
        raise Failed("a topic was created without a store")
    expect(refused, KafkaError.REQUEST_TIMED_OUT, "the broker's own answer to a request that it cannot carry out")
    for store in gone:
        store.start()
    for store in gone:
        store.wait_ready()
    cluster.wait(lambda: created(cluster, f"{script.topic}-late", STORE_GONE_S) in (None, KafkaError.TOPIC_ALREADY_EXISTS), "a new topic, now that the store is back", 30)
    script.nothing_is_lost()
    expect([broker.starts for broker in cluster.brokers], lives, "starts of the brokers")


def created(cluster, topic, seconds):
    """Asks for a topic; gives None where it was made, or the code of the refusal."""
    admin = AdminClient(settings(cluster))
    try:
        admin.create_topics([NewTopic(topic, 1, 3)], operation_timeout=seconds, request_timeout=3 * seconds)[topic].result(4 * seconds)
    except KafkaException as error:
        return error.args[0].code()
    return None


SCRIPTS = [follower_restarts_and_the_leader_dies, logs_part_after_both_fail, leaders_change_twice_in_a_row, last_replica_standing, no_unclean_leader_by_default,
           the_leader_returns_before_anybody_noticed, the_store_is_gone_for_a_while]
NEEDS_DISKS = {last_replica_standing, the_leader_returns_before_anybody_noticed}


def lose_power(broker):
    """What it had not synced is gone; its disk is there again, and it is to be started."""
    broker.disk.cut_power()
    broker.end(signal.SIGKILL)
    broker.disk.unmount()
    broker.disk.restore_power()


def losses(checks, store, repeat, rng, only=None):
    """Plays each script so many times on one cluster; gives how many times each went well."""
    good = dict.fromkeys((script.__name__ for script in SCRIPTS), 0)
    with contextlib.ExitStack() as stack:
        workspace = stack.enter_context(Workspace("cluster-losses"))
        no_disks = disks.why_not(workspace.path)
        cluster = stack.enter_context(Cluster(Loopback(), workspace.path, store, SESSION_MS, on_disks=not no_disks))
        if not checks.check(f"{store}: three brokers for the loss scripts", cluster.start):
            return good
        number = 0
        for script in SCRIPTS:
            name = script.__doc__.split(":")[0]
            if only and script.__name__ not in only:
                continue
            if no_disks and script in NEEDS_DISKS:
                checks.skip(f"{store}: {name}", no_disks)
                continue

            def play(script=script):
                nonlocal number
                for _ in range(repeat):
                    number += 1
                    script(cluster, number, rng)
                    good[script.__name__] += 1

            checks.check(f"{store}: {script.__name__.replace('_', ' ')}, {repeat} times", play)
            cluster_is_whole(cluster)
    return good


def cluster_is_whole(cluster):
    """After a script that failed in the middle, so that the next one begins well."""
    for server in cluster.servers:
        server.resume()
        if server.fell():
            server.end()
        if not server.running:
            server.start()
    with contextlib.suppress(Failed):
        cluster.wait(lambda: cluster.registered() == {broker.id for broker in cluster.brokers}, "all brokers registered")
