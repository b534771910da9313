"""What the servers show of themselves: /metrics to Prometheus' own parser, health, logs, signals.  See README.md beside this file."""
import json
import os
import pathlib
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import PROGRAM, PYTHON, ROOT, Checks, Failed, Workspace, expect, free_port, run, take_ctrl_c

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client.parser import text_string_to_metric_families

WAIT_S = 20
CLEAN = ".kafka_cleanshutdown"
# The word count in Rust, where it was built beside the program.
EXAMPLE = pathlib.Path(PROGRAM).parent / "examples/kafka_word_count"
# What dashboards ask for: kafka_exporter's dashboard 7589, those on the JMX exporter, ZooKeeper's own.
BROKER_NAMES = """
kafka_brokers kafka_broker_info kafka_topic_partitions kafka_topic_partition_current_offset kafka_topic_partition_oldest_offset
kafka_topic_partition_in_sync_replica kafka_topic_partition_leader kafka_topic_partition_leader_is_preferred kafka_topic_partition_replicas
kafka_topic_partition_under_replicated_partition kafka_consumergroup_current_offset kafka_consumergroup_lag kafka_consumergroup_current_offset_sum
kafka_consumergroup_lag_sum kafka_consumergroup_members
kafka_server_brokertopicmetrics_messagesin_total kafka_server_brokertopicmetrics_bytesin_total kafka_server_brokertopicmetrics_bytesout_total
kafka_server_replicamanager_underreplicatedpartitions kafka_server_replicamanager_partitioncount kafka_server_replicamanager_leadercount
kafka_server_replicamanager_isrshrinks_total kafka_controller_kafkacontroller_activecontrollercount kafka_controller_kafkacontroller_offlinepartitionscount
kafka_network_requestmetrics_totaltimems kafka_network_requestmetrics_totaltimems_count kafka_network_requestmetrics_requests_total
kafka_log_log_size kafka_log_log_logendoffset kafka_log_log_logstartoffset kafka_log_logflushstats_logflushrateandtimems_count
kafka_server_sessionexpirelistener_zookeeperexpires_total kafka_server_kafkaserver_brokerstate
kafka_log_logcleanermanager_max_dirty_percent kafka_log_logcleanermanager_time_since_last_run_ms kafka_log_logcleanermanager_uncleanable_partitions_count
kafka_log_logcleanermanager_uncleanable_bytes kafka_log_logcleaner_cleaner_recopy_percent kafka_log_logcleaner_max_clean_time_secs
kafka_log_logcleaner_max_buffer_utilization_percent kafka_log_logcleaner_max_compaction_delay_secs kafka_log_logcleaner_deadthreadcount
kafka_coordinator_group_groupmetadatamanager_numgroups process_cpu_seconds_total process_resident_memory_bytes process_open_fds tidemill_build_info
""".split()
KEEPER_NAMES = "znode_count ephemerals_count watch_count approximate_data_size num_alive_connections outstanding_requests packets_received avg_latency uptime".split()


def curl(url, *options):
    """(status, body) as curl sees them."""
    code, out, err = run(["curl", "-sS", "-m", "10", "-w", "\n%{http_code}", *options, url])
    if code:
        raise Failed(f"curl {url}: {err}")
    body, status = out.rsplit("\n", 1)
    return int(status), body


def scrape(http):
    """Every sample by (name, labels), read by Prometheus' own parser; checks what must hold of any scrape."""
    status, text = curl(f"http://127.0.0.1:{http}/metrics")
    expect(status, 200, "the status of /metrics")
    samples, kinds, families = {}, {}, set()
    for family in text_string_to_metric_families(text):
        if family.name in families:
            raise Failed(f"family {family.name} comes twice")
        families.add(family.name)
        if family.type not in ("counter", "gauge", "summary") or not family.documentation.endswith("."):
            raise Failed(f"family {family.name}: type {family.type}, help {family.documentation!r}")
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            if key in samples:
                raise Failed(f"sample {key} comes twice")
            samples[key] = sample.value
            rises = family.type == "counter" or sample.name.endswith(("_count", "_sum")) and family.type == "summary"
            kinds[key] = rises
    return samples, kinds


def value(samples, name, **labels):
    key = (name, tuple(sorted(labels.items())))
    if key not in samples:
        near = [known for known in samples if known[0] == name][:5]
        raise Failed(f"no sample {key}; there are {near}")
    return samples[key]


