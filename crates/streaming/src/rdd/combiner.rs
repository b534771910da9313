//! The hash table that merges values by key. Entries lie in the order in which their keys were first met, so results are the same in every
//! run; the table holds only their numbers.

use std::hash::{BuildHasher, Hash};

use foldhash::quality::FixedState;
use hashbrown::HashTable;

use crate::error::TaskError;

/// Fixed, so that a key lies in the same partition in every batch and every run.
const SEED: u64 = 0x7469_6465_6d69_6c6c;

/// Hash by which keys are partitioned and found.
#[inline]
pub(crate) fn hash_key<K: Hash + ?Sized>(key: &K) -> u64 {
    FixedState::with_seed(SEED).hash_one(key)
}

/// Partition of a hash: the upper half decides, the lower half is left to the table within the partition.
#[inline]
pub(crate) fn partition_of_hash(hash: u64, partitions: usize) -> usize {
    (((hash >> 32) * partitions as u64) >> 32) as usize
}

/// Values merged by key.
pub(crate) struct Combiner<K, C> {
    entries: Vec<Entry<K, C>>,
    /// Of the entries, apart from them: needed only where the table grows and at the end, they would take room in the processor's caches.
    hashes: Vec<u64>,
    numbers: HashTable<u32>,
}

struct Entry<K, C> {
    key: K,
    /// Empty only while the user's function has it.
    value: Option<C>,
}

/// A key and a value with the key's hash.
pub(crate) type Hashed<K, C> = (u64, K, C);

/// Items that are added at a time: as many as the loads that a processor can have under way, a few times over.
pub(crate) const TOGETHER: usize = 64;

impl<K, C> Entry<K, C> {
    #[inline]
    fn merge<V>(&mut self, item: V, merge: impl FnOnce(C, V) -> Result<C, TaskError>) -> Result<(), TaskError> {
        let value =
            self.value.take().ok_or_else(|| TaskError::message("a value was lost when a merge failed before"))?;
        self.value = Some(merge(value, item)?);
        Ok(())
    }
}

impl<K: Hash + Eq, C> Combiner<K, C> {
    pub(crate) fn new() -> Combiner<K, C> {
        Combiner { entries: Vec::new(), hashes: Vec::new(), numbers: HashTable::new() }
    }

    /// Adds `item` to the value of `key`: `create` makes the first, `merge` adds to one that is there.
    #[inline]
    pub(crate) fn add<V>(
        &mut self,
        hash: u64,
        key: K,
        item: V,
        create: impl FnOnce(V) -> Result<C, TaskError>,
        merge: impl FnOnce(C, V) -> Result<C, TaskError>,
    ) -> Result<(), TaskError> {
        if let Some(entry) = self.find(hash, &key) {
            return entry.merge(item, merge);
        }
        let value = create(item)?;
        self.insert(hash, key, Some(value)).map(|_entry| ())
    }

    /// [`Combiner::add`] of [`TOGETHER`] items or fewer, which leave `items`. Their entries are looked for before any is changed, so that the
    /// processor waits for many of them at a time.
    pub(crate) fn add_all<V>(
        &mut self,
        items: &mut Vec<Hashed<K, V>>,
        create: impl Fn(V) -> Result<C, TaskError>,
        merge: impl Fn(C, V) -> Result<C, TaskError>,
    ) -> Result<(), TaskError> {
        let mut numbers = [None; TOGETHER];
        for (number, (hash, key, _)) in numbers.iter_mut().zip(items.iter()) {
            *number = self.number(*hash, key);
        }
        for (number, (hash, key, item)) in numbers.into_iter().zip(items.drain(..)) {
            match number {
                Some(number) => self.entries[number].merge(item, &merge)?,
                // One of the items before may have brought the key.
                None => self.add(hash, key, item, &create, &merge)?,
            }
        }
        Ok(())
    }

    /// The value of `key`, made by `create` where there is none.
    pub(crate) fn value_mut(&mut self, hash: u64, key: K, create: impl FnOnce() -> C) -> Result<&mut C, TaskError> {
        let number = match self.number(hash, &key) {
            Some(number) => number,
            None => self.insert(hash, key, None)?,
        };
        Ok(self.entries[number].value.get_or_insert_with(create))
    }

    #[inline]
    fn number(&self, hash: u64, key: &K) -> Option<usize> {
        self.numbers.find(hash, |&number| self.entries[number as usize].key == *key).map(|&number| number as usize)
    }

    #[inline]
    fn find(&mut self, hash: u64, key: &K) -> Option<&mut Entry<K, C>> {
        let number = self.number(hash, key)?;
        Some(&mut self.entries[number])
    }

    /// Adds a key that is not there; gives the number of its entry.
    #[inline(never)]
    fn insert(&mut self, hash: u64, key: K, value: Option<C>) -> Result<usize, TaskError> {
        let number = u32::try_from(self.entries.len())
            .map_err(|_too_many| TaskError::message("more than 4294967295 distinct keys in one partition"))?;
        self.entries.push(Entry { key, value });
        self.hashes.push(hash);
        let hashes = &self.hashes;
        self.numbers.insert_unique(hash, number, |&number| hashes[number as usize]);
        Ok(number as usize)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Keys and values in the order of first meeting.
    pub(crate) fn into_pairs(self) -> impl Iterator<Item = (K, C)> {
        self.entries.into_iter().filter_map(|entry| Some((entry.key, entry.value?)))
    }

    /// The same with each key's hash.
    pub(crate) fn into_hashed(self) -> impl Iterator<Item = Hashed<K, C>> {
        let hashed = self.hashes.into_iter().zip(self.entries);
        hashed.filter_map(|(hash, entry)| Some((hash, entry.key, entry.value?)))
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
    fn many_at_a_time_are_added_as_one_by_one() {
        let words: Vec<u32> = (0..500).map(|n| n * n % 97).collect();
        let (mut one_by_one, mut together) = (Combiner::new(), Combiner::new());
        for &word in &words {
            one_by_one.add(hash_key(&word), word, vec![word], Ok, joined).unwrap();
        }
        for chunk in words.chunks(TOGETHER) {
            let mut items: Vec<_> = chunk.iter().map(|&word| (hash_key(&word), word, vec![word])).collect();
            together.add_all(&mut items, Ok, joined).unwrap();
            assert!(items.is_empty());
        }
        assert_eq!(one_by_one.into_hashed().collect::<Vec<_>>(), together.into_hashed().collect::<Vec<_>>());
    }

    fn joined(mut a: Vec<u32>, b: Vec<u32>) -> Result<Vec<u32>, TaskError> {
        a.extend(b);
        Ok(a)
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
