//! Whether a piece of a file is in memory, and how it gets there: so that whoever serves many does not wait for a disk on behalf of one.

use std::io;
use std::num::NonZeroU64;

use super::File;

/// Distance between two bytes that are looked at to tell whether a range is in memory: what a kernel reads ahead by default.
const PROBE_STEP_BYTES: u64 = 128 << 10;
/// The smallest page there is.
const PAGE_BYTES: u64 = 4096;

impl File {
    /// Whether a read of this range would find all of it in memory, as far as a look at a byte here and there tells (`preadv2` with RWF_NOWAIT). Where the file system
    /// cannot tell, yes.
    #[must_use]
    pub fn is_cached(&self, position: u64, length: u64) -> bool {
        let (Some(real), Some(last)) = (self.real(), length.checked_sub(1).map(|rest| position + rest)) else {
            return true;
        };
        let inner = (position..last).step_by(PROBE_STEP_BYTES as usize);
        inner.chain([last]).all(|at| {
            let mut byte = [0];
            let mut room = [io::IoSliceMut::new(&mut byte)];
            let found = rustix::io::preadv2(real, &mut room, at, rustix::io::ReadWriteFlags::NOWAIT);
            !matches!(found, Err(rustix::io::Errno::AGAIN))
        })
    }

    /// Reads as [`File::read_at`] does, but only what is in memory. Where the file system cannot tell, it reads.
    ///
    /// # Errors
    /// `WouldBlock` where the disk must be waited for; what the file system says.
    pub fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let Some(real) = self.real() else { return self.read_at(buffer, position) };
        let mut filled = 0;
        while filled < buffer.len() {
            let mut room = [io::IoSliceMut::new(&mut buffer[filled..])];
            let at = position + filled as u64;
            match rustix::io::preadv2(real, &mut room, at, rustix::io::ReadWriteFlags::NOWAIT) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                    return self.read_at(buffer, position);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(filled)
    }

    /// Brings a range into memory and waits until it is there. Blocks.
    ///
    /// # Errors
    /// What the file system says.
    pub fn load(&self, position: u64, length: u64) -> io::Result<()> {
        let Some(real) = self.real() else { return Ok(()) };
        // An advice that is not taken costs only time.
        let _ = rustix::fs::fadvise(real, position, NonZeroU64::new(length), rustix::fs::Advice::WillNeed);
        let mut byte = [0];
        for at in (position..position + length).step_by(PAGE_BYTES as usize) {
            self.read_at(&mut byte, at)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::disk::{Disk, Open};

    #[test]
    fn what_was_just_written_is_in_memory_and_what_was_dropped_is_loaded_again() {
        // Beside the sources and not in a directory for temporary files, which may itself be memory.
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let file = Disk::real().open(&directory.path().join("log"), Open::CreateNew).unwrap();
        file.write_all_at(&vec![7; 1 << 20], 0).unwrap();
        assert!(file.is_cached(0, 1 << 20) && file.is_cached(5, 0));
        let mut bytes = [0; 100];
        assert_eq!(file.read_cached_at(&mut bytes, (1 << 20) - 60).unwrap(), 60);
        assert_eq!(bytes[..60], [7; 60]);
        file.sync_data().unwrap();
        rustix::fs::fadvise(file.real().unwrap(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
        // Whether the pages are gone is the kernel's decision; after a load they are there.
        file.load(0, 1 << 20).unwrap();
        assert!(file.is_cached(0, 1 << 20));
    }
}
