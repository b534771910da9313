//! `kafka-preferred-replica-election`: asks the controller, through `/admin/preferred_replica_election`, to have the first replica of partitions lead (Kafka:
//! `PreferredReplicaLeaderElectionCommand`), in the words of 0.9.0.1. What followed it is `kafka-leader-election`.

use std::collections::BTreeSet;

use clap::Parser;
use client::zookeeper::znodes::{PartitionElection, TopicAssignment};
use client::zookeeper::{CreateMode, Session, paths};
use protocol::types::TopicPartition;
use serde_json::Value;

use crate::failure::{EXAMPLE_ZOOKEEPER, Failure};
use crate::reassign_partitions::file;
use crate::{connect, options, stdout};

/// What 0.9 says first of every failure.
const FAILED: &str = "Failed to start preferred replica election";

/// Have the first replica of each partition lead.
#[derive(Debug, Parser)]
struct Options {
    /// The ZooKeeper of the brokers: host:port[,host:port][/chroot]
    #[arg(long, value_name = "HOSTS")]
    zookeeper: Option<String>,
    /// {"partitions":[{"topic":"foo","partition":1},{"topic":"foobar","partition":2}]}; all partitions without it
    #[arg(long, value_name = "FILE")]
    path_to_json_file: Option<String>,
}

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let usage = |what: &str| Failure::misuse(what).help("bin/kafka-preferred-replica-election.sh --help");
    if words.is_empty() {
        return Err(usage(
            "This tool causes leadership for each partition to be transferred back to the 'preferred replica', it can be used to balance leadership among the servers.",
        ));
    }
    let options: Options = options::parse("kafka-preferred-replica-election", words)?;
    let Some(hosts) = &options.zookeeper else { return Err(usage("Missing required argument \"[zookeeper]\"")) };
    let asked = match &options.path_to_json_file {
        Some(path) => Some(partitions(path, "Preferred replica election data", file::Style::Brackets).map_err(failed)?),
        None => None,
    };
    let done = connect::block_on(async {
        let session = connect::zookeeper(hosts).await?;
        let done = elect(&session, asked).await;
        session.close().await;
        done
    });
    done.map_err(|failure| failure.with_zookeeper(hosts))
}

/// 0.9's line, with what happened as its cause.
fn failed(failure: Failure) -> Failure {
    Failure::verbatim(FAILED).explained_by(failure.said_as_cause())
}

async fn elect(session: &Session, asked: Option<Vec<TopicPartition>>) -> Result<(), Failure> {
    let existing = existing(session).await.map_err(failed)?;
    let asked = asked.unwrap_or_else(|| existing.iter().cloned().collect());
    let mut valid = Vec::new();
    for partition in &asked {
        let (topic, name) = (&partition.topic, bracketed(partition));
        if existing.contains(partition) {
            valid.push((topic.to_string(), partition.partition));
        } else if existing.iter().any(|known| known.topic == *topic) {
            eprintln!("ERROR Skipping preferred replica leader election for partition {name} since it doesn't exist");
        } else {
            eprintln!(
                "ERROR Skipping preferred replica leader election for partition {name} since topic {topic} doesn't exist"
            );
        }
    }
    if valid.is_empty() {
        let cause = if asked.is_empty() { "there are no partitions" } else { "none of the partitions exists" };
        return Err(Failure::verbatim(FAILED)
            .cause(cause)
            .help(format!("bin/kafka-topics.sh --describe --zookeeper {EXAMPLE_ZOOKEEPER}")));
    }
    let znode = PartitionElection { partitions: valid }.to_json();
    match session.create_recursive(paths::PREFERRED_REPLICA_ELECTION, znode, CreateMode::Persistent).await {
        Ok(_) => {
            stdout::line(format_args!("Successfully started preferred replica election for partitions {}", set(&asked)))
        }
        Err(error) if error.is_node_exists() => return Err(in_progress(session).await),
        Err(error) => return Err(failed(error.into())),
    }
    Ok(())
}

async fn in_progress(session: &Session) -> Failure {
    let path = paths::PREFERRED_REPLICA_ELECTION;
    let data = session.try_get_data(path).await.ok().flatten();
    let under_way = data.and_then(|(data, _)| PartitionElection::parse(path, &data).ok()).unwrap_or_default();
    let partitions: Vec<TopicPartition> =
        under_way.partitions.iter().map(|(topic, number)| TopicPartition::new(topic.as_str(), *number)).collect();
    Failure::verbatim(FAILED)
        .cause(format!(
            "Preferred replica leader election currently in progress for {}. Aborting operation",
            set(&partitions)
        ))
        .help(format!("bin/zookeeper-shell.sh {EXAMPLE_ZOOKEEPER} get {path}"))
}

