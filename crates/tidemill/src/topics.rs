//! `kafka-topics`: create, list, describe, alter and delete topics (Kafka: `kafka.admin.TopicCommand`).
//!
//! With `--zookeeper` it reads and writes Kafka's znodes and speaks as 0.9.0.1 did; with `--bootstrap-server` it asks the brokers and speaks as 3.9 does.
//!
//! # Layout
//! - [`names`]: which names a topic may have
//! - [`zookeeper`]: the form of 0.9
//! - [`bootstrap`]: the form of 3.9

mod bootstrap;
mod names;
mod zookeeper;

use clap::Parser;

use crate::failure::Failure;
use crate::{connect, options};

/// Create, list, describe, alter or delete topics.
#[derive(Debug, Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// The ZooKeeper of the brokers: host:port[,host:port][/chroot]
    #[arg(long, value_name = "HOSTS")]
    zookeeper: Option<String>,
    /// The brokers to ask: host:port[,host:port]
    #[arg(long, visible_alias = "broker-list", value_name = "HOSTS")]
    bootstrap_server: Option<String>,
    /// Properties for the connection to the brokers
    #[arg(long, value_name = "FILE")]
    command_config: Option<String>,
    /// List all topics
    #[arg(long)]
    list: bool,
    /// Create a topic
    #[arg(long)]
    create: bool,
    /// Say how a topic's partitions are placed
    #[arg(long)]
    describe: bool,
    /// Change the number of partitions, or (with --zookeeper) the configuration
    #[arg(long)]
    alter: bool,
    /// Delete a topic
    #[arg(long)]
    delete: bool,
    /// The topic; for all but --create also a regular expression
    #[arg(long)]
    topic: Option<String>,
    /// Id of the topic, for --describe
    #[arg(long)]
    topic_id: Option<String>,
    /// Number of partitions
    #[arg(long)]
    partitions: Option<i32>,
    /// Number of replicas of each partition
    #[arg(long)]
    replication_factor: Option<i16>,
    /// Brokers by hand: 0:1,1:2 places partition 0 on 0 and 1, partition 1 on 1 and 2
    #[arg(long, value_name = "0:1,1:2")]
    replica_assignment: Option<String>,
    /// A topic configuration, once for each
    #[arg(long, value_name = "NAME=VALUE")]
    config: Vec<String>,
    /// A topic configuration to take away (--alter)
    #[arg(long, value_name = "NAME")]
    delete_config: Vec<String>,
    /// Only partitions with replicas out of sync
    #[arg(long)]
    under_replicated_partitions: bool,
    /// Only partitions without a leader
    #[arg(long)]
    unavailable_partitions: bool,
    /// Only partitions with fewer replicas in sync than min.insync.replicas
    #[arg(long)]
    under_min_isr_partitions: bool,
    /// Only partitions with just as many replicas in sync as min.insync.replicas
    #[arg(long)]
    at_min_isr_partitions: bool,
    /// Only topics with a configuration of their own
    #[arg(long)]
    topics_with_overrides: bool,
    /// Do nothing where the topic is not there
    #[arg(long)]
    if_exists: bool,
    /// Do nothing where the topic is there
    #[arg(long)]
    if_not_exists: bool,
    /// Leave out Kafka's own topics
    #[arg(long)]
    exclude_internal: bool,
    /// Ask for nothing
    #[arg(long)]
    force: bool,
    /// Accepted for scripts that disable it
    #[arg(long)]
    disable_rack_aware: bool,
    /// Print this help
    #[arg(long, short = 'h', action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let options: Options = options::parse("kafka-topics", words)?;
    let actions = [options.list, options.create, options.describe, options.alter, options.delete];
    if actions.iter().filter(|chosen| **chosen).count() != 1 {
        return Err(usage(
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
        ));
    }
    if (options.create || options.delete || options.alter) && options.topic.is_none() {
        return Err(usage("Missing required argument \"[topic]\""));
    }
    check_together(&options)?;
    if options.create && options.topic.as_deref().is_some_and(names::could_collide) {
        eprintln!(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. \
             To avoid issues it is best to use either, but not both."
        );
    }
    let done = match (&options.zookeeper, &options.bootstrap_server) {
        (Some(_), Some(_)) => {
            return Err(usage("Option \"[zookeeper]\" can't be used with option \"[bootstrap-server]\""));
        }
        (None, None) => {
            return Err(usage("Missing required argument \"[bootstrap-server]\"")
                .cause("say where the brokers are, or with --zookeeper where their ZooKeeper is")
                .help("bin/kafka-topics.sh --list --bootstrap-server localhost:9092"));
        }
        (Some(hosts), None) => {
            connect::block_on(zookeeper::run(&options, hosts)).map_err(|failure| failure.with_zookeeper(hosts))
        }
        (None, Some(servers)) => {
            connect::block_on(bootstrap::run(&options, servers)).map_err(|failure| failure.with_servers(servers))
        }
    };
    done.map_err(|failure| failure.behind("Error while executing topic command : "))
}

