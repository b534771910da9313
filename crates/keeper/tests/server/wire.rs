//! Replies byte for byte, as a probe of ZooKeeper 3.8.0 recorded them. The cases are those that implementers get wrong.

use bytes::{BufMut, Bytes, BytesMut};
use protocol::zookeeper::*;

use crate::common::*;

/// A body that is no record.
struct Raw(Vec<u8>);

impl Record for Raw {
    const MIN_BYTES: usize = 0;
    fn read(_: &mut Reader) -> Result<Raw, JuteError> {
        Ok(Raw(Vec::new()))
    }
    fn write(&self, out: &mut BytesMut) {
        out.put_slice(&self.0);
    }
}

fn code(error: ErrorCode) -> Result<String, ErrorCode> {
    Err(error)
}

#[test]
fn the_handshake_answers_in_kind_and_clamps_the_timeout() {
    let home = start();
    let address = home.keeper.local_addr();
    let connect = |timeout_ms, read_only| {
        Client::handshake(address, ConnectRequest { timeout_ms, read_only, ..no_session() }).expect("connected")
    };
    assert_eq!(connect(4000, Some(true)).hello_bytes, 37);
    assert_eq!(connect(4000, None).hello_bytes, 36);
    assert_eq!(connect(1, None).hello.timeout_ms, 400);
    assert_eq!(connect(1_000_000_000, None).hello.timeout_ms, 60_000);
    assert_eq!(connect(4000, None).hello.timeout_ms, 4000);
    let hello = connect(4000, None).hello;
    assert!(
        hello.session_id > 0 && hello.password.is_some_and(|password| password.len() == 16 && password[..] != [0; 16])
    );
    assert!(Client::handshake(address, ConnectRequest { last_zxid_seen: 1 << 40, ..no_session() }).is_none());
}

#[test]
fn creates_answer_with_path_and_stat_and_count_their_zxids() {
    let home = start();
    let mut client = home.client();
    let first = client.call(OpCode::Create, &create_request("/a", "", CreateMode::Persistent));
    assert_eq!(&first.body[..], b"\0\0\0\x02/a");
    let zxid = first.header.zxid;
    let reply = client.call(OpCode::Create2, &create_request("/a/b", "xyz", CreateMode::Persistent));
    assert_eq!((reply.header.zxid, reply.body.len()), (zxid + 1, 76));
    let Create2Response { path, stat } = reply.read();
    assert_eq!(
        (path.as_str(), stat.czxid, stat.mzxid, stat.pzxid, stat.data_length),
        ("/a/b", zxid + 1, zxid + 1, zxid + 1, 3)
    );
    let failed = client.call(OpCode::Create, &create_request("/a", "", CreateMode::Persistent));
    assert_eq!((failed.header.zxid, failed.header.err, failed.body.len()), (zxid + 2, ErrorCode::NodeExists, 0));
    assert_eq!(client.create("/a/s-", "", CreateMode::PersistentSequential), Ok("/a/s-0000000001".into()));
    assert_eq!(client.create("/a/s-", "", CreateMode::EphemeralSequential), Ok("/a/s-0000000002".into()));
    let stat = client.get("/a").unwrap().1;
    assert_eq!((stat.cversion, stat.num_children, stat.pzxid, stat.version), (3, 3, zxid + 4, 0));
    client.delete("/a/b").unwrap();
    assert_eq!(client.get("/a").unwrap().1.cversion, 4, "a deletion counts as well");
}

#[test]
fn every_kind_of_node_shows_the_owner_zookeeper_shows() {
    let home = start();
    let mut client = home.client();
    let request = create_request("/c", "", CreateMode::Container);
    assert_eq!(client.call(OpCode::CreateContainer, &request).read::<Create2Response>().stat.ephemeral_owner, 0);
    let CreateRequest { data, acl, .. } = request;
    let ttl =
        CreateTtlRequest { path: "/t".into(), data, acl, flags: CreateMode::PersistentWithTtl.as_i32(), ttl_ms: 1000 };
    assert_eq!(client.call(OpCode::CreateTtl, &ttl).read::<Create2Response>().stat.ephemeral_owner, 0);
    client.create("/e", "", CreateMode::Ephemeral).unwrap();
    assert_eq!(client.get("/e").unwrap().1.ephemeral_owner, client.session());
    assert_eq!(client.create("/e/x", "", CreateMode::Persistent), code(ErrorCode::NoChildrenForEphemerals));
    let ephemerals = |client: &mut Client, prefix: &str| {
        client
            .call(OpCode::GetEphemerals, &GetEphemeralsRequest { prefix: prefix.into() })
            .read::<GetEphemeralsResponse>()
            .ephemerals
    };
    assert_eq!(ephemerals(&mut client, "/"), ["/e"]);
    assert_eq!(ephemerals(&mut client, "/x"), [] as [&str; 0]);
}

