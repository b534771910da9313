"""Three brokers on this machine, started in both ways, and the tools that look after a cluster, beside Apache's own.  See README.md beside this file."""
import json
import pathlib
import re
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "oracle")]
import apache
import batches
from harness import PROGRAM, ROOT, Checks, Failed, Process, Workspace, expect, free_port, run, wait_port

# Longest wait for what a cluster does in its own time.
SETTLE_S = 30
VERIFIED = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: max lag is 0 for partition \[.*\] at offset \d+ among \d+ partitions$")
REASSIGN, ELECT, PREFERRED, VERIFY = (f"kafka-{name}" for name in ("reassign-partitions", "leader-election", "preferred-replica-election", "replica-verification"))
CLASSES = {
    REASSIGN: "kafka.admin.ReassignPartitionsCommand",
    PREFERRED: "kafka.admin.PreferredReplicaLeaderElectionCommand",
    VERIFY: "kafka.tools.ReplicaVerificationTool",
}


class Cluster:
    """A cluster that is up: who serves it, and its tools."""

    def __init__(self, folder, servers, zookeeper, environment=None):
        self.folder, self.servers, self.zookeeper, self.environment = folder, servers, zookeeper, environment

    def tool(self, name, *words, code=0, text=None):
        """Runs one of our tools, B and Z in its words standing for the cluster; gives its stdout."""
        words = [{"B": self.servers, "Z": self.zookeeper}.get(word, word) for word in words]
        command = [str(ROOT / f"bin/{name}.sh"), *words]
        ended, out, err = run(command, cwd=self.folder, env={"TIDEMILL": PROGRAM}, text=text)
        if ended != code:
            raise Failed(f"{name} {' '.join(words)} ends with {ended}, not {code}:\n{out}{err}")
        return out

    def file(self, name, content):
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def create(self, topic, assignment):
        self.tool("kafka-topics", "--create", "--bootstrap-server", "B", "--topic", topic, "--replica-assignment", assignment)
        settled(lambda: expect(len(self.rows(topic)), assignment.count(",") + 1, "partitions"))

    def produce(self, topic, lines):
        self.tool("kafka-console-producer", "--bootstrap-server", "B", "--topic", topic, text="".join(f"{line}\n" for line in lines))

    def rows(self, topic, *filters):
        """partition -> (leader, replicas, isr)"""
        out = self.tool("kafka-topics", "--describe", "--bootstrap-server", "B", "--topic", topic, *filters)
        found = re.findall(r"Partition: (\d+)\tLeader: (\S+)\tReplicas: (\S*)\tIsr: (\S*)", out)
        return {int(number): (leader, replicas, isr) for number, leader, replicas, isr in found}


