//! [`Consumer`]: reads partitions that it was told to read. [`GroupConsumer`] has a group decide which.
//!
//! # Layout
//! - [`block`]: what one fetch brought of one partition
//! - [`fetch`]: one Fetch request
//! - [`offsets`]: where logs begin and end
//! - [`positions`](self): where each partition is read next, as plain data
//! - [`range`]: a range of one partition, fixed beforehand
//! - [`commit`]: committed offsets of a group
//! - [`assignor`]: who reads what
//! - [`membership`](self): joining, syncing, heartbeats, leaving
//! - [`group`]: a consumer whose partitions a group decides
//!
//! Always true:
//! - at most one Fetch is under way per broker, and a partition is not fetched again before its last block was handed out: so at most
//!   `fetch.max.bytes` per broker are held;
//! - while the caller works on a block the next one is on its way;
//! - a block belongs to the position it was fetched for: what arrives after a `seek` or a new assignment is thrown away.

pub mod assignor;
pub mod block;
pub mod commit;
pub mod fetch;
pub mod group;
mod membership;
pub mod offsets;
mod positions;
pub mod range;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::types::{BrokerId, Offset, TopicPartition};
use runtime::clock::Instant;
use tokio::sync::mpsc;

pub use self::block::{BlockRecords, FetchedBlock};
pub use self::commit::{CommittedOffset, OffsetToCommit};
pub use self::fetch::{FetchOptions, FetchWish, PartitionFetch};
pub use self::group::{GroupConsumer, RebalanceListener};

pub use self::offsets::{ListedOffset, ListedOffsets, OffsetSpec, list_offsets};
pub use self::range::RangeReader;

use self::fetch::FetchTrouble;
use self::positions::Positions;
use super::cluster::{Cluster, PrivateLane};
use super::config::{ConsumerConfig, OffsetReset};
use super::error::{ClientError, Result};

/// Answers that may wait to be looked at: one per broker and kind of request, far below this.
const EVENTS_MAX: usize = 4096;

/// Longest time `poll` sleeps without looking around, for partitions whose retry is due.
const LOOK_AROUND_MAX: Duration = Duration::from_millis(500);

/// Reads assigned partitions. All methods take `&self`; `poll` is for one caller at a time (a second one waits).
pub struct Consumer {
    shared: Arc<Shared>,
    events: tokio::sync::Mutex<mpsc::Receiver<Event>>,
}

struct Shared {
    cluster: Cluster,
    config: ConsumerConfig,
    options: FetchOptions,
    /// Fetches wait at the broker, and must not keep others waiting.
    lane: PrivateLane,
    state: Mutex<State>,
    sender: mpsc::Sender<Event>,
}

#[derive(Default)]
struct State {
    positions: Positions,
    /// Brokers with a Fetch under way or an answer not yet looked at.
    fetching: HashSet<BrokerId>,
    resetting: bool,
    refreshing: bool,
    /// Told by the next `poll`.
    errors: VecDeque<ClientError>,
    /// Why the last request got no answer, where none has been answered since.
    trouble: Option<String>,
    closed: bool,
}

/// What a task of ours reports.
enum Event {
    Fetched { broker: BrokerId, asked: HashMap<TopicPartition, u64>, result: Result<Vec<PartitionFetch>> },
    Reset { found: ListedOffsets, asked: HashMap<TopicPartition, u64> },
    Refreshed { result: Result<()> },
}

impl Consumer {
    /// A consumer without partitions.
    ///
    /// # Errors
    /// [`ClientError::InvalidConfig`].
    pub fn new(cluster: Cluster, config: ConsumerConfig) -> Result<Consumer> {
        config.validate()?;
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        let options = FetchOptions::from(&config);
        let lane = cluster.private_lane();
        let shared = Shared { cluster, config, options, lane, state: Mutex::default(), sender };
        Ok(Consumer { shared: Arc::new(shared), events: tokio::sync::Mutex::new(receiver) })
    }

