//! Dynamic configuration: `/config/<kind>/<name>`, and the notices below `/config/changes` that something in it changed.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Object, bad, int, object, text, text_map, text_object, to_bytes};
use crate::zookeeper::ZkError;

/// The overrides of one topic, client, user, broker or address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntityConfig {
    /// Key and value, in the order written.
    pub config: Vec<(String, String)>,
    /// Keys beside `config` that this version does not know.
    pub extra: Map<String, Value>,
}

impl EntityConfig {
    /// With these overrides.
    pub fn new(config: Vec<(String, String)>) -> EntityConfig {
        EntityConfig { config, extra: Map::new() }
    }

    /// Value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.config.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Reads it. No data at all is no override, as Kafka has it.
    ///
    /// # Errors
    /// [`ZkError::BadZnode`] names the znode.
    pub fn parse(path: &str, data: &[u8]) -> Result<EntityConfig, ZkError> {
        if data.is_empty() {
            return Ok(EntityConfig::default());
        }
        let mut node = Object::parse(path, data)?;
        let version = node.need("version", int::<i32>)?;
        if version != 1 {
            return Err(bad(path, format!("version {version} is not known, only 1 is")));
        }
        let config = node.need("config", text_map)?;
        Ok(EntityConfig { config, extra: node.rest() })
    }

    /// Version 1, also where there is no override.
    pub fn to_json(&self) -> Bytes {
        let mut node = object(json!({ "version": 1, "config": text_object(&self.config) }));
        node.extend(self.extra.clone());
        to_bytes(node)
    }
}

/// A notice below `/config/changes`: the configuration of this entity changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// Path of the entity below `/config`: `topics/T`, `users/U/clients/C`, `brokers/<default>`.
    pub entity_path: String,
}

impl ConfigChange {
    /// A topic's configuration changed.
    pub fn topic(topic: &str) -> ConfigChange {
        ConfigChange { entity_path: format!("topics/{topic}") }
    }

    /// Kind and name, where it is no deeper than that.
    pub fn entity(&self) -> Option<(&str, &str)> {
        self.entity_path.split_once('/').filter(|(_, name)| !name.contains('/'))
    }

    /// Reads all three forms there have been: a topic's name (0.8), a kind and a name (0.9), a path (0.10.1).
    ///
    /// # Errors
    /// [`ZkError::BadZnode`] names the znode.
    pub fn parse(path: &str, data: &[u8]) -> Result<ConfigChange, ZkError> {
        if let Ok(Value::String(topic)) = serde_json::from_slice(data) {
            return Ok(ConfigChange::topic(&topic));
        }
        let mut node = Object::parse(path, data)?;
        match node.need("version", int::<i32>)? {
            1 => {
                let (kind, name) = (node.need("entity_type", text)?, node.need("entity_name", text)?);
                Ok(ConfigChange { entity_path: format!("{kind}/{name}") })
            }
            2 => Ok(ConfigChange { entity_path: node.need("entity_path", text)? }),
            other => Err(bad(path, format!("version {other} is not known, only 1 and 2 are"))),
        }
    }

    /// The newest form, version 2.
    pub fn to_json(&self) -> Bytes {
        to_bytes(object(json!({ "version": 2, "entity_path": self.entity_path })))
    }
}
