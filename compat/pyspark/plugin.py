"""Points PySpark's own streaming tests at our package and our servers, and holds them to the list of known failures.

Loaded with `pytest -p plugin`. The tests expect a JVM at two places, and get what they need without one: the Kafka tests ask it for
`KafkaTestUtils`, which here is one `tidemill serve` for all of them, and the imports want the Flume and Kinesis modules, whose tests are skipped.
A test in known-failures.txt must fail; any other must pass.
"""
import pathlib
import sys
import time
import types

import harness
import pytest

HERE = pathlib.Path(__file__).parent
# Sources that Tidemill does not have.
OTHER_SOURCES = {
    "pyspark.streaming.flume": ("FlumeUtils",),
    "pyspark.streaming.kinesis": ("KinesisUtils", "InitialPositionInStream"),
}
# Longest wait for the records of a Kafka test, and the wait for those that come too often.
KAFKA_LIMIT_S = 60
SURPLUS_S = 2
SKIPPED_CLASSES = ("FlumeStreamTests", "FlumePollingStreamTests", "KinesisStreamTests")

for name, members in OTHER_SOURCES.items():
    module = types.ModuleType(name)
    for member in members:
        setattr(module, member, None)
    sys.modules[name] = module


class KafkaTestUtils:
    """What the tests use of Spark's class of this name."""

    _server = None
    _workspace = None

    @classmethod
    def _start(cls):
        cls._workspace = harness.Workspace("pyspark")
        cls._zookeeper, cls._port = harness.free_port(), harness.free_port()
        cls._server = cls._workspace.start([
            harness.PROGRAM, "serve", "--keeper-port", str(cls._zookeeper), "--port", str(cls._port),
            "--data-dir", str(cls._workspace.path / "data")])
        harness.wait_port(cls._port, process=cls._server)

    @classmethod
    def end(cls):
        if cls._workspace is not None:
            cls._workspace.__exit__()

    def setup(self):
        if KafkaTestUtils._server is None:
            KafkaTestUtils._start()

    def teardown(self):
        """The server stays for the next test: each test has a topic of its own."""

    def zkAddress(self):
        return "127.0.0.1:%d" % self._zookeeper

    def brokerAddress(self):
        return "127.0.0.1:%d" % self._port

    def createTopic(self, topic):
        from kafka.admin import KafkaAdminClient, NewTopic
        admin = KafkaAdminClient(bootstrap_servers=self.brokerAddress())
        admin.create_topics([NewTopic(topic, 1, 1)])
        admin.close()

    def sendMessages(self, topic, counts):
        from kafka import KafkaProducer
        producer = KafkaProducer(bootstrap_servers=self.brokerAddress(), acks="all")
        for message, count in counts.items():
            for _ in range(count):
                producer.send(topic, message.encode(), partition=0)
        producer.flush(harness.WAIT_S)
        producer.close()


def known_failures():
    known = {}
    for line in (HERE / "known-failures.txt").read_text().splitlines():
        test, _, reason = line.strip().partition(" ")
        if test and not test.startswith("#"):
            known[test] = reason
    return known


def pytest_collection_modifyitems(items):
    known = known_failures()
    names = {item.nodeid.split("::", 1)[-1] for item in items}
    for item in items:
        test_class, _, test = item.nodeid.split("::", 1)[-1].partition("::")
        if test_class in SKIPPED_CLASSES:
            item.add_marker(pytest.mark.skip(reason="Flume and Kinesis are not sources of this engine"))
        reason = known.get(f"{test_class}::{test}")
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
    if len(names) > 60 and set(known) - names:
        raise pytest.UsageError(f"known-failures.txt names tests that are not there: {sorted(set(known) - names)}")


def wait_for_records(self, result, n):
    """Instead of the suite's own, which waits for as many batches as there are records, and so always until its limit."""
    deadline = time.monotonic() + KAFKA_LIMIT_S
    while sum(len(batch) if isinstance(batch, list) else 1 for batch in result) < n and time.monotonic() < deadline:
        time.sleep(0.01)
    # Those that count what each batch tells them look before the next batch.
    if all(isinstance(batch, list) for batch in result):
        time.sleep(SURPLUS_S)


@pytest.fixture(autouse=True, scope="class")
def jvm(request):
    """`_jvm` of the contexts while the Kafka tests run, for the one class they take from it."""
    from pyspark import SparkContext
    if request.cls is not None and request.cls.__name__ == "KafkaStreamTests":
        kafka = types.SimpleNamespace(KafkaTestUtils=KafkaTestUtils)
        path = types.SimpleNamespace(streaming=types.SimpleNamespace(kafka=kafka))
        SparkContext._jvm = types.SimpleNamespace(org=types.SimpleNamespace(apache=types.SimpleNamespace(spark=path)))
        request.cls.wait_for = wait_for_records
        yield
        SparkContext._jvm = None
    else:
        yield


def pytest_unconfigure():
    KafkaTestUtils.end()
