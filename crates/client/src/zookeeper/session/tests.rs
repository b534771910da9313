//! Sessions against a scripted server: each test plays the server's part by hand, frame by frame.

use protocol::zookeeper::{
    ConnectRequest, ConnectResponse, CreateMode, CreateRequest, EventType, GetDataRequest, MultiRequest, MultiResult,
    ReplyHeader, RequestHeader, SetWatches2Request, SetWatchesRequest, Stat, WatcherEvent, frame, frame_length, xid,
};
use runtime::net::{Listener, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::zookeeper::{EventType as Kind, WatchNotice};

const TIMEOUT: Duration = Duration::from_secs(30);

/// The server's end of one connection.
struct Peer {
    stream: Stream,
}

impl Peer {
    async fn accept(listener: &Listener) -> Peer {
        let (stream, _) = listener.accept().await.unwrap();
        Peer { stream }
    }

    /// Accepts a connection and sets up the session; returns what the client asked for.
    async fn greet(listener: &Listener, session_id: i64, timeout_ms: i32) -> (Peer, ConnectRequest) {
        let mut peer = Peer::accept(listener).await;
        let request = ConnectRequest::from_body(peer.read().await.unwrap()).unwrap();
        let password = Some(Bytes::from_static(b"0123456789abcdef"));
        let response =
            ConnectResponse { protocol_version: 0, timeout_ms, session_id, password, read_only: Some(false) };
        peer.write(|out| response.write(out)).await;
        (peer, request)
    }

    /// The next frame, nothing once the client has hung up.
    async fn read(&mut self) -> Option<Bytes> {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix).await.ok()?;
        let mut body = vec![0; frame_length(prefix, REQUEST_BYTES_MAX).unwrap()];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(body.into())
    }

    /// The next request of this operation, with the bytes of its record; pings are answered on the way.
    async fn expect(&mut self, op: OpCode) -> (i32, Bytes) {
        loop {
            let mut reader = protocol::zookeeper::Reader::new(self.read().await.expect("a request, not the end"));
            let header: RequestHeader = reader.read().unwrap();
            if header.xid == xid::PING {
                self.reply(xid::PING, 1, ErrorCode::Ok, b"").await;
                continue;
            }
            assert_eq!(OpCode::from_i32(header.op), Some(op));
            return (header.xid, reader.into_rest());
        }
    }

    async fn reply(&mut self, xid: i32, zxid: i64, err: ErrorCode, body: &[u8]) {
        self.write(|out| {
            ReplyHeader { xid, zxid, err }.write(out);
            out.extend_from_slice(body);
        })
        .await;
    }

    async fn event(&mut self, kind: EventType, path: &str) {
        let event = WatcherEvent { event_type: kind.as_i32(), state: 3, path: path.into() };
        self.reply(xid::NOTIFICATION, -1, ErrorCode::Ok, &event.to_body()).await;
    }

    async fn write(&mut self, body: impl FnOnce(&mut bytes::BytesMut)) {
        let mut out = bytes::BytesMut::new();
        frame(&mut out, body);
        self.stream.write_all(&out).await.unwrap();
    }
}

fn server() -> (Listener, String) {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let connect = listener.local_addr().unwrap().to_string();
    (listener, connect)
}

/// A session of 30 s with the scripted server, connected.
async fn connected(listener: &Listener, connect: &str) -> (Session, Peer) {
    let session = Session::start(SessionConfig::new(ConnectString::parse(connect).unwrap(), TIMEOUT));
    let (peer, request) = Peer::greet(listener, 0x77, 30_000).await;
    assert_eq!((request.session_id, request.timeout_ms, request.last_zxid_seen), (0, 30_000, 0));
    session.connected(TIMEOUT).await.unwrap();
    (session, peer)
}

fn data(text: &'static str) -> GetDataResponse {
    GetDataResponse { data: Some(Bytes::from_static(text.as_bytes())), stat: Stat::default() }
}

fn name(body: &Bytes) -> String {
    Record::from_body(body.clone()).unwrap()
}

