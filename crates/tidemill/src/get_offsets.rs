//! `kafka-get-offsets`: where partitions begin and end (Kafka: `GetOffsetShell`).
//!
//! One line for each partition, `TOPIC:PARTITION:OFFSET`, sorted. With `--broker-list` it keeps to 0.9's rules, with `--bootstrap-server` to 3.9's.

use std::fmt::Write as _;

use clap::Parser;
use client::kafka::consumer::list_offsets;
use client::kafka::{Cluster, EXAMPLE_SERVERS, IsolationLevel, OffsetSpec};
use protocol::spelling;
use protocol::types::TopicPartition;
use regex::Regex;

use crate::failure::Failure;
use crate::{connect, options};

/// Say where partitions begin and end.
#[derive(Debug, Parser)]
struct Options {
    /// The brokers to ask: host:port[,host:port]
    #[arg(long, value_name = "HOSTS")]
    bootstrap_server: Option<String>,
    /// The same, by its old name
    #[arg(long, value_name = "HOSTS")]
    broker_list: Option<String>,
    /// The topic; with --bootstrap-server also a regular expression
    #[arg(long)]
    topic: Option<String>,
    /// Partitions: 0,2 and with --bootstrap-server also 3-5
    #[arg(long, value_name = "IDS")]
    partitions: Option<String>,
    /// Topics with their partitions: TOPIC:0,TOPIC:2-4,:1,TOPIC
    #[arg(long, value_name = "PATTERNS")]
    topic_partitions: Option<String>,
    /// -1 or latest, -2 or earliest, -3 or max-timestamp, -4 or earliest-local, -5 or latest-tiered, or milliseconds since 1970
    #[arg(long, default_value = "latest", allow_hyphen_values = true)]
    time: String,
    /// Leave out Kafka's own topics
    #[arg(long)]
    exclude_internal_topics: bool,
    /// Properties for the connection to the brokers
    #[arg(long, value_name = "FILE")]
    command_config: Option<String>,
    /// Accepted: one offset is told
    #[arg(long)]
    offsets: Option<i32>,
    /// Accepted: answers are waited for as long as a request may take
    #[arg(long)]
    max_wait_ms: Option<i64>,
}

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let options: Options = options::parse("kafka-get-offsets", words)?;
    let (servers, old) = match (&options.bootstrap_server, &options.broker_list) {
        (Some(servers), _) => (servers.clone(), false),
        (None, Some(servers)) => (servers.clone(), true),
        (None, None) => {
            return Err(Failure::misuse("Missing required argument \"[bootstrap-server]\""));
        }
    };
    if options.topic_partitions.is_some() && (options.topic.is_some() || options.partitions.is_some()) {
        return Err(Failure::misuse("--topic-partitions cannot be used with --topic or --partitions"));
    }
    let spec = time(&options.time)?;
    let wanted = wanted(&options, old)?;
    let done = connect::block_on(async {
        let cluster = connect::kafka(&servers, options.command_config.as_deref()).await?;
        let partitions = partitions(&cluster, &options, &wanted, old).await?;
        print(&cluster, partitions, spec, old).await
    });
    done.map_err(|failure| failure.with_servers(&servers))
}

/// `--time`.
fn time(text: &str) -> Result<OffsetSpec, Failure> {
    Ok(match text {
        "-1" | "latest" => OffsetSpec::Latest,
        "-2" | "earliest" => OffsetSpec::Earliest,
        "-3" | "max-timestamp" => OffsetSpec::MaxTimestamp,
        "-4" | "earliest-local" => OffsetSpec::EarliestLocal,
        "-5" | "latest-tiered" => OffsetSpec::LatestTiered,
        other => match other.parse() {
            Ok(time) if time >= 0 => OffsetSpec::Timestamp(time),
            _ => {
                return Err(Failure::misuse(format!(
                    "Malformed time argument {other}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered, or a specified long format timestamp"
                )));
            }
        },
    })
}

/// One pattern of topics and partitions.
#[derive(Debug)]
struct Wanted {
    /// `None`: all topics.
    topic: Option<Regex>,
    /// `None`: all partitions; else ranges, the end not included.
    partitions: Option<Vec<std::ops::Range<i64>>>,
}

impl Wanted {
    fn covers(&self, topic: &str, partition: i32) -> bool {
        self.topic.as_ref().is_none_or(|regex| regex.is_match(topic))
            && self
                .partitions
                .as_ref()
                .is_none_or(|ranges| ranges.iter().any(|range| range.contains(&partition.into())))
    }
}

fn wanted(options: &Options, old: bool) -> Result<Vec<Wanted>, Failure> {
    if let Some(patterns) = &options.topic_partitions {
        let pattern = |text: &str| {
            let (topic, partitions) = text.rsplit_once(':').unwrap_or((text, ""));
            Ok(Wanted {
                topic: if topic.is_empty() { None } else { Some(whole_name(topic)?) },
                partitions: if partitions.is_empty() { None } else { Some(vec![range(partitions)?]) },
            })
        };
        return patterns.split(',').map(|text| pattern(text.trim())).collect();
    }
    let topic = match &options.topic {
        Some(topic) if old => Some(whole_name(&regex::escape(topic))?),
        Some(topic) => Some(whole_name(topic)?),
        None if old => return Err(Failure::misuse("Missing required argument \"[topic]\"")),
        None => None,
    };
    let ranges = |text: &str| text.split(',').map(|part| range(part.trim())).collect::<Result<Vec<_>, _>>();
    let partitions = options.partitions.as_deref().filter(|text| !text.is_empty()).map(ranges).transpose()?;
    Ok(vec![Wanted { topic, partitions }])
}

