//! One partition held here: what this broker is to it, its log, and who waits for it.
//!
//! The rules are those of `replication::Partition`; here its effects are carried out. Always true: a batch is appended only while the leadership it was allowed under
//! lasts; what is written to ZooKeeper on behalf of a partition goes through the one task that writes states ([`super::states`]).
//!
//! # Layout
//! - [`appends`]: a producer's batches; [`acks`]: when the answer to it can go out
//! - [`follower`]: appends and truncations of a replica that follows
//! - [`HostedPartition`]: all else

mod acks;
mod appends;
pub mod follower;

pub use acks::Awaited;
use appends::Refusals;
pub use appends::{AppendRefused, Appended};

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use protocol::error::ErrorCode;
use protocol::types::{BrokerId, LeaderEpoch, Offset, TopicPartition, Uuid};
use replication::{
    Effect, Effects, FollowerFetch, IsrUpdate, LiveBrokers, OpenedLog, Partition, PartitionConfig, Role,
};
use runtime::Clock;
use runtime::clock::Instant;
use storage::Log;
use tracing::{debug, error, info};

use super::purgatory::{Ticket, Waiters, Watchers};
use super::states::{StateRequest, StateRequests};
use crate::config::TopicConfig;
use crate::control::{Hearing, ZooKeeper};
use crate::metadata::PartitionState;
use crate::metrics::TopicCounters;
use crate::replica_fetcher::WeakFetchers;

/// One partition held here.
pub struct HostedPartition {
    partition: TopicPartition,
    topic_id: RwLock<Uuid>,
    log: Arc<Log>,
    config: RwLock<Arc<TopicConfig>>,
    counters: Arc<TopicCounters>,
    rules: Rules,
    replica: Mutex<Partition>,
    /// The state znode that was obeyed last.
    state: Mutex<Option<PartitionState>>,
    /// Appends share it; a change of leadership waits for them and holds it alone.
    leadership: RwLock<()>,
    /// What a gap in a producer's sequence may come from.
    refusals: Refusals,
    outside: Outside,
    /// Who waits for the high watermark to rise.
    pub committed: Waiters,
    /// Followers without a session that wait for records.
    pub appended: Waiters,
    /// Followers' sessions.
    pub watchers: Watchers,
}

/// What a partition reaches beyond its log.
#[derive(Clone)]
pub struct Outside {
    /// Where it asks for its state znode to be written.
    pub requests: StateRequests,
    /// The session, which says whether the tree is still heard.
    pub zookeeper: ZooKeeper,
    /// What fetches for it while it follows.
    pub fetchers: WeakFetchers,
}

/// What the rules of a partition depend on besides its topic.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// This broker.
    pub id: i32,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_ms_max: i64,
    /// `log.flush.before.ack`.
    pub flush_before_ack: replication::FlushBeforeAck,
    /// Source of the time.
    pub clock: Clock,
}

