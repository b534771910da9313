//! A ZooKeeper session as its users hold it: every operation, in the protocol's own words.
//!
//! ```no_run
//! # use tidemill_client as client;
//! # async fn example() -> Result<(), client::zookeeper::ZkError> {
//! use client::zookeeper::{CreateMode, Session};
//! use std::time::Duration;
//!
//! let session = Session::connect("localhost:2181/kafka", Duration::from_secs(6)).await?;
//! session.create("/controller", r#"{"version":1,"brokerid":0}"#, CreateMode::Ephemeral).await?;
//! let (_data, _stat, mut watch) = session.get_data_watch("/controller").await?;
//! let event = watch.changed().await?;
//! # let _ = event; Ok(())
//! # }
//! ```
//!
//! The rules:
//! - An operation in flight when the connection breaks fails with [`ZkError::ConnectionLoss`]; it may have been done, and is never repeated.
//! - An operation made while there is no connection waits, one session time-out at most, then fails with [`ZkError::NotConnected`]; it was never sent.
//! - Dropping an operation's future before it was sent takes it back; later it only loses the answer.
//! - Only the server declares the session expired. Then every operation fails with [`ZkError::SessionExpired`]: make a new session.
//! - Dropping the last clone closes the session.
//!
//! Here: how a session begins, stands and ends, and how a request goes out. Its operations on one node are in `operations`, those on many in `bulk`.

mod bulk;
mod operations;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::zookeeper::{
    AddWatchMode, AddWatchRequest, Create2Response, CreateResponse, ErrorCode, ExistsResponse, GetAclResponse,
    GetChildren2Response, GetDataResponse, JuteError, MultiResponse, OpCode, Record, SetAclResponse, SetDataResponse,
};
use runtime::{Clock, Random};
use tokio::sync::{OnceCell, mpsc, oneshot, watch};

use super::connect_string::{Chroot, ConnectString};
use super::driver::{self, Answer, Command, Driver, QUEUE_MAX, REQUEST_BYTES_MAX, Request, Shared, Watching};
use super::handshake;
use super::watches::{Inbox, PersistentWatch};
use crate::zookeeper::ZkError;

pub use bulk::op;

/// How a session is set up.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Where ZooKeeper is.
    pub connect: ConnectString,
    /// Session time-out to ask for; the server may change it (`zookeeper.session.timeout.ms`).
    pub timeout: Duration,
    /// Wait for one server's TCP connection and greeting. Default: the session time-out shared among the servers, 1 second at least.
    pub connect_timeout: Duration,
    /// The clock.
    pub clock: Clock,
    /// For the order of the servers and the length of waits.
    pub random: Random,
}

impl SessionConfig {
    /// A configuration with the real clock and the default waits.
    pub fn new(connect: ConnectString, timeout: Duration) -> SessionConfig {
        let share = timeout / u32::try_from(connect.hosts().len()).unwrap_or(u32::MAX);
        let connect_timeout = share.max(Duration::from_secs(1)).min(timeout.max(Duration::from_millis(1)));
        SessionConfig { connect, timeout, connect_timeout, clock: Clock::real(), random: Random::real() }
    }
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// No server has taken it yet.
    Connecting,
    /// Connected, with all watches armed.
    SyncConnected,
    /// The connection is lost; another is being looked for, and the session may live on.
    Disconnected,
    /// Over: the server says so.
    Expired,
    /// Over: the credentials were refused.
    AuthFailed,
    /// Over: closed from this side.
    Closed,
}

impl SessionState {
    /// The session is over.
    pub fn is_terminal(self) -> bool {
        matches!(self, SessionState::Expired | SessionState::AuthFailed | SessionState::Closed)
    }
}

/// State of a session, and how often it connected: a quick reconnect changes the count even where nobody saw the state between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionStatus {
    /// Where it stands.
    pub state: SessionState,
    /// Connections made so far.
    pub connections: u64,
}

/// A session. Clones share it.
#[derive(Debug, Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    chroot: Chroot,
    connect: ConnectString,
    /// Wait of an operation for a connection.
    timeout: Duration,
    knows_add_watch: OnceCell<bool>,
    knows_multi_read: OnceCell<bool>,
}

impl Session {
    /// Connects, within the session time-out.
    ///
    /// # Errors
    /// [`ZkError::BadConnectString`], or [`ZkError::ConnectTimeout`] with what the last server said.
    pub async fn connect(connect: &str, timeout: Duration) -> Result<Session, ZkError> {
        let session = Session::start(SessionConfig::new(ConnectString::parse(connect)?, timeout));
        session.connected(timeout).await?;
        Ok(session)
    }