#[test]
fn a_node_without_data_is_not_a_node_with_empty_data() {
    let home = start();
    let mut client = home.client();
    let request = CreateRequest { data: None, ..create_request("/null", "", CreateMode::Persistent) };
    assert_eq!(client.error(OpCode::Create, &request), ErrorCode::Ok);
    client.create("/empty", "", CreateMode::Persistent).unwrap();
    for (path, expected) in [("/null", None), ("/empty", Some(Bytes::new()))] {
        let reply = client.call(OpCode::GetData, &GetDataRequest { path: path.into(), watch: false });
        assert_eq!(reply.read::<GetDataResponse>().data, expected, "{path}");
    }
}

#[test]
fn a_multi_is_all_or_nothing_under_one_zxid() {
    let home = start();
    let mut client = home.client();
    client.create("/a", "", CreateMode::Persistent).unwrap();
    let set = |path: &str| MultiOp::SetData(SetDataRequest { path: path.into(), data: Some("z".into()), version: -1 });
    let check = |path: &str, version| MultiOp::Check(CheckVersionRequest { path: path.into(), version });
    let ops = vec![
        check("/a", 0),
        set("/a"),
        check("/a", 1),
        MultiOp::Create2(create_request("/a/m", "", CreateMode::Persistent)),
        MultiOp::Create(create_request("/a/m/n", "", CreateMode::Persistent)),
        MultiOp::Delete(DeleteRequest { path: "/a/m/n".into(), version: 0 }),
        MultiOp::CreateContainer(create_request("/a/c", "", CreateMode::Container)),
    ];
    let reply = client.call(OpCode::Multi, &MultiRequest { ops });
    let results = reply.read::<MultiResponse>().results;
    let zxid = reply.header.zxid;
    assert!(
        matches!(&results[1], MultiResult::SetData(response) if response.stat.mzxid == zxid && response.stat.version == 1)
    );
    assert_eq!(
        results[3],
        MultiResult::Create(CreateResponse { path: "/a/m".into() }),
        "3.8 sends no Stat for create2 in a multi"
    );
    assert!(matches!(&results[6], MultiResult::Create2(response) if response.path == "/a/c"));
    assert_eq!(client.children("/a"), ["c", "m"]);

    let before = client.get("/a").unwrap();
    let ops = vec![
        MultiOp::Create(create_request("/a/gone", "", CreateMode::Ephemeral)),
        set("/a"),
        MultiOp::Delete(DeleteRequest { path: "/a/m".into(), version: -1 }),
        check("/a", 77),
        set("/a"),
    ];
    let reply = client.call(OpCode::Multi, &MultiRequest { ops });
    assert_eq!((reply.header.err, reply.header.zxid), (ErrorCode::Ok, zxid + 1));
    let errors = [ErrorCode::Ok, ErrorCode::Ok, ErrorCode::Ok, ErrorCode::BadVersion, ErrorCode::RuntimeInconsistency];
    assert_eq!(reply.read::<MultiResponse>().results, errors.map(MultiResult::Error));
    assert_eq!(client.get("/a").unwrap(), before);
    assert!(client.exists("/a/m") && !client.exists("/a/gone"));

    let empty = client.call(OpCode::Multi, &MultiRequest::default());
    assert_eq!(&empty.body[..], b"\xff\xff\xff\xff\x01\xff\xff\xff\xff");
    assert_eq!(empty.header.zxid, zxid + 2);
}

