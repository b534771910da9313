//! What can go wrong with a ZooKeeper consumer.

use std::time::Duration;

use crate::kafka::ClientError;
use crate::zookeeper::ZkError;

/// The error of ZooKeeper consumers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConsumerError {
    /// ZooKeeper failed.
    #[error(transparent)]
    Zookeeper(#[from] ZkError),
    /// A broker failed.
    #[error(transparent)]
    Kafka(#[from] ClientError),
    /// A configuration that cannot be used.
    #[error("Invalid value {value} for configuration {name}: {why}")]
    BadConfig {
        /// Kafka's name of it.
        name: String,
        /// What was given.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The partitions could not be shared out: other members did not let go of theirs, or ZooKeeper kept failing.
    #[error("{consumer} can't rebalance after {retries} retries")]
    RebalanceFailed {
        /// The member.
        consumer: String,
        /// `rebalance.max.retries`.
        retries: u32,
        /// What the last attempt met.
        last: String,
    },
    /// Another live member has this member's id (`consumer.id`).
    #[error("a consumer is already registered on the path {path}")]
    AlreadyRegistered {
        /// The other's registration.
        path: String,
    },
    /// No record came for `consumer.timeout.ms`.
    #[error("no record came for {} ms (consumer.timeout.ms)", .waited.as_millis())]
    ConsumerTimeout {
        /// How long was waited.
        waited: Duration,
    },
    /// The consumer is closed.
    #[error("the consumer is closed")]
    Closed,
}

impl ConsumerError {
    /// What lies behind the text, for a `cause:` line.
    pub fn cause(&self) -> Option<String> {
        match self {
            ConsumerError::Kafka(error) => error.cause(),
            ConsumerError::RebalanceFailed { last, .. } => Some(last.clone()),
            ConsumerError::AlreadyRegistered { .. } => {
                Some("it has the same consumer.id, or this one was restarted before its old session expired".to_owned())
            }
            _ => None,
        }
    }

    /// One sentence that says what to do next, for a `help:` line.
    pub fn help(&self) -> Option<String> {
        let sentence = match self {
            ConsumerError::Kafka(error) => return error.help(),
            ConsumerError::Zookeeper(ZkError::ConnectTimeout { .. }) => {
                "check that ZooKeeper is running at that address: bin/zookeeper-server-start.sh config/zookeeper.properties"
            }
            ConsumerError::RebalanceFailed { .. } => {
                "let rebalance.backoff.ms times rebalance.max.retries be longer than zookeeper.session.timeout.ms"
            }
            ConsumerError::AlreadyRegistered { .. } => {
                "give each consumer of the group a consumer.id of its own, or none"
            }
            _ => return None,
        };
        Some(sentence.to_owned())
    }
}
