//! [`Batch`]: records of one partition that share a fate, and [`Delivery`]: where one of them learns of it.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::records::batch;
use protocol::records::{BatchBuilder, BatchOptions, Codec, MAX_DECOMPRESSED_BYTES, RecordsError, down_convert};
use protocol::types::{Offset, TopicPartition};
use runtime::clock::Instant;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::super::error::{ClientError, Result};
use super::ProducerRecord;

/// Where a record has been stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMetadata {
    /// Topic and partition.
    pub topic_partition: TopicPartition,
    /// Its offset; `None` with `acks=0`, and where the broker recognised a repetition whose offset it has forgotten.
    pub offset: Option<Offset>,
    /// Its timestamp: the broker's where the topic uses LogAppendTime, else the producer's.
    pub timestamp: i64,
}

/// What became of a whole batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acked {
    pub(super) base_offset: Option<Offset>,
    pub(super) log_append_time: Option<i64>,
}

/// Told once, to all who wait for the batch.
pub(super) struct Outcome {
    partition: TopicPartition,
    result: OnceLock<Result<Acked>>,
    /// Whether the callbacks have run: who waits goes on behind them, as with Kafka's client.
    is_told: AtomicBool,
    told: Notify,
    callbacks: Mutex<Vec<Waiting>>,
}

/// A caller who wants to be called.
struct Waiting {
    index: i32,
    timestamp: i64,
    callback: Callback,
}

/// Called with what became of a record.
pub(super) type Callback = Box<dyn FnOnce(Result<RecordMetadata>) + Send>;

impl Outcome {
    fn metadata(&self, index: i32, timestamp: i64, result: &Result<Acked>) -> Result<RecordMetadata> {
        let acked = result.as_ref().map_err(ClientError::clone)?;
        Ok(RecordMetadata {
            topic_partition: self.partition.clone(),
            offset: acked.base_offset.map(|base| base.plus(i64::from(index))),
            timestamp: acked.log_append_time.unwrap_or(timestamp),
        })
    }

    /// Tells the result. A second one is ignored.
    pub(super) fn complete(&self, result: Result<Acked>) {
        if self.result.set(result).is_err() {
            return;
        }
        let waiting = std::mem::take(&mut *self.callbacks.lock());
        if let Some(result) = self.result.get() {
            for waiting in waiting {
                (waiting.callback)(self.metadata(waiting.index, waiting.timestamp, result));
            }
        }
        self.is_told.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    /// Waits for the result.
    pub(super) async fn wait(&self) -> &Result<Acked> {
        loop {
            let told = self.told.notified();
            if self.is_told.load(Ordering::Acquire)
                && let Some(result) = self.result.get()
            {
                return result;
            }
            told.await;
        }
    }
}

/// What will become of one record. Dropping it changes nothing.
pub struct Delivery {
    outcome: Arc<Outcome>,
    index: i32,
    timestamp: i64,
}

impl Delivery {
    /// Waits until the record is stored, as `acks` understands it, or given up.
    ///
    /// # Errors
    /// [`ClientError::DeliveryTimeout`], [`ClientError::Broker`], [`ClientError::ProducerClosed`].
    pub async fn wait(self) -> Result<RecordMetadata> {
        let result = self.outcome.wait().await;
        self.outcome.metadata(self.index, self.timestamp, result)
    }

    /// The result, if it is known.
    #[must_use]
    pub fn try_get(&self) -> Option<Result<RecordMetadata>> {
        let result = self.outcome.result.get()?;
        Some(self.outcome.metadata(self.index, self.timestamp, result))
    }

    /// Has `callback` called with the result, from a task of the producer: it must not block. At once where the result is known.
    pub fn on_complete(self, callback: impl FnOnce(Result<RecordMetadata>) + Send + 'static) {
        {
            let mut callbacks = self.outcome.callbacks.lock();
            if self.outcome.result.get().is_none() {
                let callback = Box::new(callback);
                callbacks.push(Waiting { index: self.index, timestamp: self.timestamp, callback });
                return;
            }
        }
        if let Some(result) = self.try_get() {
            callback(result);
        }
    }
}

impl IntoFuture for Delivery {
    type Output = Result<RecordMetadata>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.wait())
    }
}

/// Who an idempotent producer is to the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

/// Records of one partition on their way.
///
/// Always true: `ordinal` never changes and orders the batches of a partition as the caller sent them; a batch that has a sequence has been
/// sent, or is about to be, and keeps it over all retries under the same identity.
pub(super) struct Batch {
    pub(super) partition: TopicPartition,
    pub(super) ordinal: u64,
    pub(super) created: Instant,
    pub(super) attempts: u32,
    /// Not before this, after a failure.
    pub(super) retry_at: Option<Instant>,
    pub(super) last_error: Option<ClientError>,
    pub(super) sequence: Option<(Identity, i32)>,
    pub(super) outcome: Arc<Outcome>,
    contents: Contents,
    count: i32,
    has_headers: bool,
    /// Its part of `buffer.memory`, given back when it is dropped.
    _memory: OwnedSemaphorePermit,
}

