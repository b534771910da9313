//! `kafka-consumer-groups`: groups, how far they have read, and how that is changed (Kafka: `ConsumerGroupCommand`).
//!
//! With `--bootstrap-server` groups of the brokers' in the words of 3.9, with `--zookeeper` groups in ZooKeeper in the words of 0.9.0.1.
//!
//! # Layout
//! - [`describe`]: list and describe
//! - [`reset`]: reset-offsets: where to, and writing it
//! - [`delete`]: delete and delete-offsets
//! - [`zookeeper`]: the form of 0.9

mod delete;
mod describe;
mod reset;
mod zookeeper;

use clap::Parser;
use client::kafka::admin::Admin;
use protocol::types::TopicPartition;

use crate::failure::Failure;
use crate::{connect, options};

/// List and describe groups, reset and delete their offsets.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// The brokers to ask: host:port[,host:port]
    #[arg(long, value_name = "HOSTS")]
    bootstrap_server: Option<String>,
    /// The ZooKeeper of 0.8's groups: host:port[,host:port][/chroot]
    #[arg(long, value_name = "HOSTS")]
    zookeeper: Option<String>,
    /// Properties for the connection to the brokers
    #[arg(long, value_name = "FILE")]
    command_config: Option<String>,
    /// List all groups
    #[arg(long)]
    list: bool,
    /// Say how far groups have read
    #[arg(long)]
    describe: bool,
    /// Delete groups
    #[arg(long)]
    delete: bool,
    /// Have a group go on elsewhere
    #[arg(long)]
    reset_offsets: bool,
    /// Forget a group's offsets of topics
    #[arg(long)]
    delete_offsets: bool,
    /// A group; once for each
    #[arg(long)]
    group: Vec<String>,
    /// All groups
    #[arg(long)]
    all_groups: bool,
    /// A topic, or some of its partitions: TOPIC or TOPIC:0,1; once for each
    #[arg(long)]
    topic: Vec<String>,
    /// All topics of the group
    #[arg(long)]
    all_topics: bool,
    /// --describe: the members; --list: accepted
    #[arg(long)]
    members: bool,
    /// --describe: the offsets, as without it
    #[arg(long)]
    offsets: bool,
    /// --describe: the state; --list: with the state, or only groups in one of these
    #[arg(long, num_args = 0..=1, default_missing_value = "", value_name = "STATES")]
    state: Option<String>,
    /// --describe --members: what they read, too
    #[arg(long)]
    verbose: bool,
    /// Longest wait for the brokers, in milliseconds
    #[arg(long, value_name = "MS")]
    timeout: Option<u64>,
    /// --reset-offsets: say what would be done
    #[arg(long)]
    dry_run: bool,
    /// --reset-offsets: do it
    #[arg(long)]
    execute: bool,
    /// --reset-offsets: print it as a file for --from-file
    #[arg(long)]
    export: bool,
    /// --reset-offsets: to the first record
    #[arg(long)]
    to_earliest: bool,
    /// --reset-offsets: behind the last record
    #[arg(long)]
    to_latest: bool,
    /// --reset-offsets: to where the group is
    #[arg(long)]
    to_current: bool,
    /// --reset-offsets: to this offset
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true)]
    to_offset: Option<i64>,
    /// --reset-offsets: by so many records, back where negative
    #[arg(long, value_name = "RECORDS", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// --reset-offsets: to a time, UTC where no zone is named
    #[arg(long, value_name = "YYYY-MM-DDTHH:mm:SS.sss")]
    to_datetime: Option<String>,
    /// --reset-offsets: so long back from now
    #[arg(long, value_name = "PnDTnHnMnS")]
    by_duration: Option<String>,
    /// --reset-offsets: as this file says, lines of topic,partition,offset
    #[arg(long, value_name = "FILE")]
    from_file: Option<String>,
    /// Accepted: there is one kind of consumer behind --bootstrap-server
    #[arg(long)]
    new_consumer: bool,
}

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let options: Options = options::parse("kafka-consumer-groups", words)?;
    let actions = [options.list, options.describe, options.delete, options.reset_offsets, options.delete_offsets];
    if actions.iter().filter(|chosen| **chosen).count() != 1 {
        return Err(usage(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets.",
        ));
    }
    match (&options.zookeeper, &options.bootstrap_server) {
        (Some(_), Some(_)) => Err(usage("Option \"[zookeeper]\" can't be used with option \"[bootstrap-server]\"")),
        (None, None) => Err(usage("Missing required argument \"[bootstrap-server]\"")),
        (Some(hosts), None) => {
            connect::block_on(zookeeper::run(&options, hosts)).map_err(|failure| failure.with_zookeeper(hosts))
        }
        (None, Some(servers)) => {
            connect::block_on(with_brokers(&options, servers)).map_err(|failure| failure.with_servers(servers))
        }
    }
}

