//! Talks to Kafka brokers and to ZooKeeper servers, as every part of this project that is not a server does.
//!
//! # Layout
//! - [`kafka`]: connection, cluster metadata, producer, consumers, admin
//! - [`zookeeper`]: a session, and Kafka's znodes
//! - [`zookeeper_consumer`]: groups that share partitions out in ZooKeeper, as Kafka 0.8's consumers do
//! - [`probe`]: what answers at an address where neither came about
//!
//! # Invariants
//! - Every wait has a limit that can be named, every buffer a size that can be told.
//! - No bytes from a server make it panic.

pub mod kafka;
pub mod probe;
pub mod zookeeper;
pub mod zookeeper_consumer;
