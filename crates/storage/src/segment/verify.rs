//! Checks batches that came from the disk, before they are served for the first time.
//!
//! A checksum does not cover a batch's first offset and leader epoch, since brokers write those in place. They are held against the batches before and after: of two that
//! overlap, the one that does not begin where the one before it ended is wrong.

use protocol::records::batch::HEADER_LEN;

use crate::entry::{Entry, EntryScanner, SCAN_WINDOW_BYTES, ScanError};
use crate::error::{Result, StorageError};
use crate::leader_epoch::KnownEpochs;
use crate::reach::Reach;
use crate::segment::lookup::Located;
use crate::segment::{End, Segment};

/// What a check found.
#[derive(Debug)]
pub(crate) struct Verified {
    /// Byte up to which all is well.
    pub(crate) to: u64,
    /// First offset behind it, where the check went so far.
    pub(crate) next_offset: Option<i64>,
    /// The first damage, where there is any before the byte asked for.
    pub(crate) damage: Option<Damage>,
}

/// A batch that is not what was written.
#[derive(Debug)]
pub(crate) struct Damage {
    pub(crate) position: u64,
    /// The offset it begins with, where the batches before it say so.
    pub(crate) offset: Option<i64>,
    pub(crate) why: String,
}

impl Segment {
    /// Whether all bytes of a range were checked since the start.
    pub(crate) fn is_verified(&self, from: u64, to: u64) -> bool {
        self.checked.holds(&(from..to))
    }

    /// Checks the entries from `first` up to byte `to`. Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn verify(&self, first: &Located, to: u64, end: &End, epochs: &KnownEpochs) -> Result<Verified> {
        let from = first.entry.position;
        // What was appended since the start needs no check.
        let to_check = to.min(self.checked.found_below());
        // No more than is asked for, and the header behind it.
        let wanted = usize::try_from(to.saturating_sub(from)).unwrap_or(SCAN_WINDOW_BYTES);
        let window = wanted.saturating_add(HEADER_LEN).min(SCAN_WINDOW_BYTES);
        let mut scanner = EntryScanner::new(self.read_file()?, from, end.size, window);
        let mut follows = first.follows;
        let mut epoch_agreed = false;
        let mut damage = None;
        let mut good = from;
        while good < to_check {
            let position = good;
            let entry = match scanner.next_checked() {
                Ok(Some(entry)) if entry.end() > to => break,
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(ScanError::Damaged { why, .. }) => {
                    damage = Some(Damage { position, offset: follows, why });
                    break;
                }
                Err(error) => return Err(self.scan_error(error)),
            };
            let next = scanner.peek_entry().ok().flatten();
            let epoch_agrees = epoch_agrees(&entry, epochs);
            let believed =
                epochs.vouched || epoch_agreed || next.as_ref().is_some_and(|next| epoch_agrees_surely(next, epochs));
            let why = wrong_order(&entry, follows, next.as_ref(), end).or_else(|| {
                (!epoch_agrees && believed)
                    .then(|| format!("leader epoch {} is not the one of its offsets", entry.leader_epoch()))
            });
            if let Some(why) = why {
                damage = Some(Damage { position, offset: follows.or(Some(entry.base_offset)), why });
                break;
            }
            epoch_agreed = epoch_agrees_surely(&entry, epochs);
            follows = Some(entry.next_offset());
            good = entry.end();
        }
        self.checked.note(from..good);
        let to = if damage.is_none() && good >= to_check { to } else { good };
        Ok(Verified { to, next_offset: follows.filter(|_| to == good), damage })
    }

    /// Checks everything, where not all was checked since the start. Gives the bytes it read.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] at the first damage; the file cannot be read.
    pub(crate) fn verify_all(&self, epochs: &KnownEpochs) -> Result<u64> {
        let end = self.end();
        if end.size == 0 || self.is_verified(0, end.size) {
            return Ok(0);
        }
        let first = self.scanner(Reach::Disk, 0, end.size)?.next_entry().map_err(|error| self.scan_error(error))?;
        let Some(entry) = first else { return Ok(0) };
        let verified = self.verify(&Located { entry, follows: Some(self.base_offset()) }, end.size, &end, epochs)?;
        match verified.damage {
            None => Ok(end.size),
            Some(Damage { position, why, .. }) => {
                Err(StorageError::Damaged { path: self.log_file().path(), position, why })
            }
        }
    }

    /// Whether this damage was told of before. Noted from here on.
    pub(crate) fn has_told(&self, position: u64) -> bool {
        /// Places told of in one segment; beyond, it has been said often enough.
        const TOLD_MAX: usize = 64;
        let mut told = self.told.lock();
        if told.contains(&position) || told.len() >= TOLD_MAX {
            return true;
        }
        told.push(position);
        false
    }
}

/// Why an entry cannot be where it is, by the offsets around it.
pub(crate) fn wrong_order(entry: &Entry, follows: Option<i64>, next: Option<&Entry>, end: &End) -> Option<String> {
    if let Some(follows) = follows
        && entry.base_offset < follows
    {
        return Some(format!("offset {} does not follow {}", entry.base_offset, follows - 1));
    }
    // A message of an old format shows only its last offset.
    let (next_base, is_closed) = match next {
        Some(next) => (next.base_offset, false),
        None => (end.next_offset, true),
    };
    let overlaps = entry.next_offset() > next_base;
    // Where it begins as it should, the next one is wrong; behind the last one a segment's end is.
    let begins_right = follows == Some(entry.base_offset);
    (overlaps && (!begins_right || is_closed))
        .then(|| format!("offset {} is not before {next_base}, which comes next", entry.last_offset))
}

/// False where the epochs of the log say another. Asked for its last offset, since the log may begin in the middle of it.
fn epoch_agrees(entry: &Entry, epochs: &KnownEpochs) -> bool {
    entry.leader_epoch() == -1 || epochs.at(entry.last_offset).is_none_or(|epoch| epoch == entry.leader_epoch())
}

/// True where the epochs of the log say the same.
fn epoch_agrees_surely(entry: &Entry, epochs: &KnownEpochs) -> bool {
    epochs.at(entry.last_offset) == Some(entry.leader_epoch())
}