async fn with_brokers(options: &Options, servers: &str) -> Result<(), Failure> {
    if !options.list && options.group.is_empty() && !options.all_groups {
        return Err(usage("Missing required argument \"[group]\""));
    }
    let cluster = connect::kafka_within(servers, options.command_config.as_deref(), options.timeout).await?;
    let admin = Admin::new(cluster);
    if options.list {
        describe::list(&admin, options).await
    } else if options.describe {
        describe::describe(&admin, options).await
    } else if options.reset_offsets {
        reset::reset(&admin, options).await
    } else if options.delete {
        delete::groups(&admin, options).await
    } else {
        delete::offsets(&admin, options).await
    }
}

fn usage(what: &str) -> Failure {
    Failure::misuse(what).help("bin/kafka-consumer-groups.sh --help")
}

/// The groups that the options name.
async fn groups(admin: &Admin, options: &Options) -> Result<Vec<String>, Failure> {
    if !options.all_groups {
        return Ok(options.group.clone());
    }
    let all = admin.list_groups().await?;
    Ok(all.into_iter().filter(is_of_consumers).map(|group| group.group).collect())
}

/// Other programs' groups (Connect, Schema Registry) have other protocols.
fn is_of_consumers(group: &client::kafka::admin::GroupListing) -> bool {
    group.protocol_type.is_empty() || group.protocol_type == "consumer"
}

/// The partitions that `--topic` names.
async fn partitions(admin: &Admin, options: &Options) -> Result<Vec<TopicPartition>, Failure> {
    let mut partitions = Vec::new();
    for text in &options.topic {
        let (topic, numbers) = match text.rsplit_once(':') {
            Some((topic, numbers)) => (topic, Some(numbers)),
            None => (text.as_str(), None),
        };
        let Some(numbers) = numbers else {
            for (_, described) in admin.describe_topics(&[topic]).await? {
                let described = described?;
                let all = described.partitions.iter();
                partitions.extend(all.map(|one| TopicPartition::new(described.name.clone(), one.partition)));
            }
            continue;
        };
        for number in numbers.split(',') {
            let number = number.trim().parse().map_err(|_| Failure::usage(format!("{text} names no partition")))?;
            partitions.push(TopicPartition::new(topic, number));
        }
    }
    partitions.sort();
    Ok(partitions)
}

/// Columns side by side: each as wide as its widest text, at least as wide as given; the last has no filling.
fn table(minimum: &[usize], rows: &[Vec<String>]) -> String {
    let width = |column: usize, minimum: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(String::len).fold(minimum, usize::max)
    };
    let widths: Vec<usize> = minimum.iter().enumerate().map(|(column, minimum)| width(column, *minimum)).collect();
    let mut text = String::new();
    for row in rows {
        for (index, cell) in row.iter().enumerate() {
            if index + 1 == row.len() {
                text.push_str(cell);
            } else {
                let width = widths.get(index).copied().unwrap_or(0);
                text.push_str(&format!("{cell:<width$} "));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_grow_with_their_texts() {
        let rows = |rows: &[&[&str]]| -> Vec<Vec<String>> {
            rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
        };
        let text = table(&[5, 3, 0], &rows(&[&["GROUP", "T", "X"], &["words", "topic", "-"]]));
        assert_eq!(text, "GROUP T     X\nwords topic -\n");
    }
}
