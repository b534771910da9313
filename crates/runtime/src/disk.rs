//! Files and directories.
//!
//! A write is in the page cache when it returns; it lasts through a power cut only after [`File::sync_data`] (contents) and, for a new or
//! renamed file, [`Disk::sync_dir`] (its name). [`Disk::write_atomic`] does both in the right order. The disk is the machine's own, or for
//! tests a [`SimDisk`] that can lose power, run full and fail.

mod cache;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sim_disk::{SimDisk, SimFile, SimLock};

/// Longest lock file whose notes are kept.
const LOCK_FILE_BYTES_MAX: u64 = 4096;

/// The disks of one machine. Cheap to clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// The machine's file systems.
    Real,
    /// A simulated one.
    Sim(SimDisk),
}

/// An open file. Cheap to clone: clones share the file, and every operation names its own position.
#[derive(Debug, Clone)]
pub struct File(Arc<Inner>);

#[derive(Debug)]
enum Inner {
    Real(fs::File),
    Sim(SimFile),
}

/// How [`Disk::open`] opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// To read; it must be there.
    Read,
    /// To read and write; it must be there.
    Write,
    /// To read and write; made empty where it is absent.
    Create,
    /// To read and write; it must not be there yet.
    CreateNew,
    /// To read and write; emptied where it is there.
    Truncate,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, without its directory.
    pub name: OsString,
    /// The name with its directory.
    pub path: PathBuf,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// A lock on a file, held until dropped or until the process ends, however it ends.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    /// Lets go of the simulated lock when dropped; the real one goes with the file.
    _held: Option<SimLock>,
}

/// Room on the file system that holds a path, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What an ordinary process may still write.
    pub free: u64,
    /// What it holds in all.
    pub total: u64,
}

impl Disk {
    /// The machine's file systems.
    #[must_use]
    pub fn real() -> Disk {
        Disk::Real
    }

