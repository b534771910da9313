//! Why a broker does not start, or stops: what happened, why, and the one thing to try.

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
        /// File and line, or what the system said.
        cause: String,
        /// What the key is for.
        help: Option<String>,
    },
    /// A listener's port belongs to another program.
    #[error("Socket server failed to bind to {address}: {source}.")]
    Bind {
        /// The address as configured.
        address: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// No ZooKeeper answered within `zookeeper.connection.timeout.ms`.
    #[error("Timed out waiting for connection to ZooKeeper server {servers} after {timeout_ms} ms")]
    ZooKeeperUnreachable {
        /// `zookeeper.connect`.
        servers: String,
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
        "Configured broker.id {configured} doesn't match stored broker.id {stored} in {path}. If you moved your data, make sure your configured broker.id matches. If you intend to create a new broker, you should remove all data in your data directories (log.dirs)."
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
        "The Cluster ID {found} doesn't match stored clusterId {stored} in {path}. The broker is trying to join the wrong cluster. Configured zookeeper.connect may be wrong."
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
        /// Host and port of the registered one.
        holder: String,
    },
    /// A live broker of another make is registered in the same tree.
    #[error("broker {id} at {address} is not a Tidemill broker, and this one cannot share a cluster with it")]
    ForeignBroker {
        /// Its id.
        id: i32,
        /// Its address.
        address: String,
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
}

impl BrokerError {
    /// The `cause:` line, where the first line does not say it.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        match self {
            BrokerError::Config { cause, .. } | BrokerError::ZooKeeperUnreachable { cause, .. } => Some(cause.clone()),
            BrokerError::DirectoryLocked { holder: Some(pid), .. } => Some(format!("process {pid} holds it")),
            BrokerError::RegistrationConflict { holder, .. } => Some(format!("it is registered by {holder}")),
            BrokerError::ForeignBroker { .. } => Some(
                "Tidemill's controller sends no LeaderAndIsr or UpdateMetadata, which Apache Kafka brokers wait for"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// The `help:` line: one thing to try.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            BrokerError::Config { help, .. } => help.clone(),
            BrokerError::Bind { .. } => {
                Some("stop the program that holds the port, or set another one in listeners".to_owned())
            }
            BrokerError::ZooKeeperUnreachable { .. } => {
                Some("start it first: bin/zookeeper-server-start.sh config/zookeeper.properties".to_owned())
            }
            BrokerError::DirectoryLocked { .. } => Some("stop that process, or set another log.dirs".to_owned()),
            BrokerError::RegistrationConflict { .. } => {
                Some("set another broker.id, or wait for the old session to expire and start again".to_owned())
            }
            BrokerError::ForeignBroker { .. } => Some(
                "stop the other broker, or give this one a chroot of its own: zookeeper.connect=host:2181/tidemill"
                    .to_owned(),
            ),
            BrokerError::ClusterIdMismatch { .. } => {
                Some("point zookeeper.connect at the cluster of this directory, or set another log.dirs".to_owned())
            }
            _ => None,
        }
    }
}