    /// Starts a session without waiting for a server. Call it inside a tokio runtime.
    pub fn start(config: SessionConfig) -> Session {
        let SessionConfig { connect, timeout, connect_timeout, clock, random } = config;
        let (status, _) = watch::channel(SessionStatus { state: SessionState::Connecting, connections: 0 });
        let shared = Arc::new(Shared {
            clock,
            started: clock.now(),
            status,
            session_id: AtomicI64::new(0),
            password: Mutex::new(Bytes::from_static(&[0; 16])),
            timeout_ms: AtomicI32::new(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)),
            last_byte_ms: AtomicU64::new(0),
            last_zxid: AtomicI64::new(0),
            host: Mutex::new(None),
            last_failure: Mutex::new("no server answered".to_owned()),
        });
        let (sender, commands) = mpsc::channel(QUEUE_MAX);
        let chroot = connect.chroot().clone();
        let driver = Driver::new(connect.clone(), timeout, connect_timeout, random, shared.clone(), commands);
        runtime::spawn(driver.run());
        let inner = Inner {
            commands: sender,
            shared,
            chroot,
            connect,
            timeout,
            knows_add_watch: OnceCell::new(),
            knows_multi_read: OnceCell::new(),
        };
        Session { inner: Arc::new(inner) }
    }

    /// Waits until the session is connected, `limit` at most.
    ///
    /// # Errors
    /// [`ZkError::ConnectTimeout`], or the session's end.
    pub async fn connected(&self, limit: Duration) -> Result<(), ZkError> {
        let mut status = self.status();
        let shared = &self.inner.shared;
        let reached = status.wait_for(|s| s.state == SessionState::SyncConnected || s.state.is_terminal());
        tokio::select! {
            biased;
            reached = reached => match reached.map_or(SessionState::Closed, |status| status.state) {
                SessionState::SyncConnected => Ok(()),
                over => Err(terminal_error(over)),
            },
            () = shared.clock.sleep(limit) => Err(ZkError::ConnectTimeout {
                connect_string: self.inner.connect.to_string(),
                last: shared.last_failure.lock().clone(),
            }),
        }
    }

    /// The states as they come. After each new connection, re-read what must be known for sure.
    pub fn status(&self) -> watch::Receiver<SessionStatus> {
        self.inner.shared.status.subscribe()
    }

    /// The state now.
    pub fn state(&self) -> SessionState {
        self.inner.shared.status.borrow().state
    }

    /// The session's id, 0 before the first connection. Owner of its ephemeral nodes (`Stat::ephemeral_owner`).
    pub fn session_id(&self) -> i64 {
        self.inner.shared.session_id.load(Ordering::Relaxed)
    }

    /// The session's password, as the server gave it.
    pub fn password(&self) -> Bytes {
        self.inner.shared.password.lock().clone()
    }

    /// The session time-out as negotiated with the server.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.inner.shared.timeout_ms.load(Ordering::Relaxed).max(0) as u64)
    }

    /// How long ago the server was last heard. Past one [`Session::timeout`] the session may have expired without this side being told: a leader
    /// must then stop acknowledging. In health it is hardly over a third of it.
    pub fn since_last_byte(&self) -> Duration {
        let shared = &self.inner.shared;
        let now = shared.clock.now() - shared.started;
        now.saturating_sub(Duration::from_millis(shared.last_byte_ms.load(Ordering::Relaxed)))
    }

    /// Why the last attempt to connect failed.
    pub fn last_failure(&self) -> String {
        self.inner.shared.last_failure.lock().clone()
    }

    /// Where this session looks for ZooKeeper.
    pub fn connect_string(&self) -> &ConnectString {
        &self.inner.connect
    }

    /// Closes the session: the server deletes its ephemeral nodes. Waits for the server's word, 2 seconds at most.
    pub async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        if self.inner.commands.send(Command::Close { answer }).await.is_ok() {
            // An error means that the driver has ended, which is what was wanted.
            let _ = closed.await;
        }
    }

    /// Adds credentials to this and every later connection of the session, such as `("digest", "user:password")`.
    ///
    /// # Errors
    /// [`ZkError::AuthFailed`] ends the session. After a connection loss the credentials are kept and sent again.
    pub async fn add_auth(&self, scheme: &str, auth: impl Into<Bytes>) -> Result<(), ZkError> {
        let (answer, answered) = oneshot::channel();
        let packet = driver::auth_packet(scheme, auth.into());
        self.check_length(&packet, "/")?;
        self.inner.commands.send(Command::Auth { packet, answer }).await.map_err(|_| self.ended())?;
        tokio::select! {
            biased;
            answer = answered => answer.unwrap_or_else(|_| Err(self.ended())),
            () = self.inner.shared.clock.sleep(self.inner.timeout) => Err(ZkError::NotConnected { path: "/".to_owned() }),
        }
    }

    /// Watches a node, or with `PersistentRecursive` it and all below it, until the watch is dropped (ZooKeeper 3.6). An old server is found out on
    /// a connection of its own, once.
    ///
    /// Do not keep watches of different kinds on the same path in one session: servers before 3.9 let the recursive one swallow the others
    /// (ZOOKEEPER-4466, seen on 3.8.0).
    ///
    /// # Errors
    /// [`ZkError::Unsupported`] with a server before 3.6.
    pub async fn add_watch(&self, path: &str, mode: AddWatchMode) -> Result<PersistentWatch, ZkError> {
        let knows = self.probe(&self.inner.knows_add_watch, OpCode::AddWatch).await?;
        if !knows {
            return Err(ZkError::Unsupported { operation: "addWatch" });
        }
        let full = self.full_path(path)?;
        let request = AddWatchRequest { path: full.clone(), mode: mode.as_i32() };
        let inbox = Arc::new(Inbox::default());
        let watching = Watching::Persistent(mode, inbox.clone());
        // Its answer is an error code of 4 bytes, always 0; some servers leave it out.
        let () = self.call(OpCode::AddWatch, path, &request, Some(watching)).await?;
        Ok(PersistentWatch { inbox, path: full, mode, commands: self.inner.commands.downgrade() })
    }

    async fn knows_multi_read(&self) -> Result<bool, ZkError> {
        self.probe(&self.inner.knows_multi_read, OpCode::MultiRead).await
    }

    async fn probe(&self, known: &OnceCell<bool>, op: OpCode) -> Result<bool, ZkError> {
        let knows = known.get_or_try_init(|| async {
            self.connected(self.inner.timeout).await?;
            let host = self.inner.shared.host.lock().clone();
            let host = host.ok_or_else(|| ZkError::NotConnected { path: "/".to_owned() })?;
            handshake::knows(self.inner.shared.clock, &host, op, self.inner.timeout)
                .await
                .map_err(|last| ZkError::ConnectTimeout { connect_string: self.inner.connect.to_string(), last })
        });
        knows.await.copied()
    }

    fn full_path(&self, path: &str) -> Result<String, ZkError> {
        protocol::zookeeper::path::validate(path).map_err(|e| bad_path(path, &e))?;
        Ok(self.inner.chroot.prepend(path))
    }

    fn check_length(&self, body: &Bytes, path: &str) -> Result<(), ZkError> {
        let bytes = driver::request_bytes(body);
        if bytes > REQUEST_BYTES_MAX {
            return Err(ZkError::RequestTooLong { bytes, limit: REQUEST_BYTES_MAX, path: path.to_owned() });
        }
        Ok(())
    }

    async fn call<T: Reply>(
        &self,
        op: OpCode,
        path: &str,
        request: &impl Record,
        watching: Option<Watching>,
    ) -> Result<T, ZkError> {
        let full = self.inner.chroot.prepend(path);
        let answered = self.submit(op, full, request.to_body(), watching).await?;
        self.decode(path, answered.await)
    }

    /// Queues a request and returns at once what will be its answer: how many are pipelined. `full` is the server's name of the node.
    async fn submit(
        &self,
        op: OpCode,
        full: String,
        body: Bytes,
        watch: Option<Watching>,
    ) -> Result<impl Future<Output = Answer> + use<>, ZkError> {
        self.check_length(&body, &full)?;
        let (answer, answered) = oneshot::channel();
        let deadline = self.inner.shared.clock.now() + self.inner.timeout;
        let request = Request { op, body, path: full, watch, deadline, answer };
        self.inner.commands.send(Command::Request(request)).await.map_err(|_| self.ended())?;
        let shared = self.inner.shared.clone();
        Ok(async move { answered.await.unwrap_or_else(|_| Err(terminal_error(shared.status.borrow().state))) })
    }

    fn decode<T: Reply>(&self, path: &str, answer: Answer) -> Result<T, ZkError> {
        let (code, body) = answer?;
        if code != ErrorCode::Ok {
            return Err(ZkError::Server { code, path: path.to_owned() });
        }
        T::from_reply(body).map_err(|cause| ZkError::BadReply { path: path.to_owned(), cause })
    }

    fn ended(&self) -> ZkError {
        terminal_error(self.state())
    }
}

/// What an answer's body is read as: nothing, or a record.
trait Reply: Sized {
    fn from_reply(body: Bytes) -> Result<Self, JuteError>;
}

impl Reply for () {
    fn from_reply(_body: Bytes) -> Result<(), JuteError> {
        Ok(())
    }
}

macro_rules! replies {
    ($($record:ty)*) => {$(
        impl Reply for $record {
            fn from_reply(body: Bytes) -> Result<$record, JuteError> {
                <$record>::from_body(body)
            }
        }
    )*};
}

replies! {
    CreateResponse Create2Response ExistsResponse GetDataResponse SetDataResponse GetChildren2Response GetAclResponse SetAclResponse MultiResponse
}

fn bad_path(path: &str, why: &protocol::zookeeper::path::PathError) -> ZkError {
    ZkError::BadPath { path: path.to_owned(), why: why.to_string() }
}

fn terminal_error(state: SessionState) -> ZkError {
    match state {
        SessionState::Expired => ZkError::SessionExpired,
        SessionState::AuthFailed => ZkError::AuthFailed,
        _ => ZkError::Closed,
    }
}

#[cfg(test)]
mod tests;
