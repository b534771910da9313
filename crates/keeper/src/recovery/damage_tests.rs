//! Every bit of every file flipped, and every torn end: a start finds the same tree or refuses, names the file and a place in it, and has changed nothing.

use std::collections::BTreeMap;
use std::path::Path;

use protocol::zookeeper::Acl;
use runtime::SimDisk;

use super::*;
use crate::tree::owner;
use crate::wal::LogBuffer;

const RANDOM: Random = Random::Real;
const DIR: &str = "/keeper/keeper-1";

fn config() -> KeeperConfig {
    let mut config = KeeperConfig::new("/keeper");
    config.pre_alloc_bytes = 256;
    config
}

fn start(sim: SimDisk) -> Result<Recovered, KeeperError> {
    recover(Disk::Sim(sim), RANDOM, &config())
}

/// Each transaction touches what those before it made, so that none can be left out unseen.
fn txn(zxid: i64) -> Txn {
    let data = Some(Bytes::from(format!("data of {zxid}")));
    let op = match zxid % 4 {
        1 => TxnOp::CreateSession { session: zxid, timeout_ms: 4000, password: [zxid as u8; 16] },
        2 => {
            let (path, owner) = (format!("/n{zxid}"), owner::PERSISTENT);
            TxnOp::Create { path, data, acl: Acl::open(), owner, parent_cversion: zxid as i32 }
        }
        3 => TxnOp::SetData { path: format!("/n{}", zxid - 1), data, version: 1 },
        _ => TxnOp::Failed { error: -110 },
    };
    Txn { zxid, time_ms: 1000 + zxid, session: 7, ops: vec![op] }
}

/// Goes on where the log ends with batches of so many transactions.
fn write(sim: SimDisk, batches: &[i64], end: impl FnOnce(&mut Wal)) {
    let recovered = start(sim).unwrap();
    let (mut wal, mut zxid) = (recovered.wal, recovered.state.zxid);
    let mut buffer = LogBuffer::default();
    for count in batches {
        for _ in 0..*count {
            zxid += 1;
            buffer.push(&txn(zxid));
        }
        wal.commit(&mut buffer).unwrap();
    }
    end(&mut wal);
}

fn snapshot(sim: SimDisk) {
    let recovered = start(sim).unwrap();
    let (mut state, snapshots) = (recovered.state, recovered.snapshots);
    runtime::spawn::current_thread().unwrap().block_on(async {
        let sessions = state.sessions.iter().map(|(id, session)| (*id, session.timeout_ms, session.password));
        let mut writer = snapshots.start(state.zxid, sessions.collect(), 0);
        state.tree.start_snapshot();
        let (bytes, total) = state.tree.snapshot_slice(usize::MAX).unwrap();
        writer.block(bytes);
        writer.total(total.unwrap());
        writer.finish().await.unwrap().unwrap();
    });
}

/// A log of three lives and two snapshots: stopped, stopped, and killed at rest.
fn whole() -> SimDisk {
    let sim = SimDisk::new();
    Disk::Sim(sim).create_dir_all(Path::new(DIR)).unwrap();
    write(sim, &[3, 1, 2], |wal| wal.close().unwrap());
    snapshot(sim);
    write(sim, &[2, 3], |wal| wal.close().unwrap());
    snapshot(sim);
    write(sim, &[1, 3], |wal| wal.mark().unwrap());
    sim
}

/// Everything a keeper starts from, to compare: zxid, nodes, sessions.
type Whole = (i64, BTreeMap<String, String>, BTreeMap<i64, (i32, [u8; 16])>);

fn contents(mut state: State) -> Whole {
    state.tree.start_snapshot();
    let mut reader = protocol::zookeeper::Reader::new(state.tree.snapshot_slice(usize::MAX).unwrap().0.freeze());
    let mut nodes = BTreeMap::new();
    while reader.remaining() > 0 {
        let (path, node) = crate::tree::snapshot_pass::read_node(&mut reader).unwrap();
        nodes.insert(path.to_string(), format!("{node:?}"));
    }
    let sessions = state.sessions.iter().map(|(id, session)| (*id, (session.timeout_ms, session.password))).collect();
    (state.zxid, nodes, sessions)
}

fn files(sim: SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = Disk::Sim(sim).read_dir(Path::new(DIR)).unwrap();
    entries.into_iter().map(|entry| (entry.path.clone(), Disk::Sim(sim).read(&entry.path, 1 << 20).unwrap())).collect()
}

/// What a start said to one damage.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Whole,
    Refused,
}

/// Flips the bits of a file in turn, `bits` of each byte, counts what came of it, and fails where a tree differs or a refusal names nothing or changes something.
fn flip(sim: SimDisk, name: &str, bits: u64) -> [usize; 2] {
    let path = Path::new(DIR).join(name);
    let scratch = SimDisk::new();
    let moment = sim.moment();
    scratch.become_moment(&moment);
    let expected = contents(start(scratch).unwrap().state);
    let mut outcomes = [0, 0];
    for position in 0..Disk::Sim(sim).file_len(&path).unwrap() {
        for bit in position..position + bits {
            scratch.become_moment(&moment);
            scratch.flip(&path, position, 1 << (bit % 8)).unwrap();
            let outcome = judge(scratch, &path, position, &expected);
            outcomes[usize::from(outcome == Outcome::Refused)] += 1;
        }
    }
    outcomes
}

