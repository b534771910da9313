//! The first part of a start: reach ZooKeeper, learn the cluster's id, this broker's id and the tree.
//!
//! Always true: nothing is written to a log directory here, and a start that is refused here has changed nothing but Kafka's parent znodes. So
//! whoever starts the same broker twice, or two brokers of one number, is told before the second has touched a log.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use client::probe;
use client::zookeeper::{Session, ZkError};
use protocol::types::TopicPartition;
use runtime::Clock;
use runtime::clock::Instant;
use runtime::machine::without_number;
use storage::{LogManager, StorageError};
use tracing::info;

use super::Start;
use crate::control::begin_session;
use crate::control_thread::ControlThread;
use crate::controller::plan::after_unclean_start;
use crate::controller::write_states;
use crate::error::BrokerError;
use crate::metadata::Image;
use crate::metadata::feed::Feed;
use crate::registration;

/// A lock file is a line or two.
const LOCK_FILE_BYTES_MAX: u64 = 4096;

/// Times a broker tries to leave ISRs that others change at the same time.
const LEAVING_TRIES_MAX: usize = 20;

/// Pause before a step that lost its connection is tried again: the session has noticed the loss by then.
const LOST_PAUSE: Duration = Duration::from_millis(100);

/// How often somebody who waits for ZooKeeper is told so.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// What ZooKeeper told at the start.
pub(super) struct Joined {
    pub(super) session: Session,
    pub(super) cluster_id: String,
    pub(super) id: i32,
    /// Sessions of this broker's last runs, as its log directories remember them.
    pub(super) previous: Vec<i64>,
    /// The epoch it was registered with last.
    pub(super) last_epoch: Option<i64>,
    pub(super) feed: Feed,
    pub(super) image: Image,
}

impl Start {
    /// Reaches ZooKeeper and learns the cluster's id, this broker's id, and the tree.
    pub(super) async fn join(&self) -> Result<Joined, BrokerError> {
        for dir in &self.config.log_dirs {
            self.refuse_locked(dir)?;
        }
        let session = self.reach_zookeeper().await?;
        let patience = Patience::new(&session, self.clock, self.config.zookeeper_connection_timeout);
        loop {
            match self.learn(&session).await {
                Ok(joined) => return Ok(joined),
                Err(error) => patience.wait_out(error).await?,
            }
        }
    }

    /// Reads and prepares the tree. All of it may be done twice.
    async fn learn(&self, session: &Session) -> Result<Joined, BrokerError> {
        let failed = |error: ZkError| BrokerError::zookeeper("give the cluster's metadata", &error);
        // Watches need no tree to be there, and asking whether the server knows persistent ones takes a session of its own: both at once.
        let (tree, feed) = tokio::join!(registration::ensure_tree(session, self.random), Feed::start(session.clone()));
        let cluster_id = tree?;
        let mut feed = feed.map_err(failed)?;
        let id = self.broker_id(session).await?;
        let mut previous: Vec<i64> = Vec::new();
        for session in self.config.log_dirs.iter().flat_map(|dir| self.noted_sessions(dir)) {
            if !previous.contains(&session) {
                previous.push(session);
            }
        }
        let mut image = Image::default();
        for change in feed.read_all().await.map_err(failed)? {
            image.apply(change, &self.config.settings);
        }
        image.complete = true;
        registration::refuse_foreign(&image, id, &self.config.zookeeper_connect)?;
        if image.is_live(id) {
            registration::refuse_taken(session, id, &previous, self.clock).await?;
        }
        registration::drop_previous(session, id, &previous).await?;
        let last_epoch = registration::last_epoch(session, id).await?;
        Ok(Joined { session: session.clone(), cluster_id, id, previous, last_epoch, feed, image })
    }

    /// Takes this broker out of the ISRs and ELRs for which it may lack records (KIP-966), before anybody can elect it: where it did not shut down in order, and where a log is
    /// gone. Most starts find nothing to do.
    #[allow(clippy::too_many_arguments, reason = "called in one place, with what that place has")]
    pub(super) async fn leave_isrs(
        &self,
        control: &ControlThread,
        session: &Session,
        id: i32,
        clean: bool,
        logs: &Arc<LogManager>,
        mut feed: Feed,
        mut image: Image,
    ) -> Result<(Feed, Image), BrokerError> {
        let (session, logs, config) = (session.clone(), logs.clone(), self.config.clone());
        let patience = Patience::new(&session, self.clock, self.config.zookeeper_connection_timeout);
        let action = "leave the ISRs this broker may lack records for";
        control
            .run(async move {
                let is_here = |topic: &str, partition: i32| logs.get(&TopicPartition::new(topic, partition)).is_some();
                for _ in 0..LEAVING_TRIES_MAX {
                    let states =
                        after_unclean_start(&image, id, |topic, partition| !clean || !is_here(topic, partition));
                    if states.is_empty() {
                        return Ok((feed, image));
                    }
                    info!(
                        partitions = states.len(),
                        clean, "leaving ISRs of partitions of which records may be lost here"
                    );
                    if let Err(error) = write_states(&session, None, states).await {
                        patience.wait_out(BrokerError::zookeeper(action, &error)).await?;
                    }
                    // Also where somebody else was quicker, or an answer was lost: what the tree says now counts.
                    let changes = loop {
                        match feed.read_all().await {
                            Ok(changes) => break changes,
                            Err(error) => patience.wait_out(BrokerError::zookeeper(action, &error)).await?,
                        }
                    };
                    let mut read = Image::default();
                    for change in changes {
                        read.apply(change, &config.settings);
                    }
                    read.complete = true;
                    read.carry_over(&image);
                    image = read;
                }
                Err(BrokerError::ZooKeeper {
                    action: action.to_owned(),
                    cause: format!("others changed them {LEAVING_TRIES_MAX} times meanwhile"),
                    passes: false,
                })
            })
            .await
    }

