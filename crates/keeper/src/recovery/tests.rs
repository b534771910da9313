use std::path::Path;

use protocol::zookeeper::Acl;

use super::*;
use crate::tree::owner;
use crate::wal::LogBuffer;

const DISK: Disk = Disk::Real;
const RANDOM: Random = Random::Real;

/// A keeper's directory, and its log written batch by batch as the owner would.
struct Home {
    holder: tempfile::TempDir,
    config: KeeperConfig,
}

impl Home {
    fn new() -> Home {
        let holder = tempfile::tempdir().unwrap();
        DISK.create_dir_all(&holder.path().join(DATA_FOLDER)).unwrap();
        let config = KeeperConfig::new(holder.path());
        Home { holder, config }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.holder.path().join(DATA_FOLDER)
    }

    fn segment(&self, first: i64) -> std::path::PathBuf {
        self.dir().join(segment_name(first))
    }

    fn recover(&self) -> Result<Recovered, KeeperError> {
        recover(DISK, RANDOM, &self.config)
    }

    /// Goes on where the log ends and writes batches of so many transactions, each a new node `/n<zxid>`.
    fn write(&self, batches: &[i64]) {
        let recovered = self.recover().unwrap();
        let (mut wal, mut zxid) = (recovered.wal, recovered.state.zxid);
        let mut buffer = LogBuffer::default();
        for count in batches {
            for _ in 0..*count {
                zxid += 1;
                buffer.push(&create(zxid));
            }
            wal.commit(&mut buffer).unwrap();
        }
    }

    /// Where each record of a segment starts, and where the last one ends.
    fn offsets(&self, first: i64) -> Vec<usize> {
        let bytes = Bytes::from(self.read(&self.segment(first)));
        let scan = scan(&bytes, first, 0);
        scan.records.iter().map(|(_, body)| body.start - RECORD_HEADER_BYTES).chain([scan.end]).collect()
    }

    fn read(&self, path: &Path) -> Vec<u8> {
        DISK.read(path, SEGMENT_FILE_BYTES_MAX).unwrap()
    }

    fn flip(&self, path: &Path, offset: usize) {
        let mut bytes = self.read(path);
        bytes[offset] ^= 0x40;
        put(path, &bytes);
    }

    fn check_recovers(&self, zxid: i64) -> Report {
        let recovered = self.recover().unwrap();
        assert_eq!(recovered.state.zxid, zxid);
        assert_eq!(recovered.state.tree.node_count() as i64, 4 + zxid);
        recovered.report
    }

    fn check_refuses(&self, file: &Path, offset: usize) {
        match self.recover().map(|recovered| recovered.report) {
            Err(KeeperError::LogDamaged { file: named, offset: at, .. }) => {
                assert_eq!((named.as_path(), at), (file, offset as u64));
            }
            other => panic!("{other:?}"),
        }
    }

    fn write_snapshot(&self, state: &mut State) {
        let snapshots = Snapshots { disk: DISK, dir: self.dir(), retain: 3 };
        let runtime = runtime::spawn::current_thread().unwrap();
        runtime.block_on(async {
            let sessions =
                state.sessions.iter().map(|(id, session)| (*id, session.timeout_ms, session.password)).collect();
            let mut writer = snapshots.start(state.zxid, sessions, 0);
            state.tree.start_snapshot();
            loop {
                writer.until_room().await;
                let (bytes, total) = state.tree.snapshot_slice(64).unwrap();
                writer.block(bytes);
                if let Some(nodes) = total {
                    writer.total(nodes);
                    break;
                }
            }
            writer.finish().await.unwrap().unwrap();
        });
    }
}

/// Replaces a file, without waiting for the disk.
fn put(path: &Path, bytes: &[u8]) {
    DISK.open(path, Open::Truncate).unwrap().write_all_at(bytes, 0).unwrap();
}

fn create(zxid: i64) -> Txn {
    let path = format!("/n{zxid}");
    let data = Some(Bytes::from(format!("data of {zxid}")));
    let op = TxnOp::Create { path, data, acl: Acl::open(), owner: owner::PERSISTENT, parent_cversion: zxid as i32 };
    Txn { zxid, time_ms: 1000 + zxid, session: 7, ops: vec![op] }
}

#[test]
fn a_log_of_several_lives_is_replayed() {
    let home = Home::new();
    assert_eq!(home.check_recovers(0), Report::default());
    home.write(&[1, 3]);
    home.write(&[]);
    home.write(&[2]);
    assert_eq!(home.check_recovers(6).replayed, 6);
    assert_eq!(list(DISK, &home.dir(), "log.").unwrap(), [1, 5]);
}

#[test]
fn a_log_cut_anywhere_in_its_last_batch_gives_all_before_the_cut() {
    let home = Home::new();
    home.write(&[2, 2]);
    let path = home.segment(1);
    let whole = home.read(&path);
    let offsets = home.offsets(1);
    for cut in offsets[2]..=offsets[4] {
        for zeros in [0, 40] {
            let mut bytes = whole[..cut].to_vec();
            bytes.resize(cut + zeros, 0);
            put(&path, &bytes);
            let good = offsets.iter().skip(1).filter(|end| **end <= cut).count() as i64;
            let report = home.check_recovers(good);
            let torn = !offsets.contains(&cut);
            assert_eq!(report.torn.is_some(), torn, "cut at {cut}");
            assert_eq!(home.check_recovers(good).torn, None, "cut off once");
        }
    }
}