    /// Opens a file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(self, path: &Path, how: Open) -> io::Result<File> {
        if let Disk::Sim(sim) = self {
            return Ok(File(Arc::new(Inner::Sim(sim.open(path, how)?))));
        }
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match how {
            Open::Read => {}
            Open::Write => {
                options.write(true);
            }
            Open::Create => {
                options.write(true).create(true).truncate(false);
            }
            Open::CreateNew => {
                options.write(true).create_new(true);
            }
            Open::Truncate => {
                options.write(true).create(true).truncate(true);
            }
        }
        Ok(File(Arc::new(Inner::Real(options.open(path)?))))
    }

    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// `InvalidData` where the file is longer than `limit`; nothing is allocated for it then.
    pub fn read(self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, Open::Read)?;
        let length = file.len()?;
        if length > limit {
            let what = format!("{} holds {length} bytes, more than the {limit} allowed here", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Reads a whole text file of at most `limit` bytes, its last line ended even where the file does not end it.
    ///
    /// # Errors
    /// As [`Disk::read`]; `InvalidData` for UTF-16, which editors of one system save and parsers of properties files take apart wrongly.
    pub fn read_text(self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut text = self.read(path, limit)?;
        if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is UTF-16 text: save it as UTF-8"));
        }
        text.push(b'\n');
        Ok(text)
    }

    /// Replaces the file by `bytes` so that a crash at any moment leaves either the old contents or the new: temporary name, sync, rename,
    /// sync of the directory.
    ///
    /// # Errors
    /// What the file system says; the old contents are then still there.
    pub fn write_atomic(self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = self.open(&temporary, Open::Truncate)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        self.rename(&temporary, path)?;
        match path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => self.sync_dir(directory),
            _ => self.sync_dir(Path::new(".")),
        }
    }

    /// Makes a directory and its parents so that they last through a power cut; content where it is there already.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create_dir_all(self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || self.is_dir(path) {
            return Ok(());
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) => Path::new("."),
            None => return Ok(()),
        };
        self.create_dir_all(parent)?;
        match self.create_dir(path) {
            Ok(()) => self.sync_dir(parent),
            // Somebody else was quicker.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.is_dir(path) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes a directory, whose name outlasts a power cut only after [`Disk::sync_dir`] of its parent.
    ///
    /// # Errors
    /// What the file system says; `AlreadyExists` where anything has this name.
    pub fn create_dir(self, path: &Path) -> io::Result<()> {
        match self {
            Disk::Real => fs::create_dir(path),
            Disk::Sim(sim) => sim.create_dir(path),
        }
    }

    fn is_dir(self, path: &Path) -> bool {
        match self {
            Disk::Real => path.is_dir(),
            Disk::Sim(sim) => sim.is_dir(path),
        }
    }

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read_dir(self, path: &Path) -> io::Result<Vec<Entry>> {
        if let Disk::Sim(sim) = self {
            return sim.read_dir(path);
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            entries.push(Entry { name: entry.file_name(), path: entry.path(), is_dir: entry.file_type()?.is_dir() });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Whether anything has this name.
    #[must_use]
    pub fn exists(self, path: &Path) -> bool {
        match self {
            Disk::Real => path.exists(),
            Disk::Sim(sim) => sim.exists(path),
        }
    }

    /// Length in bytes of the file of this name.
    ///
    /// # Errors
    /// What the file system says.
    pub fn file_len(self, path: &Path) -> io::Result<u64> {
        match self {
            Disk::Real => Ok(fs::metadata(path)?.len()),
            Disk::Sim(sim) => sim.file_len(path),
        }
    }

    /// When the file of this name was last written, in milliseconds since 1970.
    ///
    /// # Errors
    /// What the file system says.
    pub fn modified_ms(self, path: &Path) -> io::Result<i64> {
        if let Disk::Sim(sim) = self {
            return sim.modified_ms(path);
        }
        let modified = fs::metadata(path)?.modified()?;
        Ok(modified
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Gives a file or directory another name; an existing file of that name is replaced.
    ///
    /// # Errors
    /// What the file system says.
    pub fn rename(self, from: &Path, to: &Path) -> io::Result<()> {
        match self {
            Disk::Real => fs::rename(from, to),
            Disk::Sim(sim) => sim.rename(from, to),
        }
    }

    /// Removes a file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove_file(self, path: &Path) -> io::Result<()> {
        match self {
            Disk::Real => fs::remove_file(path),
            Disk::Sim(sim) => sim.remove_file(path),
        }
    }

    /// Removes a directory with all it holds.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove_dir_all(self, path: &Path) -> io::Result<()> {
        match self {
            Disk::Real => fs::remove_dir_all(path),
            Disk::Sim(sim) => sim.remove_dir_all(path),
        }
    }

    /// Makes new, renamed and removed names of a directory last.
    ///
    /// # Errors
    /// What the file system says; treat it as a failed sync of the files concerned.
    pub fn sync_dir(self, path: &Path) -> io::Result<()> {
        match self {
            Disk::Real => fs::File::open(path)?.sync_all(),
            Disk::Sim(sim) => sim.sync_dir(path),
        }
    }

    /// Bytes that an ordinary process may still write to the file system that holds `path`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn free_bytes(self, path: &Path) -> io::Result<u64> {
        Ok(self.space(path)?.free)
    }

    /// Room on the file system that holds `path`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn space(self, path: &Path) -> io::Result<Space> {
        match self {
            Disk::Real => {
                let stat = rustix::fs::statvfs(path)?;
                // As `df` counts: what is kept back for root is neither free nor, to an ordinary process, there.
                let used = stat.f_blocks.saturating_sub(stat.f_bfree);
                let total = used.saturating_add(stat.f_bavail).saturating_mul(stat.f_frsize);
                Ok(Space { free: stat.f_bavail.saturating_mul(stat.f_frsize), total })
            }
            Disk::Sim(sim) => Ok(sim.space()),
        }
    }

    /// Takes the lock on a file (made where absent) without waiting and writes this process's id into its first line; the notes after it stay. `None` where another open
    /// file holds the lock: a process, or this one.
    ///
    /// # Errors
    /// What the file system says.
    pub fn try_lock(self, path: &Path) -> io::Result<Option<FileLock>> {
        let file = self.open(path, Open::Create)?;
        let held = match &*file.0 {
            Inner::Real(real) => match rustix::fs::flock(real, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => None,
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            },
            Inner::Sim(sim) => match sim.try_lock()? {
                Some(lock) => Some(lock),
                None => return Ok(None),
            },
        };
        // Whoever dies before it has notes of its own must not take those of the last owner along.
        let text = match self.read(path, LOCK_FILE_BYTES_MAX) {
            // No lock file of ours.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Vec::new(),
            read => read?,
        };
        let notes = text.iter().position(|byte| *byte == b'\n').map_or(&[][..], |end| &text[end + 1..]);
        let lock = FileLock { file, _held: held };
        lock.write(notes)?;
        Ok(Some(lock))
    }

    /// Process id written by the holder of a lock file, where one can be read.
    #[must_use]
    pub fn lock_holder(self, path: &Path) -> Option<u32> {
        let text = self.read(path, LOCK_FILE_BYTES_MAX).ok()?;
        std::str::from_utf8(&text).ok()?.lines().next()?.trim().parse().ok()
    }
}

