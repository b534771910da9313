//! What the owner task does with each message: connections, sessions, requests. It decides and applies at once, and gathers replies and events per connection; when they
//! may leave is the owner's business (`owner.rs`).
//!
//! What is always true: every zxid has exactly one transaction in [`Processor::log`], in order; the events of a change stand before the reply to the request that
//! made it, and replies of one connection are in the order of its requests.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use hashbrown::HashMap;
use protocol::zookeeper::*;
use runtime::clock::Instant;
use runtime::{Clock, Random};

use crate::acl::Identity;
use crate::config::KeeperConfig;
use crate::four_letter::FourLetterWord;
use crate::outbox::{Delivery, Outbox};
use crate::prepare::{prepare, prepare_collection};
use crate::request::{Request, Write};
use crate::session::{SESSIONS_MAX, Sessions};
use crate::stats::Stats;
use crate::tree::{Change, Node, Tree, Undo};
use crate::txn::{Txn, TxnOp};
use crate::wal::LogBuffer;
use crate::watch::{ConnectionId, Event, Watches};

mod reads;
mod room;

pub(crate) use room::{Admission, LogRoom};

/// A message from an I/O task.
#[derive(Debug)]
pub(crate) enum Command {
    /// A client has connected; nothing was read yet.
    Opened { connection: ConnectionId, peer: SocketAddr, outbox: Arc<Outbox> },
    /// Its first frame.
    Connect { connection: ConnectionId, request: ConnectRequest },
    /// A later frame, and when it came.
    Request { connection: ConnectionId, header: RequestHeader, request: Request, at: Instant },
    /// Four letters instead of a first frame.
    FourLetterWord { connection: ConnectionId, word: FourLetterWord },
    /// The client is gone, or must go.
    Closed { connection: ConnectionId },
}

/// A client's connection as the owner sees it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) peer: SocketAddr,
    /// 0 until the handshake is done.
    pub(crate) session: i64,
    pub(crate) who: Identity,
    pub(crate) since_ms: i64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) last_operation: &'static str,
    /// Frames of this turn.
    out: BytesMut,
}

/// Everything the owner task owns.
pub(crate) struct Processor {
    pub(crate) config: Arc<KeeperConfig>,
    pub(crate) tree: Tree,
    pub(crate) sessions: Sessions,
    pub(crate) watches: Watches,
    /// Newest transaction.
    pub(crate) zxid: i64,
    pub(crate) connections: HashMap<ConnectionId, Connection>,
    /// Transactions that the log has not been given yet.
    pub(crate) log: LogBuffer,
    /// What the log can take of them; the owner's business.
    pub(crate) room: LogRoom,
    pub(crate) stats: Stats,
    pub(crate) started: Instant,
    clock: Clock,
    random: Random,
    /// Connections with frames in `out`.
    dirty: Vec<ConnectionId>,
    /// What leaves with this turn.
    turn: Turn,
    /// Body of the reply being made.
    body: BytesMut,
}

/// What one turn of the owner has to send once its transactions are durable.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) deliveries: Vec<Delivery>,
    /// When the requests answered in it came.
    pub(crate) requested: Vec<Instant>,
}

/// What becomes of a connection after a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Stay,
    Close,
}

/// The zxid of a reply's header where it is not that of the newest transaction, how it went, and what becomes of the connection.
type Performed = (Option<i64>, Result<(), ErrorCode>, After);

impl Processor {
    pub(crate) fn new(
        config: Arc<KeeperConfig>,
        clock: Clock,
        random: Random,
        state: crate::recovery::State,
    ) -> Processor {
        Processor {
            config,
            tree: state.tree,
            sessions: state.sessions,
            watches: Watches::default(),
            zxid: state.zxid,
            connections: HashMap::new(),
            log: LogBuffer::default(),
            room: LogRoom::default(),
            stats: Stats::default(),
            started: clock.now(),
            clock,
            random,
            dirty: Vec::new(),
            turn: Turn::default(),
            body: BytesMut::new(),
        }
    }

    /// Handles one message that was admitted.
    pub(crate) fn handle(&mut self, command: Command) {
        match command {
            Command::Opened { connection, peer, outbox } => self.opened(connection, peer, outbox),
            Command::Connect { connection, request } => self.connect(connection, request),
            Command::Request { connection, header, request, at } => {
                self.reply(connection, header, request, at, Processor::perform);
            }
            Command::FourLetterWord { connection, word } => self.four_letter_word(connection, word),
            Command::Closed { connection } => self.close(connection),
        }
    }

