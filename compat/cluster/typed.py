"""The tutorial on three brokers: created and described as Kafka prints it; the leader dies while lines are typed and counted."""
import itertools
import re
import signal
import time

import apache
from cluster import Cluster
from harness import ROOT, Failed, Workspace, expect, run
from loopback import Loopback
from word_counts import WordCounts

TOPIC, PARTITIONS = "wordsendertest", 3
SESSION_MS, GRACE_S = 6000, 5
TYPE_EVERY_S = 0.1
BEFORE_S, AFTER_S = 3, 3   # of typing before the leader dies, and after the cluster is whole again
JOB = ROOT / "compat/crash/job.py"
ROW = re.compile(rf"\tTopic: {TOPIC}\tPartition: (\d)\tLeader: (-?\d|none)\tReplicas: ([\d,]+)\tIsr: ([\d,]*)")


def ours(name, *arguments):
    return [str(ROOT / "bin" / (name if name == "spark-submit" else f"{name}.sh")), *map(str, arguments)]


def create(cluster):
    code, out, err = run(ours("kafka-topics", "--create", "--zookeeper", cluster.connect, "--replication-factor", "3", "--partitions", PARTITIONS, "--topic", TOPIC))
    expect((code, out), (0, f'Created topic "{TOPIC}".\n'), f"the answer to --create (stderr {err!r})")


def describe(cluster, tool=ours):
    code, out, err = run(tool("kafka-topics", "--describe", "--zookeeper", cluster.connect, "--topic", TOPIC))
    expect(code, 0, f"the exit code of --describe (stderr {err!r})")
    return out


def rows(text):
    """{partition: (leader, replicas, isr)} of what --describe prints; fails on a line that is not Kafka's."""
    head, *lines = text.splitlines()
    expect(head, f"Topic:{TOPIC}\tPartitionCount:{PARTITIONS}\tReplicationFactor:3\tConfigs:", "the first line of --describe")
    found = {}
    for line in lines:
        match = ROW.fullmatch(line)
        if not match:
            raise Failed(f"--describe says {line!r}")
        found[int(match[1])] = (match[2], match[3].split(","), match[4].split(",") if match[4] else [])
    expect(sorted(found), list(range(PARTITIONS)), "the partitions of --describe")
    return found


def described_as_kafka_does(cluster):
    cluster.wait_whole()
    found = rows(describe(cluster))
    for partition, (leader, replicas, isr) in found.items():
        expect((leader, sorted(replicas), sorted(isr)), (replicas[0], ["0", "1", "2"], ["0", "1", "2"]), f"leader, replicas and Isr of partition {partition}")
    expect(len({leader for leader, _, _ in found.values()}), PARTITIONS, "brokers that lead a partition")
    if not apache.missing():
        expect(describe(cluster), describe(cluster, apache.tool), "--describe, ours and Apache's,")


class Typist:
    """Types a numbered word every so often into a console producer; notes when each was first counted."""

    def __init__(self, workspace, cluster, counts):
        self.counts, self.words, self.counted = counts, itertools.count(), {}
        self.producer = workspace.start(ours("kafka-console-producer", "--broker-list", cluster.bootstrap, "--topic", TOPIC, "--request-required-acks", "-1",
                                             "--message-send-max-retries", "1000"), stdin=True)
        self.typed = 0

    def type_for(self, seconds, also_until=lambda: True, at_most=60):
        deadline, latest = time.monotonic() + seconds, time.monotonic() + at_most
        while time.monotonic() < deadline or not also_until():
            if time.monotonic() > latest:
                raise Failed(f"not within {at_most} s while lines were typed")
            self.producer.type(f"{next(self.words)}: typed")
            self.typed += 1
            self.look()
            time.sleep(TYPE_EVERY_S)

    def look(self):
        for word in self.counts.take():
            self.counted.setdefault(word, time.monotonic())

    def end(self):
        """Everything typed is counted, and nothing else; gives how many were counted more than once."""
        self.producer.process.stdin.close()
        expect(self.producer.finish(), 0, f"the producer's exit code ({self.producer.tail()})")
        deadline = time.monotonic() + 30
        wanted = {f"{number}:" for number in range(self.typed)}
        while missing := wanted - set(self.counts.take()):
            if time.monotonic() > deadline:
                raise Failed(f"{len(missing)} of {self.typed} lines were lost, such as {sorted(missing)[:5]}")
            time.sleep(0.1)
        expect(set(self.counts.take()) - wanted, set(), "words that nobody typed")
        return self.counts.repeated()

    def longest_silence(self, begin):
        moments = sorted([begin, *(moment for moment in self.counted.values() if moment > begin)])
        return max(later - sooner for sooner, later in itertools.pairwise(moments))


def the_leader_dies(cluster, workspace, figures):
    counts = WordCounts(workspace.path / "counts.jsonl")
    job = workspace.start(ours("spark-submit", JOB, cluster.connect, TOPIC, "word-count", counts.path))
    typist = Typist(workspace, cluster, counts)
    typist.type_for(BEFORE_S, lambda: typist.counted)
    victim = cluster.leader(TOPIC, 0)
    killed = time.monotonic()
    victim.end(signal.SIGKILL)
    is_out = lambda: all(str(victim.id) not in isr and leader != str(victim.id) for leader, _, isr in rows(describe(cluster)).values())
    typist.type_for(0, is_out)
    shrunk = time.monotonic() - killed
    # On it goes without the dead one, on every partition.
    typist.type_for(AFTER_S)
    revived = time.monotonic()
    victim.start()
    typist.type_for(0, lambda: all(len(isr) == 3 for _, _, isr in rows(describe(cluster)).values()))
    back = time.monotonic() - revived
    typist.type_for(AFTER_S)
    again = typist.end()
    silence = typist.longest_silence(killed)
    figures.update({"lines": typist.typed, "counted_again": again, "count_silent_s": round(silence, 2), "isr_shrunk_after_s": round(shrunk, 2), "isr_back_after_s": round(back, 2)})
    print(f"        {figures}", flush=True)
    if silence > SESSION_MS / 1000 + GRACE_S:
        raise Failed(f"nothing was counted for {silence:.1f} s after the leader was killed; {SESSION_MS / 1000 + GRACE_S:.0f} s are allowed")
    expect(job.stop(signal.SIGTERM), 128 + signal.SIGTERM, f"the job's exit code ({job.tail()})")


def tutorial(checks, store):
    figures = {"store": store}
    with Workspace("cluster-typed") as workspace, Cluster(Loopback(), workspace.path, store, SESSION_MS, on_disks=False) as cluster:
        if checks.check(f"{store}: three brokers start", cluster.start):
            checks.check(f"{store}: a topic of three replicas is made", create, cluster)
            checks.check(f"{store}: --describe as Kafka prints it", described_as_kafka_does, cluster)
            checks.check(f"{store}: the leader dies while lines are typed and counted: none is lost, the count goes on, Isr shrinks and comes back", the_leader_dies, cluster, workspace, figures)
    return figures
