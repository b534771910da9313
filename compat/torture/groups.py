"""Workloads whose members are processes that come, go and are killed: a group with commits, ZooKeeper's consumers, a copier."""
import collections
import json
import pathlib
import signal
import sys
import time

import apache
import checker
from clients import PASSING, SETTLE_S, Reader, Sender, Stoppable, create_topic, settings
from harness import ROOT, Process
from history import History

MEMBER = pathlib.Path(__file__).resolve().parent / "member.py"
SESSION_MS = 6000


class Members(Stoppable):
    """Keeps a few members running, kills one now and then, starts another; takes what they say."""

    def __init__(self, name, rng, kinds, history, count=3, pause_s=5):
        super().__init__(f"members of {name}")
        self.group, self.rng, self.kinds, self.history, self.count, self.pause_s = name, rng, kinds, history, count, pause_s
        self.running, self.over, self.started, self.kills = {}, [], 0, 0

    def spawn(self):
        kind = self.kinds[self.started % len(self.kinds)]
        self.started += 1
        self.running[f"{self.group}{self.started}"] = (kind, Process(kind.command(self.group)))

    def work(self):
        due = time.monotonic() + self.pause_s
        while not self.ended.wait(0.1):
            while len(self.running) < self.count:
                self.spawn()
            for name, (kind, process) in list(self.running.items()):
                if process.process.poll() is not None:
                    self.leave(name)
            if time.monotonic() > due:
                due = time.monotonic() + self.rng.uniform(0.5, 1.5) * self.pause_s
                self.remove_one()

    def remove_one(self):
        name = self.rng.choice(sorted(self.running))
        kind, process = self.running[name]
        if kind.may_be_killed and self.rng.random() < 0.7:
            process.stop(signal.SIGKILL)
            self.kills += 1
        else:
            process.stop(signal.SIGTERM)
        self.leave(name)

    def leave(self, name):
        kind, process = self.running.pop(name)
        for reader in process.readers:
            reader.join(10)
        self.over.append((name, kind, process))

    def everybody(self):
        return [(name, kind, process) for name, (kind, process) in list(self.running.items())] + list(self.over)

    def close(self):
        if not self.ended.is_set():
            self.stop()
        for name, (_, process) in list(self.running.items()):
            process.stop(signal.SIGTERM)
            self.leave(name)

    def kill_all(self):
        self.ended.set()
        if self.ident is not None:
            self.join(SETTLE_S)
        for _, process in self.running.values():
            process.stop(signal.SIGKILL)

    def said(self):
        """The operations in the members' own words, with who said them."""
        operations = []
        for name, _, process in self.everybody():
            for line in list(process.out):
                try:
                    operation = json.loads(line)
                except ValueError:
                    continue  # cut by a kill
                operations.append({"process": name, "group": self.group, **operation})
        return sorted(operations, key=lambda operation: operation["time"])


class Member:
    """How a member with librdkafka is started."""
    may_be_killed = True

    def __init__(self, cluster, topic, copy_to=None):
        self.cluster, self.topic, self.copy_to = cluster, topic, copy_to

    def command(self, group):
        consumer = settings(self.cluster, **{
            "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest", "session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 500,
            "fetch.wait.max.ms": 100})
        command = [sys.executable, MEMBER, json.dumps({**consumer, "passing": sorted(PASSING)}), self.topic]
        if self.copy_to:
            idempotent = {} if self.cluster.kind == "apache" else {"enable.idempotence": True}
            command += ["--copy-to", self.copy_to, "--producer", json.dumps(settings(self.cluster, acks="all", **{"linger.ms": 2, "message.timeout.ms": 60000}, **idempotent))]
        return command


class OldConsumer:
    """A console consumer that finds brokers and keeps its offsets in ZooKeeper, ours or Apache 0.9's."""

    def __init__(self, cluster, topic, whose):
        self.cluster, self.topic, self.whose = cluster, topic, whose
        # What a consumer of old has taken from its queue counts as consumed before it is printed, so a kill may take a line: these leave in good order.
        self.may_be_killed = whose == "ours"

    def command(self, group):
        path = self.cluster.folder / f"{group}.properties"
        path.write_text(f"group.id={group}\nauto.offset.reset=smallest\nauto.commit.interval.ms=1000\nzookeeper.session.timeout.ms={SESSION_MS}\n"
                        "zookeeper.connection.timeout.ms=20000\nrebalance.max.retries=30\nrebalance.backoff.ms=1000\nrefresh.leader.backoff.ms=200\n")
        words = ["--zookeeper", self.cluster.connect, "--topic", self.topic, "--consumer.config", str(path)]
        return apache.tool("kafka-console-consumer", *words) if self.whose == "apache" else [str(ROOT / "bin/kafka-console-consumer.sh"), *words]