/// Options that exclude each other, in the words of each form (0.9's has no blank before the second one).
fn check_together(options: &Options) -> Result<(), Failure> {
    let blank = if options.zookeeper.is_some() { "" } else { " " };
    let by_number =
        [("partitions", options.partitions.is_some()), ("replication-factor", options.replication_factor.is_some())];
    if options.create
        && options.replica_assignment.is_some()
        && let Some((other, _)) = by_number.iter().find(|(_, is_given)| *is_given)
    {
        let what = format!("Option \"[replica-assignment]\" can't be used with option{blank}\"[{other}]\"");
        return Err(usage(&what).cause("the assignment says how many there are"));
    }
    let filters = [
        ("under-replicated-partitions", options.under_replicated_partitions),
        ("under-min-isr-partitions", options.under_min_isr_partitions),
        ("at-min-isr-partitions", options.at_min_isr_partitions),
        ("unavailable-partitions", options.unavailable_partitions),
        ("topics-with-overrides", options.topics_with_overrides),
    ];
    let mut asked = filters.iter().filter(|(_, is_asked)| *is_asked).map(|(name, _)| *name);
    match (asked.next(), asked.next()) {
        (Some(first), Some(second)) => {
            Err(usage(&format!("Option \"[{first}]\" can't be used with option{blank}\"[{second}]\"")))
        }
        (Some(filter), None) if !options.describe => {
            let action =
                ["list", "create", "alter", "delete"].into_iter().zip([options.list, options.create, options.alter]);
            let action = action.filter(|(_, is_asked)| *is_asked).map(|(name, _)| name).next().unwrap_or("delete");
            Err(usage(&format!("Option \"[{filter}]\" can't be used with option{blank}\"[{action}]\"")))
        }
        // The brokers alone know min.insync.replicas.
        (Some(filter @ ("under-min-isr-partitions" | "at-min-isr-partitions")), None)
            if options.zookeeper.is_some() =>
        {
            Err(usage(&format!("Option \"[{filter}]\" can't be used with option\"[zookeeper]\""))
                .help(format!("bin/kafka-topics.sh --describe --{filter} --bootstrap-server localhost:9092")))
        }
        _ => Ok(()),
    }
}

fn usage(what: &str) -> Failure {
    Failure::misuse(what).help("bin/kafka-topics.sh --help")
}

/// `name=value` pairs of `--config`.
fn parse_configs(options: &Options) -> Result<Vec<(String, String)>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => Err(Failure::misuse(
            "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".",
        )),
    };
    options.config.iter().map(pair).collect()
}

/// The topics of `all` that `--topic` names: by name, or as a regular expression for the whole name. Sorted.
fn chosen(options: &Options, mut all: Vec<String>) -> Result<Vec<String>, Failure> {
    all.sort();
    if let Some(topic) = &options.topic {
        let pattern = regex::Regex::new(&format!("^(?:{topic})$"))
            .map_err(|error| Failure::misuse(format!("{topic} is an invalid regex.")).cause(error))?;
        all.retain(|name| name == topic || pattern.is_match(name));
    }
    if options.exclude_internal {
        all.retain(|name| !names::is_internal(name));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_exclude_each_other_are_named() {
        let said = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            run(&words).unwrap_err().text().to_owned()
        };
        for (line, expected) in [
            (
                "--create --zookeeper h:1 --topic t --replica-assignment 0 --partitions 1",
                "Option \"[replica-assignment]\" can't be used with option\"[partitions]\"",
            ),
            (
                "--create --bootstrap-server h:1 --topic t --replica-assignment 0 --replication-factor 1",
                "Option \"[replica-assignment]\" can't be used with option \"[replication-factor]\"",
            ),
            (
                "--describe --bootstrap-server h:1 --at-min-isr-partitions --under-replicated-partitions",
                "Option \"[under-replicated-partitions]\" can't be used with option \"[at-min-isr-partitions]\"",
            ),
            (
                "--list --zookeeper h:1 --unavailable-partitions",
                "Option \"[unavailable-partitions]\" can't be used with option\"[list]\"",
            ),
            (
                "--describe --zookeeper h:1 --under-min-isr-partitions",
                "Option \"[under-min-isr-partitions]\" can't be used with option\"[zookeeper]\"",
            ),
        ] {
            assert_eq!(said(line), expected, "{line}");
        }
    }
}
