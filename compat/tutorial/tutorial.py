"""The tutorial, command by command, in fresh directories, with the outputs compared.

The same flow runs with: our parts as two processes; as one; from `tidemill layout`; Apache's 0.9.0.1 tools on our servers; our tools and job on
Apache's servers; our broker on Debian's ZooKeeper 3.8; a real Kafka 0.9 broker on our keeper. Then the measuring tools, ours beside Apache's.
"""
import ast
import pathlib
import re
import signal
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "oracle")]
import apache
import harness
import perf_tools
from harness import PROGRAM, PYTHON, ROOT, Checks, Failed, Workspace, expect, free_port, run, wait_port

TOPIC = "wordsendertest"
LINES = ["hello hadoop", "hello spark"]
BATCH_S = 1
SCRIPT = ROOT / "examples/kafka_word_count.py"


def ours(name, *arguments):
    script = ROOT / "bin" / (name if name == "spark-submit" else f"{name}.sh")
    return [str(script), *arguments]


def start_keeper(workspace, port, tool=ours):
    properties = workspace.properties("zookeeper.properties", {"clientPort": port, "dataDir": workspace.path / "keeper"})
    keeper = workspace.start(tool("zookeeper-server-start", properties))
    wait_port(port, process=keeper)
    return keeper


def start_broker(workspace, zookeeper, port, tool=ours):
    changes = {"listeners": f"PLAINTEXT://localhost:{port}", "log.dirs": workspace.path / "kafka-logs", "zookeeper.connect": f"localhost:{zookeeper}"}
    broker = workspace.start(tool("kafka-server-start", workspace.properties("server.properties", changes)))
    broker.wait_line(r"started")
    wait_port(port, process=broker)
    return broker


def wait_registered(zookeeper):
    """Apache's broker takes connections before it is in ZooKeeper."""
    deadline = time.monotonic() + 30
    while run(ours("zookeeper-shell", f"localhost:{zookeeper}", "get", "/brokers/ids/0"))[0] != 0:
        if time.monotonic() > deadline:
            raise Failed("Apache's broker is not registered after 30 s")
        time.sleep(0.2)


def create_and_list(tool, zookeeper, workspace):
    create = tool("kafka-topics", "--create", "--zookeeper", f"localhost:{zookeeper}", "--replication-factor", "1", "--partitions", "1",
                  "--topic", TOPIC)
    code, out, err = run(create, cwd=workspace.path)
    expect((code, out), (0, f'Created topic "{TOPIC}".\n'), f"the answer to --create (stderr {err!r})")
    code, out, err = run(tool("kafka-topics", "--list", "--zookeeper", f"localhost:{zookeeper}"), cwd=workspace.path)
    expect((code, out), (0, f"{TOPIC}\n"), f"the answer to --list (stderr {err!r})")
    describe = tool("kafka-topics", "--describe", "--zookeeper", f"localhost:{zookeeper}", "--topic", TOPIC)
    rows = f"Topic:{TOPIC}\tPartitionCount:1\tReplicationFactor:1\tConfigs:\n\tTopic: {TOPIC}\tPartition: 0\tLeader: 0\tReplicas: 0\tIsr: 0\n"
    # The controller gives a new topic its leader when it hears of it; a tool of old does not wait for that.
    deadline = time.monotonic() + 10
    while (seen := run(describe, cwd=workspace.path)) != (0, rows, "") and time.monotonic() < deadline:
        time.sleep(0.1)
    expect(seen[:2], (0, rows), f"the answer to --describe (stderr {seen[2]!r})")


def produce_and_consume(tool, zookeeper, broker, workspace):
    """Gives the producer, still waiting for lines."""
    producer = workspace.start(tool("kafka-console-producer", "--broker-list", f"localhost:{broker}", "--topic", TOPIC), stdin=True)
    for line in LINES:
        producer.type(line)
    consumer = workspace.start(tool("kafka-console-consumer", "--zookeeper", f"localhost:{zookeeper}", "--topic", TOPIC, "--from-beginning"))
    consumer.wait_until(lambda out, _: len(out) >= len(LINES), "two lines in the consumer")
    expect(consumer.out, LINES, "the consumer's output")
    producer.type("hello again")
    consumer.wait_until(lambda out, _: out[-1:] == ["hello again"], "line typed while the consumer runs")
    consumer.stop(signal.SIGINT)
    return producer


def printed_pairs(lines):
    return [ast.literal_eval(line) for line in lines if re.match(r"\('.*', \d+\)$", line)]


def count_words(producer, zookeeper, workspace, command):
    """The job prints the pairs of a typed line within two batch intervals, in Spark's block format."""
    job = workspace.start(command(zookeeper))
    job.wait_until(lambda out, _: sum(line.startswith("Time: ") for line in out) >= 2, "two batches of the job", 60)
    before = len(job.out)
    producer.type("count these words these words")
    typed = time.monotonic()
    job.wait_until(lambda out, _: any(word == "these" for word, _ in printed_pairs(out[before:])), "counts of the typed line")
    waited = time.monotonic() - typed
    # The wait itself may notice late: half a second on a busy machine.
    if waited > 2 * BATCH_S + 0.5:
        raise Failed(f"the counts came {waited:.1f} s after the line, later than two batch intervals")
    expect(dict(printed_pairs(job.out[before:])), {"count": 1, "these": 2, "words": 2}, "the counts")
    block = next(i for i, line in enumerate(job.out) if line.startswith("Time: "))
    expect((job.out[block - 1], job.out[block + 1]), ("-" * 43, "-" * 43), "the lines around Time:")
    if not re.fullmatch(r"Time: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", job.out[block]):
        raise Failed(f"the time line is {job.out[block]!r}")
    job.stop(signal.SIGINT)


