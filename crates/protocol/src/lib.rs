//! Bytes to messages and back: Kafka's frames, headers, messages and record formats, and ZooKeeper's jute records.
//!
//! Nothing here opens a socket or a file or reads a clock, and no input, however hostile, makes it panic or allocate more than the input pays for.
//!
//! # Layout
//! - [`types`]: the vocabulary all crates share
//! - [`wire`]: Kafka's primitive types, read from and written to frames
//! - [`api`]: API keys and the headers of requests and responses
//! - [`messages`]: one table per API, with all its versions
//! - [`frame`]: size, header and message together
//! - [`error`]: Kafka's error codes
//! - [`records`]: record batches and the older message sets
//! - [`zookeeper`]: jute records of the ZooKeeper protocol
//! - [`strangers`]: what bytes look like that are neither
//! - [`spelling`]: what a misspelt name may have meant

pub mod api;
pub mod error;
pub mod frame;
pub mod messages;
pub mod records;
pub mod spelling;
pub mod strangers;
pub mod types;
pub mod wire;
pub mod zookeeper;
