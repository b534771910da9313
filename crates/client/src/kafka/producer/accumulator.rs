//! [`Accumulator`]: batches per partition, from the caller's `append` to the sender's `drain` and back on a retry.
//!
//! No I/O, and time comes as an argument. Always true per partition:
//! - batches are drained in the order they were filled; a batch that comes back is put where it was;
//! - an idempotent batch that is sent again is sent only when no earlier one is under way, from the oldest that has no end yet to the newest that was sent there
//!   are at most [`ProducerConfig::IDEMPOTENT_IN_FLIGHT_MAX`] (a broker knows no more of them again), and sequences have no gaps: where one was given up after it had a sequence, the
//!   partition goes on under a new epoch, from sequence 0, once what was numbered behind it has come to an end under the old one. Nobody knows whether
//!   what was given up is stored, nor what came behind it: a batch gets another number only when a broker said that it lacks those before it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use protocol::records::batch::increment_sequence;
use protocol::records::{BatchBuilder, Codec};
use protocol::types::TopicPartition;
use runtime::clock::Instant;
use tokio::sync::OwnedSemaphorePermit;

use super::super::cluster::whole_ms;
use super::super::config::ProducerConfig;
use super::super::error::{ClientError, Result};
use super::ProducerRecord;
use super::batch::{Acked, Batch, Delivery, Identity, Outcome};

/// Bytes of a batch before its first record.
const BATCH_OVERHEAD_BYTES: usize = 61;

/// All batches of a producer.
pub(super) struct Accumulator {
    config: Limits,
    queues: RwLock<Queues>,
    /// Batches that are neither acknowledged nor given up, by a number of their own.
    outstanding: Mutex<Outstanding>,
}

/// What the accumulator must know of the configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) batch_size: usize,
    pub(super) linger: Duration,
    pub(super) delivery_timeout: Duration,
    /// Whether a partition's order must survive retries: then a partition without sequences has one batch under way at a time.
    pub(super) keeps_order: bool,
    pub(super) codec: Codec,
}

impl From<&ProducerConfig> for Limits {
    fn from(config: &ProducerConfig) -> Limits {
        Limits {
            batch_size: config.batch_size,
            linger: config.linger,
            delivery_timeout: config.delivery_timeout,
            // Whoever wanted idempotence wanted order, also from a broker too old to give more than that.
            keeps_order: config.enable_idempotence || config.max_in_flight == 1,
            codec: config.compression,
        }
    }
}

/// The partitions that were ever written to.
#[derive(Default)]
struct Queues {
    by_partition: HashMap<TopicPartition, Arc<Queue>>,
    /// The same, in the order they were first written to.
    all: Vec<Arc<Queue>>,
}

#[derive(Default)]
struct Outstanding {
    next: u64,
    outcomes: BTreeMap<u64, Arc<Outcome>>,
}

/// The batches of one partition.
pub(super) struct Queue {
    pub(super) partition: TopicPartition,
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    batches: VecDeque<Batch>,
    /// Ordinals under way.
    in_flight: BTreeSet<u64>,
    /// The batches that have a sequence, from the oldest that has come to no end on, by ordinal; true for those that have.
    numbered: BTreeMap<u64, bool>,
    identity: Option<Identity>,
    next_sequence: i32,
    /// A batch that had a sequence was given up, and may be stored: new ones need a new epoch, and wait for those that are numbered.
    has_gap: bool,
    /// What is numbered is not stored: it goes on under a new epoch, too.
    needs_new_epoch: bool,
}

/// What an append came to.
pub(super) enum Appended {
    /// The record is in; `wake` where the sender has something new to look at.
    Done { delivery: Delivery, wake: bool },
    /// A new batch of so many bytes is needed first.
    NeedsMemory(usize),
}

/// Whether a partition has something to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Nothing at all.
    Empty,
    /// At this time, if nothing else happens.
    At(Instant),
    /// Now.
    Now,
    /// When a batch under way has come back.
    Blocked,
}

/// The identity batches get when they are drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbering {
    /// The producer is not idempotent.
    Off,
    /// This one.
    On(Identity),
}

/// What a drain came to.
pub(super) enum Drained {
    /// This is to be sent.
    Batch(Box<Batch>),
    /// Nothing may be sent now.
    Nothing,
    /// The partition needs an epoch beyond the producer's.
    NeedsNewEpoch,
}

impl Accumulator {
    pub(super) fn new(config: Limits) -> Accumulator {
        Accumulator { config, queues: RwLock::default(), outstanding: Mutex::default() }
    }

