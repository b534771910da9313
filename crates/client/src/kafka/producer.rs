//! [`Producer`]: gathers records in batches per partition and sends them to the partitions' leaders.
//!
//! # Layout
//! - [`partitioner`]: which partition a record goes to
//! - [`batch`]: records that share a fate, and how their senders learn of it
//! - [`accumulator`](self): batches per partition, as plain data
//! - [`sender`](self): the task that drains them
//!
//! Always true:
//! - unacknowledged records take at most `buffer.memory`; `send` waits for room, at most `max.block.ms`;
//! - every record's [`Delivery`] comes to a result, within `delivery.timeout.ms` and one `request.timeout.ms` more for a request under way;
//! - records of one partition are stored in the order of their `send`s where idempotence is on (the default) or
//!   `max.in.flight.requests.per.connection` is 1; and retries store no record twice, where the broker is one that can tell (0.11 on).

mod accumulator;
pub mod batch;
pub mod partitioner;
mod sender;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::records::{Headers, RecordsError};
use protocol::types::TopicPartition;
use runtime::Task;
use tokio::sync::{Notify, Semaphore};

pub use self::batch::{Delivery, RecordMetadata};

use self::accumulator::{Accumulator, Appended, Limits};
use self::partitioner::Sticky;
use super::cluster::{Cluster, TopicMetadata, whole_ms};
use super::config::ProducerConfig;
use super::error::{ClientError, Result};

/// A record to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerRecord {
    /// Where it goes.
    pub topic: Arc<str>,
    /// Its partition; `None` leaves it to the key, or to the producer.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; `None` for the time of `send`.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` deletes the key in a compacted topic.
    pub value: Option<Bytes>,
    /// Its headers; see [`ProducerRecord::with_headers`].
    pub headers: Headers,
}

impl ProducerRecord {
    /// A record with only a value.
    pub fn new(topic: impl Into<Arc<str>>, value: impl Into<Bytes>) -> ProducerRecord {
        ProducerRecord {
            topic: topic.into(),
            partition: None,
            timestamp: None,
            key: None,
            value: Some(value.into()),
            headers: Headers::default(),
        }
    }

    /// The same with a key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> ProducerRecord {
        self.key = Some(key.into());
        self
    }

    /// The same for one partition.
    #[must_use]
    pub fn with_partition(mut self, partition: i32) -> ProducerRecord {
        self.partition = Some(partition);
        self
    }

    /// The same with a timestamp in milliseconds since 1970.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: i64) -> ProducerRecord {
        self.timestamp = Some(timestamp);
        self
    }

    /// The same with headers, each a key and perhaps a value.
    ///
    /// # Errors
    /// [`ClientError::Unencodable`] where one is too long for the format.
    pub fn with_headers<'a>(
        mut self,
        headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<ProducerRecord> {
        let unencodable =
            |error: RecordsError| ClientError::Unencodable { what: "headers".to_string(), cause: error.to_string() };
        self.headers = Headers::encode(headers).map_err(unencodable)?;
        Ok(self)
    }
}

/// Sends records. Cheap to clone; when the last clone is dropped, what was sent before is still delivered.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// Ends the sending task when the last clone of the producer goes.
struct Handle {
    shared: Arc<Shared>,
    sender: Mutex<Option<Task<()>>>,
}

/// What the callers and the sending task both touch.
struct Shared {
    cluster: Cluster,
    config: ProducerConfig,
    accumulator: Accumulator,
    /// `buffer.memory`, in bytes.
    memory: Arc<Semaphore>,
    memory_waiters: AtomicUsize,
    flushing: AtomicUsize,
    closing: AtomicBool,
    /// Told when there is something new to send, or room to send it.
    wake: Notify,
    /// The turn of records without key, by topic.
    turns: Mutex<HashMap<Arc<str>, Sticky>>,
}

impl Producer {
    /// A producer; its sending task starts on the current tokio runtime.
    ///
    /// # Errors
    /// [`ClientError::InvalidConfig`].
    pub fn new(cluster: Cluster, config: ProducerConfig) -> Result<Producer> {
        config.validate()?;
        let shared = Arc::new(Shared {
            cluster,
            accumulator: Accumulator::new(Limits::from(&config)),
            memory: Arc::new(Semaphore::new(config.buffer_memory.min(Semaphore::MAX_PERMITS))),
            memory_waiters: AtomicUsize::new(0),
            flushing: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            wake: Notify::new(),
            turns: Mutex::default(),
            config,
        });
        let sender = runtime::spawn(sender::run(shared.clone()));
        Ok(Producer { handle: Arc::new(Handle { shared, sender: Mutex::new(Some(sender)) }) })
    }

