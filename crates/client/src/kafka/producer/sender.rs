//! The sending task: drains the accumulator, one request per leader at a time and in order, and judges the answers.
//!
//! One loop decides what is sent where; a worker per broker packs and compresses batches and puts requests on the wire in the order the loop
//! gave them; a task per request waits for its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use protocol::error::ErrorCode;
use protocol::messages::init_producer_id::InitProducerIdRequest;
use protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use protocol::records::Codec;
use protocol::types::{BrokerId, Offset};
use protocol::wire::Str;
use runtime::clock::Instant;
use tokio::sync::mpsc;

use super::super::cluster::Lane;
use super::super::config::Acks;
use super::super::connection::Connection;
use super::super::error::{ClientError, Result};
use super::Shared;
use super::accumulator::{self, Drained, Numbering, Readiness};
use super::batch::{Acked, Batch, Identity};

/// First version of Produce that carries batches v2, and with them sequences.
const VERSION_BATCHES: i16 = 3;

/// First version of Produce that carries zstd (KIP-110).
const VERSION_ZSTD: i16 = 7;

/// Longest sleep of the loop: it then looks around, whatever it may have missed.
const SLEEP_MAX: Duration = Duration::from_secs(5);

/// A broker's worker.
struct Node {
    requests: mpsc::Sender<Vec<Batch>>,
    in_flight: Arc<AtomicUsize>,
}

/// Runs until the producer is closed and nothing is left to deliver.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut sender = Sender {
        nodes: BTreeMap::new(),
        identity: None,
        idempotent: shared.config.enable_idempotence,
        identity_retry_at: None,
        refreshing: Arc::new(AtomicBool::new(false)),
        rotation: 0,
        shared,
    };
    loop {
        let wake = sender.pass().await;
        let shared = &sender.shared;
        if shared.closing.load(Ordering::Acquire) && shared.accumulator.outstanding().is_empty() {
            return;
        }
        let clock = shared.cluster.clock();
        tokio::select! {
            biased;
            () = shared.wake.notified() => {}
            () = clock.sleep_until(wake) => {}
        }
    }
}

struct Sender {
    shared: Arc<Shared>,
    nodes: BTreeMap<BrokerId, Node>,
    /// What sequences count under; `None` until a broker has given it.
    identity: Option<Identity>,
    idempotent: bool,
    identity_retry_at: Option<Instant>,
    refreshing: Arc<AtomicBool>,
    /// The partition that comes first: with a full request the first ones get all of it.
    rotation: usize,
}

impl Sender {
    /// Sends what can be sent and returns when to look again, unless woken before.
    async fn pass(&mut self) -> Instant {
        let shared = self.shared.clone();
        let now = shared.cluster.clock().now();
        for (batch, error) in shared.accumulator.expire(now) {
            tracing::debug!(partition = %batch.partition, %error, "batch given up");
            batch.fail(error);
        }
        let mut wake = now + SLEEP_MAX;
        if let Some(expiry) = shared.accumulator.next_expiry() {
            wake = wake.min(expiry);
        }
        let hurry = shared.flushing.load(Ordering::Acquire) > 0
            || shared.memory_waiters.load(Ordering::Acquire) > 0
            || shared.closing.load(Ordering::Acquire);

        let metadata = shared.cluster.metadata();
        let mut queues = shared.accumulator.queues();
        if !queues.is_empty() {
            self.rotation = (self.rotation + 1) % queues.len();
            queues.rotate_left(self.rotation);
        }
        let mut requests: BTreeMap<BrokerId, (Vec<Batch>, usize)> = BTreeMap::new();
        let mut leaderless = BTreeSet::new();
        for queue in &queues {
            match shared.accumulator.readiness(queue, now, hurry, self.idempotent) {
                Readiness::Empty | Readiness::Blocked => continue,
                Readiness::At(at) => {
                    wake = wake.min(at);
                    continue;
                }
                Readiness::Now => {}
            }
            let Some((leader, _)) = metadata.leader(&queue.partition) else {
                leaderless.insert(queue.partition.topic.clone());
                continue;
            };
            if self.in_flight(leader) >= shared.config.max_in_flight {
                // Woken when one comes back.
                continue;
            }
            let numbering = match (self.idempotent, self.identity) {
                (false, _) => Numbering::Off,
                (true, Some(identity)) => Numbering::On(identity),
                (true, None) => {
                    wake = wake.min(self.obtain_identity(now).await);
                    continue;
                }
            };
            let (batches, bytes) = requests.entry(leader).or_default();
            let room =
                if batches.is_empty() { usize::MAX } else { shared.config.max_request_size.saturating_sub(*bytes) };
            match shared.accumulator.drain(queue, numbering, room) {
                Drained::Batch(batch) => {
                    *bytes += batch.size();
                    batches.push(*batch);
                }
                Drained::Nothing => {}
                Drained::NeedsNewEpoch => {
                    self.next_epoch();
                    wake = now;
                }
            }
        }
        for (leader, (batches, _)) in requests {
            if !batches.is_empty() {
                self.hand_over(leader, batches);
                // There may be more behind them.
                wake = wake.min(now);
            }
        }
        let stale = now.saturating_duration_since(metadata.fetched_at) > shared.config.client.metadata_max_age;
        if !leaderless.is_empty() || (stale && !queues.is_empty()) {
            if !leaderless.is_empty() {
                wake = wake.min(now + shared.config.client.retry_backoff);
            }
            let topics = queues.iter().map(|queue| queue.partition.topic.clone()).collect();
            self.refresh(if leaderless.is_empty() { topics } else { leaderless });
        }
        wake
    }

