//! What was acknowledged is there after any end: stop, kill, restart, snapshots.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use protocol::zookeeper::*;
use runtime::Disk;
use tidemill_keeper::Keeper;

use crate::common::*;

#[test]
fn a_restart_keeps_nodes_sessions_and_zxids() {
    let home = start();
    let mut client = home.client();
    client.create("/a", "one", CreateMode::Persistent).unwrap();
    client.create("/a/e", "", CreateMode::Ephemeral).unwrap();
    client.set("/a", "two").unwrap();
    assert_eq!(client.delete("/none"), Err(ErrorCode::NoNode));
    let before = client.get("/a").unwrap();
    let zxid = home.keeper.status().zxid;
    block_on(home.keeper.shutdown()).unwrap();

    let keeper = Keeper::start(config(home.dir.path())).unwrap();
    assert_eq!(keeper.status().zxid, zxid, "the failed write has a zxid as well");
    let mut again = client.resume(keeper.local_addr()).expect("the session lives on");
    assert_eq!(again.session(), client.session());
    assert_eq!(again.get("/a").unwrap(), before);
    assert!(again.exists("/a/e"));
    again.call(OpCode::CloseSession, &NOTHING);
    let mut other = Client::connect(keeper.local_addr(), 10_000);
    assert!(!other.exists("/a/e"));
    assert!(other.session() > client.session());
}

#[test]
fn a_stop_answers_what_was_asked_before() {
    let home = start();
    let mut client = home.client();
    client.create("/a", "", CreateMode::Persistent).unwrap();
    block_on(home.keeper.shutdown()).unwrap();
    assert!(client.is_closed());
    let keeper = Keeper::start(config(home.dir.path())).unwrap();
    assert!(Client::connect(keeper.local_addr(), 10_000).exists("/a"));
}

#[test]
fn snapshots_are_taken_while_writing_and_old_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let small = |dir: &std::path::Path| {
        let mut config = config(dir);
        config.snap_count = 50;
        config
    };
    let names = |prefix: &str| {
        let entries = Disk::real().read_dir(&dir.path().join("keeper-1")).unwrap();
        entries
            .into_iter()
            .map(|entry| entry.name.into_string().unwrap())
            .filter(|name| name.starts_with(prefix))
            .count()
    };
    for life in 0..6 {
        let keeper = Keeper::start(small(dir.path())).unwrap();
        let mut client = Client::connect(keeper.local_addr(), 10_000);
        for i in 0..100 {
            client.create(&format!("/n{life}-{i}"), &format!("{i}"), CreateMode::Persistent).unwrap();
            if i % 3 == 0 {
                client.delete(&format!("/n{life}-{i}")).unwrap();
            }
        }
        until("a snapshot of this life", || names("snapshot.") > life.min(2));
        block_on(keeper.shutdown()).unwrap();
    }
    // One may have got its name just as the keeper stopped; the next one takes the oldest along.
    assert!((3..=4).contains(&names("snapshot.")), "{} snapshots", names("snapshot."));
    assert!(names("log.") < 6, "{} logs", names("log."));
    let keeper = Keeper::start(small(dir.path())).unwrap();
    let mut client = Client::connect(keeper.local_addr(), 10_000);
    assert_eq!(client.children("/").len(), 6 * 66 + 1);
    for life in 0..6 {
        assert_eq!(client.get(&format!("/n{life}-98")).unwrap().0, "98");
        assert!(!client.exists(&format!("/n{life}-99")));
    }
}

#[test]
fn a_log_that_cannot_be_written_ends_the_keeper_without_an_answer() {
    let home = start();
    // The first write makes the first segment, and cannot.
    Disk::real().remove_dir_all(&home.dir.path().join("keeper-1")).unwrap();
    assert!(Client::handshake(home.keeper.local_addr(), no_session()).is_none(), "no session that is not on disk");
    block_on(home.keeper.ended());
    let error = block_on(home.keeper.shutdown()).unwrap_err();
    assert!(error.to_string().starts_with("cannot create the transaction log"), "{error}");
}