    /// The cluster it writes to.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.handle.shared.cluster
    }

    /// Puts a record in its batch and returns; the [`Delivery`] tells what became of it. Waits for metadata and for room in the buffer, at most
    /// `max.block.ms`. Records of one caller keep their order.
    ///
    /// # Errors
    /// [`ClientError::TopicNotPresent`], [`ClientError::RecordTooLarge`], [`ClientError::BufferExhausted`],
    /// [`ClientError::InvalidPartition`], [`ClientError::ProducerClosed`]. The record was then not sent.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery> {
        let shared = &*self.handle.shared;
        if shared.closing.load(Ordering::Acquire) {
            return Err(ClientError::ProducerClosed);
        }
        shared.check_size(&record)?;
        let clock = shared.cluster.clock();
        let mut now = clock.now();
        let deadline = now + shared.config.max_block;
        let known = shared.cluster.metadata().topic(&record.topic).filter(|topic| topic.is_usable()).cloned();
        let topic = match known {
            Some(topic) => topic,
            None => {
                let topic = shared.cluster.topic(&record.topic, true, deadline).await?;
                // The record is young only now.
                now = clock.now();
                topic
            }
        };
        let partition = TopicPartition { topic: topic.name.clone(), partition: shared.partition(&record, &topic)? };
        let timestamp = record.timestamp.unwrap_or_else(|| clock.now_ms());
        let mut memory = None;
        loop {
            match shared.accumulator.append(&partition, &record, timestamp, now, memory.take())? {
                Appended::Done { delivery, wake } => {
                    if wake {
                        shared.wake.notify_one();
                    }
                    return Ok(delivery);
                }
                Appended::NeedsMemory(bytes) => {
                    let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
                    let waiting = Waiter::new(&shared.memory_waiters);
                    if shared.memory.available_permits() < bytes {
                        // Nothing lingers while somebody waits for its room.
                        shared.wake.notify_one();
                    }
                    let acquired = clock.timeout_at(deadline, shared.memory.clone().acquire_many_owned(permits));
                    memory = match acquired.await {
                        Ok(Ok(acquired)) => Some(acquired),
                        Ok(Err(_closed)) => return Err(ClientError::ProducerClosed),
                        Err(_elapsed) => {
                            return Err(ClientError::BufferExhausted {
                                bytes,
                                waited_ms: whole_ms(shared.config.max_block),
                                total: shared.config.buffer_memory,
                            });
                        }
                    };
                    drop(waiting);
                    // The batch that is opened now begins to linger now.
                    now = clock.now();
                }
            }
        }
    }

    /// Partitions of a topic, asked for (and the topic created, where the broker does that) if it is not known yet.
    ///
    /// # Errors
    /// [`ClientError::TopicNotPresent`] after `max.block.ms`.
    pub async fn partitions_for(&self, topic: &str) -> Result<Arc<TopicMetadata>> {
        let shared = &self.handle.shared;
        let deadline = shared.cluster.clock().now() + shared.config.max_block;
        shared.cluster.topic(topic, true, deadline).await
    }

    /// Sends everything now and waits until each record sent before this call has its result.
    pub async fn flush(&self) {
        let shared = &self.handle.shared;
        let _flushing = Waiter::new(&shared.flushing);
        shared.wake.notify_one();
        for outcome in shared.accumulator.outstanding() {
            outcome.wait().await;
        }
    }

    /// Takes no more records, delivers those it has within `limit`, and gives the rest up.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] where records had to be given up; their deliveries say [`ClientError::ProducerClosed`].
    pub async fn close(&self, limit: Duration) -> Result<()> {
        let shared = &self.handle.shared;
        shared.closing.store(true, Ordering::Release);
        shared.wake.notify_one();
        let flushed = shared.cluster.clock().timeout(limit, self.flush()).await;
        shared.memory.close();
        let sender = self.handle.sender.lock().take();
        if let Some(sender) = sender {
            sender.abort();
        }
        if flushed.is_ok() {
            return Ok(());
        }
        for batch in shared.accumulator.take_all() {
            batch.fail(ClientError::ProducerClosed);
        }
        for outcome in shared.accumulator.outstanding() {
            outcome.complete(Err(ClientError::ProducerClosed));
        }
        Err(ClientError::Timeout { doing: "closing the producer".to_string(), waited_ms: whole_ms(limit), last: None })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The sending task ends by itself once nothing is left to deliver.
        self.shared.closing.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn check_size(&self, record: &ProducerRecord) -> Result<()> {
        let bytes = accumulator::lone_record_bytes(record);
        for (limit, config) in
            [(self.config.max_request_size, "max.request.size"), (self.config.buffer_memory, "buffer.memory")]
        {
            if bytes > limit {
                return Err(ClientError::RecordTooLarge { bytes, limit, config });
            }
        }
        Ok(())
    }

    fn partition(&self, record: &ProducerRecord, topic: &TopicMetadata) -> Result<i32> {
        if let Some(partition) = record.partition {
            return partitioner::explicit(partition, topic);
        }
        if let Some(key) = &record.key {
            let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            return Ok(partitioner::partition_for_key(key, count));
        }
        let bytes = accumulator::record_bytes(record);
        let mut turns = self.turns.lock();
        let before = turns.get(&topic.name).copied();
        let (partition, turn) = Sticky::next(before, topic, bytes, self.config.batch_size, self.cluster.random());
        match turns.get_mut(&topic.name) {
            Some(entry) => *entry = turn,
            None => {
                turns.insert(topic.name.clone(), turn);
            }
        }
        Ok(partition)
    }
}

/// Counts somebody in while it lives.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn new(count: &'a AtomicUsize) -> Waiter<'a> {
        count.fetch_add(1, Ordering::AcqRel);
        Waiter(count)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