def wait_for(condition, what, seconds=WAIT_S):
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        last = condition()
        if last is True:
            return
        time.sleep(0.05)
    raise Failed(f"not within {seconds} s: {what} (last: {last!r})")


def ready(http):
    try:
        return curl(f"http://127.0.0.1:{http}/readyz")
    except Failed:
        return (0, "")


class Server:
    """Keeper and broker in one process, on ports of its own."""

    def __init__(self, workspace, name="data", environment=None, overrides=()):
        self.port, self.keeper, self.http = free_port(), free_port(), free_port()
        self.logs = workspace.path / name / "kafka-logs"
        more = [word for pair in ("offsets.topic.num.partitions=2", *overrides) for word in ("--override", pair)]
        self.command = [PROGRAM, "serve", "--port", self.port, "--keeper-port", self.keeper, "--http", f"127.0.0.1:{self.http}", "--data-dir", name, *more]
        self.workspace, self.environment = workspace, environment
        self.start()

    def start(self, wait=True):
        self.process = self.workspace.start(self.command, env=self.environment)
        if wait:
            self.process.wait_line(r"\[KafkaServer id=0\] started")

    def tool(self, *words):
        return run([PROGRAM, *words, "--bootstrap-server", f"localhost:{self.port}"], cwd=self.workspace.path)


def produce(server, topic, count, partitions=1):
    """Lines in turn for each partition: left to itself, a producer without keys may send all to one, and a group has no lag where it has committed nothing."""
    producer = Producer({"bootstrap.servers": f"localhost:{server.port}", "acks": "all"})
    for number in range(count):
        producer.produce(topic, f"line {number}".encode(), partition=number % partitions)
    expect(producer.flush(20), 0, "records left")


def metrics_move():
    with Workspace("console") as workspace:
        server = Server(workspace)
        admin = AdminClient({"bootstrap.servers": f"localhost:{server.port}"})
        for future in admin.create_topics([NewTopic('words', 2, 1)]).values():
            future.result(10)
        wait_for(lambda: ("kafka_topic_partitions", (("topic", "words"),)) in scrape(server.http)[0], "the topic in /metrics")
        before, _ = scrape(server.http)
        produce(server, "words", 100, partitions=2)
        consumer = Consumer({"bootstrap.servers": f"localhost:{server.port}", "group.id": "readers", "auto.offset.reset": "earliest"})
        consumer.subscribe(["words"])
        read = 0
        deadline = time.monotonic() + WAIT_S
        while read < 100 and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            read += message is not None and message.error() is None
        expect(read, 100, "records read")
        consumer.commit(asynchronous=False)
        after, _ = scrape(server.http)
        missing = [name for name in BROKER_NAMES + KEEPER_NAMES if name not in {key[0] for key in after}]
        expect(missing, [], "names that are missing")
        topic = {"topic": "words"}
        moved = lambda name, **labels: value(after, name, **labels) - value(before, name, **labels)
        expect(moved("kafka_server_brokertopicmetrics_messagesin_total", **topic), 100, "messagesin of the topic")
        for name in ("bytesin", "bytesout", "totalproducerequests", "totalfetchrequests"):
            for labels in (topic, {}):
                if moved(f"kafka_server_brokertopicmetrics_{name}_total", **labels) <= 0:
                    raise Failed(f"{name} {labels} did not move")
        ends = sum(value(after, "kafka_topic_partition_current_offset", topic="words", partition=str(number)) for number in (0, 1))
        expect(ends, 100, "sum of current offsets")
        expect(value(after, "kafka_consumergroup_current_offset_sum", consumergroup="readers", **topic), 100, "what the group has committed")
        expect(value(after, "kafka_consumergroup_lag_sum", consumergroup="readers", **topic), 0, "lag of the group")
        expect(value(after, "kafka_consumergroup_members", consumergroup="readers"), 1, "members of the group")
        expect(value(after, "kafka_controller_kafkacontroller_activecontrollercount"), 1, "controllers")
        if not value(after, "kafka_network_requestmetrics_totaltimems_count", request="Produce") > 0:
            raise Failed("no produce request was timed")
        p99 = value(after, "kafka_network_requestmetrics_totaltimems", request="Produce", quantile="0.99")
        if not 0 < p99 < 10_000:
            raise Failed(f"p99 of produce requests is {p99} ms")
        flushes = value(after, "kafka_log_logflushstats_logflushrateandtimems_count")
        sizes = [value(after, "kafka_log_log_size", partition=str(number), **topic) for number in (0, 1)]
        if flushes <= 0 or min(sizes) <= 0:
            raise Failed(f"{flushes} flushes, sizes {sizes}")
        produce(server, "words", 10, partitions=2)
        wait_for(lambda: value(scrape(server.http)[0], "kafka_consumergroup_lag_sum", consumergroup="readers", **topic) == 10, "lag of 10")
        consumer.close()
        # A record that is too large is refused and counted.
        small = Producer({"bootstrap.servers": f"localhost:{server.port}", "message.max.bytes": 9_000_000})
        small.produce("words", b"x" * 3_000_000)
        small.flush(20)
        last, kinds = scrape(server.http)
        if value(last, "kafka_server_brokertopicmetrics_failedproducerequests_total", **topic) < 1:
            raise Failed("a refused record was not counted")
        expect(value(last, "kafka_network_requestmetrics_errors_total", request="Produce", error="MESSAGE_TOO_LARGE") >= 1, True, "its error is named")
        for future in admin.delete_topics(["words"]).values():
            future.result(10)
        wait_for(lambda: ("kafka_topic_partitions", (("topic", "words"),)) not in scrape(server.http)[0], "the topic gone from /metrics")
        end, _ = scrape(server.http)
        fell = [key for key, rises in kinds.items() if rises and key in end and end[key] < last[key]]
        expect(fell, [], "counters that fell when a topic was deleted")
        expect(server.process.stop(), 0, "exit code")


