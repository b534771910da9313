//! The task behind a session. It alone touches the connection, so the order of requests, replies and events is the order of this file.
//!
//! What is always true:
//! - requests go out in the order they were made, and each gets exactly one answer: the server's, or an error that says whether it was sent
//! - a request is sent at most once; what was in flight when the connection broke fails with `ConnectionLoss`
//! - on a new connection come first the credentials, then all watches, then anything else
//! - only a server's word ends the session as expired; without a server the driver goes on looking for one

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use protocol::zookeeper::{
    AddWatchMode, AuthPacket, ConnectRequest, ErrorCode, MAX_FRAME_BYTES, OpCode, Record, ReplyHeader, RequestHeader,
    WatcherEvent, WatcherType, WatchesRequest, frame, frame_length, xid,
};
use runtime::clock::Instant;
use runtime::net::{ReadHalf, Stream, WriteHalf};
use runtime::{Clock, Random};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};

use super::connect_string::ConnectString;
use super::handshake::{self, Handshake, REPLY_BYTES_MAX};
use super::session::{SessionState, SessionStatus};
use super::watches::{Fire, Inbox, OneShot, WatchTable};
use crate::zookeeper::ZkError;

/// Requests in flight on the connection. More wait in the queue, and their makers with them.
pub const IN_FLIGHT_MAX: usize = 1_000;

/// Requests queued before the driver, and as many behind it while there is no connection.
pub(super) const QUEUE_MAX: usize = 1_000;

/// Bytes not yet taken by the kernel, above which no further request is taken on.
const OUTPUT_BYTES_MAX: usize = 8 << 20;

/// Room made for each read.
const READ_BYTES: usize = 64 * 1024;

/// Wait after all servers have failed in turn: at first, and at most.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(50);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(1);

/// A connection that lasted so long has worked: after its loss the next is made at once, while one that breaks sooner counts as a failure to connect.
const STABLE_AFTER: Duration = Duration::from_secs(1);

/// Wait for the server's goodbye when the session is closed.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// What the handles and the driver both see.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) started: Instant,
    pub(super) status: watch::Sender<SessionStatus>,
    pub(super) session_id: AtomicI64,
    pub(super) password: Mutex<Bytes>,
    /// Negotiated; before the first connection, what will be asked for.
    pub(super) timeout_ms: AtomicI32,
    /// Milliseconds after `started`.
    pub(super) last_byte_ms: AtomicU64,
    pub(super) last_zxid: AtomicI64,
    /// The server of the last connection.
    pub(super) host: Mutex<Option<(String, u16)>>,
    /// Why the last attempt to connect failed.
    pub(super) last_failure: Mutex<String>,
}

/// The server's answer to one request: the body behind the reply header, and the error in that.
pub(super) type Answer = Result<(ErrorCode, Bytes), ZkError>;

/// What the handles ask of the driver.
pub(super) enum Command {
    /// An operation, answered by the server.
    Request(Request),
    /// Credentials for this and every later connection.
    Auth { packet: Bytes, answer: oneshot::Sender<Result<(), ZkError>> },
    /// A persistent watch was dropped.
    Unwatch { path: String, mode: AddWatchMode },
    /// End the session.
    Close { answer: oneshot::Sender<()> },
}

/// One operation on its way.
pub(super) struct Request {
    pub(super) op: OpCode,
    pub(super) body: Bytes,
    /// The server's name of the znode, for errors and watches.
    pub(super) path: String,
    /// The watch it leaves.
    pub(super) watch: Option<Watching>,
    /// When to give up if it could not be sent until then.
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// A watch to be kept once the server has answered.
pub(super) enum Watching {
    Once(OneShot, Fire),
    Persistent(AddWatchMode, Arc<Inbox>),
}

struct Pending {
    xid: i32,
    path: String,
    watch: Option<Watching>,
    answer: Option<oneshot::Sender<Answer>>,
}

/// Why the driver left a connection, or its search for one.
enum End {
    /// Look for another.
    Lost(String),
    /// The session is over.
    Over(ZkError),
}

pub(super) struct Driver {
    connect: ConnectString,
    timeout: Duration,
    connect_timeout: Duration,
    random: Random,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    /// Taken while there was no connection.
    waiting: VecDeque<Command>,
    watches: WatchTable,
    credentials: Vec<Bytes>,
    next_xid: i32,
    next_host: usize,
    closing: Option<oneshot::Sender<()>>,
}

/// The state of one connection.
struct Wire {
    reader: ReadHalf,
    writer: WriteHalf,
    input: BytesMut,
    output: BytesMut,
    pending: VecDeque<Pending>,
    auths: VecDeque<Option<oneshot::Sender<Result<(), ZkError>>>>,
    rearms_open: usize,
    last_sent: Instant,
    last_received: Instant,
    closing: bool,
}

impl Driver {
    pub(super) fn new(
        connect: ConnectString,
        timeout: Duration,
        connect_timeout: Duration,
        random: Random,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
    ) -> Driver {
        Driver {
            connect,
            timeout,
            connect_timeout,
            random,
            shared,
            commands,
            waiting: VecDeque::new(),
            watches: WatchTable::default(),
            credentials: Vec::new(),
            next_xid: 0,
            next_host: 0,
            closing: None,
        }
    }