    /// Answers a message for which the log has no room: nothing is done. A client that comes to open a session is turned away, and comes again.
    pub(crate) fn refuse(&mut self, command: Command) {
        match command {
            Command::Request { connection, header, request, at } => {
                let ends = request == Request::CloseSession;
                self.reply(connection, header, request, at, |_, _, _, _| {
                    // The session ends by its time-out, when that can be logged.
                    let after = if ends { After::Close } else { After::Stay };
                    (None, Err(ErrorCode::OperationTimeout), after)
                });
            }
            Command::Connect { connection, .. } => self.close(connection),
            command => self.handle(command),
        }
    }

    /// Ends the turn: everything said in it, to be delivered when transaction [`Processor::zxid`] is durable.
    pub(crate) fn end_turn(&mut self) -> Turn {
        for id in std::mem::take(&mut self.dirty) {
            if let Some(connection) = self.connections.get_mut(&id)
                && !connection.out.is_empty()
            {
                let bytes = connection.out.split().freeze();
                self.turn.deliveries.push(Delivery { outbox: connection.outbox.clone(), bytes, close: false });
            }
        }
        std::mem::take(&mut self.turn)
    }

    /// Time has passed: sessions whose time is over end.
    pub(crate) fn expire_sessions(&mut self, elapsed_ms: u64) {
        for session in self.sessions.advance(elapsed_ms) {
            // Whoever cannot be declared dead lives on, and may come back.
            if !self.has_room(self.close_session_bytes(session)) {
                break;
            }
            tracing::info!("session 0x{session:x} has expired");
            self.end_session(session);
        }
    }

    /// Deletes containers that have become empty and TTL nodes whose time is over. Says whether the log had room for all of that.
    pub(crate) fn collect(&mut self) -> bool {
        for path in self.tree.to_collect(self.clock.now_ms()) {
            if self.room.full || !self.has_room(Processor::delete_bytes(&path) + self.session_room()) {
                return false;
            }
            if let Some(op) = prepare_collection(&self.tree, &path) {
                self.commit(0, vec![op]);
            }
        }
        true
    }

    /// Ends every connection: the keeper stops. Sessions live on.
    pub(crate) fn close_all(&mut self) {
        let connections: Vec<ConnectionId> = self.connections.keys().copied().collect();
        connections.into_iter().for_each(|connection| self.close(connection));
    }

    fn opened(&mut self, id: ConnectionId, peer: SocketAddr, outbox: Arc<Outbox>) {
        let connection = Connection {
            outbox,
            peer,
            session: 0,
            who: Identity::of_address(peer.ip().to_canonical(), self.config.skip_acl),
            since_ms: self.clock.now_ms(),
            received: 0,
            sent: 0,
            last_operation: "NA",
            out: BytesMut::new(),
        };
        self.connections.insert(id, connection);
    }

