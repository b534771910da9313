//! From what the disk holds to the state of a keeper: newest readable snapshot, then the log behind it.
//!
//! A crash can leave exactly one kind of damage: the end of the newest segment may be torn, since nothing there was acknowledged. That end is cut off. Whatever else cannot be
//! read was acknowledged once, so the keeper refuses to start and names file and offset.

use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use runtime::disk::Open;
use runtime::{Disk, Random};

use crate::config::KeeperConfig;
use crate::error::KeeperError;
use crate::processor::apply;
use crate::session::Sessions;
use crate::snapshot::{Contents, Snapshots, list, snapshot_name};
use crate::tree::Tree;
use crate::txn::{Txn, TxnOp};
use crate::wal::{
    MAGIC, RECORD_HEADER_BYTES, SEGMENT_FILE_BYTES_MAX, SEGMENT_HEADER_BYTES, VERSION, Wal, crc32c, record_crc,
    segment_name,
};

/// Folder below `dataDir` and `dataLogDir`; the number is that of the formats.
pub(crate) const DATA_FOLDER: &str = "keeper-1";

/// What a keeper starts from.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tree: Tree,
    pub(crate) sessions: Sessions,
    pub(crate) zxid: i64,
}

/// What recovery found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Report {
    pub(crate) snapshot_zxid: i64,
    pub(crate) replayed: u64,
    /// File, offset and length of a torn end that was cut off.
    pub(crate) torn: Option<(PathBuf, u64, u64)>,
}

/// Everything recovery hands over.
pub(crate) struct Recovered {
    pub(crate) state: State,
    pub(crate) wal: Wal,
    pub(crate) snapshots: Snapshots,
    pub(crate) report: Report,
}

/// Reads snapshot and log of the directories in `config`, which exist.
pub(crate) fn recover(disk: Disk, random: Random, config: &KeeperConfig) -> Result<Recovered, KeeperError> {
    let snapshots = Snapshots { disk, dir: config.data_dir.join(DATA_FOLDER), retain: config.snap_retain_count };
    let log_dir = config.log_dir().join(DATA_FOLDER);
    snapshots.remove_unfinished()?;
    let mut state = newest_snapshot(&snapshots)?;
    let mut report = Report { snapshot_zxid: state.zxid, ..Report::default() };
    let segments = list(disk, &log_dir, "log.")?;
    let Some(from) = segments.iter().rposition(|first| *first <= state.zxid + 1) else {
        if segments.is_empty() && state.zxid == 0 {
            let wal = Wal::new(disk, random, &log_dir, config.force_sync, segments, 0);
            return Ok(Recovered { state, wal, snapshots, report });
        }
        return Err(KeeperError::SnapshotDamaged {
            dir: snapshots.dir,
            what: format!("the transactions behind zxid 0x{:x} are not in {}", state.zxid, log_dir.display()),
        });
    };
    let mut last = segments[from] - 1;
    for (index, first) in segments.iter().enumerate().skip(from) {
        let path = log_dir.join(segment_name(*first));
        let damaged =
            |offset: usize, what: String| KeeperError::LogDamaged { file: path.clone(), offset: offset as u64, what };
        if *first != last + 1 {
            return Err(damaged(0, format!("it should start with zxid 0x{:x}", last + 1)));
        }
        let bytes =
            disk.read(&path, SEGMENT_FILE_BYTES_MAX).map_err(KeeperError::io("read the transaction log", &path))?;
        let bytes = Bytes::from(bytes);
        let newest = index + 1 == segments.len();
        let scan = scan(&bytes, *first);
        for (zxid, body) in &scan.records {
            last = *zxid;
            if *zxid <= state.zxid {
                continue;
            }
            replay(&mut state, *zxid, bytes.slice(body.clone()))
                .map_err(|what| damaged(body.start - RECORD_HEADER_BYTES, what))?;
            report.replayed += 1;
        }
        let Some(what) = scan.bad_end else { continue };
        if !newest || scan.loss {
            return Err(damaged(scan.end, what));
        }
        let cut = (bytes.len() - scan.end) as u64;
        tracing::warn!(
            "{}: the last {cut} bytes, from offset {} on, were torn by a crash and are cut off: {what}",
            path.display(),
            scan.end
        );
        let file = disk.open(&path, Open::Write).map_err(KeeperError::io("open the transaction log", &path))?;
        file.set_len(scan.end as u64)
            .and_then(|()| file.sync_data())
            .map_err(KeeperError::io("trim the transaction log", &path))?;
        report.torn = Some((path, scan.end as u64, cut));
    }
    if last < state.zxid {
        return Err(KeeperError::SnapshotDamaged {
            dir: snapshots.dir,
            what: format!("{} is newer than the end of the log, zxid 0x{last:x}", snapshot_name(state.zxid)),
        });
    }
    let wal = Wal::new(disk, random, &log_dir, config.force_sync, segments, last);
    Ok(Recovered { state, wal, snapshots, report })
}