def cleaner():
    """The figures of the cleaner move by what it does, and name a log that it cannot read."""
    with Workspace("console") as workspace:
        server = Server(workspace, overrides=("log.cleaner.backoff.ms=50", "log.cleaner.min.cleanable.ratio=0.01"))
        admin = AdminClient({"bootstrap.servers": f"localhost:{server.port}"})
        policy = {"cleanup.policy": "compact", "segment.bytes": "14000"}
        for future in admin.create_topics([NewTopic(name, 1, 1, config=policy) for name in ("table", "damaged")]).values():
            future.result(10)
        look = lambda name, **labels: value(scrape(server.http)[0], name, **labels)
        passes = lambda: look("tidemill_cleaner_passes_total")
        log_dir = {"logDirectory": "data/kafka-logs"}  # as the settings name it
        uncleanable = lambda what: look(f"kafka_log_logcleanermanager_uncleanable_{what}", **log_dir)
        expect((passes(), look("kafka_log_logcleaner_deadthreadcount"), uncleanable("partitions_count")), (0, 0, 0), "figures before any work")
        write_keys(server, "table", 3000)
        wait_for(lambda: passes() > 0, "a pass")
        samples, _ = scrape(server.http)
        for name, least, most in (("logcleaner_cleaner_recopy_percent", 0.01, 99), ("logcleaner_max_clean_time_secs", 1e-9, 60),
                                  ("logcleaner_max_buffer_utilization_percent", 1e-9, 100), ("logcleanermanager_time_since_last_run_ms", 0, 60_000)):
            seen = value(samples, f"kafka_log_{name}")
            if not least <= seen <= most:
                raise Failed(f"kafka_log_{name} is {seen}")
        for name in ("read_bytes", "written_bytes", "dropped_records"):
            expect(value(samples, f"tidemill_cleaner_{name}_total") > 0, True, f"{name} moved")
        # The first batch of a log is made unreadable before a second segment makes it due.
        write_keys(server, "damaged", 1)
        with (server.logs / "damaged-0" / f"{0:020}.log").open("r+b") as file:
            file.seek(62)
            file.write(b"\xff\xff\xff")
        write_keys(server, "damaged", 3000)
        wait_for(lambda: uncleanable("partitions_count") == 1, "a log that cannot be compacted")
        expect(uncleanable("bytes") > 0, True, "its bytes")
        expect(server.process.stop(), 0, "exit code")


