//! A disk in memory that forgets as a real one does: for tests of what must outlast a power cut, a full disk, a failed write.
//!
//! What is always true of it: a write is seen by every reader at once, and outlasts [`SimDisk::power_cut`] for certain only after
//! `sync_data` of the file *and* `sync_dir` of each directory whose entry leads to it. Of what was not synced, a cut keeps any 512-byte
//! sectors in any of their states, and the oldest few changes of each directory, as the seed says (ext4 and XFS keep changes of names in
//! order too). After a failed `sync_data` the unsynced bytes are still read, and never reach the disk: a later sync that succeeds proves
//! nothing (as on Linux). The same calls and seeds give the same disk.
//!
//! A simulated disk is a handle that can be copied, as [`crate::Disk`] is; what it holds stays until [`SimDisk::reset`] or the end of the
//! process.
//!
//! # Layout
//! - [`SimDisk`]: the handle, what tests do to it, and what [`crate::Disk`] calls
//! - `content`: one file, what of it is on stable storage, and what a cut leaves
//! - `names`: the tree of names, with the same distinction
//! - `faults`: calls that fail as told

mod content;
mod faults;
mod names;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use content::Content;
pub use faults::{Fault, Operation};
use faults::{Faults, out_of_space};
use names::{Names, NodeId};

use crate::disk::{Entry, Open, Space};

/// Bytes that a power cut keeps or loses together.
pub const SECTOR_BYTES: u64 = 512;

/// What a disk without a capacity of its own says it holds.
const CAPACITY_BYTES_DEFAULT: u64 = 1 << 40;

/// Wall time of a disk's first change, in ms since 1970; each change is one later.
const FIRST_CHANGE_MS: i64 = 1_700_000_000_000;

