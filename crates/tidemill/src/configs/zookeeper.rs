//! The `--zookeeper` form: Kafka's znodes read and written directly, in the words of 0.9.0.1.

use client::zookeeper::znodes::{ConfigChange, EntityConfig};
use client::zookeeper::{CreateMode, Session, paths};
use protocol::spelling;

use super::{Entity, Options};
use crate::connect;
use crate::failure::{EXAMPLE_ZOOKEEPER, Failure};
use crate::properties::Pairs;

/// What can be set for a topic (Kafka 3.9: `TopicConfig`, `LogConfig`).
const TOPIC_CONFIGS: &[&str] = &[
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.downconversion.enable",
    "message.format.version",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// What can be set for a client (0.9: quotas).
const CLIENT_CONFIGS: &[&str] = &["producer_byte_rate", "consumer_byte_rate"];

/// Runs the one action of the options.
pub async fn run(options: &Options, entity: &Entity, added: &Pairs, hosts: &str) -> Result<(), Failure> {
    let known = match entity.kind.as_str() {
        "topics" => TOPIC_CONFIGS,
        "clients" => CLIENT_CONFIGS,
        other => {
            return Err(Failure::misuse(format!("--entity-type must be 'topics' or 'clients', not {other}"))
                .cause("other entities are known to the brokers alone: --bootstrap-server"));
        }
    };
    if let Some((name, _)) = added.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        let failure = Failure::misuse(format!(
            "Error while executing topic command requirement failed: Unknown configuration \"{name}\"."
        ));
        return Err(match spelling::nearest(name, known.iter().copied()) {
            Some(near) => failure.cause(format!("did you mean {near}?")),
            None => failure,
        });
    }
    let session = connect::zookeeper(hosts).await?;
    let done = match (&entity.name, options.alter) {
        (Some(name), true) => alter(&session, options, &entity.kind, name, added).await,
        _ => describe(&session, entity).await,
    };
    session.close().await;
    done
}

async fn alter(session: &Session, options: &Options, kind: &str, name: &str, added: &Pairs) -> Result<(), Failure> {
    if kind == "topics" && session.exists(&paths::topic(name)).await?.is_none() {
        let all = session.get_children(paths::BROKER_TOPICS).await.unwrap_or_default();
        let failure =
            Failure::verbatim(format!("Error while executing topic command Topic \"{name}\" does not exist."))
                .help(format!("bin/kafka-topics.sh --list --zookeeper {EXAMPLE_ZOOKEEPER}"));
        return Err(match spelling::nearest(name, all.iter().map(String::as_str)) {
            Some(near) => failure.cause(format!("did you mean \"{near}\"?")),
            None => failure,
        });
    }
    let path = paths::config_entity(kind, name);
    let mut config = read(session, &path).await?;
    config.retain(|(key, _)| !options.delete_config.contains(key) && !added.iter().any(|(name, _)| name == key));
    config.extend(added.iter().cloned());
    let data = EntityConfig::new(config).to_json();
    match session.set_data(&path, data.clone(), -1).await {
        Err(error) if error.is_no_node() => {
            session.create_recursive(&path, data, CreateMode::Persistent).await?;
        }
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    // The brokers look at the znode when this notice comes.
    let notice = ConfigChange { entity_path: format!("{kind}/{name}") }.to_json();
    session.create_recursive(&paths::config_change(), notice, CreateMode::PersistentSequential).await?;
    let what = if kind == "topics" { "topic" } else { "clientId" };
    println!("Updated config for {what}: \"{name}\".");
    Ok(())
}

async fn describe(session: &Session, entity: &Entity) -> Result<(), Failure> {
    let kind = &entity.kind;
    let names = match &entity.name {
        Some(name) => vec![name.clone()],
        None => match session.get_children(&paths::config_kind(kind)).await {
            Ok(mut names) => {
                names.sort();
                names
            }
            Err(error) if error.is_no_node() => Vec::new(),
            Err(error) => return Err(error.into()),
        },
    };
    for name in names {
        let config = read(session, &paths::config_entity(kind, &name)).await?;
        let pairs: Vec<String> = config.iter().map(|(key, value)| format!("{key}={value}")).collect();
        println!("Configs for {kind}:{name} are {}", pairs.join(","));
    }
    Ok(())
}

async fn read(session: &Session, path: &str) -> Result<Pairs, Failure> {
    match session.try_get_data(path).await? {
        Some((data, _)) => Ok(EntityConfig::parse(path, &data)?.config),
        None => Ok(Pairs::new()),
    }
}
