//! One frame of a client, taken apart. Nothing here looks at the tree.

use bytes::Bytes;
use protocol::zookeeper::*;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    Write(Write),
    Multi(Vec<Write>),
    Exists(ExistsRequest),
    GetData(GetDataRequest),
    GetAcl(GetAclRequest),
    /// The flag asks for the Stat as well (getChildren2).
    GetChildren(GetChildrenRequest, bool),
    MultiRead(Vec<MultiOp>),
    Sync(SyncRequest),
    Ping,
    Reconfig,
    CheckWatches(WatchesRequest),
    RemoveWatches(WatchesRequest),
    SetWatches(SetWatches2Request),
    AddWatch(AddWatchRequest),
    GetEphemerals(GetEphemeralsRequest),
    GetAllChildrenNumber(GetAllChildrenNumberRequest),
    WhoAmI,
    Auth(AuthPacket),
    Sasl,
    CloseSession,
    /// The server's own operation, sent by a client.
    DeleteContainer,
    /// The header is fine and the body is not.
    Malformed,
    /// No such operation, or one that means nothing by itself.
    Unknown,
}

/// One change of the tree, as asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Write {
    Create { request: CreateRequest, ttl_ms: Option<i64>, wants_stat: bool },
    Delete(DeleteRequest),
    SetData(SetDataRequest),
    SetAcl(SetAclRequest),
    Check(CheckVersionRequest),
}

impl Request {
    /// Reads header and body. An error means that there is not even a header.
    pub(crate) fn read(frame: Bytes) -> Result<(RequestHeader, Request), JuteError> {
        let mut reader = Reader::new(frame);
        let header: RequestHeader = reader.read()?;
        let request = Request::read_body(header.op, &mut reader).unwrap_or(Request::Malformed);
        Ok((header, request))
    }

    fn read_body(op: i32, reader: &mut Reader) -> Result<Request, JuteError> {
        let Some(op) = OpCode::from_i32(op) else { return Ok(Request::Unknown) };
        Ok(match op {
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer => {
                Request::Write(Write::create(reader.read()?, op != OpCode::Create))
            }
            OpCode::CreateTtl => Request::Write(Write::create_ttl(reader.read()?)),
            OpCode::Delete => Request::Write(Write::Delete(reader.read()?)),
            OpCode::SetData => Request::Write(Write::SetData(reader.read()?)),
            OpCode::SetAcl => Request::Write(Write::SetAcl(reader.read()?)),
            OpCode::Multi => {
                let ops = reader.read::<MultiRequest>()?.ops;
                Request::Multi(ops.into_iter().map(Write::of_multi).collect::<Result<_, _>>()?)
            }
            OpCode::MultiRead => {
                let ops = reader.read::<MultiRequest>()?.ops;
                match ops.iter().find(|op| !op.is_read()) {
                    Some(write) => return Err(JuteError::NotInMulti(write.op().as_i32())),
                    None => Request::MultiRead(ops),
                }
            }
            OpCode::Exists => Request::Exists(reader.read()?),
            OpCode::GetData => Request::GetData(reader.read()?),
            OpCode::GetAcl => Request::GetAcl(reader.read()?),
            OpCode::GetChildren => Request::GetChildren(reader.read()?, false),
            OpCode::GetChildren2 => Request::GetChildren(reader.read()?, true),
            OpCode::Sync => Request::Sync(reader.read()?),
            OpCode::Ping => Request::Ping,
            OpCode::Reconfig => {
                reader.read::<ReconfigRequest>()?;
                Request::Reconfig
            }
            OpCode::CheckWatches => Request::CheckWatches(reader.read()?),
            OpCode::RemoveWatches => Request::RemoveWatches(reader.read()?),
            OpCode::SetWatches => {
                let old: SetWatchesRequest = reader.read()?;
                Request::SetWatches(SetWatches2Request {
                    relative_zxid: old.relative_zxid,
                    data_watches: old.data_watches,
                    exist_watches: old.exist_watches,
                    child_watches: old.child_watches,
                    ..Default::default()
                })
            }
            OpCode::SetWatches2 => Request::SetWatches(reader.read()?),
            OpCode::AddWatch => Request::AddWatch(reader.read()?),
            OpCode::GetEphemerals => Request::GetEphemerals(reader.read()?),
            OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber(reader.read()?),
            OpCode::WhoAmI => Request::WhoAmI,
            OpCode::Auth => Request::Auth(reader.read()?),
            OpCode::Sasl => Request::Sasl,
            OpCode::CloseSession => Request::CloseSession,
            OpCode::DeleteContainer => Request::DeleteContainer,
            OpCode::Check | OpCode::Notification | OpCode::CreateSession | OpCode::Error => Request::Unknown,
        })
    }