    /// Adds a record to the open batch of its partition; with `memory` a new batch is opened where it does not fit.
    pub(super) fn append(
        &self,
        partition: &TopicPartition,
        record: &ProducerRecord,
        timestamp: i64,
        now: Instant,
        memory: Option<OwnedSemaphorePermit>,
    ) -> Result<Appended> {
        let bytes = record_bytes(record);
        let queue = self.queue(partition);
        let mut state = queue.state.lock();
        let limit = self.config.batch_size;
        if let Some(open) = state.batches.back_mut()
            && open.attempts == 0
            && open.has_room(bytes, limit)
        {
            let delivery = open.append(record, timestamp)?;
            let full = open.size() >= limit;
            return Ok(Appended::Done { delivery, wake: full });
        }
        let size = limit.max(BATCH_OVERHEAD_BYTES + bytes);
        let Some(memory) = memory else { return Ok(Appended::NeedsMemory(size)) };
        let ordinal = {
            let mut outstanding = self.outstanding.lock();
            outstanding.next += 1;
            outstanding.next
        };
        // Room for what is at hand, not for a full batch: most partitions of most producers never fill one.
        let capacity = (BATCH_OVERHEAD_BYTES + bytes).max(limit.min(1024));
        let mut batch = Batch::new(partition.clone(), ordinal, now, self.config.codec, capacity, memory);
        let delivery = batch.append(record, timestamp)?;
        self.outstanding.lock().outcomes.insert(ordinal, batch.outcome.clone());
        state.batches.push_back(batch);
        Ok(Appended::Done { delivery, wake: true })
    }

    fn queue(&self, partition: &TopicPartition) -> Arc<Queue> {
        if let Some(queue) = self.queues.read().by_partition.get(partition) {
            return queue.clone();
        }
        let mut queues = self.queues.write();
        if let Some(queue) = queues.by_partition.get(partition) {
            return queue.clone();
        }
        let queue = Arc::new(Queue { partition: partition.clone(), state: Mutex::default() });
        queues.by_partition.insert(partition.clone(), queue.clone());
        queues.all.push(queue.clone());
        queue
    }

    /// All partitions that were ever written to.
    pub(super) fn queues(&self) -> Vec<Arc<Queue>> {
        self.queues.read().all.clone()
    }

    /// Whether the head of a queue is to be sent. `hurry` sends what would otherwise linger: at a flush, at the end, and where memory is short.
    pub(super) fn readiness(&self, queue: &Queue, now: Instant, hurry: bool, idempotent: bool) -> Readiness {
        let state = queue.state.lock();
        let Some(head) = state.batches.front() else { return Readiness::Empty };
        if !self.may_send(&state, head, idempotent) {
            return Readiness::Blocked;
        }
        if let Some(at) = head.retry_at {
            return if at <= now { Readiness::Now } else { Readiness::At(at) };
        }
        let full = state.batches.len() > 1 || head.size() >= self.config.batch_size;
        let lingered_at = head.created + self.config.linger;
        if hurry || full || lingered_at <= now { Readiness::Now } else { Readiness::At(lingered_at) }
    }

    fn may_send(&self, state: &QueueState, head: &Batch, idempotent: bool) -> bool {
        if !idempotent {
            return !self.config.keeps_order || state.in_flight.is_empty();
        }
        if state.needs_new_identity(head) {
            return state.in_flight.is_empty();
        }
        if head.sequence.is_none() {
            return state.numbered.len() < ProducerConfig::IDEMPOTENT_IN_FLIGHT_MAX;
        }
        state.in_flight.first().is_none_or(|first| *first >= head.ordinal)
    }

    /// Takes the head of a queue that is ready, unless it is larger than `room`.
    pub(super) fn drain(&self, queue: &Queue, numbering: Numbering, room: usize) -> Drained {
        let mut state = queue.state.lock();
        let idempotent = numbering != Numbering::Off;
        let fits = |head: &&Batch| head.size() <= room && self.may_send(&state, head, idempotent);
        let Some(head) = state.batches.front().filter(fits) else { return Drained::Nothing };
        if let Numbering::On(identity) = numbering {
            let is_over = state.needs_new_identity(head);
            if is_over && state.identity == Some(identity) {
                return Drained::NeedsNewEpoch;
            }
            state.adopt(identity, is_over);
        }
        let Some(mut batch) = state.batches.pop_front() else { return Drained::Nothing };
        if let Some(identity) = state.identity.filter(|_| idempotent)
            && batch.sequence.is_none()
        {
            batch.set_sequence(identity, state.next_sequence);
            state.next_sequence = increment_sequence(state.next_sequence, batch.count());
            state.numbered.insert(batch.ordinal, false);
        }
        batch.attempts += 1;
        batch.retry_at = None;
        state.in_flight.insert(batch.ordinal);
        Drained::Batch(Box::new(batch))
    }

    /// A batch under way has come to its end. Those who wait for what is outstanding wait until everybody was told.
    pub(super) fn settle(&self, batch: Batch, result: Result<Acked>) {
        let (queue, ordinal) = (self.queue(&batch.partition), batch.ordinal);
        {
            let mut state = queue.state.lock();
            state.in_flight.remove(&ordinal);
            state.come_to_an_end(ordinal);
            // A batch that was given up leaves a gap in the sequence.
            state.has_gap |= result.is_err() && batch.sequence.is_some();
        }
        match result {
            Ok(acked) => batch.succeed(acked),
            Err(error) => batch.fail(error),
        }
        self.outstanding.lock().outcomes.remove(&ordinal);
    }

