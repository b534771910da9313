//! The command line of the console consumer: every option of 0.8, 0.9, 3.9 and 4.2.

use std::time::Duration;

use clap::Parser;
use client::kafka::{ConsumerConfig, OffsetReset, OffsetSpec};
use client::zookeeper_consumer::{TopicFilter, ZookeeperConsumerConfig};
use protocol::types::Offset;
use runtime::Random;

use super::formatter::Formatter;
use crate::failure::Failure;
use crate::properties::{self, Pairs};
use crate::{connect, options};

/// Print records.
#[derive(Debug, Parser)]
struct Words {
    /// The ZooKeeper of the brokers: host:port[,host:port][/chroot]
    #[arg(long, value_name = "HOSTS")]
    zookeeper: Option<String>,
    /// The brokers to ask: host:port[,host:port]
    #[arg(long, value_name = "HOSTS")]
    bootstrap_server: Option<String>,
    /// The topic
    #[arg(long)]
    topic: Option<String>,
    /// The topics that match a regular expression
    #[arg(long, visible_alias = "whitelist", value_name = "REGEX")]
    include: Option<String>,
    /// The topics that do not match one (with --zookeeper)
    #[arg(long, value_name = "REGEX")]
    blacklist: Option<String>,
    /// One partition of the topic
    #[arg(long)]
    partition: Option<i32>,
    /// Where to begin in it: a number, earliest or latest
    #[arg(long, allow_hyphen_values = true)]
    offset: Option<String>,
    /// The group to be a member of
    #[arg(long)]
    group: Option<String>,
    /// Begin with the oldest record where the group has no offset yet
    #[arg(long)]
    from_beginning: bool,
    /// End after so many records
    #[arg(long, visible_alias = "num-records", allow_negative_numbers = true)]
    max_messages: Option<i64>,
    /// End after so many milliseconds without a record
    #[arg(long, allow_negative_numbers = true)]
    timeout_ms: Option<i64>,
    /// How records are printed: DefaultMessageFormatter, LoggingMessageFormatter, NoOpMessageFormatter
    #[arg(long, value_name = "CLASS")]
    formatter: Option<String>,
    /// What is printed: print.timestamp, print.partition, print.offset, print.headers, print.key, print.value, key.separator, line.separator,
    /// headers.separator, null.literal, key.deserializer, value.deserializer, headers.deserializer
    #[arg(long, visible_alias = "formatter-property", value_name = "NAME=VALUE")]
    property: Vec<String>,
    /// The same in a file
    #[arg(long, value_name = "FILE")]
    formatter_config: Option<String>,
    /// A setting of the consumer
    #[arg(long, visible_alias = "command-property", value_name = "NAME=VALUE")]
    consumer_property: Vec<String>,
    /// Settings of the consumer in a file
    #[arg(long = "consumer.config", visible_alias = "command-config", alias = "consumer-config", value_name = "FILE")]
    consumer_config: Option<String>,
    /// read_committed leaves out what no transaction committed
    #[arg(long)]
    isolation_level: Option<String>,
    /// Go on behind a record that cannot be read
    #[arg(long)]
    skip_message_on_error: bool,
    /// Forget the group's offsets before beginning (with --zookeeper)
    #[arg(long)]
    delete_consumer_offsets: bool,
    /// As --property key.deserializer=
    #[arg(long, value_name = "CLASS")]
    key_deserializer: Option<String>,
    /// As --property value.deserializer=
    #[arg(long, value_name = "CLASS")]
    value_deserializer: Option<String>,
    /// As --timeout-ms, by 0.8's name
    #[arg(long, allow_negative_numbers = true)]
    consumer_timeout_ms: Option<i64>,
    /// Milliseconds between two automatic commits, by 0.8's name
    #[arg(long = "autocommit.interval.ms")]
    autocommit_interval_ms: Option<String>,
    /// Bytes asked for at once, by 0.8's name
    #[arg(long)]
    fetch_size: Option<String>,
    /// Bytes the broker waits for, by 0.8's name
    #[arg(long)]
    min_fetch_bytes: Option<String>,
    /// How long it waits for them, by 0.8's name
    #[arg(long)]
    max_wait_ms: Option<String>,
    /// Accepted: metrics are not written to files
    #[arg(long)]
    csv_reporter_enabled: bool,
    /// Accepted: metrics are not written to files
    #[arg(long)]
    metrics_dir: Option<String>,
    /// Accepted: there is one consumer
    #[arg(long)]
    new_consumer: bool,
    /// Accepted: no events are printed
    #[arg(long)]
    enable_systest_events: bool,
    /// Accepted: the kernel sizes its buffers
    #[arg(long)]
    socket_buffer_size: Option<String>,
    /// Accepted
    #[arg(long)]
    socket_timeout_ms: Option<String>,
    /// Accepted
    #[arg(long)]
    refresh_leader_backoff_ms: Option<String>,
}

