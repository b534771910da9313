//! The command line of the consumer's measurement: every option of 0.9, 3.9 and 4.2.

use clap::Parser;
use client::kafka::{ConsumerConfig, OffsetReset};
use client::zookeeper_consumer::{TopicFilter, ZookeeperConsumerConfig};
use runtime::Random;

use super::report::Style;
use crate::failure::Failure;
use crate::java_format::DateFormat;
use crate::properties::{self, Pairs};
use crate::{connect, options};

/// Kafka's tool says who it is.
const CLIENT_ID: &str = "perf-consumer-client";

/// Time without a record after which 0.9's tool ends, in milliseconds.
const TIMEOUT_OLD_MS: i64 = 1_000;
/// And today's.
const TIMEOUT_TODAY_MS: i64 = 10_000;

/// Measure how fast records come.
#[derive(Debug, Parser)]
struct Words {
    /// The ZooKeeper of the brokers: host:port[,host:port][/chroot]
    #[arg(long, value_name = "HOSTS")]
    zookeeper: Option<String>,
    /// The brokers to ask: host:port[,host:port]
    #[arg(long, value_name = "HOSTS")]
    bootstrap_server: Option<String>,
    /// The same, by its old name
    #[arg(long, value_name = "HOSTS")]
    broker_list: Option<String>,
    /// The topic
    #[arg(long)]
    topic: Option<String>,
    /// The topics that match a regular expression (with --bootstrap-server)
    #[arg(long, value_name = "REGEX")]
    include: Option<String>,
    /// End after so many records
    #[arg(long, visible_alias = "num-records")]
    messages: Option<u64>,
    /// The group to be a member of
    #[arg(long)]
    group: Option<String>,
    /// Bytes asked for at once
    #[arg(long, default_value_t = 1 << 20)]
    fetch_size: i32,
    /// Begin with the newest record where the group has no offset yet
    #[arg(long)]
    from_latest: bool,
    /// Milliseconds without a record after which it ends: 1000 in the forms of 0.9, else 10000
    #[arg(long)]
    timeout: Option<i64>,
    /// Milliseconds between two lines of --show-detailed-stats; records, in the forms of 0.9
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(i64).range(1..))]
    reporting_interval: i64,
    /// A line for each interval instead of one for all
    #[arg(long)]
    show_detailed_stats: bool,
    /// How times are printed, as java.text.SimpleDateFormat has it
    #[arg(long, default_value = "yyyy-MM-dd HH:mm:ss:SSS")]
    date_format: String,
    /// Print no header
    #[arg(long)]
    hide_header: bool,
    /// Streams that the group is told of (with --zookeeper); one reader serves them all
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..))]
    threads: i32,
    /// With --broker-list: 0.9's form of it
    #[arg(long)]
    new_consumer: bool,
    /// A setting of the consumer
    #[arg(long, value_name = "NAME=VALUE")]
    command_property: Vec<String>,
    /// Settings of the consumer in a file
    #[arg(long = "consumer.config", visible_alias = "command-config", alias = "consumer-config", value_name = "FILE")]
    consumer_config: Option<String>,
    /// Refused: this client keeps no metrics to print
    #[arg(long)]
    print_metrics: bool,
    /// Accepted: the kernel sizes its buffers
    #[arg(long)]
    socket_buffer_size: Option<String>,
    /// Accepted: there is one fetcher for each broker
    #[arg(long)]
    num_fetch_threads: Option<String>,
    /// Accepted: consumers do not choose it
    #[arg(long)]
    message_size: Option<String>,
    /// Accepted: consumers do not choose it
    #[arg(long)]
    batch_size: Option<String>,
    /// Accepted: consumers do not choose it
    #[arg(long)]
    compression_codec: Option<String>,
}

/// What the words come to.
#[derive(Debug)]
pub struct Options {
    /// Whom to ask.
    pub source: Source,
    /// What to read.
    pub topics: Topics,
    /// End after so many records.
    pub messages: u64,
    /// Or after so long without one.
    pub timeout_ms: i64,
    /// What a line of `--show-detailed-stats` covers.
    pub interval: Interval,
    /// Such lines instead of one at the end.
    pub show_detailed_stats: bool,
    /// How times are printed.
    pub date_format: DateFormat,
    /// No first line.
    pub hide_header: bool,
    /// Whose lines.
    pub style: Style,
    /// 0.9's old consumer: its last wait is not measured.
    pub ends_without_its_timeout: bool,
    /// Streams that the group in ZooKeeper is told of.
    pub threads: i32,
    /// The group's name was made up: nothing of it is to remain.
    pub group_is_generated: bool,
}

/// Whom to ask.
#[derive(Debug)]
pub enum Source {
    /// ZooKeeper, and there a group.
    Zookeeper(Box<ZookeeperConsumerConfig>),
    /// A group of the brokers'.
    Brokers(Box<ConsumerConfig>),
}

/// What to read.
#[derive(Debug)]
pub enum Topics {
    /// One topic.
    Named(String),
    /// Those that match.
    Include(TopicFilter),
}

/// What a line of `--show-detailed-stats` covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// So many records: 0.9.
    Records(u64),
    /// So much time.
    Milliseconds(i64),
}