def python_job(tool=ours):
    def command(zookeeper):
        return tool("spark-submit", str(SCRIPT), f"localhost:{zookeeper}", TOPIC)
    return command


def stop_cleanly(*servers):
    for server in servers:
        expect(server.stop(signal.SIGINT), 0, f"the exit code of {server.command[0]}")


def flow(tool, zookeeper, broker, workspace, job=None):
    create_and_list(tool, zookeeper, workspace)
    producer = produce_and_consume(tool, zookeeper, broker, workspace)
    if job:
        count_words(producer, zookeeper, workspace, job)
    producer.process.stdin.close()
    expect(producer.finish(), 0, "the producer's exit code")


def two_processes():
    with Workspace("two") as workspace:
        zookeeper, port = free_port(), free_port()
        keeper = start_keeper(workspace, zookeeper)
        broker = start_broker(workspace, zookeeper, port)
        flow(ours, zookeeper, port, workspace, python_job())
        stop_cleanly(broker, keeper)


def one_process():
    with Workspace("one") as workspace:
        zookeeper, port = free_port(), free_port()
        server = workspace.start([PROGRAM, "serve", "--keeper-port", str(zookeeper), "--port", str(port), "--data-dir", str(workspace.path / "data")])
        server.wait_line(r"started")
        flow(ours, zookeeper, port, workspace, python_job())
        stop_cleanly(server)


def from_layout():
    with Workspace("layout") as workspace:
        kafka = workspace.path / "kafka"
        code, _, err = run([PROGRAM, "layout", str(kafka)])
        expect(code, 0, f"exit code of layout (stderr {err!r})")
        jars = workspace.path / "jars"
        jars.mkdir()
        code, _, err = run(["sh", "-c", f"cp {kafka}/libs/* ."], cwd=jars)
        expect(code, 0, f"exit code of cp libs/* . ({err!r})")

        def laid_out(name, *arguments):
            return [str(kafka / "bin" / (name if name == "spark-submit" else f"{name}.sh")), *arguments]

        zookeeper, port = free_port(), free_port()
        keeper = start_keeper(workspace, zookeeper, laid_out)
        broker = start_broker(workspace, zookeeper, port, laid_out)
        flow(laid_out, zookeeper, port, workspace, python_job(laid_out))
        stop_cleanly(broker, keeper)


def apache_tools_on_our_servers():
    with Workspace("apache-tools") as workspace:
        zookeeper, port = free_port(), free_port()
        keeper = start_keeper(workspace, zookeeper)
        broker = start_broker(workspace, zookeeper, port)
        flow(apache.tool, zookeeper, port, workspace, python_job())
        stop_cleanly(broker, keeper)


def our_tools_on_apaches_servers():
    with Workspace("apache-servers") as workspace:
        zookeeper, port = free_port(), free_port()
        apache.start_zookeeper34(workspace, zookeeper)
        apache.start_broker(workspace, f"127.0.0.1:{zookeeper}", port)
        wait_registered(zookeeper)
        flow(ours, zookeeper, port, workspace, python_job())
        segment = workspace.path / "apache-logs-0" / f"{TOPIC}-0" / "00000000000000000000.log"
        code, out, err = run(ours("kafka-dump-log", "--files", str(segment), "--print-data-log"))
        expect(code, 0, f"exit code of kafka-dump-log (stderr {err!r})")
        for line in LINES:
            if f"payload: {line}" not in out:
                raise Failed(f"kafka-dump-log does not show {line!r} of Apache's segment:\n{out}")


def our_broker_on_debians_zookeeper():
    with Workspace("debian-zk") as workspace:
        zookeeper, port = free_port(), free_port()
        apache.start_zookeeper38(workspace, zookeeper)
        broker = start_broker(workspace, zookeeper, port)
        flow(ours, zookeeper, port, workspace, python_job())
        stop_cleanly(broker)


def apaches_broker_on_our_keeper():
    with Workspace("our-keeper") as workspace:
        zookeeper, port = free_port(), free_port()
        start_keeper(workspace, zookeeper)
        apache.start_broker(workspace, f"127.0.0.1:{zookeeper}", port)
        wait_registered(zookeeper)
        flow(apache.tool, zookeeper, port, workspace, python_job())


def measuring_tools(apache_tool):
    with Workspace("perf-tools") as workspace:
        zookeeper, port = free_port(), free_port()
        keeper = start_keeper(workspace, zookeeper)
        broker = start_broker(workspace, zookeeper, port)
        create_and_list(ours, zookeeper, workspace)
        perf_tools.check(ours, apache_tool, TOPIC, zookeeper, port)
        stop_cleanly(broker, keeper)


def main():
    checks = Checks()
    checks.check("the tutorial, keeper and broker as two processes", two_processes)
    checks.check("the tutorial, keeper and broker in one process", one_process)
    checks.check("the tutorial from tidemill layout", from_layout)
    no_kafka, no_zookeeper = apache.missing(), apache.zookeeper_missing()
    for name, why_not, function in [
        ("Apache 0.9.0.1 tools on our servers", no_kafka, apache_tools_on_our_servers),
        ("our tools and job on Apache's servers", no_kafka, our_tools_on_apaches_servers),
        ("our broker on Debian's ZooKeeper 3.8", no_zookeeper, our_broker_on_debians_zookeeper),
        ("a Kafka 0.9 broker on our keeper", no_kafka, apaches_broker_on_our_keeper),
    ]:
        if why_not:
            checks.skip(name, why_not)
        else:
            checks.check(name, function)
    checks.check("the measuring tools print Kafka's lines" + (" (ours alone)" if no_kafka else ""), measuring_tools, None if no_kafka else apache.tool)
    checks.close()


if __name__ == "__main__":
    main()
