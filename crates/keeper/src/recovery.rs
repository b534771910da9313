//! From what the disk holds to the state of a keeper: newest readable snapshot, then the log behind it.
//!
//! A crash can leave exactly one kind of damage: the end of the newest segment may be torn, since nothing there was acknowledged. That end is cut off. Whatever else cannot be
//! read was acknowledged once, so the keeper refuses to start, names file and offset, and has changed nothing. A damaged snapshot gives way to an older one as long as the log
//! reaches back to that.
//!
//! What is taken from a log is on disk before it is served: the end of a log that was killed may be in memory only, and after a failed sync it looks the same.

use std::ops::Range;
use std::path::{Path, PathBuf};

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
    MAGIC, RECORD_HEADER_BYTES, SEGMENT_FILE_BYTES_MAX, SEGMENT_HEADER_BYTES, VERSION, Wal, close_segment, crc32c,
    record_crc, segment_name,
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

/// What is to be done to the newest segment once it is certain that the keeper starts.
struct Mending {
    path: PathBuf,
    salt: u64,
    /// Records of which nothing says that they are on disk, and where the good ones end.
    unproven: Range<usize>,
    bytes: Bytes,
    last_zxid: i64,
}

/// Reads snapshot and log of the directories in `config`, which exist.
pub(crate) fn recover(disk: Disk, random: Random, config: &KeeperConfig) -> Result<Recovered, KeeperError> {
    let snapshots = Snapshots { disk, dir: config.data_dir.join(DATA_FOLDER), retain: config.snap_retain_count };
    let log_dir = config.log_dir().join(DATA_FOLDER);
    let segments = list(disk, &log_dir, "log.")?;
    let base = base(&snapshots, segments.first() == Some(&1))?;
    let mut state = base.state;
    let mut report = Report { snapshot_zxid: state.zxid, ..Report::default() };
    let from = segments.iter().rposition(|first| *first <= state.zxid + 1);
    if from.is_none() && (!segments.is_empty() || state.zxid > 0) {
        return Err(KeeperError::SnapshotDamaged {
            dir: snapshots.dir,
            what: format!("the transactions behind zxid 0x{:x} are not in {}", state.zxid, log_dir.display()),
        });
    }
    let mut last = from.map_or(state.zxid, |from| segments[from] - 1);
    let mut mending = None;
    for (index, first) in segments.iter().enumerate().skip(from.unwrap_or(segments.len())) {
        let path = log_dir.join(segment_name(*first));
        let damaged =
            |offset: usize, what: String| KeeperError::LogDamaged { file: path.clone(), offset: offset as u64, what };
        if *first != last + 1 {
            return Err(damaged(0, format!("it should start with zxid 0x{:x}", last + 1)));
        }
        let bytes =
            disk.read(&path, SEGMENT_FILE_BYTES_MAX).map_err(KeeperError::io("read the transaction log", &path))?;
        let bytes = Bytes::from(bytes);
        let scan = scan(&bytes, *first, base.proven_zxid);
        for (zxid, body) in &scan.records {
            last = *zxid;
            if *zxid <= state.zxid {
                continue;
            }
            replay(&mut state, *zxid, bytes.slice(body.clone()))
                .map_err(|what| damaged(body.start - RECORD_HEADER_BYTES, what))?;
            report.replayed += 1;
        }
        match (scan.bad_end, segments.get(index + 1)) {
            (Some(what), None) if scan.loss => return Err(damaged(scan.end, what)),
            (Some(what), Some(next)) if *next != last + 1 => return Err(damaged(scan.end, what)),
            (Some(_), Some(_)) => tracing::warn!(
                "{}: what stands behind its last record, from offset {} on, is damaged; no transaction is missing",
                path.display(),
                scan.end
            ),
            (None, Some(_)) => {}
            (bad_end, None) => {
                if let Some(what) = bad_end {
                    let cut = (bytes.len() - scan.end) as u64;
                    tracing::warn!(
                        "{}: the last {cut} bytes, from offset {} on, were torn by a crash and are cut off: {what}",
                        path.display(),
                        scan.end
                    );
                    report.torn = Some((path.clone(), scan.end as u64, cut));
                }
                if !scan.is_closed {
                    let unproven = scan.unproven..scan.end;
                    mending = Some(Mending { path, salt: scan.salt, unproven, bytes, last_zxid: last });
                }
            }
        }
    }
    if last < base.proven_zxid {
        return Err(KeeperError::SnapshotDamaged {
            dir: snapshots.dir,
            what: format!("{} is newer than the end of the log, zxid 0x{last:x}", snapshot_name(base.proven_zxid)),
        });
    }
    // Nothing was changed up to here.
    if let Some(mending) = mending {
        mend(disk, &log_dir, &mending, config.force_sync)?;
    }
    for zxid in base.damaged {
        snapshots.put_aside(zxid)?;
    }
    snapshots.remove_unfinished()?;
    let wal = Wal::new(disk, random, &log_dir, config, segments, last);
    Ok(Recovered { state, wal, snapshots, report })
}

/// Brings to the disk what was read, and only then says behind it that it is there.
fn mend(disk: Disk, log_dir: &Path, mending: &Mending, force_sync: bool) -> Result<(), KeeperError> {
    let Mending { path, salt, unproven, bytes, last_zxid } = mending;
    let failed = || KeeperError::io("mend the end of the transaction log", path);
    let file = disk.open(path, Open::Write).map_err(KeeperError::io("open the transaction log", path))?;
    if !unproven.is_empty() {
        // A sync alone would prove nothing: after one that failed, the system takes these pages for written.
        file.write_all_at(&bytes[unproven.clone()], unproven.start as u64).map_err(failed())?;
        if force_sync {
            file.sync_data().map_err(failed())?;
            disk.sync_dir(log_dir).map_err(KeeperError::io("sync the directory", log_dir))?;
        }
    }
    close_segment(&file, *salt, unproven.end as u64, *last_zxid, force_sync).map_err(failed())
}

