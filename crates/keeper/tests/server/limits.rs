//! What hostile, greedy and careless clients and operators get.

use std::io::{Read, Write};
use std::net::TcpStream;

use protocol::zookeeper::*;
use tidemill_keeper::{Keeper, KeeperError};

use crate::common::*;

#[test]
fn frames_beyond_the_limit_close_the_connection_and_smaller_ones_are_served() {
    let home = start();
    let mut client = home.client();
    client.create("/big", "", CreateMode::Persistent).unwrap();
    let data = "x".repeat(MAX_FRAME_BYTES - 100);
    client.set("/big", &data).unwrap();
    assert_eq!(client.get("/big").unwrap().0, data);
    for length in [2 << 20, -1, i32::MIN] {
        let mut client = home.client();
        client.stream.write_all(&i32::to_be_bytes(length)).unwrap();
        assert!(client.is_closed(), "{length}");
    }
    let mut stream = TcpStream::connect(home.keeper.local_addr()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // Closed with unread bytes: an end or a reset, but no answer.
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer, b"");
}

#[test]
fn random_bytes_never_hurt_other_clients() {
    let home = start();
    let mut witness = home.client();
    let random = runtime::Random::real();
    for round in 0..200 {
        let mut client = home.client();
        let mut frame = vec![0; 4];
        let op = OpCode::from_i32(random.below(110) as i32).unwrap_or(OpCode::Multi).as_i32();
        frame.extend([0, 0, 0, 1]);
        frame.extend(op.to_be_bytes());
        for _ in 0..random.below(60) {
            // Small numbers more often than not: lengths and counts that nearly fit.
            frame.push(if random.below(3) == 0 { random.u64() as u8 } else { 0 });
        }
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        client.stream.write_all(&frame).unwrap();
        client.send(OpCode::CloseSession, &NOTHING);
        while client.next().is_some() {}
        assert!(witness.exists("/"), "round {round}");
    }
}

#[test]
fn one_address_may_have_only_so_many_connections() {
    let home = start_with(|config| config.max_client_connections = 2);
    let (_first, second) = (home.client(), home.client());
    assert!(Client::handshake(home.keeper.local_addr(), no_session()).is_none());
    drop(second);
    until("a place is free again", || Client::handshake(home.keeper.local_addr(), no_session()).is_some());
}

#[test]
fn a_client_that_does_not_read_stops_being_read() {
    let home = start();
    let mut client = home.client();
    client.create("/big", "", CreateMode::Persistent).unwrap();
    client.set("/big", &"x".repeat(1_000_000)).unwrap();
    client.stream.set_nonblocking(true).unwrap();
    let mut out = bytes::BytesMut::new();
    for xid in 0..100_000 {
        frame(&mut out, |out| {
            RequestHeader { xid, op: OpCode::GetData.as_i32() }.write(out);
            GetDataRequest { path: "/big".into(), watch: false }.write(out);
        });
    }
    let mut sent = 0;
    let mut other = home.client();
    let (mut received, mut rounds_unchanged) = (0, 0);
    until("the keeper has stopped reading", || {
        sent += client.stream.write(&out[sent..]).unwrap_or(0);
        assert!(other.exists("/"), "others are served");
        // One of them is the other client's.
        let more = home.keeper.status().received_count - received;
        received += more;
        rounds_unchanged = if more <= 1 { rounds_unchanged + 1 } else { 0 };
        rounds_unchanged == 50
    });
    assert!(received < 10_000, "{received} requests of a client that reads nothing were taken");
}

#[test]
fn four_letter_words_are_answered() {
    let home = start();
    let address = home.keeper.local_addr();
    let mut client = home.client();
    client.create("/e", "", CreateMode::Ephemeral).unwrap();
    client.call(OpCode::Exists, &ExistsRequest { path: "/w".into(), watch: true });
    let check = |word: &str, expected: &[&str]| {
        let answer = four_letters(address, word);
        expected.iter().for_each(|part| assert!(answer.contains(part), "{word} without {part:?}: {answer}"));
    };
    assert_eq!(four_letters(address, "ruok"), "imok");
    assert_eq!(four_letters(address, "isro"), "rw");
    check("srvr", &["Zookeeper version: 3.8.0", "Mode: standalone\n", "Node count: 5\n", "Zxid: 0x"]);
    check("stat", &["Clients:\n /127.0.0.1:", "[1](queued=0,", "Mode: standalone\n"]);
    check(
        "mntr",
        &["zk_server_state\tstandalone\n", "zk_ephemerals_count\t1\n", "zk_watch_count\t1\n", "zk_znode_count\t5\n"],
    );
    check("conf", &["maxClientCnxns=60\n", "minSessionTimeout=400\n"]);
    check("cons", &[&format!("sid=0x{:x},lop=EXIS", client.session())]);
    check("dump", &[&format!("0x{:x}:\n\t/e\n", client.session()), "Sessions with Ephemerals (1):"]);
    check("envi", &["zookeeper.version=3.8.0"]);
    check("wchs", &["1 connections watching 1 paths\nTotal watches:1\n"]);
    check("wchp", &["/w\n\t0x"]);
    check("wchc", &["\n\t/w\n"]);
    check("srst", &["Server stats reset."]);
    check("crst", &["Connection stats reset."]);
}

#[test]
fn words_outside_the_whitelist_are_refused() {
    let home = start_with(|config| config.four_letter_whitelist = Some(["ruok".to_owned()].into()));
    let address = home.keeper.local_addr();
    assert_eq!(four_letters(address, "ruok"), "imok");
    assert_eq!(four_letters(address, "stat"), "stat is not executed because it is not in the whitelist.\n");
}

#[test]
fn a_start_that_cannot_be_is_refused_with_cause_and_help() {
    let home = start();
    let refused = |change: &dyn Fn(&mut tidemill_keeper::KeeperConfig)| {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        let error = Keeper::start(config).map(|_| ()).unwrap_err();
        assert!(error.cause().is_some() && error.help().is_some(), "{error}");
        error
    };
    let address = home.keeper.local_addr();
    assert!(matches!(refused(&|config| config.address = address), KeeperError::AddressInUse { .. }));
    let held = refused(&|config| config.data_dir = home.dir.path().to_owned());
    assert!(matches!(held, KeeperError::Locked { holder: Some(pid), .. } if pid == std::process::id()));
    let foreign = tempfile::tempdir().unwrap();
    runtime::Disk::real().create_dir_all(&foreign.path().join("version-2")).unwrap();
    assert!(matches!(refused(&|config| config.data_dir = foreign.path().to_owned()), KeeperError::ForeignData { .. }));
    assert!(matches!(refused(&|config| config.data_dir = "/proc/none".into()), KeeperError::Io { .. }));
}
