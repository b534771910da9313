//! Kafka clients: producer, consumers and admin, on one pipelined connection per broker.
//!
//! They speak to every broker from 0.8.2 on: a broker says which versions it understands, and one too old to say so is spoken to by the table
//! of its release. Everything is async on the tokio runtime it is called from; every wait has a limit with Kafka's own name.
//!
//! # Layout
//! - [`error`]: what can go wrong, in Kafka's words, with cause and help
//! - [`config`]: what can be told, under Kafka's names
//! - [`versions`]: which version of each request a broker understands
//! - [`connection`]: one connection, pipelined and bounded
//! - [`cluster`]: metadata, leaders, a connection to any broker
//! - [`producer`]: batches per partition, retries, idempotence
//! - [`consumer`]: assigned partitions, groups, offsets
//! - [`admin`]: topics, configurations, groups, records
//! - [`similar`]: what was probably meant by a name that is not there
//!
//! # Invariants
//! - No bytes from a broker make it panic or allocate more than a configured limit.
//! - Nothing that may have taken effect is repeated, unless the protocol makes the repetition harmless or the caller asked for it.

pub mod admin;
mod backoff;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod consumer;
pub mod error;
#[cfg(test)]
mod fake_broker;
pub mod producer;
pub mod similar;
pub mod versions;

pub use admin::{Admin, NewTopic};
pub use cluster::{Cluster, CoordinatorKind, Lane, Metadata, Node, PartitionMetadata, PrivateLane, TopicMetadata};
pub use config::{
    Acks, ClientConfig, ConsumerConfig, HostPort, IsolationLevel, OffsetReset, ProducerConfig, Strategy, parse_servers,
};
pub use connection::{Connection, ask_once};
pub use consumer::{BlockRecords, Consumer, FetchedBlock, GroupConsumer, OffsetSpec, RangeReader};
pub use error::{ClientError, EXAMPLE_SERVERS, Result};
pub use producer::{Delivery, Producer, ProducerRecord, RecordMetadata};
pub use versions::{ApiVersions, OldBroker};
