//! What may be logged: a transaction is made only where the log is certain to have room for it, so nothing ever has to be taken back because the disk is full.
//!
//! Where the log has no room ready, the message waits until it has made some. Where the disk has none, client writes are refused before anything is done, with an error that every
//! client knows and retries (`OperationTimeout`); what is ready then serves sessions, which go on being opened and closed as long as it lasts. A session that cannot be
//! closed for want of room lives on.

use protocol::zookeeper::Acl;

use super::{Command, Processor};
use crate::request::{Request, Write};
use crate::watch::ConnectionId;

/// Room that client writes leave for sessions: this, and no more than a sixteenth of what is written ahead.
const SESSION_ROOM_BYTES: usize = 16 << 10;

/// A transaction without its changes: record header, time, session, count.
const TXN_BYTES: usize = 64;

/// A change without its strings and data.
const OP_BYTES: usize = 64;

/// An entry of an ACL without its strings.
const ACL_BYTES: usize = 16;

/// What the log can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogRoom {
    /// Bytes of transactions that may be gathered.
    pub(crate) bytes: usize,
    /// The disk has no more.
    pub(crate) full: bool,
    /// Bytes that were wanted and not there.
    pub(crate) wanted: usize,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Its transaction will fit.
    Take,
    /// It must be refused.
    Refuse,
    /// It waits for the log to make room.
    Wait,
}

impl Processor {
    /// Whether there is room for what a message may log.
    pub(crate) fn admit(&mut self, command: &Command) -> Admission {
        let (bytes, is_write) = match command {
            Command::Connect { request, .. } if request.session_id == 0 => (TXN_BYTES + OP_BYTES, false),
            Command::Request { connection, request, .. } => match request {
                Request::Write(write) => (TXN_BYTES + self.write_bytes(*connection, write), true),
                Request::Multi(writes) => {
                    let each = writes.iter().map(|write| self.write_bytes(*connection, write));
                    (TXN_BYTES + OP_BYTES + each.sum::<usize>(), true)
                }
                Request::Reconfig | Request::DeleteContainer => (TXN_BYTES + OP_BYTES, true),
                Request::CloseSession => {
                    let session = self.connections.get(connection).map_or(0, |connection| connection.session);
                    (self.close_session_bytes(session), false)
                }
                _ => return Admission::Take,
            },
            _ => return Admission::Take,
        };
        match is_write {
            true if self.room.full => Admission::Refuse,
            true if self.has_room(bytes + self.session_room()) => Admission::Take,
            false if self.has_room(bytes) => Admission::Take,
            _ if self.room.full => Admission::Refuse,
            _ => Admission::Wait,
        }
    }

    /// Room that client writes leave for sessions.
    pub(crate) fn session_room(&self) -> usize {
        SESSION_ROOM_BYTES.min(self.config.pre_alloc_bytes as usize / 16)
    }

    /// Whether a transaction of so many bytes will fit. What is missing is noted, for the owner to ask the log for.
    pub(crate) fn has_room(&mut self, bytes: usize) -> bool {
        let wanted = self.log.bytes() + bytes;
        if wanted > self.room.bytes {
            self.room.wanted = self.room.wanted.max(wanted);
        }
        wanted <= self.room.bytes
    }

    /// Most bytes that the end of a session can take.
    pub(crate) fn close_session_bytes(&self, session: i64) -> usize {
        TXN_BYTES + OP_BYTES + self.tree.ephemerals_of(session).map(|path| path.len() + 4).sum::<usize>()
    }

    /// Most bytes that the deletion of a node can take.
    pub(crate) fn delete_bytes(path: &str) -> usize {
        TXN_BYTES + OP_BYTES + path.len()
    }

    fn write_bytes(&self, connection: ConnectionId, write: &Write) -> usize {
        OP_BYTES
            + match write {
                Write::Create { request, .. } => {
                    let data = request.data.as_ref().map_or(0, |data| data.len());
                    // A sequential node's number makes the path longer.
                    request.path.len() + 16 + data + self.acl_bytes(connection, &request.acl)
                }
                Write::Delete(request) => request.path.len(),
                Write::SetData(request) => request.path.len() + request.data.as_ref().map_or(0, |data| data.len()),
                Write::SetAcl(request) => request.path.len() + self.acl_bytes(connection, &request.acl),
                Write::Check(request) => request.path.len(),
            }
    }

    /// An entry of the scheme `auth` stands for everybody the connection has shown to be.
    fn acl_bytes(&self, connection: ConnectionId, acl: &[Acl]) -> usize {
        let of_entry = |entry: &Acl| match entry.id.scheme.as_str() {
            "auth" => {
                let ids = self.connections.get(&connection).map_or(&[][..], |connection| &connection.who.ids);
                ids.iter().map(|id| ACL_BYTES + id.scheme.len() + id.id.len()).sum()
            }
            scheme => ACL_BYTES + scheme.len() + entry.id.id.len(),
        };
        acl.iter().map(of_entry).sum()
    }
}