#[tokio::test]
async fn a_session_speaks_through_its_chroot() {
    let (listener, connect) = server();
    let (session, mut peer) = connected(&listener, &format!("{connect}/kafka")).await;
    assert_eq!((session.session_id(), session.timeout()), (0x77, TIMEOUT));
    assert_eq!(session.password(), Bytes::from_static(b"0123456789abcdef"));
    let play = async {
        let (xid, body) = peer.expect(OpCode::Create).await;
        let request = CreateRequest::from_body(body).unwrap();
        assert_eq!((request.path.as_str(), request.flags), ("/kafka/a-", 3));
        peer.reply(xid, 5, ErrorCode::Ok, &CreateResponse { path: "/kafka/a-0000000001".into() }.to_body()).await;
        let (xid, body) = peer.expect(OpCode::Multi).await;
        let request = MultiRequest::from_body(body).unwrap();
        assert_eq!(request.ops, [op::check("/kafka/e", 4), op::delete("/kafka", -1)]);
        let results =
            vec![MultiResult::Error(ErrorCode::BadVersion), MultiResult::Error(ErrorCode::RuntimeInconsistency)];
        peer.reply(xid, 6, ErrorCode::Ok, &MultiResponse { results }.to_body()).await;
        let (xid, _) = peer.expect(OpCode::GetData).await;
        peer.reply(xid, 6, ErrorCode::NoNode, b"").await;
    };
    let calls = async {
        let path = session.create("/a-", "x", CreateMode::EphemeralSequential).await;
        assert_eq!(path.as_deref(), Ok("/a-0000000001"));
        let refused = session.multi(vec![op::check("/e", 4), op::delete("/", -1)]).await.unwrap_err();
        let codes = vec![ErrorCode::BadVersion, ErrorCode::RuntimeInconsistency];
        assert_eq!(refused, ZkError::Multi { index: 0, code: ErrorCode::BadVersion, path: "/e".into(), codes });
        let missing = session.get_data("/b").await.unwrap_err();
        assert_eq!(missing.to_string(), "KeeperErrorCode = NoNode for /b");
        assert!(matches!(session.get_data("b").await, Err(ZkError::BadPath { .. })));
        let long = session.set_data("/b", vec![0; REQUEST_BYTES_MAX], -1).await;
        assert!(matches!(long, Err(ZkError::RequestTooLong { .. })));
    };
    tokio::join!(play, calls);
}

#[tokio::test]
async fn requests_are_pipelined_and_bounded_and_answered_in_order() {
    const REQUESTS: usize = driver::IN_FLIGHT_MAX + 500;
    let (listener, connect) = server();
    let (session, mut peer) = connected(&listener, &connect).await;
    let calls: Vec<_> = (0..REQUESTS)
        .map(|number| {
            let session = session.clone();
            runtime::spawn(async move { session.get_data(&format!("/{number}")).await.map(|(data, _)| data) })
        })
        .collect();
    let mut seen = Vec::new();
    for _ in 0..driver::IN_FLIGHT_MAX {
        seen.push(peer.expect(OpCode::GetData).await);
    }
    // A thousand are in flight: the next comes only after an answer.
    let more = tokio::time::timeout(Duration::from_millis(100), peer.read()).await;
    assert!(more.is_err(), "a request above the limit");
    while !seen.is_empty() {
        for (xid, body) in std::mem::take(&mut seen) {
            let path = GetDataRequest::from_body(body).unwrap().path;
            let response = GetDataResponse { data: Some(path.into()), stat: Stat::default() };
            peer.reply(xid, 1, ErrorCode::Ok, &response.to_body()).await;
        }
        while let Ok(Some(body)) = tokio::time::timeout(Duration::from_millis(100), peer.read()).await {
            let mut reader = protocol::zookeeper::Reader::new(body);
            let header: RequestHeader = reader.read().unwrap();
            seen.push((header.xid, reader.into_rest()));
        }
    }
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), Ok(Bytes::from(format!("/{number}"))));
    }
}

