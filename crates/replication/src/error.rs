//! Why a replica refuses a request. Each refusal has one Kafka error code, so that a handler needs no table of its own.

use protocol::error::ErrorCode;
use protocol::types::{BrokerId, LeaderEpoch, Offset};

/// What the caller did that this replica cannot follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplicationError {
    /// Only the leader may do this, and this replica is not it.
    #[error("this replica is not the leader of the partition")]
    NotLeader,
    /// The request bears an older epoch than ours: its sender missed an election.
    #[error("leader epoch {requested} is older than the current epoch {current}")]
    FencedLeaderEpoch {
        /// What the request says.
        requested: LeaderEpoch,
        /// What we know.
        current: LeaderEpoch,
    },
    /// The request bears a newer epoch than ours: we missed an election.
    #[error("leader epoch {requested} is newer than the current epoch {current}")]
    UnknownLeaderEpoch {
        /// What the request says.
        requested: LeaderEpoch,
        /// What we know.
        current: LeaderEpoch,
    },
    /// acks=all with fewer replicas in sync than `min.insync.replicas`; nothing was appended.
    #[error("the ISR has {in_sync} replicas, min.insync.replicas is {min}")]
    NotEnoughReplicas {
        /// Replicas in sync.
        in_sync: usize,
        /// Replicas needed.
        min: usize,
    },
    /// The fetching broker holds no replica of this partition.
    #[error("broker {0} is not a replica of the partition")]
    UnknownReplica(BrokerId),
    /// The fetch comes from an earlier life of that broker (KIP-903).
    #[error("broker {replica} fetches with broker epoch {requested}, it is registered with {registered}")]
    StaleBrokerEpoch {
        /// The fetching broker.
        replica: BrokerId,
        /// What the request says.
        requested: i64,
        /// What its registration says.
        registered: i64,
    },
    /// A follower asks for more than there is: its log is not a prefix of ours.
    #[error("offset {offset} lies beyond the log end {log_end}")]
    OffsetBeyondLogEnd {
        /// What it asks for.
        offset: Offset,
        /// Where our log ends.
        log_end: Offset,
    },
}

impl ReplicationError {
    /// The code Kafka answers.
    #[must_use]
    pub fn error_code(&self) -> ErrorCode {
        match self {
            ReplicationError::NotLeader | ReplicationError::UnknownReplica(_) => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ReplicationError::FencedLeaderEpoch { .. } => ErrorCode::FENCED_LEADER_EPOCH,
            ReplicationError::UnknownLeaderEpoch { .. } => ErrorCode::UNKNOWN_LEADER_EPOCH,
            ReplicationError::NotEnoughReplicas { .. } => ErrorCode::NOT_ENOUGH_REPLICAS,
            ReplicationError::StaleBrokerEpoch { .. } => ErrorCode::STALE_BROKER_EPOCH,
            ReplicationError::OffsetBeyondLogEnd { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        }
    }
}
