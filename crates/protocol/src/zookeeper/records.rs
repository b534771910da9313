//! The records of the handshake, the headers and every operation (ZooKeeper's `zookeeper.jute`), fields in wire order.

use bytes::{BufMut, Bytes, BytesMut};

use super::codes::{ErrorCode, perms};
use super::jute::{JuteError, Reader, Record};

macro_rules! records {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
        pub struct $name { $($(#[$fdoc])* pub $field: $kind,)* }

        impl Record for $name {
            const MIN_BYTES: usize = 0 $(+ <$kind as Record>::MIN_BYTES)*;
            fn read(reader: &mut Reader) -> Result<$name, JuteError> {
                Ok($name { $($field: reader.read()?,)* })
            }
            fn write(&self, out: &mut BytesMut) {
                $(self.$field.write(out);)*
            }
        }
    )*};
}

/// Bytes of a session password.
pub const PASSWORD_BYTES: usize = 16;

/// First body on a connection. `read_only` is absent in clients before 3.4; the server answers in kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectRequest {
    pub protocol_version: i32,
    /// Newest zxid the client has seen; a server that is behind closes the connection.
    pub last_zxid_seen: i64,
    pub timeout_ms: i32,
    /// 0 asks for a new session.
    pub session_id: i64,
    pub password: Option<Bytes>,
    pub read_only: Option<bool>,
}

impl Record for ConnectRequest {
    const MIN_BYTES: usize = 28;
    fn read(reader: &mut Reader) -> Result<ConnectRequest, JuteError> {
        Ok(ConnectRequest {
            protocol_version: reader.read()?,
            last_zxid_seen: reader.read()?,
            timeout_ms: reader.read()?,
            session_id: reader.read()?,
            password: reader.read()?,
            read_only: read_trailing_bool(reader)?,
        })
    }
    fn write(&self, out: &mut BytesMut) {
        self.protocol_version.write(out);
        self.last_zxid_seen.write(out);
        self.timeout_ms.write(out);
        self.session_id.write(out);
        self.password.write(out);
        self.read_only.iter().for_each(|flag| flag.write(out));
    }
}

/// Answer to a [`ConnectRequest`]. A `timeout_ms` of 0 says that the session has expired or the password is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectResponse {
    pub protocol_version: i32,
    /// The negotiated session time-out.
    pub timeout_ms: i32,
    pub session_id: i64,
    pub password: Option<Bytes>,
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// "Session expired", as a server puts it.
    pub fn expired(read_only: Option<bool>) -> ConnectResponse {
        ConnectResponse { password: Some(Bytes::from_static(&[0; PASSWORD_BYTES])), read_only, ..Default::default() }
    }
}

impl Record for ConnectResponse {
    const MIN_BYTES: usize = 20;
    fn read(reader: &mut Reader) -> Result<ConnectResponse, JuteError> {
        Ok(ConnectResponse {
            protocol_version: reader.read()?,
            timeout_ms: reader.read()?,
            session_id: reader.read()?,
            password: reader.read()?,
            read_only: read_trailing_bool(reader)?,
        })
    }
    fn write(&self, out: &mut BytesMut) {
        self.protocol_version.write(out);
        self.timeout_ms.write(out);
        self.session_id.write(out);
        self.password.write(out);
        self.read_only.iter().for_each(|flag| flag.write(out));
    }
}

fn read_trailing_bool(reader: &mut Reader) -> Result<Option<bool>, JuteError> {
    if reader.remaining() == 0 { Ok(None) } else { Ok(Some(reader.read()?)) }
}

/// An error code travels as its number.
impl Record for ErrorCode {
    const MIN_BYTES: usize = 4;
    fn read(reader: &mut Reader) -> Result<ErrorCode, JuteError> {
        Ok(ErrorCode::from_i32(reader.read()?))
    }
    fn write(&self, out: &mut BytesMut) {
        out.put_i32(self.as_i32());
    }
}

/// Starts every reply and every event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The request's xid, or one of [`super::xid`].
    pub xid: i32,
    /// Last transaction the server had processed.
    pub zxid: i64,
    pub err: ErrorCode,
}

impl Record for ReplyHeader {
    const MIN_BYTES: usize = 16;
    fn read(reader: &mut Reader) -> Result<ReplyHeader, JuteError> {
        Ok(ReplyHeader { xid: reader.read()?, zxid: reader.read()?, err: reader.read()? })
    }
    fn write(&self, out: &mut BytesMut) {
        self.xid.write(out);
        self.zxid.write(out);
        self.err.write(out);
    }
}