#[test]
fn a_multi_read_answers_each_operation_alone() {
    let home = start();
    let mut client = home.client();
    client.create("/a", "z", CreateMode::Persistent).unwrap();
    client.create("/a/b", "", CreateMode::Persistent).unwrap();
    let get = |path: &str| MultiOp::GetData(GetDataRequest { path: path.into(), watch: false });
    let list = MultiOp::GetChildren(GetChildrenRequest { path: "/a".into(), watch: false });
    let reply = client.call(OpCode::MultiRead, &MultiRequest { ops: vec![get("/a"), get("/none"), list] });
    let results = reply.read::<MultiResponse>().results;
    assert!(matches!(&results[0], MultiResult::GetData(response) if response.data.as_deref() == Some(b"z")));
    assert_eq!(results[1], MultiResult::Error(ErrorCode::NoNode));
    assert_eq!(results[2], MultiResult::GetChildren(GetChildrenResponse { children: vec!["b".into()] }));
}

#[test]
fn small_requests_have_their_special_headers() {
    let home = start();
    let mut client = home.client();
    client.create("/a", "", CreateMode::Persistent).unwrap();
    client.create("/a/b", "", CreateMode::Persistent).unwrap();
    let zxid =
        client.create("/a/b/c", "", CreateMode::Persistent).map(|_| client.get("/a/b/c").unwrap().1.czxid).unwrap();

    client.send_as(xid::PING, OpCode::Ping.as_i32(), &NOTHING);
    let ping = client.next().unwrap();
    assert_eq!((ping.header, ping.body.len()), (ReplyHeader { xid: -2, zxid, err: ErrorCode::Ok }, 0));
    let sync = client.call(OpCode::Sync, &SyncRequest { path: "/a".into() });
    assert_eq!(&sync.body[..], b"\0\0\0\x02/a");
    let auth = AuthPacket { auth_type: 0, scheme: "digest".into(), auth: Some("u:p".into()) };
    client.send_as(xid::AUTH, OpCode::Auth.as_i32(), &auth);
    let reply = client.next().unwrap();
    assert_eq!((reply.header, reply.body.len()), (ReplyHeader { xid: -4, zxid: 0, err: ErrorCode::Ok }, 0));
    let info = client.call(OpCode::WhoAmI, &NOTHING).read::<WhoAmIResponse>().client_info;
    let expected = [("ip", "127.0.0.1"), ("digest", "u")];
    assert_eq!(info.iter().map(|info| (info.auth_scheme.as_str(), info.user.as_str())).collect::<Vec<_>>(), expected);
    let count = client.call(OpCode::GetAllChildrenNumber, &GetAllChildrenNumberRequest { path: "/a".into() });
    assert_eq!(&count.body[..], [0, 0, 0, 2]);
    let stat = client.call(OpCode::GetChildren2, &GetChildrenRequest { path: "/a".into(), watch: false });
    assert_eq!(stat.read::<GetChildren2Response>().stat.num_children, 1);
}

#[test]
fn errors_come_as_zookeeper_sends_them() {
    let home = start();
    let mut client = home.client();
    client.create("/a", "", CreateMode::Persistent).unwrap();
    client.create("/a/b", "", CreateMode::Persistent).unwrap();
    assert_eq!(client.error(OpCode::Reconfig, &ReconfigRequest::default()), ErrorCode::ReconfigDisabled);
    assert_eq!(client.create("/a//b", "", CreateMode::Persistent), code(ErrorCode::NoNode));
    assert_eq!(client.create("/a/..", "", CreateMode::Persistent), code(ErrorCode::BadArguments));
    assert_eq!(client.delete("/a"), Err(ErrorCode::NotEmpty));
    assert_eq!(client.delete("/zookeeper"), Err(ErrorCode::BadArguments));
    assert_eq!(
        client.error(OpCode::Create, &CreateRequest { path: "/y".into(), ..Default::default() }),
        ErrorCode::InvalidAcl
    );
    assert_eq!(
        client.error(OpCode::DeleteContainer, &DeleteRequest { path: "/a".into(), version: -1 }),
        ErrorCode::BadArguments
    );
    let zxid = client.get("/a").unwrap().1.mzxid;
    let malformed = client.call(OpCode::GetData, &Raw(vec![0, 0]));
    assert_eq!((malformed.header.err, malformed.body.len()), (ErrorCode::MarshallingError, 0));
    assert!(malformed.header.zxid > zxid);
    assert!(client.exists("/a"), "the connection lives on");
}