def settled(check):
    """Waits until a check holds."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        try:
            return check()
        except Failed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def end_broker(workspace, broker, how="-TERM"):
    """Ends a broker of `dev up` with a signal, and waits until it is gone."""
    pid = (workspace.path / f"data/dev/broker-{broker}.pid").read_text().strip()
    subprocess.run(["kill", how, pid], check=True)
    line = pathlib.Path(f"/proc/{pid}/cmdline")
    settled(lambda: expect(line.exists() and line.read_bytes() != b"", False, f"whether broker {broker} still runs"))


def dev(workspace, *words, code=0):
    ended, out, err = run([str(ROOT / "bin/tidemill"), "dev", *words], cwd=workspace.path, env={"TIDEMILL": PROGRAM})
    if ended != code:
        raise Failed(f"tidemill dev {' '.join(words)} ends with {ended}, not {code}:\n{out}{err}")
    return out, err


def up(workspace, *words):
    """A cluster of `dev up`; whoever made the workspace stops it."""
    out, _ = dev(workspace, "up", "--any-port", *words)
    properties = (workspace.path / "data/dev/server-0.properties").read_text()
    zookeeper = re.search(r"^zookeeper.connect=(.*)$", properties, re.M)[1]
    return Cluster(workspace.path, out.splitlines()[0], zookeeper)


# How a cluster is started


def three_properties_files(zookeeper_list):
    """Kafka's own quickstart: three start scripts, three files, one zookeeper.connect."""
    with Workspace("three") as workspace:
        keeper, ports = free_port(), [free_port() for _ in range(3)]
        workspace.start([ROOT / "bin/zookeeper-server-start.sh", workspace.properties("zookeeper.properties", {"clientPort": keeper, "dataDir": workspace.path / "keeper"})])
        wait_port(keeper)
        connect = zookeeper_list.replace("PORT", str(keeper))
        for name, port in zip(["server.properties", "server-1.properties", "server-2.properties"], ports):
            # What differs between the files is theirs; ports and the list are the test's.
            changes = {"listeners": f"PLAINTEXT://localhost:{port}", "zookeeper.connect": connect, "http.listener": "none"}
            broker = workspace.start([ROOT / "bin/kafka-server-start.sh", workspace.properties(name, changes)])
            broker.wait_line(r"started")
        cluster = Cluster(workspace.path, ",".join(f"localhost:{port}" for port in ports), connect)
        cluster.tool("kafka-topics", "--create", "--zookeeper", "Z", "--replication-factor", "3", "--partitions", "3", "--topic", "t")
        settled(lambda: expect({row[2].count(",") for row in cluster.rows("t").values()}, {2}, "the Isr of all partitions"))
        cluster.produce("t", ["hello", "replicas"])
        expect(sorted(cluster.tool("kafka-console-consumer", "--zookeeper", "Z", "--topic", "t", "--from-beginning", "--max-messages", "2").split()), ["hello", "replicas"])
        folders = sorted(path.name for path in (workspace.path / "data").iterdir())
        expect(folders, ["kafka-logs", "kafka-logs-1", "kafka-logs-2"], "the log directories")


def a_broker_that_is_killed(cluster, workspace):
    """What dev up says, and what is left when a broker is killed, brought back, and all is stopped."""
    cluster.create("wordsendertest", "0:1:2,1:2:0,2:0:1")
    cluster.produce("wordsendertest", [f"line {i}" for i in range(30)])
    end_broker(workspace, 1, "-KILL")
    settled(lambda: expect({row[2].count(",") for row in cluster.rows("wordsendertest", "--under-replicated-partitions").values()}, {1}, "the Isr without it"))
    out, err = dev(workspace, "status", code=1)
    expect(err, "error: broker 1 is not running\nhelp: bin/tidemill dev up\n", "what status says")
    expect("under-replicated partitions: 3 of 3" in out, True, f"the partitions that status counts:\n{out}")
    cluster.produce("wordsendertest", ["while it was away"])
    dev(workspace, "up")
    settled(lambda: expect(cluster.rows("wordsendertest", "--under-replicated-partitions"), {}, "the under-replicated partitions"))
    out = cluster.tool("kafka-console-consumer", "--bootstrap-server", "B", "--topic", "wordsendertest", "--from-beginning", "--max-messages", "31")
    expect(len(out.splitlines()), 31, "the lines")
    dev(workspace, "status")


def filters_of_describe(cluster, workspace):
    """--describe narrowed to partitions in trouble, while a broker is stopped."""
    cluster.create("min", "0:1,1:2,0:2")
    cluster.tool("kafka-configs", "--bootstrap-server", "B", "--alter", "--topic", "min", "--add-config", "min.insync.replicas=2")
    expect(set(cluster.rows("min", "--at-min-isr-partitions")), {0, 1, 2}, "partitions at min.insync.replicas")
    for narrow in ("--under-replicated-partitions", "--under-min-isr-partitions", "--unavailable-partitions"):
        expect(cluster.rows("min", narrow), {}, narrow)
    cluster.create("lonely", "2")
    end_broker(workspace, 2)
    try:
        settled(lambda: expect(set(cluster.rows("min", "--under-min-isr-partitions")), {1, 2}, "partitions under min.insync.replicas"))
        expect(set(cluster.rows("min", "--under-replicated-partitions")), {1, 2}, "under-replicated partitions")
        expect(set(cluster.rows("min", "--at-min-isr-partitions")), {0}, "partitions at min.insync.replicas")
        settled(lambda: expect(set(cluster.rows("lonely", "--unavailable-partitions")), {0}, "unavailable partitions"))
        out = cluster.tool("kafka-topics", "--describe", "--zookeeper", "Z", "--unavailable-partitions")
        expect(out, "\tTopic: lonely\tPartition: 0\tLeader: none\tReplicas: 2\tIsr: 2\n", "unavailable partitions, from ZooKeeper")
    finally:
        dev(workspace, "up")
    settled(lambda: expect(cluster.rows("min", "--under-replicated-partitions"), {}, "under-replicated partitions"))