/// What the words come to.
#[derive(Debug)]
pub struct Options {
    /// Whom to ask.
    pub source: Source,
    /// What to read.
    pub topics: Topics,
    /// How to print it.
    pub formatter: Formatter,
    /// `--from-beginning`.
    pub from_beginning: bool,
    /// End after so many records.
    pub max_messages: Option<u64>,
    /// End after so long without one.
    pub timeout: Option<Duration>,
    /// Go on behind what cannot be read.
    pub skip_message_on_error: bool,
    /// Forget the group's offsets first.
    pub delete_consumer_offsets: bool,
    /// The group's name was made up: nothing of it is to remain.
    pub group_is_generated: bool,
}

/// Whom to ask.
#[derive(Debug)]
pub enum Source {
    /// ZooKeeper, and there a group.
    Zookeeper(Box<ZookeeperConsumerConfig>),
    /// Brokers.
    Bootstrap(Box<Bootstrap>),
}

/// The form of today.
#[derive(Debug)]
pub struct Bootstrap {
    /// The consumer's settings.
    pub config: ConsumerConfig,
    /// One partition instead of a group.
    pub partition: Option<(i32, Start)>,
}

/// Where a partition is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With this record.
    At(Offset),
    /// At one of the ends.
    End(OffsetSpec),
}

/// What to read.
#[derive(Debug)]
pub enum Topics {
    /// One topic.
    Named(String),
    /// Those that match.
    Include(String),
    /// Those that do not.
    Exclude(String),
}

impl Topics {
    /// As the ZooKeeper consumer takes it: always as a filter, because Kafka's tool does so, and other members see it.
    pub fn filter(&self) -> Result<TopicFilter, Failure> {
        Ok(match self {
            Topics::Named(text) | Topics::Include(text) => TopicFilter::white_list(text)?,
            Topics::Exclude(text) => TopicFilter::black_list(text)?,
        })
    }
}

