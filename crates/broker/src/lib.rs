//! The Kafka-compatible broker: sockets, one handler per API, and the managers behind them. It keeps its metadata in ZooKeeper's tree as Kafka does, and knows nothing of
//! who serves that tree.
//!
//! # Layout
//! - [`broker`]: starting and stopping; [`error`]: why it does not start
//! - [`config`]: `server.properties`, listeners, topic configuration
//! - [`network`]: sockets to frames, answers to sockets
//! - [`handlers`]: one file per API
//! - [`state`]: what all parts share; [`metrics`]: what is counted
//! - [`monitor`], [`status`]: a look from outside; [`loggers`]: how much the log says
//! - [`metadata`]: the image of the cluster
//! - [`replica_manager`]: the partitions held here; [`replica_fetcher`]: what is copied from their leaders
//! - [`group_coordinator`]: consumer groups and their offsets
//! - [`fetch_sessions`], [`producer_ids`]: what is remembered for consumers and producers
//! - [`housekeeping`]: the work of time
//! - [`control`]: the task that keeps the image current, on a thread of its own ([`control_thread`]); [`controller`]: electing leaders; [`registration`]: joining the cluster

pub mod broker;
pub mod config;
pub mod control;
pub mod control_thread;
pub mod controller;
pub mod error;
pub mod fetch_sessions;
pub mod group_coordinator;
pub mod handlers;
pub mod housekeeping;
pub mod loggers;
pub mod metadata;
pub mod metrics;
pub mod monitor;
pub mod network;
pub mod producer_ids;
pub mod registration;
pub mod replica_fetcher;
pub mod replica_manager;
pub mod state;
pub mod status;

pub use broker::{Broker, Machine, Surroundings};
pub use config::BrokerConfig;
pub use error::BrokerError;
pub use loggers::Loggers;
pub use monitor::{Monitor, Phase};
pub use status::Status;
