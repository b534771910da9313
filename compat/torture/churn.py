"""W9: topics made, deleted, widened, configured, their leaders elected and their replicas moved, through every fault."""
import json

from confluent_kafka import ElectionType, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, ResourceType
from kazoo.exceptions import KazooException, NodeExistsError

import checker
import wire
from clients import Stoppable, settings
from history import History
from servers import BROKER_PORT

PAUSE_S = 0.5
ASK_S = 10
TOPICS_MAX = 6
ALTER_PARTITION_REASSIGNMENTS = 45


class ChurnWorkload(Stoppable):
    """Knows of each topic what the cluster confirmed; what it did not answer may have been done or not."""
    name = "W9"

    def __init__(self, cluster, rng):
        super().__init__("W9")
        self.cluster, self.rng, self.history = cluster, rng, History()
        self.there = {}         # {topic: {"partitions": number or None where nobody knows, "retention": the same}}
        self.gone, self.unknown = set(), set()
        self.number, self.done, self.refused = 0, 0, 0
        self.reassigns = False

    def prepare(self):
        versions = api_versions(self.cluster.brokers[0])
        self.reassigns = ALTER_PARTITION_REASSIGNMENTS in versions
        self.admin = AdminClient(settings(self.cluster))

    def work(self):
        while not self.ended.wait(PAUSE_S):
            names = [self.elect] * bool(self.there) + [self.widen, self.configure, self.delete] * bool(self.there) + [self.create] * (len(self.there) < TOPICS_MAX)
            self.rng.choice(names + [self.reassign] * (self.reassigns and bool(self.there)))()

    def topic(self):
        return self.rng.choice(sorted(self.there))

    def asked(self, futures):
        """Whether it was confirmed; None where nobody knows, False where it was refused for a reason that says it was not done."""
        try:
            for future in futures.values():
                future.result(ASK_S + 5)
        except KafkaException as error:
            self.refused += 1
            code = error.args[0].code()
            return False if code in (KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.INVALID_REPLICATION_FACTOR, KafkaError.NOT_CONTROLLER) else None
        except TimeoutError:
            self.history.add("error", process="admin", what=f"a request had no answer within {ASK_S + 5} s")
            return None
        self.done += 1
        return True

    def create(self):
        self.number += 1
        name, partitions = f"torture-churn-{self.number}", self.rng.randrange(1, 4)
        if self.asked(self.admin.create_topics([NewTopic(name, partitions, 3)], operation_timeout=ASK_S, request_timeout=ASK_S)):
            self.there[name] = {"partitions": partitions, "retention": None}
        else:
            # A first try whose answer was lost may have been done before a second one was refused.
            self.unknown.add(name)

    def delete(self):
        name = self.topic()
        del self.there[name]
        (self.gone if self.asked(self.admin.delete_topics([name], operation_timeout=ASK_S, request_timeout=ASK_S)) else self.unknown).add(name)

    def widen(self):
        name = self.topic()
        wanted = (self.there[name]["partitions"] or 3) + 1
        answer = self.asked(self.admin.create_partitions([NewPartitions(name, wanted)], operation_timeout=ASK_S, request_timeout=ASK_S))
        self.there[name]["partitions"] = wanted if answer else None

    def configure(self):
        name, value = self.topic(), str(self.rng.randrange(1, 1000) * 3_600_000)
        entry = ConfigEntry("retention.ms", value, incremental_operation=AlterConfigOpType.SET)
        answer = self.asked(self.admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])], request_timeout=ASK_S))
        self.there[name]["retention"] = value if answer else None

    def elect(self):
        name = self.topic()
        try:
            self.admin.elect_leaders(ElectionType.PREFERRED, [TopicPartition(name, 0)]).result(ASK_S + 5)
            self.done += 1
        except (KafkaException, TimeoutError):
            self.refused += 1

    def reassign(self):
        """As tools of old ask for it: by the znode."""
        name, brokers = self.topic(), [broker.id for broker in self.cluster.brokers]
        self.rng.shuffle(brokers)
        body = {"version": 1, "partitions": [{"topic": name, "partition": 0, "replicas": brokers}]}
        try:
            self.cluster.kazoo.create("/admin/reassign_partitions", json.dumps(body).encode())
            self.done += 1
        except (NodeExistsError, KazooException):
            self.refused += 1

    def settle(self):
        self.stop()
        # What is under way is finished: deletions, moves.
        self.cluster.wait(lambda: not self.cluster.children("/admin/delete_topics") and self.cluster.node("/admin/reassign_partitions") is None,
                          lambda: f"an end of the deletions {self.cluster.children('/admin/delete_topics')} and moves {self.cluster.node('/admin/reassign_partitions')}")
        self.cluster.wait_whole()
        self.cluster.wait_views_agree()
        self.compare()

    def compare(self):
        for broker in self.cluster.brokers:
            seen = {topic: len(partitions) for topic, partitions in wire.metadata(broker.host.address, BROKER_PORT).items() if topic.startswith("torture-churn-")}
            for name, known in self.there.items():
                if name not in seen or known["partitions"] not in (None, seen[name]):
                    self.history.add("error", process="admin", what=f"{broker.name} has {name} with {seen.get(name)} partitions; confirmed were {known['partitions']}")
            for name in sorted(set(seen) - set(self.there) - self.unknown):
                self.history.add("error", process="admin", what=f"{broker.name} has {name}, whose deletion was confirmed")
        for name, known in self.there.items():
            if known["retention"]:
                node = self.cluster.node(f"/config/topics/{name}")
                if node["config"].get("retention.ms") != known["retention"]:
                    self.history.add("error", process="admin", what=f"{name} has {node['config']}; confirmed was retention.ms={known['retention']}")

    def check(self):
        return checker.client_errors(self.history.taken())

    def figures(self):
        return {"done": self.done, "refused": self.refused}

    def close(self):
        self.ended.set()


def api_versions(broker):
    """The keys of the requests that a broker takes; none for one that is older than the question."""
    try:
        reader = wire.Reader(wire.ask(broker.host.address, BROKER_PORT, 18, 0, b"", 5))
        reader.take("h")
        return {key for key, _, _ in reader.array(lambda: (reader.take("h"), reader.take("h"), reader.take("h")))}
    except (OSError, wire.struct.error):
        return set()
