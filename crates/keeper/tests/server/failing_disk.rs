//! A disk that fails: what was not made to last is never answered, the keeper ends and says the cause, and what was answered is there when it starts again.

use protocol::zookeeper::*;
use runtime::sim_disk::{Fault, Operation};
use runtime::{Disk, SimDisk};
use tidemill_keeper::Keeper;

use crate::common::*;

fn start_on(sim: SimDisk) -> Keeper {
    let mut config = config(std::path::Path::new("/keeper"));
    config.log_segment_bytes = 20_000;
    config.pre_alloc_bytes = 4096;
    Keeper::start_on(Disk::Sim(sim), config).unwrap()
}

/// Writes until the disk fails; gives how many were answered, and what the keeper said at its end.
fn write_until_it_fails(sim: SimDisk, fault: Fault) -> (usize, String, Option<String>) {
    let keeper = start_on(sim);
    let mut writer = Client::connect(keeper.local_addr(), 10_000);
    let mut reader = Client::connect(keeper.local_addr(), 10_000);
    writer.create("/a", "", CreateMode::Persistent).unwrap();
    sim.add_fault(fault);
    let mut answered = 0;
    loop {
        let path = format!("/a/{answered}");
        let xid = writer.send(OpCode::Create, &create_request(&path, &"x".repeat(1000), CreateMode::Persistent));
        match writer.next() {
            Some(reply) => {
                assert_eq!((reply.header.xid, reply.header.err), (xid, ErrorCode::Ok));
                answered += 1;
                assert!(reader.exists(&path));
            }
            None => break,
        }
    }
    assert!(reader.is_closed(), "nobody is told of what is not on the disk");
    block_on(keeper.ended());
    let error = block_on(keeper.shutdown()).unwrap_err();
    (answered, error.to_string(), error.cause())
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_answered_and_the_cause_is_said() {
    let later = |operation, after| Fault { after, ..Fault::always(operation, "/keeper/keeper-1/log.") };
    let cases = [
        (later(Operation::SyncFile, 0), "cannot sync the transaction log /keeper/keeper-1/log.0000000000000001"),
        (later(Operation::SyncFile, 7), "cannot sync the transaction log /keeper/keeper-1/log.0000000000000001"),
        (later(Operation::Write, 0), "cannot write the transaction log /keeper/keeper-1/log.0000000000000001"),
        (later(Operation::Write, 5), "cannot write the transaction log /keeper/keeper-1/log.0000000000000001"),
        (later(Operation::Create, 0), "cannot create the transaction log /keeper/keeper-1/log."),
        (Fault::always(Operation::SyncDir, "keeper-1"), "cannot sync the directory /keeper/keeper-1"),
        (later(Operation::SetLen, 0), "cannot trim the transaction log /keeper/keeper-1/log.0000000000000001"),
    ];
    for (fault, expected) in cases {
        let sim = SimDisk::new();
        let what = format!("{fault:?}");
        let (answered, said, cause) = write_until_it_fails(sim, fault);
        assert!(said.starts_with(expected), "{what}: {said}");
        assert_eq!(cause.as_deref(), Some("Input/output error"), "{what}");
        sim.clear_faults();
        let check = |place: &str| {
            let keeper = start_on(sim);
            let mut client = Client::connect(keeper.local_addr(), 10_000);
            let children = client.children("/a").len();
            assert!((answered..=answered + 1).contains(&children), "{what}, {place}: {children} of {answered}");
            let names: Vec<String> = (0..children).map(|number| number.to_string()).collect();
            let mut found = client.children("/a");
            found.sort_by_key(|name| name.parse::<u32>().unwrap());
            assert_eq!(found, names, "{what}, {place}");
            children
        };
        // The system takes pages whose sync failed for written: what a start reads there must be written once more before anybody sees it.
        let seen = check("started again");
        sim.power_cut(3);
        assert_eq!(check("after a power cut"), seen, "{what}: what was seen is there");
    }
}

#[test]
fn a_snapshot_that_fails_does_no_harm_and_leaves_nothing() {
    let sim = SimDisk::new();
    let mut config = config(std::path::Path::new("/keeper"));
    config.snap_count = 20;
    let keeper = Keeper::start_on(Disk::Sim(sim), config).unwrap();
    let mut client = Client::connect(keeper.local_addr(), 10_000);
    sim.add_fault(Fault::always(Operation::SyncFile, "snapshot."));
    for number in 0..100 {
        client.create(&format!("/n{number}"), "", CreateMode::Persistent).unwrap();
    }
    let snapshots = || {
        let entries = Disk::Sim(sim).read_dir(std::path::Path::new("/keeper/keeper-1")).unwrap();
        entries.iter().filter(|entry| entry.name.to_string_lossy().starts_with("snapshot.")).count()
    };
    until("the piece is gone", || snapshots() == 0);
    block_on(keeper.shutdown()).unwrap();
    sim.power_cut(1);
    assert_eq!(Client::connect(start_on(sim).local_addr(), 10_000).children("/").len(), 101);
}
