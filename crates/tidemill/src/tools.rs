//! The table of all tools: their names, what they are for, and the functions that run them.
//!
//! A tool is found by its name, with or without `.sh`, as the first word after `tidemill` or as the name of a link to the program.

use std::fmt::Write as _;
use std::path::Path;

pub use client::kafka::similar::did_you_mean;
use protocol::spelling;

use crate::failure::Failure;
use crate::{
    broker_api_versions, configs, console_consumer, console_producer, consumer_groups, consumer_offset_checker,
    consumer_perf_test, demo, dev, dump_log, get_offsets, layout, leader_election, preferred_replica_election,
    producer_perf_test, reassign_partitions, replica_verification, run_class, server, spark_submit, topics,
    zookeeper_shell,
};

/// One command of the program.
pub struct Tool {
    /// Its name, as in `bin/` but without `.sh`.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// Runs it with the words after its name.
    pub run: fn(&[String]) -> Result<(), Failure>,
}

impl Tool {
    /// Runs it; a command line that makes no sense names at least the tool's help.
    pub fn run_with(&self, words: &[String]) -> Result<(), Failure> {
        (self.run)(words).map_err(|failure| failure.or_help_of_misuse(|| format!("{} --help", typed(self.name))))
    }
}

/// Every tool, in the order of the help text.
pub const TOOLS: &[Tool] = &[
    Tool {
        name: "serve",
        about: "keeper and broker in one process (what `tidemill` alone does)",
        run: server::standalone::run,
    },
    Tool { name: "demo", about: "keeper, broker, a topic and the word count, in one process", run: demo::run },
    Tool { name: "dev", about: "a cluster of several brokers on this machine: up, status, stop, purge", run: dev::run },
    Tool { name: "layout", about: "write a folder shaped like the unpacked Kafka tarball", run: layout::run },
    Tool { name: "zookeeper-server-start", about: "the keeper", run: server::keeper::start },
    Tool { name: "zookeeper-server-stop", about: "stop the keeper of this folder", run: server::keeper::stop },
    Tool { name: "kafka-topics", about: "create, list, describe, alter and delete topics", run: topics::run },
    Tool { name: "kafka-console-producer", about: "lines of stdin become records", run: console_producer::run },
    Tool { name: "kafka-console-consumer", about: "records become lines of stdout", run: console_consumer::run },
    Tool { name: "kafka-get-offsets", about: "where partitions begin and end", run: get_offsets::run },
    Tool {
        name: "kafka-consumer-groups",
        about: "groups: how far they have read, and changing that",
        run: consumer_groups::run,
    },
    Tool {
        name: "kafka-consumer-offset-checker",
        about: "how far a group in ZooKeeper has read",
        run: consumer_offset_checker::run,
    },
    Tool { name: "kafka-producer-perf-test", about: "how fast records are taken", run: producer_perf_test::run },
    Tool { name: "kafka-consumer-perf-test", about: "how fast records come", run: consumer_perf_test::run },
    Tool { name: "kafka-configs", about: "settings of topics and brokers", run: configs::run },
    Tool {
        name: "kafka-reassign-partitions",
        about: "move partitions to other brokers",
        run: reassign_partitions::run,
    },
    Tool { name: "kafka-leader-election", about: "have other replicas lead", run: leader_election::run },
    Tool {
        name: "kafka-preferred-replica-election",
        about: "have first replicas lead, through ZooKeeper",
        run: preferred_replica_election::run,
    },
    Tool {
        name: "kafka-replica-verification",
        about: "whether replicas hold the same bytes",
        run: replica_verification::run,
    },
    Tool { name: "kafka-broker-api-versions", about: "what brokers understand", run: broker_api_versions::run },
    Tool { name: "kafka-run-class", about: "a tool by the name of its Java class", run: run_class::run },
    Tool { name: "kafka-dump-log", about: "what a segment or index holds", run: dump_log::run },
    Tool { name: "zookeeper-shell", about: "look at a ZooKeeper tree and change it", run: zookeeper_shell::run },
    Tool { name: "kafka-server-start", about: "the broker", run: server::broker::start },
    Tool { name: "kafka-server-stop", about: "stop the broker of this folder", run: server::broker::stop },
    Tool { name: "spark-submit", about: "run a PySpark streaming script", run: spark_submit::run },
];

/// The tool of this name.
pub fn named(word: &str) -> Option<&'static Tool> {
    let name = word.strip_suffix(".sh").unwrap_or(word);
    TOOLS.iter().find(|tool| tool.name == name)
}

/// The tool that a path (`argv[0]`) is named after; `None` for `tidemill` itself.
pub fn named_by_path(path: &str) -> Option<&'static Tool> {
    named(Path::new(path).file_name()?.to_str()?)
}

/// What `tidemill --help` prints.
pub fn help() -> String {
    let mut text = String::from(
        "tidemill: a Kafka broker, a ZooKeeper and a Spark Streaming engine in one program\n\n\
         Usage: tidemill [TOOL] [OPTIONS]\n\n\
         Without a tool: keeper on 2181 and broker on 9092 in one process.\n\nTools:\n",
    );
    for tool in TOOLS {
        let _ = writeln!(text, "  {:<32} {}", tool.name, tool.about);
    }
    text.push_str(
        "\n`tidemill TOOL --help` says more. The same tools stand in bin/ under the names of Kafka's scripts.\n",
    );
    text
}

/// What is said for a word that names no tool.
pub fn unknown(word: &str) -> Failure {
    let failure = Failure::usage(format!("tidemill has no tool named {word}"));
    match spelling::nearest(word, TOOLS.iter().map(|tool| tool.name)) {
        Some(near) => failure.cause(format!("did you mean {near}?")).help(format!("bin/tidemill {near} --help")),
        None => failure.help("bin/tidemill --help"),
    }
}

/// How a tool is called from the folder that holds `bin/`.
pub fn typed(name: &str) -> String {
    match name {
        "spark-submit" => "bin/spark-submit".to_owned(),
        "serve" | "demo" | "dev" | "layout" => format!("bin/tidemill {name}"),
        name if name.starts_with("kafka-") || name.starts_with("zookeeper-") => format!("bin/{name}.sh"),
        name => format!("bin/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_found_by_name_script_and_path() {
        assert_eq!(named("kafka-topics").unwrap().name, "kafka-topics");
        assert_eq!(named_by_path("./bin/zookeeper-server-start.sh").unwrap().name, "zookeeper-server-start");
        assert!(named_by_path("/usr/bin/tidemill").is_none());
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TOOLS.len());
    }
}
