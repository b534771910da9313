//! AlterConfigs and IncrementalAlterConfigs: settings of topics and of running brokers, replaced as a whole or key by key (KIP-133, KIP-226, KIP-339).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::zookeeper::paths;
use protocol::error::ErrorCode;
use protocol::messages::alter_configs::{AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse};
use protocol::messages::incremental_alter_configs::{
    self as incremental, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use protocol::wire::Str;

use super::describe_configs::{BROKER, BROKER_LOGGER, TOPIC, check_broker};
use super::refused::{Refused, tree_error};
use super::{RequestContext, broker_loggers};
use crate::config::key::{Kind, Update, split_list};
use crate::config::{broker_keys, dynamic, topic};
use crate::controller::topics::configure;
use crate::metadata::Image;
use crate::state::BrokerState;

pub(super) const SET: i8 = 0;
pub(super) const DELETE: i8 = 1;
pub(super) const APPEND: i8 = 2;
pub(super) const SUBTRACT: i8 = 3;

/// How long a change may take to come back from ZooKeeper; the answer goes out then all the same, for the change is written.
const SHOWN_LIMIT: Duration = Duration::from_secs(5);

/// Replaces all settings of each resource.
pub async fn handle(
    broker: Arc<BrokerState>,
    _context: RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let pairs: Result<BTreeMap<String, String>, Refused> = resource
            .configs
            .iter()
            .map(|config| match &config.value {
                Some(value) => Ok((config.name.to_string(), value.to_string())),
                None => Err((ErrorCode::INVALID_REQUEST, format!("Null value not supported for : {}", &*config.name))),
            })
            .collect();
        let altered = match pairs {
            Ok(pairs) => {
                alter(&broker, resource.resource_type, &resource.resource_name, request.validate_only, |_| Ok(pairs))
                    .await
            }
            Err(refused) => Err(refused),
        };
        let (code, message) = outcome(altered);
        responses.push(AlterConfigsResourceResponse {
            error_code: code.0,
            error_message: message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        });
    }
    AlterConfigsResponse { responses, ..Default::default() }
}

/// Changes settings key by key.
pub async fn handle_incremental(
    broker: Arc<BrokerState>,
    _context: RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let (kind, name) = (resource.resource_type, &resource.resource_name);
        let altered = if kind == BROKER_LOGGER {
            broker_loggers::alter(&broker, name, &resource.configs, request.validate_only)
        } else {
            let change = |current: &BTreeMap<String, String>| apply(&broker, current, &resource.configs);
            alter(&broker, kind, name, request.validate_only, change).await
        };
        let (code, message) = outcome(altered);
        responses.push(incremental::AlterConfigsResourceResponse {
            error_code: code.0,
            error_message: message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        });
    }
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

fn outcome(altered: Result<(), Refused>) -> (ErrorCode, Option<Str>) {
    match altered {
        Ok(()) => (ErrorCode::NONE, None),
        Err((code, message)) => (code, Some(Str::from(message))),
    }
}