impl FileLock {
    /// Replaces what the lock file says after its first line (the process id): notes for the next owner.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_notes(&self, notes: &str) -> io::Result<()> {
        self.write(notes.as_bytes())?;
        self.file.sync_data()
    }

    /// In one write and then a cut, so that a kill never leaves the file empty.
    fn write(&self, notes: &[u8]) -> io::Result<()> {
        let text = [format!("{}\n", std::process::id()).as_bytes(), notes].concat();
        self.file.write_all_at(&text, 0)?;
        self.file.set_len(text.len() as u64)
    }
}

impl File {
    /// Reads until `buffer` is full or the file ends; gives the number of bytes read.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let file = match &*self.0 {
            Inner::Real(file) => file,
            Inner::Sim(file) => return file.read_at(buffer, position),
        };
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Fills `buffer`.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before.
    pub fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        match &*self.0 {
            Inner::Real(file) => file.read_exact_at(buffer, position),
            Inner::Sim(file) if file.read_at(buffer, position)? == buffer.len() => Ok(()),
            Inner::Sim(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// What the file system says; a part may have been written.
    pub fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        match &*self.0 {
            Inner::Real(file) => file.write_all_at(bytes, position),
            Inner::Sim(file) => file.write_all_at(bytes, position),
        }
    }

    /// Length in bytes.
    ///
    /// # Errors
    /// What the file system says.
    pub fn len(&self) -> io::Result<u64> {
        match &*self.0 {
            Inner::Real(file) => Ok(file.metadata()?.len()),
            Inner::Sim(file) => file.len(),
        }
    }

    /// Whether it holds no byte.
    ///
    /// # Errors
    /// What the file system says.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends (with zeros) the file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn set_len(&self, length: u64) -> io::Result<()> {
        match &*self.0 {
            Inner::Real(file) => file.set_len(length),
            Inner::Sim(file) => file.set_len(length),
        }
    }

    /// Makes the file look last written at `at_ms`, in milliseconds since 1970.
    ///
    /// # Errors
    /// What the file system says.
    pub fn set_modified_ms(&self, at_ms: i64) -> io::Result<()> {
        match &*self.0 {
            Inner::Real(file) => {
                let since = std::time::Duration::from_millis(u64::try_from(at_ms).unwrap_or(0));
                file.set_modified(std::time::UNIX_EPOCH + since)
            }
            Inner::Sim(file) => file.set_modified_ms(at_ms),
        }
    }

    /// Reserves disk space beyond the end without changing the length, so that appends do not allocate block by block. A file system that
    /// cannot do it is no error.
    ///
    /// # Errors
    /// What the file system says, `StorageFull` above all.
    pub fn reserve(&self, position: u64, length: u64) -> io::Result<()> {
        let Inner::Real(file) = &*self.0 else { return Ok(()) };
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, position, length) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until the contents are on stable storage (`fdatasync`). After an error nothing written since the last success may be trusted,
    /// and a second call that succeeds proves nothing.
    ///
    /// # Errors
    /// What the file system says.
    pub fn sync_data(&self) -> io::Result<()> {
        match &*self.0 {
            Inner::Real(file) => file.sync_data(),
            Inner::Sim(file) => file.sync_data(),
        }
    }

    /// The file itself, for `sendfile`; `None` where it is simulated.
    #[must_use]
    pub fn real(&self) -> Option<&fs::File> {
        match &*self.0 {
            Inner::Real(file) => Some(file),
            Inner::Sim(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
