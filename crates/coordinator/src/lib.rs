//! Consumer groups of the classic protocol and the offsets they commit, as pure rules: a request, a timer or a finished write goes in, answers and records to write come out.
//!
//! Nothing here opens a socket or reads a clock: the caller brings the time with every call and carries the effects out.
//!
//! # Layout
//! - [`event`]: tokens, time, and the effects that come out
//! - [`config`]: the limits a broker sets
//! - [`placement`]: which partition of `__consumer_offsets` keeps a group
//! - [`record`]: keys and values of that topic's records
//! - [`offsets`]: the offsets of one group
//! - [`member`]: one member
//! - [`timers`]: deadlines of one group
//! - [`group`]: one group: joining, rebalancing, syncing, leaving
//! - [`groups`]: all groups of one partition of `__consumer_offsets`; what the broker talks to
//! - [`replay`]: the groups that a partition's records describe
//!
//! # Invariants
//! - A generation has one leader, and only its members' commits are accepted.
//! - Whoever joins or syncs is answered: with a result, or with an error no later than its rebalance timeout and session timeout together.
//! - What was answered as stored was reported as written before.
//! - Source of the rules: Kafka 3.9's `GroupCoordinator`, `GroupMetadata` and `GroupMetadataManager`, and KIP-62, KIP-134, KIP-345, KIP-394, KIP-496, KIP-559, KIP-814.

pub mod config;
pub mod event;
pub mod group;
pub mod groups;
pub mod member;
pub mod offsets;
pub mod placement;
pub mod record;
pub mod replay;
pub mod timers;

pub use config::GroupConfig;
pub use event::{Client, Effect, Now, Response, Token, WriteId};
pub use group::State;
pub use groups::Groups;
pub use placement::partition_for;
pub use replay::Replay;
