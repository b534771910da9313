//! The rules of replication, as functions of (state, event, now) that return effects: who leads a partition, which replicas are in sync, what is committed,
//! what may be acknowledged, where a follower must cut its log, and who becomes leader next.
//!
//! Nothing here performs I/O or reads a clock. The broker feeds events in (an append, a follower's fetch, a flush, a changed znode, a tick) and carries effects
//! out; the controller asks the election functions. What must always be true is asserted where it could break:
//! - the high watermark never falls within a leader epoch, and lies at or below the log end of every in-sync replica that is known;
//! - a leader never counts on a smaller ISR than the one the metadata store has accepted;
//! - an offset answered with success is on every in-sync replica;
//! - epochs and their start offsets rise together.
//!
//! # Layout
//! - [`state`]: what a partition's state znode says, and which brokers live
//! - [`effect`]: what the broker is asked to do
//! - [`partition`]: one replica of a partition: roles, high watermark, acknowledgements
//! - [`leader`]: what only a leader keeps: its followers and its ISR with the change in flight
//! - [`epochs`]: leader epochs and their start offsets, truncation by epoch
//! - [`election`]: the controller's rules: clean, preferred and unclean elections, eligible leader replicas
//! - [`error`]: refusals and the codes they travel as

pub mod effect;
pub mod election;
pub mod epochs;
pub mod error;
pub mod leader;
pub mod partition;
pub mod state;

pub use effect::{Effect, Effects, IsrProposal, IsrUpdate};
pub use epochs::{EpochCache, EpochEnd, Truncation};
pub use error::ReplicationError;
pub use partition::{AckState, FlushBeforeAck, FollowerFetch, OpenedLog, Partition, PartitionConfig, Role};
pub use state::{BrokerEpoch, LeaderAndIsr, LeaderRecoveryState, LiveBrokers};
