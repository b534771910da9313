#!/usr/bin/env python3
"""outage.py KEEPER_PORT BROKER_PORT: a job whose broker, then whose keeper is killed while it runs. Prints what the job says, and when what was done to it."""
import pathlib
import re
import signal
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))
from harness import Workspace, run  # noqa: E402

KEEPER, BROKER = sys.argv[1:]
ZOOKEEPER = "localhost:" + KEEPER


def main():
    with Workspace("outage") as space:
        keeper_file = space.properties("zookeeper.properties", {"clientPort": KEEPER, "dataDir": "keeper", "clientPortAddress": "127.0.0.1"})
        broker_file = space.properties("server.properties", {
            "broker.id": 0, "listeners": "PLAINTEXT://localhost:" + BROKER, "zookeeper.connect": ZOOKEEPER, "log.dirs": "logs", "http.listener": "none"})

        def start(tool, properties):
            server = space.start(["bin/" + tool, properties], cwd=pathlib.Path.cwd())
            server.wait_line(r"ready in \d+ ms")
            return server

        def send(lines):
            code, _, error = run(["bin/kafka-console-producer.sh", "--broker-list", "localhost:" + BROKER, "--topic", "outage"], text=lines)
            assert code == 0, error

        def tell(done, *awaited):
            """Prints what was done, and what the job said until it had said all of this."""
            print("# " + done, flush=True)
            for pattern in awaited:
                job.wait_line(pattern)
            for said in (job.out, job.err):
                # Why there is no answer changes from try to try; whether another job has Spark's port is the machine's affair.
                lines = [re.sub(r"answer \(.*\);", "answer (WHY);", line) for line in said if "Service 'SparkUI' could not bind" not in line]
                print("".join(line + "\n" for line in lines), end="", flush=True)
                said.clear()

        keeper, broker = start("zookeeper-server-start.sh", keeper_file), start("kafka-server-start.sh", broker_file)
        send("one\n")
        job = space.start(["bin/spark-submit", HERE / "job.py", ZOOKEEPER, "outage", "count"], cwd=pathlib.Path.cwd())
        tell("the job runs", "^1 records")
        broker.stop(signal.SIGKILL)
        tell("the broker is killed", "^warn: broker does not answer")
        broker = start("kafka-server-start.sh", broker_file)
        send("two\n")
        tell("the broker is started", "^note: broker answers", "^2 records")
        keeper.stop(signal.SIGKILL)
        tell("the keeper is killed", "^warn: ZooKeeper .* does not answer")
        keeper = start("zookeeper-server-start.sh", keeper_file)
        tell("the keeper is started", "^note: ZooKeeper .* answers")
        send("three\n")
        tell("a line is sent", "^3 records")
        job.process.send_signal(signal.SIGINT)
        print("exit code %s" % job.finish())


main()
