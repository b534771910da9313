//! `kafka-consumer-offset-checker`: how far a group in ZooKeeper has read (Kafka: `kafka.tools.ConsumerOffsetChecker`, until 0.9).

use std::collections::BTreeSet;
use std::io::Write as _;

use clap::Parser;
use client::kafka::consumer::list_offsets;
use client::kafka::{Cluster, IsolationLevel, OffsetSpec};
use client::zookeeper::Session;
use client::zookeeper_consumer::group::{self, GroupPartition};
use protocol::spelling;
use protocol::types::{Offset, TopicPartition};

use crate::failure::{EXAMPLE_ZOOKEEPER, Failure};
use crate::{connect, options};

/// Say how far a group in ZooKeeper has read.
#[derive(Debug, Parser)]
struct Options {
    /// The ZooKeeper of the group: host:port[,host:port][/chroot]
    #[arg(long, value_name = "HOSTS", default_value = "localhost:2181")]
    zookeeper: String,
    /// The group
    #[arg(long)]
    group: Option<String>,
    /// Its topics, with commas between; all where none is named
    #[arg(long, value_delimiter = ',')]
    topic: Vec<String>,
    /// Say where the brokers are, too
    #[arg(long)]
    broker_info: bool,
    /// Accepted: retries have pauses of their own
    #[arg(long = "retry.backoff.ms", alias = "retry-backoff-ms")]
    retry_backoff_ms: Option<u64>,
    /// Accepted: answers are waited for as long as a request may take
    #[arg(long = "socket.timeout.ms", alias = "socket-timeout-ms")]
    socket_timeout_ms: Option<u64>,
}

/// A partition of a group, as the old tools print it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The partition.
    pub partition: TopicPartition,
    /// The group's offset.
    pub offset: Option<Offset>,
    /// Where the partition ends.
    pub end: Option<Offset>,
    /// The thread that reads it.
    pub owner: Option<String>,
}

impl Row {
    /// What is left to read.
    pub fn lag(&self) -> Option<i64> {
        Some((self.end?.0 - self.offset?.0).max(0))
    }
}

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let options: Options = options::parse("kafka-consumer-offset-checker", words)?;
    let Some(group) = options.group.clone() else {
        return Err(Failure::misuse("Missing required argument \"[group]\"")
            .help(format!("bin/kafka-consumer-groups.sh --list --zookeeper {}", options.zookeeper)));
    };
    connect::block_on(async {
        let session = connect::zookeeper(&options.zookeeper).await?;
        let done = check(&session, &options, &group).await;
        session.close().await;
        done
    })
}

async fn check(session: &Session, options: &Options, group: &str) -> Result<(), Failure> {
    let cluster = connect::kafka_of(session).await?;
    let rows = rows(session, &cluster, group).await?;
    if rows.is_empty() {
        let missing = never_here(session, group).await.with_zookeeper(&options.zookeeper);
        return Err(missing.behind(&format!(
            "Exiting due to: org.apache.zookeeper.KeeperException$NoNodeException: KeeperErrorCode = NoNode for /consumers/{group}/owners. "
        )));
    }
    let mut text = Vec::new();
    writeln!(
        text,
        "{:<15} {:<30} {:<3} {:<15} {:<15} {:<15} Owner",
        "Group", "Topic", "Pid", "Offset", "logSize", "Lag"
    )?;
    for row in
        rows.iter().filter(|row| options.topic.is_empty() || options.topic.iter().any(|t| **t == *row.partition.topic))
    {
        writeln!(text, "{}", line(group, row))?;
    }
    if options.broker_info {
        writeln!(text, "BROKER INFO")?;
        for node in cluster.metadata().brokers.values() {
            writeln!(text, "{} -> {}", node.id, node.address)?;
        }
    }
    std::io::stdout().write_all(&text)?;
    if rows.iter().all(|row| row.offset.is_none()) {
        eprintln!(
            "note: the group {group} is here and has not committed an offset yet, so how far it has read is unknown"
        );
    }
    Ok(())
}

/// What is said of a group that ZooKeeper does not know.
pub async fn never_here(session: &Session, group: &str) -> Failure {
    let all = group::list(session).await.unwrap_or_default();
    let failure = Failure::new(format!("Consumer group '{group}' does not exist"))
        .help(format!("bin/kafka-consumer-groups.sh --list --zookeeper {EXAMPLE_ZOOKEEPER}"));
    match spelling::nearest(group, all.iter().map(String::as_str)) {
        Some(near) => failure.cause(format!("did you mean \"{near}\"?")),
        None => failure.cause("no consumer of this group has been here"),
    }
}

fn line(group: &str, row: &Row) -> String {
    let number = |number: Option<i64>| number.map_or("unknown".to_owned(), |number| number.to_string());
    format!(
        "{group:<15} {:<30} {:<3} {:<15} {:<15} {:<15} {}",
        row.partition.topic,
        row.partition.partition,
        number(row.offset.map(|offset| offset.0)),
        number(row.end.map(|end| end.0)),
        number(row.lag()),
        row.owner.as_deref().unwrap_or("none")
    )
}

/// The partitions of a group in ZooKeeper: all of the topics it has read.
pub async fn rows(session: &Session, cluster: &Cluster, group: &str) -> Result<Vec<Row>, Failure> {
    let mut known = group::describe(session, group).await?;
    let topics: BTreeSet<String> = known.keys().map(|partition| partition.topic.to_string()).collect();
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let metadata = cluster.refresh_topics(&names, cluster.default_deadline()).await?;
    // Partitions that nobody has committed for are behind as well.
    for topic in names.iter().filter_map(|name| metadata.topic(name)) {
        for partition in &topic.partitions {
            let partition = TopicPartition::new(topic.name.clone(), partition.partition);
            known.entry(partition).or_insert_with(GroupPartition::default);
        }
    }
    let wanted: Vec<_> = known
        .keys()
        .filter(|partition| metadata.partition(partition).is_some_and(|found| found.leader.is_some()))
        .map(|partition| (partition.clone(), OffsetSpec::Latest))
        .collect();
    let ends = list_offsets(cluster, &wanted, IsolationLevel::ReadUncommitted, cluster.default_deadline()).await;
    let row = |(partition, found): (TopicPartition, GroupPartition)| {
        let end = ends.get(&partition).and_then(|end| end.as_ref().ok().copied().flatten()).map(|end| end.offset);
        Row { partition, offset: found.offset, end, owner: found.owner }
    };
    Ok(known.into_iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_in_0_8() {
        let mut row = Row {
            partition: TopicPartition::new("wordsendertest", 0),
            offset: Some(Offset(1)),
            end: Some(Offset(3)),
            owner: None,
        };
        let expected =
            "g1              wordsendertest                 0   1               3               2               none";
        assert_eq!(line("g1", &row), expected);
        (row.end, row.owner) = (None, Some("g1_h-1-0".to_owned()));
        let expected = "g1              wordsendertest                 0   1               unknown         unknown         g1_h-1-0";
        assert_eq!(line("g1", &row), expected);
    }
}
