//! `kafka-run-class`: a tool by the name of its Java class, as scripts call `kafka-run-class.sh kafka.tools.GetOffsetShell`.

use crate::failure::Failure;
use crate::tools;

/// Java classes, by all names they have had, and the tools that do their work.
const CLASSES: &[(&str, &str)] = &[
    ("kafka.Kafka", "kafka-server-start"),
    ("org.apache.zookeeper.server.quorum.QuorumPeerMain", "zookeeper-server-start"),
    ("org.apache.zookeeper.ZooKeeperMain", "zookeeper-shell"),
    ("org.apache.zookeeper.ZooKeeperMainWithTlsSupportForKafka", "zookeeper-shell"),
    ("kafka.admin.TopicCommand", "kafka-topics"),
    ("org.apache.kafka.tools.TopicCommand", "kafka-topics"),
    ("kafka.tools.ConsoleProducer", "kafka-console-producer"),
    ("org.apache.kafka.tools.ConsoleProducer", "kafka-console-producer"),
    ("kafka.tools.ConsoleConsumer", "kafka-console-consumer"),
    ("org.apache.kafka.tools.consumer.ConsoleConsumer", "kafka-console-consumer"),
    ("kafka.tools.GetOffsetShell", "kafka-get-offsets"),
    ("org.apache.kafka.tools.GetOffsetShell", "kafka-get-offsets"),
    ("kafka.admin.ConsumerGroupCommand", "kafka-consumer-groups"),
    ("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "kafka-consumer-groups"),
    ("kafka.tools.ConsumerOffsetChecker", "kafka-consumer-offset-checker"),
    ("kafka.admin.ConfigCommand", "kafka-configs"),
    ("kafka.tools.DumpLogSegments", "kafka-dump-log"),
    ("kafka.tools.ProducerPerformance", "kafka-producer-perf-test"),
    ("org.apache.kafka.tools.ProducerPerformance", "kafka-producer-perf-test"),
    ("kafka.tools.ConsumerPerformance", "kafka-consumer-perf-test"),
    ("org.apache.kafka.tools.ConsumerPerformance", "kafka-consumer-perf-test"),
    ("kafka.admin.ReassignPartitionsCommand", "kafka-reassign-partitions"),
    ("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", "kafka-reassign-partitions"),
    ("kafka.admin.PreferredReplicaLeaderElectionCommand", "kafka-preferred-replica-election"),
    ("kafka.admin.LeaderElectionCommand", "kafka-leader-election"),
    ("org.apache.kafka.tools.LeaderElectionCommand", "kafka-leader-election"),
    ("kafka.tools.ReplicaVerificationTool", "kafka-replica-verification"),
    ("org.apache.kafka.tools.ReplicaVerificationTool", "kafka-replica-verification"),
    ("kafka.admin.BrokerApiVersionsCommand", "kafka-broker-api-versions"),
    ("org.apache.kafka.tools.BrokerApiVersionsCommand", "kafka-broker-api-versions"),
];

/// Options of the script itself that take a word; they name Java's log files.
const WITH_A_WORD: &[&str] = &["-name", "-loggc-file"];
/// And those that take none. `-daemon` is the servers' own option and is handed on.
const ALONE: &[&str] = &["-loggc"];

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let (class, arguments) = take_apart(words);
    let Some(class) = class else {
        return Err(Failure::misuse(
            "USAGE: kafka-run-class [-daemon] [-name servicename] [-loggc] classname [opts]",
        )
        .help("bin/kafka-run-class.sh kafka.tools.GetOffsetShell --broker-list localhost:9092 --topic TOPIC --time -1"));
    };
    let found = CLASSES.iter().find(|(known, _)| *known == class).and_then(|(_, name)| tools::named(name));
    match found {
        Some(tool) => tool.run_with(&arguments),
        None => Err(Failure::verbatim(format!("Error: Could not find or load main class {class}"))
            .cause("no Java is run here; only Kafka's own tools are known by their classes")
            .help("bin/tidemill --help")),
    }
}

/// The class and the words for it.
fn take_apart(words: &[String]) -> (Option<String>, Vec<String>) {
    let mut arguments = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-daemon" => arguments.push(word.clone()),
            word if ALONE.contains(&word) => {}
            word if WITH_A_WORD.contains(&word) => drop(words.next()),
            class => {
                arguments.extend(words.cloned());
                return (Some(class.to_owned()), arguments);
            }
        }
    }
    (None, arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_tool() {
        for (class, tool) in CLASSES {
            assert!(tools::named(tool).is_some(), "{class}");
        }
    }

    #[test]
    fn the_scripts_own_options_come_first() {
        let check = |line: &str, class: Option<&str>, arguments: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let taken = take_apart(&words);
            assert_eq!((taken.0.as_deref(), taken.1.join(" ").as_str()), (class, arguments), "{line}");
        };
        check("kafka.tools.GetOffsetShell --time -1", Some("kafka.tools.GetOffsetShell"), "--time -1");
        check("-name server -loggc kafka.Kafka x", Some("kafka.Kafka"), "x");
        check("-daemon -name server kafka.Kafka x", Some("kafka.Kafka"), "-daemon x");
        check("-name server", None, "");
    }
}