def write_keys(server, topic, count):
    """Records of few keys, in batches of one."""
    producer = Producer({"bootstrap.servers": f"localhost:{server.port}", "acks": "all", "batch.num.messages": 1})
    for number in range(count):
        producer.produce(topic, b"x" * 20, key=str(number % 5))
    expect(producer.flush(20), 0, "records left")


def job(*more):
    """The tutorial's word count as a job of a server, with Spark's properties."""
    conf = [word for pair in more for word in ("--conf", pair)]
    return [PROGRAM, "spark-submit", *conf, ROOT / "examples/kafka_word_count.py"]


def streaming_job():
    with Workspace("console") as workspace:
        server = Server(workspace)
        server.tool("kafka-topics", "--create", "--topic", "words", "--partitions", "1", "--replication-factor", "1")
        environment = {"PYSPARK_PYTHON": PYTHON}
        start = lambda *conf: workspace.start([*job(*conf), f"localhost:{server.keeper}", "words"], env=environment)
        port = free_port()
        first = start(f"spark.ui.port={port}", "spark.metrics.namespace=words")
        wait_for(lambda: ready(port) == (200, "ready\n"), "a job that is ready")
        expect(curl(f"http://127.0.0.1:{port}/healthz"), (200, "alive\n"), "/healthz of a job")
        first.wait_line(r"Time: ")
        gauge = lambda name, ending="Value": value(scrape(port)[0], f"metrics_words_driver_KafkaWordCount_StreamingMetrics_streaming_{name}_{ending}", type="gauges")
        wait_for(lambda: gauge("totalCompletedBatches") >= 1, "a batch")
        expect((gauge("receivers"), gauge("totalReceivedRecords")), (1, 0), "before anything was sent")
        produce(server, "words", 7)
        wait_for(lambda: gauge("totalProcessedRecords") == 7, "seven records processed")
        expect((gauge("totalReceivedRecords"), gauge("totalReceivedRecords", "Number")), (7, 7), "records received")
        for name in ("processingDelay", "schedulingDelay", "totalDelay", "submissionTime", "processingStartTime", "processingEndTime"):
            expect(gauge(f"lastCompletedBatch_{name}") >= 0, True, name)
        expect(curl(f"http://127.0.0.1:{port}/metrics/prometheus")[0], 200, "the path of Spark's servlet")
        # The next job takes the next port; one that may not look further goes on without.
        second = start(f"spark.ui.port={port}", "spark.port.maxRetries=8")
        second.wait_line(f"warn: Service 'SparkUI' could not bind on port {port}. Attempting port {port + 1}.")
        third = start(f"spark.ui.port={port}", "spark.port.maxRetries=0")
        third.wait_line(rf"warn: Address already in use: Service 'SparkUI' failed after 0 retries \(starting from {port}\)!")
        silent = start("spark.ui.enabled=false")
        for other in (second, third, silent):
            other.wait_line(r"Time: ")
        expect(silent.err, [], "what a job without pages says")
        wrong = start("spark.ui.port=many")
        expect(wrong.finish() != 0 and any("spark.ui.port should be int, but was many" in line for line in wrong.err), True, f"a wrong port ({wrong.err})")
        for one in (first, second, third, silent):
            one.stop(signal.SIGINT)
        expect(ready(port)[0], 0, "the port after the job's end")


def rust_job():
    with Workspace("console") as workspace:
        server = Server(workspace)
        server.tool("kafka-topics", "--create", "--topic", "words", "--partitions", "1", "--replication-factor", "1")
        example = workspace.start([EXAMPLE, f"localhost:{server.keeper}", "words"])
        example.wait_line(r"Time: ")
        # Somebody else's job may have 4040: the warnings say which port is tried next.
        tried = re.findall(r"Attempting port (\d+)", "\n".join(example.err))
        port = int(tried[-1]) if tried else 4040
        name = "metrics_local_word_count_driver_StreamingKafkaWordCount_StreamingMetrics_streaming_totalCompletedBatches_Value"
        wait_for(lambda: value(scrape(port)[0], name, type="gauges") >= 1, "a batch of the example")
        example.stop(signal.SIGINT)


