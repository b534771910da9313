//! Snapshot files: the tree and the sessions at one zxid, `snapshot.<zxid, 16 hex digits>`.
//!
//! | part | contents, big-endian |
//! |---|---|
//! | header | magic `TIDEKSNP`, version u32, zxid u64, number of sessions u32, sessions (id i64, time-out i32, password 16 bytes), crc u32 of all that |
//! | blocks | length u32, crc u32 of the bytes, nodes one behind the other |
//! | end | length 0, crc u32 of the next two, number of nodes u64, number of blocks u64 |
//!
//! A file has this name only when it is complete and on disk: it is written as `.tmp`, synced, renamed, and the directory synced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use protocol::zookeeper::{PASSWORD_BYTES, Reader, Record};
use runtime::disk::Open;
use runtime::{Disk, Task};
use tokio::sync::mpsc;

use crate::config::KeeperConfig;
use crate::error::KeeperError;
use crate::tree::{Node, snapshot_pass};
use crate::txn::read_password;
use crate::wal::crc32c;

const MAGIC: &[u8; 8] = b"TIDEKSNP";
const VERSION: u32 = 1;
const FIXED_HEADER_BYTES: usize = 24;
const SESSION_BYTES: usize = 28;

/// Bytes of nodes gathered for a block; one node may add to it.
pub(crate) const BLOCK_BYTES: usize = 256 << 10;

/// Longest block: all nodes changed while the writer was busy may come in one.
const BLOCK_BYTES_MAX: u32 = u32::MAX >> 1;

/// Blocks between the owner and the disk.
const BLOCKS_WAITING_MAX: usize = 4;

/// Room that a snapshot leaves for the log.
const LOG_ROOM_BYTES: u64 = 2 * KeeperConfig::PRE_ALLOC_BYTES_MAX;

/// One session: id, time-out in milliseconds, password.
pub(crate) type SessionRecord = (i64, i32, [u8; PASSWORD_BYTES]);

/// Name of the snapshot of this zxid.
pub(crate) fn snapshot_name(zxid: i64) -> String {
    format!("snapshot.{zxid:016x}")
}

/// The directory of the snapshots.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    pub(crate) disk: Disk,
    pub(crate) dir: PathBuf,
    /// How many are kept.
    pub(crate) retain: usize,
}

/// What a snapshot holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) zxid: i64,
    pub(crate) sessions: Vec<SessionRecord>,
    pub(crate) nodes: Vec<(Arc<str>, Node)>,
}

enum Piece {
    Block(BytesMut),
    Total(u64),
    Finish,
}

/// A snapshot being written, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Writer {
    pieces: mpsc::Sender<Piece>,
    task: Option<Task<Result<(), KeeperError>>>,
}

impl Writer {
    /// Whether a block can be handed over without waiting.
    pub(crate) fn has_room(&self) -> bool {
        // One place is kept for each of the two last pieces.
        self.pieces.capacity() > 2 || self.pieces.is_closed()
    }

    /// Resumes when there is room.
    pub(crate) async fn until_room(&self) {
        // The permit is given back at once: only the owner sends.
        let _ = self.pieces.reserve_many(3).await;
    }

    /// Hands over nodes. A writer that failed takes nothing and says why when asked to finish.
    pub(crate) fn block(&mut self, bytes: BytesMut) {
        let _ = self.pieces.try_send(Piece::Block(bytes));
    }

    /// Says how many nodes there were in all.
    pub(crate) fn total(&mut self, nodes: u64) {
        let _ = self.pieces.try_send(Piece::Total(nodes));
    }

    /// Lets the file get its name. The task says when that is done.
    pub(crate) fn finish(&mut self) -> Task<Result<(), KeeperError>> {
        let _ = self.pieces.try_send(Piece::Finish);
        self.task.take().unwrap_or_else(|| runtime::spawn(async { Err(KeeperError::Panicked) }))
    }
}

impl Snapshots {
    /// Zxids of the snapshots there, oldest first.
    pub(crate) fn list(&self) -> Result<Vec<i64>, KeeperError> {
        list(self.disk, &self.dir, "snapshot.")
    }

    /// Begins to write the snapshot of this zxid, which will be about so large.
    pub(crate) fn start(&self, zxid: i64, sessions: Vec<SessionRecord>, bytes_about: u64) -> Writer {
        let (pieces, inbox) = mpsc::channel(BLOCKS_WAITING_MAX + 2);
        let snapshots = self.clone();
        let task = runtime::spawn_blocking(move || {
            // The log needs the last of the room more than a snapshot that would not fit into it.
            let free = snapshots.disk.free_bytes(&snapshots.dir).unwrap_or(u64::MAX);
            if free < bytes_about.saturating_add(LOG_ROOM_BYTES) {
                let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
                let path = snapshots.dir.join(snapshot_name(zxid));
                return Err(KeeperError::Io { what: "write the snapshot", path, source });
            }
            let result = snapshots.write(zxid, &sessions, inbox);
            if result.is_err() {
                // A piece of a snapshot is of no use and takes room; where it cannot be removed now, the next start does.
                let _ = snapshots.disk.remove_file(&snapshots.temporary(zxid));
            }
            result
        });
        Writer { pieces, task: Some(task) }
    }

