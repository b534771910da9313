//! What the log knows of each idempotent producer: its epoch, its last five batches, its open transaction.
//!
//! It is a function of the batches in the log and of time (a producer silent for `producer.id.expiration.ms` is forgotten), so it can always be
//! built anew; `.snapshot` files ([`snapshot`]) only shorten that. Rules: Kafka 3.9 `ProducerAppendInfo`, `ProducerStateEntry`.

pub mod snapshot;

use std::collections::{BTreeMap, HashMap, VecDeque};

use protocol::records::batch::{ControlMarker, increment_sequence};
use protocol::records::{BatchHeader, NO_SEQUENCE};
use protocol::types::{Offset, TopicPartition};

use crate::error::AppendError;

/// Batches remembered for each producer: a client may have five requests in flight.
pub const BATCHES_KEPT: usize = 5;
/// Producers remembered for each log. Beyond it the one whose last batch is oldest is forgotten, which for that producer is what expiry is.
pub const PRODUCERS_MAX: usize = 100_000;
/// Epoch of a producer of whom none is known.
const NO_EPOCH: i16 = -1;

/// A batch that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBatch {
    /// Sequence number of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Last offset less first offset.
    pub offset_delta: i32,
    /// Its largest timestamp, or the append time.
    pub timestamp: i64,
}

impl StoredBatch {
    /// Sequence number of its first record; they wrap from 2^31-1 to 0.
    #[must_use]
    pub fn first_sequence(&self) -> i32 {
        if self.last_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        (first & i64::from(i32::MAX)) as i32
    }

    /// Offset of its first record.
    #[must_use]
    pub fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// One producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// Its epoch; a lower one is a zombie.
    pub epoch: i16,
    /// Its last batches of this epoch, oldest first.
    pub batches: VecDeque<StoredBatch>,
    /// Epoch of the coordinator that ended its last transaction; -1 when there was none.
    pub coordinator_epoch: i32,
    /// Timestamp of the last batch or marker, which expiry goes by.
    pub last_timestamp: i64,
    /// First offset of its open transaction.
    pub transaction_start: Option<i64>,
}

impl Producer {
    fn new(epoch: i16) -> Producer {
        Producer { epoch, batches: VecDeque::new(), coordinator_epoch: -1, last_timestamp: -1, transaction_start: None }
    }

    fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }
}

/// The producers of one log.
#[derive(Debug)]
pub struct ProducerStates {
    partition: TopicPartition,
    producers: HashMap<i64, Producer>,
    open_transactions: BTreeMap<i64, i64>,
    /// Offset up to which the log is reflected here.
    end_offset: i64,
    /// Whether nobody who ever wrote to this log was forgotten, so that a stranger is new to it and begins at sequence 0.
    all_known: bool,
}

impl ProducerStates {
    /// Nobody known, at the given offset of the log.
    #[must_use]
    pub fn new(partition: TopicPartition, end_offset: i64) -> ProducerStates {
        let all_known = end_offset == 0;
        ProducerStates {
            partition,
            producers: HashMap::new(),
            open_transactions: BTreeMap::new(),
            end_offset,
            all_known,
        }
    }

    /// Says whether the log tells of everybody who ever wrote to it: it reaches back to offset 0, and further than producers are remembered.
    pub(crate) fn set_all_known(&mut self, all_known: bool) {
        self.all_known = all_known;
    }

    /// Takes over what a snapshot says; producers that expired are left out. Who was forgotten before it was written, it does not say.
    pub(crate) fn restore(
        &mut self,
        producers: Vec<(i64, Producer)>,
        end_offset: i64,
        now_ms: i64,
        expiration_ms: i64,
    ) {
        self.producers = producers
            .into_iter()
            .filter(|(_, producer)| {
                producer.transaction_start.is_some() || !is_expired(producer, now_ms, expiration_ms)
            })
            .collect();
        self.open_transactions =
            self.producers.iter().filter_map(|(id, producer)| Some((producer.transaction_start?, *id))).collect();
        self.end_offset = end_offset;
        self.all_known = false;
    }

    /// Offset up to which the log is reflected here.
    #[must_use]
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// How many producers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// All producers by id, in order (DescribeProducers, snapshots).
    #[must_use]
    pub fn all(&self) -> Vec<(i64, Producer)> {
        let mut all: Vec<_> = self.producers.iter().map(|(id, producer)| (*id, producer.clone())).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    /// One producer.
    #[must_use]
    pub fn get(&self, producer_id: i64) -> Option<&Producer> {
        self.producers.get(&producer_id)
    }

    /// First offset of the oldest open transaction: nothing from there on is stable.
    #[must_use]
    pub fn first_unstable_offset(&self) -> Option<i64> {
        self.open_transactions.keys().next().copied()
    }

    /// Judges the batches of one produce request, which carry the offsets they would get. Gives the stored batch where one of them is a
    /// repetition; then nothing may be appended, and the request is answered with that batch.
    ///
    /// # Errors
    /// [`AppendError::OutOfOrderSequence`], [`AppendError::InvalidProducerEpoch`].
    pub fn check_from_producer<'a>(
        &self,
        batches: impl Iterator<Item = &'a BatchHeader>,
    ) -> Result<Option<StoredBatch>, AppendError> {
        // What earlier batches of the same request will have done: producer, epoch, last sequence.
        let mut pending: Vec<(i64, i16, i32)> = Vec::new();
        for batch in batches.filter(|batch| batch.has_producer_id()) {
            let known = self.producers.get(&batch.producer_id);
            if let Some(duplicate) = known.and_then(|producer| find_duplicate(producer, batch)) {
                return Ok(Some(duplicate));
            }
            let earlier = pending.iter().position(|(id, ..)| *id == batch.producer_id);
            let (epoch, last_sequence) = match (earlier, known) {
                (Some(at), _) => (pending[at].1, pending[at].2),
                (None, Some(producer)) => (producer.epoch, producer.last_sequence()),
                (None, None) => (NO_EPOCH, NO_SEQUENCE),
            };
            self.check_sequence(batch, epoch, last_sequence)?;
            let now = (batch.producer_id, batch.producer_epoch, batch.last_sequence());
            match earlier {
                Some(at) => pending[at] = now,
                None => pending.push(now),
            }
        }
        Ok(None)
    }