    fn four_letter_word(&mut self, id: ConnectionId, word: FourLetterWord) {
        let text = self.answer(word, self.clock);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.out.put_slice(text.as_bytes());
            self.dirty.push(id);
        }
        self.close(id);
    }

    /// Handshake. The password is checked before anything happens to the session's present connection: a stranger cannot cut it off.
    fn connect(&mut self, id: ConnectionId, request: ConnectRequest) {
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.session != 0 || request.last_zxid_seen > self.zxid || self.sessions.len() >= SESSIONS_MAX {
            if request.last_zxid_seen > self.zxid {
                tracing::warn!(
                    "{} has seen zxid 0x{:x}, which is after our 0x{:x}: it came from another or a restored keeper",
                    connection.peer,
                    request.last_zxid_seen,
                    self.zxid
                );
            }
            return self.close(id);
        }
        let (min, max) = self.config.session_timeouts_ms();
        let timeout_ms = request.timeout_ms.max(min).min(max);
        let session = if request.session_id == 0 {
            self.create_session(timeout_ms)
        } else {
            let given = request.password.as_deref().unwrap_or_default();
            match self.sessions.get(request.session_id) {
                Some(session) if passwords_match(&session.password, given) => request.session_id,
                _ => {
                    self.send(id, |out| ConnectResponse::expired(request.read_only.map(|_| false)).write(out));
                    return self.close(id);
                }
            }
        };
        if let Some(before) = self.sessions.attach(session, id, timeout_ms) {
            self.close(before);
        }
        let Some(password) = self.sessions.get(session).map(|session| session.password) else { return };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.session = session;
            connection.last_operation = "SESS";
        }
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms,
            session_id: session,
            password: Some(Bytes::copy_from_slice(&password)),
            read_only: request.read_only.map(|_| false),
        };
        self.send(id, |out| response.write(out));
    }

    fn create_session(&mut self, timeout_ms: i32) -> i64 {
        let session = self.sessions.next_id(self.clock.now_ms());
        let password = self.random.bytes();
        self.sessions.add(session, timeout_ms, password);
        self.commit(session, vec![TxnOp::CreateSession { session, timeout_ms, password }]);
        session
    }

    /// Ends a session: its ephemeral nodes go, its watchers are told, its connection is closed.
    pub(crate) fn end_session(&mut self, session: i64) {
        let ephemerals: Vec<String> = self.tree.ephemerals_of(session).map(|path| path.to_string()).collect();
        self.commit(session, vec![TxnOp::CloseSession { session, ephemerals }]);
        if let Some(Some(connection)) = self.sessions.remove(session).map(|session| session.connection) {
            self.close(connection);
        }
    }

    /// Forgets a connection; what was already said to it is still delivered.
    fn close(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        self.watches.remove_connection(id);
        self.sessions.detach(connection.session, id);
        let bytes = connection.out.freeze();
        self.turn.deliveries.push(Delivery { outbox: connection.outbox, bytes, close: true });
    }

    /// Has a request performed and answers it.
    fn reply(
        &mut self,
        id: ConnectionId,
        header: RequestHeader,
        request: Request,
        at: Instant,
        perform: impl FnOnce(&mut Processor, ConnectionId, i64, Request) -> Performed,
    ) {
        self.stats.received += 1;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.received += 1;
        connection.last_operation = request.short_name();
        let session = connection.session;
        if session == 0 {
            return self.close(id);
        }
        self.sessions.touch(session);
        self.body.clear();
        // ZooKeeper answers a ping with the ping's own xid, whatever the request had.
        let reply_xid = if request == Request::Ping { xid::PING } else { header.xid };
        let (zxid, result, after) = perform(self, id, session, request);
        let error = result.err().unwrap_or(ErrorCode::Ok);
        let reply = ReplyHeader { xid: reply_xid, zxid: zxid.unwrap_or(self.zxid), err: error };
        let body = std::mem::take(&mut self.body);
        self.send(id, |out| {
            reply.write(out);
            if error == ErrorCode::Ok {
                out.put_slice(&body);
            }
        });
        self.body = body;
        self.turn.requested.push(at);
        if after == After::Close {
            self.close(id);
        }
    }

    /// Does what is asked and leaves the body of the reply in `self.body`. The zxid of the reply header is that of the newest transaction, unless one is given.
    fn perform(&mut self, id: ConnectionId, session: i64, request: Request) -> Performed {
        let result = match request {
            Request::Write(write) => self.write(id, session, &write),
            Request::Multi(writes) => self.multi(id, session, &writes),
            Request::Exists(request) => self.exists(id, &request),
            Request::GetData(request) => self.get_data(id, &request).map(|response| response.write(&mut self.body)),
            Request::GetAcl(request) => self.get_acl(id, &request),
            Request::GetChildren(request, with_stat) => self.get_children(id, &request, with_stat),
            Request::MultiRead(ops) => {
                self.multi_read(id, ops);
                Ok(())
            }
            Request::Sync(request) => {
                SyncResponse { path: request.path }.write(&mut self.body);
                Ok(())
            }
            Request::Ping => Ok(()),
            Request::Reconfig => self.refuse_write(session, ErrorCode::ReconfigDisabled),
            Request::DeleteContainer => self.refuse_write(session, ErrorCode::BadArguments),
            Request::CheckWatches(request) => self.check_watches(id, &request, false),
            Request::RemoveWatches(request) => self.check_watches(id, &request, true),
            Request::SetWatches(request) => self.set_watches(id, &request),
            Request::AddWatch(request) => self.add_watch(id, &request),
            Request::GetEphemerals(request) => {
                // Java trims the prefix, and takes nothing and the root alike for all.
                let prefix = request.prefix.trim_matches(|c| c <= ' ');
                let paths = self.tree.ephemerals_of(session).filter(|path| path.starts_with(prefix));
                GetEphemeralsResponse { ephemerals: paths.map(|path| path.to_string()).collect() }
                    .write(&mut self.body);
                Ok(())
            }
            Request::GetAllChildrenNumber(request) => self.get_all_children_number(id, &request),
            Request::WhoAmI => self.who_am_i(id),
            Request::Auth(packet) => {
                let super_digest = self.config.super_digest.clone();
                let authenticated = self.connections.get_mut(&id).is_some_and(|connection| {
                    connection.who.authenticate(
                        &packet.scheme,
                        packet.auth.as_deref().unwrap_or_default(),
                        super_digest.as_deref(),
                    )
                });
                return if authenticated {
                    (Some(0), Ok(()), After::Stay)
                } else {
                    (Some(0), Err(ErrorCode::AuthFailed), After::Close)
                };
            }
            Request::Sasl => return (Some(0), Err(ErrorCode::AuthFailed), After::Close),
            Request::CloseSession => {
                self.end_own_session(id, session);
                return (None, Ok(()), After::Close);
            }
            Request::Malformed => Err(ErrorCode::MarshallingError),
            Request::Unknown => return (Some(-1), Err(ErrorCode::Unimplemented), After::Close),
        };
        (None, result, After::Stay)
    }

    /// As [`Processor::end_session`], but the connection stays open for the reply.
    fn end_own_session(&mut self, id: ConnectionId, session: i64) {
        self.sessions.detach(session, id);
        self.end_session(session);
    }

    fn write(&mut self, id: ConnectionId, session: i64, write: &Write) -> Result<(), ErrorCode> {
        let Some(connection) = self.connections.get(&id) else { return Err(ErrorCode::SystemError) };
        let op = match prepare(&self.tree, &connection.who, session, write) {
            Ok(op) => op,
            Err(error) => return self.refuse_write(session, error),
        };
        let ops = self.commit(session, vec![op]);
        match self.written(write, &ops[0]) {
            MultiResult::Create(response) => response.write(&mut self.body),
            MultiResult::Create2(response) => response.write(&mut self.body),
            MultiResult::SetData(response) => response.write(&mut self.body),
            MultiResult::Delete
            | MultiResult::Check
            | MultiResult::GetData(_)
            | MultiResult::GetChildren(_)
            | MultiResult::Error(_) => {}
        }
        Ok(())
    }

    /// A write that fails has a transaction too, which says so.
    fn refuse_write(&mut self, session: i64, error: ErrorCode) -> Result<(), ErrorCode> {
        self.commit(session, vec![TxnOp::Failed { error: error.as_i32() }]);
        Err(error)
    }

    /// All or nothing, under one zxid; each operation sees what those before it did. The reply's header says 0 in either case.
    fn multi(&mut self, id: ConnectionId, session: i64, writes: &[Write]) -> Result<(), ErrorCode> {
        let Some(connection) = self.connections.get(&id) else { return Err(ErrorCode::SystemError) };
        let (zxid, time_ms) = (self.zxid + 1, self.clock.now_ms());
        let mut done: Vec<(TxnOp, Undo, Option<Change>)> = Vec::with_capacity(writes.len());
        let mut results = Vec::with_capacity(writes.len());
        let mut failure = None;
        for write in writes {
            match prepare(&self.tree, &connection.who, session, write) {
                Ok(op) => {
                    let (undo, change) = self.tree.apply(&op, zxid, time_ms).expect("a prepared change fits the tree");
                    results.push(self.written(write, &op));
                    done.push((op, undo, change));
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let ops = match failure {
            Some(error) => {
                results = failed_results(done.len(), error, writes.len());
                done.drain(..).rev().for_each(|(_, undo, _)| self.tree.undo(undo));
                vec![TxnOp::Failed { error: error.as_i32() }]
            }
            None => done.iter_mut().map(|(op, _, _)| std::mem::replace(op, TxnOp::Failed { error: 0 })).collect(),
        };
        self.log(&Txn { zxid, time_ms, session, ops });
        for (_, _, change) in done {
            self.announce(change);
        }
        MultiResponse { results }.write(&mut self.body);
        Ok(())
    }

    /// What the client is told of a write that was applied.
    fn written(&self, write: &Write, op: &TxnOp) -> MultiResult {
        let stat = |path: &str| self.tree.get(path).map(Node::stat).unwrap_or_default();
        match (write, op) {
            (Write::Create { wants_stat: true, .. }, TxnOp::Create { path, .. }) => {
                MultiResult::Create2(Create2Response { path: path.clone(), stat: stat(path) })
            }
            (_, TxnOp::Create { path, .. }) => MultiResult::Create(CreateResponse { path: path.clone() }),
            // setACL answers with a Stat as well, and is never in a multi.
            (_, TxnOp::SetData { path, .. } | TxnOp::SetAcl { path, .. }) => {
                MultiResult::SetData(SetDataResponse { stat: stat(path) })
            }
            (_, TxnOp::Delete { .. }) => MultiResult::Delete,
            _ => MultiResult::Check,
        }
    }

    /// Applies changes that were prepared against this very tree, logs them and tells the watchers. Gives the changes back.
    pub(crate) fn commit(&mut self, session: i64, ops: Vec<TxnOp>) -> Vec<TxnOp> {
        let txn = Txn { zxid: self.zxid + 1, time_ms: self.clock.now_ms(), session, ops };
        self.log(&txn);
        for op in &txn.ops {
            for change in apply(&mut self.tree, op, txn.zxid, txn.time_ms).expect("a prepared change fits the tree") {
                self.announce(Some(change));
            }
        }
        txn.ops
    }

    fn log(&mut self, txn: &Txn) {
        self.zxid = txn.zxid;
        self.log.push(txn);
    }

    /// Sends the events of a change to those who watch and may read.
    fn announce(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        let (node_acl, parent_acl) = match &change {
            Change::Created { acl, parent_acl, .. } | Change::Deleted { acl, parent_acl, .. } => (acl, parent_acl),
            Change::DataChanged { acl, .. } => (acl, acl),
        };
        let (connections, dirty) = (&mut self.connections, &mut self.dirty);
        let stats = &mut self.stats;
        self.watches.fire(&change, |event, of_node| {
            let Some(connection) = connections.get_mut(&event.connection) else { return };
            if connection.who.may(if of_node { node_acl } else { parent_acl }, perms::READ) {
                dirty.push(event.connection);
                stats.sent += 1;
                write_event(&event, connection);
            }
        });
    }

    fn send(&mut self, id: ConnectionId, write_body: impl FnOnce(&mut BytesMut)) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.sent += 1;
        self.stats.sent += 1;
        if connection.out.is_empty() {
            self.dirty.push(id);
        }
        frame(&mut connection.out, write_body);
    }
}

/// Does one change, be it prepared a moment ago or read from the log.
pub(crate) fn apply(
    tree: &mut Tree,
    op: &TxnOp,
    zxid: i64,
    time_ms: i64,
) -> Result<Vec<Change>, crate::tree::ApplyError> {
    match op {
        TxnOp::CloseSession { ephemerals, .. } => {
            let mut changes = Vec::with_capacity(ephemerals.len());
            for path in ephemerals {
                changes.extend(tree.apply(&TxnOp::Delete { path: path.clone() }, zxid, time_ms)?.1);
            }
            Ok(changes)
        }
        op => Ok(tree.apply(op, zxid, time_ms)?.1.into_iter().collect()),
    }
}

fn write_event(event: &Event, connection: &mut Connection) {
    connection.sent += 1;
    let header = ReplyHeader { xid: xid::NOTIFICATION, zxid: -1, err: ErrorCode::Ok };
    let body = WatcherEvent {
        event_type: event.event_type.as_i32(),
        state: KeeperState::SyncConnected.as_i32(),
        path: event.path.to_string(),
    };
    frame(&mut connection.out, |out| {
        header.write(out);
        body.write(out);
    });
}

/// 0 before the operation that failed, its error for it, -2 behind it.
fn failed_results(before: usize, error: ErrorCode, count: usize) -> Vec<MultiResult> {
    (0..count)
        .map(|index| match index.cmp(&before) {
            std::cmp::Ordering::Less => ErrorCode::Ok,
            std::cmp::Ordering::Equal => error,
            std::cmp::Ordering::Greater => ErrorCode::RuntimeInconsistency,
        })
        .map(MultiResult::Error)
        .collect()
}

/// Compares in the same time wherever the first difference is.
fn passwords_match(own: &[u8], given: &[u8]) -> bool {
    own.len() == given.len() && own.iter().zip(given).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}