fn judge(sim: SimDisk, path: &Path, position: u64, expected: &Whole) -> Outcome {
    let before = files(sim);
    let place = format!("{} at {position}", path.display());
    match start(sim) {
        Ok(recovered) => {
            assert_eq!(contents(recovered.state), *expected, "{place}");
            // And it is whole from now on.
            drop(recovered.wal);
            assert_eq!(contents(start(sim).unwrap().state), *expected, "{place}, started again");
            Outcome::Whole
        }
        Err(KeeperError::LogDamaged { file, offset, .. }) => {
            assert_eq!(file, path, "{place}");
            assert!(offset <= position, "{place}: {offset} is named");
            assert_eq!(files(sim), before, "{place}: a refusal changes nothing");
            Outcome::Refused
        }
        Err(KeeperError::SnapshotDamaged { what, .. }) => {
            let name = path.file_name().unwrap().to_string_lossy();
            assert!(what.starts_with(&*name) && what.contains("offset"), "{place}: {what}");
            assert_eq!(files(sim), before, "{place}: a refusal changes nothing");
            Outcome::Refused
        }
        Err(other) => panic!("{place}: {other:?}"),
    }
}

#[test]
fn no_flipped_bit_of_a_log_that_is_read_is_taken_for_a_torn_end() {
    let sim = whole();
    let open = segment_name(12);
    let bytes = Disk::Sim(sim).read(&Path::new(DIR).join(&open), 1 << 20).unwrap();
    let scan = scan(&bytes.clone().into(), 12, 0);
    let [whole, refused] = flip(sim, &open, 8);
    // Behind the last record are its mark and zeros, in which nothing is lost.
    assert_eq!((refused, whole), (scan.end * 8, (bytes.len() - scan.end) * 8));
    assert!(whole > 0, "there is a mark at least");
}

#[test]
fn no_flipped_bit_of_a_closed_log_is_taken_for_a_torn_end() {
    let sim = SimDisk::new();
    Disk::Sim(sim).create_dir_all(Path::new(DIR)).unwrap();
    write(sim, &[3, 1, 2], |wal| wal.close().unwrap());
    let length = Disk::Sim(sim).file_len(&Path::new(DIR).join(segment_name(1))).unwrap() as usize;
    let [whole, refused] = flip(sim, &segment_name(1), 8);
    assert_eq!((refused, whole), ((length - RECORD_HEADER_BYTES) * 8, RECORD_HEADER_BYTES * 8), "all but the mark");
    // The same file with a younger one behind it.
    write(sim, &[2], |wal| wal.close().unwrap());
    let [whole, refused] = flip(sim, &segment_name(1), 8);
    assert_eq!((refused, whole), ((length - RECORD_HEADER_BYTES) * 8, RECORD_HEADER_BYTES * 8), "all but the mark");
}

#[test]
fn a_log_below_the_newest_snapshot_is_not_needed_and_a_damaged_snapshot_gives_way() {
    let sim = whole();
    for name in [segment_name(1), segment_name(7), snapshot_name(6), snapshot_name(11)] {
        let [whole, refused] = flip(sim, &name, 1);
        assert_eq!(refused, 0, "{name}");
        assert!(whole > 0);
    }
}

#[test]
fn a_damaged_snapshot_is_refused_where_the_log_does_not_reach_back() {
    let sim = whole();
    let (disk, dir) = (Disk::Sim(sim), Path::new(DIR));
    for name in [segment_name(1), segment_name(7), snapshot_name(6)] {
        disk.remove_file(&dir.join(name)).unwrap();
    }
    let [whole, refused] = flip(sim, &snapshot_name(11), 8);
    assert!(whole == 0 && refused > 0);
}

#[test]
fn a_snapshot_proves_that_the_end_of_the_log_was_on_disk() {
    let sim = SimDisk::new();
    Disk::Sim(sim).create_dir_all(Path::new(DIR)).unwrap();
    write(sim, &[3, 1, 2], |_| {});
    snapshot(sim);
    // Nothing but the snapshot says so.
    let path = Path::new(DIR).join(segment_name(1));
    let bytes = Disk::Sim(sim).read(&path, 1 << 20).unwrap();
    let end = scan(&bytes.into(), 1, 0).end as u64;
    let file = Disk::Sim(sim).open(&path, Open::Write).unwrap();
    file.set_len(end).unwrap();
    let [whole, refused] = flip(sim, &segment_name(1), 8);
    assert_eq!((whole, refused), (0, end as usize * 8));
}

#[test]
fn an_end_torn_at_any_byte_gives_all_before_it() {
    let sim = whole();
    let path = Path::new(DIR).join(segment_name(12));
    let bytes = Bytes::from(Disk::Sim(sim).read(&path, 1 << 20).unwrap());
    // The last batch was never answered: no mark.
    let records = scan(&bytes, 12, 0).records;
    let last_batch = &records[1..];
    let scratch = SimDisk::new();
    for cut in last_batch[0].1.start - RECORD_HEADER_BYTES..=last_batch[2].1.end {
        for behind in [&[][..], &[0; 100], &[0xa5; 100]] {
            scratch.become_moment(&sim.moment());
            let file = Disk::Sim(scratch).open(&path, Open::Truncate).unwrap();
            file.write_all_at(&[&bytes[..cut], behind].concat(), 0).unwrap();
            let good = last_batch.iter().filter(|(_, body)| body.end <= cut).count() as i64;
            for again in [false, true] {
                let recovered = start(scratch).unwrap();
                assert_eq!(recovered.state.zxid, 12 + good, "cut at {cut}, {} behind, {again}", behind.len());
                assert!(!(again && recovered.report.torn.is_some()), "it is cut off once");
            }
            // It goes on, over what was there.
            write(scratch, &[2], |_| {});
            assert_eq!(start(scratch).unwrap().state.zxid, 14 + good);
        }
    }
}
