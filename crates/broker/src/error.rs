//! Why a broker does not start, or stops: what happened, why, and the one command to try.

use client::zookeeper::ZkError;

use crate::config::Origin;

/// Why a broker does not start, or stops.
///
/// `Display` is the first line a person reads and searches for; [`BrokerError::cause`] and [`BrokerError::help`] are the two lines after it.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A file or setting that cannot be used.
    #[error("{what}")]
    Config {
        /// The rule that is broken, in Kafka's words.
        what: String,
        /// What broke it, or what the system said.
        cause: String,
        /// Where the setting was made, where it was made at all.
        origin: Option<Origin>,
        /// What the key is for, or what to do where no line of a file is to be changed.
        advice: Option<String>,
    },
    /// A listener's port belongs to another program.
    #[error("Socket server failed to bind to {address}: {}.", said(source))]
    Bind {
        /// The address as configured.
        address: String,
        /// Its port.
        port: u16,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// No ZooKeeper answered within `zookeeper.connection.timeout.ms`.
    #[error("Timed out waiting for connection to ZooKeeper server {servers} after {timeout_ms} ms")]
    ZooKeeperUnreachable {
        /// `zookeeper.connect`.
        servers: String,
        /// Where that was set.
        origin: Origin,
        /// What answers there instead, as a sentence.
        instead: Option<String>,
        /// How long it was tried.
        timeout_ms: u128,
        /// What the last attempt met.
        cause: String,
    },
    /// A ZooKeeper operation that start-up needs failed.
    #[error("ZooKeeper refused to {action}: {cause}")]
    ZooKeeper {
        /// What was asked, as a verb phrase.
        action: String,
        /// What it answered.
        cause: String,
        /// Whether only the connection was lost: the same may succeed when it is back.
        passes: bool,
    },
    /// Another process uses the log directory.
    #[error(
        "Failed to acquire lock on file .lock in {directory}. A Kafka instance in another process or thread is using this directory."
    )]
    DirectoryLocked {
        /// The log directory.
        directory: String,
        /// Process id of the holder, when its lock file says.
        holder: Option<u32>,
    },
    /// The log directory was written by a broker of another id.
    #[error(
        "kafka.common.InconsistentBrokerIdException: Configured broker.id {configured} doesn't match stored broker.id {stored} in {path}. If you moved your data, make sure your configured broker.id matches. If you intend to create a new broker, you should remove all data in your data directories (log.dirs)."
    )]
    BrokerIdMismatch {
        /// `broker.id` of the configuration.
        configured: i32,
        /// The one that wrote the directory.
        stored: i32,
        /// The `meta.properties`.
        path: String,
    },
    /// The log directory belongs to another cluster.
    #[error(
        "kafka.common.InconsistentClusterIdException: The Cluster ID {found} doesn't match stored clusterId {stored} in {path}. The broker is trying to join the wrong cluster. Configured zookeeper.connect may be wrong."
    )]
    ClusterIdMismatch {
        /// Id of the cluster that `zookeeper.connect` leads to.
        found: String,
        /// Id in `meta.properties`.
        stored: String,
        /// The `meta.properties`.
        path: String,
    },
    /// The broker id is registered by somebody else.
    #[error(
        "A broker is already registered on the path {path}. This probably indicates that you either have configured a brokerid that is already in use, or else you have shutdown this broker and restarted it faster than the zookeeper timeout so it appears to be re-registering."
    )]
    RegistrationConflict {
        /// `/brokers/ids/N`.
        path: String,
        /// Host and port of the registered one, and since when it is.
        holder: String,
        /// A number no broker has.
        free: i32,
    },
    /// A live broker of another make is registered in the same tree.
    #[error("broker {id} at {address} is not a Tidemill broker, and this one cannot share a cluster with it")]
    ForeignBroker {
        /// Its id.
        id: i32,
        /// Its address.
        address: String,
        /// `zookeeper.connect`, which led there.
        servers: String,
    },
    /// A log directory cannot be made or written.
    #[error("Failed to create or validate data directory {directory}")]
    DirectoryUnusable {
        /// The log directory, or what in it cannot be made.
        directory: String,
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A directory or file could not be used.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried, as a verb phrase.
        action: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The logs could not be opened.
    #[error("cannot open the logs: {0}")]
    Storage(String),
    /// No log directory is left: each met a failed write or sync.
    #[error("Shutdown broker because all log dirs in {directories} have failed")]
    AllLogDirsFailed {
        /// `log.dirs`.
        directories: String,
        /// What failed first in each.
        causes: String,
    },
}

