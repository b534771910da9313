//! Where the last reads of a log ended: a reader that goes on from there needs no index.

use std::sync::{Arc, Weak};

use crate::segment::Segment;

/// Reads remembered for each log.
const BOOKMARKS_MAX: usize = 4;

/// The last reads of one log, the latest last.
#[derive(Debug, Default)]
pub(crate) struct Bookmarks {
    /// How often the log had been cut when they were put in.
    cuts: u64,
    marks: Vec<Bookmark>,
}

#[derive(Debug)]
struct Bookmark {
    offset: i64,
    segment: Weak<Segment>,
    position: u64,
}

impl Bookmarks {
    /// Position of the entry that begins with `offset` in this segment.
    pub(crate) fn get(&self, offset: i64, segment: &Arc<Segment>, cuts: u64) -> Option<u64> {
        if self.cuts != cuts {
            return None;
        }
        self.marks.iter().rev().find(|mark| mark.is_at(offset, segment)).map(|mark| mark.position)
    }

    /// Remembers that the entry with `offset` begins at `position`; `cuts` is the count of when that was seen.
    pub(crate) fn put(&mut self, offset: i64, segment: &Arc<Segment>, position: u64, cuts: u64) {
        if cuts < self.cuts {
            return;
        }
        if cuts > self.cuts {
            self.marks.clear();
            self.cuts = cuts;
        }
        self.marks.retain(|mark| !mark.is_at(offset, segment));
        if self.marks.len() == BOOKMARKS_MAX {
            self.marks.remove(0);
        }
        self.marks.push(Bookmark { offset, segment: Arc::downgrade(segment), position });
    }
}

impl Bookmark {
    fn is_at(&self, offset: i64, segment: &Arc<Segment>) -> bool {
        self.offset == offset && std::ptr::eq(self.segment.as_ptr(), Arc::as_ptr(segment))
    }
}
