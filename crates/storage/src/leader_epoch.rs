//! Which leader epoch began at which offset: what followers compare to find where two logs part (KIP-101, KIP-279, KIP-320).
//!
//! Always true: epochs rise strictly from entry to entry and start offsets never fall; before a batch is written, `leader-epoch-checkpoint` says all that memory says
//! ([`LeaderEpochCache::write_out`]). Until then an epoch that begins at the end of the log, or that was cut off there, is in memory alone: no record knows of it, and a start
//! drops whatever begins at the end. So a change of leader costs 10,000 logs no write.

use std::path::PathBuf;
use std::sync::Arc;

use protocol::types::{LeaderEpoch, Offset};

use crate::checkpoints::{self, LEADER_EPOCH_FILE};
use crate::error::Result;
use crate::log_dir::{self, PartitionDir};

/// The epochs of one log.
#[derive(Debug)]
pub struct LeaderEpochCache {
    dir: Arc<PartitionDir>,
    known: KnownEpochs,
    /// The file says something else than memory.
    unwritten: bool,
}

/// What is known of the epochs of a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownEpochs {
    /// Epoch and start offset.
    entries: Vec<(i32, i64)>,
    /// Whether this program wrote them all: those that another one left are believed only where batches bear them out.
    pub(crate) vouched: bool,
}

impl KnownEpochs {
    /// The epoch that `offset` was written in.
    pub(crate) fn at(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|entry| entry.1 <= offset);
        after.checked_sub(1).map(|at| self.entries[at].0)
    }
}

impl LeaderEpochCache {
    /// Reads the file; an absent one is empty.
    ///
    /// # Errors
    /// The file cannot be read, or does not parse.
    pub fn load(dir: &Arc<PartitionDir>) -> Result<LeaderEpochCache> {
        let (entries, vouched) = checkpoints::read_epochs_vouched(dir.disk(), &dir.file(LEADER_EPOCH_FILE))?;
        let vouched = vouched || entries.is_empty();
        Ok(LeaderEpochCache { dir: dir.clone(), known: KnownEpochs { entries, vouched }, unwritten: false })
    }

    /// Of a new log: nothing is known, and there is no file.
    pub(crate) fn new(dir: &Arc<PartitionDir>) -> LeaderEpochCache {
        let known = KnownEpochs { entries: Vec::new(), vouched: true };
        LeaderEpochCache { dir: dir.clone(), known, unwritten: false }
    }

    /// Writes the file anew.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn rebuild(dir: &Arc<PartitionDir>, entries: &[(i32, i64)]) -> Result<LeaderEpochCache> {
        let mut cache = LeaderEpochCache::new(dir);
        cache.replace(entries.to_vec())?;
        Ok(cache)
    }

    /// The entries, as epoch and start offset.
    #[must_use]
    pub fn entries(&self) -> &[(i32, i64)] {
        &self.known.entries
    }

    /// What is known, to go by without holding the cache.
    pub(crate) fn known(&self) -> KnownEpochs {
        self.known.clone()
    }

    /// The latest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.known.entries.last().map(|entry| LeaderEpoch(entry.0))
    }

    /// The epoch that `offset` was written in.
    #[must_use]
    pub fn epoch_of(&self, offset: i64) -> Option<LeaderEpoch> {
        self.known.at(offset).map(LeaderEpoch)
    }

    /// Whether [`LeaderEpochCache::assign`] would change anything.
    #[must_use]
    pub fn is_new(&self, epoch: i32, start: i64) -> bool {
        epoch >= 0 && start >= 0 && self.known.entries.last().is_none_or(|last| epoch != last.0 || start < last.1)
    }

    /// Notes, in memory, that a record of `epoch` stands at `start`, where the epoch begins unless it is known to have begun before. Entries that contradict it (a later
    /// epoch, or another one's start not before it) go.
    pub fn assign(&mut self, epoch: i32, start: i64) {
        if !self.is_new(epoch, start) {
            return;
        }
        let entries = &mut self.known.entries;
        entries.retain(|entry| (entry.0 < epoch && entry.1 < start) || (entry.0 == epoch && entry.1 <= start));
        if entries.last().is_none_or(|last| last.0 != epoch) {
            entries.push((epoch, start));
        }
        self.unwritten = true;
    }

    /// Whether the file says something else than memory.
    #[must_use]
    pub fn is_unwritten(&self) -> bool {
        self.unwritten
    }

    /// Writes the file, where it says something else than memory.
    ///
    /// # Errors
    /// The file cannot be written; it is tried again the next time.
    pub fn write_out(&mut self) -> Result<()> {
        if self.unwritten { self.replace(self.known.entries.clone()) } else { Ok(()) }
    }

    /// Where the last record of `requested` or of the nearest earlier epoch ends, for a log that ends at `log_end`: Kafka's
    /// `LeaderEpochFileCache.endOffsetFor`. `None` where the log knows no epoch as late as `requested`.
    #[must_use]
    pub fn end_offset_for(&self, requested: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        if requested.0 < 0 {
            return None;
        }
        if self.latest() == Some(requested) {
            return Some((requested, log_end));
        }
        let higher = self.known.entries.partition_point(|entry| entry.0 <= requested.0);
        let next = self.known.entries.get(higher)?;
        let epoch = higher.checked_sub(1).map_or(requested, |at| LeaderEpoch(self.known.entries[at].0));
        Some((epoch, Offset(next.1)))
    }

    /// Forgets, in memory, epochs that begin at `end` or later: the log ends there, and the cut that made it end there is on disk.
    pub fn truncate_from_end(&mut self, end: i64) {
        let kept = self.known.entries.partition_point(|entry| entry.1 < end);
        self.unwritten |= kept < self.known.entries.len();
        self.known.entries.truncate(kept);
    }

    /// Forgets epochs that end at or before `start`; the one that holds `start` begins there now.
    ///
    /// # Errors
    /// The file cannot be written; memory is as it was.
    pub fn truncate_from_start(&mut self, start: i64) -> Result<()> {
        let covered = self.known.entries.partition_point(|entry| entry.1 <= start);
        if covered == 0 || (covered == 1 && self.known.entries[0].1 == start) {
            return Ok(());
        }
        let mut entries = self.known.entries[covered - 1..].to_vec();
        entries[0].1 = start;
        self.replace(entries)
    }

    /// Forgets all.
    ///
    /// # Errors
    /// The file cannot be written; memory is as it was.
    pub fn clear(&mut self) -> Result<()> {
        if self.known.entries.is_empty() && !self.unwritten { Ok(()) } else { self.replace(Vec::new()) }
    }

    fn replace(&mut self, entries: Vec<(i32, i64)>) -> Result<()> {
        let path = self.path();
        checkpoints::write_epochs(self.dir.disk(), &path, &entries, self.known.vouched)
            .map_err(|error| log_dir::judge(self.dir.log_dir(), &path, error))?;
        self.known.entries = entries;
        self.unwritten = false;
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.dir.file(LEADER_EPOCH_FILE)
    }
}

