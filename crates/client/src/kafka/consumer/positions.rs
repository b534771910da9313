//! Where each assigned partition is read next. Plain data: no I/O, time comes as an argument.
//!
//! Every change of mind about a partition (assignment, seek, reset) gives it a new ticket; an answer counts only while the ticket it was
//! asked under is still the partition's.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use protocol::types::{BrokerId, Offset, TopicPartition};
use runtime::clock::Instant;

use super::block::FetchedBlock;
use super::offsets::OffsetSpec;

/// Positions of all assigned partitions, and blocks that wait to be handed out.
#[derive(Default)]
pub(super) struct Positions {
    slots: BTreeMap<TopicPartition, Slot>,
    next_ticket: u64,
    ready: VecDeque<FetchedBlock>,
    /// The partition that comes first in the next fetch: with a full response the first ones get all of it.
    rotation: usize,
}

/// One partition.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) position: Option<Offset>,
    pub(super) high_watermark: Option<Offset>,
    pub(super) preferred_replica: Option<BrokerId>,
    /// `max.partition.fetch.bytes`, or more where a record does not fit.
    pub(super) fetch_bytes: i32,
    ticket: u64,
    paused: bool,
    /// A fetch is under way.
    fetching: bool,
    /// A block waits in `ready`.
    buffered: bool,
    /// Where to go without a position; the policy decides where this is `None`.
    reset_to: Option<OffsetSpec>,
    /// Without a policy the lack of a position is told once.
    told: bool,
    retry_at: Option<Instant>,
}

impl Slot {
    fn is_due(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }
}

