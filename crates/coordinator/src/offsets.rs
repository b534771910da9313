//! The offsets of one group: committed ones, those whose write is under way, and those of open transactions.
//!
//! Always true: a committed offset is never replaced by one that stands earlier in the log, in whatever order the writes are reported.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::record::OffsetValue;

/// Values by topic and partition; looked up without building a key.
#[derive(Debug, Clone)]
pub struct ByPartition<V> {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, V>>,
    len: usize,
}

impl<V> Default for ByPartition<V> {
    fn default() -> ByPartition<V> {
        ByPartition { topics: BTreeMap::new(), len: 0 }
    }
}

impl<V> ByPartition<V> {
    /// The value of a partition.
    #[must_use]
    pub fn get(&self, topic: &str, partition: i32) -> Option<&V> {
        self.topics.get(topic)?.get(&partition)
    }

    /// The value of a partition, to change it.
    pub fn get_mut(&mut self, topic: &str, partition: i32) -> Option<&mut V> {
        self.topics.get_mut(topic)?.get_mut(&partition)
    }

    /// Sets the value of a partition.
    pub fn insert(&mut self, topic: &str, partition: i32, value: V) {
        let partitions = match self.topics.get_mut(topic) {
            Some(partitions) => partitions,
            None => self.topics.entry(Arc::from(topic)).or_default(),
        };
        if partitions.insert(partition, value).is_none() {
            self.len += 1;
        }
    }

    /// Takes the value of a partition out.
    pub fn remove(&mut self, topic: &str, partition: i32) -> Option<V> {
        let partitions = self.topics.get_mut(topic)?;
        let value = partitions.remove(&partition)?;
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
        self.len -= 1;
        Some(value)
    }

    /// All values, by rising topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &V)> {
        self.topics
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |(partition, value)| (topic, *partition, value)))
    }

    /// Topics with their partitions.
    pub fn topics(&self) -> impl Iterator<Item = (&Arc<str>, &BTreeMap<i32, V>)> {
        self.topics.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// An offset with the place of its record in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Offset of the record in `__consumer_offsets`.
    pub log_offset: i64,
    /// The offset.
    pub value: OffsetValue,
}

/// The offsets of one group.
#[derive(Debug, Clone, Default)]
pub struct OffsetStore {
    committed: ByPartition<Stored>,
    /// Writes under way, counted by partition.
    pending: ByPartition<u32>,
    /// Offsets of open transactions, by producer id.
    open_transactions: BTreeMap<i64, ByPartition<Stored>>,
}

impl OffsetStore {
    /// The committed offset of a partition.
    #[must_use]
    pub fn get(&self, topic: &str, partition: i32) -> Option<&OffsetValue> {
        self.committed.get(topic, partition).map(|stored| &stored.value)
    }

    /// All committed offsets.
    #[must_use]
    pub fn committed(&self) -> &ByPartition<Stored> {
        &self.committed
    }

    /// Whether there is nothing to keep the group for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty() && self.open_transactions.is_empty()
    }

    /// Whether a write or a transaction is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.pending.is_empty() || !self.open_transactions.is_empty()
    }

    /// Whether the partition's offset may change by a write or a transaction that is under way (KIP-447).
    #[must_use]
    pub fn is_unstable(&self, topic: &str, partition: i32) -> bool {
        self.is_pending(topic, partition)
            || self.open_transactions.values().any(|offsets| offsets.get(topic, partition).is_some())
    }

    /// Whether a commit of the partition is under way.
    #[must_use]
    pub fn is_pending(&self, topic: &str, partition: i32) -> bool {
        self.pending.get(topic, partition).is_some()
    }

    /// A commit is under way.
    pub fn begin(&mut self, topic: &str, partition: i32) {
        match self.pending.get_mut(topic, partition) {
            Some(count) => *count += 1,
            None => self.pending.insert(topic, partition, 1),
        }
    }

    /// A commit has ended, well or not.
    pub fn end(&mut self, topic: &str, partition: i32) {
        match self.pending.get_mut(topic, partition) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.pending.remove(topic, partition);
            }
        }
    }

    /// An offset stands in the log.
    pub fn insert(&mut self, topic: &str, partition: i32, stored: Stored) {
        match self.committed.get_mut(topic, partition) {
            Some(present) if present.log_offset > stored.log_offset => {}
            Some(present) => *present = stored,
            None => self.committed.insert(topic, partition, stored),
        }
    }

    /// A tombstone for a partition stands in the log at `log_offset`. True if it removed an offset.
    pub fn remove(&mut self, topic: &str, partition: i32, log_offset: i64) -> bool {
        match self.committed.get(topic, partition) {
            Some(present) if present.log_offset <= log_offset => {
                self.committed.remove(topic, partition);
                true
            }
            _ => false,
        }
    }

    /// An offset of an open transaction stands in the log.
    pub fn insert_transactional(&mut self, producer_id: i64, topic: &str, partition: i32, stored: Stored) {
        self.open_transactions.entry(producer_id).or_default().insert(topic, partition, stored);
    }

    /// A tombstone of an open transaction stands in the log.
    pub fn remove_transactional(&mut self, producer_id: i64, topic: &str, partition: i32) {
        if let Some(offsets) = self.open_transactions.get_mut(&producer_id) {
            offsets.remove(topic, partition);
            if offsets.is_empty() {
                self.open_transactions.remove(&producer_id);
            }
        }
    }

    /// A transaction has ended.
    pub fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        let Some(offsets) = self.open_transactions.remove(&producer_id) else { return };
        if commit {
            for (topic, partitions) in offsets.topics {
                for (partition, stored) in partitions {
                    self.insert(&topic, partition, stored);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(log_offset: i64, offset: i64) -> Stored {
        let value =
            OffsetValue { offset, leader_epoch: -1, metadata: "".into(), commit_timestamp: 0, expire_timestamp: None };
        Stored { log_offset, value }
    }

    #[test]
    fn the_log_decides_which_commit_is_newer() {
        let mut store = OffsetStore::default();
        store.insert("t", 0, stored(7, 70));
        store.insert("t", 0, stored(5, 50));
        assert_eq!(store.get("t", 0).map(|value| value.offset), Some(70));
        assert!(!store.remove("t", 0, 6));
        assert!(store.remove("t", 0, 8));
        assert!(store.is_empty());
    }

    #[test]
    fn a_transaction_counts_when_it_commits() {
        let mut store = OffsetStore::default();
        store.insert_transactional(9, "t", 0, stored(1, 10));
        store.insert_transactional(8, "t", 1, stored(2, 20));
        assert_eq!(store.get("t", 0), None);
        assert!(store.is_unstable("t", 0));
        store.end_transaction(9, true);
        store.end_transaction(8, false);
        assert_eq!(store.get("t", 0).map(|value| value.offset), Some(10));
        assert_eq!(store.get("t", 1), None);
        assert!(!store.is_unstable("t", 0));
    }

    #[test]
    fn two_commits_under_way_end_one_by_one() {
        let mut store = OffsetStore::default();
        store.begin("t", 0);
        store.begin("t", 0);
        store.end("t", 0);
        assert!(store.is_pending("t", 0));
        store.end("t", 0);
        assert!(!store.is_pending("t", 0));
    }
}
