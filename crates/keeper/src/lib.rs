//! A ZooKeeper-compatible server: what Kafka, kazoo and Curator say to ZooKeeper 3.8, this answers.
//!
//! One server, no ensemble. A tree of znodes in memory, a write-ahead log and snapshots on disk, sessions, watches, and the four-letter words. Two threads: one runs the sockets
//! and the *owner*, the one task that has the tree; the other writes and syncs the log.
//!
//! # Layout
//! - `config`: `zookeeper.properties`
//! - `server`: `Keeper`, starting and stopping
//! - `connection`, `outbox`: one client's socket; `request`: its frames taken apart
//! - `owner`: the loop: turns, group commit, snapshots; `log_thread`: its way to the disk; `processor`: what each message does; `prepare`: whether a write may be done; `acl`: who may
//! - `tree`: the znodes; `session`: who is there; `watch`: who wants to know
//! - `txn`: what a write did; `wal`: the log; `snapshot`: the whole; `recovery`: from disk to state
//! - `four_letter`, `stats`, `status`: how it is doing
//! - `error`: [`KeeperError`]; `simulated`: the owner without a machine around it
//!
//! # Invariants
//! - Nobody hears of a write, by reply, event or read, before it is on disk.
//! - Each zxid has one transaction in the log, failed writes included.
//! - Bytes of clients and of the disk never panic this crate; the disk's errors end it, but for a full disk, which ends writes until there is room.
//!
//! # Example
//! ```no_run
//! # use tidemill_keeper as keeper;
//! # async fn run() -> Result<(), keeper::KeeperError> {
//! let keeper = keeper::Keeper::start(keeper::KeeperConfig::new("data/keeper"))?;
//! println!("zookeeper.connect={}", keeper.local_addr());
//! keeper.shutdown().await
//! # }
//! ```

pub mod config;
pub mod error;
pub mod server;
pub mod simulated;
pub mod status;

mod acl;
mod connection;
mod four_letter;
mod log_thread;
mod outbox;
mod owner;
mod prepare;
mod processor;
mod recovery;
mod request;
mod session;
mod snapshot;
mod stats;
mod tree;
mod txn;
mod wal;
mod watch;

pub use config::KeeperConfig;
pub use error::KeeperError;
pub use server::{Keeper, LOCK_FILE};
pub use status::{KeeperMonitor, KeeperStatus};
