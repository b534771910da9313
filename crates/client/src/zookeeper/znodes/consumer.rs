//! ZooKeeper consumers: `/consumers/G/ids/C` and `/consumers/G/owners/T/P`. Offsets are plain numbers ([`super::parse_number`]).

use std::fmt;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Object, bad, int, object, text, to_bytes};
use crate::zookeeper::ZkError;

/// How a consumer chooses its topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionPattern {
    /// By name.
    Static,
    /// Those a regular expression matches.
    WhiteList,
    /// Those it does not match.
    BlackList,
}

impl SubscriptionPattern {
    fn as_str(self) -> &'static str {
        match self {
            SubscriptionPattern::Static => "static",
            SubscriptionPattern::WhiteList => "white_list",
            SubscriptionPattern::BlackList => "black_list",
        }
    }
}

/// What a member of a group says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerRegistration {
    /// How its topics are chosen.
    pub pattern: SubscriptionPattern,
    /// Topics and the number of its threads for each; for a pattern, one entry with the regular expression.
    pub subscription: Vec<(String, i32)>,
    /// When it registered, milliseconds since 1970.
    pub timestamp_ms: i64,
}

impl ConsumerRegistration {
    /// Reads it.
    ///
    /// # Errors
    /// [`ZkError::BadZnode`] names the znode.
    pub fn parse(path: &str, data: &[u8]) -> Result<ConsumerRegistration, ZkError> {
        let mut node = Object::parse(path, data)?;
        let pattern = match node.need("pattern", text)?.as_str() {
            "static" => SubscriptionPattern::Static,
            "white_list" => SubscriptionPattern::WhiteList,
            "black_list" => SubscriptionPattern::BlackList,
            other => return Err(bad(path, format!("pattern '{other}' is not static, white_list or black_list"))),
        };
        let subscription = node.need("subscription", |value| {
            value.as_object()?.iter().map(|(topic, threads)| Some((topic.clone(), int(threads)?))).collect()
        })?;
        Ok(ConsumerRegistration { pattern, subscription, timestamp_ms: node.optional("timestamp", int)?.unwrap_or(-1) })
    }

    /// Version 1, keys in the order Kafka's consumer writes them.
    pub fn to_json(&self) -> Bytes {
        let subscription = self.subscription.iter().map(|(topic, threads)| (topic.clone(), Value::from(*threads)));
        to_bytes(object(json!({
            "version": 1,
            "subscription": Value::Object(subscription.collect()),
            "pattern": self.pattern.as_str(),
            "timestamp": self.timestamp_ms.to_string(),
        })))
    }
}

/// Who reads a partition: a member's thread, written `<consumer>-<thread>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerOwner {
    /// Id of the member.
    pub consumer: String,
    /// Number of its thread, from 0.
    pub thread: i32,
}

impl ConsumerOwner {
    /// Reads it.
    ///
    /// # Errors
    /// [`ZkError::BadZnode`] names the znode.
    pub fn parse(path: &str, data: &[u8]) -> Result<ConsumerOwner, ZkError> {
        let owner = std::str::from_utf8(data).ok().and_then(|text| {
            let (consumer, thread) = text.rsplit_once('-')?;
            Some(ConsumerOwner { consumer: consumer.to_owned(), thread: thread.parse().ok()? })
        });
        owner.ok_or_else(|| bad(path, "it is not <consumer>-<thread>"))
    }
}

impl fmt::Display for ConsumerOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.consumer, self.thread)
    }
}
