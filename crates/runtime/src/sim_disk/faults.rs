//! Calls that fail as told.

use std::io;
use std::path::Path;

const ENOSPC: i32 = 28;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A file that is there is opened.
    Open,
    /// A file or directory is made.
    Create,
    /// Bytes of a file are read.
    Read,
    /// The names in a directory are read.
    ReadDir,
    /// Bytes are written.
    Write,
    /// A file is cut or extended.
    SetLen,
    /// A file is synced.
    SyncFile,
    /// A directory is synced.
    SyncDir,
    /// A name is changed.
    Rename,
    /// A name is removed.
    Remove,
}

/// Calls that are to fail.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What kind.
    pub operation: Operation,
    /// On what: any path that has this in it.
    pub path_contains: String,
    /// So many of them succeed first.
    pub after: u32,
    /// So many fail then.
    pub times: u32,
    /// What they fail with: the number of the operating system's error (5 is EIO).
    pub errno: i32,
}

impl Fault {
    /// Every call of this kind fails with EIO from now on.
    #[must_use]
    pub fn always(operation: Operation, path_contains: &str) -> Fault {
        const EIO: i32 = 5;
        Fault { operation, path_contains: path_contains.to_owned(), after: 0, times: u32::MAX, errno: EIO }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Fails where a fault says so, and counts.
    pub(super) fn check(&mut self, operation: Operation, path: &Path) -> io::Result<()> {
        for fault in self.0.iter_mut().filter(|fault| fault.concerns(operation, path)) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Err(io::Error::from_raw_os_error(fault.errno));
            }
        }
        Ok(())
    }

    /// Fails where a fault says so, and does not count.
    pub(super) fn peek(&self, operation: Operation, path: &Path) -> io::Result<()> {
        let mut concerned = self.0.iter().filter(|fault| fault.concerns(operation, path));
        match concerned.find(|fault| fault.after == 0 && fault.times > 0) {
            Some(fault) => Err(io::Error::from_raw_os_error(fault.errno)),
            None => Ok(()),
        }
    }
}

impl Fault {
    fn concerns(&self, operation: Operation, path: &Path) -> bool {
        self.operation == operation && path.to_string_lossy().contains(&self.path_contains)
    }
}

pub(super) fn out_of_space() -> io::Error {
    io::Error::from_raw_os_error(ENOSPC)
}
