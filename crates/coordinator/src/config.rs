//! The limits a broker sets for groups and offsets, and those that are fixed.

/// Most members of a group whatever `group.max.size` says; Kafka's own default of 2^31 - 1 is no limit.
pub const MEMBERS_MAX: usize = 50_000;
/// Most member ids of a group that were handed out and not used yet (KIP-394). More are refused with GROUP_MAX_SIZE_REACHED.
pub const PENDING_MEMBERS_MAX: usize = 10_000;
/// Most assignors one member may name; further ones are not looked at.
pub const PROTOCOLS_MAX: usize = 100;
/// Most groups of one partition of `__consumer_offsets`. New ones are refused with COORDINATOR_NOT_AVAILABLE.
pub const GROUPS_MAX: usize = 200_000;
/// Most offsets of one group. Commits that would add more are refused with INVALID_COMMIT_OFFSET_SIZE.
pub const OFFSETS_PER_GROUP_MAX: usize = 1_000_000;
/// Most transactions with open offset commits of one partition of `__consumer_offsets`; what is replayed above it is refused as damage.
pub const OPEN_TRANSACTIONS_MAX: usize = 100_000;
/// Most writes of one partition of `__consumer_offsets` that are under way. Further commits are refused with COORDINATOR_NOT_AVAILABLE.
pub const WRITES_MAX: usize = 10_000;
/// How long a new member waits in a rebalance before it is dropped (Kafka's `NewMemberJoinTimeoutMs`): its client may be long gone, and it cannot send heartbeats.
pub const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;
/// Longest part of a client id or instance id that a member id begins with, in bytes.
pub const MEMBER_ID_PREFIX_MAX: usize = 1024;

/// What a broker's configuration says of groups and offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i64,
    /// `group.max.size`
    pub max_size: usize,
    /// `offset.metadata.max.bytes`; Kafka counts UTF-16 units, whatever the name says.
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
}

impl Default for GroupConfig {
    fn default() -> GroupConfig {
        GroupConfig {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            max_size: i32::MAX as usize,
            offset_metadata_max: 4_096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1000,
        }
    }
}

impl GroupConfig {
    /// Most members a group may have.
    #[must_use]
    pub fn members_max(&self) -> usize {
        self.max_size.min(MEMBERS_MAX)
    }
}
