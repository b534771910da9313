//! The numbers of ZooKeeper's protocol, each with the name ZooKeeper gives it (`ZooDefs.java`, `KeeperException.java`, `CreateMode.java`, `Watcher.java`).

use std::fmt;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $value:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum $name { $($(#[$vdoc])* $variant = $value,)* }

        impl $name {
            /// The value with this number, if there is one.
            pub fn from_i32(number: i32) -> Option<$name> {
                match number { $($value => Some($name::$variant),)* _ => None }
            }

            /// The number on the wire.
            pub const fn as_i32(self) -> i32 {
                self as i32
            }
        }
    };
}

codes! {
    /// Operation types of a request header (`ZooDefs.OpCode`).
    OpCode {
        /// Never sent by honest clients.
        Notification = 0,
        /// `create`: answers with the path alone.
        Create = 1,
        Delete = 2,
        Exists = 3,
        GetData = 4,
        SetData = 5,
        GetAcl = 6,
        SetAcl = 7,
        GetChildren = 8,
        Sync = 9,
        Ping = 11,
        GetChildren2 = 12,
        /// Version check; only inside a multi.
        Check = 13,
        Multi = 14,
        /// `create` that answers with path and Stat.
        Create2 = 15,
        Reconfig = 16,
        CheckWatches = 17,
        RemoveWatches = 18,
        CreateContainer = 19,
        /// The server's own deletion of empty containers and old TTL nodes; never trusted from a client.
        DeleteContainer = 20,
        CreateTtl = 21,
        MultiRead = 22,
        Auth = 100,
        SetWatches = 101,
        Sasl = 102,
        GetEphemerals = 103,
        GetAllChildrenNumber = 104,
        SetWatches2 = 105,
        AddWatch = 106,
        WhoAmI = 107,
        /// The server's own; never sent.
        CreateSession = -10,
        CloseSession = -11,
        /// Type of a failed result in a multi reply.
        Error = -1,
    }
}

codes! {
    /// What a create makes (`CreateMode.java`).
    CreateMode {
        Persistent = 0,
        Ephemeral = 1,
        PersistentSequential = 2,
        EphemeralSequential = 3,
        /// Deleted by the server once its last child is gone.
        Container = 4,
        /// Deleted by the server when unchanged and childless for its TTL.
        PersistentWithTtl = 5,
        PersistentSequentialWithTtl = 6,
    }
}

impl CreateMode {
    /// Whether the node goes with its session.
    pub const fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// Whether the server appends the ten-digit counter.
    pub const fn is_sequential(self) -> bool {
        matches!(
            self,
            CreateMode::PersistentSequential
                | CreateMode::EphemeralSequential
                | CreateMode::PersistentSequentialWithTtl
        )
    }

    /// Whether the create carries a TTL.
    pub const fn is_ttl(self) -> bool {
        matches!(self, CreateMode::PersistentWithTtl | CreateMode::PersistentSequentialWithTtl)
    }
}

codes! {
    /// What happened, in a watch event (`Watcher.Event.EventType`).
    EventType {
        None = -1,
        NodeCreated = 1,
        NodeDeleted = 2,
        NodeDataChanged = 3,
        NodeChildrenChanged = 4,
        DataWatchRemoved = 5,
        ChildWatchRemoved = 6,
        PersistentWatchRemoved = 7,
    }
}

codes! {
    /// State of the connection, in a watch event (`Watcher.Event.KeeperState`). A server sends only `SyncConnected`.
    KeeperState {
        Disconnected = 0,
        SyncConnected = 3,
        AuthFailed = 4,
        ConnectedReadOnly = 5,
        SaslAuthenticated = 6,
        Closed = 7,
        Expired = -112,
    }
}

codes! {
    /// Kind of persistent watch (`AddWatchMode.java`).
    AddWatchMode {
        Persistent = 0,
        PersistentRecursive = 1,
    }
}

codes! {
    /// Which watches `checkWatches` and `removeWatches` mean (`Watcher.WatcherType`).
    WatcherType {
        Children = 1,
        Data = 2,
        Any = 3,
        Persistent = 4,
        PersistentRecursive = 5,
    }
}

/// Request ids with a meaning of their own (`ClientCnxn.java`).
pub mod xid {
    /// Header of a watch event.
    pub const NOTIFICATION: i32 = -1;
    /// Ping, and its answer.
    pub const PING: i32 = -2;
    /// Auth, and its answer.
    pub const AUTH: i32 = -4;
    /// setWatches and setWatches2, and their answers.
    pub const SET_WATCHES: i32 = -8;
}

/// Permission bits of an ACL entry (`ZooDefs.Perms`).
pub mod perms {
    pub const READ: i32 = 1;
    pub const WRITE: i32 = 2;
    pub const CREATE: i32 = 4;
    pub const DELETE: i32 = 8;
    pub const ADMIN: i32 = 16;
    pub const ALL: i32 = 31;
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $value:literal, $name:literal, $text:literal;)*) => {
        /// Errors a server answers with (`KeeperException.Code`). `Unknown` keeps a number this table lacks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
            /// A number that is not in the table.
            Unknown(i32),
        }

        impl ErrorCode {
            /// The error with this number.
            pub fn from_i32(number: i32) -> ErrorCode {
                match number { $($value => ErrorCode::$variant,)* other => ErrorCode::Unknown(other) }
            }

            /// The number on the wire.
            pub fn as_i32(self) -> i32 {
                match self { $(ErrorCode::$variant => $value,)* ErrorCode::Unknown(number) => number }
            }

            /// Java's name of the code: what people search for.
            pub fn name(self) -> &'static str {
                match self { $(ErrorCode::$variant => $name,)* ErrorCode::Unknown(_) => "UNKNOWN" }
            }

            fn text(self) -> &'static str {
                match self { $(ErrorCode::$variant => $text,)* ErrorCode::Unknown(_) => "error not known to this version" }
            }
        }
    };
}

