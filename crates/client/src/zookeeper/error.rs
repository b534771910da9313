//! What can go wrong with ZooKeeper, said by what the caller can do next.

use protocol::zookeeper::{ErrorCode, JuteError};

/// The error of sessions and znodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZkError {
    /// `zookeeper.connect` cannot be read.
    #[error("bad ZooKeeper connect string '{text}': {why}")]
    BadConnectString {
        /// The string.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// No server answered in time. The session goes on trying only if the caller keeps it.
    #[error("Timed out waiting for connection while in state: CONNECTING (ZooKeeper at {connect_string}: {last})")]
    ConnectTimeout {
        /// Where it was looked for.
        connect_string: String,
        /// What the last attempt said.
        last: String,
    },
    /// The connection broke while the operation was under way: it may or may not have been done. Read before repeating.
    #[error("KeeperErrorCode = ConnectionLoss for {path}")]
    ConnectionLoss {
        /// The znode it was about.
        path: String,
    },
    /// There was no connection for a whole session time-out: the operation was never sent.
    #[error("KeeperErrorCode = ConnectionLoss for {path} (not sent, there was no connection)")]
    NotConnected {
        /// The znode it was about.
        path: String,
    },
    /// The server has declared the session expired: its ephemeral nodes are gone, and a new session is needed.
    #[error("KeeperErrorCode = Session expired")]
    SessionExpired,
    /// The server refused the credentials. The session is of no more use.
    #[error("KeeperErrorCode = AuthFailed")]
    AuthFailed,
    /// This side closed the session.
    #[error("the ZooKeeper session is closed")]
    Closed,
    /// The server answered the operation with an error.
    #[error("KeeperErrorCode = {} for {path}", java_name(*.code))]
    Server {
        /// Its code.
        code: ErrorCode,
        /// The znode it was about.
        path: String,
    },
    /// A multi failed, so nothing of it was applied.
    #[error("KeeperErrorCode = {} for {path} (operation {} of {} in a multi)", java_name(*.code), .index + 1, .codes.len())]
    Multi {
        /// Which operation failed, from 0.
        index: usize,
        /// Its code.
        code: ErrorCode,
        /// The znode that operation was about.
        path: String,
        /// The codes of all operations: `Ok` before the failed one, `RuntimeInconsistency` behind it.
        codes: Vec<ErrorCode>,
    },
    /// The server is too old for the operation. Checked on a connection of its own, so nothing else was disturbed.
    #[error("the ZooKeeper server does not know {operation} (ZooKeeper 3.6 does)")]
    Unsupported {
        /// Name of the operation.
        operation: &'static str,
    },
    /// The path is not one a znode can have.
    #[error("bad znode path '{path}': {why}")]
    BadPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The request is longer than a server accepts (`jute.maxbuffer`): sending it would cost the connection.
    #[error("request of {bytes} bytes for {path} is longer than ZooKeeper accepts ({limit} bytes, jute.maxbuffer)")]
    RequestTooLong {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        limit: usize,
        /// The znode it was about.
        path: String,
    },
    /// The server's answer is not what the protocol says.
    #[error("the ZooKeeper server's answer for {path} cannot be read: {cause}")]
    BadReply {
        /// The znode it was about.
        path: String,
        /// What is wrong with it.
        cause: JuteError,
    },
    /// A znode does not hold what Kafka keeps there.
    #[error("znode {path} cannot be read: {why}")]
    BadZnode {
        /// The znode.
        path: String,
        /// What is wrong with its data.
        why: String,
    },
}

impl ZkError {
    /// The server's code, for an operation or a multi that it refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ZkError::Server { code, .. } | ZkError::Multi { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The znode is not there.
    pub fn is_no_node(&self) -> bool {
        self.code() == Some(ErrorCode::NoNode)
    }

    /// The znode is there already.
    pub fn is_node_exists(&self) -> bool {
        self.code() == Some(ErrorCode::NodeExists)
    }

    /// Somebody else changed the znode since it was read.
    pub fn is_bad_version(&self) -> bool {
        self.code() == Some(ErrorCode::BadVersion)
    }

    /// The connection was lost, before or after the operation was sent: the session may well live on.
    pub fn is_connection_loss(&self) -> bool {
        matches!(self, ZkError::ConnectionLoss { .. } | ZkError::NotConnected { .. } | ZkError::ConnectTimeout { .. })
    }

    /// No operation of this session will succeed again.
    pub fn is_terminal(&self) -> bool {
        matches!(self, ZkError::SessionExpired | ZkError::AuthFailed | ZkError::Closed)
    }
}

/// The words of Java's `KeeperException.getCodeMessage`: what people search for.
fn java_name(code: ErrorCode) -> String {
    let name = match code {
        ErrorCode::SystemError => "SystemError",
        ErrorCode::RuntimeInconsistency => "RuntimeInconsistency",
        ErrorCode::DataInconsistency => "DataInconsistency",
        ErrorCode::ConnectionLoss => "ConnectionLoss",
        ErrorCode::MarshallingError => "MarshallingError",
        ErrorCode::Unimplemented => "Unimplemented",
        ErrorCode::OperationTimeout => "OperationTimeout",
        ErrorCode::BadArguments => "BadArguments",
        ErrorCode::NoNode => "NoNode",
        ErrorCode::NoAuth => "NoAuth",
        ErrorCode::BadVersion => "BadVersion",
        ErrorCode::NoChildrenForEphemerals => "NoChildrenForEphemerals",
        ErrorCode::NodeExists => "NodeExists",
        ErrorCode::NotEmpty => "Directory not empty",
        ErrorCode::SessionExpired => "Session expired",
        ErrorCode::InvalidAcl => "InvalidACL",
        ErrorCode::AuthFailed => "AuthFailed",
        ErrorCode::SessionMoved => "Session moved",
        ErrorCode::NoWatcher => "No such watcher",
        ErrorCode::QuotaExceeded => "Quota has exceeded",
        ErrorCode::ThrottledOp => "Op throttled due to high load",
        other => return other.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_carry_the_words_people_search_for() {
        let error = ZkError::Server { code: ErrorCode::NoNode, path: "/brokers/ids/0".into() };
        assert_eq!(error.to_string(), "KeeperErrorCode = NoNode for /brokers/ids/0");
        let codes = vec![ErrorCode::Ok, ErrorCode::BadVersion];
        let error = ZkError::Multi { index: 1, code: ErrorCode::BadVersion, path: "/a".into(), codes };
        assert_eq!(error.to_string(), "KeeperErrorCode = BadVersion for /a (operation 2 of 2 in a multi)");
        assert!(error.is_bad_version());
    }
}
