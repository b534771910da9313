//! [`ZookeeperConsumer`]: what callers hold. The partitions come and go by themselves ([`super::membership`]); this hands out what was fetched of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::types::{Offset, TopicPartition};
use runtime::clock::Instant;
use runtime::{Clock, Random, Task};
use tokio::sync::{Notify, watch};

use super::config::ZookeeperConsumerConfig;
use super::membership::Membership;
use super::offsets::Offsets;
use super::subscription::Subscription;
use crate::kafka::consumer::commit::GroupCoordinator;
use crate::kafka::{ClientError, Consumer, FetchedBlock, HostPort};
use crate::zookeeper::{Session, SessionState};
use crate::zookeeper_consumer::ConsumerError;

/// Errors kept for a caller that does not poll; the oldest are dropped.
const ERRORS_MAX: usize = 16;

/// A member of a group in ZooKeeper.
///
/// ```no_run
/// # use tidemill_client as client;
/// # async fn example() -> Result<(), client::zookeeper_consumer::ConsumerError> {
/// use client::zookeeper_consumer::{Subscription, ZookeeperConsumer, ZookeeperConsumerConfig};
/// use std::time::Duration;
///
/// let config = ZookeeperConsumerConfig::new("localhost:2181", "words");
/// let consumer = ZookeeperConsumer::start(config, Subscription::topics(["wordsendertest"])).await?;
/// for block in consumer.poll(Duration::from_secs(1)).await?.blocks {
///     for record in block.records() {
///         println!("{:?}", record?.value);
///     }
/// }
/// consumer.close().await
/// # }
/// ```
pub struct ZookeeperConsumer {
    shared: Arc<Shared>,
    /// Dropping it makes the task leave the group.
    closing: watch::Sender<bool>,
    task: Mutex<Option<Task<Result<(), ConsumerError>>>>,
}

/// What one poll brought. To be taken in this order: forget what is lost, take note of what is new, work on the blocks.
#[derive(Debug, Clone, Default)]
pub struct Polled {
    /// Partitions that now belong to another member. What is kept of their records and not committed will be read by that one.
    pub lost: Vec<TopicPartition>,
    /// Partitions that now belong to this member, and where it begins; `None` where nobody has committed, so that `auto.offset.reset` decides.
    pub assigned: Vec<(TopicPartition, Option<Offset>)>,
    /// Records, only of partitions that belong to this member.
    pub blocks: Vec<FetchedBlock>,
}

impl Polled {
    /// Nothing came.
    pub fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.assigned.is_empty() && self.blocks.is_empty()
    }
}

impl ZookeeperConsumer {
    /// Joins the group: connects, registers, and shares the partitions out for the first time. Without any broker it succeeds with no partition, and
    /// gets some once a broker registers.
    ///
    /// # Errors
    /// [`ConsumerError::BadConfig`]; ZooKeeper not there; [`ConsumerError::AlreadyRegistered`]; [`ConsumerError::RebalanceFailed`].
    pub async fn start(
        config: ZookeeperConsumerConfig,
        subscription: Subscription,
    ) -> Result<ZookeeperConsumer, ConsumerError> {
        ZookeeperConsumer::start_with(config, subscription, Clock::real(), Random::real()).await
    }

    /// [`ZookeeperConsumer::start`] with a clock and chance of the caller's.
    ///
    /// # Errors
    /// As `start`.
    pub async fn start_with(
        config: ZookeeperConsumerConfig,
        subscription: Subscription,
        clock: Clock,
        random: Random,
    ) -> Result<ZookeeperConsumer, ConsumerError> {
        config.validate()?;
        subscription.validate()?;
        let consumer_id = consumer_id(&config, clock, random);
        let (closing, close_asked) = watch::channel(false);
        let (shared, membership) = Membership::join(config, subscription, consumer_id, clock, close_asked).await?;
        let task = runtime::spawn(membership.run());
        Ok(ZookeeperConsumer { shared, closing, task: Mutex::new(Some(task)) })
    }

    /// This member's id in the group.
    pub fn consumer_id(&self) -> &str {
        &self.shared.consumer_id
    }

    /// The partitions that belong to it now, with the next offset to hand out where that is known.
    pub fn assignment(&self) -> Vec<(TopicPartition, Option<Offset>)> {
        let reader = self.shared.reader();
        let position = |partition: &TopicPartition| reader.as_ref()?.consumer.position(partition);
        self.shared.state.lock().owned.keys().map(|partition| (partition.clone(), position(partition))).collect()
    }