def keeper_alone():
    with Workspace("console") as workspace:
        port, http = free_port(), free_port()
        properties = workspace.properties("zookeeper.properties", {
            "clientPort": port, "dataDir": workspace.path / "keeper",
            "metricsProvider.className": "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider", "metricsProvider.httpPort": http})
        keeper = workspace.start([PROGRAM, "zookeeper-server-start", properties])
        keeper.wait_line("ready in")
        expect(ready(http), (200, "ready\n"), "/readyz of a keeper")
        before, _ = scrape(http)
        expect([name for name in KEEPER_NAMES if name not in {key[0] for key in before}], [], "names that are missing")
        run([PROGRAM, "zookeeper-shell", f"localhost:{port}", "create", "/seen", "x"])
        wait_for(lambda: value(scrape(http)[0], "znode_count") == value(before, "znode_count") + 1, "one node more")
        expect(keeper.stop(), 0, "exit code")


def readiness():
    with Workspace("console") as workspace:
        port, http, zk = free_port(), free_port(), free_port()
        keeper_file = workspace.properties("zookeeper.properties", {"clientPort": zk, "dataDir": workspace.path / "keeper"})
        broker_file = workspace.properties("server.properties", {
            "listeners": f"PLAINTEXT://localhost:{port}", "zookeeper.connect": f"localhost:{zk}", "http.listener": f"localhost:{http}",
            "log.dirs": workspace.path / "logs", "zookeeper.session.timeout.ms": 2000, "zookeeper.connection.timeout.ms": 30000})
        broker = workspace.start([PROGRAM, "kafka-server-start", broker_file])
        wait_for(lambda: ready(http)[0] == 503, "503 while no keeper is there")
        expect(ready(http)[1], "the broker is starting and has not registered yet\n", "the reason")
        expect(curl(f"http://127.0.0.1:{http}/healthz"), (200, "alive\n"), "/healthz")
        start_keeper = lambda: workspace.start([PROGRAM, "zookeeper-server-start", keeper_file])
        keeper = start_keeper()
        wait_for(lambda: ready(http) == (200, "ready\n"), "ready once the keeper is there")
        keeper.stop(signal.SIGKILL)
        wait_for(lambda: "no session with ZooKeeper" in ready(http)[1], "no session once the keeper is killed")
        expect(value(scrape(http)[0], "tidemill_ready"), 0, "tidemill_ready")
        start_keeper()
        wait_for(lambda: ready(http) == (200, "ready\n"), "ready once the keeper is back")
        expect(broker.stop(), 0, "exit code")


def recovery():
    """A FIFO in the place of a small file holds the start at one log, for as long as nobody writes into it."""
    with Workspace("console") as workspace:
        server = Server(workspace)
        code, _, err = server.tool("kafka-topics", "--create", "--topic", "words", "--partitions", "3", "--replication-factor", "1")
        expect(code, 0, f"exit code of kafka-topics ({err})")
        produce(server, "words", 30)
        server.process.stop(signal.SIGKILL)
        held = server.logs / "words-1" / "leader-epoch-checkpoint"
        held.unlink(missing_ok=True)
        os.mkfifo(held)
        # Which topic a log is of cannot be guessed.
        (server.logs / "words-2" / "partition.metadata").write_text("version: 0\n")
        server.start(wait=False)
        pattern = r"recovering \d of \d logs after an unclean shutdown \(\d+ MiB checked\)"
        wait_for(lambda: bool(re.fullmatch(pattern + "\n", ready(server.http)[1])), "a recovering broker says so")
        expect(ready(server.http)[0], 503, "the status of /readyz")
        expect(curl(f"http://127.0.0.1:{server.http}/healthz")[0], 200, "the status of /healthz")
        expect(value(scrape(server.http)[0], "kafka_server_kafkaserver_brokerstate"), 2, "Kafka's number of the state")
        server.process.wait_line("recovering logs after an unclean shutdown: ")
        # A start that waits is given up at once.
        began = time.monotonic()
        expect(server.process.stop(), 0, "exit code of a start given up")
        expect(time.monotonic() - began < 5, True, "it was given up at once")
        expect((server.logs / CLEAN).exists(), False, "the mark of a clean stop after a start given up")
        # At a terminal there is a bar.
        output = Terminal([str(word) for word in server.command], workspace.path)
        wait_for(lambda: bool(re.search(r"recovering after an unclean shutdown.*of \d+ logs", output.text())), "a bar at the terminal")
        with open(held, "w"):
            pass
        wait_for(lambda: "[KafkaServer id=0] started" in output.text(), "the start goes on")
        # The checkpoint that holds nothing is made anew from the log. The other log is not served, the broker is, and says so.
        status, text = ready(server.http)
        expect((status, text.startswith("the log of words-2 is not served: ")), (503, True), f"/readyz with a damaged log ({text!r})")
        output.process.send_signal(signal.SIGINT)
        expect(output.process.wait(WAIT_S), 0, "exit code after Ctrl-C")
        line = next(line for line in output.text().splitlines() if "shutting down" in line or "WARN" in line)
        if not re.search(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] \S*(INFO|WARN)", line):
            raise Failed(f"not log4j's pattern: {line!r}")