    /// The cluster it reads from.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.shared.cluster
    }

    /// Why brokers do not answer, as `poll` last saw it; `None` where they do, or have not been asked.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.state.lock().trouble.clone()
    }

    /// What it was configured with.
    #[must_use]
    pub fn config(&self) -> &ConsumerConfig {
        &self.shared.config
    }

    /// Reads exactly these partitions from now on. Those it reads already keep their positions.
    pub fn assign(&self, partitions: impl IntoIterator<Item = TopicPartition>) {
        let wanted: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        self.shared.state.lock().positions.assign(wanted, self.shared.config.max_partition_fetch_bytes);
    }

    /// The partitions it reads, sorted.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.state.lock().positions.assignment()
    }

    /// Reads `partition` from `offset` on.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`].
    pub fn seek(&self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.on(partition, |state| state.positions.seek(partition, offset))
    }

    /// Reads `partition` from its first record on.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`].
    pub fn seek_to_beginning(&self, partition: &TopicPartition) -> Result<()> {
        self.on(partition, |state| state.positions.reset(partition, OffsetSpec::Earliest))
    }

    /// Reads `partition` from its end on, as it is when the request reaches the broker.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`].
    pub fn seek_to_end(&self, partition: &TopicPartition) -> Result<()> {
        self.on(partition, |state| state.positions.reset(partition, OffsetSpec::Latest))
    }

    /// Does not read `partition` until [`Consumer::resume`].
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`].
    pub fn pause(&self, partition: &TopicPartition) -> Result<()> {
        self.on(partition, |state| state.positions.set_paused(partition, true))
    }

    /// Reads `partition` again.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`].
    pub fn resume(&self, partition: &TopicPartition) -> Result<()> {
        self.on(partition, |state| state.positions.set_paused(partition, false))
    }

    /// Offset of the next record that `poll` will hand out; `None` while it is not known yet.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.shared.state.lock().positions.get(partition)?.position
    }

    /// Positions of all partitions that have one.
    #[must_use]
    pub fn positions(&self) -> Vec<(TopicPartition, Offset)> {
        self.shared.state.lock().positions.known()
    }

    /// High watermark of `partition` as the last fetch told it.
    #[must_use]
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<Offset> {
        self.shared.state.lock().positions.get(partition)?.high_watermark
    }

    /// Records of `partition` that could be read and have not been handed out, as of the last fetch.
    #[must_use]
    pub fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        let state = self.shared.state.lock();
        let slot = state.positions.get(partition)?;
        Some((slot.high_watermark?.0 - slot.position?.0).max(0))
    }

    /// Where logs begin and end; see [`list_offsets`].
    pub async fn list_offsets(&self, wanted: &[(TopicPartition, OffsetSpec)]) -> ListedOffsets {
        let cluster = &self.shared.cluster;
        list_offsets(cluster, wanted, self.shared.config.isolation_level, cluster.default_deadline()).await
    }

    /// Waits until the position of `partition` is known: it was sought, or reset by policy.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`]; [`ClientError::Timeout`] after `limit`; what a reset fails with.
    pub async fn wait_for_position(&self, partition: &TopicPartition, limit: Duration) -> Result<Offset> {
        let deadline = self.shared.cluster.clock().now() + limit;
        loop {
            {
                let mut state = self.shared.state.lock();
                let Some(slot) = state.positions.get(partition) else {
                    return Err(ClientError::NotAssigned { partition: partition.clone() });
                };
                if let Some(position) = slot.position {
                    return Ok(position);
                }
                if let Some(error) = state.errors.pop_front() {
                    return Err(error);
                }
            }
            self.shared.start_resets();
            let mut events = self.events.lock().await;
            match self.shared.cluster.clock().timeout_at(deadline, events.recv()).await {
                // Blocks cannot come for a partition without a position; those of others go to the next poll.
                Ok(Some(event)) => {
                    let blocks = self.shared.take_in(event);
                    self.shared.state.lock().positions.keep(blocks);
                }
                Ok(None) => return Err(ClientError::ConsumerClosed),
                Err(_elapsed) => {
                    let waited_ms = super::cluster::whole_ms(limit);
                    let doing = format!("determining the position of {partition}");
                    return Err(ClientError::Timeout { doing, waited_ms, last: None });
                }
            }
        }
    }

    /// What has come, waiting at most `limit` for the first of it. Empty where nothing came.
    ///
    /// Positions move past the returned blocks at once. It may be dropped while it waits without losing anything.
    ///
    /// # Errors
    /// What a partition cannot recover from by itself: [`ClientError::NoOffsetForPartition`], [`ClientError::OffsetOutOfRange`] without a reset
    /// policy, [`ClientError::Broker`] for authorization and damage. Other partitions go on; call again.
    pub async fn poll(&self, limit: Duration) -> Result<Vec<FetchedBlock>> {
        let clock = self.shared.cluster.clock();
        let deadline = clock.now() + limit;
        let mut events = self.events.lock().await;
        loop {
            // Everything that is there already is taken in before anything is waited for.
            while let Ok(event) = events.try_recv() {
                let blocks = self.shared.take_in(event);
                self.shared.state.lock().positions.keep(blocks);
            }
            let ready = {
                let mut state = self.shared.state.lock();
                if state.closed {
                    return Err(ClientError::ConsumerClosed);
                }
                let ready = state.positions.take_ready();
                if ready.is_empty()
                    && let Some(error) = state.errors.pop_front()
                {
                    return Err(error);
                }
                ready
            };
            // The next fetches start before the caller works on these blocks.
            self.shared.start_resets();
            self.shared.start_fetches();
            if !ready.is_empty() {
                return Ok(ready);
            }
            let now = clock.now();
            if now >= deadline {
                return Ok(Vec::new());
            }
            let until = deadline.min(self.shared.next_retry(now));
            if let Ok(Some(event)) = clock.timeout_at(until, events.recv()).await {
                let blocks = self.shared.take_in(event);
                self.shared.state.lock().positions.keep(blocks);
            }
        }
    }

    /// Stops reading. Answers still on their way are thrown away.
    pub fn close(&self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        state.positions.assign(BTreeSet::new(), 0);
    }

    fn on(&self, partition: &TopicPartition, change: impl FnOnce(&mut State) -> bool) -> Result<()> {
        if change(&mut self.shared.state.lock()) {
            Ok(())
        } else {
            Err(ClientError::NotAssigned { partition: partition.clone() })
        }
    }
}