#[test]
fn what_cannot_be_answered_closes_the_connection() {
    let home = start();
    for op in [OpCode::Check.as_i32(), 999] {
        let mut client = home.client();
        client.send_as(1, op, &CheckVersionRequest { path: "/".into(), version: 0 });
        let reply = client.next().unwrap();
        assert_eq!(reply.header, ReplyHeader { xid: 1, zxid: -1, err: ErrorCode::Unimplemented });
        assert!(client.is_closed());
    }
    let mut client = home.client();
    client.send_as(xid::AUTH, OpCode::Auth.as_i32(), &AuthPacket { scheme: "nope".into(), ..Default::default() });
    assert_eq!(client.next().unwrap().header, ReplyHeader { xid: -4, zxid: 0, err: ErrorCode::AuthFailed });
    assert!(client.is_closed());
    let mut client = home.client();
    let closing = client.call(OpCode::CloseSession, &NOTHING);
    assert_eq!((closing.header.err, closing.body.len()), (ErrorCode::Ok, 0));
    assert!(client.is_closed());
}

#[test]
fn permissions_bind_other_connections() {
    let home = start();
    let mut owner = home.client();
    let auth = AuthPacket { auth_type: 0, scheme: "digest".into(), auth: Some("u:p".into()) };
    owner.send_as(xid::AUTH, OpCode::Auth.as_i32(), &auth);
    owner.wait(xid::AUTH);
    let acl =
        vec![Acl { perms: perms::ALL, id: Id { scheme: "auth".into(), id: String::new() } }, Acl::world(perms::READ)];
    let request = CreateRequest { acl, ..create_request("/mine", "secret", CreateMode::Persistent) };
    assert_eq!(owner.error(OpCode::Create, &request), ErrorCode::Ok);
    let get_acl = GetAclRequest { path: "/mine".into() };
    let seen: GetAclResponse = owner.call(OpCode::GetAcl, &get_acl).read();
    assert!(seen.acl[0].id.id.starts_with("u:") && seen.acl[0].id.id.len() > 10);
    let mut other = home.client();
    assert_eq!(other.set("/mine", "x"), Err(ErrorCode::NoAuth));
    assert_eq!(other.create("/mine/x", "", CreateMode::Persistent), code(ErrorCode::NoAuth));
    assert_eq!(other.get("/mine").unwrap().0, "secret");
    assert_eq!(other.call(OpCode::GetAcl, &get_acl).read::<GetAclResponse>().acl[0].id.id, "u:x", "digests are hidden");
    let close = SetAclRequest { path: "/mine".into(), acl: vec![seen.acl[0].clone()], version: 0 };
    assert_eq!(owner.call(OpCode::SetAcl, &close).read::<SetAclResponse>().stat.aversion, 1);
    assert_eq!(other.get("/mine").map(|_| ()), Err(ErrorCode::NoAuth));
    assert_eq!(other.error(OpCode::Exists, &ExistsRequest { path: "/mine".into(), watch: true }), ErrorCode::NoAuth);
}

#[test]
fn requests_sent_together_are_answered_in_order() {
    let home = start();
    let mut client = home.client();
    client.create("/n", "", CreateMode::Persistent).unwrap();
    let first = client.send(OpCode::GetData, &GetDataRequest { path: "/n".into(), watch: false });
    for i in 0..500 {
        let data = Some(Bytes::from(format!("{i}")));
        client.send(OpCode::SetData, &SetDataRequest { path: "/n".into(), data, version: i });
        client.send(OpCode::GetData, &GetDataRequest { path: "/n".into(), watch: false });
    }
    for i in 0..1001 {
        let reply = client.next().unwrap();
        assert_eq!((reply.header.xid, reply.header.err), (first + i, ErrorCode::Ok));
        if i > 0 && i % 2 == 0 {
            assert_eq!(reply.read::<GetDataResponse>().stat.version, i / 2);
        }
    }
}