async fn alter(
    broker: &BrokerState,
    resource_type: i8,
    name: &str,
    validate_only: bool,
    change: impl FnOnce(&BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Refused>,
) -> Result<(), Refused> {
    match resource_type {
        TOPIC => {}
        BROKER => return alter_broker(broker, name, validate_only, change).await,
        BROKER_LOGGER => {
            let text = "AlterConfigs is deprecated and does not support the resource type BROKER_LOGGER";
            return Err((ErrorCode::INVALID_REQUEST, text.to_owned()));
        }
        other => {
            return Err((
                ErrorCode::INVALID_REQUEST,
                format!("AlterConfigs is only supported for topics and brokers, but resource type is {other}"),
            ));
        }
    }
    let image = broker.metadata.image();
    let topic = image
        .topic(name)
        .ok_or_else(|| (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("The topic '{name}' does not exist.")))?;
    let changed = change(&topic.overrides)?;
    // What was set before is not asked about again: an old tool may have set what a client could not.
    let new: BTreeMap<String, String> = changed
        .iter()
        .filter(|(key, value)| topic.overrides.get(*key) != Some(value))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    topic::validate(&new).map_err(|why| (ErrorCode::INVALID_CONFIG, why.0))?;
    if validate_only {
        return Ok(());
    }
    write(broker, &paths::topic_config(name), &changed, |image| {
        image.topic(name).is_none_or(|topic| *topic.overrides == changed)
    })
    .await
}

/// Changes what is set on a broker, or, without a name, on all.
async fn alter_broker(
    broker: &BrokerState,
    name: &str,
    validate_only: bool,
    change: impl FnOnce(&BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Refused>,
) -> Result<(), Refused> {
    let whose = match name {
        "" => None,
        name => {
            check_broker(broker, name)?;
            Some(broker.id)
        }
    };
    let overrides = |image: &Image| image.broker_overrides.get(&whose).cloned().unwrap_or_default();
    let current = overrides(&broker.metadata.image());
    let changed = change(&current)?;
    for (key, value) in changed.iter().filter(|(key, value)| current.get(*key) != Some(value)) {
        check_dynamic(name, key, value)?;
    }
    if validate_only {
        return Ok(());
    }
    let entity = whose.map_or_else(|| paths::DEFAULT_ENTITY.to_owned(), |id| id.to_string());
    write(broker, &paths::config_entity("brokers", &entity), &changed, |image| *overrides(image) == changed).await
}

/// Whether a key can be set on a running broker, to this value.
fn check_dynamic(resource: &str, name: &str, value: &str) -> Result<(), Refused> {
    let refuse = |why: String| {
        let why = format!("Invalid config value for resource ConfigResource(type=BROKER, name='{resource}'): {why}");
        Err((ErrorCode::INVALID_REQUEST, why))
    };
    match (dynamic::find(name), broker_keys::find(name)) {
        (Some(key), _) => key.check(value).or_else(refuse),
        (None, Some(key)) if key.update != Update::ReadOnly => {
            refuse(format!("{name} cannot be changed on a running broker yet; set it in server.properties and restart"))
        }
        _ => refuse(format!("Cannot update these configs dynamically: Set({name})")),
    }
}

/// Writes overrides into the tree and waits a while until the metadata shows them.
async fn write(
    broker: &BrokerState,
    path: &str,
    overrides: &BTreeMap<String, String>,
    shows: impl Fn(&Image) -> bool,
) -> Result<(), Refused> {
    configure(&broker.zookeeper.session(), path, overrides).await.map_err(|error| tree_error(&error))?;
    let limit = broker.clock.now() + SHOWN_LIMIT;
    broker.metadata.wait_until(broker.clock, limit, shows).await;
    Ok(())
}

/// The overrides after a list of operations.
fn apply(
    broker: &BrokerState,
    current: &BTreeMap<String, String>,
    operations: &[AlterableConfig],
) -> Result<BTreeMap<String, String>, Refused> {
    let invalid = |why: String| Err((ErrorCode::INVALID_REQUEST, why));
    let mut changed = current.clone();
    let mut seen = std::collections::BTreeSet::new();
    for operation in operations {
        let name = operation.name.to_string();
        if !seen.insert(name.clone()) {
            return invalid(format!("Error due to duplicate config keys: {name}"));
        }
        if operation.config_operation == DELETE {
            changed.remove(&name);
            continue;
        }
        let Some(value) = operation.value.as_deref() else {
            return invalid(format!("Null value not supported for : {name}"));
        };
        let key = topic::find(&name);
        match operation.config_operation {
            SET => {
                changed.insert(name, value.to_owned());
            }
            APPEND | SUBTRACT => {
                let Some(key) = key.filter(|key| key.key.kind == Kind::List) else {
                    let what = if operation.config_operation == APPEND { "append" } else { "subtract" };
                    return Err((
                        ErrorCode::INVALID_CONFIG,
                        format!("Config value {what} is not allowed for config key: {name}"),
                    ));
                };
                let held = topic::effective(key, &changed, &broker.config.settings).0.unwrap_or_default();
                changed.insert(name, edit_list(&held, value, operation.config_operation == APPEND));
            }
            other => return invalid(format!("Unknown operation {other} for config key {name}")),
        }
    }
    Ok(changed)
}

fn edit_list(held: &str, value: &str, append: bool) -> String {
    let mut items = split_list(held);
    for item in split_list(value) {
        if append && !items.contains(&item) {
            items.push(item);
        } else if !append {
            items.retain(|known| *known != item);
        }
    }
    items.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_edited_item_by_item() {
        assert_eq!(edit_list("delete", "compact,delete", true), "delete,compact");
        assert_eq!(edit_list("delete,compact", "compact", false), "delete");
        assert_eq!(edit_list("", "compact", true), "compact");
    }
}