# Moving partitions


def reassign_by_brokers(cluster):
    """3.9's tool on our brokers: generate, execute, list, verify, cancel, throttles."""
    cluster.create("moved", "0:1,1:0")
    cluster.produce("moved", [f"line {i}" for i in range(200)])
    topics = cluster.file("topics.json", {"version": 1, "topics": [{"topic": "moved"}]})
    out = cluster.tool(REASSIGN, "--bootstrap-server", "B", "--generate", "--topics-to-move-json-file", topics, "--broker-list", "1,2")
    current, proposed = re.fullmatch(r"Current partition replica assignment\n(\{.*\})\n\nProposed partition reassignment configuration\n(\{.*\})\n", out).groups()
    entry = '{"topic":"moved","partition":%d,"replicas":[%s],"log_dirs":["any","any"]}'
    expect(current, '{"version":1,"partitions":[' + entry % (0, "0,1") + "," + entry % (1, "1,0") + "]}", "the current assignment")
    expect({tuple(sorted(p["replicas"])) for p in json.loads(proposed)["partitions"]}, {(1, 2)}, "the brokers of the proposal")
    plan = cluster.file("plan.json", proposed)
    out = cluster.tool(REASSIGN, "--bootstrap-server", "B", "--execute", "--reassignment-json-file", plan, "--throttle", "10000000")
    expect(out, f"Current partition replica assignment\n\n{current}\n\nSave this to use as the --reassignment-json-file option during rollback\n"
                "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed.\n"
                "The inter-broker throttle limit was set to 10000000 B/s\nSuccessfully started partition reassignments for moved-0,moved-1\n", "what --execute prints")
    done = ("Status of partition reassignment:\nReassignment of partition moved-0 is completed.\nReassignment of partition moved-1 is completed.\n\n"
            "Clearing broker-level throttles on brokers 0,1,2\nClearing topic-level throttles on topic moved\n")
    settled(lambda: expect(cluster.tool(REASSIGN, "--bootstrap-server", "B", "--verify", "--reassignment-json-file", plan), done, "what --verify prints"))
    expect({tuple(sorted(row[1].split(","))) for row in cluster.rows("moved").values()}, {("1", "2")}, "the replicas")
    settings = cluster.tool("kafka-configs", "--bootstrap-server", "B", "--describe", "--entity-type", "topics", "--entity-name", "moved")
    expect("throttled" in settings, False, f"throttles that are left: {settings}")
    expect(cluster.tool(REASSIGN, "--bootstrap-server", "B", "--list"), "No partition reassignments found.\n", "what --list prints")
    out = cluster.tool(REASSIGN, "--bootstrap-server", "B", "--cancel", "--reassignment-json-file", plan, "--preserve-throttles")
    expect(out, "None of the specified partition reassignments are active.\nNone of the specified partition moves are active.\n", "what --cancel prints")
    verified(cluster, "moved")


