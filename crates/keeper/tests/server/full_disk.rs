//! A full disk: writes are refused with an error that clients retry, all else goes on, and so do writes once there is room.

use protocol::zookeeper::*;
use runtime::{Clock, Disk, SimDisk};
use tidemill_keeper::{Keeper, KeeperConfig};

use crate::common::*;

fn full_config() -> KeeperConfig {
    let mut config = config(std::path::Path::new("/keeper"));
    config.pre_alloc_bytes = 64 << 10;
    config.log_segment_bytes = 256 << 10;
    config
}

fn start_on(sim: SimDisk) -> Keeper {
    Keeper::start_on(Disk::Sim(sim), full_config()).unwrap()
}

/// Writes until it is refused; gives how many were answered.
fn write_until_full(client: &mut Client, from: usize) -> usize {
    for number in from.. {
        match client.create(&format!("/n{number}"), &"x".repeat(1000), CreateMode::Persistent) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, ErrorCode::OperationTimeout);
                return number;
            }
        }
    }
    unreachable!()
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else_until_there_is_room() {
    // In the first log file, and where the next one is due.
    for room in [100_000, 400_000] {
        let sim = SimDisk::new();
        let keeper = start_on(sim);
        let mut client = Client::connect(keeper.local_addr(), 10_000);
        sim.set_capacity(Some(sim.used_bytes() + room));
        let written = write_until_full(&mut client, 0);
        assert!(keeper.status().disk_full);
        let zxid = keeper.status().zxid;

        // No write of any kind, and none is done.
        assert_eq!(client.set("/n0", "y"), Err(ErrorCode::OperationTimeout));
        assert_eq!(client.delete("/none"), Err(ErrorCode::OperationTimeout));
        let ops = vec![MultiOp::Delete(DeleteRequest { path: "/n0".into(), version: -1 })];
        assert_eq!(client.error(OpCode::Multi, &MultiRequest { ops }), ErrorCode::OperationTimeout);
        assert_eq!(keeper.status().zxid, zxid, "a refused write has no transaction");
        // Reads, pings, and sessions that come and go.
        assert_eq!(client.get("/n0").unwrap().1.version, 0);
        assert_eq!(client.children("/").len(), written + 1);
        client.send_as(xid::PING, OpCode::Ping.as_i32(), &NOTHING);
        assert_eq!(client.next().unwrap().header.xid, xid::PING);
        let mut other = Client::connect(keeper.local_addr(), 10_000);
        assert!(other.exists("/n0"));
        assert_eq!(other.call(OpCode::CloseSession, &NOTHING).header.err, ErrorCode::Ok);
        // And it shows.
        let word = |word| four_letters(keeper.local_addr(), word);
        assert_eq!(word("ruok"), "imok, but no space is left in /keeper: writes are refused");
        assert_eq!(word("isro"), "ro");
        assert!(word("srvr").contains("\nMode: read-only\n"));
        assert!(word("mntr").contains("\nzk_disk_full\t1\n") && word("mntr").contains("zk_server_state\tread-only\n"));

        // What was answered outlasts the full disk: another keeper starts on it, as it would after a power cut.
        let scratch = SimDisk::new();
        scratch.become_moment(&sim.moment());
        scratch.power_cut(5);
        let again = start_on(scratch);
        let mut reader = client.resume(again.local_addr()).expect("the session goes on");
        assert_eq!(reader.children("/").len(), written + 1);
        drop(reader);
        block_on(again.shutdown()).unwrap();

        sim.set_capacity(None);
        until("writes are taken", || client.set("/n0", "z").is_ok());
        assert!(!keeper.status().disk_full);
        assert_eq!(word("ruok"), "imok");
        assert!(word("mntr").contains("\nzk_disk_full\t0\n"));
        client.create("/after", "", CreateMode::Persistent).unwrap();
        drop(client);
        block_on(keeper.shutdown()).unwrap();
        sim.power_cut(6);
        let keeper = start_on(sim);
        let mut client = Client::connect(keeper.local_addr(), 10_000);
        assert_eq!(client.children("/").len(), written + 2);
        assert_eq!(client.get("/n0").unwrap().0, "z");
    }
}