/// A simulated disk. Copies are the same disk.
#[derive(Clone, Copy)]
pub struct SimDisk(&'static Mutex<World>);

/// A disk as it was at one moment of its past: see [`SimDisk::record`].
#[derive(Debug, Clone)]
pub struct Moment(World);

/// A generator of 64-bit numbers (SplitMix64): what a seed decides, it decides everywhere alike.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

#[derive(Debug, Clone, Default)]
struct World {
    names: Names,
    /// Changes so far: writes, syncs, and changes of names.
    changes: u64,
    /// Files opened before the last cut or reset are of an earlier life.
    life: u64,
    capacity: Option<u64>,
    faults: Faults,
    locked: Vec<NodeId>,
    past: Option<Vec<Moment>>,
}

/// A file of a simulated disk.
#[derive(Debug)]
pub(crate) struct SimFile {
    disk: SimDisk,
    node: NodeId,
    path: PathBuf,
    life: u64,
}

/// A lock on a file of a simulated disk.
#[derive(Debug)]
pub(crate) struct SimLock {
    disk: SimDisk,
    node: NodeId,
    life: u64,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> SimDisk {
        SimDisk(Box::leak(Box::default()))
    }

    /// Empties the disk; what was open on it is of an earlier life.
    pub fn reset(self) {
        let mut world = self.world();
        *world = World { life: world.life + 1, ..World::default() };
    }

    /// The power goes and comes back. What was open is of an earlier life, locks are free, faults and capacity stay.
    pub fn power_cut(self, seed: u64) {
        let mut world = self.world();
        world.life += 1;
        world.locked.clear();
        world.names.cut(&mut Seeded::new(seed));
    }

    /// Begins to keep every moment of the disk, this one and the one after each change, for [`SimDisk::take_past`].
    pub fn record(self) {
        let mut world = self.world();
        world.past = None;
        let now = Moment(world.clone());
        world.past = Some(vec![now]);
    }

    /// Ends the record and gives it. Moment n is the disk after n changes, counted by [`SimDisk::changes`] from the start of the record.
    #[must_use]
    pub fn take_past(self) -> Vec<Moment> {
        self.world().past.take().unwrap_or_default()
    }

    /// The disk as it is now. What a process makes of another disk in this state goes on where one that is killed now has stopped.
    #[must_use]
    pub fn moment(self) -> Moment {
        let world = self.world();
        Moment(World { past: None, ..world.clone() })
    }

    /// Turns this disk into what another one was at `moment`.
    pub fn become_moment(self, moment: &Moment) {
        let mut world = self.world();
        *world = World { life: world.life + 1, locked: Vec::new(), ..moment.0.clone() };
    }

    /// Writes, syncs, and changes of names so far; since the record began, where one is kept.
    #[must_use]
    pub fn changes(self) -> u64 {
        let world = self.world();
        world.past.as_ref().map_or(world.changes, |past| past.len() as u64 - 1)
    }

    /// Bounds the bytes that all files together may hold; `None` takes the bound away.
    pub fn set_capacity(self, bytes: Option<u64>) {
        self.world().capacity = bytes;
    }

    /// Bytes of all files.
    #[must_use]
    pub fn used_bytes(self) -> u64 {
        self.world().names.bytes()
    }

    /// Has calls fail from now on.
    pub fn add_fault(self, fault: Fault) {
        self.world().faults.add(fault);
    }

    /// Lets every call succeed again. What failed stays as it is.
    pub fn clear_faults(self) {
        self.world().faults.clear();
    }

    /// Changes the bits of `mask` in one byte of a file, on the medium: no sync is needed to keep them.
    ///
    /// # Errors
    /// There is no such file, or no such byte in it.
    pub fn flip(self, path: &Path, position: u64, mask: u8) -> io::Result<()> {
        self.world().names.file_mut(path)?.flip(position, mask)
    }

    fn world(self) -> MutexGuard<'static, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for a fault, does the work, and notes the moment after it.
    fn change<T>(
        self,
        operation: Operation,
        path: &Path,
        work: impl FnOnce(&mut World) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut world = self.world();
        world.faults.check(operation, path)?;
        let result = work(&mut world);
        world.changed();
        result
    }
}

/// What [`crate::Disk`] calls.
impl SimDisk {
    pub(crate) fn open(self, path: &Path, how: Open) -> io::Result<SimFile> {
        let mut world = self.world();
        let existing = world.names.find(path)?;
        let node = match (existing, how) {
            (Some(_), Open::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(node), Open::Truncate) => {
                world.faults.check(Operation::SetLen, path)?;
                let at_ms = world.now_ms();
                world.names.content_mut(node)?.set_len(0, at_ms);
                world.changed();
                node
            }
            (Some(node), _) => {
                world.faults.check(Operation::Open, path)?;
                node
            }
            (None, Open::Read | Open::Write) => return Err(io::ErrorKind::NotFound.into()),
            (None, _) => {
                world.faults.check(Operation::Create, path)?;
                if world.capacity.is_some_and(|capacity| world.names.bytes() >= capacity) {
                    return Err(out_of_space());
                }
                let at_ms = world.now_ms();
                let node = world.names.create_file(path, Content::new(at_ms))?;
                world.changed();
                node
            }
        };
        let _ = world.names.content_mut(node)?;
        Ok(SimFile { disk: self, node, path: path.to_owned(), life: world.life })
    }

    pub(crate) fn create_dir(self, path: &Path) -> io::Result<()> {
        self.change(Operation::Create, path, |world| world.names.create_dir(path))
    }

    pub(crate) fn is_dir(self, path: &Path) -> bool {
        self.world().names.is_dir(path)
    }

    pub(crate) fn exists(self, path: &Path) -> bool {
        self.world().names.find(path).is_ok_and(|found| found.is_some())
    }

    pub(crate) fn read_dir(self, path: &Path) -> io::Result<Vec<Entry>> {
        let world = self.world();
        world.faults.peek(Operation::ReadDir, path)?;
        world.names.list(path)
    }

    pub(crate) fn file_len(self, path: &Path) -> io::Result<u64> {
        Ok(self.world().names.file_mut(path)?.len())
    }

    pub(crate) fn modified_ms(self, path: &Path) -> io::Result<i64> {
        Ok(self.world().names.file_mut(path)?.modified_ms())
    }

    pub(crate) fn rename(self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Operation::Rename, from, |world| world.names.rename(from, to))
    }

    pub(crate) fn remove_file(self, path: &Path) -> io::Result<()> {
        self.change(Operation::Remove, path, |world| world.names.remove(path))
    }

    pub(crate) fn remove_dir_all(self, path: &Path) -> io::Result<()> {
        for entry in self.read_dir(path)? {
            if entry.is_dir { self.remove_dir_all(&entry.path)? } else { self.remove_file(&entry.path)? }
        }
        self.change(Operation::Remove, path, |world| world.names.remove(path))
    }

    pub(crate) fn sync_dir(self, path: &Path) -> io::Result<()> {
        self.change(Operation::SyncDir, path, |world| world.names.sync(path))
    }

    pub(crate) fn space(self) -> Space {
        let world = self.world();
        let total = world.capacity.unwrap_or(CAPACITY_BYTES_DEFAULT);
        Space { free: total.saturating_sub(world.names.bytes()), total }
    }
}