records! {
    /// Starts every request after the handshake.
    RequestHeader {
        xid: i32,
        /// A number of [`super::OpCode`]; kept raw, because clients may send anything.
        op: i32,
    }
    /// One entry of an access control list.
    Acl {
        /// Bits of [`perms`].
        perms: i32,
        id: Id,
    }
    /// What a znode is, beside its data. Times are milliseconds since 1970.
    Stat {
        /// Transaction that created the node.
        czxid: i64,
        /// Transaction that last changed its data.
        mzxid: i64,
        ctime: i64,
        mtime: i64,
        /// Changes of the data.
        version: i32,
        /// Creations and deletions of children.
        cversion: i32,
        /// Changes of the ACL.
        aversion: i32,
        /// Session that owns the node, 0 if it is not ephemeral.
        ephemeral_owner: i64,
        data_length: i32,
        num_children: i32,
        /// Transaction that last added or removed a child.
        pzxid: i64,
    }
    /// A watch fired. Its header has xid -1.
    WatcherEvent {
        /// A number of [`super::EventType`].
        event_type: i32,
        /// A number of [`super::KeeperState`].
        state: i32,
        path: String,
    }
    /// create, create2 and createContainer.
    CreateRequest {
        path: String,
        data: Option<Bytes>,
        acl: Vec<Acl>,
        /// A number of [`super::CreateMode`].
        flags: i32,
    }
    CreateResponse {
        path: String,
    }
    /// Answer to create2, createContainer and createTTL.
    Create2Response {
        path: String,
        stat: Stat,
    }
    CreateTtlRequest {
        path: String,
        data: Option<Bytes>,
        acl: Vec<Acl>,
        flags: i32,
        ttl_ms: i64,
    }
    DeleteRequest {
        path: String,
        /// -1 matches any version, here and below.
        version: i32,
    }
    ExistsRequest {
        path: String,
        watch: bool,
    }
    ExistsResponse {
        stat: Stat,
    }
    GetDataRequest {
        path: String,
        watch: bool,
    }
    GetDataResponse {
        data: Option<Bytes>,
        stat: Stat,
    }
    SetDataRequest {
        path: String,
        data: Option<Bytes>,
        version: i32,
    }
    SetDataResponse {
        stat: Stat,
    }
    GetAclRequest {
        path: String,
    }
    GetAclResponse {
        acl: Vec<Acl>,
        stat: Stat,
    }
    SetAclRequest {
        path: String,
        acl: Vec<Acl>,
        /// Compared with the node's aversion.
        version: i32,
    }
    SetAclResponse {
        stat: Stat,
    }
    /// getChildren and getChildren2.
    GetChildrenRequest {
        path: String,
        watch: bool,
    }
    GetChildrenResponse {
        children: Vec<String>,
    }
    GetChildren2Response {
        children: Vec<String>,
        stat: Stat,
    }
    SyncRequest {
        path: String,
    }
    SyncResponse {
        path: String,
    }
    CheckVersionRequest {
        path: String,
        version: i32,
    }
    ReconfigRequest {
        joining_servers: Option<String>,
        leaving_servers: Option<String>,
        new_members: Option<String>,
        current_config_id: i64,
    }
    /// checkWatches and removeWatches.
    WatchesRequest {
        path: String,
        /// A number of [`super::WatcherType`].
        watcher_type: i32,
    }
    SetWatchesRequest {
        relative_zxid: i64,
        data_watches: Vec<String>,
        exist_watches: Vec<String>,
        child_watches: Vec<String>,
    }
    SetWatches2Request {
        relative_zxid: i64,
        data_watches: Vec<String>,
        exist_watches: Vec<String>,
        child_watches: Vec<String>,
        persistent_watches: Vec<String>,
        persistent_recursive_watches: Vec<String>,
    }
    AddWatchRequest {
        path: String,
        /// A number of [`super::AddWatchMode`].
        mode: i32,
    }
    /// Body of the answer to addWatch, and of a failed result in a multi.
    ErrorResponse {
        err: i32,
    }
    GetEphemeralsRequest {
        prefix: String,
    }
    GetEphemeralsResponse {
        ephemerals: Vec<String>,
    }
    GetAllChildrenNumberRequest {
        path: String,
    }
    GetAllChildrenNumberResponse {
        total_number: i32,
    }
    WhoAmIResponse {
        /// One per identity: scheme and user.
        client_info: Vec<ClientInfo>,
    }
    ClientInfo {
        auth_scheme: String,
        user: String,
    }
    /// Body of an auth request (xid -4).
    AuthPacket {
        /// Always 0.
        auth_type: i32,
        scheme: String,
        auth: Option<Bytes>,
    }
    SaslRequest {
        token: Option<Bytes>,
    }
    SaslResponse {
        token: Option<Bytes>,
    }
}

/// Who an ACL entry means, or who a connection is. A null id, which kazoo sends for an empty one, reads as empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Id {
    pub scheme: String,
    pub id: String,
}

impl Record for Id {
    const MIN_BYTES: usize = 8;
    fn read(reader: &mut Reader) -> Result<Id, JuteError> {
        Ok(Id { scheme: reader.read()?, id: reader.read::<Option<String>>()?.unwrap_or_default() })
    }
    fn write(&self, out: &mut BytesMut) {
        self.scheme.write(out);
        self.id.write(out);
    }
}

impl Acl {
    /// `world:anyone` with these permissions.
    pub fn world(perms: i32) -> Acl {
        Acl { perms, id: Id { scheme: "world".to_owned(), id: "anyone".to_owned() } }
    }

    /// The list most clients create nodes with: everybody may do everything (`ZooDefs.Ids.OPEN_ACL_UNSAFE`).
    pub fn open() -> Vec<Acl> {
        vec![Acl::world(perms::ALL)]
    }
}