#[test]
fn a_session_that_cannot_be_ended_for_want_of_room_ends_when_there_is_some() {
    let sim = SimDisk::new();
    let keeper = start_on(sim);
    let mut client = Client::connect(keeper.local_addr(), 10_000);
    let mut short = Client::connect(keeper.local_addr(), 400);
    short.create("/short", "", CreateMode::Ephemeral).unwrap();
    let mut leaving = Client::connect(keeper.local_addr(), 400);
    leaving.create("/leaving", "", CreateMode::Ephemeral).unwrap();
    sim.set_capacity(Some(sim.used_bytes()));
    write_until_full(&mut client, 0);
    // Sessions use up what is left for them.
    let address = keeper.local_addr();
    let mut sessions = 0;
    // Each leaves its connection at once: a keeper limits those of one address.
    while Client::handshake(address, ConnectRequest { timeout_ms: 60_000, ..no_session() }).is_some() {
        sessions += 1;
        assert!(sessions < 1000, "there is an end to it");
        for client in [&mut short, &mut leaving] {
            client.send_as(xid::PING, OpCode::Ping.as_i32(), &NOTHING);
            assert_eq!(client.next().unwrap().header.xid, xid::PING);
        }
    }
    assert!(sessions > 10, "{sessions} sessions found room");
    assert_eq!(leaving.call(OpCode::CloseSession, &NOTHING).header.err, ErrorCode::OperationTimeout);
    drop(short);
    // Longer than their time-out.
    Clock::real().block_for(std::time::Duration::from_millis(1500));
    assert!(client.exists("/short") && client.exists("/leaving"));
    sim.set_capacity(None);
    until("both have ended", || !client.exists("/short") && !client.exists("/leaving"));
    assert!(client.create("/after", "", CreateMode::Persistent).is_ok());
}

#[test]
fn a_keeper_that_starts_on_a_full_disk_answers_reads_and_waits_for_room() {
    let sim = SimDisk::new();
    let keeper = start_on(sim);
    let mut client = Client::connect(keeper.local_addr(), 10_000);
    client.create("/a", "one", CreateMode::Persistent).unwrap();
    let session = client.resume(keeper.local_addr()).unwrap();
    drop(client);
    block_on(keeper.shutdown()).unwrap();
    sim.set_capacity(Some(sim.used_bytes()));
    let keeper = start_on(sim);
    let mut client = session.resume(keeper.local_addr()).expect("the session goes on");
    assert_eq!(client.get("/a").unwrap().0, "one");
    assert_eq!(client.set("/a", "two"), Err(ErrorCode::OperationTimeout));
    assert_eq!(client.get("/a").unwrap().0, "one");
    sim.set_capacity(None);
    until("writes are taken", || client.set("/a", "two").is_ok());
    assert_eq!(client.get("/a").unwrap().1.version, 1);
}

#[test]
fn a_snapshot_that_does_not_fit_is_not_begun() {
    let sim = SimDisk::new();
    let mut config = full_config();
    config.snap_count = 20;
    let keeper = Keeper::start_on(Disk::Sim(sim), config).unwrap();
    let mut client = Client::connect(keeper.local_addr(), 10_000);
    sim.set_capacity(Some(sim.used_bytes() + (1 << 20)));
    for number in 0..100 {
        client.create(&format!("/n{number}"), &"x".repeat(1000), CreateMode::Persistent).unwrap();
    }
    assert!(!keeper.status().disk_full, "the room is the log's");
    block_on(keeper.shutdown()).unwrap();
    let entries = Disk::Sim(sim).read_dir(std::path::Path::new("/keeper/keeper-1")).unwrap();
    assert!(entries.iter().all(|entry| entry.name.to_string_lossy().starts_with("log.")), "{entries:?}");
}
