//! The hash table that merges values by key. Entries lie in the order in which their keys were first met, so results are the same in every
//! run; the table holds only their numbers.

use std::hash::{BuildHasher, Hash};

use foldhash::quality::FixedState;
use hashbrown::HashTable;

use crate::error::TaskError;

/// Fixed, so that a key lies in the same partition in every batch and every run.
const SEED: u64 = 0x7469_6465_6d69_6c6c;

/// Hash by which keys are partitioned and found.
pub(crate) fn hash_key<K: Hash + ?Sized>(key: &K) -> u64 {
    FixedState::with_seed(SEED).hash_one(key)
}

/// Partition of a hash: the upper half decides, the lower half is left to the table within the partition.
pub(crate) fn partition_of_hash(hash: u64, partitions: usize) -> usize {
    (((hash >> 32) * partitions as u64) >> 32) as usize
}

/// Values merged by key.
pub(crate) struct Combiner<K, C> {
    entries: Vec<Entry<K, C>>,
    numbers: HashTable<u32>,
}

struct Entry<K, C> {
    hash: u64,
    key: K,
    /// Empty only while the user's function has it.
    value: Option<C>,
}

impl<K: Hash + Eq, C> Combiner<K, C> {
    pub(crate) fn new() -> Combiner<K, C> {
        Combiner { entries: Vec::new(), numbers: HashTable::new() }
    }

    /// Adds `item` to the value of `key`: `create` makes the first, `merge` adds to one that is there.
    pub(crate) fn add<V>(
        &mut self,
        hash: u64,
        key: K,
        item: V,
        create: impl FnOnce(V) -> Result<C, TaskError>,
        merge: impl FnOnce(C, V) -> Result<C, TaskError>,
    ) -> Result<(), TaskError> {
        let entries = &mut self.entries;
        let found = self.numbers.find(hash, |&number| {
            let entry = &entries[number as usize];
            entry.hash == hash && entry.key == key
        });
        if let Some(&number) = found {
            let slot = &mut entries[number as usize].value;
            let value = slot.take().ok_or_else(|| TaskError::message("a value was lost when a merge failed before"))?;
            *slot = Some(merge(value, item)?);
            return Ok(());
        }
        let number = u32::try_from(entries.len())
            .map_err(|_too_many| TaskError::message("more than 4294967295 distinct keys in one partition"))?;
        let value = Some(create(item)?);
        entries.push(Entry { hash, key, value });
        self.numbers.insert_unique(hash, number, |&number| entries[number as usize].hash);
        Ok(())
    }

    /// The value of `key`, made by `create` where there is none.
    pub(crate) fn value_mut(&mut self, hash: u64, key: K, create: impl FnOnce() -> C) -> Result<&mut C, TaskError> {
        let entries = &mut self.entries;
        let found = self.numbers.find(hash, |&number| {
            let entry = &entries[number as usize];
            entry.hash == hash && entry.key == key
        });
        let number = match found {
            Some(&number) => number as usize,
            None => {
                let number = u32::try_from(entries.len())
                    .map_err(|_too_many| TaskError::message("more than 4294967295 distinct keys in one partition"))?;
                entries.push(Entry { hash, key, value: None });
                self.numbers.insert_unique(hash, number, |&number| entries[number as usize].hash);
                number as usize
            }
        };
        Ok(entries[number].value.get_or_insert_with(create))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Keys and values in the order of first meeting.
    pub(crate) fn into_pairs(self) -> impl Iterator<Item = (K, C)> {
        self.entries.into_iter().filter_map(|entry| Some((entry.key, entry.value?)))
    }

    /// The same with each key's hash.
    pub(crate) fn into_hashed(self) -> impl Iterator<Item = (u64, K, C)> {
        self.entries.into_iter().filter_map(|entry| Some((entry.hash, entry.key, entry.value?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_the_order_of_first_meeting() {
        let mut combiner = Combiner::new();
        for word in ["b", "a", "b", "c", "a", "b"] {
            combiner.add(hash_key(word), word, 1, Ok, |a, b| Ok(a + b)).unwrap();
        }
        assert_eq!(combiner.into_pairs().collect::<Vec<_>>(), vec![("b", 3), ("a", 2), ("c", 1)]);
    }

    #[test]
    fn many_keys_survive_the_growth_of_the_table() {
        let mut combiner = Combiner::new();
        for n in 0..20_000u32 {
            let key = n % 10_000;
            combiner.add(hash_key(&key), key, 1, Ok, |a, b| Ok(a + b)).unwrap();
        }
        assert_eq!(combiner.len(), 10_000);
        assert!(combiner.into_pairs().enumerate().all(|(i, (key, count))| key == i as u32 && count == 2));
    }

    #[test]
    fn partitions_are_used_evenly() {
        let mut sizes = [0; 7];
        for n in 0..7000u32 {
            sizes[partition_of_hash(hash_key(&n), 7)] += 1;
        }
        assert!(sizes.iter().all(|size| (800..1200).contains(size)), "{sizes:?}");
    }
}
