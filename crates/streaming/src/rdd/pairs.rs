//! Operators on RDDs of pairs: records of one key are brought together.
//!
//! All of them place a key by [`key_partition`], so RDDs that went through one of them with the same number of partitions lie alike, and a
//! second one moves nothing.

use std::sync::Arc;

use crate::error::{Halt, Step, TaskError};
use crate::rdd::combiner::{Combiner, Hashed, TOGETHER, hash_key, partition_of_hash};
use crate::rdd::shuffle::{Buckets, Shuffle, Shuffled};
use crate::rdd::{Data, Key, Rdd, RddOp, Sink};
use crate::scheduler::TaskContext;
use crate::scheduler::stages::Dependency;

/// The partition, out of `partitions`, where every operator here puts this key.
pub fn key_partition<K: Key>(key: &K, partitions: usize) -> usize {
    partition_of_hash(hash_key(key), partitions)
}

/// Values of one key in a left and a right RDD.
pub type Grouped<K, V, W> = (K, (Vec<V>, Vec<W>));

/// A key with one value of the left and one of the right RDD.
pub type Joined<K, V, W> = (K, (V, W));

/// The reduce side of a combine. Values come with their keys' hashes, so that it does not hash again.
struct Combined<K, C, F> {
    shuffle: Arc<Shuffle<Hashed<K, C>>>,
    merge: Arc<F>,
}

impl<K: Key, C: Data, F> RddOp<(K, C)> for Combined<K, C, F>
where
    F: Fn(C, C) -> Result<C, TaskError> + Send + Sync + 'static,
{
    fn partitions(&self) -> usize {
        self.shuffle.reducers()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        vec![self.shuffle.as_dependency()]
    }

    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, (K, C)>) -> Step {
        if self.shuffle.maps() == 1 {
            // One map output is already combined.
            let bucket = self.shuffle.bucket(0, partition, task)?;
            return bucket.iter().cloned().try_for_each(|(_, key, value)| sink((key, value)));
        }
        let mut combiner = Combiner::new();
        self.shuffle
            .read(partition, task, &mut |(hash, key, value)| Ok(combiner.add(hash, key, value, Ok, &*self.merge)?))?;
        combiner.into_pairs().try_for_each(sink)
    }
}

/// One input of a group: already in place, or to be shuffled.
enum Side<K: Key, V: Data> {
    InPlace(Rdd<(K, V)>),
    Shuffled(Arc<Shuffle<(K, V)>>),
}

impl<K: Key, V: Data> Side<K, V> {
    fn of(rdd: &Rdd<(K, V)>, partitions: usize) -> Side<K, V> {
        if rdd.hashed_by() == Some(partitions) {
            Side::InPlace(rdd.clone())
        } else {
            Side::Shuffled(shuffle_by_key(rdd, partitions))
        }
    }

    fn dependency(&self) -> Dependency {
        match self {
            Side::InPlace(rdd) => rdd.as_dependency(),
            Side::Shuffled(shuffle) => shuffle.as_dependency(),
        }
    }

    fn read(&self, partition: usize, task: &TaskContext, sink: Sink<'_, (K, V)>) -> Step {
        match self {
            Side::InPlace(rdd) => rdd.run(partition, task, sink),
            Side::Shuffled(shuffle) => shuffle.read(partition, task, sink),
        }
    }
}

/// Two RDDs brought together by key.
struct Cogroup<K: Key, V: Data, W: Data> {
    left: Side<K, V>,
    right: Side<K, W>,
    partitions: usize,
}

impl<K: Key, V: Data, W: Data> RddOp<Grouped<K, V, W>> for Cogroup<K, V, W> {
    fn partitions(&self) -> usize {
        self.partitions
    }

    fn dependencies(&self) -> Vec<Dependency> {
        vec![self.left.dependency(), self.right.dependency()]
    }

    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, Grouped<K, V, W>>) -> Step {
        let mut groups: Combiner<K, (Vec<V>, Vec<W>)> = Combiner::new();
        self.left.read(partition, task, &mut |(key, value)| {
            groups.value_mut(hash_key(&key), key, Default::default)?.0.push(value);
            Ok(())
        })?;
        self.right.read(partition, task, &mut |(key, value)| {
            groups.value_mut(hash_key(&key), key, Default::default)?.1.push(value);
            Ok(())
        })?;
        groups.into_pairs().try_for_each(sink)
    }
}

/// Any number of RDDs of one type brought together by key: for each key its values in each of them.
struct CogroupMany<K: Key, V: Data> {
    sides: Vec<Side<K, V>>,
    partitions: usize,
}

impl<K: Key, V: Data> RddOp<(K, Vec<Vec<V>>)> for CogroupMany<K, V> {
    fn partitions(&self) -> usize {
        self.partitions
    }