/// Reads the command line and the files it names.
pub fn read(words: &[String]) -> Result<Options, Failure> {
    let words: Words = options::parse("kafka-consumer-perf-test", words)?;
    if words.print_metrics {
        return Err(Failure::verbatim("--print-metrics: this client keeps no metrics of its own")
            .help("leave it out; the broker counts at its own end"));
    }
    let topics = topics(&words)?;
    let Some(messages) = words.messages else { return Err(missing("messages")) };
    let (group, group_is_generated) = match &words.group {
        Some(group) => (group.clone(), false),
        None => (format!("perf-consumer-{}", Random::real().below(100_000)), true),
    };
    let source = source(&words, group)?;
    let by_zookeeper = matches!(source, Source::Zookeeper(_));
    let style = if by_zookeeper || words.new_consumer { Style::Old } else { Style::Today };
    Ok(Options {
        source,
        topics,
        messages,
        timeout_ms: words.timeout.unwrap_or(if style == Style::Old { TIMEOUT_OLD_MS } else { TIMEOUT_TODAY_MS }),
        interval: match style {
            Style::Old => Interval::Records(words.reporting_interval.unsigned_abs()),
            Style::Today => Interval::Milliseconds(words.reporting_interval),
        },
        show_detailed_stats: words.show_detailed_stats,
        date_format: DateFormat::parse(&words.date_format)?,
        hide_header: words.hide_header,
        style,
        ends_without_its_timeout: by_zookeeper,
        threads: words.threads,
        group_is_generated,
    })
}

fn topics(words: &Words) -> Result<Topics, Failure> {
    match (&words.topic, &words.include) {
        (Some(topic), None) => Ok(Topics::Named(topic.clone())),
        (None, Some(regex)) if words.zookeeper.is_none() => Ok(Topics::Include(TopicFilter::white_list(regex)?)),
        (None, Some(_)) => Err(Failure::misuse("include is not a recognized option")),
        (Some(_), Some(_)) => Err(Failure::misuse("Exactly one of --topic/--include is required.")),
        (None, None) => Err(missing("topic")),
    }
}

fn source(words: &Words, group: String) -> Result<Source, Failure> {
    let mut settings = words.consumer_config.as_deref().map_or(Ok(Pairs::new()), properties::file)?;
    settings.extend(properties::words(&words.command_property)?);
    // What the command line has said is not said again: where the servers are, which group, how much at once, and where to begin.
    let said = ["bootstrap.servers", "zookeeper.connect", "group.id", "auto.offset.reset"];
    settings.retain(|(name, _)| !said.contains(&name.as_str()));
    let reset = if words.from_latest { OffsetReset::Latest } else { OffsetReset::Earliest };
    match (&words.zookeeper, words.bootstrap_server.as_ref().or(words.broker_list.as_ref())) {
        (_, Some(servers)) if words.zookeeper.is_none() || words.new_consumer => {
            let mut config = connect::consumer_config(servers, CLIENT_ID, group)?;
            config.set("max.partition.fetch.bytes", &words.fetch_size.to_string())?;
            config.check_crcs = false;
            config.auto_offset_reset = reset;
            properties::apply(&settings, &[words.consumer_config.as_deref()], |name, value| {
                Ok(config.set(name, value)?)
            })?;
            config.validate()?;
            Ok(Source::Brokers(Box::new(config)))
        }
        (Some(hosts), None) if !words.new_consumer => {
            let mut config = ZookeeperConsumerConfig::new(hosts.as_str(), group);
            config.set("fetch.message.max.bytes", &words.fetch_size.to_string())?;
            config.auto_offset_reset = reset;
            properties::apply(&settings, &[words.consumer_config.as_deref()], |name, value| {
                Ok(config.set(name, value)?)
            })?;
            Ok(Source::Zookeeper(Box::new(config)))
        }
        (Some(_), Some(_)) => {
            Err(Failure::misuse("Option \"[zookeeper]\" can't be used with option \"[bootstrap-server]\""))
        }
        (_, None) if words.new_consumer => Err(missing("broker-list")),
        (_, _) => Err(missing("bootstrap-server")),
    }
}

fn missing(option: &str) -> Failure {
    Failure::misuse(format!("Missing required argument \"[{option}]\"")).help("bin/kafka-consumer-perf-test.sh --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options, Failure> {
        read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_form_decides_whose_lines_are_printed() {
        let check = |line: &str, style: Style, timeout_ms: i64, interval: Interval| {
            let options = options(line).unwrap();
            assert_eq!((options.style, options.timeout_ms, options.interval), (style, timeout_ms, interval), "{line}");
        };
        let zookeeper = "--zookeeper h:2181 --topic t --messages 10";
        check(zookeeper, Style::Old, 1_000, Interval::Records(5_000));
        check(
            &format!("{zookeeper} --threads 2 --num-fetch-threads 1 --socket-buffer-size 9"),
            Style::Old,
            1_000,
            Interval::Records(5_000),
        );
        check(
            "--new-consumer --broker-list h:1 --topic t --messages 10 --reporting-interval 7",
            Style::Old,
            1_000,
            Interval::Records(7),
        );
        check("--broker-list h:1 --topic t --messages 10", Style::Today, 10_000, Interval::Milliseconds(5_000));
        check(
            "--bootstrap-server h:1 --include t.* --messages 10 --timeout 50 --show-detailed-stats --reporting-interval 100",
            Style::Today,
            50,
            Interval::Milliseconds(100),
        );
    }

    #[test]
    fn words_that_make_no_sense_are_refused() {
        for line in [
            "--topic t --messages 10",
            "--bootstrap-server h:1 --messages 10",
            "--bootstrap-server h:1 --topic t",
            "--bootstrap-server h:1 --topic t --include t --messages 10",
            "--zookeeper h:1 --include t --messages 10",
            "--zookeeper h:1 --bootstrap-server h:1 --topic t --messages 10",
            "--new-consumer --topic t --messages 10",
            "--bootstrap-server h:1 --topic t --messages 10 --print-metrics",
            "--bootstrap-server h:1 --topic t --messages 10 --date-format yyyy-QQ",
            "--bootstrap-server h:1 --topic t --messages 10 --reporting-interval 0",
        ] {
            assert!(options(line).is_err(), "{line}");
        }
    }
}