    fn check_sequence(&self, batch: &BatchHeader, epoch: i16, last_sequence: i32) -> Result<(), AppendError> {
        if batch.producer_epoch < epoch {
            return Err(AppendError::InvalidProducerEpoch {
                partition: self.partition.clone(),
                producer_id: batch.producer_id,
                offset: batch.base_offset,
                epoch: batch.producer_epoch,
                current: epoch,
            });
        }
        // A producer of whom nothing is known may begin anywhere where it may have been forgotten. Where nobody was it is new, and a first sequence above 0 is
        // that of a request which overtook an earlier one that was refused, as around a change of leaders: were it taken, the earlier one could never be, and
        // clients that are told so (librdkafka) count it as stored. A new epoch begins at 0.
        let in_order = if epoch == NO_EPOCH {
            !self.all_known || batch.base_sequence == 0
        } else if batch.producer_epoch != epoch {
            batch.base_sequence == 0
        } else {
            i64::from(batch.base_sequence) == i64::from(last_sequence) + 1
                || (batch.base_sequence == 0 && last_sequence == i32::MAX)
        };
        if in_order {
            return Ok(());
        }
        Err(AppendError::OutOfOrderSequence {
            partition: self.partition.clone(),
            producer_id: batch.producer_id,
            offset: batch.base_offset,
            sequence: batch.base_sequence,
            last: if batch.producer_epoch == epoch { last_sequence } else { NO_SEQUENCE },
        })
    }

    /// Notes a batch that is in the log now. `marker` is what a control batch says.
    pub fn note(&mut self, batch: &BatchHeader, marker: Option<ControlMarker>) {
        self.end_offset = self.end_offset.max(batch.next_offset().0);
        if !batch.has_producer_id() {
            return;
        }
        if !self.producers.contains_key(&batch.producer_id) && self.producers.len() >= PRODUCERS_MAX {
            self.forget_oldest();
        }
        let producer = self.producers.entry(batch.producer_id).or_insert_with(|| Producer::new(batch.producer_epoch));
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.batches.clear();
        }
        producer.last_timestamp = batch.max_timestamp;
        if batch.is_control() {
            if let Some(ControlMarker::Abort { coordinator_epoch } | ControlMarker::Commit { coordinator_epoch }) =
                marker
            {
                producer.coordinator_epoch = coordinator_epoch;
            }
            if let Some(start) = producer.transaction_start.take() {
                self.open_transactions.remove(&start);
            }
            return;
        }
        if producer.batches.len() == BATCHES_KEPT {
            producer.batches.pop_front();
        }
        producer.batches.push_back(StoredBatch {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset().0,
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
        if batch.is_transactional() && producer.transaction_start.is_none() {
            producer.transaction_start = Some(batch.base_offset.0);
            self.open_transactions.insert(batch.base_offset.0, batch.producer_id);
        }
    }

    /// Notes that the log reaches `end_offset` by entries that no producer state is kept for.
    pub fn advance_to(&mut self, end_offset: i64) {
        self.end_offset = self.end_offset.max(end_offset);
    }

    /// Forgets producers that were silent for `expiration_ms`, those with an open transaction excepted.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        let before = self.producers.len();
        self.producers
            .retain(|_, producer| producer.transaction_start.is_some() || !is_expired(producer, now_ms, expiration_ms));
        self.all_known &= self.producers.len() == before;
    }

    fn forget_oldest(&mut self) {
        let oldest = self
            .producers
            .iter()
            .filter(|(_, producer)| producer.transaction_start.is_none())
            .min_by_key(|(id, producer)| (producer.last_timestamp, **id))
            .map(|(id, _)| *id);
        if let Some(id) = oldest {
            self.producers.remove(&id);
            self.all_known = false;
        }
    }
}

fn is_expired(producer: &Producer, now_ms: i64, expiration_ms: i64) -> bool {
    now_ms.saturating_sub(producer.last_timestamp) >= expiration_ms
}

fn find_duplicate(producer: &Producer, batch: &BatchHeader) -> Option<StoredBatch> {
    if producer.epoch != batch.producer_epoch {
        return None;
    }
    let last_sequence = increment_sequence(batch.base_sequence, batch.last_offset_delta);
    producer
        .batches
        .iter()
        .find(|stored| stored.first_sequence() == batch.base_sequence && stored.last_sequence == last_sequence)
        .copied()
}

/// Offset of a duplicate's first record.
impl From<StoredBatch> for Offset {
    fn from(batch: StoredBatch) -> Offset {
        Offset(batch.first_offset())
    }
}

#[cfg(test)]
mod tests;