    /// ZooKeeper's short name of the operation, as `cons` prints it.
    pub(crate) fn short_name(&self) -> &'static str {
        match self {
            Request::Write(Write::Create { .. }) => "CREA",
            Request::Write(Write::Delete(_)) | Request::DeleteContainer => "DELE",
            Request::Write(Write::SetData(_)) => "SETD",
            Request::Write(Write::SetAcl(_)) => "SETA",
            Request::Write(Write::Check(_)) => "CHEC",
            Request::Multi(_) => "MULT",
            Request::MultiRead(_) => "MREA",
            Request::Exists(_) => "EXIS",
            Request::GetData(_) => "GETD",
            Request::GetAcl(_) => "GETA",
            Request::GetChildren(..) => "GETC",
            Request::Sync(_) => "SYNC",
            Request::Ping => "PING",
            Request::Reconfig => "RECO",
            Request::CheckWatches(_) => "CHKW",
            Request::RemoveWatches(_) => "REMW",
            Request::SetWatches(_) => "SETW",
            Request::AddWatch(_) => "ADDW",
            Request::GetEphemerals(_) => "GETE",
            Request::GetAllChildrenNumber(_) => "GACN",
            Request::WhoAmI => "WHOA",
            Request::Auth(_) => "AUTH",
            Request::Sasl => "SASL",
            Request::CloseSession => "CLOS",
            Request::Malformed | Request::Unknown => "UNKN",
        }
    }
}

impl Write {
    fn create(request: CreateRequest, wants_stat: bool) -> Write {
        Write::Create { request, ttl_ms: None, wants_stat }
    }

    fn create_ttl(request: CreateTtlRequest) -> Write {
        let CreateTtlRequest { path, data, acl, flags, ttl_ms } = request;
        Write::Create { request: CreateRequest { path, data, acl, flags }, ttl_ms: Some(ttl_ms), wants_stat: true }
    }

    fn of_multi(op: MultiOp) -> Result<Write, JuteError> {
        Ok(match op {
            // In a multi the mode decides about the Stat and not the operation, as in ZooKeeper 3.8.
            MultiOp::Create(request) | MultiOp::Create2(request) | MultiOp::CreateContainer(request) => {
                let wants_stat = request.flags == CreateMode::Container.as_i32();
                Write::create(request, wants_stat)
            }
            MultiOp::CreateTtl(request) => Write::create_ttl(request),
            MultiOp::Delete(request) => Write::Delete(request),
            MultiOp::SetData(request) => Write::SetData(request),
            MultiOp::Check(request) => Write::Check(request),
            MultiOp::GetData(_) | MultiOp::GetChildren(_) => return Err(JuteError::NotInMulti(op.op().as_i32())),
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    fn read(op: i32, body: &impl Record) -> Request {
        let mut frame = BytesMut::new();
        RequestHeader { xid: 5, op }.write(&mut frame);
        body.write(&mut frame);
        let (header, request) = Request::read(frame.freeze()).unwrap();
        assert_eq!(header, RequestHeader { xid: 5, op });
        request
    }

    #[test]
    fn bodies_that_cannot_be_read_are_malformed_and_not_fatal() {
        assert_eq!(read(4, &7_i32), Request::Malformed);
        assert_eq!(read(999, &7_i32), Request::Unknown);
        assert_eq!(read(13, &CheckVersionRequest::default()), Request::Unknown);
        assert_eq!(read(11, &true), Request::Ping);
        assert!(Request::read(Bytes::from_static(&[0; 7])).is_err());
    }

    #[test]
    fn a_multi_of_reads_and_a_multi_read_of_writes_are_malformed() {
        let reads = MultiRequest { ops: vec![MultiOp::GetData(GetDataRequest::default())] };
        let writes = MultiRequest { ops: vec![MultiOp::Delete(DeleteRequest::default())] };
        assert_eq!(read(14, &reads), Request::Malformed);
        assert_eq!(read(22, &writes), Request::Malformed);
        assert!(matches!(read(14, &writes), Request::Multi(ops) if ops.len() == 1));
        assert!(matches!(read(22, &reads), Request::MultiRead(ops) if ops.len() == 1));
    }
}