impl Shared {
    /// Asks for the offsets of partitions without a position.
    fn start_resets(self: &Arc<Shared>) {
        let now = self.cluster.clock().now();
        let (wanted, asked) = {
            let mut state = self.state.lock();
            if state.resetting {
                return;
            }
            let policy = match self.config.auto_offset_reset {
                OffsetReset::Earliest => Some(OffsetSpec::Earliest),
                OffsetReset::Latest => Some(OffsetSpec::Latest),
                OffsetReset::None => None,
            };
            let (wanted, without_policy) = state.positions.due_for_reset(policy, now);
            for partition in without_policy {
                state.errors.push_back(ClientError::NoOffsetForPartition { partition });
            }
            if wanted.is_empty() {
                return;
            }
            let asked = state.positions.tickets(wanted.iter().map(|(partition, _)| partition));
            state.resetting = true;
            (wanted, asked)
        };
        let shared = self.clone();
        runtime::spawn(async move {
            let deadline = shared.cluster.clock().now() + shared.config.client.request_timeout;
            let found = list_offsets(&shared.cluster, &wanted, shared.config.isolation_level, deadline).await;
            shared.report(Event::Reset { found, asked }).await;
        });
    }

    /// Sends a Fetch to every leader that has none under way and has partitions to read.
    fn start_fetches(self: &Arc<Shared>) {
        let now = self.cluster.clock().now();
        let metadata = self.cluster.metadata();
        let mut state = self.state.lock();
        let State { positions, fetching, .. } = &mut *state;
        let mut wishes: BTreeMap<BrokerId, Vec<FetchWish>> = BTreeMap::new();
        let mut without_leader = BTreeSet::new();
        for (partition, slot) in positions.fetchable(now) {
            let Some((leader, leader_epoch)) = metadata.leader(partition) else {
                without_leader.insert(partition.topic.clone());
                continue;
            };
            let preferred = slot.preferred_replica.filter(|replica| metadata.brokers.contains_key(replica));
            let broker = preferred.unwrap_or(leader);
            if fetching.contains(&broker) {
                continue;
            }
            wishes.entry(broker).or_default().push(FetchWish {
                topic_partition: partition.clone(),
                offset: slot.position.unwrap_or_default(),
                leader_epoch,
                bytes_max: slot.fetch_bytes,
            });
        }
        for (broker, wishes) in wishes {
            let asked = positions.tickets(wishes.iter().map(|wish| &wish.topic_partition));
            positions.mark_fetching(asked.keys());
            fetching.insert(broker);
            let shared = self.clone();
            runtime::spawn(async move {
                let result = shared.fetch(broker, wishes).await;
                shared.report(Event::Fetched { broker, asked, result }).await;
            });
        }
        let stale = now.saturating_duration_since(metadata.fetched_at) > self.config.client.metadata_max_age;
        if (stale || !without_leader.is_empty()) && !state.refreshing && !state.positions.is_empty() {
            state.refreshing = true;
            for topic in &without_leader {
                state.positions.retry_topic_at(topic, now + self.config.client.retry_backoff);
            }
            let topics = state.positions.topics();
            drop(state);
            self.start_refresh(topics);
        }
    }