/// Reads the command line and the files it names.
pub fn read(words: &[String]) -> Result<Options, Failure> {
    let words: Words = options::parse("kafka-console-consumer", words)?;
    let topics = topics(&words)?;
    let mut settings = words.consumer_config.as_deref().map_or(Ok(Pairs::new()), properties::file)?;
    let by_option = [
        ("auto.commit.interval.ms", words.autocommit_interval_ms.as_ref()),
        ("max.partition.fetch.bytes", words.fetch_size.as_ref()),
        ("fetch.min.bytes", words.min_fetch_bytes.as_ref()),
        ("fetch.max.wait.ms", words.max_wait_ms.as_ref()),
        ("isolation.level", words.isolation_level.as_ref()),
    ];
    settings.extend(by_option.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.clone()))));
    settings.extend(properties::words(&words.consumer_property)?);
    // Where the servers are was said on the command line.
    settings.retain(|(name, _)| name != "bootstrap.servers" && name != "zookeeper.connect");
    let (group, group_is_generated) = group(&words, &settings)?;
    settings.retain(|(name, _)| name != "group.id");
    if words.from_beginning
        && properties::last(&settings, "auto.offset.reset")
            .is_some_and(|reset| matches!(reset.trim(), "latest" | "largest" | "none"))
    {
        return Err(Failure::misuse("Can't simultaneously specify --from-beginning and auto.offset.reset")
            .cause("each of them says where to begin; leave one out"));
    }
    let source = match (&words.zookeeper, &words.bootstrap_server) {
        (Some(_), Some(_)) => {
            return Err(Failure::misuse("Option \"[zookeeper]\" can't be used with option \"[bootstrap-server]\""));
        }
        (None, None) => {
            return Err(Failure::misuse("Missing required argument \"[bootstrap-server]\"")
                .cause("say where the brokers are, or with --zookeeper where their ZooKeeper is")
                .help(example(&topics)));
        }
        (Some(hosts), None) => {
            let mut config = ZookeeperConsumerConfig::new(hosts.as_str(), group);
            properties::apply(&settings, &[words.consumer_config.as_deref()], |name, value| match name {
                "isolation.level" => Ok(true),
                _ => Ok(config.set(name, value)?),
            })?;
            if words.from_beginning {
                config.auto_offset_reset = OffsetReset::Earliest;
            }
            Source::Zookeeper(Box::new(config))
        }
        (None, Some(servers)) => {
            Source::Bootstrap(Box::new(bootstrap(&words, servers, group, group_is_generated, &settings)?))
        }
    };
    let mut printing = words.formatter_config.as_deref().map_or(Ok(Pairs::new()), properties::file)?;
    printing.extend(properties::words(&words.property)?);
    for (name, class) in
        [("key.deserializer", &words.key_deserializer), ("value.deserializer", &words.value_deserializer)]
    {
        printing.extend(class.as_ref().map(|class| (name.to_owned(), class.clone())));
    }
    let timeout = words.timeout_ms.or(words.consumer_timeout_ms).and_then(|ms| u64::try_from(ms).ok());
    Ok(Options {
        source,
        topics,
        formatter: Formatter::new(words.formatter.as_deref(), &printing)?,
        from_beginning: words.from_beginning,
        // -1 is "no limit" to Kafka's tool.
        max_messages: words.max_messages.and_then(|max| u64::try_from(max).ok()),
        timeout: timeout.map(Duration::from_millis),
        skip_message_on_error: words.skip_message_on_error,
        delete_consumer_offsets: words.delete_consumer_offsets,
        group_is_generated,
    })
}

fn topics(words: &Words) -> Result<Topics, Failure> {
    let given = [words.topic.is_some(), words.include.is_some(), words.blacklist.is_some()];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err(Failure::misuse(match words.zookeeper {
            Some(_) => "Exactly one of whitelist/blacklist/topic is required.",
            None => "Exactly one of --include/--topic is required.",
        })
        .help("bin/kafka-topics.sh --list --zookeeper localhost:2181"));
    }
    Ok(match (&words.topic, &words.include, &words.blacklist) {
        (Some(topic), _, _) => Topics::Named(topic.clone()),
        (_, Some(regex), _) => Topics::Include(regex.clone()),
        (_, _, excluded) => Topics::Exclude(excluded.clone().unwrap_or_default()),
    })
}

/// A command line that works, about the same topic.
fn example(topics: &Topics) -> String {
    let topic = match topics {
        Topics::Named(topic) => topic,
        Topics::Include(_) | Topics::Exclude(_) => "wordsendertest",
    };
    format!("bin/kafka-console-consumer.sh --zookeeper localhost:2181 --topic {topic} --from-beginning")
}

/// The group, and whether its name is made up. One that is named in several places must be the same in all.
fn group(words: &Words, settings: &Pairs) -> Result<(String, bool), Failure> {
    let mut given: Vec<&str> =
        settings.iter().filter(|(name, _)| name == "group.id").map(|(_, group)| group.as_str()).collect();
    given.extend(words.group.as_deref());
    given.dedup();
    match given[..] {
        [] => Ok((format!("console-consumer-{}", Random::real().below(100_000)), true)),
        [group] => Ok((group.to_owned(), false)),
        _ => Err(Failure::misuse(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') do not match.",
        )
        .cause(format!("Detected group ids: {}", given.join(", ")))),
    }
}