    fn in_flight(&self, broker: BrokerId) -> usize {
        self.nodes.get(&broker).map_or(0, |node| node.in_flight.load(Ordering::Acquire))
    }

    fn hand_over(&mut self, broker: BrokerId, batches: Vec<Batch>) {
        let node = self.nodes.entry(broker).or_insert_with(|| {
            let (requests, receiver) = mpsc::channel(self.shared.config.max_in_flight);
            let in_flight = Arc::new(AtomicUsize::new(0));
            runtime::spawn(work(self.shared.clone(), broker, receiver, in_flight.clone()));
            Node { requests, in_flight }
        });
        node.in_flight.fetch_add(1, Ordering::AcqRel);
        if let Err(refused) = node.requests.try_send(batches) {
            // The queue has a place for every request that may be under way; so the worker has ended, with its runtime.
            node.in_flight.fetch_sub(1, Ordering::AcqRel);
            self.nodes.remove(&broker);
            for batch in refused.into_inner() {
                self.shared.accumulator.settle(batch, Err(ClientError::ProducerClosed));
            }
        }
    }

    /// Asks for the leaders of `topics`, in the background, one question at a time.
    fn refresh(&self, topics: BTreeSet<Arc<str>>) {
        if self.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (shared, refreshing) = (self.shared.clone(), self.refreshing.clone());
        runtime::spawn(async move {
            let deadline = shared.cluster.clock().now() + shared.config.client.request_timeout;
            let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
            if let Err(error) = shared.cluster.refresh_topics(&names, deadline).await {
                tracing::debug!(%error, "metadata refresh failed");
            }
            refreshing.store(false, Ordering::Release);
            shared.wake.notify_one();
        });
    }

    /// Gets a producer id; returns when to try again, or `now` where it is there.
    async fn obtain_identity(&mut self, now: Instant) -> Instant {
        if let Some(at) = self.identity_retry_at.filter(|at| *at > now) {
            return at;
        }
        let shared = self.shared.clone();
        let asked = async {
            let connection = shared.cluster.any_connection().await?;
            let request = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: i32::MAX,
                ..InitProducerIdRequest::default()
            };
            let response = connection.send(&request).await?;
            super::super::error::check_code(response.error_code, || "InitProducerId".to_string())?;
            Ok(Identity { id: response.producer_id, epoch: response.producer_epoch })
        };
        match asked.await {
            Ok(identity) => {
                tracing::debug!(id = identity.id, epoch = identity.epoch, "producer id");
                self.identity = Some(identity);
                now
            }
            Err(ClientError::UnsupportedVersion { .. }) => {
                tracing::warn!(
                    "The broker does not support idempotent producers (it is older than 0.11): a retry may store a record twice"
                );
                self.idempotent = false;
                now
            }
            Err(error) => {
                tracing::debug!(%error, "no producer id");
                let at = shared.cluster.clock().now() + shared.config.client.retry_backoff_max;
                self.identity_retry_at = Some(at);
                if !error.is_retriable() {
                    for batch in shared.accumulator.take_all() {
                        batch.fail(error.clone());
                    }
                }
                at
            }
        }
    }

    /// The next epoch of our producer id; after the last one a new id is needed.
    fn next_epoch(&mut self) {
        self.identity = self.identity.and_then(|identity| {
            let epoch = identity.epoch.checked_add(1)?;
            Some(Identity { id: identity.id, epoch })
        });
    }
}