class Terminal:
    """A process whose stderr is a terminal."""

    def __init__(self, command, cwd):
        ours, theirs = pty.openpty()
        self.seen = bytearray()
        environment = {**os.environ, "TIDEMILL_LOG": "info", "TERM": "xterm"}
        self.process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
                                        preexec_fn=take_ctrl_c, start_new_session=True)
        os.close(theirs)
        threading.Thread(target=self._read, args=(ours,), daemon=True).start()

    def _read(self, ours):
        try:
            while more := os.read(ours, 4096):
                self.seen += more
        except OSError:  # the other side is closed
            pass

    def text(self):
        return self.seen.decode(errors="replace")


def signals():
    with Workspace("console") as workspace:
        server = Server(workspace)
        for how in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            expect(server.process.stop(how), 0, f"exit code after {how.name}")
            expect((server.logs / CLEAN).exists(), True, f"the mark of a clean stop after {how.name}")
            server.start()
        server.process.stop()
        # A keeper that does not answer keeps a broker busy saying goodbye; the second signal does not wait for that.
        zk, port = free_port(), free_port()
        keeper_file = workspace.properties("zookeeper.properties", {"clientPort": zk, "dataDir": workspace.path / "keeper"})
        broker_file = workspace.properties("server.properties", {
            "listeners": f"PLAINTEXT://localhost:{port}", "zookeeper.connect": f"localhost:{zk}", "http.listener": "none", "log.dirs": workspace.path / "logs"})
        keeper = workspace.start([PROGRAM, "zookeeper-server-start", keeper_file])
        keeper.wait_line("ready in")
        for how, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            broker = workspace.start([PROGRAM, "kafka-server-start", broker_file])
            broker.wait_line("started")
            keeper.process.send_signal(signal.SIGSTOP)
            broker.process.send_signal(how)
            broker.wait_line("a second signal stops at once")
            began = time.monotonic()
            expect(broker.stop(how), code, f"exit code after a second {how.name}")
            expect(time.monotonic() - began < 1, True, "a second signal does not wait")
            expect((workspace.path / "logs" / CLEAN).exists(), False, "the mark of a clean stop after two signals")
            keeper.process.send_signal(signal.SIGCONT)
        expect(keeper.stop(signal.SIGINT), 0, "exit code of the keeper")


def log_lines_and_levels():
    with Workspace("console") as workspace:
        levels = workspace.path / "levels"
        levels.write_text("warn  # quiet\n")
        server = Server(workspace, environment={"TIDEMILL_LOG": f"@{levels}"})
        describe = ("kafka-configs", "--describe", "--entity-type", "broker-loggers", "--entity-name", "0")
        code, out, err = server.tool(*describe)
        expect((code, "  broker.network=WARN sensitive=false synonyms={}" in out), (0, True), f"levels ({out} {err})")
        alter = ("kafka-configs", "--alter", "--entity-type", "broker-loggers", "--entity-name", "0")
        for words, expected in (("--add-config root=LOUD", "Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN"),
                                ("--add-config kafka=INFO", "Logger kafka does not exist!"),
                                ("--delete-config root", "Removing the log level of the root logger is not allowed")):
            code, _, err = server.tool(*alter, *words.split())
            expect((code, expected in err), (1, True), f"{words}: {err}")
        expect(server.tool(*alter, "--add-config", "broker=DEBUG,broker.network=ERROR")[0], 0, "exit code of a change")
        out = server.tool(*describe)[1]
        for line in ("broker.control=DEBUG", "broker.network=ERROR", "storage=WARN"):
            expect(f"  {line} " in out, True, f"{line} in {out}")
        said = lambda: [json.loads(line) for line in server.process.err]
        server.tool("kafka-topics", "--create", "--topic", "loud", "--partitions", "1", "--replication-factor", "1")
        wait_for(lambda: any(line["logger"].startswith("broker.") and line["level"] == "DEBUG" for line in said()), "a debug line")
        levels.write_text("info,broker=error\n")
        server.process.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "  broker.control=ERROR " in server.tool(*describe)[1], "the levels of the file")
        levels.write_text("nonsense\n")
        server.process.process.send_signal(signal.SIGHUP)
        wait_for(lambda: any("cannot read the log levels again" in line["message"] for line in said()), "a word on a wrong file")
        expect(server.process.process.poll(), None, "the server lives")
        expect(server.process.stop(), 0, "exit code")
        for line in said():
            if not {"timestamp", "level", "logger", "message"} <= line.keys() or not re.fullmatch(r"[\d-]+T[\d:]+\.\d{3}Z", line["timestamp"]):
                raise Failed(f"a line of the log: {line}")
        code, _, err = run([PROGRAM, "serve", "--port", free_port(), "--keeper-port", free_port()], cwd=workspace.path, env={"TIDEMILL_LOG": "brokr=info"})
        expect((code, "there is no logger brokr" in err), (2, True), f"levels that make no sense ({err})")