    fn dependencies(&self) -> Vec<Dependency> {
        self.sides.iter().map(Side::dependency).collect()
    }

    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, (K, Vec<Vec<V>>)>) -> Step {
        let mut groups: Combiner<K, Vec<Vec<V>>> = Combiner::new();
        for (number, side) in self.sides.iter().enumerate() {
            side.read(partition, task, &mut |(key, value)| {
                let group = groups.value_mut(hash_key(&key), key, || vec![Vec::new(); self.sides.len()])?;
                group[number].push(value);
                Ok(())
            })?;
        }
        groups.into_pairs().try_for_each(sink)
    }
}

fn shuffle_by_key<K: Key, V: Data>(rdd: &Rdd<(K, V)>, partitions: usize) -> Arc<Shuffle<(K, V)>> {
    Shuffle::new(rdd, partitions, move |rdd, partition, task| {
        let mut buckets: Buckets<(K, V)> = (0..partitions).map(|_| Vec::new()).collect();
        rdd.run(partition, task, &mut |(key, value)| {
            buckets[key_partition(&key, partitions)].push((key, value));
            Ok(())
        })
        .or_else(Halt::into_result)?;
        Ok(buckets)
    })
}

/// For each key its values in each of `rdds`.
pub(crate) fn cogroup_many<K: Key, V: Data>(
    context: &crate::scheduler::SparkContext,
    rdds: &[Rdd<(K, V)>],
    partitions: usize,
) -> Rdd<(K, Vec<Vec<V>>)> {
    let partitions = partitions.max(1);
    let sides = rdds.iter().map(|rdd| Side::of(rdd, partitions)).collect();
    Rdd::hashed(context, CogroupMany { sides, partitions }, Some(partitions))
}

impl<K: Key, V: Data> Rdd<(K, V)> {
    /// Every key to its partition out of `partitions`.
    pub fn partition_by_key(&self, partitions: usize) -> Rdd<(K, V)> {
        let partitions = partitions.max(1);
        match Side::of(self, partitions) {
            Side::InPlace(rdd) => rdd,
            Side::Shuffled(shuffle) => Rdd::hashed(self.context(), Shuffled(shuffle), Some(partitions)),
        }
    }

    /// Each key with one value made of all its values: `create` makes it from the first, `merge_value` adds another, `merge_combiners` joins
    /// what two partitions made. Values are merged before they move.
    pub fn combine_by_key<C: Data>(
        &self,
        partitions: usize,
        create: impl Fn(V) -> Result<C, TaskError> + Send + Sync + 'static,
        merge_value: impl Fn(C, V) -> Result<C, TaskError> + Send + Sync + 'static,
        merge_combiners: impl Fn(C, C) -> Result<C, TaskError> + Send + Sync + 'static,
    ) -> Rdd<(K, C)> {
        let partitions = partitions.max(1);
        let combine = move |rdd: &Rdd<(K, V)>, partition: usize, task: &TaskContext| {
            let mut combiner = Combiner::new();
            let mut items = Vec::with_capacity(TOGETHER);
            rdd.run(partition, task, &mut |(key, value)| {
                items.push((hash_key(&key), key, value));
                if items.len() == TOGETHER {
                    combiner.add_all(&mut items, &create, &merge_value)?;
                }
                Ok(())
            })
            .or_else(Halt::into_result)?;
            combiner.add_all(&mut items, &create, &merge_value)?;
            Ok::<_, TaskError>(combiner)
        };
        if self.hashed_by() == Some(partitions) {
            let op = CombinedInPlace { parent: self.clone(), combine };
            return Rdd::hashed(self.context(), op, Some(partitions));
        }
        let shuffle = Shuffle::new(self, partitions, move |rdd, partition, task| {
            let combiner = combine(rdd, partition, task)?;
            let mut buckets: Buckets<Hashed<K, C>> = (0..partitions).map(|_| Vec::new()).collect();
            if let [only] = &mut buckets[..] {
                only.reserve_exact(combiner.len());
            }
            for (hash, key, value) in combiner.into_hashed() {
                buckets[partition_of_hash(hash, partitions)].push((hash, key, value));
            }
            Ok(buckets)
        });
        let op = Combined { shuffle, merge: Arc::new(merge_combiners) };
        Rdd::hashed(self.context(), op, Some(partitions))
    }

    /// Each key with its values merged by an associative function.
    pub fn reduce_by_key(&self, partitions: usize, merge: impl Fn(V, V) -> V + Send + Sync + 'static) -> Rdd<(K, V)> {
        self.try_reduce_by_key(partitions, move |a, b| Ok(merge(a, b)))
    }

    /// [`Rdd::reduce_by_key`] by a function that may fail.
    pub fn try_reduce_by_key(
        &self,
        partitions: usize,
        merge: impl Fn(V, V) -> Result<V, TaskError> + Send + Sync + 'static,
    ) -> Rdd<(K, V)> {
        let merge = Arc::new(merge);
        let merge_combiners = merge.clone();
        self.combine_by_key(partitions, Ok, move |a, b| merge(a, b), move |a, b| merge_combiners(a, b))
    }