#[test]
fn damage_before_an_acknowledged_record_refuses_to_start() {
    let home = Home::new();
    home.write(&[1, 2, 1]);
    let path = home.segment(1);
    let offsets = home.offsets(1);
    for (record, offset) in offsets[..3].iter().enumerate() {
        for at in [0, 5, 9, 17, RECORD_HEADER_BYTES + 3] {
            home.flip(&path, offset + at);
            home.check_refuses(&path, *offset);
            home.flip(&path, offset + at);
        }
        assert!(record < 3);
    }
    home.check_recovers(4);
}

#[test]
fn a_batch_that_reached_the_disk_in_part_is_torn_even_when_its_later_records_are_good() {
    let home = Home::new();
    home.write(&[2, 3]);
    let offsets = home.offsets(1);
    home.flip(&home.segment(1), offsets[2] + RECORD_HEADER_BYTES);
    let report = home.check_recovers(2);
    assert_eq!(report.torn.map(|(_, offset, _)| offset), Some(offsets[2] as u64));
    home.write(&[1]);
    home.check_recovers(3);
}

#[test]
fn damage_in_an_older_segment_and_missing_segments_refuse_to_start() {
    let home = Home::new();
    home.write(&[2]);
    home.write(&[2]);
    home.write(&[1]);
    let offsets = home.offsets(1);
    home.flip(&home.segment(1), offsets[1] + 4);
    home.check_refuses(&home.segment(1), offsets[1]);
    home.flip(&home.segment(1), offsets[1] + 4);
    home.flip(&home.segment(3), 3);
    home.check_refuses(&home.segment(3), 0);
    DISK.remove_file(&home.segment(3)).unwrap();
    home.check_refuses(&home.segment(5), 0);
    DISK.remove_file(&home.segment(1)).unwrap();
    assert!(matches!(home.recover(), Err(KeeperError::SnapshotDamaged { .. })));
}

#[test]
fn a_header_torn_before_the_first_record_is_no_loss_and_with_records_it_is() {
    let home = Home::new();
    home.write(&[2]);
    home.write(&[1]);
    let path = home.segment(3);
    let whole = home.read(&path);
    for length in [0, 5, SEGMENT_HEADER_BYTES - 1] {
        put(&path, &whole[..length]);
        home.check_recovers(2);
        home.write(&[1]);
        home.check_recovers(3);
    }
    home.flip(&path, 30);
    home.check_refuses(&path, 0);
}

#[test]
fn a_snapshot_shortens_the_replay_and_keeps_sessions() {
    let home = Home::new();
    home.write(&[3]);
    let mut state = home.recover().unwrap().state;
    state.sessions.add(77, 4000, [9; 16]);
    home.write_snapshot(&mut state);
    home.write(&[2]);
    let recovered = home.recover().unwrap();
    assert_eq!((recovered.report.snapshot_zxid, recovered.report.replayed), (3, 2));
    assert_eq!(recovered.state.zxid, 5);
    let session = recovered.state.sessions.get(77).unwrap();
    assert_eq!((session.timeout_ms, session.password), (4000, [9; 16]));
    assert_eq!(recovered.state.tree.get("/n2").unwrap().data.as_deref(), Some(&b"data of 2"[..]));
    let mut wal = recovered.wal;
    wal.purge(3).unwrap();
    assert_eq!(list(DISK, &home.dir(), "log.").unwrap(), [4]);
    home.check_recovers(5);
}

#[test]
fn a_damaged_snapshot_gives_way_to_an_older_one() {
    let home = Home::new();
    home.write(&[2]);
    home.write_snapshot(&mut home.recover().unwrap().state);
    home.write(&[2]);
    home.write_snapshot(&mut home.recover().unwrap().state);
    let newest = home.dir().join(snapshot_name(4));
    let whole = home.read(&newest);
    for at in (0..whole.len()).step_by(11) {
        home.flip(&newest, at);
        assert_eq!(home.check_recovers(4).snapshot_zxid, 2, "byte {at}");
        put(&newest, &whole);
    }
    for cut in (0..whole.len()).step_by(7) {
        put(&newest, &whole[..cut]);
        assert_eq!(home.check_recovers(4).snapshot_zxid, 2, "cut at {cut}");
    }
    home.flip(&home.dir().join(snapshot_name(2)), 40);
    assert_eq!(home.check_recovers(4).snapshot_zxid, 0, "the log reaches back to the beginning");
    let aside = |zxid| home.dir().join(format!("{}.damaged", snapshot_name(zxid)));
    assert!(DISK.exists(&aside(2)) && DISK.exists(&aside(4)));
    DISK.rename(&aside(2), &home.dir().join(snapshot_name(2))).unwrap();
    DISK.remove_file(&home.segment(1)).unwrap();
    match home.recover().map(|recovered| recovered.report) {
        Err(KeeperError::SnapshotDamaged { what, .. }) => {
            assert_eq!(what, "snapshot.0000000000000002: the block at offset 28 does not match its checksum");
        }
        other => panic!("{other:?}"),
    }
    assert!(DISK.exists(&home.dir().join(snapshot_name(2))), "a refusal changes nothing");
}

#[test]
fn a_snapshot_without_the_log_behind_it_is_refused() {
    let home = Home::new();
    home.write(&[2]);
    home.write_snapshot(&mut home.recover().unwrap().state);
    DISK.remove_file(&home.segment(1)).unwrap();
    assert!(matches!(home.recover(), Err(KeeperError::SnapshotDamaged { .. })));
}

#[test]
fn unfinished_snapshots_are_removed() {
    let home = Home::new();
    let path = home.dir().join("snapshot.0000000000000009.tmp");
    put(&path, b"half");
    home.check_recovers(0);
    assert!(!DISK.exists(&path));
}