    fn temporary(&self, zxid: i64) -> PathBuf {
        self.dir.join(format!("{}.tmp", snapshot_name(zxid)))
    }

    fn write(
        &self,
        zxid: i64,
        sessions: &[SessionRecord],
        mut pieces: mpsc::Receiver<Piece>,
    ) -> Result<(), KeeperError> {
        let path = self.dir.join(snapshot_name(zxid));
        let temporary = self.temporary(zxid);
        let failed = |what| KeeperError::io(what, temporary.clone());
        let file = self.disk.open(&temporary, Open::Truncate).map_err(failed("create the snapshot"))?;
        let mut end = 0;
        let mut append = |bytes: &[u8]| {
            file.write_all_at(bytes, end).map_err(failed("write the snapshot"))?;
            end += bytes.len() as u64;
            Ok::<(), KeeperError>(())
        };
        append(&header(zxid, sessions))?;
        let (mut blocks, mut nodes) = (0_u64, None);
        loop {
            match pieces.blocking_recv() {
                Some(Piece::Block(bytes)) if bytes.is_empty() => {}
                Some(Piece::Block(bytes)) => {
                    let mut frame = [0; 8];
                    frame[..4].copy_from_slice(&(bytes.len() as u32).to_be_bytes());
                    frame[4..].copy_from_slice(&crc32c(&bytes).to_be_bytes());
                    append(&frame)?;
                    append(&bytes)?;
                    blocks += 1;
                }
                Some(Piece::Total(total)) => nodes = Some(total),
                Some(Piece::Finish) if nodes.is_some() => break,
                // The keeper stops: an unfinished snapshot is worth nothing.
                Some(Piece::Finish) | None => {
                    return self.disk.remove_file(&temporary).map_err(failed("remove the unfinished snapshot"));
                }
            }
        }
        let mut counts = [0; 16];
        counts[..8].copy_from_slice(&nodes.unwrap_or_default().to_be_bytes());
        counts[8..].copy_from_slice(&blocks.to_be_bytes());
        append(&[0; 4])?;
        append(&crc32c(&counts).to_be_bytes())?;
        append(&counts)?;
        file.sync_data().map_err(failed("sync the snapshot"))?;
        self.disk.rename(&temporary, &path).map_err(failed("rename the snapshot"))?;
        self.disk.sync_dir(&self.dir).map_err(KeeperError::io("sync the directory", &self.dir))
    }

    /// Removes all but the newest few and gives the zxid of the oldest that is left.
    pub(crate) fn purge(&self) -> Result<i64, KeeperError> {
        let all = self.list()?;
        let old = all.len().saturating_sub(self.retain);
        for zxid in &all[..old] {
            let path = self.dir.join(snapshot_name(*zxid));
            self.disk.remove_file(&path).map_err(KeeperError::io("remove the old snapshot", path))?;
        }
        Ok(all.get(old).copied().unwrap_or(0))
    }

    /// Removes what a crash left of unfinished snapshots.
    pub(crate) fn remove_unfinished(&self) -> Result<(), KeeperError> {
        for entry in self.disk.read_dir(&self.dir).map_err(KeeperError::io("read the directory", &self.dir))? {
            let name = entry.name.to_string_lossy();
            if name.starts_with("snapshot.") && name.ends_with(".tmp") {
                self.disk
                    .remove_file(&entry.path)
                    .map_err(KeeperError::io("remove the unfinished snapshot", entry.path))?;
            }
        }
        Ok(())
    }

    /// Gives a damaged snapshot a name under which it is neither read nor counted.
    pub(crate) fn put_aside(&self, zxid: i64) -> Result<(), KeeperError> {
        let path = self.dir.join(snapshot_name(zxid));
        let aside = self.dir.join(format!("{}.damaged", snapshot_name(zxid)));
        self.disk.rename(&path, &aside).map_err(KeeperError::io("rename the damaged snapshot", path))?;
        self.disk.sync_dir(&self.dir).map_err(KeeperError::io("sync the directory", &self.dir))
    }