impl HostedPartition {
    /// A partition that leads and follows nobody yet. `clean` says whether its log was closed in good order.
    #[must_use]
    #[allow(clippy::too_many_arguments, reason = "made in one place, of what that place has")]
    pub fn new(
        partition: TopicPartition,
        topic_id: Uuid,
        log: Arc<Log>,
        config: Arc<TopicConfig>,
        counters: Arc<TopicCounters>,
        rules: Rules,
        clean: bool,
        outside: Outside,
    ) -> HostedPartition {
        let opened = OpenedLog {
            log_end: log.log_end_offset(),
            durable: log.durable_offset(),
            high_watermark: log.high_watermark(),
            clean,
        };
        let replica = Partition::new(BrokerId(rules.id), Vec::new(), rules.of(&config), opened);
        HostedPartition {
            partition,
            topic_id: RwLock::new(topic_id),
            log,
            config: RwLock::new(config),
            counters,
            rules,
            replica: Mutex::new(replica),
            state: Mutex::new(None),
            leadership: RwLock::new(()),
            refusals: Refusals::default(),
            outside,
            committed: Waiters::default(),
            appended: Waiters::default(),
            watchers: Watchers::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Id of its topic; zero for a topic that has none yet.
    #[must_use]
    pub fn topic_id(&self) -> Uuid {
        *self.topic_id.read()
    }

    pub(super) fn set_topic_id(&self, id: Uuid) {
        *self.topic_id.write() = id;
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// What is counted of its topic.
    #[must_use]
    pub fn counters(&self) -> &TopicCounters {
        &self.counters
    }

    /// Configuration of its topic.
    #[must_use]
    pub fn config(&self) -> Arc<TopicConfig> {
        self.config.read().clone()
    }

    pub(super) fn set_config(self: &Arc<Self>, config: Arc<TopicConfig>) {
        let rules = self.rules.of(&config);
        *self.config.write() = config;
        let effects = self.replica.lock().on_config(rules, self.lag_now_ms());
        self.carry_out(effects);
    }

    /// The time that lag is measured by. The wall clock will not do: set forward, it would empty every ISR at once.
    fn lag_now_ms(&self) -> i64 {
        self.rules.clock.monotonic_ms()
    }

    /// Obeys the tree: replicas, leader and ISR as a znode shows them.
    pub fn on_state(self: &Arc<Self>, replicas: &[i32], state: &PartitionState, live: &Arc<LiveBrokers>) {
        let now_ms = self.lag_now_ms();
        // An append that is under way was allowed under the old leadership, and is counted before the new one begins.
        let _alone = self.leadership.write();
        let assignment: Vec<BrokerId> = replicas.iter().copied().map(BrokerId).collect();
        let mut all = Vec::new();
        {
            let mut replica = self.replica.lock();
            all.push(replica.on_live_brokers(live.clone(), now_ms));
            if replica.assignment() != assignment {
                all.push(replica.on_assignment(assignment, now_ms));
            }
            let mut known = self.state.lock();
            if known.as_ref().is_none_or(|known| known.zk_version <= state.zk_version) {
                *known = Some(state.clone());
            }
            drop(known);
            all.push(replica.on_state(&state.to_leader_and_isr(), now_ms));
        }
        for effects in all {
            self.carry_out(effects);
        }
    }

    /// Time passed.
    pub fn on_tick(self: &Arc<Self>) {
        self.note_epoch_again();
        let effects = self.replica.lock().on_tick(self.lag_now_ms());
        self.carry_out(effects);
    }

    /// A leader whose disk was full when it was elected has not noted its epoch, and until it has, followers cannot compare their logs with its.
    fn note_epoch_again(&self) {
        let _lasts = self.leadership.read();
        let led = {
            let replica = self.replica.lock();
            replica.is_leader().then(|| replica.leader_epoch())
        };
        if let Some(epoch) = led
            && self.log.latest_epoch() < Some(epoch)
            && self.log.check_appends().is_ok()
            && let Err(problem) = self.log.assign_epoch(epoch)
        {
            error!(partition = %self.partition, error = %problem, "cannot note a leader epoch");
        }
    }

    /// What became of an ISR that was proposed in `epoch`.
    pub fn on_isr_update(self: &Arc<Self>, epoch: LeaderEpoch, update: IsrUpdate) {
        let (effects, alone) = {
            let mut replica = self.replica.lock();
            let effects = replica.on_isr_update(epoch, update, self.lag_now_ms());
            let alone = replica.leadership().is_some_and(|leadership| leadership.isr().len() < 2);
            (effects, alone && replica.assignment().len() > 1)
        };
        self.carry_out(effects);
        let is_news = matches!(update, IsrUpdate::Accepted { .. });
        if alone && is_news && self.rules.flush_before_ack == replication::FlushBeforeAck::Auto {
            // What was acknowledged out of two page caches is in one now.
            self.log.request_flush();
        }
    }

    /// The state znode that was obeyed last.
    #[must_use]
    pub fn last_state(&self) -> Option<PartitionState> {
        self.state.lock().clone()
    }

    /// Its replicas.
    #[must_use]
    pub fn replicas(&self) -> Vec<i32> {
        self.replica.lock().assignment().iter().map(|broker| broker.0).collect()
    }

    /// Whether a broker is in the ISR, as its leader knows it.
    #[must_use]
    pub fn is_in_sync(&self, broker: i32) -> bool {
        self.replica.lock().leadership().is_some_and(|leadership| leadership.isr().contains(&BrokerId(broker)))
    }

    /// Where the epoch that it leads in began: what came before was committed under earlier ones, even where the high watermark is not known to be there yet. None where it does not lead.
    #[must_use]
    pub fn epoch_start(&self) -> Option<Offset> {
        self.replica.lock().leadership().map(|leadership| leadership.epoch_start)
    }

    /// The followers in the ISR whose logs hold `offset`, or end there, with their log ends.
    #[must_use]
    pub fn in_sync_with(&self, offset: Offset) -> Vec<(i32, Offset)> {
        let replica = self.replica.lock();
        let Some(leadership) = replica.leadership() else { return Vec::new() };
        let followers = leadership.followers().iter().filter(|follower| leadership.isr().contains(&follower.id));
        let holding = followers.filter_map(|follower| {
            let end = follower.log_end.filter(|end| *end >= offset)?;
            follower.log_start.is_none_or(|start| start <= offset).then_some((follower.id.0, end))
        });
        holding.collect()
    }

    fn carry_out(self: &Arc<Self>, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::AdvanceHighWatermark(offset) => {
                    // Raised under the lock of whoever raises: two may do so at a time.
                    let replica = self.replica.lock();
                    self.log.set_high_watermark(replica.high_watermark().max(offset));
                    drop(replica);
                    self.committed.call_all();
                    // Followers hear of it with their next answer; an answer for it alone would double the requests of every write.
                    self.watchers.call(false);
                }
                Effect::CheckAcks => {
                    self.committed.call_all();
                    // Who left the ISR is looked at again with each fetch.
                    self.watchers.call(false);
                }
                Effect::ProposeIsr(proposal) => {
                    self.outside.requests.send(StateRequest::ProposeIsr(self.clone(), proposal))
                }
                Effect::RereadState => self.outside.requests.send(StateRequest::Reread(self.clone())),
                Effect::RaiseLeaderEpoch(state) => self.outside.requests.send(StateRequest::Raise(self.clone(), state)),
                Effect::BecomeLeader { leader_epoch, start_offset } => {
                    debug!(partition = %self.partition, epoch = leader_epoch.0, %start_offset, "leading");
                    self.outside.fetchers.unfollow(&self.partition);
                    if let Err(problem) = self.log.assign_epoch(leader_epoch) {
                        // Appends meet the same problem, and say so to producers.
                        error!(partition = %self.partition, error = %problem, "cannot note a leader epoch");
                    }
                    // Whoever asked before was refused.
                    self.refusals.note(self.rules.clock, ErrorCode::NOT_LEADER_OR_FOLLOWER);
                    self.call_everybody();
                }
                Effect::BecomeFollower { leader, leader_epoch } => {
                    debug!(partition = %self.partition, leader = leader.0, epoch = leader_epoch.0, "following");
                    self.outside.fetchers.follow(self, leader, leader_epoch);
                    self.call_everybody();
                }
                Effect::BecomeOffline => {
                    info!(partition = %self.partition, "no leader");
                    self.outside.fetchers.unfollow(&self.partition);
                    self.call_everybody();
                }
            }
        }
    }

    fn call_everybody(&self) {
        self.committed.call_all();
        self.appended.call_all();
        self.watchers.call(true);
    }

    /// The log begins later than before.
    pub fn log_start_moved(&self) {
        self.watchers.call(true);
    }

    /// Waits until every living replica has deleted what lies before `offset`; gives the first offset that all of them still have.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER once another leads; REQUEST_TIMED_OUT at `deadline`.
    pub async fn wait_for_low_watermark(&self, offset: Offset, deadline: Instant) -> Result<Offset, ErrorCode> {
        loop {
            let ticket = Ticket::new(0);
            self.committed.add(&ticket);
            self.leader_epoch()?;
            let low = self.replica.lock().low_watermark(self.log.log_start_offset());
            if let Some(low) = low.filter(|low| *low >= offset) {
                return Ok(low);
            }
            tokio::select! {
                biased;
                () = ticket.called() => {}
                () = self.rules.clock.sleep_until(deadline) => return Err(ErrorCode::REQUEST_TIMED_OUT),
            }
        }
    }

    /// Lets the partition go: whoever waits is told that the leader is elsewhere.
    pub fn stop(&self) {
        {
            let _alone = self.leadership.write();
            let mut replica = self.replica.lock();
            let opened = OpenedLog {
                log_end: self.log.log_end_offset(),
                durable: self.log.durable_offset(),
                high_watermark: self.log.high_watermark(),
                clean: true,
            };
            *replica = Partition::new(BrokerId(self.rules.id), Vec::new(), self.rules.of(&self.config.read()), opened);
        }
        self.outside.fetchers.unfollow(&self.partition);
        self.call_everybody();
    }

    /// Epoch of the leadership, if this broker leads.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER.
    pub fn leader_epoch(&self) -> Result<i32, ErrorCode> {
        let replica = self.replica.lock();
        if replica.is_leader() { Ok(replica.leader_epoch().0) } else { Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) }
    }