error_codes! {
    Ok = 0, "OK", "ok";
    SystemError = -1, "SYSTEMERROR", "system error";
    RuntimeInconsistency = -2, "RUNTIMEINCONSISTENCY", "not applied, because another operation of the multi failed";
    DataInconsistency = -3, "DATAINCONSISTENCY", "data inconsistency";
    ConnectionLoss = -4, "CONNECTIONLOSS", "connection lost";
    MarshallingError = -5, "MARSHALLINGERROR", "request could not be read";
    Unimplemented = -6, "UNIMPLEMENTED", "operation is not implemented";
    OperationTimeout = -7, "OPERATIONTIMEOUT", "operation timed out";
    BadArguments = -8, "BADARGUMENTS", "arguments are not valid";
    UnknownSession = -12, "UNKNOWNSESSION", "session is not known";
    NewConfigNoQuorum = -13, "NEWCONFIGNOQUORUM", "no quorum of the new configuration is connected";
    ReconfigInProgress = -14, "RECONFIGINPROGRESS", "another reconfiguration is in progress";
    ApiError = -100, "APIERROR", "api error";
    NoNode = -101, "NONODE", "node does not exist";
    NoAuth = -102, "NOAUTH", "not authorized";
    BadVersion = -103, "BADVERSION", "version does not match";
    NoChildrenForEphemerals = -108, "NOCHILDRENFOREPHEMERALS", "ephemeral nodes cannot have children";
    NodeExists = -110, "NODEEXISTS", "node exists";
    NotEmpty = -111, "NOTEMPTY", "node has children";
    SessionExpired = -112, "SESSIONEXPIRED", "session expired";
    InvalidCallback = -113, "INVALIDCALLBACK", "callback is not valid";
    InvalidAcl = -114, "INVALIDACL", "acl is not valid";
    AuthFailed = -115, "AUTHFAILED", "authentication failed";
    SessionMoved = -118, "SESSIONMOVED", "session moved to another server";
    NotReadOnly = -119, "NOTREADONLY", "server is read-only";
    EphemeralOnLocalSession = -120, "EPHEMERALONLOCALSESSION", "local sessions cannot create ephemeral nodes";
    NoWatcher = -121, "NOWATCHER", "no such watcher";
    RequestTimeout = -122, "REQUESTTIMEOUT", "request timed out";
    ReconfigDisabled = -123, "RECONFIGDISABLED", "reconfiguration is disabled";
    SessionClosedRequireSaslAuth = -124, "SESSIONCLOSEDREQUIRESASLAUTH", "session closed because it did not authenticate by SASL";
    QuotaExceeded = -125, "QUOTAEXCEEDED", "quota exceeded";
    ThrottledOp = -127, "THROTTLEDOP", "operation was throttled";
}

impl ErrorCode {
    /// `Ok(())` for [`ErrorCode::Ok`], the code itself as the error otherwise.
    pub fn into_result(self) -> Result<(), ErrorCode> {
        if self == ErrorCode::Ok { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.text(), self.name(), self.as_i32())
    }
}

impl std::error::Error for ErrorCode {}