impl BrokerError {
    /// A ZooKeeper operation that start-up needs failed.
    #[must_use]
    pub fn zookeeper(action: &str, error: &ZkError) -> BrokerError {
        BrokerError::ZooKeeper {
            action: action.to_owned(),
            cause: error.to_string(),
            passes: error.is_connection_loss(),
        }
    }

    /// The `cause:` line, where the first line does not say it.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        match self {
            BrokerError::AllLogDirsFailed { causes, .. } => Some(causes.clone()),
            BrokerError::Config { cause, origin: None, .. } => Some(cause.clone()),
            BrokerError::Config { cause, origin: Some(origin), .. } if cause.is_empty() => Some(format!("{origin}")),
            BrokerError::Config { cause, origin: Some(origin), .. } => Some(format!("{cause} ({origin})")),
            BrokerError::Bind { port, source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                Some(match runtime::machine::port_holder(*port) {
                    Some(holder) => format!("{holder} holds the port"),
                    None => "a program of another user holds the port".to_owned(),
                })
            }
            BrokerError::ZooKeeperUnreachable { cause, instead, origin, .. } => {
                let cause = instead.as_ref().unwrap_or(cause);
                Some(format!("{cause}; zookeeper.connect is {origin}"))
            }
            BrokerError::DirectoryLocked { holder: Some(pid), .. } => {
                Some(format!("{} holds it", runtime::machine::Process::of(*pid)))
            }
            BrokerError::RegistrationConflict { holder, .. } => Some(format!("it is registered by {holder}")),
            BrokerError::ForeignBroker { .. } => Some(
                "Tidemill's controller sends no LeaderAndIsr or UpdateMetadata, which Apache Kafka brokers wait for"
                    .to_owned(),
            ),
            BrokerError::DirectoryUnusable { action, source, .. } => Some(format!("cannot {action}: {}", said(source))),
            _ => None,
        }
    }

    /// The `help:` line: one command, and behind three blanks what else would do. `start` is the command that started this broker.
    #[must_use]
    pub fn help(&self, start: &str) -> Option<String> {
        Some(match self {
            BrokerError::Config { origin: Some(Origin::File { path, line }), advice, .. } => {
                let note = advice.as_ref().map(|advice| format!("   ({advice})")).unwrap_or_default();
                format!("vi +{line} {path}{note}")
            }
            BrokerError::Config { advice, .. } => return advice.clone(),
            BrokerError::Bind { port, source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                let other = format!("--override listeners=PLAINTEXT://localhost:{}", port.saturating_add(1));
                match runtime::machine::port_holder(*port) {
                    Some(holder) => format!("kill {}   (or another port: {other})", holder.pid),
                    None => format!("{start} {other}"),
                }
            }
            BrokerError::Bind { .. } => format!("{start} --override listeners=PLAINTEXT://localhost:9092"),
            BrokerError::ZooKeeperUnreachable { instead: Some(_), origin: Origin::File { path, line }, .. } => {
                format!("vi +{line} {path}   (zookeeper.connect takes a ZooKeeper's port, 2181 as a rule)")
            }
            BrokerError::ZooKeeperUnreachable { .. } => {
                "bin/zookeeper-server-start.sh config/zookeeper.properties".to_owned()
            }
            BrokerError::DirectoryLocked { holder: Some(pid), .. } => {
                format!("kill {pid}   (or another directory: --override log.dirs=data/kafka-logs-2)")
            }
            BrokerError::DirectoryLocked { holder: None, .. } | BrokerError::DirectoryUnusable { .. } => {
                format!("{start} --override log.dirs=data/kafka-logs-2")
            }
            BrokerError::AllLogDirsFailed { .. } => {
                format!("{start}   (once the disk is repaired: the start checks what the directories hold)")
            }
            BrokerError::RegistrationConflict { free, .. } => format!(
                "{start} --override broker.id={free}   (with log.dirs of its own; or stop the other one, or wait until its session expires)"
            ),
            BrokerError::BrokerIdMismatch { stored, .. } => format!("{start} --override broker.id={stored}"),
            BrokerError::ForeignBroker { servers, .. } => {
                let servers = servers.split('/').next().unwrap_or_default();
                format!("{start} --override zookeeper.connect={servers}/tidemill   (or stop the other broker)")
            }
            BrokerError::ClusterIdMismatch { found, .. } => format!(
                "{start} --override log.dirs=data/kafka-logs-{found}   (or let zookeeper.connect lead to this directory's cluster)"
            ),
            BrokerError::ZooKeeper { .. } | BrokerError::Io { .. } | BrokerError::Storage(_) => return None,
        })
    }
}

fn said(error: &std::io::Error) -> String {
    runtime::machine::without_number(&error.to_string()).to_owned()
}