/// Not a test of its own: the process that the next test kills. It serves the directory in the environment variable until killed.
#[test]
fn child_that_serves_until_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let mut config = config(dir.as_ref());
    config.snap_count = 500;
    let keeper = Keeper::start(config).unwrap();
    println!("\n{ADDRESS_LINE}{}", keeper.local_addr());
    block_on(keeper.ended());
}

const CHILD_DIR: &str = "TIDEMILL_KEEPER_TEST_DIR";
const ADDRESS_LINE: &str = "serving on ";

struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // Already dead is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn_child(dir: &std::path::Path) -> (KilledOnDrop, std::net::SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durability::child_that_serves_until_killed", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let child = KilledOnDrop(child);
    let address = out.lines().find_map(|line| line.unwrap().strip_prefix(ADDRESS_LINE).map(str::to_owned));
    (child, address.expect("the child serves").parse().unwrap())
}

/// What one client knows of its node: the newest version that was acknowledged and the newest it sent.
#[derive(Debug, Clone, Copy)]
struct Known {
    acknowledged: i32,
    sent: i32,
}

/// Writes to its own node without waiting, until the keeper is dead.
fn write_until_dead(
    address: std::net::SocketAddr,
    path: &str,
    mut known: Known,
    progress: &std::sync::mpsc::Sender<()>,
) -> Known {
    const IN_FLIGHT: i32 = 20;
    let mut client = Client::connect(address, 10_000);
    loop {
        while known.sent < known.acknowledged + IN_FLIGHT {
            let request = SetDataRequest {
                path: path.into(),
                data: Some(Bytes::from(format!("{}", known.sent + 1))),
                version: known.sent,
            };
            let mut out = bytes::BytesMut::new();
            frame(&mut out, |out| {
                RequestHeader { xid: known.sent + 1, op: OpCode::SetData.as_i32() }.write(out);
                request.write(out);
            });
            // The keeper may be dead by now; whether it got this one is open.
            let dead = std::io::Write::write_all(&mut client.stream, &out).is_err();
            known.sent += 1;
            if dead {
                return known;
            }
        }
        match client.next() {
            Some(reply) => {
                assert_eq!(reply.header.err, ErrorCode::Ok);
                known.acknowledged += 1;
                let _ = progress.send(());
            }
            None => return known,
        }
    }
}

#[test]
fn a_killed_keeper_has_every_acknowledged_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut known = [Known { acknowledged: 0, sent: 0 }; 3];
    for round in 0..4 {
        let (child, address) = spawn_child(dir.path());
        let mut client = Client::connect(address, 10_000);
        for (i, known) in known.iter_mut().enumerate() {
            let path = format!("/node{i}");
            if round == 0 {
                client.create(&path, "0", CreateMode::Persistent).unwrap();
            }
            let (data, stat) = client.get(&path).unwrap();
            assert_eq!(data, stat.version.to_string());
            assert!(
                (known.acknowledged..=known.sent).contains(&stat.version),
                "{path} is at {} after {known:?}",
                stat.version
            );
            *known = Known { acknowledged: stat.version, sent: stat.version };
        }
        let (progress, written) = std::sync::mpsc::channel();
        let writers: Vec<_> = known
            .into_iter()
            .enumerate()
            .map(|(i, known)| {
                let progress = progress.clone();
                let body = move || write_until_dead(address, &format!("/node{i}"), known, &progress);
                runtime::thread(format!("writer-{i}"), body).unwrap()
            })
            .collect();
        // Somewhere in the middle, and past a snapshot or two.
        for _ in 0..1000 + round * 137 {
            written.recv_timeout(PATIENCE).expect("writes go on");
        }
        drop(child);
        for (known, writer) in known.iter_mut().zip(writers) {
            *known = writer.join().unwrap();
        }
    }
}