    /// Serves the session until it ends.
    pub(super) async fn run(mut self) {
        let mut hosts = self.connect.hosts().to_vec();
        self.random.shuffle(&mut hosts);
        let mut wait = RETRY_WAIT_MIN;
        let over = loop {
            let mut connected_at = None;
            let end = match self.find_server(&hosts).await {
                Ok(stream) => {
                    connected_at = Some(self.shared.clock.now());
                    self.serve(stream).await
                }
                Err(end) => end,
            };
            let why = match end {
                End::Over(error) => break error,
                End::Lost(why) => why,
            };
            tracing::info!(session = %self.session_name(), %why, "lost the ZooKeeper connection, looking for another");
            *self.shared.last_failure.lock() = why;
            self.publish(SessionState::Disconnected);
            if connected_at.is_some_and(|at| self.shared.clock.now() - at >= STABLE_AFTER) {
                wait = RETRY_WAIT_MIN;
            } else if let Err(End::Over(error)) = self.pause(wait).await {
                break error;
            } else {
                wait = (wait * 2).min(RETRY_WAIT_MAX);
            }
        };
        self.finish(&over).await;
    }

    fn session_name(&self) -> String {
        format!("{:#x}", self.shared.session_id.load(Ordering::Relaxed))
    }

    fn publish(&self, state: SessionState) {
        self.shared.status.send_if_modified(|status| {
            let connected = state == SessionState::SyncConnected;
            let changed = connected || status.state != state;
            status.state = state;
            status.connections += u64::from(connected);
            changed
        });
    }

