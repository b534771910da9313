//! The ZooKeeper consumer, "high-level consumer" to Kafka 0.8: the members of a group find each other in ZooKeeper and share partitions out there. It
//! is what `kafka-console-consumer.sh --zookeeper` and Spark's `createStream` are.
//!
//! What is always true: a partition is read by the one member whose ephemeral node says so; what was handed to the caller is committed only after the
//! caller came back for more, or said so itself: at least once, never at most. Kafka's own consumers may be members of the same group.
//!
//! # Layout
//! - [`config`]: what can be told, under Kafka 0.8's names
//! - [`subscription`]: topics by name or by regular expression
//! - [`assignment`]: who reads what, as plain functions: range and roundrobin
//! - [`consumer`]: [`ZookeeperConsumer`], what callers hold
//! - `membership`: the task behind it: session, registration, rebalance, automatic commits
//! - `offsets`: where offsets are kept: ZooKeeper, Kafka, or both
//! - [`group`]: what a tool asks of a whole group
//! - [`error`]: what can go wrong

pub mod assignment;
pub mod config;
pub mod consumer;
pub mod error;
pub mod group;
mod membership;
mod offsets;
pub mod subscription;

pub use config::{AssignmentStrategy, OffsetsStorage, ZookeeperConsumerConfig};
pub use consumer::{Polled, ZookeeperConsumer};
pub use error::ConsumerError;
pub use subscription::{Subscription, TopicFilter};