#[cfg(test)]
mod tests {
    use runtime::Disk;

    use super::*;
    use crate::log_dir::LogDir;

    fn cache(directory: &tempfile::TempDir, entries: &[(i32, i64)]) -> LeaderEpochCache {
        let path = directory.path().join(LEADER_EPOCH_FILE);
        checkpoints::write_epochs(Disk::real(), &path, entries, true).unwrap();
        let log_dir = Arc::new(LogDir::new(directory.path().to_owned(), Disk::real()));
        LeaderEpochCache::load(&Arc::new(PartitionDir::new(log_dir, directory.path().to_owned()))).unwrap()
    }

    fn stored(directory: &tempfile::TempDir) -> Vec<(i32, i64)> {
        checkpoints::read_epochs(Disk::real(), &directory.path().join(LEADER_EPOCH_FILE)).unwrap()
    }

    #[test]
    fn assigning_keeps_both_columns_rising_and_the_file_in_step() {
        let check = |before: &[(i32, i64)], (epoch, start): (i32, i64), after: &[(i32, i64)]| {
            let directory = tempfile::tempdir().unwrap();
            let mut cache = cache(&directory, before);
            cache.assign(epoch, start);
            assert_eq!(cache.entries(), after, "{before:?} + ({epoch}, {start})");
            assert_eq!(stored(&directory), before, "only memory knows yet");
            assert_eq!(cache.is_unwritten(), before != after);
            cache.write_out().unwrap();
            assert_eq!(stored(&directory), after);
        };
        check(&[], (0, 0), &[(0, 0)]);
        check(&[(0, 0)], (0, 5), &[(0, 0)]);
        check(&[(0, 0)], (2, 5), &[(0, 0), (2, 5)]);
        check(&[(0, 0), (1, 62), (5, 143)], (1, 72), &[(0, 0), (1, 62)]);
        check(&[(0, 0), (2, 5)], (3, 5), &[(0, 0), (3, 5)]);
        check(&[(0, 0), (2, 5)], (1, 9), &[(0, 0), (1, 9)]);
        check(&[(0, 0), (2, 5), (3, 9)], (2, 2), &[(0, 0), (2, 2)]);
        check(&[(0, 0)], (-1, 5), &[(0, 0)]);
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(&directory, &[(2, 10), (4, 20), (7, 30)]);
        let check = |requested: i32, expected: Option<(i32, i64)>| {
            let expected = expected.map(|(epoch, end)| (LeaderEpoch(epoch), Offset(end)));
            assert_eq!(cache.end_offset_for(LeaderEpoch(requested), Offset(40)), expected, "epoch {requested}");
        };
        check(-1, None);
        check(0, Some((0, 10)));
        check(2, Some((2, 20)));
        check(3, Some((2, 20)));
        check(4, Some((4, 30)));
        check(6, Some((4, 30)));
        check(7, Some((7, 40)));
        check(8, None);
        assert_eq!(cache.epoch_of(9), None);
        assert_eq!(cache.epoch_of(29), Some(LeaderEpoch(4)));
        assert_eq!(cache.epoch_of(99), Some(LeaderEpoch(7)));
    }

    #[test]
    fn cutting_either_end_of_the_log_cuts_the_epochs() {
        let directory = tempfile::tempdir().unwrap();
        let mut cache = cache(&directory, &[(2, 10), (4, 20), (7, 30)]);
        cache.truncate_from_end(30);
        assert_eq!(cache.entries(), [(2, 10), (4, 20)]);
        assert_eq!(stored(&directory), [(2, 10), (4, 20), (7, 30)]);
        cache.write_out().unwrap();
        assert_eq!(stored(&directory), [(2, 10), (4, 20)]);
        cache.truncate_from_start(15).unwrap();
        assert_eq!(cache.entries(), [(2, 15), (4, 20)]);
        cache.truncate_from_start(20).unwrap();
        assert_eq!(stored(&directory), [(4, 20)]);
        cache.clear().unwrap();
        assert_eq!(stored(&directory), []);
    }
}