/// What the log is replayed onto.
struct Base {
    state: State,
    /// Newest zxid of which a snapshot says that it was in the log and on disk, be the snapshot readable or not.
    proven_zxid: i64,
    /// Snapshots that cannot be read.
    damaged: Vec<i64>,
}

/// Damaged snapshots are passed over: the log is kept as far back as the oldest, or to its beginning.
fn base(snapshots: &Snapshots, log_is_whole: bool) -> Result<Base, KeeperError> {
    let all = snapshots.list()?;
    let proven_zxid = all.last().copied().unwrap_or(0);
    let (mut reason, mut damaged) = (None, Vec::new());
    for zxid in all.into_iter().rev() {
        match snapshots.read(zxid).and_then(|contents| restore(contents).map_err(|error| error.to_string())) {
            Ok(state) => return Ok(Base { state, proven_zxid, damaged }),
            Err(what) => {
                let path = snapshots.dir.join(snapshot_name(zxid));
                tracing::warn!("{}: {what}; an older snapshot and more of the log are read instead", path.display());
                reason.get_or_insert(format!("{}: {what}", snapshot_name(zxid)));
                damaged.push(zxid);
            }
        }
    }
    match reason {
        Some(what) if !log_is_whole => Err(KeeperError::SnapshotDamaged { dir: snapshots.dir.clone(), what }),
        _ => {
            let state = State { tree: Tree::new(), sessions: Sessions::default(), zxid: 0 };
            Ok(Base { state, proven_zxid, damaged })
        }
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
    /// 0 where the header is not readable.
    salt: u64,
    /// Zxid and place of the body of every good record, in order.
    records: Vec<(i64, Range<usize>)>,
    /// From here on nothing says of the records that they are on disk.
    unproven: usize,
    /// Where the good records end.
    end: usize,
    /// The file ends with the mark of its last record.
    is_closed: bool,
    /// What is wrong behind them, if it is not a mark and zeros.
    bad_end: Option<String>,
    /// Whether what is wrong was on disk and acknowledged once.
    loss: bool,
}

/// Every zxid up to `proven` is known to have been on disk.
fn scan(bytes: &Bytes, first_zxid: i64, proven: i64) -> Scan {
    let Some(salt) = read_header(bytes, first_zxid) else {
        // The header is synced before the first record: with anything behind it, it was good once.
        let loss = proven >= first_zxid || bytes.iter().skip(SEGMENT_HEADER_BYTES).any(|byte| *byte != 0);
        let bad_end = Some("its header is not readable".to_owned());
        return Scan { salt: 0, records: Vec::new(), unproven: 0, end: 0, is_closed: false, bad_end, loss };
    };
    let (mut records, mut end, mut next) = (Vec::new(), SEGMENT_HEADER_BYTES, first_zxid);
    let mut synced = first_zxid - 1;
    while let Some(record) = read_record(bytes, end, salt)
        && !record.body.is_empty()
        && record.zxid == next
    {
        records.push((next, record.body.clone()));
        synced = record.synced.min(next - 1);
        end = record.body.end;
        next += 1;
    }
    let marked = read_record(bytes, end, salt).is_some_and(|mark| mark.body.is_empty() && mark.zxid == next - 1);
    let behind = if marked { end + RECORD_HEADER_BYTES } else { end };
    let unproven = match records.iter().find(|(zxid, _)| !marked && *zxid > synced) {
        Some((_, body)) => body.start - RECORD_HEADER_BYTES,
        None => end,
    };
    let is_closed = bytes.len() == behind && (marked || records.is_empty());
    if bytes[behind..].iter().all(|byte| *byte == 0) {
        return Scan { salt, records, unproven, end, is_closed, bad_end: None, loss: false };
    }
    // A later record or a mark that was written when the missing one was known to be on disk.
    let loss = next <= proven
        || (end + 1..bytes.len()).any(|at| {
            plausible(bytes, at, next) && read_record(bytes, at, salt).is_some_and(|record| record.synced >= next)
        });
    let bad_end = Some(format!("no record of zxid 0x{next:x} can be read there"));
    Scan { salt, records, unproven, end, is_closed, bad_end, loss }
}

fn read_header(bytes: &Bytes, first_zxid: i64) -> Option<u64> {
    let header = bytes.get(..SEGMENT_HEADER_BYTES)?;
    let good = &header[..8] == MAGIC
        && number(header, 8, 4) == u64::from(VERSION)
        && number(header, 12, 8) == first_zxid as u64
        && number(header, 28, 4) == u64::from(crc32c(&header[..28]));
    good.then(|| number(header, 20, 8))
}

/// A record, or a mark, which has no body.
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
    let good = number(header, 0, 4) == u64::from(record_crc(salt, behind_crc));
    good.then(|| FoundRecord { zxid: number(header, 8, 8) as i64, synced: number(header, 16, 8) as i64, body })
}

/// A cheap look before the checksum: the missing zxid or one a little behind it, and a synced one not above that.
fn plausible(bytes: &Bytes, at: usize, missing: i64) -> bool {
    let Some(header) = bytes.get(at..at + RECORD_HEADER_BYTES) else { return false };
    let (zxid, synced) = (number(header, 8, 8), number(header, 16, 8));
    zxid >= missing as u64 && zxid - (missing as u64) < bytes.len() as u64 && synced <= zxid
}

fn number(bytes: &[u8], at: usize, count: usize) -> u64 {
    bytes[at..at + count].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;