    fn start_refresh(self: &Arc<Shared>, topics: BTreeSet<Arc<str>>) {
        let shared = self.clone();
        runtime::spawn(async move {
            let deadline = shared.cluster.clock().now() + shared.config.client.request_timeout;
            let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
            let result = shared.cluster.refresh_topics(&names, deadline).await.map(|_| ());
            shared.report(Event::Refreshed { result }).await;
        });
    }

    async fn fetch(&self, broker: BrokerId, wishes: Vec<FetchWish>) -> Result<Vec<PartitionFetch>> {
        let connection = self.cluster.connection(broker, self.lane.lane()).await?;
        fetch::fetch(&connection, wishes, &self.options).await
    }

    async fn report(&self, event: Event) {
        // The consumer is gone: nobody waits for this any more.
        let _ = self.sender.send(event).await;
    }

    /// Takes note of an answer; blocks with records come back.
    fn take_in(&self, event: Event) -> Vec<FetchedBlock> {
        let now = self.cluster.clock().now();
        let retry_at = now + self.config.client.retry_backoff;
        let mut state = self.state.lock();
        match event {
            Event::Reset { found, asked } => {
                state.resetting = false;
                for (partition, result) in found {
                    if !state.positions.is_current(&partition, &asked) {
                        continue;
                    }
                    match result {
                        Ok(found) => {
                            // No offset where an end was asked for: an old broker with an empty log.
                            let offset = found.map_or(Offset::ZERO, |found| found.offset);
                            tracing::debug!(%partition, %offset, "reset the position");
                            state.positions.seek(&partition, offset);
                        }
                        Err(error) if error.is_retriable() => state.positions.retry_at(&partition, retry_at),
                        Err(error) => {
                            state.positions.retry_at(&partition, retry_at);
                            state.errors.push_back(error);
                        }
                    }
                }
                Vec::new()
            }
            Event::Refreshed { result } => {
                state.refreshing = false;
                state.trouble = result.as_ref().err().map(ToString::to_string).or(state.trouble.take());
                if let Err(error) = result
                    && !error.is_retriable()
                {
                    state.errors.push_back(error);
                }
                Vec::new()
            }
            Event::Fetched { broker, asked, result } => {
                state.fetching.remove(&broker);
                state.positions.unmark_fetching(&asked);
                state.trouble = result.as_ref().err().map(ToString::to_string);
                match result {
                    Ok(fetches) => fetches
                        .into_iter()
                        .filter(|fetch| state.positions.is_current(&fetch.wish.topic_partition, &asked))
                        .collect::<Vec<_>>()
                        .into_iter()
                        .filter_map(|fetch| self.take_in_partition(&mut state, fetch, retry_at))
                        .collect(),
                    Err(error) => {
                        tracing::debug!(%broker, %error, "fetch failed");
                        for partition in asked.keys() {
                            state.positions.retry_at(partition, retry_at);
                            state.positions.set_preferred(partition, None);
                            // The leader may have moved away from a broker that does not answer.
                            self.cluster.forget_topic(&partition.topic);
                        }
                        if !error.is_retriable() {
                            state.errors.push_back(error);
                        }
                        Vec::new()
                    }
                }
            }
        }
    }