def reassign_that_waits(cluster, workspace):
    """A move to a broker that is stopped waits; it is listed, refused beside another, and cancelled."""
    cluster.create("waits", "0:1")
    cluster.produce("waits", ["line"])
    plan = cluster.file("waits.json", {"version": 1, "partitions": [{"topic": "waits", "partition": 0, "replicas": [1, 2]}]})
    pid = (workspace.path / "data/dev/broker-2.pid").read_text().strip()
    # Stopped, not ended: its session lives for a while, and so it is a broker that a move may go to.
    subprocess.run(["kill", "-STOP", pid], check=True)
    try:
        servers = ",".join(cluster.servers.split(",")[:2])
        two = Cluster(cluster.folder, servers, cluster.zookeeper)
        two.tool(REASSIGN, "--bootstrap-server", "B", "--execute", "--reassignment-json-file", plan)
        expect(two.tool(REASSIGN, "--bootstrap-server", "B", "--list"), "Current partition reassignments:\nwaits-0: replicas: 1,2,0. adding: 2. removing: 0.\n", "what --list prints")
        out = two.tool(REASSIGN, "--bootstrap-server", "B", "--verify", "--reassignment-json-file", plan)
        expect(out, "Status of partition reassignment:\nReassignment of partition waits-0 is still in progress.\n\n", "what --verify prints")
        two.tool(REASSIGN, "--bootstrap-server", "B", "--execute", "--reassignment-json-file", plan, code=1)
        out = two.tool(REASSIGN, "--bootstrap-server", "B", "--cancel", "--reassignment-json-file", plan, "--preserve-throttles")
        expect(out, "Successfully cancelled partition reassignment for: waits-0\nNone of the specified partition moves are active.\n", "what --cancel prints")
    finally:
        subprocess.run(["kill", "-CONT", pid], check=True)
    # As after Kafka's: the replicas are those it had, in the order of the move.
    settled(lambda: expect(cluster.rows("waits"), {0: ("0", "1,0", "0,1")}, "the partition after that"))


def reassign_by_zookeeper(cluster, tool, topic):
    """0.9's form, by our tool or Apache's own, on our brokers or Apache's."""
    cluster.tool("kafka-topics", "--create", "--zookeeper", "Z", "--topic", topic, "--replica-assignment", "0:1,1:2")
    state = f"/brokers/topics/{topic}/partitions/1/state"
    settled(lambda: cluster.tool("zookeeper-shell", "Z", "get", state))
    topics = cluster.file("topics-09.json", {"version": 1, "topics": [{"topic": topic}]})
    out = tool(REASSIGN, "--zookeeper", "Z", "--generate", "--topics-to-move-json-file", topics, "--broker-list", "0,1,2")
    current, proposed = re.fullmatch(r"Current partition replica assignment\n\n(\{.*\})\nProposed partition reassignment configuration\n\n(\{.*\})\n", out).groups()
    assigned = {p["partition"]: p["replicas"] for p in json.loads(current)["partitions"]}
    expect(assigned, {0: [0, 1], 1: [1, 2]}, "the current assignment")
    expect(sorted(p["partition"] for p in json.loads(proposed)["partitions"]), [0, 1], "the proposed partitions")
    plan = '{"version":1,"partitions":[{"topic":"%s","partition":0,"replicas":[2,0]}]}' % topic
    path = cluster.file("plan-09.json", plan)
    out = tool(REASSIGN, "--zookeeper", "Z", "--execute", "--reassignment-json-file", path)
    head, tail = out.split("\n\nSave this to use as the --reassignment-json-file option during rollback\n")
    expect({p["partition"]: p["replicas"] for p in json.loads(head.splitlines()[-1])["partitions"]}, assigned, "the assignment to go back to")
    expect(tail, f"Successfully started reassignment of partitions {plan}\n", "what --execute ends with")
    done = f"Status of partition reassignment:\nReassignment of partition [{topic},0] completed successfully\n"
    settled(lambda: expect(tool(REASSIGN, "--zookeeper", "Z", "--verify", "--reassignment-json-file", path), done, "what --verify prints"))


# Leaders