    /// Checks that this broker leads in the epoch a client believes in (KIP-320); -1 believes anything. Gives the epoch.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH.
    pub fn check_leader(&self, believed: i32) -> Result<i32, ErrorCode> {
        self.check_readable(believed, true)
    }

    /// [`HostedPartition::check_leader`] for a reader that a follower may serve too, unless `leader_only`.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH.
    pub fn check_readable(&self, believed: i32, leader_only: bool) -> Result<i32, ErrorCode> {
        let replica = self.replica.lock();
        if matches!(replica.role(), Role::Offline) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        replica.check_leader_epoch(LeaderEpoch(believed)).map_err(|refused| refused.error_code())?;
        if leader_only && !replica.is_leader() {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        Ok(replica.leader_epoch().0)
    }

    /// Leader and epoch as last heard of; -1 for unknown.
    #[must_use]
    pub fn leader_and_epoch(&self) -> (i32, i32) {
        let replica = self.replica.lock();
        let leader = match replica.role() {
            Role::Leader(_) => self.rules.id,
            Role::Follower { leader } => leader.0,
            Role::Offline => -1,
        };
        (leader, replica.leader_epoch().0)
    }

    /// Where consumers may read up to.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.log.high_watermark()
    }

    /// A follower fetches from its log end.
    ///
    /// # Errors
    /// The code it is answered with.
    pub fn follower_fetched(self: &Arc<Self>, fetch: &FollowerFetch) -> Result<(), ErrorCode> {
        let now_ms = self.lag_now_ms();
        let effects = self.replica.lock().on_follower_fetch(fetch, now_ms).map_err(|refused| refused.error_code())?;
        self.carry_out(effects);
        Ok(())
    }

    /// How sure this broker may be that it still leads what it leads. Of a partition with one replica nobody else can.
    fn hearing(&self, replica: &Partition) -> Hearing {
        if replica.assignment().len() > 1 { self.outside.zookeeper.hearing() } else { Hearing::Heard }
    }
}

impl Rules {
    fn of(&self, config: &TopicConfig) -> PartitionConfig {
        PartitionConfig {
            min_insync_replicas: usize::try_from(config.min_insync_replicas).unwrap_or(1),
            replica_lag_time_ms_max: self.replica_lag_time_ms_max,
            flush_before_ack: self.flush_before_ack,
        }
    }
}