fn bootstrap(
    words: &Words,
    servers: &str,
    group: String,
    generated: bool,
    settings: &Pairs,
) -> Result<Bootstrap, Failure> {
    if words.blacklist.is_some() {
        return Err(Failure::misuse("blacklist is not a recognized option")
            .cause("brokers' groups have no list of what is left out; --include takes a regular expression"));
    }
    let mut config = connect::consumer_config(servers, "console-consumer", group)?;
    // Nothing of a made-up group is to remain.
    config.enable_auto_commit = !generated;
    if words.from_beginning {
        config.auto_offset_reset = OffsetReset::Earliest;
    }
    let files = [words.consumer_config.as_deref()];
    properties::apply(settings, &files, |name, value| Ok(config.set(name, value)?))?;
    config.validate()?;
    let partition = match (words.partition, &words.offset) {
        (None, Some(_)) => return Err(Failure::misuse("The partition is required when offset is specified.")),
        (Some(_), _) if words.topic.is_none() => {
            return Err(Failure::misuse("The topic is required when partition is specified."));
        }
        (Some(_), Some(_)) if words.from_beginning => {
            return Err(Failure::misuse("Options from-beginning and offset cannot be specified together."));
        }
        (Some(partition), offset) => Some((partition, start(offset.as_deref(), words.from_beginning)?)),
        (None, None) => None,
    };
    Ok(Bootstrap { config, partition })
}

/// `--offset`.
fn start(offset: Option<&str>, from_beginning: bool) -> Result<Start, Failure> {
    match offset.map(str::to_ascii_lowercase).as_deref() {
        None if from_beginning => Ok(Start::End(OffsetSpec::Earliest)),
        None | Some("latest") => Ok(Start::End(OffsetSpec::Latest)),
        Some("earliest") => Ok(Start::End(OffsetSpec::Earliest)),
        Some(text) => match text.parse() {
            Ok(offset) if offset >= 0 => Ok(Start::At(Offset(offset))),
            _ => Err(Failure::misuse(format!(
                "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
            ))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options, Failure> {
        read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_options_of_all_times_are_taken() {
        for line in [
            "--zookeeper h:2181 --topic t --from-beginning",
            "--zookeeper h:2181/kafka --whitelist a|b --max-messages 3 --delete-consumer-offsets --csv-reporter-enabled --metrics-dir d",
            "--zookeeper h:2181 --blacklist a.* --skip-message-on-error --new-consumer --consumer-timeout-ms 100",
            "--bootstrap-server h:1 --include a.* --group g --isolation-level read_committed --timeout-ms 100",
            "--bootstrap-server h:1 --topic t --partition 0 --offset 5 --formatter-property print.key=true",
            "--bootstrap-server h:1 --topic t --command-property fetch.min.bytes=2 --max-messages -1",
            "--bootstrap-server h:1 --topic t --key-deserializer org.apache.kafka.common.serialization.LongDeserializer",
        ] {
            assert!(options(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn words_that_contradict_each_other_are_refused() {
        for line in [
            "--zookeeper h:2181",
            "--zookeeper h:2181 --topic t --whitelist t",
            "--topic t",
            "--bootstrap-server h:1 --zookeeper h:2 --topic t",
            "--bootstrap-server h:1 --topic t --offset 5",
            "--bootstrap-server h:1 --include t --partition 1",
            "--bootstrap-server h:1 --topic t --partition 1 --offset x",
            "--bootstrap-server h:1 --topic t --partition 1 --offset 1 --from-beginning",
            "--bootstrap-server h:1 --topic t --group a --consumer-property group.id=b",
            "--bootstrap-server h:1 --topic t --from-beginning --consumer-property auto.offset.reset=latest",
        ] {
            assert!(options(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_group_nobody_named_commits_nothing() {
        let check = |line: &str, expected: bool| {
            let options = options(line).unwrap();
            let Source::Bootstrap(bootstrap) = &options.source else { panic!("{line}") };
            assert_eq!(bootstrap.config.enable_auto_commit, expected, "{line}");
            assert_eq!(options.group_is_generated, !line.contains("group"), "{line}");
        };
        check("--bootstrap-server h:1 --topic t", false);
        check("--bootstrap-server h:1 --topic t --group g", true);
        check("--bootstrap-server h:1 --topic t --consumer-property group.id=g", true);
        check("--bootstrap-server h:1 --topic t --consumer-property enable.auto.commit=true", true);
    }
}