    /// A session that is connected. While it is waited for, that is told once a second: nobody should have to guess what a silent program does.
    async fn reach_zookeeper(&self) -> Result<Session, BrokerError> {
        let origin = self.config.settings.origin("zookeeper.connect");
        let session = begin_session(&self.config, self.clock, self.random).map_err(|error| BrokerError::Config {
            what: error.to_string(),
            cause: String::new(),
            origin: Some(origin.clone()),
            advice: Some("zookeeper.connect: host:2181,host:2181/chroot".to_owned()),
        })?;
        let (servers, limit) = (&self.config.zookeeper_connect, self.config.zookeeper_connection_timeout);
        let reaching = session.clone();
        let mut connected = std::pin::pin!(reaching.connected(limit));
        let mut waited = Duration::ZERO;
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut connected => break outcome,
                () = self.clock.sleep(TELL_INTERVAL) => {
                    waited += TELL_INTERVAL;
                    if waited < limit {
                        let (waited, limit) = (waited.as_secs(), limit.as_secs());
                        info!("waiting for ZooKeeper at {servers}, {waited} of {limit} s: {}", without_number(&session.last_failure()));
                    }
                }
            }
        };
        match outcome {
            Ok(()) => Ok(session),
            Err(error) => Err(BrokerError::ZooKeeperUnreachable {
                servers: servers.clone(),
                origin,
                instead: match self.surroundings.machine.is_simulated() {
                    true => None,
                    false => probe::instead_of_zookeeper(session.connect_string()).await.map(|other| other.to_string()),
                },
                timeout_ms: limit.as_millis(),
                cause: match error {
                    ZkError::ConnectTimeout { last, .. } => without_number(&last).to_owned(),
                    other => other.to_string(),
                },
            }),
        }
    }

    /// `broker.id`, else the one the log directories belong to, else a new one.
    async fn broker_id(&self, session: &Session) -> Result<i32, BrokerError> {
        if let Some(id) = self.config.broker_id {
            return Ok(id);
        }
        for dir in &self.config.log_dirs {
            let stored = storage::meta_properties::read(self.disk, dir).map_err(storage_error)?;
            if let Some(id) = stored.and_then(|stored| stored.broker_id) {
                return Ok(id);
            }
        }
        registration::generate_broker_id(session, self.config.reserved_broker_max_id).await
    }

    fn noted_sessions(&self, dir: &Path) -> Vec<i64> {
        // No lock file, no earlier run.
        let text = self.disk.read(&dir.join(".lock"), LOCK_FILE_BYTES_MAX).unwrap_or_default();
        registration::noted_sessions(&String::from_utf8_lossy(&text)).collect()
    }

    /// Looks whether another process has a directory. The lock itself is taken when the logs are opened; until then it is let go again.
    fn refuse_locked(&self, dir: &Path) -> Result<(), BrokerError> {
        let path = dir.join(".lock");
        if self.disk.exists(&path) && matches!(self.disk.try_lock(&path), Ok(None)) {
            return Err(BrokerError::DirectoryLocked {
                directory: dir.display().to_string(),
                holder: self.disk.lock_holder(&path),
            });
        }
        Ok(())
    }
}

/// Bears with a connection to ZooKeeper that comes and goes while a broker starts, for as long as a first connection may take.
pub(super) struct Patience {
    session: Session,
    clock: Clock,
    until: Instant,
}

impl Patience {
    pub(super) fn new(session: &Session, clock: Clock, limit: Duration) -> Patience {
        Patience { session: session.clone(), clock, until: clock.now() + limit }
    }

    /// Waits until a step may be tried again.
    ///
    /// # Errors
    /// The step's own, where it was not the connection, or the time is up.
    pub(super) async fn wait_out(&self, error: BrokerError) -> Result<(), BrokerError> {
        let left = self.until.saturating_duration_since(self.clock.now());
        if left.is_zero() || !matches!(error, BrokerError::ZooKeeper { passes: true, .. }) {
            return Err(error);
        }
        info!(%error, "the connection to ZooKeeper was lost during the start; going on when it is back");
        self.clock.sleep(LOST_PAUSE.min(left)).await;
        self.session.connected(left).await.map_err(|_| error)
    }
}

/// What a broker says of trouble with its log directories.
pub(super) fn storage_error(problem: StorageError) -> BrokerError {
    match problem {
        StorageError::Locked { dir, holder } => {
            BrokerError::DirectoryLocked { directory: dir.display().to_string(), holder }
        }
        StorageError::BrokerIdMismatch { dir, stored, configured } => BrokerError::BrokerIdMismatch {
            configured,
            stored,
            path: dir.join("meta.properties").display().to_string(),
        },
        StorageError::ClusterIdMismatch { path, expected, stored } => {
            BrokerError::ClusterIdMismatch { found: expected, stored, path: path.display().to_string() }
        }
        StorageError::Io { action, path, source } if is_no_place(source.kind()) => BrokerError::DirectoryUnusable {
            // What is said of the file that marks it is said of the directory.
            directory: if path.ends_with(".lock") { path.parent().unwrap_or(&path) } else { &path }
                .display()
                .to_string(),
            action,
            source: std::io::Error::new(source.kind(), source.to_string()),
        },
        other => BrokerError::Storage(other.to_string()),
    }
}

/// Whether the directory is simply not one that this process can keep logs in.
fn is_no_place(kind: ErrorKind) -> bool {
    use ErrorKind::{AlreadyExists, NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    // A file stands where the directory should: `AlreadyExists`.
    matches!(kind, AlreadyExists | NotADirectory | PermissionDenied | ReadOnlyFilesystem)
}