#[tokio::test]
async fn what_was_in_flight_is_lost_and_never_repeated_and_what_waited_is_sent() {
    let (listener, connect) = server();
    let (session, mut peer) = connected(&listener, &connect).await;
    let mut status = session.status();
    let in_flight = runtime::spawn({
        let session = session.clone();
        async move { session.create("/a", "x", CreateMode::Persistent).await }
    });
    peer.expect(OpCode::Create).await;
    drop(peer);
    let lost = in_flight.await.unwrap();
    assert_eq!(lost, Err(ZkError::ConnectionLoss { path: "/a".into() }));
    status.wait_for(|status| status.state == SessionState::Disconnected).await.unwrap();
    let waiting = runtime::spawn({
        let session = session.clone();
        async move { session.get_data("/b").await }
    });
    let (mut peer, request) = Peer::greet(&listener, 0x77, 30_000).await;
    assert_eq!((request.session_id, request.password), (0x77, Some(Bytes::from_static(b"0123456789abcdef"))));
    let (xid, _) = peer.expect(OpCode::GetData).await;
    peer.reply(xid, 9, ErrorCode::Ok, &data("later").to_body()).await;
    assert_eq!(waiting.await.unwrap().unwrap().0, "later");
    assert_eq!(status.borrow().connections, 2);
    assert!(session.since_last_byte() < TIMEOUT);
}

#[tokio::test]
async fn a_request_taken_back_before_it_was_sent_never_happens() {
    let (listener, connect) = server();
    let (session, peer) = connected(&listener, &connect).await;
    let mut status = session.status();
    drop(peer);
    status.wait_for(|status| status.state == SessionState::Disconnected).await.unwrap();
    let taken_back = session.create("/a", "x", CreateMode::Persistent);
    tokio::time::timeout(Duration::from_millis(50), taken_back).await.unwrap_err();
    let kept = runtime::spawn({
        let session = session.clone();
        async move { session.get_data("/b").await }
    });
    let (mut peer, _) = Peer::greet(&listener, 0x77, 30_000).await;
    let (xid, _) = peer.expect(OpCode::GetData).await;
    peer.reply(xid, 9, ErrorCode::Ok, &data("x").to_body()).await;
    kept.await.unwrap().unwrap();
}

#[tokio::test]
async fn only_the_server_declares_the_session_expired() {
    let (listener, connect) = server();
    let (session, mut peer) = connected(&listener, &connect).await;
    let mut watch = {
        let call = session.exists_watch("/a");
        let play = async {
            let (xid, _) = peer.expect(OpCode::Exists).await;
            peer.reply(xid, 9, ErrorCode::NoNode, b"").await;
        };
        tokio::join!(call, play).0.unwrap().1
    };
    drop(peer);
    let mut peer = Peer::accept(&listener).await;
    peer.read().await.unwrap();
    peer.write(|out| ConnectResponse::expired(Some(false)).write(out)).await;
    assert_eq!(watch.changed().await, Err(ZkError::SessionExpired));
    let mut status = session.status();
    status.wait_for(|status| status.state == SessionState::Expired).await.unwrap();
    assert_eq!(session.get_data("/a").await, Err(ZkError::SessionExpired));
    session.close().await;
}