fn whole_name(text: &str) -> Result<Regex, Failure> {
    Regex::new(&format!("^(?:{text})$"))
        .map_err(|error| Failure::misuse(format!("{text} is an invalid regex.")).cause(error))
}

/// `3`, `1-3` (1 and 2), `-3` (up to 2), `3-` (from 3 on): as 3.9 reads them.
fn range(text: &str) -> Result<std::ops::Range<i64>, Failure> {
    let number = |text: &str| text.parse::<i32>().map(i64::from).ok().filter(|number| *number >= 0);
    let read = match text.split_once('-') {
        None => number(text).map(|number| number..number + 1),
        Some(("", end)) => number(end).map(|end| 0..end),
        Some((start, "")) => number(start).map(|start| start..i64::MAX),
        Some((start, end)) => number(start).zip(number(end)).map(|(start, end)| start..end),
    };
    read.ok_or_else(|| Failure::misuse(format!("Invalid partition range: {text}")).cause("a range is written 0,2,4-7"))
}

/// The partitions of the cluster that are wanted.
async fn partitions(
    cluster: &Cluster,
    options: &Options,
    wanted: &[Wanted],
    old: bool,
) -> Result<Vec<TopicPartition>, Failure> {
    let metadata = cluster.refresh_all().await?;
    let topics = metadata.topics.values().filter(|topic| !(options.exclude_internal_topics && topic.is_internal));
    let all: Vec<TopicPartition> = topics
        .flat_map(|topic| {
            topic.partitions.iter().map(|partition| TopicPartition::new(topic.name.clone(), partition.partition))
        })
        .collect();
    let mut found: Vec<TopicPartition> = all
        .iter()
        .filter(|partition| wanted.iter().any(|wanted| wanted.covers(&partition.topic, partition.partition)))
        .cloned()
        .collect();
    found.sort();
    if !found.is_empty() {
        return Ok(found);
    }
    let topic = options.topic.as_deref().unwrap_or_default();
    let known = metadata.topics.keys().any(|name| **name == *topic);
    let failure = match (old, known) {
        (true, true) => {
            let partitions = options.partitions.as_deref().unwrap_or_default();
            Failure::verbatim(format!("Error: partition {partitions} does not exist"))
        }
        (true, false) => Failure::verbatim(format!(
            "Error: no valid topic metadata for topic: {topic},  probably the topic does not exist, run kafka-list-topic.sh to verify"
        )),
        (false, _) => {
            Failure::verbatim("Error occurred: Could not match any topic-partitions with the specified filters")
        }
    };
    let failure = failure.help(format!("bin/kafka-topics.sh --list --bootstrap-server {EXAMPLE_SERVERS}"));
    Err(match spelling::nearest(topic, metadata.topics.keys().map(AsRef::as_ref)) {
        Some(near) => failure.cause(format!("did you mean \"{near}\"?")),
        None => failure,
    })
}

async fn print(cluster: &Cluster, partitions: Vec<TopicPartition>, spec: OffsetSpec, old: bool) -> Result<(), Failure> {
    let wanted: Vec<_> = partitions.iter().map(|partition| (partition.clone(), spec)).collect();
    let deadline = cluster.default_deadline();
    let mut found = list_offsets(cluster, &wanted, IsolationLevel::ReadUncommitted, deadline).await;
    let (mut text, mut failed) = (String::new(), None);
    for partition in partitions {
        let TopicPartition { topic, partition: number } = &partition;
        match found.remove(&partition) {
            Some(Ok(Some(offset))) => {
                let _ = writeln!(text, "{topic}:{number}:{}", offset.offset.0);
            }
            // No record is as young as the time asked for. 3.9 says nothing of the partition then.
            Some(Ok(None)) if old => {
                let _ = writeln!(text, "{topic}:{number}:");
            }
            Some(Ok(None)) | None => {}
            Some(Err(error)) => {
                eprintln!("Skip getting offsets for topic-partition {topic}:{number} due to error: {error}");
                failed = Some(error);
            }
        }
    }
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_picked_by_name_number_and_range() {
        fn check(line: &str, picked: &[(&str, i32)], left: &[(&str, i32)]) {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let options: Options = options::parse("kafka-get-offsets", &words).unwrap();
            let wanted = wanted(&options, options.broker_list.is_some()).unwrap();
            let covers =
                |(topic, partition): &(&str, i32)| wanted.iter().any(|wanted| wanted.covers(topic, *partition));
            assert!(picked.iter().all(covers), "{line}");
            assert!(!left.iter().any(covers), "{line}");
        }
        check("--bootstrap-server h:1 --topic a.*", &[("ab", 0), ("a", 9)], &[("ba", 0)]);
        check("--broker-list h:1 --topic a.b --partitions 0,2", &[("a.b", 0), ("a.b", 2)], &[("a.b", 1), ("axb", 0)]);
        check(
            "--bootstrap-server h:1 --topic-partitions a:0,b:1-3,:7",
            &[("a", 0), ("b", 2), ("c", 7)],
            &[("a", 1), ("b", 3)],
        );
        check("--bootstrap-server h:1 --topic-partitions a:-2,b:3-", &[("a", 1), ("b", 99)], &[("a", 2), ("b", 2)]);
        check("--bootstrap-server h:1", &[("a", 0)], &[]);
    }

    #[test]
    fn times_have_names() {
        for (text, expected) in [
            ("-1", Some(-1)),
            ("latest", Some(-1)),
            ("-2", Some(-2)),
            ("max-timestamp", Some(-3)),
            ("latest-tiered", Some(-5)),
            ("1700000000000", Some(1_700_000_000_000)),
            ("-9", None),
            ("yesterday", None),
        ] {
            assert_eq!(time(text).ok().map(OffsetSpec::wire), expected, "{text}");
        }
    }
}
