//! What is written in Kafka's znodes: UTF-8 JSON, nearly always (Kafka: `ZkUtils`, `ZkData`).
//!
//! What is always true: a key that is not known is ignored, or kept where the node is rewritten; data that cannot be read is an error that names the
//! znode; nothing here panics on any bytes. Written is what Kafka writes, so that Apache's tools and clients read it.
//!
//! # Layout
//! - [`broker`]: registrations of brokers, the controller, the cluster's id
//! - [`topic`]: replica assignments and partition states
//! - [`config`]: dynamic configuration and the notices of its changes
//! - [`admin`]: requests to the controller, ISR changes, producer ids
//! - [`consumer`]: members, owners and offsets of ZooKeeper consumers

pub mod admin;
pub mod broker;
pub mod config;
pub mod consumer;
pub mod topic;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::zookeeper::ZkError;

pub use admin::{IsrChange, LogDirEvent, PartitionElection, ProducerIdBlock, Reassignment};
pub use broker::{BrokerRegistration, ClusterId, Controller, Endpoint};
pub use config::{ConfigChange, EntityConfig};
pub use consumer::{ConsumerOwner, ConsumerRegistration, SubscriptionPattern};
pub use topic::{PartitionState, TopicAssignment};

/// A JSON object read from a znode, with errors that name it.
#[derive(Debug)]
struct Object<'a> {
    path: &'a str,
    map: Map<String, Value>,
}

impl<'a> Object<'a> {
    fn parse(path: &'a str, data: &[u8]) -> Result<Object<'a>, ZkError> {
        match serde_json::from_slice(data) {
            Ok(Value::Object(map)) => Ok(Object { path, map }),
            Ok(_) => Err(bad(path, "it is not a JSON object")),
            Err(error) => Err(bad(path, error)),
        }
    }

    /// Takes a key out; null counts as absent.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.map.shift_remove(key).filter(|value| !value.is_null())
    }

    fn need<T>(&mut self, key: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<T, ZkError> {
        self.optional(key, read)?.ok_or_else(|| bad(self.path, format!("key '{key}' is missing")))
    }

    fn optional<T>(&mut self, key: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<Option<T>, ZkError> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => match read(&value) {
                Some(read) => Ok(Some(read)),
                None => Err(bad(self.path, format!("key '{key}' has a value that does not belong there"))),
            },
        }
    }

    /// The keys nobody took, for nodes that are rewritten.
    fn rest(self) -> Map<String, Value> {
        self.map
    }
}

fn bad(path: &str, why: impl ToString) -> ZkError {
    ZkError::BadZnode { path: path.to_owned(), why: why.to_string() }
}

/// A number, or the text of one: Kafka has written both over the years.
fn int<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    let number = match value {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    T::try_from(number).ok()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(text).collect()
}

fn ints(value: &Value) -> Option<Vec<i32>> {
    value.as_array()?.iter().map(int).collect()
}

/// An object of texts, in its order.
fn text_map(value: &Value) -> Option<Vec<(String, String)>> {
    value.as_object()?.iter().map(|(key, value)| Some((key.clone(), text(value)?))).collect()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn text_object(pairs: &[(String, String)]) -> Value {
    Value::Object(pairs.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect())
}

fn to_bytes(value: Map<String, Value>) -> Bytes {
    Bytes::from(Value::Object(value).to_string())
}

/// A znode that holds a plain number (`/controller_epoch`, offsets).
///
/// # Errors
/// [`ZkError::BadZnode`] names the znode.
pub fn parse_number<T: std::str::FromStr>(path: &str, data: &[u8]) -> Result<T, ZkError> {
    let number = std::str::from_utf8(data).ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| bad(path, "it is not a number"))
}

#[cfg(test)]
mod tests;
