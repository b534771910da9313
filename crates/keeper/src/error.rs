//! Why the keeper cannot start or cannot go on. Display says what happened; [`KeeperError::cause`] and [`KeeperError::help`] are the other two lines a person wants.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use runtime::machine::{Process, port_holder, without_number};

/// Everything that ends a keeper. What a client does wrong is never here: it gets an error code of ZooKeeper's protocol.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The properties file cannot be read.
    #[error("cannot read {}", file.display())]
    ConfigUnreadable { file: PathBuf, line: Option<usize>, reason: String },
    /// A line of the properties file has a value that breaks its rule.
    #[error("{}:{line}: {key}={value} is not valid", file.display())]
    ConfigValue { file: PathBuf, line: usize, key: String, value: String, rule: String },
    /// A key that must be there is not.
    #[error("{}: {key} is not set", file.display())]
    ConfigMissing { file: PathBuf, key: &'static str },
    /// The file describes a server of an ensemble.
    #[error("{}:{line}: {key} makes this a server of an ensemble", file.display())]
    Ensemble { file: PathBuf, line: usize, key: String },
    /// The address is taken.
    #[error("cannot listen on {address}: Address already in use")]
    AddressInUse { address: SocketAddr },
    /// The address cannot be bound for another reason.
    #[error("cannot listen on {address}")]
    Bind { address: SocketAddr, source: io::Error },
    /// Another keeper uses the directory.
    #[error("data directory {} is in use", dir.display())]
    Locked { dir: PathBuf, holder: Option<u32> },
    /// The directory belongs to Apache ZooKeeper.
    #[error("{} holds data of Apache ZooKeeper (version-2)", dir.display())]
    ForeignData { dir: PathBuf },
    /// The transaction log is damaged where that cannot come from a crash.
    #[error("transaction log {} is damaged at offset {offset}: {what}", file.display())]
    LogDamaged { file: PathBuf, offset: u64, what: String },
    /// Snapshots exist and none can be read, or log and snapshots do not fit together.
    #[error("no usable snapshot in {}: {what}", dir.display())]
    SnapshotDamaged { dir: PathBuf, what: String },
    /// The disk refused something.
    #[error("cannot {what} {}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// The machine has no thread or descriptor to give.
    #[error("cannot start the keeper's {what}")]
    Start { what: &'static str, source: io::Error },
    /// A thread of the keeper panicked: a bug of ours.
    #[error("the keeper's thread ended by a panic")]
    Panicked,
}

impl KeeperError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> KeeperError {
        let path = path.into();
        move |source| KeeperError::Io { what, path, source }
    }

    /// Whether there was no room.
    pub(crate) fn is_full_disk(&self) -> bool {
        matches!(self, KeeperError::Io { source, .. } if is_full_disk(source))
    }

    /// Why it happened, where more is known than the message says.
    pub fn cause(&self) -> Option<String> {
        match self {
            KeeperError::ConfigUnreadable { reason, .. } => Some(reason.clone()),
            KeeperError::ConfigValue { rule, .. } => Some(rule.clone()),
            KeeperError::ConfigMissing { .. } => Some("it says where the tree is kept".to_owned()),
            KeeperError::Ensemble { .. } => {
                Some("this keeper is a single server; an ensemble is a real Apache ZooKeeper".to_owned())
            }
            KeeperError::AddressInUse { address } => Some(match port_holder(address.port()) {
                Some(holder) => format!("{holder} holds the port"),
                None => "a program of another user holds the port".to_owned(),
            }),
            KeeperError::Locked { holder: Some(pid), .. } => Some(format!("{} holds its lock", Process::of(*pid))),
            KeeperError::Locked { holder: None, .. } => Some("another keeper holds its lock".to_owned()),
            KeeperError::ForeignData { .. } => {
                Some("this keeper has a log format of its own and would neither read nor overwrite it".to_owned())
            }
            KeeperError::LogDamaged { .. } => Some(
                "records that were acknowledged are no longer readable; a crash damages only the very end of the newest file".to_owned(),
            ),
            KeeperError::SnapshotDamaged { .. } => {
                Some("without it, transactions that were acknowledged would be lost".to_owned())
            }
            KeeperError::Bind { source, .. } | KeeperError::Io { source, .. } | KeeperError::Start { source, .. } => {
                Some(without_number(&source.to_string()).to_owned())
            }
            KeeperError::Panicked => None,
        }
    }

    /// What to do next: one command, and behind three blanks what else would do.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            KeeperError::ConfigUnreadable { file, line: Some(line), .. } => format!("vi +{line} {}", file.display()),
            KeeperError::ConfigUnreadable { line: None, .. } => {
                "bin/zookeeper-server-start.sh config/zookeeper.properties".to_owned()
            }
            KeeperError::ConfigValue { file, line, .. } => format!("vi +{line} {}", file.display()),
            KeeperError::ConfigMissing { file, key } => format!("echo {key}=data/keeper >> {}", file.display()),
            KeeperError::Ensemble { file, line, .. } => format!(
                "vi +{line} {}   (remove the server.N lines, or run Apache ZooKeeper and give its addresses as zookeeper.connect)",
                file.display()
            ),
            KeeperError::AddressInUse { address } => {
                let other = format!("or another port: clientPort={}", address.port().saturating_add(1));
                match port_holder(address.port()) {
                    Some(holder) => format!("kill {}   ({other})", holder.pid),
                    None => format!("ss -ltnp 'sport = :{}'   ({other})", address.port()),
                }
            }
            KeeperError::Bind { address, .. } => {
                format!("hostname -I   (clientPortAddress={} must be an address of this machine)", address.ip())
            }
            KeeperError::Locked { holder: Some(pid), .. } => format!("kill {pid}   (or another dataDir)"),
            KeeperError::Locked { holder: None, .. } => "stop it first, or set another dataDir".to_owned(),
            KeeperError::ForeignData { .. } => {
                "bin/zookeeper-server-start.sh config/zookeeper.properties   (any other dataDir than this one)"
                    .to_owned()
            }
            KeeperError::LogDamaged { file, .. } => format!(
                "restore {} from a copy; do not delete it, it is the only record of those transactions",
                file.display()
            ),
            KeeperError::SnapshotDamaged { dir, .. } => format!("restore {} from a copy", dir.display()),
            KeeperError::Io { path, source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                format!("df -h {}   (free space there and start again)", place(path).display())
            }
            KeeperError::Io { path, source, .. } if is_no_place(source.kind()) => {
                format!(
                    "ls -ld {}   (this user must be able to write there; or set another dataDir)",
                    place(path).display()
                )
            }
            KeeperError::Io { .. } => {
                "check the disk, then start again: what was acknowledged is in the log".to_owned()
            }
            KeeperError::Start { .. } => "ulimit -a   (raise processes, -u, and open files, -n)".to_owned(),
            KeeperError::Panicked => "please report it with what stands above on stderr".to_owned(),
        })
    }
}

/// Whether there was no room.
pub(crate) fn is_full_disk(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the directory is simply not one that this process can keep its data in.
fn is_no_place(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{AlreadyExists, NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    // A file stands where the directory should: `AlreadyExists`.
    matches!(kind, AlreadyExists | NotADirectory | PermissionDenied | ReadOnlyFilesystem)
}

/// The nearest folder above that is there: the one somebody would look at.
fn place(path: &Path) -> &Path {
    path.ancestors().find(|folder| !folder.as_os_str().is_empty() && folder.exists()).unwrap_or(Path::new("."))
}
