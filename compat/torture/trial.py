"""One cluster, the workloads on it, faults one after another; then everything is healed and looked at."""
import contextlib
import json
import random
import shutil
import time

import checker
import disks
import faults
import replicas
from churn import ChurnWorkload
from clients import Reader, Sender, create_topic
from cluster import Cluster
from groups import CopyWorkload, GroupWorkload, OldGroupWorkload
from harness import SETUP, Failed
from history import History
from network import Network
from registers import RegisterWorkload

RECOVERY_S = 5       # beyond the session's time-out, from the end of a fault to the next acknowledgement of every partition
PATIENCE_S = 90      # how long a recovery is waited for, however late it is
QUIET_S = 2          # of load before the first fault and between two
REPLICAS_S = 20      # until followers have the last bytes


class AppendWorkload:
    """W1: whole numbers, each once, to partitions that readers assign to themselves."""
    name = "W1"

    def __init__(self, cluster, rng, rate=200, topic="torture", partitions=6):
        self.cluster, self.rng, self.topic, self.partitions, self.history = cluster, rng, topic, partitions, History()
        self.sender = Sender(cluster, self.history, rng, topic, partitions, rate)
        self.reader = Reader(cluster, self.history, rng, topic, partitions)
        self.ends = None

    def prepare(self):
        create_topic(self.cluster, self.topic, self.partitions)

    def start(self):
        self.sender.start()
        self.reader.start()

    def keys(self):
        return [f"{self.topic}-{partition}" for partition in range(self.partitions)]

    def settle(self):
        self.sender.settle()
        self.reader.stop()
        self.ends = self.reader.read_to_the_end()

    def check(self):
        operations = self.history.taken()
        allowed = ("duplicate",) if self.cluster.kind == "apache" else ()
        return checker.merge(checker.without(checker.records(operations), *allowed), checker.polls(operations),
                             {} if self.cluster.kind == "apache" else checker.sends(operations), checker.watermarks(operations), checker.client_errors(operations))

    def figures(self):
        kinds = [operation["type"] for operation in self.history.taken() if operation["f"] == "send"]
        return {"acknowledged": kinds.count("ok"), "unknown": kinds.count("info"), "new_epochs": sum(operation["f"] == "new-epoch" for operation in self.history.taken())}

    def close(self):
        self.sender.ended.set()
        self.reader.ended.set()


WORKLOADS = {workload.name: workload for workload in (AppendWorkload, GroupWorkload, OldGroupWorkload, CopyWorkload, ChurnWorkload, RegisterWorkload)}


