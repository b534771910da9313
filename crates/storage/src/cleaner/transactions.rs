//! What the cleaner must know of transactions (Kafka `CleanedTransactionMetadata`): which were aborted, and which markers still have records to
//! speak for.

use std::collections::{HashMap, HashSet};

use protocol::records::BatchHeader;
use protocol::records::batch::ControlMarker;

/// Aborted transactions remembered in one pass; the pass ends before the next one.
pub const ABORTED_MAX: usize = 1 << 20;

/// What a walk over the headers of the dirty part finds.
#[derive(Debug, Default)]
pub struct Survey {
    /// Producer of each open transaction, with its first offset.
    open: HashMap<i64, i64>,
    aborted: HashMap<i64, Vec<(i64, i64)>>,
    aborted_count: usize,
    /// Records seen; an upper bound of keys.
    records: u64,
}

impl Survey {
    /// Notes a batch. `false` where no more may be noted.
    pub fn note(&mut self, header: &BatchHeader, marker: Option<ControlMarker>) -> bool {
        let offset = header.base_offset.0;
        if header.is_control() {
            let started = match marker {
                Some(ControlMarker::Abort { .. } | ControlMarker::Commit { .. }) => {
                    self.open.remove(&header.producer_id)
                }
                _ => None,
            };
            if let (Some(started), Some(ControlMarker::Abort { .. })) = (started, marker) {
                self.aborted.entry(header.producer_id).or_default().push((started, offset));
                self.aborted_count += 1;
            }
            return self.aborted_count < ABORTED_MAX;
        }
        if header.is_transactional() {
            self.open.entry(header.producer_id).or_insert(offset);
        }
        self.note_records(u64::from(header.records_count.unsigned_abs()));
        true
    }

    /// Notes records of formats without transactions.
    pub fn note_records(&mut self, records: u64) {
        self.records = self.records.saturating_add(records);
    }

    /// Records seen.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// First offset of the transactions whose fate is not known: nothing from there on may be cleaned. A transaction below the last stable
    /// offset is decided, but its marker may lie beyond what was walked over.
    #[must_use]
    pub fn first_open(&self) -> Option<i64> {
        self.open.values().min().copied()
    }

    /// What the rewriting needs.
    #[must_use]
    pub fn into_transactions(self) -> Transactions {
        Transactions { aborted: self.aborted, seen: HashSet::new() }
    }
}

/// The transactions of a log while it is rewritten from its beginning on.
#[derive(Debug, Default)]
pub struct Transactions {
    /// First offset of each aborted transaction of a producer, and offset of its marker; rising.
    aborted: HashMap<i64, Vec<(i64, i64)>>,
    /// Producers of whose transaction a batch was met since their last marker.
    seen: HashSet<i64>,
}

impl Transactions {
    /// Whether a batch belongs to an aborted transaction.
    #[must_use]
    pub fn is_aborted(&self, header: &BatchHeader) -> bool {
        let offset = header.base_offset.0;
        header.is_transactional()
            && !header.is_control()
            && self.aborted.get(&header.producer_id).is_some_and(|aborted| {
                let after = aborted.partition_point(|(first, _)| *first <= offset);
                after > 0 && offset < aborted[after - 1].1
            })
    }

    /// Meets a batch on the way through the log. For the marker of a transaction, whether none of its batches is left.
    pub fn meet(&mut self, header: &BatchHeader) -> bool {
        if header.is_control() {
            return !self.seen.remove(&header.producer_id);
        }
        if header.is_transactional() {
            self.seen.insert(header.producer_id);
        }
        false
    }
}