/// A broker's worker: packs and sends one request after the other.
async fn work(
    shared: Arc<Shared>,
    broker: BrokerId,
    mut requests: mpsc::Receiver<Vec<Batch>>,
    in_flight: Arc<AtomicUsize>,
) {
    while let Some(batches) = requests.recv().await {
        let in_flight = in_flight.clone();
        let started = start(&shared, broker, batches).await;
        let shared = shared.clone();
        let finish = move |batches, result| {
            judge(&shared, batches, result);
            in_flight.fetch_sub(1, Ordering::AcqRel);
            shared.wake.notify_one();
        };
        match started {
            Started::Finished(batches, result) => finish(batches, result),
            Started::UnderWay(batches, answer) => {
                runtime::spawn(async move {
                    let result = answer.wait().await.map(Some);
                    finish(batches, result);
                });
            }
        }
    }
}

enum Started {
    UnderWay(Vec<Batch>, super::super::connection::Answer<ProduceRequest>),
    /// Without an answer to wait for: it failed, or none comes (`acks=0`).
    Finished(Vec<Batch>, Result<Option<ProduceResponse>>),
}

async fn start(shared: &Shared, broker: BrokerId, mut batches: Vec<Batch>) -> Started {
    let connected = async {
        let connection = shared.cluster.connection(broker, Lane::General).await?;
        let version = connection.version_of::<ProduceRequest>()?;
        Ok::<(Connection, i16), ClientError>((connection, version))
    };
    let (connection, version) = match connected.await {
        Ok(connected) => connected,
        Err(error) => return Started::Finished(batches, Err(error)),
    };
    let request = match request(shared, &mut batches, version) {
        Ok(request) => request,
        Err(error) => return Started::Finished(batches, Err(error)),
    };
    let limit = shared.config.client.request_timeout;
    if shared.config.acks == Acks::None {
        let sent = connection.send_without_answer(&request, version).await;
        return Started::Finished(batches, sent.map(|()| None));
    }
    match connection.begin(&request, version, limit).await {
        Ok(answer) => Started::UnderWay(batches, answer),
        Err(error) => Started::Finished(batches, Err(error)),
    }
}

