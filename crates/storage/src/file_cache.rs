//! Open files within a bound: a log of many segments, and a broker of many idle logs, must not hold a descriptor for each.
//!
//! A [`CachedFile`] is a name that opens itself when used. It is *pinned* while it holds bytes that were not synced (an error that the kernel
//! keeps for the next `fdatasync` must reach us); everything else is held by the [`FileCache`], which closes the least used first.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use runtime::File;
use runtime::disk::Open;

use crate::log_dir::PartitionDir;
use crate::reach::Reach;

/// The open files of all logs.
#[derive(Debug)]
pub struct FileCache {
    capacity: usize,
    queue: Mutex<VecDeque<Arc<Handle>>>,
}

#[derive(Debug)]
struct Handle {
    file: File,
    used: AtomicBool,
}

impl FileCache {
    /// Keeps at most `capacity` files open (at least 1), pinned ones not counted.
    #[must_use]
    pub fn new(capacity: usize) -> Arc<FileCache> {
        Arc::new(FileCache { capacity: capacity.max(1), queue: Mutex::new(VecDeque::new()) })
    }

    /// Second chance: a file used since it was last looked at goes back to the end of the queue.
    fn insert(&self, handle: Arc<Handle>) {
        let mut queue = self.queue.lock();
        queue.push_back(handle);
        let mut chances = queue.len();
        while queue.len() > self.capacity {
            let Some(oldest) = queue.pop_front() else { break };
            if chances > 0 && oldest.used.swap(false, Ordering::Relaxed) {
                chances -= 1;
                queue.push_back(oldest);
            }
        }
    }

    fn remove(&self, handle: &Arc<Handle>) {
        self.queue.lock().retain(|held| !Arc::ptr_eq(held, handle));
    }

    /// Files held open now, pinned ones not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.lock().len()
    }

    /// Whether none is held open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A file of a partition's directory that is opened when it is used.
#[derive(Debug)]
pub struct CachedFile {
    dir: Arc<PartitionDir>,
    name: Mutex<String>,
    cache: Arc<FileCache>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pinned: Option<File>,
    cached: Weak<Handle>,
}

impl CachedFile {
    /// Names a file; nothing is opened.
    #[must_use]
    pub fn new(dir: Arc<PartitionDir>, name: String, cache: Arc<FileCache>) -> CachedFile {
        CachedFile { dir, name: Mutex::new(name), cache, state: Mutex::new(State::default()) }
    }

    /// Where the file is now.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.file(&self.name.lock())
    }

    /// The open file. It must be there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(&self) -> io::Result<File> {
        self.open_how(Open::Write)
    }

    /// The open file; by [`Reach::Memory`] only where it is open already.
    ///
    /// # Errors
    /// As [`CachedFile::open`]; `WouldBlock`.
    pub fn open_within(&self, reach: Reach) -> io::Result<File> {
        if reach == Reach::Disk {
            return self.open();
        }
        let state = self.state.lock();
        if let Some(file) = &state.pinned {
            return Ok(file.clone());
        }
        let Some(handle) = state.cached.upgrade() else { return Err(io::ErrorKind::WouldBlock.into()) };
        handle.used.store(true, Ordering::Relaxed);
        Ok(handle.file.clone())
    }

    /// The open file, made empty where it is absent.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(&self) -> io::Result<File> {
        self.open_how(Open::Create)
    }

    /// Makes the file empty, whether or not one of its name is there. It is opened when it is used.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create_empty(&self) -> io::Result<()> {
        let state = self.state.lock();
        if let Some(file) = state.pinned.clone().or_else(|| state.cached.upgrade().map(|handle| handle.file.clone())) {
            return file.set_len(0);
        }
        let name = self.name.lock();
        self.dir.disk().open(&self.dir.file(&name), Open::Truncate).map(drop)
    }

    fn open_how(&self, how: Open) -> io::Result<File> {
        let mut state = self.state.lock();
        if let Some(file) = &state.pinned {
            return Ok(file.clone());
        }
        if let Some(handle) = state.cached.upgrade() {
            handle.used.store(true, Ordering::Relaxed);
            return Ok(handle.file.clone());
        }
        // Held over the opening: another file may take the name as soon as this one has lost it.
        let name = self.name.lock();
        let file = self.dir.disk().open(&self.dir.file(&name), how)?;
        drop(name);
        let handle = Arc::new(Handle { file: file.clone(), used: AtomicBool::new(false) });
        state.cached = Arc::downgrade(&handle);
        drop(state);
        self.cache.insert(handle);
        Ok(file)
    }

    /// The open file, kept open until [`CachedFile::unpin`].
    ///
    /// # Errors
    /// What the file system says.
    pub fn pin(&self) -> io::Result<File> {
        if let Some(file) = &self.state.lock().pinned {
            return Ok(file.clone());
        }
        let file = self.create()?;
        self.state.lock().pinned = Some(file.clone());
        Ok(file)
    }

    /// Lets the cache close the file again.
    pub fn unpin(&self) {
        self.state.lock().pinned = None;
    }

    /// Closes the file, unless a reader still holds it.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.pinned = None;
        if let Some(handle) = state.cached.upgrade() {
            self.cache.remove(&handle);
        }
        state.cached = Weak::new();
    }

    /// Gives the file another name in the same directory, on disk and here. An absent file is no error; it will have the new name once it is made.
    ///
    /// # Errors
    /// What the file system says.
    pub fn rename(&self, to: String) -> io::Result<()> {
        let mut name = self.name.lock();
        match self.dir.disk().rename(&self.dir.file(&name), &self.dir.file(&to)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => *name = to,
        }
        Ok(())
    }

    /// Closes and removes the file. An absent file is no error.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(&self) -> io::Result<()> {
        self.close();
        match self.dir.disk().remove_file(&self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use runtime::Disk;

    use super::*;
    use crate::log_dir::LogDir;

    #[test]
    fn at_most_capacity_files_stay_open_and_closed_ones_open_again() {
        let directory = tempfile::tempdir().unwrap();
        let log_dir = Arc::new(LogDir::new(directory.path().to_owned(), Disk::real()));
        let dir = Arc::new(PartitionDir::new(log_dir, directory.path().to_owned()));
        let cache = FileCache::new(2);
        let files: Vec<CachedFile> =
            (0..5).map(|n| CachedFile::new(dir.clone(), format!("f{n}"), cache.clone())).collect();
        for (n, file) in files.iter().enumerate() {
            file.create().unwrap().write_all_at(&[n as u8], 0).unwrap();
        }
        assert_eq!(cache.len(), 2);
        for (n, file) in files.iter().enumerate() {
            let mut byte = [9];
            file.open().unwrap().read_exact_at(&mut byte, 0).unwrap();
            assert_eq!(byte[0], n as u8);
        }
        assert_eq!(cache.len(), 2);
        files[4].close();
        assert_eq!(cache.len(), 1);
    }
}
