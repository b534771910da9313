//! Bytes to messages and back: Kafka's frames, headers, messages and record formats, and ZooKeeper's jute records.
//!
//! Nothing here opens a socket or a file or reads a clock, and no input, however hostile, makes it panic or allocate more than the input pays for.
//!
//! # Layout
//! - [`types`]: the vocabulary all crates share
//! - [`zookeeper`]: jute records of the ZooKeeper protocol
//! - [`records`]: record batches and the older message sets

pub mod records;
pub mod types;
pub mod zookeeper;