    /// A batch under way is to be sent again: it goes where it was.
    pub(super) fn put_back(&self, batch: Batch, new_epoch: bool) {
        let queue = self.queue(&batch.partition);
        let mut state = queue.state.lock();
        state.in_flight.remove(&batch.ordinal);
        state.needs_new_epoch |= new_epoch;
        let at = state.batches.partition_point(|other| other.ordinal < batch.ordinal);
        state.batches.insert(at, batch);
    }

    /// Whether an earlier batch of the partition is under way or waits to be sent again: then an out-of-order answer to `batch` proves nothing.
    pub(super) fn has_earlier(&self, batch: &Batch) -> bool {
        let queue = self.queue(&batch.partition);
        let state = queue.state.lock();
        state.in_flight.first().is_some_and(|first| *first < batch.ordinal)
            || state.batches.front().is_some_and(|head| head.ordinal < batch.ordinal)
    }

    /// Takes out the batches that have waited for `delivery.timeout.ms`, with the error each has earned.
    pub(super) fn expire(&self, now: Instant) -> Vec<(Batch, ClientError)> {
        let mut expired = Vec::new();
        for queue in self.queues() {
            let mut state = queue.state.lock();
            while let Some(head) = state.batches.front() {
                let age = now.saturating_duration_since(head.created);
                if age < self.config.delivery_timeout {
                    break;
                }
                let Some(batch) = state.batches.pop_front() else { break };
                state.has_gap |= batch.sequence.is_some();
                state.come_to_an_end(batch.ordinal);
                let error = timed_out(&batch, age);
                expired.push((batch, error));
            }
        }
        for (batch, _) in &expired {
            self.outstanding.lock().outcomes.remove(&batch.ordinal);
        }
        expired
    }

    /// When the next batch expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let queues = self.queues();
        let heads = queues.iter().filter_map(|queue| Some(queue.state.lock().batches.front()?.created));
        heads.min().map(|created| created + self.config.delivery_timeout)
    }

    /// Takes out everything that waits, to be given up.
    pub(super) fn take_all(&self) -> Vec<Batch> {
        let mut all = Vec::new();
        for queue in self.queues() {
            all.extend(queue.state.lock().batches.drain(..));
        }
        let mut outstanding = self.outstanding.lock();
        for batch in &all {
            outstanding.outcomes.remove(&batch.ordinal);
        }
        all
    }

    /// What became or will become of every batch there is now.
    pub(super) fn outstanding(&self) -> Vec<Arc<Outcome>> {
        self.outstanding.lock().outcomes.values().cloned().collect()
    }
}

impl QueueState {
    /// Whether `head` can only be sent under an identity that is new to the brokers.
    fn needs_new_identity(&self, head: &Batch) -> bool {
        self.needs_new_epoch || (self.has_gap && head.sequence.is_none())
    }

    /// A batch is stored or given up. Those before it that are neither keep it in mind: a broker that remembers few batches must still know them.
    fn come_to_an_end(&mut self, ordinal: u64) {
        if let Some(ended) = self.numbered.get_mut(&ordinal) {
            *ended = true;
        }
        while let Some(first) = self.numbered.first_entry().filter(|first| *first.get()) {
            first.remove();
        }
    }

    /// Goes over to a new identity where nothing is numbered under the old one, or where the old one `is_over`.
    fn adopt(&mut self, identity: Identity, is_over: bool) {
        if self.identity == Some(identity) {
            return;
        }
        if is_over {
            // Nothing is under way (see `may_send`), so what was numbered and is not stored can be numbered anew.
            self.needs_new_epoch = false;
            self.has_gap = false;
            self.identity = Some(identity);
            self.next_sequence = 0;
            self.numbered.retain(|_, ended| !*ended);
            for batch in self.batches.iter_mut().filter(|batch| batch.sequence.is_some()) {
                batch.set_sequence(identity, self.next_sequence);
                self.next_sequence = increment_sequence(self.next_sequence, batch.count());
            }
            return;
        }
        if self.in_flight.is_empty() && self.batches.iter().all(|batch| batch.sequence.is_none()) {
            self.identity = Some(identity);
            self.next_sequence = 0;
        }
    }
}

/// The error of a batch that took too long.
pub(super) fn timed_out(batch: &Batch, age: Duration) -> ClientError {
    ClientError::DeliveryTimeout {
        records: usize::try_from(batch.count()).unwrap_or(0),
        partition: batch.partition.clone(),
        waited_ms: whole_ms(age),
        last: batch.last_error.clone().map(Arc::new),
    }
}

/// Most bytes a record adds to a batch.
pub(super) fn record_bytes(record: &ProducerRecord) -> usize {
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    BatchBuilder::record_size_upper_bound(key, value, Some(record.headers.as_ref()))
}

/// Size of a record alone in a batch, as `max.request.size` counts it.
pub(super) fn lone_record_bytes(record: &ProducerRecord) -> usize {
    BATCH_OVERHEAD_BYTES + record_bytes(record)
}

#[cfg(test)]
mod tests;