impl Positions {
    /// Keeps the slots of `wanted`, makes new ones, drops the rest and their blocks.
    pub(super) fn assign(&mut self, wanted: BTreeSet<TopicPartition>, fetch_bytes: i32) {
        self.slots.retain(|partition, _| wanted.contains(partition));
        self.ready.retain(|block| wanted.contains(&block.topic_partition));
        for partition in wanted {
            self.next_ticket += 1;
            let ticket = self.next_ticket;
            self.slots.entry(partition).or_insert_with(|| Slot {
                position: None,
                high_watermark: None,
                preferred_replica: None,
                fetch_bytes,
                ticket,
                paused: false,
                fetching: false,
                buffered: false,
                reset_to: None,
                told: false,
                retry_at: None,
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn assignment(&self) -> Vec<TopicPartition> {
        self.slots.keys().cloned().collect()
    }

    pub(super) fn topics(&self) -> BTreeSet<Arc<str>> {
        self.slots.keys().map(|partition| partition.topic.clone()).collect()
    }

    pub(super) fn get(&self, partition: &TopicPartition) -> Option<&Slot> {
        self.slots.get(partition)
    }

    pub(super) fn known(&self) -> Vec<(TopicPartition, Offset)> {
        self.slots.iter().filter_map(|(partition, slot)| Some((partition.clone(), slot.position?))).collect()
    }

    /// A new position. `false` where the partition is not assigned, here and below.
    pub(super) fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> bool {
        self.change(partition, |slot| {
            slot.position = Some(offset);
            slot.reset_to = None;
        })
    }

    /// Forgets the position; `spec` will be the next one.
    pub(super) fn reset(&mut self, partition: &TopicPartition, spec: OffsetSpec) -> bool {
        self.change(partition, |slot| {
            slot.position = None;
            slot.reset_to = Some(spec);
        })
    }

    fn change(&mut self, partition: &TopicPartition, change: impl FnOnce(&mut Slot)) -> bool {
        self.next_ticket += 1;
        let Some(slot) = self.slots.get_mut(partition) else { return false };
        slot.ticket = self.next_ticket;
        slot.retry_at = None;
        slot.told = false;
        slot.buffered = false;
        slot.fetching = false;
        change(slot);
        self.ready.retain(|block| block.topic_partition != *partition);
        true
    }

    pub(super) fn set_paused(&mut self, partition: &TopicPartition, paused: bool) -> bool {
        self.slots.get_mut(partition).map(|slot| slot.paused = paused).is_some()
    }

    pub(super) fn set_preferred(&mut self, partition: &TopicPartition, replica: Option<BrokerId>) {
        if let Some(slot) = self.slots.get_mut(partition) {
            slot.preferred_replica = replica;
        }
    }

    /// Doubles what is fetched of a partition, up to `limit`; `false` where it is there already.
    pub(super) fn widen(&mut self, partition: &TopicPartition, limit: i32) -> bool {
        let Some(slot) = self.slots.get_mut(partition) else { return true };
        if slot.fetch_bytes >= limit {
            return false;
        }
        slot.fetch_bytes = slot.fetch_bytes.saturating_mul(2).clamp(1, limit);
        true
    }

    pub(super) fn retry_at(&mut self, partition: &TopicPartition, at: Instant) {
        if let Some(slot) = self.slots.get_mut(partition) {
            slot.retry_at = Some(at);
        }
    }

    pub(super) fn retry_topic_at(&mut self, topic: &str, at: Instant) {
        for (_, slot) in self.slots.iter_mut().filter(|(partition, _)| &*partition.topic == topic) {
            slot.retry_at = Some(at);
        }
    }

    pub(super) fn next_retry(&self, now: Instant) -> Option<Instant> {
        self.slots.values().filter_map(|slot| slot.retry_at).filter(|at| *at > now).min()
    }

    /// Partitions to be reset, and those that no policy covers (each told once).
    pub(super) fn due_for_reset(
        &mut self,
        policy: Option<OffsetSpec>,
        now: Instant,
    ) -> (Vec<(TopicPartition, OffsetSpec)>, Vec<TopicPartition>) {
        let mut wanted = Vec::new();
        let mut without_policy = Vec::new();
        for (partition, slot) in &mut self.slots {
            if slot.position.is_some() || !slot.is_due(now) {
                continue;
            }
            match slot.reset_to.or(policy) {
                Some(spec) => wanted.push((partition.clone(), spec)),
                None if !slot.told => {
                    slot.told = true;
                    without_policy.push(partition.clone());
                }
                None => {}
            }
        }
        (wanted, without_policy)
    }

    /// Partitions that should be fetched now, in fair order.
    pub(super) fn fetchable(&mut self, now: Instant) -> Vec<(&TopicPartition, &Slot)> {
        let mut fetchable: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| {
                slot.position.is_some() && !slot.paused && !slot.fetching && !slot.buffered && slot.is_due(now)
            })
            .collect();
        if !fetchable.is_empty() {
            self.rotation = self.rotation.wrapping_add(1);
            let first = self.rotation % fetchable.len();
            fetchable.rotate_left(first);
        }
        fetchable
    }

    /// The tickets under which something is asked.
    pub(super) fn tickets<'a>(
        &self,
        partitions: impl Iterator<Item = &'a TopicPartition>,
    ) -> HashMap<TopicPartition, u64> {
        partitions.filter_map(|partition| Some((partition.clone(), self.slots.get(partition)?.ticket))).collect()
    }

    pub(super) fn is_current(&self, partition: &TopicPartition, asked: &HashMap<TopicPartition, u64>) -> bool {
        self.slots.get(partition).is_some_and(|slot| asked.get(partition) == Some(&slot.ticket))
    }

    pub(super) fn mark_fetching<'a>(&mut self, partitions: impl Iterator<Item = &'a TopicPartition>) {
        for partition in partitions {
            if let Some(slot) = self.slots.get_mut(partition) {
                slot.fetching = true;
            }
        }
    }

    pub(super) fn unmark_fetching(&mut self, asked: &HashMap<TopicPartition, u64>) {
        for (partition, ticket) in asked {
            if let Some(slot) = self.slots.get_mut(partition)
                && slot.ticket == *ticket
            {
                slot.fetching = false;
                slot.retry_at = None;
            }
        }
    }

    pub(super) fn note(&mut self, block: &FetchedBlock) {
        if let Some(slot) = self.slots.get_mut(&block.topic_partition) {
            slot.high_watermark = Some(block.high_watermark);
        }
    }

    /// Keeps blocks until they are taken.
    pub(super) fn keep(&mut self, blocks: Vec<FetchedBlock>) {
        for block in blocks {
            if let Some(slot) = self.slots.get_mut(&block.topic_partition) {
                slot.buffered = true;
                self.ready.push_back(block);
            }
        }
    }

    /// Hands out what waits, and moves the positions past it. Blocks of paused partitions stay.
    pub(super) fn take_ready(&mut self) -> Vec<FetchedBlock> {
        let mut taken = Vec::new();
        let mut stay = VecDeque::new();
        for block in self.ready.drain(..) {
            let Some(slot) = self.slots.get_mut(&block.topic_partition) else { continue };
            if slot.paused {
                stay.push_back(block);
                continue;
            }
            slot.buffered = false;
            slot.position = Some(block.next_offset);
            taken.push(block);
        }
        self.ready = stay;
        taken
    }
}
