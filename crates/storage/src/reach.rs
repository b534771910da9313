//! How far a read goes for its bytes: so that a thread that serves many connections never waits for a disk.

use std::io;

use runtime::File;

/// Where a read may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Into memory alone; what is not there is the error `WouldBlock`.
    Memory,
    /// To the disk.
    Disk,
}

impl Reach {
    /// Reads as [`File::read_at`] does.
    ///
    /// # Errors
    /// What the file system says, `WouldBlock` by [`Reach::Memory`].
    pub fn read_at(self, file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match self {
            Reach::Memory => file.read_cached_at(buffer, position),
            Reach::Disk => file.read_at(buffer, position),
        }
    }
}
