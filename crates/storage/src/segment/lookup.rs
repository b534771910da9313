//! From an offset to an entry of the segment, and from a limit to the last whole entry before it.
//!
//! The index only says where to begin. An entry of it that does not fit the log where it points is passed by for the one before it, so a damaged index costs a longer walk
//! and never leads past a record.

use std::sync::atomic::Ordering;

use crate::entry::{Entry, EntryScanner, LOOKUP_WINDOW_BYTES, ScanError};
use crate::error::{Result, StorageError};
use crate::offset_index::OffsetEntry;
use crate::reach::Reach;
use crate::segment::{End, Segment};

/// Entries of an index that are tried before the walk begins with the segment.
const HINTS_TRIED: usize = 8;

/// An entry found by an offset in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub(crate) entry: Entry,
    /// The offset that the entry must begin with, or after which it must: where the walk or the index says so.
    pub(crate) follows: Option<i64>,
}

/// Where a walk begins.
#[derive(Debug, Clone, Copy)]
enum Start {
    /// With the segment.
    Segment,
    /// Where an index entry of this offset points.
    Hint(i64),
}

/// Where a walk ended.
#[derive(Debug, Clone, Copy)]
enum Walk {
    Found(Option<Located>),
    /// No entry ends with the offset that the index says.
    HintIsWrong,
}

/// An end of whole entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Boundary {
    pub(crate) position: u64,
    /// First offset behind it, where the walk has seen it.
    pub(crate) next_offset: Option<i64>,
}

impl Segment {
    /// The first entry that holds `offset` or a later one, up to `end`.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged on the way.
    pub fn locate(&self, offset: i64, end: &End) -> Result<Option<Entry>> {
        Ok(self.locate_within(Reach::Disk, offset, end)?.map(|located| located.entry))
    }

    /// As [`Segment::locate`], within a reach.
    ///
    /// # Errors
    /// As [`Segment::locate`]; `WouldBlock` by [`Reach::Memory`].
    pub(crate) fn locate_within(&self, reach: Reach, offset: i64, end: &End) -> Result<Option<Located>> {
        let mut below = offset;
        for _ in 0..HINTS_TRIED {
            if below <= self.base_offset {
                break;
            }
            let hint = self.offset_index.lookup(reach, below);
            let Some(hint) = hint.map_err(|error| self.read_error("read index of", error))? else { break };
            if let Some(mut scanner) = self.scan_from_hint(reach, hint, end)? {
                match self.walk_to(reach, &mut scanner, offset, Start::Hint(hint.offset), end)? {
                    Walk::Found(located) => return Ok(located),
                    Walk::HintIsWrong => self.tell_wrong_index(reach, hint)?,
                }
            }
            below = hint.offset.saturating_sub(1).min(below.saturating_sub(1));
        }
        let mut scanner = self.scanner(reach, 0, end.size)?;
        match self.walk_to(reach, &mut scanner, offset, Start::Segment, end)? {
            Walk::Found(located) => Ok(located),
            Walk::HintIsWrong => Ok(None),
        }
    }

    /// The entry at a position that a reader has come to before, if it holds `offset`.
    ///
    /// # Errors
    /// As [`Segment::locate_within`].
    pub(crate) fn entry_at(&self, reach: Reach, position: u64, offset: i64, end: &End) -> Result<Option<Located>> {
        if position >= end.size {
            return Ok(None);
        }
        let entry = self.scanner(reach, position, end.size)?.next_entry().map_err(|error| self.scan_error(error))?;
        let holds =
            |entry: &Entry| entry.last_offset >= offset && entry.batch.is_none_or(|_| entry.base_offset >= offset);
        Ok(entry.filter(holds).map(|entry| Located { entry, follows: Some(offset) }))
    }

    /// A walk from where an index entry points; `None` where what is there does not fit the entry.
    fn scan_from_hint(&self, reach: Reach, hint: OffsetEntry, end: &End) -> Result<Option<EntryScanner>> {
        let mut scanner = self.scanner(reach, u64::from(hint.position), end.size)?;
        let fits = match scanner.peek_entry() {
            // An entry made of several batches names the last offset of them all.
            Ok(Some(first)) if first.batch.is_some() => {
                first.last_offset <= hint.offset && first.base_offset >= self.base_offset
            }
            // Brokers before 0.11 noted the first offset of what they appended. Many bytes pass for a header of theirs.
            Ok(Some(first)) => match scanner.check_crc(&first) {
                Ok(()) => first.last_offset >= hint.offset,
                Err(ScanError::Damaged { .. }) => false,
                Err(error) => return Err(self.scan_error(error)),
            },
            Ok(None) | Err(ScanError::Damaged { .. }) => false,
            Err(error) => return Err(self.scan_error(error)),
        };
        if !fits {
            self.tell_wrong_index(reach, hint)?;
        }
        Ok(fits.then_some(scanner))
    }

    /// Says once that an index entry does not fit the log.
    fn tell_wrong_index(&self, reach: Reach, hint: OffsetEntry) -> Result<()> {
        if reach == Reach::Memory {
            // Finding the way without the index takes long.
            return Err(self.read_error("read", std::io::ErrorKind::WouldBlock.into()));
        }
        if !self.note_wrong_index() {
            tracing::warn!(
                file = %self.offset_index.file().path().display(), offset = hint.offset, position = hint.position,
                "an entry of an index does not fit the log where it points; it is passed by"
            );
        }
        Ok(())
    }

