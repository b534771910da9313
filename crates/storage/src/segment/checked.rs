//! Which bytes of a segment were checked since the start: nothing that came from the disk unchecked is served.
//!
//! What is appended is checked on its way in, so only the bytes that a start found need it, each once. Readers go through a log in order, so a few ranges say it all.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Ranges remembered of one segment; beyond, the shortest is forgotten and checked again when it is read.
const RANGES_MAX: usize = 64;

/// The checked bytes of one segment.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Everything from here on was checked when it was appended.
    found_below: AtomicU64,
    /// What was checked below, in order, apart from each other.
    ranges: Mutex<Vec<Range<u64>>>,
}

impl Checked {
    /// A segment of which the first `found` bytes were there at the start.
    pub(crate) fn new(found: u64) -> Checked {
        Checked { found_below: AtomicU64::new(found), ranges: Mutex::new(Vec::new()) }
    }

    /// Whether all of a range was checked.
    pub(crate) fn holds(&self, range: &Range<u64>) -> bool {
        let found_below = self.found_below();
        if range.start >= found_below {
            return true;
        }
        let end = range.end.min(found_below);
        self.ranges.lock().iter().any(|checked| checked.start <= range.start && end <= checked.end)
    }

    /// End of the bytes that a start found.
    pub(crate) fn found_below(&self) -> u64 {
        self.found_below.load(Ordering::Acquire)
    }

    /// Notes that a range was checked.
    pub(crate) fn note(&self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut ranges = self.ranges.lock();
        let mut merged = range;
        ranges.retain(|known| {
            let apart = known.end < merged.start || merged.end < known.start;
            if !apart {
                merged = known.start.min(merged.start)..known.end.max(merged.end);
            }
            apart
        });
        if ranges.len() >= RANGES_MAX
            && let Some(shortest) = (0..ranges.len()).min_by_key(|at| ranges[*at].end - ranges[*at].start)
        {
            ranges.remove(shortest);
        }
        let at = ranges.partition_point(|known| known.end < merged.start);
        ranges.insert(at, merged);
    }

    /// Notes that the whole segment was checked.
    pub(crate) fn note_all(&self) {
        self.found_below.store(0, Ordering::Release);
        *self.ranges.lock() = Vec::new();
    }

    /// The segment was cut: what comes at `size` and beyond is new.
    pub(crate) fn cut(&self, size: u64) {
        self.found_below.fetch_min(size, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_together_and_stay_few() {
        let checked = Checked::new(10_000);
        assert!(checked.holds(&(10_000..20_000)) && !checked.holds(&(9_999..20_000)));
        checked.note(100..200);
        checked.note(300..400);
        checked.note(5_000..10_000);
        let check = |range: Range<u64>, expected: bool| assert_eq!(checked.holds(&range), expected, "{range:?}");
        check(100..200, true);
        check(150..250, false);
        check(200..300, false);
        check(6_000..12_000, true);
        checked.note(200..300);
        check(100..400, true);
        for at in 0..1_000 {
            checked.note(400 + at * 4..401 + at * 4);
        }
        assert!(checked.ranges.lock().len() <= RANGES_MAX);
        check(100..400, true);
        check(5_000..10_000, true);
        checked.cut(150);
        check(120..160, true);
        check(90..110, false);
        checked.note_all();
        check(0..1, true);
    }
}
