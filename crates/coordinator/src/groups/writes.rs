//! Writes under way: what each of them was for.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::error::ErrorCode;
use protocol::messages::offset_commit::OffsetCommitResponse;
use protocol::messages::offset_delete::OffsetDeleteResponse;

use crate::config::WRITES_MAX;
use crate::event::{Effect, OffsetsRecord, Token, WriteId};
use crate::group::Context;
use crate::member::{Member, Waiter};
use crate::record::OffsetValue;

/// What a write was for.
#[derive(Debug)]
pub(crate) enum Pending {
    /// The leader's assignment.
    Assignment { group: Arc<str>, generation: i32, assignment: BTreeMap<Arc<str>, Bytes> },
    /// The new id of a static member.
    StaticRejoin { group: Arc<str>, rejoin: StaticRejoin },
    /// A generation without members.
    EmptyGroup { group: Arc<str> },
    /// Offsets.
    Commit(Commit),
    /// Tombstones.
    Removal(Removal),
}

/// A static member that started anew.
#[derive(Debug)]
pub(crate) struct StaticRejoin {
    pub(crate) generation: i32,
    pub(crate) old_id: Arc<str>,
    pub(crate) new_id: Arc<str>,
    /// As it was, should the write fail.
    pub(crate) before: Box<Member>,
    pub(crate) waiter: Waiter,
    pub(crate) leader_before: Option<Arc<str>>,
}

/// Offsets on their way into the log.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) group: Arc<str>,
    pub(crate) token: Token,
    pub(crate) offsets: Vec<(Arc<str>, i32, OffsetValue)>,
    /// The answer; the partitions of `offsets` still stand in it as successes.
    pub(crate) response: OffsetCommitResponse,
}

/// Tombstones on their way into the log.
#[derive(Debug)]
pub(crate) struct Removal {
    pub(crate) group: Arc<str>,
    pub(crate) offsets: Vec<(Arc<str>, i32)>,
    /// The group goes too.
    pub(crate) whole_group: bool,
    pub(crate) asked_by: Option<AskedBy>,
}

/// Who waits for a removal.
#[derive(Debug)]
pub(crate) enum AskedBy {
    /// A DeleteGroups.
    DeleteGroup(Token),
    /// An OffsetDelete, with what it is answered if all goes well.
    OffsetDelete(Token, OffsetDeleteResponse),
}

/// All writes under way.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    last: u64,
    pending: BTreeMap<WriteId, Pending>,
}

impl Writes {
    /// Whether no further commit should begin.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= WRITES_MAX
    }

    pub(crate) fn begin(&mut self, records: Vec<OffsetsRecord>, pending: Pending, effects: &mut Vec<Effect>) {
        self.last += 1;
        let id = WriteId(self.last);
        self.pending.insert(id, pending);
        effects.push(Effect::Write { id, records });
    }

    pub(crate) fn take(&mut self, id: WriteId) -> Option<Pending> {
        self.pending.remove(&id)
    }

    pub(crate) fn take_all(&mut self) -> Vec<Pending> {
        std::mem::take(&mut self.pending).into_values().collect()
    }
}

impl Context<'_> {
    pub(crate) fn write(&mut self, records: Vec<OffsetsRecord>, pending: Pending) {
        self.writes.begin(records, pending, self.effects);
    }
}

/// What members are told when the log refuses a group's record (Kafka's `storeGroup`).
pub(crate) fn group_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::KAFKA_STORAGE_ERROR => ErrorCode::NOT_COORDINATOR,
        ErrorCode::REQUEST_TIMED_OUT => ErrorCode::REBALANCE_IN_PROGRESS,
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE | ErrorCode::INVALID_FETCH_SIZE => {
            ErrorCode::UNKNOWN_SERVER_ERROR
        }
        other => other,
    }
}

/// What clients are told when the log refuses their offsets (Kafka's `maybeConvertOffsetCommitError`).
pub(crate) fn offset_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::KAFKA_STORAGE_ERROR => ErrorCode::NOT_COORDINATOR,
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE | ErrorCode::INVALID_FETCH_SIZE => {
            ErrorCode::INVALID_COMMIT_OFFSET_SIZE
        }
        other => other,
    }
}
