//! `kafka-configs`: the settings of topics and brokers (Kafka: `kafka.admin.ConfigCommand`).
//!
//! With `--bootstrap-server` the brokers are asked, in the words of 3.9; with `--zookeeper` Kafka's znodes are read and written, in those of 0.9.0.1.
//!
//! # Layout
//! - [`bootstrap`]: the form of 3.9
//! - [`zookeeper`]: the form of 0.9

mod bootstrap;
mod zookeeper;

use clap::Parser;

use crate::failure::Failure;
use crate::properties::{self, Pairs};
use crate::{connect, options};

/// Show and change the settings of topics and brokers.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// The brokers to ask: host:port[,host:port]
    #[arg(long, value_name = "HOSTS")]
    bootstrap_server: Option<String>,
    /// The ZooKeeper of the brokers: host:port[,host:port][/chroot]
    #[arg(long, value_name = "HOSTS")]
    zookeeper: Option<String>,
    /// Properties for the connection to the brokers
    #[arg(long, value_name = "FILE")]
    command_config: Option<String>,
    /// Show settings
    #[arg(long)]
    describe: bool,
    /// Change settings
    #[arg(long)]
    alter: bool,
    /// --describe: those too that nobody has set
    #[arg(long)]
    all: bool,
    /// topics, brokers, broker-loggers, groups; with --zookeeper topics or clients
    #[arg(long, value_name = "TYPE")]
    entity_type: Option<String>,
    /// Name of the topic, id of the broker
    #[arg(long, value_name = "NAME")]
    entity_name: Option<String>,
    /// The default of all brokers
    #[arg(long)]
    entity_default: bool,
    /// Short for --entity-type topics --entity-name
    #[arg(long)]
    topic: Option<String>,
    /// Short for --entity-type brokers --entity-name
    #[arg(long)]
    broker: Option<String>,
    /// Short for --entity-type brokers --entity-default
    #[arg(long)]
    broker_defaults: bool,
    /// Short for --entity-type broker-loggers --entity-name
    #[arg(long)]
    broker_logger: Option<String>,
    /// Short for --entity-type groups --entity-name
    #[arg(long)]
    group: Option<String>,
    /// Short for --entity-type clients --entity-name
    #[arg(long)]
    client: Option<String>,
    /// Settings to set: k1=v1,k2=[v21,v22]
    #[arg(long, value_name = "SETTINGS")]
    add_config: Option<String>,
    /// The same as a .properties file
    #[arg(long, value_name = "FILE")]
    add_config_file: Option<String>,
    /// Settings to take away: k1,k2
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    delete_config: Vec<String>,
    /// Ask for nothing
    #[arg(long)]
    force: bool,
}

/// What the settings belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entity {
    /// `topics`, `brokers`, ...
    kind: String,
    /// Its name; `None` for all of the kind.
    name: Option<String>,
    /// The default of the kind.
    is_default: bool,
}

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let options: Options = options::parse("kafka-configs", words)?;
    if options.describe == options.alter {
        return Err(usage("Command must include exactly one action: --describe, --alter"));
    }
    let entity = entity(&options)?;
    let added = added(&options)?;
    if options.alter && added.is_empty() && options.delete_config.is_empty() {
        return Err(usage(
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
        ));
    }
    if options.alter && entity.name.is_none() && !entity.is_default {
        return Err(usage(
            "an entity name or default entity must be specified with --alter of topics, clients, brokers and groups",
        ));
    }
    match (&options.zookeeper, &options.bootstrap_server) {
        (Some(_), Some(_)) => Err(usage("Only one of --zookeeper or --bootstrap-server must be specified")),
        (None, None) => Err(usage("Missing required argument \"[bootstrap-server]\"")),
        (Some(hosts), None) => connect::block_on(zookeeper::run(&options, &entity, &added, hosts))
            .map_err(|failure| failure.with_zookeeper(hosts)),
        (None, Some(servers)) => connect::block_on(bootstrap::run(&options, &entity, &added, servers))
            .map_err(|failure| failure.with_servers(servers)),
    }
}

fn usage(what: &str) -> Failure {
    Failure::misuse(what).help("bin/kafka-configs.sh --help")
}

fn entity(options: &Options) -> Result<Entity, Failure> {
    let short = [
        ("topics", &options.topic),
        ("brokers", &options.broker),
        ("broker-loggers", &options.broker_logger),
        ("groups", &options.group),
        ("clients", &options.client),
    ];
    let mut named: Vec<Entity> = short
        .into_iter()
        .filter_map(|(kind, name)| Some(Entity { kind: kind.to_owned(), name: Some(name.clone()?), is_default: false }))
        .collect();
    if options.broker_defaults {
        named.push(Entity { kind: "brokers".to_owned(), name: None, is_default: true });
    }
    if let Some(kind) = &options.entity_type {
        let (name, is_default) = (options.entity_name.clone(), options.entity_default);
        named.push(Entity { kind: kind.clone(), name, is_default });
    }
    match (named.pop(), named.is_empty()) {
        (Some(entity), true) => Ok(entity),
        (None, _) => Err(usage("At least one entity type must be specified")),
        (Some(_), false) => Err(usage("Only one entity type can be specified")),
    }
}

/// Settings of `--add-config` and its file.
fn added(options: &Options) -> Result<Pairs, Failure> {
    let mut pairs = options.add_config_file.as_deref().map_or(Ok(Pairs::new()), properties::file)?;
    pairs.extend(options.add_config.as_deref().map_or(Ok(Pairs::new()), parse_added)?);
    Ok(pairs)
}

/// `k1=v1,k2=[v21,v22]`: brackets keep commas together.
fn parse_added(text: &str) -> Result<Pairs, Failure> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0_usize, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    let pair = |part: &str| {
        let wrong = || {
            usage(
                "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\".",
            )
        };
        let (name, value) = part.split_once('=').ok_or_else(wrong)?;
        let value = value.trim();
        let inner = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
        Ok((name.trim().to_owned(), inner.unwrap_or(value).to_owned()))
    };
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        options::parse("kafka-configs", &words).unwrap()
    }

    #[test]
    fn settings_are_split_at_commas_outside_brackets() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let read = parse_added(text).unwrap();
            let read: Vec<(&str, &str)> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(read, expected, "{text}");
        };
        check("a=1,b=2", &[("a", "1"), ("b", "2")]);
        check("cleanup.policy=[compact,delete], b=2", &[("cleanup.policy", "compact,delete"), ("b", "2")]);
        check("a=", &[("a", "")]);
        assert!(parse_added("a").is_err());
    }

    #[test]
    fn an_entity_has_one_name_in_either_form() {
        let check = |line: &str, expected: Option<(&str, Option<&str>)>| {
            let found = entity(&options(line)).ok();
            let found = found.as_ref().map(|entity| (entity.kind.as_str(), entity.name.as_deref()));
            assert_eq!(found, expected, "{line}");
        };
        check("--describe --entity-type topics --entity-name t", Some(("topics", Some("t"))));
        check("--describe --topic t", Some(("topics", Some("t"))));
        check("--describe --entity-type brokers --entity-default", Some(("brokers", None)));
        check("--describe", None);
        check("--describe --topic t --broker 0", None);
    }
}