    /// Tries one server after the other until one takes the session, while requests wait.
    async fn find_server(&mut self, hosts: &[(String, u16)]) -> Result<Stream, End> {
        let mut failures = 0;
        let mut wait = RETRY_WAIT_MIN;
        loop {
            let host = &hosts[self.next_host % hosts.len()];
            self.next_host = (self.next_host + 1) % hosts.len();
            let request = ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: self.shared.last_zxid.load(Ordering::Relaxed),
                timeout_ms: i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX),
                session_id: self.shared.session_id.load(Ordering::Relaxed),
                password: Some(self.shared.password.lock().clone()),
                read_only: Some(false),
            };
            let clock = self.shared.clock;
            let attempt = handshake::connect(clock, host, &request, self.connect_timeout);
            let failure = match self.waiting_for(attempt).await? {
                Ok(Handshake::Connected(stream, answer)) => {
                    self.shared.session_id.store(answer.session_id, Ordering::Relaxed);
                    *self.shared.password.lock() = answer.password.unwrap_or_default();
                    self.shared.timeout_ms.store(answer.timeout_ms, Ordering::Relaxed);
                    *self.shared.host.lock() = Some(host.clone());
                    self.note_byte();
                    return Ok(stream);
                }
                Ok(Handshake::Expired) if request.session_id != 0 => return Err(End::Over(ZkError::SessionExpired)),
                Ok(Handshake::Expired) => format!("{}:{} refused a new session", host.0, host.1),
                Err(failure) => failure,
            };
            tracing::debug!(%failure, "cannot connect to ZooKeeper");
            *self.shared.last_failure.lock() = failure;
            failures += 1;
            if failures % hosts.len() == 0 {
                self.pause(wait).await?;
                wait = (wait * 2).min(RETRY_WAIT_MAX);
            }
        }
    }

    /// Waits, half of it at random, so that the clients of a server that was down do not all come at once.
    async fn pause(&mut self, wait: Duration) -> Result<(), End> {
        let half = wait / 2;
        let jitter = Duration::from_millis(self.random.below(half.as_millis() as u64 + 1));
        let clock = self.shared.clock;
        self.waiting_for(clock.sleep(half + jitter)).await
    }

    /// Awaits `future` while taking requests in and failing those that have waited too long.
    async fn waiting_for<F: Future>(&mut self, future: F) -> Result<F::Output, End> {
        let mut future = std::pin::pin!(future);
        loop {
            let clock = self.shared.clock;
            let deadline = self.first_deadline();
            tokio::select! {
                biased;
                output = &mut future => return Ok(output),
                command = self.commands.recv(), if self.waiting.len() < QUEUE_MAX => match command {
                    None => return Err(End::Over(ZkError::Closed)),
                    Some(Command::Close { answer }) => {
                        self.closing = Some(answer);
                        return Err(End::Over(ZkError::Closed));
                    }
                    Some(Command::Unwatch { path, mode }) => {
                        self.watches.disarm_persistent(mode, &path);
                    }
                    Some(command) => self.waiting.push_back(command),
                },
                () = clock.sleep_until(deadline.unwrap_or(self.shared.started)), if deadline.is_some() => {
                    self.fail_overdue();
                }
            }
        }
    }

    /// Requests wait in the order of their deadlines, since all wait equally long.
    fn first_deadline(&self) -> Option<Instant> {
        self.waiting.iter().find_map(|command| match command {
            Command::Request(request) => Some(request.deadline),
            _ => None,
        })
    }

    fn fail_overdue(&mut self) {
        let now = self.shared.clock.now();
        let chroot = self.connect.chroot().clone();
        for command in std::mem::take(&mut self.waiting) {
            match command {
                Command::Request(request) if request.deadline <= now => {
                    let path = chroot.strip(&request.path);
                    let _ = request.answer.send(Err(ZkError::NotConnected { path }));
                }
                other => self.waiting.push_back(other),
            }
        }
    }

    /// Works one connection until it breaks or the session ends.
    async fn serve(&mut self, stream: Stream) -> End {
        let clock = self.shared.clock;
        let (reader, writer) = stream.split();
        let now = clock.now();
        let mut wire = Wire {
            reader,
            writer,
            input: BytesMut::new(),
            output: BytesMut::new(),
            pending: VecDeque::new(),
            auths: VecDeque::new(),
            rearms_open: 0,
            last_sent: now,
            last_received: now,
            closing: false,
        };
        for packet in &self.credentials {
            wire.send(xid::AUTH, OpCode::Auth, packet);
            wire.auths.push_back(None);
        }
        for (op, body) in self.watches.rearm(self.shared.last_zxid.load(Ordering::Relaxed)) {
            wire.send(xid::SET_WATCHES, op, &body);
            wire.rearms_open += 1;
        }
        // Requests made by those who hear this come after the credentials and watches on the wire.
        self.publish(SessionState::SyncConnected);
        for command in std::mem::take(&mut self.waiting) {
            self.take_on(command, &mut wire);
        }
        let end = self.work(&mut wire).await;
        let chroot = self.connect.chroot();
        for pending in wire.pending {
            let Some(answer) = pending.answer else { continue };
            let _ = answer.send(Err(match &end {
                End::Over(error) => error.clone(),
                End::Lost(_) => ZkError::ConnectionLoss { path: chroot.strip(&pending.path) },
            }));
        }
        for answer in wire.auths.into_iter().flatten() {
            // The credentials are kept, and go first on the next connection.
            let _ = answer.send(match &end {
                End::Over(error) => Err(error.clone()),
                End::Lost(_) => Err(ZkError::ConnectionLoss { path: "/".to_owned() }),
            });
        }
        end
    }

    async fn work(&mut self, wire: &mut Wire) -> End {
        let clock = self.shared.clock;
        let timeout = Duration::from_millis(self.shared.timeout_ms.load(Ordering::Relaxed).max(1) as u64);
        let mut close_deadline: Option<Instant> = None;
        loop {
            if wire.closing && close_deadline.is_none() {
                close_deadline = Some(clock.now() + CLOSE_WAIT);
            }
            let ping_at = wire.last_sent + timeout / 3;
            let silent_at = wire.last_received + timeout * 2 / 3;
            let wake_at = close_deadline.unwrap_or(ping_at.min(silent_at));
            let takes_on = !wire.closing && wire.pending.len() < IN_FLIGHT_MAX && wire.output.len() < OUTPUT_BYTES_MAX;
            tokio::select! {
                biased;
                sent = wire.writer.write_buf(&mut wire.output), if !wire.output.is_empty() => match sent {
                    Ok(_) => wire.last_sent = clock.now(),
                    Err(error) => return lost(wire, error.to_string()),
                },
                read = async { wire.input.reserve(READ_BYTES); wire.reader.read_buf(&mut wire.input).await } => match read {
                    Ok(0) => return lost(wire, "the server closed the connection".to_owned()),
                    Err(error) => return lost(wire, error.to_string()),
                    Ok(_) => {
                        wire.last_received = clock.now();
                        self.note_byte();
                        if let Err(end) = self.take_frames(wire) {
                            return end;
                        }
                    }
                },
                command = self.commands.recv(), if takes_on => {
                    // Dropping the last handle closes the session as well.
                    self.take_on(command.unwrap_or_else(|| Command::Close { answer: oneshot::channel().0 }), wire);
                    while !wire.closing && wire.pending.len() < IN_FLIGHT_MAX && wire.output.len() < OUTPUT_BYTES_MAX {
                        let Ok(command) = self.commands.try_recv() else { break };
                        self.take_on(command, wire);
                    }
                }
                () = clock.sleep_until(wake_at) => {
                    let now = clock.now();
                    if close_deadline.is_some_and(|deadline| deadline <= now) {
                        return End::Over(ZkError::Closed);
                    }
                    if silent_at <= now {
                        return End::Lost(format!("nothing came from the server for {:?}", timeout * 2 / 3));
                    }
                    if ping_at <= now {
                        wire.send(xid::PING, OpCode::Ping, &Bytes::new());
                        wire.last_sent = now;
                    }
                }
            }
        }
    }

    fn note_byte(&self) {
        let since_start = self.shared.clock.now() - self.shared.started;
        self.shared.last_byte_ms.store(since_start.as_millis() as u64, Ordering::Relaxed);
    }

    /// Puts one command on the wire.
    fn take_on(&mut self, command: Command, wire: &mut Wire) {
        match command {
            Command::Request(request) => {
                // Its maker no longer waits, and it was not sent yet: so it never happens.
                if request.answer.is_closed() {
                    return;
                }
                let xid = self.next_xid();
                wire.send(xid, request.op, &request.body);
                let Request { path, watch, answer, .. } = request;
                wire.pending.push_back(Pending { xid, path, watch, answer: Some(answer) });
            }
            Command::Auth { packet, answer } => {
                wire.send(xid::AUTH, OpCode::Auth, &packet);
                wire.auths.push_back(Some(answer));
                self.credentials.push(packet);
            }
            Command::Unwatch { path, mode } => {
                if self.watches.disarm_persistent(mode, &path) {
                    let kind = match mode {
                        AddWatchMode::Persistent => WatcherType::Persistent,
                        AddWatchMode::PersistentRecursive => WatcherType::PersistentRecursive,
                    };
                    let xid = self.next_xid();
                    let body = WatchesRequest { path: path.clone(), watcher_type: kind.as_i32() }.to_body();
                    wire.send(xid, OpCode::RemoveWatches, &body);
                    wire.pending.push_back(Pending { xid, path, watch: None, answer: None });
                }
            }
            Command::Close { answer } => {
                let xid = self.next_xid();
                wire.send(xid, OpCode::CloseSession, &Bytes::new());
                wire.pending.push_back(Pending { xid, path: "/".to_owned(), watch: None, answer: None });
                wire.closing = true;
                self.closing = Some(answer);
            }
        }
    }

    fn next_xid(&mut self) -> i32 {
        self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
        self.next_xid
    }

    /// Works off every whole frame read so far.
    fn take_frames(&mut self, wire: &mut Wire) -> Result<(), End> {
        while let Some(prefix) = wire.input.first_chunk::<4>() {
            let length = frame_length(*prefix, REPLY_BYTES_MAX).map_err(|e| End::Lost(e.to_string()))?;
            if wire.input.len() < 4 + length {
                break;
            }
            wire.input.advance(4);
            let body = wire.input.split_to(length).freeze();
            self.take_frame(body, wire)?;
        }
        Ok(())
    }

    fn take_frame(&mut self, body: Bytes, wire: &mut Wire) -> Result<(), End> {
        let unreadable = |error: protocol::zookeeper::JuteError| End::Lost(format!("reply cannot be read: {error}"));
        let mut reader = protocol::zookeeper::Reader::new(body);
        let header: ReplyHeader = reader.read().map_err(unreadable)?;
        match header.xid {
            xid::NOTIFICATION => {
                let event: WatcherEvent = reader.read().map_err(unreadable)?;
                self.watches.deliver(&event, self.connect.chroot());
                return Ok(());
            }
            xid::PING => return Ok(()),
            xid::AUTH => {
                let answer = wire.auths.pop_front().flatten();
                if header.err == ErrorCode::AuthFailed {
                    if let Some(answer) = answer {
                        let _ = answer.send(Err(ZkError::AuthFailed));
                    }
                    return Err(End::Over(ZkError::AuthFailed));
                }
                if let Some(answer) = answer {
                    let _ = answer.send(Ok(()));
                }
                return Ok(());
            }
            _ => {}
        }
        if header.zxid > 0 {
            self.shared.last_zxid.store(header.zxid, Ordering::Relaxed);
        }
        if header.xid == xid::SET_WATCHES && wire.rearms_open > 0 {
            wire.rearms_open -= 1;
            if header.err == ErrorCode::Unimplemented {
                // The session has moved to a server before 3.6, which now closes the connection.
                self.watches.end_persistent(&ZkError::Unsupported { operation: "addWatch" });
            }
            return Ok(());
        }
        let Some(pending) = wire.pending.pop_front() else {
            return Err(End::Lost(format!("a reply came to nothing (xid {})", header.xid)));
        };
        if pending.xid != header.xid {
            let why = format!("reply to xid {} came where xid {} was due", header.xid, pending.xid);
            wire.pending.push_front(pending);
            return Err(End::Lost(why));
        }
        if header.err == ErrorCode::SessionExpired {
            wire.pending.push_front(pending);
            return Err(End::Over(ZkError::SessionExpired));
        }
        if let Some(watch) = pending.watch {
            self.keep_watch(watch, header.err, pending.path);
        }
        if let Some(answer) = pending.answer {
            let _ = answer.send(Ok((header.err, reader.into_rest())));
        }
        if wire.closing && wire.pending.is_empty() {
            return Err(End::Over(ZkError::Closed));
        }
        Ok(())
    }

    fn keep_watch(&mut self, watch: Watching, err: ErrorCode, path: String) {
        match (watch, err) {
            (Watching::Once(kind, fire), ErrorCode::Ok) => self.watches.arm(kind, true, path, fire),
            (Watching::Once(kind, fire), ErrorCode::NoNode) => self.watches.arm(kind, false, path, fire),
            (Watching::Persistent(mode, inbox), ErrorCode::Ok) => self.watches.arm_persistent(mode, path, &inbox),
            // Refused: the server keeps no watch, and the caller sees the error.
            _ => {}
        }
    }

    /// Tells everybody that the session is over.
    async fn finish(mut self, over: &ZkError) {
        if self.shared.session_id.load(Ordering::Relaxed) == 0 {
            tracing::debug!(%over, "no ZooKeeper session came about");
        } else {
            tracing::info!(session = %self.session_name(), %over, "ZooKeeper session ended");
        }
        self.publish(match over {
            ZkError::SessionExpired => SessionState::Expired,
            ZkError::AuthFailed => SessionState::AuthFailed,
            _ => SessionState::Closed,
        });
        self.commands.close();
        self.watches.end(over);
        if let Some(answer) = self.closing.take() {
            let _ = answer.send(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        for command in waiting {
            refuse(command, over);
        }
        while let Some(command) = self.commands.recv().await {
            refuse(command, over);
        }
    }
}

/// A server that hangs up after our goodbye has closed the session; any other has only lost the connection.
fn lost(wire: &Wire, why: String) -> End {
    if wire.closing { End::Over(ZkError::Closed) } else { End::Lost(why) }
}

fn refuse(command: Command, over: &ZkError) {
    match command {
        Command::Request(request) => {
            let _ = request.answer.send(Err(over.clone()));
        }
        Command::Auth { answer, .. } => {
            let _ = answer.send(Err(over.clone()));
        }
        Command::Close { answer } => {
            let _ = answer.send(());
        }
        Command::Unwatch { .. } => {}
    }
}

impl Wire {
    fn send(&mut self, xid: i32, op: OpCode, body: &Bytes) {
        frame(&mut self.output, |out| {
            RequestHeader { xid, op: op.as_i32() }.write(out);
            out.extend_from_slice(body);
        });
    }
}

/// Bytes of a request's frame body.
pub(super) fn request_bytes(body: &Bytes) -> usize {
    RequestHeader::MIN_BYTES + body.len()
}

/// Longest request body frame a server takes.
pub(super) const REQUEST_BYTES_MAX: usize = MAX_FRAME_BYTES;

/// The record of an auth request.
pub(super) fn auth_packet(scheme: &str, auth: Bytes) -> Bytes {
    AuthPacket { auth_type: 0, scheme: scheme.to_owned(), auth: Some(auth) }.to_body()
}