    /// Each key with all its values, in partition order. Nothing is merged before it moves, because nothing would get smaller.
    pub fn group_by_key(&self, partitions: usize) -> Rdd<(K, Vec<V>)> {
        self.partition_by_key(partitions).map_partitions_in_place(|block| {
            let mut groups: Combiner<K, Vec<V>> = Combiner::new();
            for (key, value) in block {
                groups.value_mut(hash_key(&key), key, Vec::new)?.push(value);
            }
            Ok(groups.into_pairs().collect())
        })
    }

    /// Each key with its values here and in `other`.
    pub fn cogroup<W: Data>(&self, other: &Rdd<(K, W)>, partitions: usize) -> Rdd<Grouped<K, V, W>> {
        let partitions = partitions.max(1);
        let op = Cogroup { left: Side::of(self, partitions), right: Side::of(other, partitions), partitions };
        Rdd::hashed(self.context(), op, Some(partitions))
    }

    /// Every pair of a value here and a value in `other` of the same key.
    pub fn join<W: Data>(&self, other: &Rdd<(K, W)>, partitions: usize) -> Rdd<Joined<K, V, W>> {
        self.cogroup(other, partitions).push_in_place(|(key, (left, right)), sink| {
            for a in &left {
                for b in &right {
                    sink((key.clone(), (a.clone(), b.clone())))?;
                }
            }
            Ok(())
        })
    }

    /// [`Rdd::join`] that also keeps values here without one in `other`.
    pub fn left_outer_join<W: Data>(&self, other: &Rdd<(K, W)>, partitions: usize) -> Rdd<Joined<K, V, Option<W>>> {
        self.cogroup(other, partitions).push_in_place(|(key, (left, right)), sink| {
            let right = or_none(right);
            for a in &left {
                for b in &right {
                    sink((key.clone(), (a.clone(), b.clone())))?;
                }
            }
            Ok(())
        })
    }

    /// [`Rdd::join`] that also keeps values of `other` without one here.
    pub fn right_outer_join<W: Data>(&self, other: &Rdd<(K, W)>, partitions: usize) -> Rdd<Joined<K, Option<V>, W>> {
        self.cogroup(other, partitions).push_in_place(|(key, (left, right)), sink| {
            let left = or_none(left);
            for a in &left {
                for b in &right {
                    sink((key.clone(), (a.clone(), b.clone())))?;
                }
            }
            Ok(())
        })
    }

    /// [`Rdd::join`] that also keeps values of either side without one in the other.
    pub fn full_outer_join<W: Data>(
        &self,
        other: &Rdd<(K, W)>,
        partitions: usize,
    ) -> Rdd<Joined<K, Option<V>, Option<W>>> {
        self.cogroup(other, partitions).push_in_place(|(key, (left, right)), sink| {
            let (left, right) = (or_none(left), or_none(right));
            for a in &left {
                for b in &right {
                    sink((key.clone(), (a.clone(), b.clone())))?;
                }
            }
            Ok(())
        })
    }

    /// Each value to another; keys stay where they are.
    pub fn map_values<W: Data>(&self, function: impl Fn(V) -> W + Send + Sync + 'static) -> Rdd<(K, W)> {
        self.push_in_place(move |(key, value), sink| sink((key, function(value))))
    }

    /// Each value to any number of values; keys stay where they are.
    pub fn flat_map_values<W: Data, I: IntoIterator<Item = W>>(
        &self,
        function: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> Rdd<(K, W)> {
        self.push_in_place(move |(key, value), sink| {
            function(value).into_iter().try_for_each(|value| sink((key.clone(), value)))
        })
    }

    /// The keys.
    pub fn keys(&self) -> Rdd<K> {
        self.map(|(key, _)| key)
    }

    /// The values.
    pub fn values(&self) -> Rdd<V> {
        self.map(|(_, value)| value)
    }
}

impl<T: Key> Rdd<T> {
    /// Each distinct record with how often it occurs.
    pub fn count_by_value_rdd(&self, partitions: usize) -> Rdd<(T, u64)> {
        self.map(|item| (item, 1)).reduce_by_key(partitions, |a, b| a + b)
    }

    /// Each distinct record once.
    pub fn distinct(&self, partitions: usize) -> Rdd<T> {
        self.map(|item| (item, ())).reduce_by_key(partitions, |(), ()| ()).keys()
    }
}

/// A combine of keys that already lie in their partitions.
struct CombinedInPlace<K: Key, V: Data, F> {
    parent: Rdd<(K, V)>,
    combine: F,
}

impl<K: Key, V: Data, C: Data, F> RddOp<(K, C)> for CombinedInPlace<K, V, F>
where
    F: Fn(&Rdd<(K, V)>, usize, &TaskContext) -> Result<Combiner<K, C>, TaskError> + Send + Sync + 'static,
{
    fn partitions(&self) -> usize {
        self.parent.num_partitions()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        vec![self.parent.as_dependency()]
    }

    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, (K, C)>) -> Step {
        (self.combine)(&self.parent, partition, task)?.into_pairs().try_for_each(sink)
    }
}

/// The values, or one `None` where there are none.
fn or_none<V>(values: Vec<V>) -> Vec<Option<V>> {
    if values.is_empty() { vec![None] } else { values.into_iter().map(Some).collect() }
}