/// All partitions there are.
async fn existing(session: &Session) -> Result<BTreeSet<TopicPartition>, Failure> {
    let topics = match session.get_children(paths::BROKER_TOPICS).await {
        Ok(topics) => topics,
        Err(error) if error.is_no_node() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let znodes: Vec<String> = topics.iter().map(|topic| paths::topic(topic)).collect();
    let mut all = BTreeSet::new();
    for ((topic, path), data) in topics.iter().zip(&znodes).zip(session.read_many(&znodes).await?) {
        let Some((data, _)) = data else { continue };
        let numbers = TopicAssignment::parse(path, &data)?.partitions.into_keys();
        all.extend(numbers.map(|number| TopicPartition::new(topic.as_str(), number)));
    }
    Ok(all)
}

/// The partitions of a `--path-to-json-file`; `what` is what Kafka calls it.
///
/// # Errors
/// A file that is none, in the words of both tools that read it.
pub fn partitions(path: &str, what: &str, style: file::Style) -> Result<Vec<TopicPartition>, Failure> {
    parse(&file::read(path)?, what, style).map_err(|(what, cause)| {
        let cause = format!("{cause}; it is written {{\"partitions\":[{{\"topic\":\"foo\",\"partition\":1}}]}}");
        Failure::verbatim(what).cause(cause).help(format!("vi +1 {path}"))
    })
}

/// What is wrong, and why.
type Wrong = (String, String);

fn parse(bytes: &[u8], what: &str, style: file::Style) -> Result<Vec<TopicPartition>, Wrong> {
    let empty = |cause: String| (format!("{what} is empty"), cause);
    let root: Value = serde_json::from_slice(bytes).map_err(|error| empty(format!("it is no JSON: {error}")))?;
    let list = root.get("partitions").and_then(Value::as_array);
    let list =
        list.ok_or_else(|| (format!("{what} is missing \"partitions\" field"), "it has no such list".to_owned()))?;
    let read = |entry: &Value| {
        let number = i32::try_from(entry.get("partition")?.as_i64()?).ok().filter(|number| *number >= 0)?;
        Some(TopicPartition::new(entry.get("topic")?.as_str()?, number))
    };
    let partitions: Option<Vec<TopicPartition>> = list.iter().map(read).collect();
    let partitions = partitions.ok_or_else(|| empty("an entry has no topic or no partition".to_owned()))?;
    if partitions.is_empty() {
        return Err(empty("its list has no entry".to_owned()));
    }
    let twice = file::repeated(&partitions);
    if !twice.is_empty() {
        let names: Vec<String> = twice.into_iter().map(|partition| style.name(partition)).collect();
        let what = format!("{what} contains duplicate partitions: {}", names.join(","));
        return Err((what, "each may stand there once".to_owned()));
    }
    Ok(partitions)
}

/// `[t,0]`
fn bracketed(partition: &TopicPartition) -> String {
    file::Style::Brackets.name(partition)
}

/// `Set([t,0], [t,1])`
fn set(partitions: &[TopicPartition]) -> String {
    format!("Set({})", partitions.iter().map(bracketed).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read() {
        let text = br#"{"partitions":[{"topic":"t","partition":1},{"topic":"u","partition":0}]}"#;
        let read = parse(text, "Replica election data", file::Style::Brackets).unwrap();
        assert_eq!(set(&read), "Set([t,1], [u,0])");
    }

    #[test]
    fn what_is_no_such_file_is_refused_in_kafkas_words() {
        let said = |text: &str| parse(text.as_bytes(), "Replica election data", file::Style::Brackets).unwrap_err().0;
        for (text, expected) in [
            ("not json", "Replica election data is empty"),
            ("{}", "Replica election data is missing \"partitions\" field"),
            (r#"{"partitions":[]}"#, "Replica election data is empty"),
            (r#"{"partitions":[{"topic":"t"}]}"#, "Replica election data is empty"),
            (
                r#"{"partitions":[{"topic":"t","partition":1},{"topic":"t","partition":1}]}"#,
                "Replica election data contains duplicate partitions: [t,1]",
            ),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }
}
