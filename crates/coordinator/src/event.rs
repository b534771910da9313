//! What comes in besides requests, and what comes out.

use bytes::Bytes;
use protocol::error::ErrorCode;
use protocol::messages::join_group::JoinGroupResponse;
use protocol::messages::offset_commit::OffsetCommitResponse;
use protocol::messages::offset_delete::OffsetDeleteResponse;
use protocol::messages::sync_group::SyncGroupResponse;

/// Names a request that waits for its answer. The caller chooses it and never uses one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Names records that are to be written; the caller reports with it how that went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// The time of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds of a clock that never steps: deadlines are counted on it.
    pub monotonic_ms: i64,
    /// Milliseconds since 1970: what records carry, and what retention is counted on.
    pub wall_ms: i64,
}

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// The name it gives itself.
    pub id: String,
    /// Its address as group descriptions show it: `/127.0.0.1`.
    pub host: String,
    /// Makes its member id unique, should it be given one: random, and another one with every request.
    pub id_suffix: String,
}

/// A record of `__consumer_offsets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetsRecord {
    /// Encoded [`crate::record::Key`].
    pub key: Bytes,
    /// Encoded value; none removes what the key names.
    pub value: Option<Bytes>,
}

/// What the caller has to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Answer a request.
    Reply {
        /// The request.
        token: Token,
        /// Its answer.
        response: Response,
    },
    /// Append records to the partition, then call [`crate::Groups::on_written`]. Writes are to reach the log in the order in which they come out.
    Write {
        /// Names the write in the report.
        id: WriteId,
        /// Never empty.
        records: Vec<OffsetsRecord>,
    },
    /// Tell the operator.
    Notice(String),
}

/// An answer to a request that had to wait.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// To a JoinGroup.
    JoinGroup(JoinGroupResponse),
    /// To a SyncGroup.
    SyncGroup(SyncGroupResponse),
    /// To an OffsetCommit.
    OffsetCommit(OffsetCommitResponse),
    /// To one group of a DeleteGroups.
    DeleteGroup(ErrorCode),
    /// To an OffsetDelete.
    OffsetDelete(OffsetDeleteResponse),
}