#[tokio::test]
async fn requests_without_a_server_fail_after_one_timeout() {
    let (listener, connect) = server();
    drop(listener);
    let timeout = Duration::from_millis(200);
    let session = Session::start(SessionConfig::new(ConnectString::parse(&connect).unwrap(), timeout));
    assert_eq!(session.get_data("/a").await, Err(ZkError::NotConnected { path: "/a".into() }));
    assert_eq!(session.state(), SessionState::Connecting);
    let error = session.connected(Duration::from_millis(10)).await.unwrap_err();
    assert!(error.to_string().starts_with("Timed out waiting for connection while in state: CONNECTING"), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_silent_server_is_left_at_two_thirds_of_the_timeout_after_a_ping_at_one() {
    let (listener, connect) = server();
    let session = Session::start(SessionConfig::new(ConnectString::parse(&connect).unwrap(), TIMEOUT));
    let (mut peer, _) = Peer::greet(&listener, 0x77, 600).await;
    let connected_at = Clock::real().now();
    session.connected(TIMEOUT).await.unwrap();
    let mut reader = protocol::zookeeper::Reader::new(peer.read().await.unwrap());
    let header: RequestHeader = reader.read().unwrap();
    assert_eq!((header.xid, header.op), (xid::PING, OpCode::Ping.as_i32()));
    let pinged_after = Clock::real().now() - connected_at;
    assert!(pinged_after >= Duration::from_millis(180), "{pinged_after:?}");
    // The ping stays without an answer, so the client comes again, with its session.
    let (_peer, request) = Peer::greet(&listener, 0x77, 30_000).await;
    let left_after = Clock::real().now() - connected_at;
    assert!(left_after >= Duration::from_millis(380), "{left_after:?}");
    assert_eq!(request.session_id, 0x77);
}

/// Arms one watch of each kind, cuts the connection, and looks at what is sent on the next.
#[tokio::test]
async fn all_watches_are_rearmed_on_every_reconnect() {
    let (listener, connect) = server();
    let (session, mut peer) = connected(&listener, &format!("{connect}/k")).await;
    // Whether the server knows addWatch is asked on a connection and a session of its own.
    let probe = async {
        let (mut probe, request) = Peer::greet(&listener, 0x99, 4_000).await;
        assert_eq!(request.session_id, 0);
        let (xid, _) = probe.expect(OpCode::AddWatch).await;
        probe.reply(xid, 1, ErrorCode::Ok, &0i32.to_body()).await;
        let (xid, _) = probe.expect(OpCode::CloseSession).await;
        probe.reply(xid, 1, ErrorCode::Ok, b"").await;
    };
    let play = async {
        let (xid, _) = peer.expect(OpCode::GetData).await;
        peer.reply(xid, 40, ErrorCode::Ok, &data("x").to_body()).await;
        let (xid, _) = peer.expect(OpCode::Exists).await;
        peer.reply(xid, 41, ErrorCode::NoNode, b"").await;
        let (xid, _) = peer.expect(OpCode::GetChildren2).await;
        peer.reply(xid, 42, ErrorCode::Ok, &GetChildren2Response::default().to_body()).await;
        probe.await;
        let (xid, body) = peer.expect(OpCode::AddWatch).await;
        assert_eq!(name(&body), "/k/tree");
        // Without its 4 bytes of body, as some servers leave them out.
        peer.reply(xid, 43, ErrorCode::Ok, b"").await;
        peer.event(EventType::NodeCreated, "/k/tree/leaf").await;
    };
    let calls = async {
        let (_, _, data) = session.get_data_watch("/data").await.unwrap();
        let (_, exist) = session.exists_watch("/exist").await.unwrap();
        let (_, child) = session.get_children_watch("/").await.unwrap();
        let mut tree = session.add_watch("/tree", AddWatchMode::PersistentRecursive).await.unwrap();
        let event =
            WatchNotice::Event(super::super::WatchedEvent { kind: Kind::NodeCreated, path: "/tree/leaf".into() });
        assert_eq!(tree.next().await, Ok(event));
        (data, exist, child, tree)
    };
    let ((), (mut data, mut exist, mut child, mut tree)) = tokio::join!(play, calls);
    drop(peer);
    let (mut peer, request) = Peer::greet(&listener, 0x77, 30_000).await;
    assert_eq!(request.last_zxid_seen, 43);
    let (xid, body) = peer.expect(OpCode::SetWatches2).await;
    assert_eq!(xid, xid::SET_WATCHES);
    let rearmed = SetWatches2Request::from_body(body).unwrap();
    let expected = SetWatches2Request {
        relative_zxid: 43,
        data_watches: vec!["/k/data".into()],
        exist_watches: vec!["/k/exist".into()],
        child_watches: vec!["/k".into()],
        persistent_watches: vec![],
        persistent_recursive_watches: vec!["/k/tree".into()],
    };
    assert_eq!(rearmed, expected);
    peer.event(EventType::NodeDataChanged, "/k/data").await;
    peer.reply(xid::SET_WATCHES, 44, ErrorCode::Ok, b"").await;
    assert_eq!(data.changed().await.unwrap().path, "/data");
    assert_eq!(tree.next().await, Ok(WatchNotice::Missed));
    drop(data);

    // The one that fired is not armed again; the dropped persistent one is taken off.
    drop(tree);
    let (_, body) = peer.expect(OpCode::RemoveWatches).await;
    assert_eq!(name(&body), "/k/tree");
    drop(peer);
    let (mut peer, _) = Peer::greet(&listener, 0x77, 30_000).await;
    let (_, body) = peer.expect(OpCode::SetWatches).await;
    let rearmed = SetWatchesRequest::from_body(body).unwrap();
    assert_eq!((rearmed.data_watches.len(), rearmed.exist_watches.len(), rearmed.child_watches.len()), (0, 1, 1));
    peer.event(EventType::NodeCreated, "/k/exist").await;
    peer.event(EventType::NodeChildrenChanged, "/k").await;
    peer.reply(xid::SET_WATCHES, 45, ErrorCode::Ok, b"").await;
    assert_eq!(exist.changed().await.unwrap().kind, EventType::NodeCreated);
    assert_eq!(child.changed().await.unwrap().path, "/");
}

#[tokio::test]
async fn an_old_server_is_found_out_without_losing_the_connection() {
    let (listener, connect) = server();
    let (session, mut peer) = connected(&listener, &connect).await;
    const MANY: usize = 65;
    let no_add_watch = async {
        // 3.4 and 3.5 answer with an error and hang up; others only hang up.
        let (mut probe, _) = Peer::greet(&listener, 0x99, 4_000).await;
        let (xid, _) = probe.expect(OpCode::AddWatch).await;
        probe.reply(xid, -1, ErrorCode::Unimplemented, b"").await;
        drop(probe);
    };
    let no_multi_read = async {
        let (mut probe, _) = Peer::greet(&listener, 0x9a, 4_000).await;
        probe.expect(OpCode::MultiRead).await;
        drop(probe);
    };
    let calls = async {
        let unsupported = session.add_watch("/a", AddWatchMode::Persistent).await.map(drop);
        assert_eq!(unsupported, Err(ZkError::Unsupported { operation: "addWatch" }));
        let unsupported = session.add_watch("/a", AddWatchMode::Persistent).await.map(drop);
        assert_eq!(unsupported, Err(ZkError::Unsupported { operation: "addWatch" }), "asked once");
        // A few reads are not worth the question.
        let few = session.read_many(&["/a".to_owned(), "/b".to_owned()]).await.unwrap();
        let many: Vec<String> = (0..MANY).map(|number| format!("/{number}")).collect();
        (few, session.read_many(&many).await.unwrap())
    };
    let play = async {
        let answer_reads = async |peer: &mut Peer, count: usize| {
            let (xid, _) = peer.expect(OpCode::GetData).await;
            peer.reply(xid, 5, ErrorCode::Ok, &data("1").to_body()).await;
            for _ in 1..count {
                let (xid, _) = peer.expect(OpCode::GetData).await;
                peer.reply(xid, 5, ErrorCode::NoNode, b"").await;
            }
        };
        no_add_watch.await;
        answer_reads(&mut peer, 2).await;
        no_multi_read.await;
        answer_reads(&mut peer, MANY).await;
    };
    let ((few, many), ()) = tokio::join!(calls, play);
    for (read, count) in [(few, 2), (many, MANY)] {
        let read: Vec<_> = read.into_iter().map(|found| found.map(|(data, _)| data)).collect();
        assert_eq!(read[..2], [Some(Bytes::from_static(b"1")), None]);
        assert_eq!(read.len(), count);
    }
    assert_eq!(session.status().borrow().connections, 1);
}

#[tokio::test]
async fn a_server_that_answers_out_of_order_is_left() {
    let (listener, connect) = server();
    let (session, mut peer) = connected(&listener, &connect).await;
    let call = session.get_data("/a");
    let play = async {
        let (xid, _) = peer.expect(OpCode::GetData).await;
        peer.reply(xid + 1, 5, ErrorCode::Ok, &data("of another").to_body()).await;
        assert_eq!(peer.read().await, None, "the client hangs up");
    };
    let (answer, ()) = tokio::join!(call, play);
    assert_eq!(answer, Err(ZkError::ConnectionLoss { path: "/a".into() }));
}

#[tokio::test]
async fn hostile_frames_cost_the_connection_and_nothing_else() {
    let (listener, connect) = server();
    let (session, mut peer) = connected(&listener, &connect).await;
    for bytes in [&[0x7f, 0xff, 0xff, 0xff, 0][..], &[0xff, 0xff, 0xff, 0xfe][..], &[0, 0, 0, 3, 1, 2, 3][..]] {
        peer.stream.write_all(bytes).await.unwrap();
        assert_eq!(peer.read().await, None, "the client hangs up on {bytes:?}");
        peer = Peer::greet(&listener, 0x77, 30_000).await.0;
    }
    let call = session.get_data("/a");
    let play = async {
        let (xid, _) = peer.expect(OpCode::GetData).await;
        // A body that ends inside its Stat is the caller's problem alone.
        peer.reply(xid, 5, ErrorCode::Ok, &0i32.to_body()).await;
    };
    let (answer, ()) = tokio::join!(call, play);
    assert!(matches!(answer, Err(ZkError::BadReply { .. })), "{answer:?}");
}

#[tokio::test]
async fn credentials_go_first_on_every_connection() {
    let (listener, connect) = server();
    let (session, mut peer) = connected(&listener, &connect).await;
    let call = session.add_auth("digest", "u:p");
    let play = async {
        let (xid, _) = peer.expect(OpCode::Auth).await;
        peer.reply(xid, 0, ErrorCode::Ok, b"").await;
    };
    tokio::join!(call, play).0.unwrap();
    drop(peer);
    let (mut peer, _) = Peer::greet(&listener, 0x77, 30_000).await;
    let (xid, body) = peer.expect(OpCode::Auth).await;
    let packet = protocol::zookeeper::AuthPacket::from_body(body).unwrap();
    assert_eq!((packet.scheme.as_str(), packet.auth), ("digest", Some(Bytes::from_static(b"u:p"))));
    peer.reply(xid, 0, ErrorCode::AuthFailed, b"").await;
    let mut status = session.status();
    status.wait_for(|status| status.state == SessionState::AuthFailed).await.unwrap();
    assert_eq!(session.get_data("/a").await, Err(ZkError::AuthFailed));
}

#[tokio::test]
async fn closing_and_dropping_say_goodbye() {
    let (listener, connect) = server();
    let (session, mut peer) = connected(&listener, &connect).await;
    let play = async {
        let (xid, _) = peer.expect(OpCode::CloseSession).await;
        peer.reply(xid, 5, ErrorCode::Ok, b"").await;
    };
    tokio::join!(session.close(), play);
    assert_eq!(session.state(), SessionState::Closed);
    assert_eq!(session.get_data("/a").await, Err(ZkError::Closed));

    let (session, mut peer) = connected(&listener, &connect).await;
    drop(session);
    peer.expect(OpCode::CloseSession).await;
}

#[tokio::test]
async fn the_next_server_is_tried_when_one_refuses_or_is_behind() {
    let (refusing, refused) = server();
    drop(refusing);
    let (behind, behind_at) = server();
    let (good, good_at) = server();
    let session = Session::start(SessionConfig::new(
        ConnectString::parse(&format!("{refused},{behind_at},{good_at}")).unwrap(),
        TIMEOUT,
    ));
    let behind = runtime::spawn(async move {
        loop {
            // A server whose log is older than what the client has seen closes without a word.
            let mut peer = Peer::accept(&behind).await;
            peer.read().await;
        }
    });
    let (_peer, _) = Peer::greet(&good, 0x77, 30_000).await;
    session.connected(TIMEOUT).await.unwrap();
    behind.abort();
}