    /// Why ZooKeeper does not answer; `None` where it does.
    pub fn zookeeper_trouble(&self) -> Option<String> {
        let session = self.shared.session();
        (session.state() != SessionState::SyncConnected).then(|| session.last_failure())
    }

    /// What fetches for it; `None` as long as no broker was found. For high watermarks and lags, and for the cluster's metadata.
    pub fn reader(&self) -> Option<Arc<Consumer>> {
        self.shared.reader().map(|reader| reader.consumer)
    }

    /// What has come, waiting at most `limit` for the first of it. For one caller at a time.
    ///
    /// What the poll before has handed out counts as consumed from now on, so automatic commits may pass it. Dropping the wait loses nothing.
    ///
    /// # Errors
    /// [`ConsumerError::ConsumerTimeout`] after `consumer.timeout.ms` without a record; [`ConsumerError::Kafka`] for what a partition cannot recover
    /// from by itself; [`ConsumerError::Closed`]. Except for the last, poll again to go on.
    pub async fn poll(&self, limit: Duration) -> Result<Polled, ConsumerError> {
        let shared = &*self.shared;
        let now = shared.clock.now();
        let (idle_since, mut deadline) = {
            let mut state = shared.state.lock();
            state.consume_handed_out();
            (*state.idle_since.get_or_insert(now), now + limit)
        };
        let idle_until = shared.config.consumer_timeout.map(|timeout| idle_since + timeout);
        if let Some(idle_until) = idle_until {
            deadline = deadline.min(idle_until.max(now));
        }
        loop {
            if let Some(polled) = shared.state.lock().take_news(Vec::new())? {
                return Ok(polled);
            }
            let now = shared.clock.now();
            let left = deadline.saturating_duration_since(now);
            let mut fetched = std::pin::pin!(async {
                match shared.reader() {
                    Some(reader) => reader.consumer.poll(left).await,
                    None => std::future::pending().await,
                }
            });
            // The reader's position moves with the blocks: under one lock, nobody sees the one without the other.
            let fetched = std::future::poll_fn(|context| {
                let mut state = shared.state.lock();
                fetched.as_mut().poll(context).map(|blocks| match blocks {
                    // Closed with this consumer, which the next look tells, or replaced by another reader.
                    Err(ClientError::ConsumerClosed) => Ok(None),
                    blocks => state.take_news(blocks?),
                })
            });
            tokio::select! {
                biased;
                () = shared.changed.notified() => {}
                news = fetched => {
                    if let Some(polled) = news? {
                        return Ok(polled);
                    }
                }
                () = shared.clock.sleep_until(deadline) => {}
            }
            let now = shared.clock.now();
            if now < deadline {
                continue;
            }
            return match idle_until {
                Some(idle_until) if idle_until <= now => {
                    let waited = now.saturating_duration_since(idle_since);
                    shared.state.lock().idle_since = None;
                    Err(ConsumerError::ConsumerTimeout { waited })
                }
                _ => Ok(Polled::default()),
            };
        }
    }

    /// Says that records of a partition were worked on up to `next`, the next one to read: for callers that stop within a block. Automatic commits go
    /// no further.
    pub fn mark_consumed(&self, partition: &TopicPartition, next: Offset) {
        let mut state = self.shared.state.lock();
        state.handed_out.remove(partition);
        if let Some(owned) = state.owned.get_mut(partition) {
            owned.consumed = Some(next);
        }
    }

    /// Reads a partition from `offset` on.
    ///
    /// # Errors
    /// Where the partition does not belong to this member.
    pub fn seek(&self, partition: &TopicPartition, offset: Offset) -> Result<(), ConsumerError> {
        let mut state = self.shared.state.lock();
        let Some(reader) = self.shared.reader().filter(|_| state.owned.contains_key(partition)) else {
            return Err(ClientError::NotAssigned { partition: partition.clone() }.into());
        };
        reader.consumer.seek(partition, offset)?;
        state.handed_out.remove(partition);
        Ok(())
    }

