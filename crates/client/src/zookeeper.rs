//! ZooKeeper from the client's side: a session, and Kafka's tree of znodes as it is seen through one.
//!
//! The session speaks to any server of the protocol: ours, Apache's 3.4 to 3.9, an ensemble of them. It is pipelined, bounded and honest: an operation
//! whose outcome is not known fails with [`ZkError::ConnectionLoss`] and is never repeated behind the caller's back.
//!
//! # Layout
//! - [`connect_string`]: the text `h1:2181,h2:2181/chroot`
//! - [`error`]: the one error of all this
//! - [`session`]: [`Session`], what callers hold: operations, watches, states
//! - `driver`: the task behind a session; owns the connection and the order of everything on it
//! - `handshake`: opens one connection, asks a server whether it knows an operation
//! - [`watches`]: one-shot and persistent watches, re-armed on every reconnect
//! - [`paths`]: the path of every znode Kafka keeps
//! - [`znodes`]: what is written in them

pub mod connect_string;
mod driver;
pub mod error;
mod handshake;
pub mod paths;
pub mod session;
pub mod watches;
pub mod znodes;

pub use connect_string::ConnectString;
pub use error::ZkError;
pub use protocol::zookeeper::{Acl, AddWatchMode, CreateMode, ErrorCode, EventType, Id, MultiOp, MultiResult, Stat};
pub use session::{Session, SessionConfig, SessionState, SessionStatus};
pub use watches::{PersistentWatch, Watch, WatchNotice, WatchedEvent};
