"""What people do wrong, one line each, as typed in the folder of a checkout.

Servers: keeper on 2181, broker on 9092; and `tidemill serve` on 9094 with its keeper on 2183, which makes no topics by itself. Nobody listens on 2189, 9095 and 9099, and who listens on 9096 says nothing.
"""
import dataclasses


@dataclasses.dataclass
class Case:
    name: str
    line: str
    # Typed into it.
    stdin: str | None = None
    # Run before it, and must end well.
    before: tuple = ()
    # Ctrl-C when such a line is printed, or after so many seconds; with both, so long after the line.
    until: str | None = None
    stop_after: float | None = None
    # Typed before Ctrl-C, a line at a time.
    typed: tuple = ()
    # Ctrl-C again when such a line is printed.
    twice: str | None = None
    # Run after it, and shown: what it left behind.
    after: tuple = ()
    # A folder that is a read-only file system for it.
    read_only: str | None = None
    # Who runs it: nobody, where it is not the one who runs this.
    as_nobody: bool = False
    # Not beside other cases: it looks at the whole machine or changes what others look at.
    alone: bool = False
    # Whether the command of the help line is typed.
    type_help: bool = True
    # Whether the traceback is the script's own.
    users_traceback: bool = False
    # Paths that must not be there afterwards.
    absent: tuple = ()

    @property
    def waits(self):
        """Whether it is ended by Ctrl-C."""
        return self.until is not None or self.stop_after is not None


PREPARE = [
    "bin/kafka-topics.sh --create --zookeeper localhost:2181 --replication-factor 1 --partitions 1 --topic wordsendertest",
    "printf 'hello hadoop\\nhello spark\\n' | bin/kafka-console-producer.sh --broker-list localhost:9092 --topic wordsendertest",
    "bin/kafka-topics.sh --create --bootstrap-server localhost:9092 --topic small --config max.message.bytes=100",
    "bin/kafka-topics.sh --create --bootstrap-server localhost:9092 --topic dotted.name",
]

TOPICS = "bin/kafka-topics.sh"
CREATE = f"{TOPICS} --create --zookeeper localhost:2181 --partitions 1"
PRODUCER = "bin/kafka-console-producer.sh --broker-list"
CONSUMER = "bin/kafka-console-consumer.sh"
BROKER = "bin/kafka-server-start.sh"
KEEPER = "bin/zookeeper-server-start.sh"
SUBMIT = "bin/spark-submit"
REASSIGN = "bin/kafka-reassign-partitions.sh"
# What those files hold.
MISSING_BROKER = '{"version":1,"partitions":[{"topic":"wordsendertest","partition":0,"replicas":[0,7]}]}\\n'
MISSING_TOPIC = '{"version":1,"partitions":[{"topic":"wordsendertset","partition":0,"replicas":[0]}]}\\n'
ANY = "--override listeners=PLAINTEXT://localhost:0"


def file(name, text):
    """Writes a file; for `before`."""
    return f"mkdir -p $(dirname {name}) && printf '{text}' > {name}"


