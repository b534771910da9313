//! The `--bootstrap-server` form: the brokers are asked, in the words of 3.9.

use client::kafka::admin::{Admin, AlterOperation, ConfigEntry, ConfigResource};
use protocol::types::BrokerId;

use super::{Entity, Options};
use crate::connect;
use crate::failure::Failure;
use crate::properties::Pairs;

/// Runs the one action of the options.
pub async fn run(options: &Options, entity: &Entity, added: &Pairs, servers: &str) -> Result<(), Failure> {
    // Refused before anything is asked.
    resource(entity)?;
    let admin = Admin::new(connect::kafka(servers, options.command_config.as_deref()).await?);
    if options.alter {
        return alter(&admin, options, entity, added).await;
    }
    for entity in entities(&admin, entity).await? {
        describe(&admin, options, &entity).await?;
    }
    Ok(())
}

/// The entity as the protocol has it.
fn resource(entity: &Entity) -> Result<ConfigResource, Failure> {
    let broker = |name: &str| {
        let wrong = |_| {
            let kind = &entity.kind;
            Failure::misuse(format!("The entity name for {kind} must be a valid integer broker id, found: {name}"))
        };
        name.parse().map(BrokerId).map_err(wrong)
    };
    let name = entity.name.clone().unwrap_or_default();
    match entity.kind.as_str() {
        "topics" => Ok(ConfigResource::Topic(name)),
        "groups" => Ok(ConfigResource::Group(name)),
        "brokers" if entity.name.is_none() => Ok(ConfigResource::Broker(None)),
        "brokers" => Ok(ConfigResource::Broker(Some(broker(&name)?))),
        "broker-loggers" => Ok(ConfigResource::BrokerLogger(broker(&name)?)),
        other => Err(super::usage(&format!(
            "Invalid entity type {other}, the entity type must be one of topics, brokers, broker-loggers, groups with the --bootstrap-server argument"
        ))),
    }
}

/// One entity, or all of the kind.
async fn entities(admin: &Admin, entity: &Entity) -> Result<Vec<Entity>, Failure> {
    if entity.name.is_some() || entity.is_default {
        return Ok(vec![entity.clone()]);
    }
    let named = |name: String| Entity { kind: entity.kind.clone(), name: Some(name), is_default: false };
    Ok(match entity.kind.as_str() {
        "topics" => admin.list_topics().await?.iter().map(|topic| named(topic.name.to_string())).collect(),
        "groups" => admin.list_groups().await?.into_iter().map(|group| named(group.group)).collect(),
        _ => {
            let nodes = admin.describe_cluster().await?.nodes;
            let mut all: Vec<Entity> = nodes.iter().map(|node| named(node.id.0.to_string())).collect();
            if entity.kind == "brokers" {
                all.push(Entity { is_default: true, ..entity.clone() });
            }
            all
        }
    })
}

async fn describe(admin: &Admin, options: &Options, entity: &Entity) -> Result<(), Failure> {
    let mut entries = admin.describe_configs(&resource(entity)?, None).await?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let singular = singular(&entity.kind);
    match &entity.name {
        None => println!("Default configs for {} in the cluster are:", entity.kind),
        Some(name) if options.all => println!("All configs for {singular} {name} are:"),
        Some(name) => println!("Dynamic configs for {singular} {name} are:"),
    }
    for entry in entries.iter().filter(|entry| options.all || entry.is_dynamic()) {
        println!("{}", line(entry));
    }
    Ok(())
}

/// `  k=v sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:k=v, DEFAULT_CONFIG:log.k=w}`
fn line(entry: &ConfigEntry) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonyms: Vec<String> = entry
        .synonyms
        .iter()
        .map(|synonym| format!("{}:{}={}", synonym.source.name(), synonym.name, value(&synonym.value)))
        .collect();
    format!(
        "  {}={} sensitive={} synonyms={{{}}}",
        entry.name,
        value(&entry.value),
        entry.is_sensitive,
        synonyms.join(", ")
    )
}

async fn alter(admin: &Admin, options: &Options, entity: &Entity, added: &Pairs) -> Result<(), Failure> {
    let resource = resource(entity)?;
    if !options.delete_config.is_empty() {
        let known = admin.describe_configs(&resource, None).await?;
        let is_set = |name: &String| known.iter().any(|entry| entry.name == *name && entry.is_dynamic());
        let unknown: Vec<&str> =
            options.delete_config.iter().filter(|name| !is_set(name)).map(String::as_str).collect();
        if !unknown.is_empty() {
            return Err(Failure::verbatim(format!("Invalid config(s): {}", unknown.join(",")))
                .cause("only what was set for it can be taken away"));
        }
    }
    let mut changes: Vec<(String, AlterOperation)> =
        added.iter().map(|(name, value)| (name.clone(), AlterOperation::Set(value.clone()))).collect();
    changes.extend(options.delete_config.iter().map(|name| (name.clone(), AlterOperation::Delete)));
    admin.incremental_alter_configs(&resource, &changes, false).await?;
    match &entity.name {
        Some(name) => println!("Completed updating config for {} {name}.", singular(&entity.kind)),
        None => println!("Completed updating default config for {} in the cluster.", entity.kind),
    }
    Ok(())
}

fn singular(kind: &str) -> &str {
    kind.strip_suffix('s').unwrap_or(kind)
}

#[cfg(test)]
mod tests {
    use client::kafka::admin::{ConfigSource, ConfigSynonym};

    use super::*;

    #[test]
    fn a_setting_reads_as_in_3_9() {
        let synonym = |source, name: &str, value: &str| ConfigSynonym {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source,
        };
        let entry = ConfigEntry {
            name: "retention.ms".to_owned(),
            value: Some("5".to_owned()),
            source: ConfigSource::DynamicTopic,
            read_only: false,
            is_sensitive: false,
            synonyms: vec![
                synonym(ConfigSource::DynamicTopic, "retention.ms", "5"),
                synonym(ConfigSource::Default, "log.retention.hours", "168"),
            ],
        };
        assert_eq!(
            line(&entry),
            "  retention.ms=5 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=5, DEFAULT_CONFIG:log.retention.hours=168}"
        );
    }

    #[test]
    fn a_brokers_name_is_its_number() {
        let entity =
            |kind: &str, name: &str| Entity { kind: kind.to_owned(), name: Some(name.to_owned()), is_default: false };
        assert_eq!(resource(&entity("brokers", "1")).ok(), Some(ConfigResource::Broker(Some(BrokerId(1)))));
        assert!(resource(&entity("brokers", "one")).is_err());
        assert!(resource(&entity("users", "a")).is_err());
    }
}