def elections(cluster, workspace):
    """Leadership goes back to the first replicas by 3.9's tool and by 0.9's, from all partitions and from a file."""
    cluster.create("led", "2:0,2:1")

    def away():
        end_broker(workspace, 2)
        settled(lambda: expect("2" in {row[0] for row in cluster.rows("led").values()}, False, "leaders without broker 2"))
        dev(workspace, "up")
        settled(lambda: expect({row[2].count(",") for row in cluster.rows("led").values()}, {1}, "the Isr"))

    away()
    out = cluster.tool(ELECT, "--bootstrap-server", "B", "--election-type", "preferred", "--topic", "led", "--partition", "0")
    expect(out, "Successfully completed leader election (PREFERRED) for partitions led-0\n", "what the election prints")
    file = cluster.file("led.json", {"partitions": [{"topic": "led", "partition": 0}, {"topic": "led", "partition": 1}]})
    out = cluster.tool(ELECT, "--bootstrap-server", "B", "--election-type", "PREFERRED", "--path-to-json-file", file)
    expect(out, "Successfully completed leader election (PREFERRED) for partitions led-1\nValid replica already elected for partitions led-0\n", "what the second prints")
    expect([row[0] for row in cluster.rows("led").values()], ["2", "2"], "the leaders")
    out = cluster.tool(ELECT, "--bootstrap-server", "B", "--election-type", "preferred", "--topic", "nope", "--partition", "0", code=1)
    expect(out.startswith("Error completing leader election (PREFERRED) for partition: nope-0: org.apache.kafka.common.errors.UnknownTopicOrPartitionException: "), True, f"what is said of a missing one: {out}")
    away()
    file = cluster.file("preferred.json", {"partitions": [{"topic": "led", "partition": 0}, {"topic": "led", "partition": 1}]})
    out = cluster.tool(PREFERRED, "--zookeeper", "Z", "--path-to-json-file", file)
    expect(out, "Successfully started preferred replica election for partitions Set([led,0], [led,1])\n", "what 0.9's tool prints")
    settled(lambda: expect([row[0] for row in cluster.rows("led").values()], ["2", "2"], "the leaders"))


# Comparing replicas


def verified(cluster, topics, *more):
    out = cluster.tool(VERIFY, "--broker-list", "B", "--topic-white-list", topics, "--once", *more)
    lines = out.splitlines()
    expect(lines[0].endswith(": verification process is started."), True, f"the first line {lines[0]!r}")
    expect(bool(VERIFIED.match(lines[-1])), True, f"the last line {lines[-1]!r}")


def replicas_are_compared(cluster, workspace):
    """Replicas that are the same, and then one with a record that was changed on its disk, checksum and all."""
    cluster.create("compared", "0:1:2")
    cluster.produce("compared", [f"line {i}" for i in range(1000)])
    verified(cluster, "compared")
    verified(cluster, "compared", "--fetch-size", "200")
    segment = workspace.path / "data/dev/broker-2/compared-0/00000000000000000000.log"
    dev(workspace, "stop")
    batches.change_a_byte_of_the_last_batch(segment)
    dev(workspace, "up")
    settled(lambda: expect({row[2].count(",") for row in cluster.rows("compared").values()}, {2}, "the Isr"))
    out = cluster.tool(VERIFY, "--broker-list", "B", "--topic-white-list", "compared", "--once", code=1)
    expect(len(re.findall(r": partition \[compared,0\] has unmatched checksum at offset \d+; replica \d's checksum \d+; replica \d's checksum \d+$", out, re.M)) >= 1, True, f"the difference:\n{out}")


def verification_goes_on(cluster):
    """Without --once it reports now and then, until Ctrl-C."""
    cluster.create("followed", "0:1,1:2")
    command = [ROOT / "bin/kafka-replica-verification.sh", "--broker-list", cluster.servers, "--topic-white-list", "followed", "--report-interval-ms", "200", "--max-wait-ms", "100"]
    process = Process(command, cwd=cluster.folder, env={"TIDEMILL": PROGRAM})
    try:
        process.wait_line("verification process is started")
        cluster.produce("followed", [f"line {i}" for i in range(50)])
        process.wait_until(lambda out, _: sum(1 for line in out if VERIFIED.match(line)) >= 3, "three reports")
        process.process.send_signal(signal.SIGINT)
        expect(abs(process.finish()), 2, "the signal that ended it")
    finally:
        if process.process.poll() is None:
            process.stop(signal.SIGKILL)


# Apache's


def apaches(cluster):
    """Apache's tools as Cluster.tool runs ours."""

    def tool(name, *words):
        words = [{"B": cluster.servers, "Z": cluster.zookeeper}.get(word, word) for word in words]
        code, out, err = run(apache.java(CLASSES[name], *words), cwd=cluster.folder)
        if code != 0:
            raise Failed(f"Apache's {name} {' '.join(words)} ends with {code}:\n{out}{err}")
        return out

    return tool