impl SimFile {
    /// The world, if this file is of its present life.
    fn world(&self) -> io::Result<MutexGuard<'static, World>> {
        let world = self.disk.world();
        if world.life == self.life { Ok(world) } else { Err(io::Error::other("the power was cut since")) }
    }

    pub(crate) fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut world = self.world()?;
        world.faults.check(Operation::Read, &self.path)?;
        Ok(world.names.content_mut(self.node)?.read(buffer, position))
    }

    pub(crate) fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut world = self.world()?;
        world.faults.check(Operation::Write, &self.path)?;
        let (used, at_ms) = (world.names.bytes(), world.now_ms());
        let capacity = world.capacity;
        let content = world.names.content_mut(self.node)?;
        let room_to = capacity.map_or(u64::MAX, |capacity| content.len() + capacity.saturating_sub(used));
        let end = position + bytes.len() as u64;
        let fits = if end <= room_to {
            bytes.len()
        } else {
            // A full disk takes what it has room for, as a real one does.
            ((room_to / SECTOR_BYTES * SECTOR_BYTES).saturating_sub(position)).min(bytes.len() as u64) as usize
        };
        if fits > 0 {
            content.write(&bytes[..fits], position, at_ms);
        }
        world.changed();
        if fits == bytes.len() { Ok(()) } else { Err(out_of_space()) }
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.world()?.names.content_mut(self.node)?.len())
    }

    pub(crate) fn set_len(&self, length: u64) -> io::Result<()> {
        let mut world = self.world()?;
        world.faults.check(Operation::SetLen, &self.path)?;
        let at_ms = world.now_ms();
        world.names.content_mut(self.node)?.set_len(length, at_ms);
        world.changed();
        Ok(())
    }

    pub(crate) fn set_modified_ms(&self, at_ms: i64) -> io::Result<()> {
        self.world()?.names.content_mut(self.node)?.set_modified_ms(at_ms);
        Ok(())
    }

    pub(crate) fn sync_data(&self) -> io::Result<()> {
        let mut world = self.world()?;
        let failed = world.faults.check(Operation::SyncFile, &self.path);
        let content = world.names.content_mut(self.node)?;
        match failed {
            Ok(()) => content.sync(),
            Err(_) => content.forget_unsynced(),
        }
        world.changed();
        failed
    }

    pub(crate) fn try_lock(&self) -> io::Result<Option<SimLock>> {
        let mut world = self.world()?;
        if world.locked.contains(&self.node) {
            return Ok(None);
        }
        world.locked.push(self.node);
        Ok(Some(SimLock { disk: self.disk, node: self.node, life: self.life }))
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if world.life == self.life {
            world.locked.retain(|node| *node != self.node);
        }
    }
}

impl World {
    fn now_ms(&self) -> i64 {
        FIRST_CHANGE_MS + self.changes as i64
    }

    fn changed(&mut self) {
        self.changes += 1;
        if let Some(mut past) = self.past.take() {
            past.push(Moment(self.clone()));
            self.past = Some(past);
        }
    }
}

impl Default for SimDisk {
    fn default() -> SimDisk {
        SimDisk::new()
    }
}

impl PartialEq for SimDisk {
    fn eq(&self, other: &SimDisk) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for SimDisk {}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimDisk")
    }
}

impl Seeded {
    /// The numbers of this seed, from the first on.
    #[must_use]
    pub fn new(seed: u64) -> Seeded {
        Seeded(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number in `0..below`; 0 where `below` is 0.
    pub fn below(&mut self, below: u64) -> u64 {
        if below == 0 { 0 } else { self.next_u64() % below }
    }
}

#[cfg(test)]
mod tests;