def begin_at_the_beginning(cluster, group, topic, partitions):
    """A console consumer without offsets of its group begins at the end, whatever its settings say, or refuses --from-beginning where there are some."""
    for partition in range(partitions):
        cluster.kazoo.create(f"/consumers/{group}/offsets/{topic}/{partition}", b"0", makepath=True)


class GroupWorkload:
    """W3: members with synchronous commits, killed and added."""
    name = "W3"

    def __init__(self, cluster, rng, rate=100, topic="torture-group", partitions=4):
        self.cluster, self.rng, self.history = cluster, rng, History()
        self.topic, self.partitions = topic, partitions
        self.sender = Sender(cluster, self.history, rng, topic, partitions, rate)
        self.members = Members(f"{topic}-members", rng, self.kinds(), self.history)

    def kinds(self):
        return [Member(self.cluster, self.topic)]

    def prepare(self):
        create_topic(self.cluster, self.topic, self.partitions)

    def start(self):
        self.sender.start()
        self.members.start()

    def seen(self):
        return collections.Counter(value for operation in self.members.said() if operation["f"] == "poll" for _, _, value in operation["records"])

    def settle(self):
        self.sender.settle()
        deadline = time.monotonic() + SETTLE_S
        while True:
            seen = self.seen()
            missing = [send for send in checker.acknowledged(self.history.taken()) if send["value"] not in seen]
            if not missing or time.monotonic() > deadline:
                break
            time.sleep(0.3)
        self.members.close()

    def operations(self):
        return self.history.taken() + self.members.said()

    def check(self):
        operations = self.operations()
        allowed = ("duplicate",) if self.cluster.kind == "apache" else ()
        return checker.merge(checker.without(checker.records(operations), *allowed), checker.polls(operations), checker.sends(operations),
                             checker.group(operations, self.members.group), checker.client_errors(operations))

    def figures(self):
        return {"acknowledged": len(checker.acknowledged(self.history.taken())), "members": self.members.started, "killed": self.members.kills,
                "read_again": sum(count - 1 for count in self.seen().values())}

    def close(self):
        self.sender.ended.set()
        self.members.kill_all()


class OldGroupWorkload(GroupWorkload):
    """W4: the high-level consumer of ZooKeeper, ours and Apache 0.9's in one group."""
    name = "W4"

    def __init__(self, cluster, rng, rate=20):
        super().__init__(cluster, rng, rate, "torture-old", 3)
        self.members.count, self.members.pause_s = 2, 12

    def prepare(self):
        super().prepare()
        begin_at_the_beginning(self.cluster, self.members.group, self.topic, self.partitions)

    def kinds(self):
        kinds = [OldConsumer(self.cluster, self.topic, "ours")]
        return kinds if apache.missing() else [*kinds, OldConsumer(self.cluster, self.topic, "apache")]

    def seen(self):
        return collections.Counter(int(line) for _, _, process in self.members.everybody() for line in list(process.out) if line.strip().isdigit())

    def operations(self):
        return self.history.taken()

    def check(self):
        operations = self.operations()
        return checker.merge(checker.at_least_once(operations, self.seen()), checker.client_errors(operations))


class CopyWorkload(GroupWorkload):
    """W6: consume, transform, produce, commit, without transactions: each record arrives at least once, and nothing else does."""
    name = "W6"

    def __init__(self, cluster, rng, rate=50):
        self.out = "torture-copies"
        super().__init__(cluster, rng, rate, "torture-originals", 3)
        self.members.count, self.members.pause_s = 2, 7
        self.copies = History()
        self.reader = Reader(cluster, self.copies, rng, self.out, self.partitions)

    def kinds(self):
        return [Member(self.cluster, self.topic, self.out)]

    def prepare(self):
        super().prepare()
        create_topic(self.cluster, self.out, self.partitions)

    def settle(self):
        super().settle()
        self.reader.read_to_the_end()

    def check(self):
        arrived = collections.Counter(value for operation in self.copies.taken() if operation["f"] == "poll" for _, _, value in operation["records"])
        operations = self.history.taken()
        inconsistent = checker.records(self.copies.taken())
        return checker.merge(super().check(), checker.at_least_once(operations, arrived), checker.polls(self.copies.taken()), checker.client_errors(self.copies.taken()),
                             {name: anomalies for name, anomalies in inconsistent.items() if name in ("inconsistent-offsets", "hole")})