/// Damaged snapshots are passed over: the log is kept as far back as the oldest.
fn newest_snapshot(snapshots: &Snapshots) -> Result<State, KeeperError> {
    let mut reason = None;
    for zxid in snapshots.list()?.into_iter().rev() {
        match snapshots.read(zxid).and_then(|contents| restore(contents).map_err(|error| error.to_string())) {
            Ok(state) => return Ok(state),
            Err(what) => {
                let what = format!("{}: {what}", snapshot_name(zxid));
                tracing::warn!("{} cannot be used; trying an older one", what);
                reason.get_or_insert(what);
            }
        }
    }
    match reason {
        Some(what) => Err(KeeperError::SnapshotDamaged { dir: snapshots.dir.clone(), what }),
        None => Ok(State { tree: Tree::new(), sessions: Sessions::default(), zxid: 0 }),
    }
}

fn restore(contents: Contents) -> Result<State, crate::tree::ApplyError> {
    let mut sessions = Sessions::default();
    for (id, timeout_ms, password) in contents.sessions {
        sessions.add(id, timeout_ms, password);
    }
    Ok(State { tree: Tree::from_nodes(contents.nodes)?, sessions, zxid: contents.zxid })
}

fn replay(state: &mut State, zxid: i64, body: Bytes) -> Result<(), String> {
    let txn = Txn::read(zxid, body).map_err(|error| error.to_string())?;
    for op in &txn.ops {
        apply(&mut state.tree, op, zxid, txn.time_ms).map_err(|error| error.to_string())?;
        match op {
            TxnOp::CreateSession { session, timeout_ms, password } => {
                state.sessions.add(*session, *timeout_ms, *password)
            }
            TxnOp::CloseSession { session, .. } => {
                state.sessions.remove(*session);
            }
            _ => {}
        }
    }
    state.zxid = zxid;
    Ok(())
}

/// What one segment file holds.
#[derive(Debug, PartialEq, Eq)]
struct Scan {
    /// Zxid and place of the body of every good record, in order.
    records: Vec<(i64, Range<usize>)>,
    /// Where the good records end.
    end: usize,
    /// What is wrong behind them, if it is not only zeros.
    bad_end: Option<String>,
    /// Whether what is wrong was on disk and acknowledged once.
    loss: bool,
}

fn scan(bytes: &Bytes, first_zxid: i64) -> Scan {
    let Some(salt) = read_header(bytes, first_zxid) else {
        // The header is synced before the first record: with anything behind it, it was good once.
        let loss = bytes.iter().skip(SEGMENT_HEADER_BYTES).any(|byte| *byte != 0);
        return Scan { records: Vec::new(), end: 0, bad_end: Some("its header is not readable".to_owned()), loss };
    };
    let mut records = Vec::new();
    let mut end = SEGMENT_HEADER_BYTES;
    let mut next = first_zxid;
    while let Some(record) = read_record(bytes, end, salt)
        && record.zxid == next
    {
        records.push((next, record.body.clone()));
        end = record.body.end;
        next += 1;
    }
    if bytes[end..].iter().all(|byte| *byte == 0) {
        return Scan { records, end, bad_end: None, loss: false };
    }
    // A later record that was written when the missing one was known to be on disk.
    let loss = (end + 1..bytes.len()).any(|at| {
        plausible(bytes, at, next)
            && read_record(bytes, at, salt).is_some_and(|record| record.zxid > next && record.synced >= next)
    });
    Scan { records, end, bad_end: Some(format!("no record of zxid 0x{next:x} can be read there")), loss }
}

fn read_header(bytes: &Bytes, first_zxid: i64) -> Option<u64> {
    let header = bytes.get(..SEGMENT_HEADER_BYTES)?;
    let good = &header[..8] == MAGIC
        && number(header, 8, 4) == u64::from(VERSION)
        && number(header, 12, 8) == first_zxid as u64
        && number(header, 28, 4) == u64::from(crc32c(&header[..28]));
    good.then(|| number(header, 20, 8))
}

struct FoundRecord {
    zxid: i64,
    synced: i64,
    body: Range<usize>,
}

fn read_record(bytes: &Bytes, at: usize, salt: u64) -> Option<FoundRecord> {
    let header = bytes.get(at..at + RECORD_HEADER_BYTES)?;
    let body_start = at + RECORD_HEADER_BYTES;
    let body = body_start..body_start.checked_add(number(header, 4, 4) as usize)?;
    let behind_crc = bytes.get(at + 4..body.end)?;
    let good = !body.is_empty() && number(header, 0, 4) == u64::from(record_crc(salt, behind_crc));
    good.then(|| FoundRecord { zxid: number(header, 8, 8) as i64, synced: number(header, 16, 8) as i64, body })
}

/// A cheap look before the checksum: a zxid a little behind the missing one, and a synced one below it.
fn plausible(bytes: &Bytes, at: usize, missing: i64) -> bool {
    let Some(header) = bytes.get(at..at + RECORD_HEADER_BYTES) else { return false };
    let (zxid, synced) = (number(header, 8, 8), number(header, 16, 8));
    zxid > missing as u64 && zxid - (missing as u64) < bytes.len() as u64 && synced < zxid
}

fn number(bytes: &[u8], at: usize, count: usize) -> u64 {
    bytes[at..at + count].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
