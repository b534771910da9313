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

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::zookeeper::{
    Acl, AddWatchMode, AddWatchRequest, Create2Response, CreateMode, CreateRequest, CreateResponse, CreateTtlRequest,
    DeleteRequest, ErrorCode, ExistsRequest, ExistsResponse, GetAclRequest, GetAclResponse, GetChildren2Response,
    GetChildrenRequest, GetDataRequest, GetDataResponse, MultiOp, MultiRequest, MultiResponse, MultiResult, OpCode,
    Record, SetAclRequest, SetAclResponse, SetDataRequest, SetDataResponse, Stat, SyncRequest,
};
use runtime::{Clock, Random};
use tokio::sync::{OnceCell, mpsc, oneshot, watch};

use super::connect_string::{Chroot, ConnectString};
use super::driver::{self, Answer, Command, Driver, QUEUE_MAX, REQUEST_BYTES_MAX, Request, Shared, Watching};
use super::handshake;
use super::watches::{Inbox, OneShot, PersistentWatch, Watch};
use crate::zookeeper::ZkError;

/// Reads in one multiRead of [`Session::read_many`].
const MULTI_READ_OPS_MAX: usize = 100;

/// Times [`Session::watch_data`] starts over when the node comes and goes under it.
const WATCH_DATA_TRIES_MAX: usize = 100;

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

    /// The session's id, 0 before the first connection. Owner of its ephemeral nodes ([`Stat::ephemeral_owner`]).
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

    /// Creates a node that everybody may use, and returns its path: with the server's counter, for the sequential modes.
    ///
    /// # Errors
    /// `NodeExists`, `NoNode` (no parent), `NoChildrenForEphemerals` among others.
    pub async fn create(&self, path: &str, data: impl Into<Bytes>, mode: CreateMode) -> Result<String, ZkError> {
        self.create_with_acl(path, data, mode, Acl::open()).await
    }

    /// [`Session::create`] with an ACL.
    ///
    /// # Errors
    /// Those of `create`, and `InvalidACL`.
    pub async fn create_with_acl(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        mode: CreateMode,
        acl: Vec<Acl>,
    ) -> Result<String, ZkError> {
        // Containers have an operation of their own, which answers as create2 does.
        if mode == CreateMode::Container {
            return Ok(self.create2_with_acl(path, data, mode, acl).await?.0);
        }
        let request = self.create_request(path, data.into(), mode, acl)?;
        let response: CreateResponse = self.call(OpCode::Create, path, &request, None).await?;
        Ok(self.inner.chroot.strip(&response.path))
    }

    /// Creates a node and returns its path and what it is now (ZooKeeper 3.5).
    ///
    /// # Errors
    /// Those of `create`. A server before 3.5 closes the connection.
    pub async fn create2(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        mode: CreateMode,
    ) -> Result<(String, Stat), ZkError> {
        self.create2_with_acl(path, data, mode, Acl::open()).await
    }

    /// [`Session::create2`] with an ACL.
    ///
    /// # Errors
    /// Those of `create2`, and `InvalidACL`.
    pub async fn create2_with_acl(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        mode: CreateMode,
        acl: Vec<Acl>,
    ) -> Result<(String, Stat), ZkError> {
        let request = self.create_request(path, data.into(), mode, acl)?;
        let op = if mode == CreateMode::Container { OpCode::CreateContainer } else { OpCode::Create2 };
        let response: Create2Response = self.call(op, path, &request, None).await?;
        Ok((self.inner.chroot.strip(&response.path), response.stat))
    }

    /// Creates a node that the server deletes once it was childless and unchanged for `ttl`. For the TTL modes (ZooKeeper 3.5,
    /// `extendedTypesEnabled`).
    ///
    /// # Errors
    /// Those of `create`, and `Unimplemented` where the server has TTL nodes switched off.
    pub async fn create_ttl(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        mode: CreateMode,
        ttl: Duration,
    ) -> Result<(String, Stat), ZkError> {
        let CreateRequest { path: full, data, acl, flags } =
            self.create_request(path, data.into(), mode, Acl::open())?;
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let request = CreateTtlRequest { path: full, data, acl, flags, ttl_ms };
        let response: Create2Response = self.call(OpCode::CreateTtl, path, &request, None).await?;
        Ok((self.inner.chroot.strip(&response.path), response.stat))
    }

    /// Creates a node and the parents it lacks, these empty and persistent. A parent that somebody else makes meanwhile is fine; for the node itself
    /// `NodeExists` is an error.
    ///
    /// # Errors
    /// Those of `create`.
    pub async fn create_recursive(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        mode: CreateMode,
    ) -> Result<String, ZkError> {
        let data = data.into();
        match self.create(path, data.clone(), mode).await {
            Err(error) if error.is_no_node() => {}
            done => return done,
        }
        if let Some(parent) = protocol::zookeeper::path::parent(path.trim_end_matches('/')) {
            self.ensure_path(parent).await?;
        }
        self.create(path, data, mode).await
    }

    /// Makes sure that a persistent node and its parents are there, the session's chroot included.
    ///
    /// # Errors
    /// Those of `create`, but `NodeExists`.
    pub async fn ensure_path(&self, path: &str) -> Result<(), ZkError> {
        let full = self.full_path(path)?;
        let mut missing = Vec::new();
        let mut at = full.as_str();
        // From the node upwards until one is there, then down again.
        loop {
            match self.create_at(at).await {
                Ok(()) => break,
                Err(error) if error.is_node_exists() => break,
                Err(error) if error.is_no_node() => missing.push(at),
                Err(error) => return Err(error),
            }
            match protocol::zookeeper::path::parent(at) {
                Some(parent) if parent != "/" => at = parent,
                _ => break,
            }
        }
        for path in missing.into_iter().rev() {
            match self.create_at(path).await {
                Err(error) if !error.is_node_exists() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Creates an empty persistent node by the server's name of its path.
    async fn create_at(&self, full: &str) -> Result<(), ZkError> {
        if full == "/" {
            return Ok(());
        }
        let data = Some(Bytes::new());
        let flags = CreateMode::Persistent.as_i32();
        let request = CreateRequest { path: full.to_owned(), data, acl: Acl::open(), flags };
        let answered = self.submit(OpCode::Create, full.to_owned(), request.to_body(), None).await?;
        let _: CreateResponse = self.decode(full, answered.await)?;
        Ok(())
    }

    /// Deletes a node of this version, -1 for any.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`, `NotEmpty`.
    pub async fn delete(&self, path: &str, version: i32) -> Result<(), ZkError> {
        let request = DeleteRequest { path: self.full_path(path)?, version };
        self.call(OpCode::Delete, path, &request, None).await
    }

    /// Deletes a node and all below it. What somebody else deletes meanwhile is fine, the node itself not being there included.
    ///
    /// # Errors
    /// `NotEmpty` where somebody keeps creating children, and whatever `delete` says.
    pub async fn delete_recursive(&self, path: &str) -> Result<(), ZkError> {
        // A list and not recursion: the depth is the tree's, not ours.
        let mut found = vec![path.to_owned()];
        let mut next = 0;
        while let Some(parent) = found.get(next).cloned() {
            next += 1;
            match self.get_children(&parent).await {
                Ok(children) => {
                    found.extend(children.iter().map(|child| protocol::zookeeper::path::join(&parent, child)));
                }
                Err(error) if error.is_no_node() => {}
                Err(error) => return Err(error),
            }
        }
        for path in found.iter().rev() {
            match self.delete(path, -1).await {
                Err(error) if !error.is_no_node() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// What a node is, or nothing where it is not.
    ///
    /// # Errors
    /// The connection's and the session's; `NoAuth`.
    pub async fn exists(&self, path: &str) -> Result<Option<Stat>, ZkError> {
        self.exists_call(path, None).await
    }

    /// [`Session::exists`], and a watch for its creation, change or deletion.
    ///
    /// # Errors
    /// Those of `exists`; then there is no watch.
    pub async fn exists_watch(&self, path: &str) -> Result<(Option<Stat>, Watch), ZkError> {
        let (watching, watch) = one_shot(OneShot::Exists);
        Ok((self.exists_call(path, Some(watching)).await?, watch))
    }

    async fn exists_call(&self, path: &str, watching: Option<Watching>) -> Result<Option<Stat>, ZkError> {
        let request = ExistsRequest { path: self.full_path(path)?, watch: watching.is_some() };
        match self.call::<ExistsResponse>(OpCode::Exists, path, &request, watching).await {
            Ok(response) => Ok(Some(response.stat)),
            Err(error) if error.is_no_node() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A node's data; null reads as empty.
    ///
    /// # Errors
    /// `NoNode`, `NoAuth`.
    pub async fn get_data(&self, path: &str) -> Result<(Bytes, Stat), ZkError> {
        self.get_data_call(path, None).await
    }

    /// [`Session::get_data`], and a watch for the node's change or deletion.
    ///
    /// # Errors
    /// Those of `get_data`; then there is no watch.
    pub async fn get_data_watch(&self, path: &str) -> Result<(Bytes, Stat, Watch), ZkError> {
        let (watching, watch) = one_shot(OneShot::Data);
        let (data, stat) = self.get_data_call(path, Some(watching)).await?;
        Ok((data, stat, watch))
    }

    /// A node's data, or nothing where it is not there.
    ///
    /// # Errors
    /// The connection's and the session's; `NoAuth`.
    pub async fn try_get_data(&self, path: &str) -> Result<Option<(Bytes, Stat)>, ZkError> {
        match self.get_data(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_no_node() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The data of a node that may not be there, and a watch for whatever happens to it next.
    ///
    /// # Errors
    /// The connection's and the session's; `NoAuth`.
    pub async fn watch_data(&self, path: &str) -> Result<(Option<(Bytes, Stat)>, Watch), ZkError> {
        let mut tries = 0;
        loop {
            match self.get_data_watch(path).await {
                Ok((data, stat, watch)) => return Ok((Some((data, stat)), watch)),
                Err(error) if error.is_no_node() && tries < WATCH_DATA_TRIES_MAX => tries += 1,
                Err(error) => return Err(error),
            }
            if let (None, watch) = self.exists_watch(path).await? {
                return Ok((None, watch));
            }
        }
    }

    async fn get_data_call(&self, path: &str, watching: Option<Watching>) -> Result<(Bytes, Stat), ZkError> {
        let request = GetDataRequest { path: self.full_path(path)?, watch: watching.is_some() };
        let response: GetDataResponse = self.call(OpCode::GetData, path, &request, watching).await?;
        Ok((response.data.unwrap_or_default(), response.stat))
    }

    /// Replaces a node's data if it is of this version, -1 for any.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`.
    pub async fn set_data(&self, path: &str, data: impl Into<Bytes>, version: i32) -> Result<Stat, ZkError> {
        let request = SetDataRequest { path: self.full_path(path)?, data: Some(data.into()), version };
        let response: SetDataResponse = self.call(OpCode::SetData, path, &request, None).await?;
        Ok(response.stat)
    }

    /// Names of a node's children, in no order.
    ///
    /// # Errors
    /// `NoNode`, `NoAuth`.
    pub async fn get_children(&self, path: &str) -> Result<Vec<String>, ZkError> {
        Ok(self.get_children2(path).await?.0)
    }

    /// Names of a node's children, and what the node is.
    ///
    /// # Errors
    /// `NoNode`, `NoAuth`.
    pub async fn get_children2(&self, path: &str) -> Result<(Vec<String>, Stat), ZkError> {
        self.get_children_call(path, None).await
    }

    /// [`Session::get_children`], and a watch for children created or deleted, or the node's deletion.
    ///
    /// # Errors
    /// Those of `get_children`; then there is no watch.
    pub async fn get_children_watch(&self, path: &str) -> Result<(Vec<String>, Watch), ZkError> {
        let (watching, watch) = one_shot(OneShot::Children);
        let (children, _stat) = self.get_children_call(path, Some(watching)).await?;
        Ok((children, watch))
    }

    async fn get_children_call(&self, path: &str, watching: Option<Watching>) -> Result<(Vec<String>, Stat), ZkError> {
        let request = GetChildrenRequest { path: self.full_path(path)?, watch: watching.is_some() };
        let response: GetChildren2Response = self.call(OpCode::GetChildren2, path, &request, watching).await?;
        Ok((response.children, response.stat))
    }

    /// A node's ACL.
    ///
    /// # Errors
    /// `NoNode`, `NoAuth`.
    pub async fn get_acl(&self, path: &str) -> Result<(Vec<Acl>, Stat), ZkError> {
        let request = GetAclRequest { path: self.full_path(path)? };
        let response: GetAclResponse = self.call(OpCode::GetAcl, path, &request, None).await?;
        Ok((response.acl, response.stat))
    }

    /// Replaces a node's ACL if that is of this version ([`Stat::aversion`]), -1 for any.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`, `InvalidACL`, `NoAuth`.
    pub async fn set_acl(&self, path: &str, acl: Vec<Acl>, version: i32) -> Result<Stat, ZkError> {
        let request = SetAclRequest { path: self.full_path(path)?, acl, version };
        let response: SetAclResponse = self.call(OpCode::SetAcl, path, &request, None).await?;
        Ok(response.stat)
    }

    /// Waits until the connected server has all that its leader had done before.
    ///
    /// # Errors
    /// The connection's and the session's.
    pub async fn sync(&self, path: &str) -> Result<(), ZkError> {
        let request = SyncRequest { path: self.full_path(path)? };
        // The answer repeats the path.
        let _: CreateResponse = self.call(OpCode::Sync, path, &request, None).await?;
        Ok(())
    }

    /// Applies all operations or none, each seeing those before it. The operations come from [`op`].
    ///
    /// # Errors
    /// [`ZkError::Multi`] says which operation failed and why.
    pub async fn multi(&self, ops: Vec<MultiOp>) -> Result<Vec<MultiResult>, ZkError> {
        let (paths, request) = self.multi_request(ops)?;
        let first = paths.first().map_or("/", String::as_str);
        let response: MultiResponse = self.call(OpCode::Multi, first, &request, None).await?;
        if let Some((index, code)) = response.first_error() {
            let codes = response.results.iter().map(|result| match result {
                MultiResult::Error(code) => *code,
                _ => ErrorCode::Ok,
            });
            let path = paths.get(index).cloned().unwrap_or_default();
            return Err(ZkError::Multi { index, code, path, codes: codes.collect() });
        }
        Ok(response.results.into_iter().map(|result| self.strip_result(result)).collect())
    }

    /// Reads in one round trip (`GetData` and `GetChildren` of [`op`]); each succeeds or fails alone (ZooKeeper 3.6). [`Session::read_many`] works
    /// with every server.
    ///
    /// # Errors
    /// [`ZkError::Unsupported`] with an older server.
    pub async fn multi_read(&self, ops: Vec<MultiOp>) -> Result<Vec<MultiResult>, ZkError> {
        if !self.knows_multi_read().await? {
            return Err(ZkError::Unsupported { operation: "multiRead" });
        }
        let (paths, request) = self.multi_request(ops)?;
        let first = paths.first().map_or("/", String::as_str);
        let response: MultiResponse = self.call(OpCode::MultiRead, first, &request, None).await?;
        Ok(response.results)
    }

    /// The data of many nodes, in the order asked for, nothing for those that are not there: by multiRead of 100 where the server knows it, else by
    /// pipelined getData.
    ///
    /// # Errors
    /// The first error other than `NoNode`.
    pub async fn read_many(&self, paths: &[String]) -> Result<Vec<Option<(Bytes, Stat)>>, ZkError> {
        // One node is not worth asking the server what it knows.
        let by_multi = paths.len() > 1 && self.knows_multi_read().await?;
        let mut found = Vec::with_capacity(paths.len());
        if by_multi {
            let mut answers = Vec::new();
            for chunk in paths.chunks(MULTI_READ_OPS_MAX) {
                let (_, request) = self.multi_request(chunk.iter().map(|path| op::get_data(path)).collect())?;
                let full = self.inner.chroot.prepend(&chunk[0]);
                answers.push((&chunk[0], self.submit(OpCode::MultiRead, full, request.to_body(), None).await?));
            }
            for (path, answered) in answers {
                let response: MultiResponse = self.decode(path, answered.await)?;
                for result in response.results {
                    let path = paths.get(found.len()).unwrap_or(path).clone();
                    found.push(match result {
                        MultiResult::GetData(response) => Some((response.data.unwrap_or_default(), response.stat)),
                        MultiResult::Error(ErrorCode::NoNode) => None,
                        MultiResult::Error(code) => return Err(ZkError::Server { code, path }),
                        _ => return Err(ZkError::Server { code: ErrorCode::RuntimeInconsistency, path }),
                    });
                }
            }
            if found.len() != paths.len() {
                let path = paths[0].clone();
                return Err(ZkError::Server { code: ErrorCode::RuntimeInconsistency, path });
            }
            return Ok(found);
        }
        let mut answers = Vec::with_capacity(paths.len());
        for path in paths {
            let request = GetDataRequest { path: self.full_path(path)?, watch: false };
            let body = request.to_body();
            answers.push((path, self.submit(OpCode::GetData, request.path, body, None).await?));
        }
        for (path, answered) in answers {
            found.push(match self.decode::<GetDataResponse>(path, answered.await) {
                Ok(response) => Some((response.data.unwrap_or_default(), response.stat)),
                Err(error) if error.is_no_node() => None,
                Err(error) => return Err(error),
            });
        }
        Ok(found)
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

    fn create_request(
        &self,
        path: &str,
        data: Bytes,
        mode: CreateMode,
        acl: Vec<Acl>,
    ) -> Result<CreateRequest, ZkError> {
        protocol::zookeeper::path::validate_create(path, mode.is_sequential()).map_err(|e| bad_path(path, &e))?;
        let path = self.inner.chroot.prepend(path);
        Ok(CreateRequest { path, data: Some(data), acl, flags: mode.as_i32() })
    }

    /// Puts the chroot before the paths of all operations; returns the paths as they were too.
    fn multi_request(&self, mut ops: Vec<MultiOp>) -> Result<(Vec<String>, MultiRequest), ZkError> {
        let mut paths = Vec::with_capacity(ops.len());
        for op in &mut ops {
            let (path, sequential) = op_path(op);
            protocol::zookeeper::path::validate_create(path, sequential).map_err(|e| bad_path(path, &e))?;
            let full = self.inner.chroot.prepend(path);
            paths.push(std::mem::replace(path, full));
        }
        Ok((paths, MultiRequest { ops }))
    }

    fn strip_result(&self, result: MultiResult) -> MultiResult {
        match result {
            MultiResult::Create(response) => {
                MultiResult::Create(CreateResponse { path: self.inner.chroot.strip(&response.path) })
            }
            MultiResult::Create2(response) => {
                let path = self.inner.chroot.strip(&response.path);
                MultiResult::Create2(Create2Response { path, stat: response.stat })
            }
            other => other,
        }
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

/// Operations for [`Session::multi`] and [`Session::multi_read`], with paths as the session names them.
pub mod op {
    use super::*;

    /// Creates a node that everybody may use.
    pub fn create(path: &str, data: impl Into<Bytes>, mode: CreateMode) -> MultiOp {
        let (path, data, acl, flags) = (path.to_owned(), Some(data.into()), Acl::open(), mode.as_i32());
        let request = CreateRequest { path, data, acl, flags };
        if mode == CreateMode::Container { MultiOp::CreateContainer(request) } else { MultiOp::Create(request) }
    }

    /// Deletes a node of this version, -1 for any.
    pub fn delete(path: &str, version: i32) -> MultiOp {
        MultiOp::Delete(DeleteRequest { path: path.to_owned(), version })
    }

    /// Replaces a node's data if it is of this version, -1 for any.
    pub fn set_data(path: &str, data: impl Into<Bytes>, version: i32) -> MultiOp {
        MultiOp::SetData(SetDataRequest { path: path.to_owned(), data: Some(data.into()), version })
    }

    /// Fails the multi unless the node is of this version: how a controller's writes are fenced.
    pub fn check(path: &str, version: i32) -> MultiOp {
        MultiOp::Check(protocol::zookeeper::CheckVersionRequest { path: path.to_owned(), version })
    }

    /// Reads a node (multiRead only).
    pub fn get_data(path: &str) -> MultiOp {
        MultiOp::GetData(GetDataRequest { path: path.to_owned(), watch: false })
    }

    /// Reads the names of a node's children (multiRead only).
    pub fn get_children(path: &str) -> MultiOp {
        MultiOp::GetChildren(GetChildrenRequest { path: path.to_owned(), watch: false })
    }
}

/// What an answer's body is read as: nothing, or a record.
trait Reply: Sized {
    fn from_reply(body: Bytes) -> Result<Self, protocol::zookeeper::JuteError>;
}

impl Reply for () {
    fn from_reply(_body: Bytes) -> Result<(), protocol::zookeeper::JuteError> {
        Ok(())
    }
}

macro_rules! replies {
    ($($record:ty)*) => {$(
        impl Reply for $record {
            fn from_reply(body: Bytes) -> Result<$record, protocol::zookeeper::JuteError> {
                <$record>::from_body(body)
            }
        }
    )*};
}

replies! {
    CreateResponse Create2Response ExistsResponse GetDataResponse SetDataResponse GetChildren2Response GetAclResponse SetAclResponse MultiResponse
}

fn one_shot(kind: OneShot) -> (Watching, Watch) {
    let (fire, fired) = oneshot::channel();
    (Watching::Once(kind, fire), Watch { fired })
}

fn bad_path(path: &str, why: &protocol::zookeeper::path::PathError) -> ZkError {
    ZkError::BadPath { path: path.to_owned(), why: why.to_string() }
}

fn op_path(op: &mut MultiOp) -> (&mut String, bool) {
    match op {
        MultiOp::Create(r) | MultiOp::Create2(r) | MultiOp::CreateContainer(r) => {
            (&mut r.path, CreateMode::from_i32(r.flags).is_some_and(CreateMode::is_sequential))
        }
        MultiOp::CreateTtl(r) => (&mut r.path, CreateMode::from_i32(r.flags).is_some_and(CreateMode::is_sequential)),
        MultiOp::Delete(r) => (&mut r.path, false),
        MultiOp::SetData(r) => (&mut r.path, false),
        MultiOp::Check(r) => (&mut r.path, false),
        MultiOp::GetData(r) => (&mut r.path, false),
        MultiOp::GetChildren(r) => (&mut r.path, false),
    }
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