    /// Commits the next offsets to read, and waits until they are kept. Partitions that do not belong to this member any more are left out, because
    /// their new owner may be ahead already; they come back.
    ///
    /// # Errors
    /// Where they could not be kept after `offsets.commit.max.retries`; a part may have been.
    pub async fn commit(&self, offsets: &[(TopicPartition, Offset)]) -> Result<Vec<TopicPartition>, ConsumerError> {
        let _gate = self.shared.commit_gate.lock().await;
        let (ours, others): (Vec<_>, Vec<_>) = {
            let state = self.shared.state.lock();
            offsets.iter().cloned().partition(|(partition, _)| state.owned.contains_key(partition))
        };
        self.shared.commit(&ours).await?;
        Ok(others.into_iter().map(|(partition, _)| partition).collect())
    }

    /// Commits all that was consumed and is not committed yet.
    ///
    /// # Errors
    /// As [`ZookeeperConsumer::commit`].
    pub async fn commit_consumed(&self) -> Result<(), ConsumerError> {
        self.shared.commit_consumed().await
    }

    /// Leaves the group: commits what was handed out (with automatic commits), lets the partitions go, closes the session.
    ///
    /// # Errors
    /// Where the last commit failed. The group is left all the same.
    pub async fn close(&self) -> Result<(), ConsumerError> {
        self.shared.state.lock().consume_handed_out();
        self.closing.send_replace(true);
        let task = self.task.lock().take();
        match task {
            Some(task) => task.await.unwrap_or(Err(ConsumerError::Closed)),
            None => Ok(()),
        }
    }
}

/// `G_host-ms-8hex`, as Kafka makes it; with `consumer.id`, `G_id`.
fn consumer_id(config: &ZookeeperConsumerConfig, clock: Clock, random: Random) -> String {
    let group = &config.group_id;
    match &config.consumer_id {
        Some(id) => format!("{group}_{id}"),
        None => {
            // A slash in it would be a znode of its own.
            let host = runtime::net::host_name().replace('/', "-");
            format!("{group}_{host}-{}-{:08x}", clock.now_ms(), random.u64() >> 32)
        }
    }
}

/// What reads the partitions.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) consumer: Arc<Consumer>,
    pub(super) coordinator: Arc<GroupCoordinator>,
}

impl Reader {
    /// Whether one of these brokers is among those it asks.
    pub(super) fn knows_any(&self, brokers: &[HostPort]) -> bool {
        let cluster = self.consumer.cluster();
        let metadata = cluster.metadata();
        let told: Vec<&HostPort> = metadata.brokers.values().map(|node| &node.address).collect();
        brokers.iter().any(|broker| told.contains(&broker) || cluster.config().bootstrap_servers.contains(broker))
    }
}

/// What the caller and the membership both touch.
pub(super) struct Shared {
    pub(super) config: ZookeeperConsumerConfig,
    pub(super) subscription: Subscription,
    pub(super) consumer_id: String,
    pub(super) clock: Clock,
    pub(super) state: Mutex<State>,
    session: Mutex<Session>,
    reader: Mutex<Option<Reader>>,
    /// Told when there is something for `poll` beside records.
    pub(super) changed: Notify,
    /// Held while offsets are written and while partitions are let go, so that no commit arrives after the next owner has begun.
    pub(super) commit_gate: tokio::sync::Mutex<()>,
}

/// The partitions of this member, and what `poll` has still to tell of them.
#[derive(Default)]
pub(super) struct State {
    pub(super) owned: BTreeMap<TopicPartition, Owned>,
    lost: Vec<TopicPartition>,
    assigned: Vec<(TopicPartition, Option<Offset>)>,
    errors: VecDeque<ConsumerError>,
    /// What the last poll handed out ends here.
    handed_out: BTreeMap<TopicPartition, Offset>,
    /// When waiting for records began.
    idle_since: Option<Instant>,
    closed: bool,
}

/// A partition of this member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owned {
    /// Which of its threads it belongs to; only other members care.
    pub(super) thread: i32,
    /// The caller has worked on everything before it.
    pub(super) consumed: Option<Offset>,
    /// Kept for the group.
    pub(super) committed: Option<Offset>,
}