CASES = [
    # kafka-topics
    Case("topics-no-action", f"{TOPICS} --zookeeper localhost:2181"),
    Case("topics-two-actions", f"{TOPICS} --list --describe --zookeeper localhost:2181"),
    Case("topics-no-server", f"{TOPICS} --list"),
    Case("topics-both-servers", f"{TOPICS} --list --zookeeper localhost:2181 --bootstrap-server localhost:9092"),
    Case("topics-no-topic", f"{CREATE} --replication-factor 1"),
    Case("topics-no-partitions", f"{TOPICS} --create --zookeeper localhost:2181 --replication-factor 1 --topic t"),
    Case("topics-unknown-option", f"{TOPICS} --lsit --zookeeper localhost:2181"),
    Case("topics-option-without-value", f"{TOPICS} --list --zookeeper"),
    Case("topics-word-too-many", f"{TOPICS} --list --zookeeper localhost:2181 wordsendertest"),
    Case("topics-not-a-number", f"{TOPICS} --create --zookeeper localhost:2181 --replication-factor 1 --partitions many --topic t"),
    Case("topics-exists-zookeeper", f"{CREATE} --replication-factor 1 --topic wordsendertest"),
    Case("topics-exists-bootstrap", f"{TOPICS} --create --bootstrap-server localhost:9092 --topic wordsendertest"),
    Case("topics-replication-zookeeper", f"{CREATE} --replication-factor 3 --topic three"),
    Case("topics-replication-bootstrap", f"{TOPICS} --create --bootstrap-server localhost:9092 --replication-factor 3 --topic three-again"),
    Case("topics-bad-name-zookeeper", f"{CREATE} --replication-factor 1 --topic 'a b'"),
    Case("topics-bad-name-bootstrap", f"{TOPICS} --create --bootstrap-server localhost:9092 --topic 'b c'"),
    Case("topics-collision", f"{CREATE} --replication-factor 1 --topic dotted_name"),
    Case("topics-bad-config", f"{TOPICS} --create --bootstrap-server localhost:9092 --topic t --config retention.mss=1"),
    Case("topics-describe-missing-zookeeper", f"{TOPICS} --describe --zookeeper localhost:2181 --topic wordsendertset"),
    Case("topics-describe-missing-bootstrap", f"{TOPICS} --describe --bootstrap-server localhost:9092 --topic wordsendertset"),
    Case("topics-delete-missing-zookeeper", f"{TOPICS} --delete --zookeeper localhost:2181 --topic wordsendertset"),
    Case("topics-fewer-partitions", f"{TOPICS} --alter --zookeeper localhost:2181 --topic wordsendertest --partitions 1"),
    Case("topics-alter-config-bootstrap", f"{TOPICS} --alter --bootstrap-server localhost:9092 --topic wordsendertest --config retention.ms=100000000"),
    Case("topics-none", f"{TOPICS} --list --zookeeper localhost:2181/empty"),
    Case("topics-no-brokers", f"{TOPICS} --create --zookeeper localhost:2181/empty --replication-factor 1 --partitions 1 --topic t"),
    # Where the servers are
    Case("zookeeper-down", f"{TOPICS} --list --zookeeper localhost:2189"),
    Case("zookeeper-is-a-broker", f"{TOPICS} --list --zookeeper localhost:9092"),
    Case("zookeeper-bad-address", f"{TOPICS} --list --zookeeper localhost:port"),
    Case("broker-down", f"{TOPICS} --list --bootstrap-server localhost:9099"),
    Case("broker-is-a-zookeeper", f"{TOPICS} --list --bootstrap-server localhost:2181"),
    Case("broker-bad-address", f"{TOPICS} --list --bootstrap-server localhost"),
    # Console producer
    Case("producer-no-topic", f"{PRODUCER} localhost:9092"),
    Case("producer-no-broker", "bin/kafka-console-producer.sh --topic wordsendertest"),
    Case("producer-broker-down", f"{PRODUCER} localhost:9099 --topic wordsendertest --max-block-ms 700", stdin="hello\n"),
    Case("producer-broker-is-a-zookeeper", f"{PRODUCER} localhost:2181 --topic wordsendertest", stdin="hello\n"),
    Case("producer-bad-address", f"{PRODUCER} localhost --topic wordsendertest", stdin=""),
    Case("producer-new-topic", f"{PRODUCER} localhost:9092 --topic wordsendrtest", stdin="hello\n", alone=True),
    Case("producer-missing-topic", f"{PRODUCER} localhost:9094 --topic nothere --max-block-ms 700", stdin="hello\n"),
    Case("producer-too-large-for-the-topic", f"{PRODUCER} localhost:9092 --topic small", stdin="x" * 200 + "\n"),
    Case("producer-too-large", f"{PRODUCER} localhost:9092 --topic wordsendertest --producer-property max.request.size=100", stdin="x" * 200 + "\n"),
    Case("producer-no-key", f"{PRODUCER} localhost:9092 --topic wordsendertest --property parse.key=true", stdin="hello\n"),
    Case("producer-unknown-property", f"{PRODUCER} localhost:9092 --topic small --producer-property linger.m=5", stdin=""),
    Case("producer-bad-property", f"{PRODUCER} localhost:9092 --topic small --producer-property acks=most", stdin=""),
    Case("producer-property-without-value", f"{PRODUCER} localhost:9092 --topic small --producer-property acks", stdin=""),
    Case("producer-file-missing", f"{PRODUCER} localhost:9092 --topic small --producer.config config/nope.properties", stdin=""),
    Case("producer-file-malformed", f"{PRODUCER} localhost:9092 --topic small --producer.config config/malformed.properties", stdin="",
         before=(file("config/malformed.properties", "acks=1\\nclient.id=\\\\u00zz\\n"),)),
    Case("producer-file-bad-value", f"{PRODUCER} localhost:9092 --topic small --producer.config config/bad.properties", stdin="",
         before=(file("config/bad.properties", "# mine\\nacks=most\\n"),)),
    # Console consumer
    Case("consumer-no-topic", f"{CONSUMER} --zookeeper localhost:2181"),
    Case("consumer-two-topics", f"{CONSUMER} --bootstrap-server localhost:9092 --topic a --include b"),
    Case("consumer-no-server", f"{CONSUMER} --topic wordsendertest", type_help=False),
    Case("consumer-zookeeper-down", f"{CONSUMER} --zookeeper localhost:2189 --topic wordsendertest"),
    Case("consumer-zookeeper-is-a-broker", f"{CONSUMER} --zookeeper localhost:9092 --topic wordsendertest"),
    Case("consumer-broker-is-a-zookeeper", f"{CONSUMER} --bootstrap-server localhost:2181 --topic wordsendertest"),
    Case("consumer-ctrl-c-broker-down", f"{CONSUMER} --bootstrap-server localhost:9099 --topic wordsendertest", until="^help"),
    Case("consumer-ctrl-c-zookeeper-down", f"{CONSUMER} --zookeeper localhost:2189 --topic wordsendertest", until="^note"),
    Case("consumer-missing-topic", f"{CONSUMER} --zookeeper localhost:2183 --topic wordsendertset", until="^note"),
    Case("consumer-older-messages", f"{CONSUMER} --zookeeper localhost:2181 --topic wordsendertest", until="^note"),
    Case("consumer-offset-without-partition", f"{CONSUMER} --bootstrap-server localhost:9092 --topic t --offset 3"),
    Case("consumer-two-groups", f"{CONSUMER} --bootstrap-server localhost:9092 --topic t --group a --consumer-property group.id=b"),
    # Groups and offsets
    Case("groups-no-action", "bin/kafka-consumer-groups.sh --bootstrap-server localhost:9092"),
    Case("groups-unknown-bootstrap", "bin/kafka-consumer-groups.sh --describe --group nobody --bootstrap-server localhost:9092"),
    Case("groups-unknown-zookeeper", "bin/kafka-consumer-groups.sh --describe --group nobody --zookeeper localhost:2181"),
    Case("groups-reset-without-scenario", "bin/kafka-consumer-groups.sh --reset-offsets --group g --topic wordsendertest --bootstrap-server localhost:9092"),
    Case("checker-unknown-group", "bin/kafka-consumer-offset-checker.sh --group nobody --zookeeper localhost:2181"),
    Case("checker-no-group", "bin/kafka-consumer-offset-checker.sh --zookeeper localhost:2181"),
    Case("offsets-missing-topic", "bin/kafka-get-offsets.sh --bootstrap-server localhost:9092 --topic wordsendertset"),
    Case("offsets-missing-topic-0-8", "bin/kafka-run-class.sh kafka.tools.GetOffsetShell --broker-list localhost:9092 --topic wordsendertset --time -1"),
    Case("configs-missing-topic-bootstrap", "bin/kafka-configs.sh --bootstrap-server localhost:9092 --alter --entity-type topics --entity-name wordsendertset --add-config retention.ms=1"),
    Case("configs-missing-topic-zookeeper", "bin/kafka-configs.sh --zookeeper localhost:2181 --alter --entity-type topics --entity-name wordsendertset --add-config retention.ms=1"),
    Case("configs-unknown-key-bootstrap", "bin/kafka-configs.sh --bootstrap-server localhost:9092 --alter --entity-type topics --entity-name wordsendertest --add-config retention.mss=1"),
    Case("configs-unknown-key-zookeeper", "bin/kafka-configs.sh --zookeeper localhost:2181 --alter --entity-type topics --entity-name wordsendertest --add-config retention.mss=1"),
    Case("configs-no-entity", "bin/kafka-configs.sh --bootstrap-server localhost:9092 --describe"),
    Case("topics-assignment-and-partitions", f"{TOPICS} --create --zookeeper localhost:2181 --topic t --replica-assignment 0 --partitions 1"),
    Case("topics-assignment-twice-one-broker", f"{TOPICS} --create --zookeeper localhost:2181 --topic t --replica-assignment 0:0"),
    Case("topics-assignment-unknown-broker", f"{TOPICS} --alter --zookeeper localhost:2181 --topic wordsendertest --partitions 2 --replica-assignment 0,7"),
    Case("topics-min-isr-zookeeper", f"{TOPICS} --describe --zookeeper localhost:2181 --under-min-isr-partitions"),
    Case("topics-two-filters", f"{TOPICS} --describe --bootstrap-server localhost:9092 --under-replicated-partitions --unavailable-partitions"),
    # Moving partitions and leaders
    Case("reassign-nothing", REASSIGN),
    Case("reassign-no-action", f"{REASSIGN} --zookeeper localhost:2181"),
    Case("reassign-no-server", f"{REASSIGN} --list"),
    Case("reassign-no-file", f"{REASSIGN} --bootstrap-server localhost:9092 --execute"),
    Case("reassign-file-missing", f"{REASSIGN} --bootstrap-server localhost:9092 --execute --reassignment-json-file config/nope.json"),
    Case("reassign-file-not-json", f"{REASSIGN} --bootstrap-server localhost:9092 --execute --reassignment-json-file config/not.json", before=(file("config/not.json", "topic: t\\n"),)),
    Case("reassign-file-empty-zookeeper", f"{REASSIGN} --zookeeper localhost:2181 --execute --reassignment-json-file config/empty.json", before=(file("config/empty.json", "{\"partitions\":[]}\\n"),)),
    Case("reassign-broker-missing-bootstrap", f"{REASSIGN} --bootstrap-server localhost:9092 --execute --reassignment-json-file config/missing-broker.json", before=(file("config/missing-broker.json", MISSING_BROKER),)),
    Case("reassign-broker-missing-zookeeper", f"{REASSIGN} --zookeeper localhost:2181 --execute --reassignment-json-file config/missing-broker-0-9.json", before=(file("config/missing-broker-0-9.json", MISSING_BROKER),)),
    Case("reassign-topic-missing-bootstrap", f"{REASSIGN} --bootstrap-server localhost:9092 --execute --reassignment-json-file config/missing-topic.json", before=(file("config/missing-topic.json", MISSING_TOPIC),)),
    Case("reassign-topic-missing-zookeeper", f"{REASSIGN} --zookeeper localhost:2181 --execute --reassignment-json-file config/missing-topic-0-9.json", before=(file("config/missing-topic-0-9.json", MISSING_TOPIC),)),
    Case("reassign-too-few-brokers", f"{REASSIGN} --zookeeper localhost:2181 --generate --topics-to-move-json-file config/topics.json --broker-list 0,0", before=(file("config/topics.json", "{\"topics\":[{\"topic\":\"wordsendertest\"}]}\\n"),)),
    Case("reassign-elsewhere-verified", f"{REASSIGN} --zookeeper localhost:2181 --verify --reassignment-json-file config/elsewhere.json", before=(file("config/elsewhere.json", MISSING_BROKER),)),
    Case("elect-no-type", "bin/kafka-leader-election.sh --bootstrap-server localhost:9092 --all-topic-partitions"),
    Case("elect-unknown-topic", "bin/kafka-leader-election.sh --bootstrap-server localhost:9092 --election-type preferred --topic wordsendertset --partition 0"),
    Case("preferred-no-server", "bin/kafka-preferred-replica-election.sh --path-to-json-file x.json"),
    Case("preferred-unknown-topic", "bin/kafka-preferred-replica-election.sh --zookeeper localhost:2181 --path-to-json-file config/preferred.json", before=(file("config/preferred.json", "{\"partitions\":[{\"topic\":\"wordsendertset\",\"partition\":0}]}\\n"),)),
    Case("verify-no-server", "bin/kafka-replica-verification.sh --once"),
    Case("verify-no-topic", "bin/kafka-replica-verification.sh --broker-list localhost:9092 --topic-white-list wordsendertset --once"),
    Case("verify-broker-down", "bin/kafka-replica-verification.sh --broker-list localhost:9099"),
    # A cluster on this machine
    Case("dev-no-action", "bin/tidemill dev", type_help=False),
    Case("dev-misspelt", "bin/tidemill dev staus"),
    Case("dev-no-brokers", "bin/tidemill dev up -n 0", type_help=False),
    Case("dev-too-many-brokers", "bin/tidemill dev up -n 50", type_help=False),
    Case("dev-port-taken", "bin/tidemill dev up -n 1 --port 9092 --keeper-port 2181 --dir data/dev-taken", type_help=False, absent=("data/dev-taken",), alone=True),
    Case("dev-zookeeper-is-a-broker", "bin/tidemill dev up -n 1 --any-port --zookeeper localhost:9092 --dir data/dev-broker", absent=("data/dev-broker",)),
    Case("dev-none-to-stop", "bin/tidemill dev stop --dir data/dev-none", type_help=False),
    Case("dev-none-to-show", "bin/tidemill dev status --dir data/dev-none", type_help=False),
    Case("dev-none-to-purge", "bin/tidemill dev purge --dir data/dev-none", type_help=False),
    # Other tools
    Case("dump-missing-file", "bin/kafka-dump-log.sh --files data/kafka-logs/nope.log"),
    Case("shell-missing-node", "bin/zookeeper-shell.sh localhost:2181 get /brokers/nope"),
    Case("shell-unknown-command", "bin/zookeeper-shell.sh localhost:2181 delet /x"),
    Case("shell-is-a-broker", "bin/zookeeper-shell.sh localhost:9092 ls /"),
    Case("api-versions-no-server", "bin/kafka-broker-api-versions.sh"),
    Case("class-unknown", "bin/kafka-run-class.sh kafka.tools.Nothing"),
    Case("tool-misspelt", "bin/tidemill kafka-topic"),
    Case("tool-unknown-option", "bin/tidemill serve --prot 9092"),
    Case("layout-not-empty", "bin/tidemill layout config"),
    # The keeper
    Case("keeper-no-file", KEEPER),
    Case("keeper-file-missing", f"{KEEPER} config/nope.properties"),
    Case("keeper-port-taken", f"{KEEPER} config/taken.properties", before=(file("config/taken.properties", "dataDir=data/taken\\nclientPort=9092\\n"),), alone=True),
    Case("keeper-embedded", f"{KEEPER} config/embedded.properties", before=(file("config/embedded.properties", "dataDir=data/embedded\\nclientPort=2183\\nclientPortAddress=127.0.0.1\\n"),)),
    Case("keeper-locked", f"{KEEPER} config/locked.properties", before=(file("config/locked.properties", "dataDir=data/keeper\\nclientPort=2189\\nclientPortAddress=127.0.0.1\\n"),), alone=True),
    Case("keeper-bad-value", f"{KEEPER} config/bad-keeper.properties", before=(file("config/bad-keeper.properties", "dataDir=data/k\\nclientPort=many\\n"),)),
    Case("keeper-no-data-dir", f"{KEEPER} config/no-data.properties", before=(file("config/no-data.properties", "clientPort=0\\nclientPortAddress=127.0.0.1\\n"),), type_help=False),
    Case("keeper-ensemble", f"{KEEPER} config/ensemble.properties", before=(file("config/ensemble.properties", "dataDir=data/e\\nserver.1=h:2888:3888\\n"),)),
    Case("keeper-foreign-data", f"{KEEPER} config/foreign.properties", before=("mkdir -p data/foreign/version-2", file("config/foreign.properties", "dataDir=data/foreign\\nclientPort=0\\n"))),
    Case("keeper-not-a-directory", f"{KEEPER} config/not-a-directory.properties", before=("mkdir -p data && touch data/occupied", file("config/not-a-directory.properties", "dataDir=data/occupied/keeper\\nclientPort=0\\n"))),
    Case("keeper-unknown-key", f"{KEEPER} config/unknown-keeper.properties", before=(file("config/unknown-keeper.properties", "dataDir=data/u\\nclientPort=0\\nclientPortAddress=127.0.0.1\\ntickTme=2000\\ntickTme=2000\\n"),), until="ready in"),
    Case("keeper-malformed", f"{KEEPER} config/malformed-keeper.properties", before=(file("config/malformed-keeper.properties", "clientPort=0\\ndataDir=\\\\u00zz\\n"),)),
    Case("keeper-none-to-stop", "bin/zookeeper-server-stop.sh config/embedded-not.properties", before=(file("config/embedded-not.properties", "dataDir=data/not-there\\nclientPort=0\\n"),)),
    # The broker
    Case("broker-no-file", BROKER),
    Case("broker-file-missing", f"{BROKER} config/nope.properties"),
    Case("broker-unknown-option", f"{BROKER} config/server.properties --overide a=b"),
    Case("broker-override-without-value", f"{BROKER} config/server.properties --override broker.id"),
    Case("broker-port-taken", f"{BROKER} config/server.properties", alone=True),
    Case("broker-zookeeper-down", f"{BROKER} config/lonely.properties", before=(file("config/lonely.properties", "broker.id=5\\nlisteners=PLAINTEXT://localhost:0\\nlog.dirs=data/lonely\\nzookeeper.connect=localhost:2189\\nzookeeper.connection.timeout.ms=2500\\n"),), absent=("data/lonely",)),
    Case("broker-ctrl-c-zookeeper-down", f"{BROKER} config/server.properties --override listeners=PLAINTEXT://localhost:0 --override log.dirs=data/lonely --override zookeeper.connect=localhost:2189", until="waiting for ZooKeeper", absent=("data/lonely",)),
    Case("broker-zookeeper-is-a-broker", f"{BROKER} config/confused.properties", before=(file("config/confused.properties", "broker.id=5\\nlisteners=PLAINTEXT://localhost:0\\nlog.dirs=data/lonely\\nzookeeper.connect=localhost:9092\\nzookeeper.connection.timeout.ms=1500\\n"),), absent=("data/lonely",)),
    Case("broker-same-id", f"{BROKER} config/server.properties --override listeners=PLAINTEXT://localhost:0 --override log.dirs=data/same-id", absent=("data/same-id",), type_help=False),
    Case("broker-locked", f"{BROKER} config/server.properties --override listeners=PLAINTEXT://localhost:0", alone=True),
    Case("broker-wrong-cluster", f"{BROKER} config/server.properties --override listeners=PLAINTEXT://localhost:0 --override broker.id=8 --override log.dirs=data/of-another", before=(file("data/of-another/meta.properties", "version=0\\nbroker.id=8\\ncluster.id=AAAAAAAAAAAAAAAAAAAAAA\\n"),)),
    Case("broker-wrong-id", f"{BROKER} config/server.properties --override listeners=PLAINTEXT://localhost:0 --override broker.id=8 --override log.dirs=data/of-seven", before=(file("data/of-seven/meta.properties", "version=0\\nbroker.id=7\\n"),), type_help=False),
    Case("broker-not-a-directory", f"{BROKER} config/server.properties --override listeners=PLAINTEXT://localhost:0 --override broker.id=9 --override log.dirs=data/occupied/logs", before=("mkdir -p data && touch data/occupied",), type_help=False),
    Case("broker-bad-value", f"{BROKER} config/bad-broker.properties", before=(file("config/bad-broker.properties", "broker.id=0\\nnum.partitions=none\\nzookeeper.connect=localhost:2181\\n"),)),
    Case("broker-bad-listeners", f"{BROKER} config/bad-listeners.properties", before=(file("config/bad-listeners.properties", "listeners=localhost:9092\\nzookeeper.connect=localhost:2181\\n"),)),
    Case("broker-malformed", f"{BROKER} config/malformed-broker.properties", before=(file("config/malformed-broker.properties", "broker.id=0\\nlog.dirs=\\\\u00zz\\n"),)),
    Case("broker-no-zookeeper", f"{BROKER} config/no-zookeeper.properties", before=(file("config/no-zookeeper.properties", "broker.id=0\\n"),), type_help=False),
    Case("broker-unknown-key", f"{BROKER} config/unknown-broker.properties", before=(file("config/unknown-broker.properties", "broker.id=0\\nnum.partition=1\\nnum.partition=1\\nlisteners=PLAINTEXT://localhost:0\\nlog.dirs=data/unknown\\nzookeeper.connect=localhost:2181/unknown-key\\n"),), until="ready in", type_help=False),
    Case("broker-few-files", "bash -c 'ulimit -n 256; exec bin/kafka-server-start.sh config/server.properties --override listeners=PLAINTEXT://localhost:0 --override log.dirs=data/few --override zookeeper.connect=localhost:2181/few-files'", until="ready in", type_help=False),
    Case("broker-none-to-stop", f"bin/kafka-server-stop.sh config/server.properties --override log.dirs=data/not-there"),
    # Directories that cannot be written
    Case("broker-read-only", f"{BROKER} config/server.properties {ANY} --override log.dirs=data/read-only/logs --override zookeeper.connect=localhost:2181/read-only", read_only="data/read-only", type_help=False),
    Case("broker-now-read-only", f"{BROKER} config/server.properties {ANY} --override log.dirs=data/now-read-only --override zookeeper.connect=localhost:2181/now-read-only",
         before=("mkdir -p data/now-read-only", file("data/now-read-only/meta.properties", "version=0\\nbroker.id=0\\n")), read_only="data/now-read-only", type_help=False),
    Case("keeper-read-only", f"{KEEPER} config/read-only.properties", before=(file("config/read-only.properties", "dataDir=data/keeper-read-only\\nclientPort=0\\nclientPortAddress=127.0.0.1\\n"),), read_only="data/keeper-read-only"),
    Case("broker-no-permission", f"{BROKER} config/server.properties {ANY} --override log.dirs=data/of-root/logs --override zookeeper.connect=localhost:2181/no-permission", before=("mkdir -p -m 755 data/of-root",), as_nobody=True, type_help=False),
    Case("broker-files-of-another", f"{BROKER} config/server.properties {ANY} --override log.dirs=data/once-root --override zookeeper.connect=localhost:2181/no-permission",
         before=("mkdir -p data/once-root && chmod 777 data/once-root", "touch data/once-root/.lock && chmod 644 data/once-root/.lock"), as_nobody=True, type_help=False),
    Case("broker-file-unreadable", f"{BROKER} config/secret.properties", before=(file("config/secret.properties", "broker.id=0\\n"), "chmod 600 config/secret.properties"), as_nobody=True, type_help=False),
    Case("keeper-no-permission", f"{KEEPER} config/no-permission.properties", before=(file("config/no-permission.properties", "dataDir=data/of-root/keeper\\nclientPort=0\\nclientPortAddress=127.0.0.1\\n"), "mkdir -p -m 755 data/of-root"), as_nobody=True),
    Case("keeper-files-of-another", f"{KEEPER} config/once-root.properties", before=(file("config/once-root.properties", "dataDir=data/keeper-once-root\\nclientPort=0\\nclientPortAddress=127.0.0.1\\n"), "mkdir -p data/keeper-once-root/keeper-1 && chmod 777 data/keeper-once-root"), as_nobody=True),
    # Ctrl-C at every stage; those of jobs are further down
    Case("ctrl-c-topics-zookeeper-down", f"{TOPICS} --list --zookeeper localhost:2189", until="^note"),
    Case("ctrl-c-topics-zookeeper-silent", f"{TOPICS} --list --zookeeper localhost:9096", stop_after=1.5),
    Case("ctrl-c-topics-broker-silent", f"{TOPICS} --list --bootstrap-server localhost:9096", stop_after=1.5),
    Case("ctrl-c-consumer-broker-silent", f"{CONSUMER} --bootstrap-server localhost:9096 --topic t", stop_after=1.5),
    Case("ctrl-c-producer-broker-silent", f"{PRODUCER} localhost:9096 --topic t", typed=("hello",), stop_after=1.5),
    Case("ctrl-c-producer-perf-broker-silent", "bin/kafka-producer-perf-test.sh --topic t --num-records 10 --record-size 10 --throughput -1 --producer-props bootstrap.servers=localhost:9096", stop_after=1.5),
    Case("ctrl-c-consumer-perf-broker-silent", "bin/kafka-consumer-perf-test.sh --bootstrap-server localhost:9096 --topic t --messages 10", stop_after=1.5),
    Case("ctrl-c-groups-broker-silent", "bin/kafka-consumer-groups.sh --list --bootstrap-server localhost:9096", stop_after=1.5),
    Case("ctrl-c-shell-zookeeper-silent", "bin/zookeeper-shell.sh localhost:9096 ls /", stop_after=1.5),
    Case("ctrl-c-broker-zookeeper-silent", f"{BROKER} config/server.properties {ANY} --override log.dirs=data/lonely --override zookeeper.connect=localhost:9096", until="waiting for ZooKeeper", absent=("data/lonely",)),
    Case("ctrl-c-checker-zookeeper-down", "bin/kafka-consumer-offset-checker.sh --group g --zookeeper localhost:2189", until="^note"),
    Case("ctrl-c-configs-zookeeper-down", "bin/kafka-configs.sh --zookeeper localhost:2189 --describe --entity-type topics", until="^note"),
    Case("ctrl-c-shell-zookeeper-down", "bin/zookeeper-shell.sh localhost:2189 ls /", until="^note"),
    Case("ctrl-c-shell", "bin/zookeeper-shell.sh localhost:2181", typed=("ls /brokers/ids",), until=r"^\[0\]"),
    Case("ctrl-c-producer-broker-down", f"{PRODUCER} localhost:9099 --topic wordsendertest", typed=("hello",), until="^help", stop_after=1, twice="^note"),
    Case("ctrl-c-producer", f"{PRODUCER} localhost:9092 --topic interrupted", typed=("kept",), stop_after=1.5,
         before=(f"{CREATE} --replication-factor 1 --topic interrupted",), after=(f"{CONSUMER} --bootstrap-server localhost:9092 --topic interrupted --from-beginning --max-messages 1",)),
    Case("ctrl-c-consumer-zookeeper", f"{CONSUMER} --zookeeper localhost:2181/interrupted --topic t --from-beginning", until="^note", alone=True,
         after=("bin/zookeeper-shell.sh localhost:2181/interrupted ls /consumers",)),
    Case("ctrl-c-consumer-group-zookeeper", f"{CONSUMER} --zookeeper localhost:2181 --topic wordsendertest --from-beginning --consumer-property group.id=interrupted", until="^hello spark",
         after=("bin/zookeeper-shell.sh localhost:2181 get /consumers/interrupted/offsets/wordsendertest/0", "bin/zookeeper-shell.sh localhost:2181 ls /consumers/interrupted/ids"), alone=True),
    Case("ctrl-c-consumer-group", f"{CONSUMER} --bootstrap-server localhost:9092 --topic wordsendertest --from-beginning --group interrupted", until="^hello spark",
         after=("bin/kafka-consumer-groups.sh --describe --group interrupted --bootstrap-server localhost:9092",)),
    Case("ctrl-c-producer-perf", "bin/kafka-producer-perf-test.sh --topic small --num-records 1000000 --record-size 10 --throughput 10 --producer-props bootstrap.servers=localhost:9092", stop_after=1.5),
    Case("ctrl-c-consumer-perf", "bin/kafka-consumer-perf-test.sh --bootstrap-server localhost:9092 --topic small --messages 1000000", stop_after=1.5),
    Case("ctrl-c-keeper", f"{KEEPER} config/interrupted.properties", before=(file("config/interrupted.properties", "dataDir=data/interrupted\\nclientPort=0\\nclientPortAddress=127.0.0.1\\n"),), until="ready in"),
    Case("ctrl-c-broker", f"{BROKER} config/server.properties --override listeners=PLAINTEXT://localhost:0 --override log.dirs=data/interrupted-logs --override zookeeper.connect=localhost:2181/interrupted", until="ready in",
         after=("ls -A data/interrupted-logs/.kafka_cleanshutdown", "bin/zookeeper-shell.sh localhost:2181/interrupted ls /brokers/ids")),
    Case("ctrl-c-both", "bin/tidemill serve --port 9095 --keeper-port 2189 --data-dir both", until="ready in", after=("ls -A both/kafka-logs/.kafka_cleanshutdown",), alone=True),
    # spark-submit
    Case("submit-script-missing", f"{SUBMIT} examples/kafka_word_cuont.py localhost:2181 wordsendertest"),
    Case("submit-a-folder", f"{SUBMIT} examples"),
    Case("submit-a-jar", f"{SUBMIT} --class org.example.Count count.jar"),
    Case("submit-no-script", f"{SUBMIT} --name n"),
    Case("submit-unknown-option", f"{SUBMIT} --mastre local examples/kafka_word_count.py"),
    Case("submit-option-without-value", f"{SUBMIT} --name"),
    Case("submit-bad-master", f"{SUBMIT} --master loc examples/kafka_word_count.py"),
    Case("submit-cluster-master", f"{SUBMIT} --master spark://h:7077 examples/kafka_word_count.py"),
    Case("submit-bad-conf", f"{SUBMIT} --conf spark.app.name examples/kafka_word_count.py"),
    Case("submit-file-missing", f"{SUBMIT} --properties-file config/nope.conf examples/kafka_word_count.py"),
    Case("submit-no-python", f"PYSPARK_PYTHON=python9 {SUBMIT} empty.py", before=(file("empty.py", ""),)),
    Case("submit-old-python", f"PYSPARK_PYTHON=./oldpython {SUBMIT} empty.py", before=(file("empty.py", ""), file("oldpython", "#!/bin/sh\\nprintf 3.7\\n"), "chmod +x oldpython")),
    Case("submit-wrong-arguments", f"{SUBMIT} examples/kafka_word_count.py localhost:2181"),
    # Jobs
    Case("job-exception", f"{SUBMIT} jobs/job.py localhost:2181 wordsendertest fail; code=$?; bin/zookeeper-shell.sh localhost:2181 ls /consumers/fail; exit $code",
         users_traceback=True, type_help=False),
    Case("job-ctrl-c-in-a-lambda", f"{SUBMIT} jobs/job.py localhost:2181 wordsendertest loop", until="^in the lambda"),
    Case("job-ctrl-c-between-batches", f"{SUBMIT} jobs/job.py localhost:2181 wordsendertest count", until="^2 records"),
    Case("job-ctrl-c-no-topic", f"{SUBMIT} jobs/job.py localhost:2183 wordsendertset wait", until="^note"),
    Case("job-ctrl-c-no-zookeeper", f"{SUBMIT} jobs/job.py localhost:2189 wordsendertest wait", until="^starting"),
    Case("job-no-zookeeper", f"{SUBMIT} examples/kafka_word_count.py localhost:2189 wordsendertest"),
    Case("job-zookeeper-is-a-broker", f"{SUBMIT} examples/kafka_word_count.py localhost:9092 wordsendertest"),
    Case("job-servers-killed", "jobs/outage.py 2187 9097", type_help=False),
]