    /// Has the indexes built anew when there is time. Gives whether that was known.
    pub(crate) fn note_wrong_index(&self) -> bool {
        let known = self.index_is_wrong.swap(true, Ordering::AcqRel);
        self.dir.has_wrong_index.store(true, Ordering::Release);
        known
    }

    /// Walks to the first entry that holds `offset` or a later one. Where the offset lies between two entries, as after a compaction, the one before is checked: a flipped
    /// bit in its header can hide its records, too.
    fn walk_to(&self, reach: Reach, scanner: &mut EntryScanner, offset: i64, start: Start, end: &End) -> Result<Walk> {
        let (mut follows, hint) = match start {
            Start::Segment => (Some(self.base_offset), None),
            Start::Hint(last_offset) => (None, Some(last_offset)),
        };
        // The index names the last offset of an entry from here on: until that is seen it proves nothing.
        let mut hint_seen = hint.is_none();
        let (mut overlapping, mut before) = (None, None);
        while let Some(entry) = scanner.next_entry().map_err(|error| self.scan_error(error))? {
            if hint == Some(entry.last_offset) {
                hint_seen = true;
                follows = follows.or(Some(entry.base_offset));
            }
            hint_seen |= entry.batch.is_none();
            if entry.last_offset >= offset {
                if !hint_seen {
                    return Ok(Walk::HintIsWrong);
                }
                if entry.base_offset > offset {
                    self.check_passed(reach, before, overlapping.filter(|_| entry.batch.is_some()), scanner)?;
                }
                return Ok(Walk::Found(Some(Located { entry, follows })));
            }
            before = Some(entry);
            // Of two entries that overlap one is wrong, and what lies behind them says nothing.
            overlapping = follows.filter(|follows| *follows > entry.base_offset).map(|follows| {
                (entry.position, format!("offset {} does not follow {}", entry.base_offset, follows - 1))
            });
            follows = overlapping.is_none().then(|| entry.next_offset());
        }
        if !hint_seen {
            return Ok(Walk::HintIsWrong);
        }
        if offset < end.next_offset {
            self.check_passed(reach, before, overlapping, scanner)?;
        }
        Ok(Walk::Found(None))
    }

    /// Checks the entry that a walk passed last before an offset that it did not find. The offset may be that of the entry, whose own is wrong.
    fn check_passed(
        &self,
        reach: Reach,
        before: Option<Entry>,
        overlapping: Option<(u64, String)>,
        scanner: &mut EntryScanner,
    ) -> Result<()> {
        if let Some((position, why)) = overlapping {
            return Err(StorageError::Damaged { path: self.log.path(), position, why });
        }
        let Some(before) = before.filter(|before| !self.is_verified(before.position, before.end())) else {
            return Ok(());
        };
        if reach == Reach::Memory {
            return Err(self.read_error("check", std::io::ErrorKind::WouldBlock.into()));
        }
        scanner.check_crc(&before).map_err(|error| self.scan_error(error))
    }

    /// The last entry boundary at or before `limit`, not before `from`, which is one.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged on the way; `WouldBlock` by [`Reach::Memory`].
    pub(crate) fn boundary_before(&self, reach: Reach, from: u64, limit: u64, end: &End) -> Result<Boundary> {
        if limit >= end.size {
            return Ok(Boundary { position: end.size, next_offset: Some(end.next_offset) });
        }
        let hint = self.offset_index.lookup_position(reach, limit);
        if let Some(hint) = hint.map_err(|error| self.read_error("read index of", error))?
            && u64::from(hint.position) > from
            && let Some(scanner) = self.scan_from_hint(reach, hint, end)?
        {
            return self.walk_to_boundary(scanner, limit);
        }
        self.walk_to_boundary(self.scanner(reach, from, end.size)?, limit)
    }

    fn walk_to_boundary(&self, mut scanner: EntryScanner, limit: u64) -> Result<Boundary> {
        let mut boundary = Boundary { position: scanner.position(), next_offset: None };
        loop {
            match scanner.next_entry() {
                Ok(Some(entry)) if entry.end() > limit => {
                    return Ok(Boundary { next_offset: entry.batch.map(|batch| batch.base_offset.0), ..boundary });
                }
                Ok(Some(entry)) => {
                    boundary = Boundary { position: entry.end(), next_offset: Some(entry.next_offset()) };
                }
                // What lies before damage can be read.
                Ok(None) | Err(ScanError::Damaged { .. }) => return Ok(boundary),
                Err(error) => return Err(self.scan_error(error)),
            }
        }
    }

    pub(crate) fn scanner(&self, reach: Reach, from: u64, end: u64) -> Result<EntryScanner> {
        let file = self.log.open_within(reach).map_err(|error| self.read_error("open segment", error))?;
        Ok(EntryScanner::new(file, from, end, LOOKUP_WINDOW_BYTES).within(reach))
    }

    pub(crate) fn scan_error(&self, error: ScanError) -> StorageError {
        match error {
            ScanError::Io(error) => self.read_error("read", error),
            ScanError::Damaged { position, why } => StorageError::Damaged { path: self.log.path(), position, why },
        }
    }
}