def http_limits():
    with Workspace("console") as workspace:
        server = Server(workspace)
        url = f"http://127.0.0.1:{server.http}"
        expect(curl(url + "/")[0], 200, "the index")
        expect(curl(url + "/nothing")[0], 404, "another path")
        expect(curl(url + "/metrics", "-X", "POST", "-d", "x=1")[0], 405, "POST")
        expect(curl(url + "/healthz", "-I")[0], 200, "HEAD")
        expect(curl(url + "/healthz", "-H", "X: " + "y" * 40_000)[0], 431, "a header of 40,000 bytes")
        idle = [socket.create_connection(("127.0.0.1", server.http), 5) for _ in range(64)]
        time.sleep(0.3)
        with socket.create_connection(("127.0.0.1", server.http), 5) as one_more:
            one_more.settimeout(5)
            expect(one_more.recv(1), b"", "what the 65th connection hears")
        for connection in idle:
            connection.close()
        wait_for(lambda: ready(server.http)[0] == 200, "an answer once they are gone")
        with socket.create_connection(("127.0.0.1", server.http), 5) as strange:
            strange.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200))
            strange.settimeout(5)
            answer = strange.recv(100)
            expect(answer == b"" or b" 400 " in answer, True, f"what a TLS hello hears ({answer!r})")
        # A port that was asked for must be had; the default one need not.
        command = [PROGRAM, "serve", "--port", free_port(), "--keeper-port", free_port(), "--data-dir", "other"]
        code, _, err = run([*command, "--http", server.http], cwd=workspace.path)
        expect((code, f"cannot serve http.listener 127.0.0.1:{server.http}" in err), (1, True), f"a port that is held ({err})")
        with socket.socket() as holder:
            try:
                holder.bind(("127.0.0.1", 8080))
                holder.listen()
            except OSError:
                pass  # somebody else holds it: just as good
            other = workspace.start(command)
            other.wait_line(r"\[KafkaServer id=0\] started")
            other.wait_line("127.0.0.1:8080 is held by another program")
            expect(other.stop(), 0, "exit code")
        expect(server.process.stop(), 0, "exit code")


checks = Checks()
checks.check("metrics of keeper and broker, as Prometheus reads them, move by what is done", metrics_move)
checks.check("the cleaner's metrics move by what it does", cleaner)
checks.check("metrics of a keeper alone", keeper_alone)
checks.check("a streaming job shows itself on Spark's port", streaming_job)
if EXAMPLE.is_file():
    checks.check("so does the word count in Rust", rust_job)
else:
    checks.skip("the word count in Rust", f"it is not built: cargo build --release --example {EXAMPLE.name}")
checks.check("/readyz says why not, /healthz that it lives", readiness)
checks.check("a recovering broker says how far it is, and can be stopped", recovery)
checks.check("signals: a clean stop, and at once by the second", signals)
checks.check("lines of JSON, levels changed while it runs", log_lines_and_levels)
checks.check("limits of the HTTP port", http_limits)
checks.close()
