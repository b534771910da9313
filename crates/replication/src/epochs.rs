//! Leader epochs and where each began, and what a follower cuts off its log because of them (KIP-101, KIP-279, KIP-320; Kafka `LeaderEpochFileCache`,
//! `AbstractFetcherThread.getOffsetTruncationState`).
//!
//! A log is a sequence of runs, one per leader epoch. Two replicas agree exactly up to the end of the last run they share, which is therefore where a
//! follower truncates to, and never to the high watermark.

use protocol::types::{LeaderEpoch, Offset};

/// The first offset that was written in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Where its records begin.
    pub start_offset: Offset,
}

/// An epoch and the offset after its last record, which is how a leader answers OffsetsForLeaderEpoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch of the log that is not larger than the one asked for.
    pub epoch: LeaderEpoch,
    /// Start of the next epoch, or the log end.
    pub end_offset: Offset,
}

/// All epochs of a log. Entries rise strictly in both columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EpochCache {
    entries: Vec<EpochEntry>,
}

impl EpochCache {
    /// A log without epochs.
    #[must_use]
    pub fn new() -> EpochCache {
        EpochCache::default()
    }

    /// Takes entries read from a checkpoint, in any order; later ones win over what they contradict.
    #[must_use]
    pub fn from_entries(mut entries: Vec<EpochEntry>) -> EpochCache {
        entries.sort_by_key(|entry| entry.epoch);
        let mut cache = EpochCache::new();
        for entry in entries {
            cache.assign(entry.epoch, entry.start_offset);
        }
        cache
    }

    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// Notes that records from `start_offset` on belong to `epoch`; returns whether that was news. Entries it contradicts go: a leader that begins an epoch
    /// where an older one wrote nothing leaves no trace of the older one.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        let known = self.entries.last().is_some_and(|last| last.epoch == epoch && start_offset >= last.start_offset);
        if known || epoch < LeaderEpoch(0) || start_offset < Offset::ZERO {
            return false;
        }
        self.entries.retain(|entry| entry.epoch < epoch && entry.start_offset < start_offset);
        self.entries.push(EpochEntry { epoch, start_offset });
        self.assert_rising();
        true
    }

    /// Where `requested` ends in a log that ends at `log_end`: the leader's answer to OffsetsForLeaderEpoch. `None` when the epoch is newer than all known
    /// ones, or no epoch at all.
    #[must_use]
    pub fn end_offset_for(&self, requested: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        if requested < LeaderEpoch(0) {
            return None;
        }
        if self.latest() == Some(requested) {
            return Some(EpochEnd { epoch: requested, end_offset: log_end });
        }
        let higher = self.entries.iter().position(|entry| entry.epoch > requested)?;
        let end_offset = self.entries[higher].start_offset;
        // Below the oldest epoch everything that was written in it is gone, so it ends where the log's epochs begin.
        let epoch = if higher == 0 { requested } else { self.entries[higher - 1].epoch };
        Some(EpochEnd { epoch, end_offset })
    }

    /// The epoch that wrote the record at `offset`.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.entries.iter().rev().find(|entry| entry.start_offset <= offset).map(|entry| entry.epoch)
    }

    /// Follows a truncation of the log to `end_offset`.
    pub fn truncate_from_end(&mut self, end_offset: Offset) {
        self.entries.retain(|entry| entry.start_offset < end_offset);
    }

    /// Follows the removal of all records before `start_offset`: the epoch of the first record left now begins with it.
    pub fn truncate_from_start(&mut self, start_offset: Offset) {
        let gone = self.entries.iter().take_while(|entry| entry.start_offset <= start_offset).count();
        if gone > 0 {
            self.entries.drain(..gone - 1);
            self.entries[0].start_offset = start_offset;
        }
        self.assert_rising();
    }

    fn assert_rising(&self) {
        let rises = |pair: &[EpochEntry]| pair[0].epoch < pair[1].epoch && pair[0].start_offset < pair[1].start_offset;
        assert!(self.entries.windows(2).all(rises), "epochs and their start offsets rise together: {:?}", self.entries);
    }
}

/// How far a follower cuts its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    /// New log end; never beyond the old one.
    pub offset: Offset,
    /// Whether the follower may fetch now. If not, it asks the leader again about the epoch that is its latest after the cut.
    pub complete: bool,
}

/// What a follower cuts off, given the leader's answer about its latest epoch, be it from OffsetsForLeaderEpoch or from `divergingEpoch` of
/// a Fetch. `own` is the follower's own answer about the epoch that the leader names. An answer without epoch or offset (-1) comes from leaders that keep none.
#[must_use]
pub fn truncation(
    own: impl FnOnce(LeaderEpoch) -> Option<EpochEnd>,
    log_end: Offset,
    high_watermark: Offset,
    leader: EpochEnd,
) -> Truncation {
    let complete = |offset: Offset| Truncation { offset: offset.min(log_end), complete: true };
    if leader.end_offset < Offset::ZERO {
        // The leader's log has no epochs to compare by, which leaves only what is known to be committed.
        return complete(high_watermark);
    }
    if leader.epoch < LeaderEpoch(0) {
        return complete(leader.end_offset);
    }
    match own(leader.epoch) {
        // Our epochs are all older than the leader's answer, or there are none.
        None => complete(leader.end_offset),
        Some(ours) if ours.epoch == leader.epoch => complete(ours.end_offset.min(leader.end_offset)),
        // We never saw the epoch the leader answers with: our run of the next older one is still to be compared.
        Some(ours) => Truncation { offset: ours.end_offset.min(log_end), complete: false },
    }
}

/// What a leader finds when a Fetch (v12 on) names the epoch of the last record its sender has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Divergence {
    /// The sender's log is a prefix of ours: serve it.
    None,
    /// The logs part before the fetch offset: answer `divergingEpoch` and no records.
    At(EpochEnd),
    /// We know no epoch to compare by: answer OFFSET_OUT_OF_RANGE (1), as Kafka does.
    Unknown,
}

/// Compares a fetch position with the leader's epochs (Kafka `Partition.readRecords`). `last_fetched` below 0 means that the sender names none.
#[must_use]
pub fn divergence(leader: &EpochCache, log_end: Offset, last_fetched: LeaderEpoch, fetch_offset: Offset) -> Divergence {
    if last_fetched < LeaderEpoch(0) {
        return Divergence::None;
    }
    match leader.end_offset_for(last_fetched, log_end) {
        None => Divergence::Unknown,
        Some(end) if end.epoch < last_fetched || end.end_offset < fetch_offset => Divergence::At(end),
        Some(_) => Divergence::None,
    }
}

#[cfg(test)]
mod tests;
