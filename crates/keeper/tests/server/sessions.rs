//! Sessions: taking them up again, guarding them, and their end.

use bytes::Bytes;
use protocol::zookeeper::*;

use crate::common::*;

#[test]
fn a_session_moves_to_a_new_connection_and_cuts_the_old_one() {
    let home = start();
    let mut first = home.client();
    first.create("/e", "", CreateMode::Ephemeral).unwrap();
    let mut second = first.resume(home.keeper.local_addr()).expect("resumed");
    assert_eq!((second.session(), &second.hello.password), (first.session(), &first.hello.password));
    assert!(first.is_closed());
    assert!(second.exists("/e"));
}

#[test]
fn a_wrong_password_is_told_expired_and_does_not_disturb_the_owner() {
    let home = start();
    let mut owner = home.client();
    for password in [Some(Bytes::from_static(&[b'x'; 16])), Some(Bytes::new()), None] {
        let request = ConnectRequest { session_id: owner.session(), password, read_only: Some(false), ..no_session() };
        let mut thief = Client::handshake(home.keeper.local_addr(), request).expect("an answer");
        assert_eq!(thief.hello, ConnectResponse::expired(Some(false)));
        assert!(thief.is_closed());
    }
    assert!(owner.exists("/"), "the owner's connection lives on");
}

#[test]
fn an_unknown_session_is_expired() {
    let home = start();
    let request = ConnectRequest { session_id: 12345, ..no_session() };
    let mut client = Client::handshake(home.keeper.local_addr(), request).expect("an answer");
    assert_eq!(client.hello, ConnectResponse::expired(None));
    assert!(client.is_closed());
}

#[test]
fn a_silent_session_expires_with_its_nodes_and_watchers_hear_of_it() {
    let home = start();
    let mut silent = Client::connect(home.keeper.local_addr(), 400);
    silent.create("/e", "", CreateMode::Ephemeral).unwrap();
    let mut watcher = home.client();
    assert!(
        watcher.call(OpCode::Exists, &ExistsRequest { path: "/e".into(), watch: true }).header.err == ErrorCode::Ok
    );
    assert_eq!(watcher.event(), (EventType::NodeDeleted.as_i32(), "/e".into()));
    assert!(silent.is_closed(), "its connection is closed");
    assert_eq!(silent.resume(home.keeper.local_addr()).expect("an answer").hello, ConnectResponse::expired(None));
}

#[test]
fn pings_keep_a_session() {
    let home = start();
    let mut client = Client::connect(home.keeper.local_addr(), 400);
    client.create("/e", "", CreateMode::Ephemeral).unwrap();
    let clock = runtime::Clock::real();
    for _ in 0..10 {
        clock.block_for(std::time::Duration::from_millis(150));
        client.send_as(xid::PING, OpCode::Ping.as_i32(), &NOTHING);
        assert_eq!(client.next().expect("a pong").header.xid, xid::PING);
    }
    assert!(client.exists("/e"));
}

#[test]
fn a_lost_connection_does_not_end_the_session_and_a_closed_session_ends_at_once() {
    let home = start();
    let mut client = home.client();
    client.create("/e", "", CreateMode::Ephemeral).unwrap();
    client.stream.shutdown(std::net::Shutdown::Both).unwrap();
    until("the connection is gone", || home.keeper.status().connection_count == 0);
    assert_eq!(home.keeper.status().session_count, 1);
    let mut again = client.resume(home.keeper.local_addr()).expect("resumed");
    assert!(again.exists("/e"));
    again.call(OpCode::CloseSession, &NOTHING);
    let mut other = home.client();
    assert!(!other.exists("/e"));
    assert_eq!(home.keeper.status().session_count, 1);
}

#[test]
fn containers_and_ttl_nodes_are_collected() {
    let home = start_with(|config| config.container_check_interval = std::time::Duration::from_millis(50));
    let mut client = home.client();
    let ttl = CreateTtlRequest {
        path: "/t".into(),
        acl: Acl::open(),
        flags: CreateMode::PersistentWithTtl.as_i32(),
        ttl_ms: 100,
        ..Default::default()
    };
    client.call(OpCode::CreateTtl, &ttl).read::<Create2Response>();
    client.call(OpCode::CreateContainer, &create_request("/c", "", CreateMode::Container)).read::<Create2Response>();
    client.create("/c/x", "", CreateMode::Persistent).unwrap();
    until("the TTL node is gone", || !client.exists("/t"));
    assert!(client.exists("/c"));
    client.delete("/c/x").unwrap();
    until("the container is gone", || !client.exists("/c"));
}