impl Shared {
    pub(super) fn new(
        config: ZookeeperConsumerConfig,
        subscription: Subscription,
        consumer_id: String,
        clock: Clock,
        session: Session,
    ) -> Shared {
        Shared {
            config,
            subscription,
            consumer_id,
            clock,
            state: Mutex::default(),
            session: Mutex::new(session),
            reader: Mutex::new(None),
            changed: Notify::new(),
            commit_gate: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) fn session(&self) -> Session {
        self.session.lock().clone()
    }

    pub(super) fn set_session(&self, session: Session) {
        *self.session.lock() = session;
    }

    pub(super) fn reader(&self) -> Option<Reader> {
        self.reader.lock().clone()
    }

    /// Reads by `reader` from now on, and goes on where the one before stood.
    pub(super) fn set_reader(&self, reader: Reader) {
        let state = self.state.lock();
        let before = self.reader.lock().replace(reader);
        self.read_owned(&state);
        if let (Some(before), Some(now)) = (before, self.reader()) {
            for (partition, position) in before.consumer.positions() {
                // One that is not owned any more is not assigned either, and needs no position.
                let _ = now.consumer.seek(&partition, position);
            }
            before.consumer.close();
            before.consumer.cluster().close();
        }
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn offsets(&self) -> Offsets {
        Offsets {
            group: self.config.group_id.clone(),
            storage: self.config.offsets_storage,
            retries: self.config.offsets_commit_max_retries,
            session: self.session(),
            coordinator: self.reader().map(|reader| reader.coordinator),
        }
    }

    /// Stops reading partitions; whoever polls is told. What was consumed of them and not committed comes back.
    pub(super) fn let_go(&self, partitions: &[TopicPartition]) -> Vec<(TopicPartition, Offset)> {
        let mut uncommitted = Vec::new();
        let mut state = self.state.lock();
        for partition in partitions {
            uncommitted.extend(self.uncommitted(&state, partition));
            state.lose(partition);
        }
        self.read_owned(&state);
        drop(state);
        self.changed.notify_one();
        uncommitted
    }

    /// Begins to read partitions, each for a thread and from an offset; whoever polls is told.
    pub(super) fn take_on(&self, partitions: Vec<(TopicPartition, i32, Option<Offset>)>) {
        let mut state = self.state.lock();
        for (partition, thread, offset) in &partitions {
            state.owned.insert(partition.clone(), Owned { thread: *thread, consumed: None, committed: *offset });
            state.assigned.push((partition.clone(), *offset));
        }
        self.read_owned(&state);
        if let Some(reader) = self.reader() {
            for (partition, _, offset) in &partitions {
                if let Some(offset) = offset
                    && let Err(error) = reader.consumer.seek(partition, *offset)
                {
                    state.report(error.into());
                }
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// What there is to commit of a partition. Where nobody has ever committed and nothing has come yet, that is where `auto.offset.reset` has led:
    /// the next owner must not skip what arrives until it begins.
    fn uncommitted(&self, state: &State, partition: &TopicPartition) -> Option<(TopicPartition, Offset)> {
        let owned = state.owned.get(partition)?;
        let untouched = owned.committed.is_none() && !state.handed_out.contains_key(partition);
        let begun = || self.reader().filter(|_| untouched)?.consumer.position(partition);
        let consumed = owned.consumed.or_else(begun)?;
        (Some(consumed) != owned.committed).then(|| (partition.clone(), consumed))
    }

    /// Tells the reader which partitions to read: those it reads already go on where they are.
    fn read_owned(&self, state: &State) {
        if let Some(reader) = self.reader() {
            reader.consumer.assign(state.owned.keys().cloned());
        }
    }

    pub(super) async fn commit_consumed(&self) -> Result<(), ConsumerError> {
        let _gate = self.commit_gate.lock().await;
        let changed: Vec<_> = {
            let state = self.state.lock();
            state.owned.keys().filter_map(|partition| self.uncommitted(&state, partition)).collect()
        };
        self.commit(&changed).await
    }

    /// Writes offsets and takes note of them. The gate must be held.
    pub(super) async fn commit(&self, offsets: &[(TopicPartition, Offset)]) -> Result<(), ConsumerError> {
        self.offsets().commit(offsets).await?;
        let mut state = self.state.lock();
        for (partition, offset) in offsets {
            if let Some(owned) = state.owned.get_mut(partition) {
                owned.committed = Some(*offset);
            }
        }
        Ok(())
    }

    /// No more can be polled.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        if let Some(reader) = self.reader() {
            reader.consumer.close();
        }
        self.changed.notify_one();
    }
}

impl State {
    /// Keeps an error for `poll`.
    pub(super) fn report(&mut self, error: ConsumerError) {
        if self.errors.len() == ERRORS_MAX {
            self.errors.pop_front();
        }
        self.errors.push_back(error);
    }

    fn consume_handed_out(&mut self) {
        for (partition, next) in std::mem::take(&mut self.handed_out) {
            if let Some(owned) = self.owned.get_mut(&partition) {
                owned.consumed = Some(next);
            }
        }
    }

    /// A partition that was assigned and lost before anybody heard of it is not told at all.
    fn lose(&mut self, partition: &TopicPartition) {
        if self.owned.remove(partition).is_none() {
            return;
        }
        self.handed_out.remove(partition);
        let told = self.assigned.len();
        self.assigned.retain(|(assigned, _)| assigned != partition);
        if self.assigned.len() == told {
            self.lost.push(partition.clone());
        }
    }

    /// What there is to tell, with the blocks that still belong to this member; nothing where there is nothing.
    fn take_news(&mut self, blocks: Vec<FetchedBlock>) -> Result<Option<Polled>, ConsumerError> {
        let blocks: Vec<FetchedBlock> =
            blocks.into_iter().filter(|block| self.owned.contains_key(&block.topic_partition)).collect();
        if blocks.is_empty() {
            if self.closed {
                return Err(ConsumerError::Closed);
            }
            if let Some(error) = self.errors.pop_front() {
                return Err(error);
            }
        } else {
            self.idle_since = None;
        }
        for block in &blocks {
            // What lies before the first block is consumed, in a way: it is where reading began.
            if let Some(owned) = self.owned.get_mut(&block.topic_partition) {
                owned.consumed.get_or_insert(block.fetch_offset);
            }
            self.handed_out.insert(block.topic_partition.clone(), block.next_offset);
        }
        let (lost, assigned) = (std::mem::take(&mut self.lost), std::mem::take(&mut self.assigned));
        let polled = Polled { lost, assigned, blocks };
        Ok(if polled.is_empty() { None } else { Some(polled) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition::new("t", number)
    }

    fn owning(numbers: &[i32]) -> State {
        let mut state = State::default();
        for number in numbers {
            state.owned.insert(partition(*number), Owned { thread: 0, consumed: None, committed: None });
        }
        state
    }

    #[test]
    fn what_was_handed_out_is_consumed_by_the_next_poll_and_no_sooner() {
        let mut state = owning(&[0, 1]);
        state.handed_out.insert(partition(0), Offset(5));
        assert_eq!(state.owned[&partition(0)].consumed, None);
        state.consume_handed_out();
        assert_eq!(state.owned[&partition(0)].consumed, Some(Offset(5)));
        state.handed_out.insert(partition(1), Offset(7));
        state.lose(&partition(1));
        state.consume_handed_out();
        assert!(!state.owned.contains_key(&partition(1)), "records of a lost partition are its new owner's");
    }

    #[test]
    fn losses_and_gains_are_told_so_that_the_order_is_right() {
        let mut state = owning(&[0]);
        state.lose(&partition(0));
        state.owned.insert(partition(0), Owned { thread: 0, consumed: None, committed: None });
        state.assigned.push((partition(0), None));
        state.owned.insert(partition(1), Owned { thread: 0, consumed: None, committed: None });
        state.assigned.push((partition(1), None));
        state.lose(&partition(1));
        let polled = state.take_news(Vec::new()).unwrap().unwrap();
        assert_eq!(polled.lost, [partition(0)], "partition 1 was never told, so neither is its loss");
        assert_eq!(polled.assigned, [(partition(0), None)]);
        assert!(state.take_news(Vec::new()).unwrap().is_none());
    }

    #[test]
    fn errors_are_told_one_by_one_and_closing_last() {
        let mut state = owning(&[]);
        for _ in 0..=ERRORS_MAX {
            state.report(ConsumerError::ConsumerTimeout { waited: Duration::ZERO });
        }
        assert_eq!(state.errors.len(), ERRORS_MAX);
        assert!(matches!(state.take_news(Vec::new()), Err(ConsumerError::ConsumerTimeout { .. })));
        state.closed = true;
        assert!(matches!(state.take_news(Vec::new()), Err(ConsumerError::Closed)));
    }
}