    fn take_in_partition(&self, state: &mut State, fetch: PartitionFetch, retry_at: Instant) -> Option<FetchedBlock> {
        let partition = &fetch.wish.topic_partition;
        if fetch.preferred_replica.is_some() {
            state.positions.set_preferred(partition, fetch.preferred_replica);
        }
        let code = match fetch.outcome {
            Ok(block) => {
                state.positions.note(&block);
                if block.is_cut() && fetch.version <= fetch::VERSION_MAX_CUTTING {
                    let limit = i32::try_from(self.config.client.response_bytes_max / 2).unwrap_or(i32::MAX);
                    if !state.positions.widen(partition, limit) {
                        state.errors.push_back(ClientError::RecordTooLarge {
                            bytes: block.size(),
                            limit: limit as usize,
                            config: "max.partition.fetch.bytes",
                        });
                        state.positions.retry_at(partition, retry_at);
                    }
                }
                return (!block.is_empty()).then_some(block);
            }
            Err(code) => code,
        };
        tracing::debug!(%partition, code = code.name(), "fetch failed");
        state.positions.set_preferred(partition, None);
        match fetch::judge(code) {
            FetchTrouble::Metadata => {
                self.cluster.forget_topic(&partition.topic);
                state.positions.retry_at(partition, retry_at);
            }
            FetchTrouble::Retry => state.positions.retry_at(partition, retry_at),
            FetchTrouble::OutOfRange => {
                let offset = fetch.wish.offset;
                match self.config.auto_offset_reset {
                    OffsetReset::None => {
                        state.positions.retry_at(partition, retry_at);
                        let partition = partition.clone();
                        state.errors.push_back(ClientError::OffsetOutOfRange { partition, offset: offset.0 });
                    }
                    policy => {
                        tracing::info!(
                            "Fetch position {offset} is out of range for partition {partition}, resetting offset"
                        );
                        let spec =
                            if policy == OffsetReset::Earliest { OffsetSpec::Earliest } else { OffsetSpec::Latest };
                        state.positions.reset(partition, spec);
                    }
                }
            }
            FetchTrouble::Fatal => {
                state.positions.retry_at(partition, retry_at);
                state.errors.push_back(fetch::fatal(code, partition));
            }
        }
        None
    }

    /// When `poll` must look again although nothing arrives.
    fn next_retry(&self, now: Instant) -> Instant {
        let far = now + LOOK_AROUND_MAX;
        self.state.lock().positions.next_retry(now).map_or(far, |next| next.min(far))
    }
}

#[cfg(test)]
mod tests;
