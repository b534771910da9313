//! One file: what readers see, what is on stable storage, and the changes in between.
//!
//! Always true: `durable` with all of `unsynced` applied is what readers see, until a sync fails; then it never is again.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::{SECTOR_BYTES, Seeded};

/// One file.
#[derive(Debug, Clone)]
pub(super) struct Content {
    seen: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    unsynced: Vec<Change>,
    modified_ms: i64,
}

#[derive(Debug, Clone)]
enum Change {
    Write { position: usize, bytes: Arc<[u8]> },
    SetLen(usize),
}

/// Which of the unsynced changes a cut keeps.
enum Keep {
    /// The first so many, whole.
    First(usize),
    /// Of each sector as many as it comes; of the length the first so many.
    Sectors { lengths: usize },
}

impl Content {
    pub(super) fn new(now_ms: i64) -> Content {
        Content { seen: Arc::default(), durable: Arc::default(), unsynced: Vec::new(), modified_ms: now_ms }
    }

    pub(super) fn len(&self) -> u64 {
        self.seen.len() as u64
    }

    pub(super) fn modified_ms(&self) -> i64 {
        self.modified_ms
    }

    pub(super) fn set_modified_ms(&mut self, at_ms: i64) {
        self.modified_ms = at_ms;
    }

    pub(super) fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        let from = usize::try_from(position).unwrap_or(usize::MAX).min(self.seen.len());
        let count = buffer.len().min(self.seen.len() - from);
        buffer[..count].copy_from_slice(&self.seen[from..from + count]);
        count
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: u64, now_ms: i64) {
        let change = Change::Write { position: position as usize, bytes: bytes.into() };
        self.change(change, now_ms);
    }

    pub(super) fn set_len(&mut self, length: u64, now_ms: i64) {
        self.change(Change::SetLen(length as usize), now_ms);
    }

    fn change(&mut self, change: Change, now_ms: i64) {
        apply(Arc::make_mut(&mut self.seen), &change);
        self.unsynced.push(change);
        self.modified_ms = now_ms;
    }

    pub(super) fn sync(&mut self) {
        if self.unsynced.is_empty() {
            return;
        }
        let durable = Arc::make_mut(&mut self.durable);
        self.unsynced.drain(..).for_each(|change| apply(durable, &change));
    }

    /// A sync failed: the kernel takes the bytes for written, and they are not.
    pub(super) fn forget_unsynced(&mut self) {
        self.unsynced.clear();
    }

    pub(super) fn flip(&mut self, position: u64, mask: u8) -> io::Result<()> {
        let position = position as usize;
        if position >= self.seen.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Arc::make_mut(&mut self.seen)[position] ^= mask;
        if position < self.durable.len() {
            Arc::make_mut(&mut self.durable)[position] ^= mask;
        }
        Ok(())
    }

    /// What the power cut leaves.
    pub(super) fn cut(&mut self, random: &mut Seeded) {
        if !self.unsynced.is_empty() {
            let changes = self.unsynced.len();
            let keep = match random.below(4) {
                0 => Keep::First(0),
                1 => Keep::First(changes),
                2 => Keep::First(random.below(changes as u64 + 1) as usize),
                _ => Keep::Sectors { lengths: random.below(changes as u64 + 1) as usize },
            };
            let durable = Arc::make_mut(&mut self.durable);
            match keep {
                Keep::First(count) => self.unsynced.iter().take(count).for_each(|change| apply(durable, change)),
                Keep::Sectors { lengths } => tear(durable, &self.unsynced, lengths, random),
            }
            self.unsynced.clear();
        }
        self.seen = self.durable.clone();
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { position, bytes: written } => {
            let end = position + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*position..end].copy_from_slice(written);
        }
        Change::SetLen(length) => bytes.resize(*length, 0),
    }
}

/// Each sector went to the disk at a moment of its own, with all that had been written to it by then; so did the length.
fn tear(durable: &mut Vec<u8>, changes: &[Change], lengths: usize, random: &mut Seeded) {
    let mut moments: HashMap<usize, usize> = HashMap::new();
    let mut length = durable.len();
    for (at, change) in changes.iter().enumerate() {
        match change {
            Change::SetLen(new) => {
                if at < lengths {
                    length = *new;
                    durable.truncate(*new);
                }
            }
            Change::Write { position, bytes } => {
                let end = position + bytes.len();
                if at < lengths {
                    length = length.max(end);
                }
                let sector_bytes = SECTOR_BYTES as usize;
                let mut from = *position;
                while from < end {
                    let to = ((from / sector_bytes + 1) * sector_bytes).min(end);
                    let moment = *moments
                        .entry(from / sector_bytes)
                        .or_insert_with(|| random.below(changes.len() as u64 + 1) as usize);
                    if at < moment {
                        if durable.len() < to {
                            durable.resize(to, 0);
                        }
                        durable[from..to].copy_from_slice(&bytes[from - position..to - position]);
                    }
                    from = to;
                }
            }
        }
    }
    durable.resize(length, 0);
}