def apaches_verification(cluster):
    """Apache's own tool compares the replicas of our brokers, followers included."""
    cluster.create("seen-by-apache", "0:1:2,1:2:0")
    cluster.produce("seen-by-apache", [f"line {i}" for i in range(200)])
    command = apache.java(CLASSES[VERIFY], "--broker-list", cluster.servers, "--topic-white-list", "seen-by-apache", "--time", "-2", "--report-interval-ms", "500")
    process = Process(command, cwd=cluster.folder)
    try:
        process.wait_until(lambda out, _: any("max lag is 0 for partition [seen-by-apache," in line for line in out), "report of a lag of 0")
        expect([line for line in process.out if "match" in line], [], "differences that Apache's tool sees")
    finally:
        process.stop(signal.SIGKILL)


def our_tools_on_apache():
    """Our tools on three brokers of Apache's and its ZooKeeper 3.4."""
    with Workspace("apache-three") as workspace:
        zookeeper, ports = free_port(), [free_port() for _ in range(3)]
        apache.start_zookeeper34(workspace, zookeeper)
        for broker, port in enumerate(ports):
            apache.start_broker(workspace, f"127.0.0.1:{zookeeper}", port, broker)
        cluster = Cluster(workspace.path, ",".join(f"127.0.0.1:{port}" for port in ports), f"127.0.0.1:{zookeeper}")
        settled(lambda: expect(cluster.tool("zookeeper-shell", "Z", "ls", "/brokers/ids").splitlines()[-1], "[0, 1, 2]", "the brokers"))
        reassign_by_zookeeper(cluster, cluster.tool, "t")
        cluster.tool("kafka-console-producer", "--broker-list", "B", "--topic", "t", text="".join(f"line {i}\n" for i in range(100)))
        expect(cluster.tool(PREFERRED, "--zookeeper", "Z"), "Successfully started preferred replica election for partitions Set([t,0], [t,1])\n")
        settled(lambda: expect(cluster.tool("kafka-topics", "--describe", "--zookeeper", "Z", "--under-replicated-partitions"), "", "under-replicated partitions"))
        verified(cluster, "t")


def main():
    checks = Checks()
    checks.check("three start scripts with three files, on the list HOST:PORT,HOST:PORT/chroot", three_properties_files, "localhost:PORT,127.0.0.1:PORT/a/chroot")
    no_apache = apache.missing()
    with Workspace("dev-cluster") as workspace:
        try:
            cluster = up(workspace, "-n", "3")
            checks.check("a broker that is killed comes back by dev up, and nothing is lost", a_broker_that_is_killed, cluster, workspace)
            checks.check("--describe narrowed to partitions in trouble", filters_of_describe, cluster, workspace)
            checks.check("kafka-reassign-partitions by 3.9's form", reassign_by_brokers, cluster)
            checks.check("a reassignment that waits is listed and cancelled", reassign_that_waits, cluster, workspace)
            checks.check("kafka-reassign-partitions by 0.9's form", reassign_by_zookeeper, cluster, cluster.tool, "moved-09")
            checks.check("kafka-leader-election and kafka-preferred-replica-election", elections, cluster, workspace)
            checks.check("kafka-replica-verification goes on until Ctrl-C", verification_goes_on, cluster)
            if no_apache:
                checks.skip("Apache's tools on our cluster", no_apache)
            else:
                checks.check("Apache's own ReassignPartitionsCommand on our cluster", reassign_by_zookeeper, cluster, apaches(cluster), "moved-by-apache")
                checks.check("Apache's own ReplicaVerificationTool on our cluster", apaches_verification, cluster)
            checks.check("all replicas of all topics are the same", verified, cluster, ".*")
            # The last one: it damages a replica.
            checks.check("kafka-replica-verification finds a changed record", replicas_are_compared, cluster, workspace)
        finally:
            run([str(ROOT / "bin/tidemill"), "dev", "stop"], cwd=workspace.path, env={"TIDEMILL": PROGRAM})
    if no_apache:
        checks.skip("our tools on three brokers of Apache's", no_apache)
    else:
        checks.check("our tools on three brokers of Apache's", our_tools_on_apache)
    checks.close()


if __name__ == "__main__":
    main()