    /// Reads one snapshot whole; the reason, where it is damaged.
    pub(crate) fn read(&self, zxid: i64) -> Result<Contents, String> {
        let path = self.dir.join(snapshot_name(zxid));
        let file = self.disk.open(&path, Open::Read).map_err(|error| error.to_string())?;
        let mut input = Input { length: file.len().map_err(|error| error.to_string())?, file, position: 0 };
        let contents = input.contents()?;
        if contents.zxid == zxid {
            Ok(contents)
        } else {
            Err(format!("it is the snapshot of zxid 0x{:x}", contents.zxid))
        }
    }
}

/// Zxids in the names of the files that start with `prefix`, sorted.
pub(crate) fn list(disk: Disk, dir: &Path, prefix: &str) -> Result<Vec<i64>, KeeperError> {
    let entries = disk.read_dir(dir).map_err(KeeperError::io("read the directory", dir))?;
    let zxid = |name: &str| {
        let digits = name.strip_prefix(prefix)?;
        if digits.len() == 16 { i64::from_str_radix(digits, 16).ok() } else { None }
    };
    let mut zxids: Vec<i64> = entries.iter().filter_map(|entry| zxid(&entry.name.to_string_lossy())).collect();
    zxids.sort_unstable();
    Ok(zxids)
}

fn header(zxid: i64, sessions: &[SessionRecord]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FIXED_HEADER_BYTES + sessions.len() * SESSION_BYTES + 4);
    out.put_slice(MAGIC);
    out.put_u32(VERSION);
    out.put_u64(zxid as u64);
    out.put_u32(sessions.len() as u32);
    for (id, timeout_ms, password) in sessions {
        out.put_i64(*id);
        out.put_i32(*timeout_ms);
        out.put_slice(password);
    }
    out.put_u32(crc32c(&out));
    out
}

struct Input {
    file: runtime::File,
    length: u64,
    position: u64,
}

impl Input {
    fn take(&mut self, count: u64) -> Result<Bytes, String> {
        if count > self.length - self.position {
            return Err(format!("it ends inside the part at offset {}", self.position));
        }
        let mut bytes = vec![0; count as usize];
        self.file.read_exact_at(&mut bytes, self.position).map_err(|error| error.to_string())?;
        self.position += count;
        Ok(bytes.into())
    }

    fn number(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn contents(&mut self) -> Result<Contents, String> {
        let fixed = self.take(FIXED_HEADER_BYTES as u64)?;
        if &fixed[..8] != MAGIC {
            return Err("at offset 0 it is no snapshot of this keeper".to_owned());
        }
        let mut reader = Reader::new(fixed.slice(8..));
        let (version, zxid, count) =
            (number::<i32>(&mut reader)?, number::<i64>(&mut reader)?, number::<i32>(&mut reader)?);
        if version as u32 != VERSION {
            return Err(format!("its version, at offset 8, is {version}; this program reads {VERSION}"));
        }
        let body = self.take(u64::from(count as u32) * SESSION_BYTES as u64)?;
        let crc = self.number()?;
        if crc32c(&[&fixed[..], &body[..]].concat()) != crc {
            return Err("the header at offset 0 does not match its checksum".to_owned());
        }
        let mut reader = Reader::new(body);
        let mut sessions = Vec::new();
        while reader.remaining() > 0 {
            let (id, timeout_ms) = (number(&mut reader)?, number(&mut reader)?);
            sessions.push((id, timeout_ms, read_password(&mut reader).map_err(|error| error.to_string())?));
        }
        let nodes = self.nodes()?;
        Ok(Contents { zxid, sessions, nodes })
    }

    fn nodes(&mut self) -> Result<Vec<(Arc<str>, Node)>, String> {
        let mut nodes = Vec::new();
        for blocks in 0_u64.. {
            let at = self.position;
            let (length, crc) = (self.number()?, self.number()?);
            if length > BLOCK_BYTES_MAX {
                return Err(format!("the block at offset {at} cannot be {length} bytes long"));
            }
            let bytes = self.take(if length == 0 { 16 } else { u64::from(length) })?;
            if crc32c(&bytes) != crc {
                return Err(format!("the block at offset {at} does not match its checksum"));
            }
            let mut reader = Reader::new(bytes);
            if length == 0 {
                let (node_count, block_count) = (number::<i64>(&mut reader)?, number::<i64>(&mut reader)?);
                return match (node_count as u64, block_count as u64) == (nodes.len() as u64, blocks) {
                    true => Ok(nodes),
                    false => Err(format!("it holds {} nodes and says {node_count}", nodes.len())),
                };
            }
            while reader.remaining() > 0 {
                nodes.push(
                    snapshot_pass::read_node(&mut reader)
                        .map_err(|error| format!("the block at offset {at}: {error}"))?,
                );
            }
        }
        Err("it has no end".to_owned())
    }
}

fn number<T: Record>(reader: &mut Reader) -> Result<T, String> {
    reader.read().map_err(|error| error.to_string())
}