/// Packs the batches into a request. Batches that the version cannot carry fail, and leave `batches`.
fn request(shared: &Shared, batches: &mut Vec<Batch>, version: i16) -> Result<ProduceRequest> {
    let mut topics: Vec<TopicProduceData> = Vec::new();
    let mut carried = Vec::with_capacity(batches.len());
    for mut batch in batches.drain(..) {
        let records = check_version(shared, &batch, version).and_then(|()| {
            batch.pack()?;
            batch.records_for(version)
        });
        let records = match records {
            Ok(records) => records,
            Err(error) => {
                shared.accumulator.settle(batch, Err(error));
                continue;
            }
        };
        let data = PartitionProduceData { index: batch.partition.partition, records: Some(records) };
        match topics.iter_mut().find(|topic| *topic.name == *batch.partition.topic) {
            Some(topic) => topic.partition_data.push(data),
            None => {
                topics.push(TopicProduceData { name: Str::from(&*batch.partition.topic), partition_data: vec![data] })
            }
        }
        carried.push(batch);
    }
    *batches = carried;
    Ok(ProduceRequest {
        transactional_id: None,
        acks: shared.config.acks.wire(),
        timeout_ms: i32::try_from(shared.config.client.request_timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data: topics,
    })
}

fn check_version(shared: &Shared, batch: &Batch, version: i16) -> Result<()> {
    let unsupported = |reason: String| ClientError::UnsupportedVersion { api: "Produce", reason };
    if shared.config.compression == Codec::Zstd && version < VERSION_ZSTD {
        return Err(unsupported(format!("zstd needs version {VERSION_ZSTD}, the broker has {version}")));
    }
    if batch.sequence.is_some() && version < VERSION_BATCHES {
        return Err(unsupported(format!("sequences need version {VERSION_BATCHES}, the broker has {version}")));
    }
    Ok(())
}

/// Decides what becomes of each batch of a request.
fn judge(shared: &Shared, batches: Vec<Batch>, result: Result<Option<ProduceResponse>>) {
    let response = match result {
        Ok(Some(response)) => response,
        Ok(None) => {
            for batch in batches {
                shared.accumulator.settle(batch, Ok(Acked { base_offset: None, log_append_time: None }));
            }
            return;
        }
        Err(error) => {
            for batch in batches {
                // A broker that does not answer may lead no longer.
                shared.cluster.forget_topic(&batch.partition.topic);
                retry_or_fail(shared, batch, error.clone(), false);
            }
            return;
        }
    };
    for batch in batches {
        let answer = response
            .responses
            .iter()
            .filter(|topic| *topic.name == *batch.partition.topic)
            .flat_map(|topic| &topic.partition_responses)
            .find(|answer| answer.index == batch.partition.partition);
        match answer {
            Some(answer) => judge_batch(shared, batch, answer),
            None => {
                let error = ClientError::Malformed {
                    what: "Produce response".to_string(),
                    broker: "the leader".to_string(),
                    cause: format!("it leaves {} out", batch.partition),
                };
                retry_or_fail(shared, batch, error, false);
            }
        }
    }
}

fn judge_batch(shared: &Shared, batch: Batch, answer: &PartitionProduceResponse) {
    let code = ErrorCode(answer.error_code);
    let message = answer.error_message.as_deref().map(str::to_string);
    let error = ClientError::Broker { code, message, about: batch.partition.to_string() };
    match code {
        // A repetition of something the broker still knows, though not always where it is.
        ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER => {
            let base_offset = (answer.base_offset >= 0).then_some(Offset(answer.base_offset));
            let log_append_time = (answer.log_append_time_ms >= 0).then_some(answer.log_append_time_ms);
            shared.accumulator.settle(batch, Ok(Acked { base_offset, log_append_time }));
        }
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER if batch.sequence.is_some() => {
            // Behind a batch that is being retried this is only its echo. By itself it means that the broker has lost what came before.
            let new_epoch = !shared.accumulator.has_earlier(&batch);
            retry_or_fail(shared, batch, error, new_epoch);
        }
        ErrorCode::UNKNOWN_PRODUCER_ID | ErrorCode::INVALID_PRODUCER_EPOCH if batch.sequence.is_some() => {
            retry_or_fail(shared, batch, error, true);
        }
        _ => {
            if is_about_leadership(code) {
                shared.cluster.forget_topic(&batch.partition.topic);
            }
            retry_or_fail(shared, batch, error, false);
        }
    }
}

fn is_about_leadership(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::REPLICA_NOT_AVAILABLE
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::UNKNOWN_LEADER_EPOCH
    )
}

/// Sends a batch again where that can help, within `retries` and `delivery.timeout.ms`.
fn retry_or_fail(shared: &Shared, mut batch: Batch, error: ClientError, new_epoch: bool) {
    let now = shared.cluster.clock().now();
    let age = now.saturating_duration_since(batch.created);
    // An answer that cannot be read leaves open whether the batch was stored; only a sequence makes the repetition harmless.
    let unreadable = matches!(error, ClientError::Malformed { .. }) && batch.sequence.is_some();
    let helps = error.is_retriable() || new_epoch || unreadable || is_echo(&error, &batch);
    if !helps || batch.attempts > shared.config.retries {
        shared.accumulator.settle(batch, Err(error));
        return;
    }
    if age >= shared.config.delivery_timeout {
        batch.last_error = Some(error);
        let error = accumulator::timed_out(&batch, age);
        shared.accumulator.settle(batch, Err(error));
        return;
    }
    tracing::warn!("Got error produce response on topic-partition {}, retrying: {error}", batch.partition);
    batch.last_error = Some(error);
    // Growing pauses, as everywhere; the doubling stops at the maximum.
    let config = &shared.config.client;
    let doublings = batch.attempts.saturating_sub(1).min(16);
    let pause = config.retry_backoff.saturating_mul(1 << doublings).min(config.retry_backoff_max);
    batch.retry_at = Some(now + pause);
    shared.accumulator.put_back(batch, new_epoch);
}

fn is_echo(error: &ClientError, batch: &Batch) -> bool {
    batch.sequence.is_some() && error.code() == Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
}