class Trial:
    """A run with one seed. `result` is the line it leaves in its campaign."""

    def __init__(self, store, seed, names, workloads, session_ms=6000, brokers="tidemill", until=None, say=print):
        self.store, self.seed, self.names, self.session_s, self.kind, self.until, self.say = store, seed, names, session_ms / 1000, brokers, until, say
        self.rng, self.wanted = random.Random(seed), workloads
        self.moments, self.done, self.problems, self.found = History(), [], [], {}
        self.limit = self.session_s + RECOVERY_S
        self.workloads, self.kept, self.flush = [], None, None

    def run(self):
        """Gives the line for the campaign; raises nothing but what ends the run itself."""
        with contextlib.ExitStack() as stack:
            path = disks.workspace_path()
            stack.callback(shutil.rmtree, path, ignore_errors=True)
            network = stack.enter_context(Network())
            # Whoever waits for its followers alone may lose what all of them lost: where the power goes at more than one broker, acks=all waits for the disks.
            self.flush = "always" if any(part in faults.BEYOND_REPLICATION for name in self.names for part in faults.parts_of(name)) else "auto"
            self.cluster = stack.enter_context(Cluster(network, path, self.store, round(self.session_s * 1000), brokers=self.kind, settings={"log.flush.before.ack": self.flush}))
            if any("clock-step" in name for name in self.names):
                for broker in self.cluster.brokers:
                    broker.step_clock(0)
            network.enter()
            stack.callback(self.close)
            try:
                self.torture()
            except Exception as error:  # whatever it is, it is a violation, and the history is kept
                self.problems.append(f"{type(error).__name__}: {error}")
            if self.failed():
                self.keep()
        return self.result()

    def torture(self):
        self.cluster.start()
        self.workloads = [WORKLOADS[name](self.cluster, random.Random(self.rng.random())) for name in self.wanted]
        for workload in self.workloads:
            workload.prepare()
        for workload in self.workloads:
            workload.start()
        self.load = self.workloads[0]
        time.sleep(QUIET_S)
        for name in self.names:
            if self.until and time.monotonic() > self.until:
                break
            if why := faults.why_not(name, self.cluster):
                self.say(f"        {name} is left out: {why}")
                continue
            self.strike(name)
            if checker.client_errors(self.load.history.taken()):
                break  # it is lost already
            time.sleep(self.rng.uniform(0.5, 1) * QUIET_S)
        self.heal()
        for workload in self.workloads:
            try:
                workload.settle()
            except Exception as error:  # what the others saw is looked at all the same
                self.problems.append(f"{workload.name}: {type(error).__name__}: {error}")
            self.found = checker.merge(self.found, {f"{workload.name} {name}": examples for name, examples in workload.check().items()})
        self.found = checker.merge(self.found, checker.recoveries(self.moments.taken()))
        self.look()

    def strike(self, name):
        fault = faults.make(name, self.cluster, random.Random(self.rng.random()), self.load.topic, self.session_s)
        fault.aim()
        begin = time.monotonic()
        fault.begin()
        time.sleep(fault.hold())
        fault.end()
        fault.revive()
        healed = time.monotonic()
        recovered = self.recovery(healed)
        try:
            self.cluster.wait_whole(PATIENCE_S)
        finally:
            whole = time.monotonic()
            silence = max(self.load.history.longest_silence(key, begin, recovered or whole) for key in self.load.keys())
            self.moments.add("fault", name=name, begin=begin, healed=healed, recovered=recovered, whole=whole, limit=self.limit, silence=silence,
                             is_served_through=fault.is_served_through)
        self.done.append({"fault": name, "held": round(healed - begin, 2), "unavailable": round(silence, 2), "recovered": recovered and round(recovered - healed, 2),
                          "whole": round(whole - healed, 2)})
        self.say("        {fault:32} held {held:6.2f} s, unavailable {unavailable:6.2f} s, producing again after {recovered} s, in sync after {whole} s".format(**self.done[-1]))

    def recovery(self, healed):
        """The moment since which every partition has acknowledged something again; None where one does not."""
        deadline = healed + PATIENCE_S
        while time.monotonic() < deadline:
            moments = [self.load.history.acknowledged_since(key, healed) for key in self.load.keys()]
            if all(moments):
                return max(moments)
            if checker.client_errors(self.load.history.taken()):
                return None
            for server in self.cluster.servers:
                if server.fell():
                    raise Failed(server.fell())
            time.sleep(0.02)
        return None

    def heal(self):
        self.cluster.network.heal_all()
        for server in self.cluster.servers:
            server.resume()
            if not server.running:
                server.start()
        self.cluster.wait_whole()

    def look(self):
        """After healing: replicas, metadata, and the servers' own words."""
        if self.load.ends is not None:
            deadline = time.monotonic() + REPLICAS_S
            while (differing := replicas.of_topic(self.cluster, self.load.topic, self.load.ends)) and time.monotonic() < deadline:
                time.sleep(0.3)
            self.problems += [f"replicas differ: {difference}" for difference in differing]
            for broker in self.cluster.brokers:
                self.problems += replicas.dumped(broker, self.load.topic)
        self.cluster.wait_views_agree()
        for server in self.cluster.servers:
            self.problems += [server.fell()] if server.fell() else []
            self.problems += [f"panic: {line}" for line in server.panics()[:3]]

    def close(self):
        for workload in self.workloads:
            workload.close()

    def failed(self):
        return bool(self.problems or self.found)

    def result(self):
        moments = [operation for operation in self.moments.taken() if operation["f"] == "fault"]
        return {"store": self.store, "brokers": self.kind, "seed": self.seed, "flush_before_ack": self.flush, "workloads": self.wanted, "faults": self.done,
                "faulted_s": round(sum(moment["whole"] - moment["begin"] for moment in moments), 1), "struck": len(moments),
                "figures": {workload.name: workload.figures() for workload in self.workloads},
                "acknowledged": sum(workload.figures().get("acknowledged", 0) for workload in self.workloads),
                "violations": {name: len(examples) for name, examples in self.found.items()}, "problems": [problem[:300] for problem in self.problems],
                "failed": self.failed(), "kept": str(self.kept) if self.kept else None}

    def keep(self):
        """The histories, what was found in them, and what every server said, beside the test set-up."""
        self.kept = SETUP / "torture" / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{self.seed}"
        self.kept.mkdir(parents=True)
        for workload in self.workloads:
            history = workload.operations() if hasattr(workload, "operations") else workload.history.taken()
            write_lines(self.kept / f"{workload.name}.jsonl", history)
        write_lines(self.kept / "faults.jsonl", self.moments.taken())
        (self.kept / "found.json").write_text(json.dumps({"problems": self.problems, "found": {name: examples[:checker.EXAMPLES_MAX] for name, examples in self.found.items()}},
                                                         indent=1, default=str))
        for server in self.cluster.servers:
            (self.kept / f"{server.name}.log").write_text("\n".join(server.log()) + "\n")

    def why(self):
        """What was violated, in a few sentences."""
        return "; ".join(self.problems[:4] + ([checker.text({name: examples for name, examples in self.found.items()})] if self.found else []))[:3000]


def write_lines(path, operations):
    with open(path, "w") as file:
        for operation in operations:
            file.write(json.dumps(operation, default=str) + "\n")