enum Contents {
    /// Still taking records.
    Open(BatchBuilder),
    /// Packed and compressed, as batch v2.
    Packed(Bytes),
    /// Being changed from one to the other, or it could not be.
    Nothing,
}

impl Batch {
    pub(super) fn new(
        partition: TopicPartition,
        ordinal: u64,
        created: Instant,
        codec: Codec,
        capacity: usize,
        memory: OwnedSemaphorePermit,
    ) -> Batch {
        let options = BatchOptions { codec, ..BatchOptions::default() };
        let outcome = Outcome {
            partition: partition.clone(),
            result: OnceLock::new(),
            is_told: AtomicBool::new(false),
            told: Notify::new(),
            callbacks: Mutex::new(Vec::new()),
        };
        Batch {
            partition,
            ordinal,
            created,
            attempts: 0,
            retry_at: None,
            last_error: None,
            sequence: None,
            outcome: Arc::new(outcome),
            contents: Contents::Open(BatchBuilder::with_capacity(options, capacity)),
            count: 0,
            has_headers: false,
            _memory: memory,
        }
    }

    /// How many records it holds.
    pub(super) fn count(&self) -> i32 {
        self.count
    }

    /// Size in bytes, uncompressed while it is open.
    pub(super) fn size(&self) -> usize {
        match &self.contents {
            Contents::Open(builder) => builder.uncompressed_size(),
            Contents::Packed(bytes) => bytes.len(),
            Contents::Nothing => 0,
        }
    }

    /// Whether a record of `bytes` may still be added without growing beyond `limit`. The first record always fits.
    pub(super) fn has_room(&self, bytes: usize, limit: usize) -> bool {
        match &self.contents {
            Contents::Open(builder) => builder.is_empty() || builder.uncompressed_size() + bytes <= limit,
            Contents::Packed(_) | Contents::Nothing => false,
        }
    }

    /// Adds a record.
    pub(super) fn append(&mut self, record: &ProducerRecord, timestamp: i64) -> Result<Delivery> {
        let unencodable =
            |error: RecordsError| ClientError::Unencodable { what: "record".to_string(), cause: error.to_string() };
        let Contents::Open(builder) = &mut self.contents else {
            let cause = "the batch is closed".to_string();
            return Err(ClientError::Unencodable { what: "record".to_string(), cause });
        };
        let index = builder
            .append(timestamp, record.key.as_deref(), record.value.as_deref(), Some(record.headers.as_ref()))
            .map_err(unencodable)?;
        self.count = builder.count();
        self.has_headers |= !record.headers.is_empty();
        Ok(Delivery { outcome: self.outcome.clone(), index, timestamp })
    }

    /// Packs and compresses the records, once. After that no more can be added.
    pub(super) fn pack(&mut self) -> Result<()> {
        let Contents::Open(_) = &self.contents else { return Ok(()) };
        let Contents::Open(mut builder) = std::mem::replace(&mut self.contents, Contents::Nothing) else {
            return Ok(());
        };
        if let Some((identity, sequence)) = self.sequence {
            builder.set_producer_state(identity.id, identity.epoch, sequence);
        }
        let packed = builder.build();
        let unencodable = |error: RecordsError| ClientError::Unencodable {
            what: "record batch".to_string(),
            cause: error.to_string(),
        };
        self.contents = Contents::Packed(packed.map_err(unencodable)?);
        Ok(())
    }

    /// Gives it its place in the sequence of its partition, or another one under a new identity.
    pub(super) fn set_sequence(&mut self, identity: Identity, sequence: i32) {
        self.sequence = Some((identity, sequence));
        if let Contents::Packed(bytes) = &mut self.contents {
            let mut changed = bytes.to_vec();
            batch::set_producer_state(&mut changed, identity.id, identity.epoch, sequence);
            *bytes = changed.into();
        }
    }

    /// The records as the request's version wants them; [`Batch::pack`] comes first.
    ///
    /// # Errors
    /// Where an old format cannot carry them: headers before Produce v3, zstd before v7.
    pub(super) fn records_for(&self, version: i16) -> Result<Bytes> {
        let Contents::Packed(bytes) = &self.contents else {
            let cause = "the batch is not packed".to_string();
            return Err(ClientError::Unencodable { what: "record batch".to_string(), cause });
        };
        if version >= 3 {
            return Ok(bytes.clone());
        }
        if self.has_headers {
            return Err(ClientError::UnsupportedVersion {
                api: "Produce",
                reason: format!("records with headers need version 3, the broker has {version}"),
            });
        }
        let magic = if version == 2 { 1 } else { 0 };
        let set = down_convert(bytes.clone(), magic, Offset::ZERO, MAX_DECOMPRESSED_BYTES);
        let unsupported =
            |error: RecordsError| ClientError::UnsupportedVersion { api: "Produce", reason: error.to_string() };
        Ok(Bytes::from(set.map_err(unsupported)?))
    }

    /// Tells everybody that it is stored.
    pub(super) fn succeed(self, acked: Acked) {
        self.outcome.complete(Ok(acked));
    }

    /// Tells everybody that it is given up.
    pub(super) fn fail(self, error: ClientError) {
        self.outcome.complete(Err(error));
    }
}
