//! One replica of one partition: its role, its high watermark, and what may be acknowledged (Kafka `Partition`).
//!
//! Events go in with the time they happened; what is to be done comes out as [`Effects`]. The owner serialises the events of a partition, normally under the
//! lock it appends with.
//!
//! # Layout
//! - [`acks`]: what may be appended, and what may be said of it
//! - [`Partition`]: what the replica is, and the events that change it

mod acks;

use std::sync::Arc;

use protocol::types::{BrokerId, LeaderEpoch, Offset};

use crate::effect::{Effect, Effects, IsrUpdate};
use crate::election::raise_epoch;
use crate::error::ReplicationError;
use crate::leader::Leadership;
use crate::state::{BrokerEpoch, LeaderAndIsr, LiveBrokers};

pub use acks::AckState;

/// `log.flush.before.ack`: when an acks=all answer also waits until the leader's disk has the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushBeforeAck {
    /// While fewer than two replicas are in sync at the moment the answer is decided: one page cache is no safety.
    #[default]
    Auto,
    /// Always, and followers fetch on only after they have flushed, so that an acknowledged record is on the disk of every in-sync replica.
    Always,
    /// Never, as Kafka does.
    Never,
}

/// The settings of a topic and broker that these rules depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionConfig {
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_ms_max: i64,
    /// `log.flush.before.ack`.
    pub flush_before_ack: FlushBeforeAck,
}

impl Default for PartitionConfig {
    fn default() -> PartitionConfig {
        PartitionConfig {
            min_insync_replicas: 1,
            replica_lag_time_ms_max: 30_000,
            flush_before_ack: FlushBeforeAck::default(),
        }
    }
}

/// What this replica is at the moment.
#[derive(Debug, Clone)]
pub enum Role {
    /// The partition has no leader, or the state znode has not been read yet.
    Offline,
    /// It copies from the leader.
    Follower {
        /// Whom.
        leader: BrokerId,
    },
    /// Others copy from it.
    Leader(Box<Leadership>),
}

/// A follower's request for more, which is also its acknowledgement of all before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerFetch {
    /// The fetching broker.
    pub replica: BrokerId,
    /// `replicaState.replicaEpoch` of Fetch v15; -1 and older versions give `None`.
    pub broker_epoch: Option<BrokerEpoch>,
    /// Where it wants to go on: its log end.
    pub offset: Offset,
    /// Its log start, from Fetch v5 on.
    pub log_start: Option<Offset>,
}

/// What the log on disk was like when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedLog {
    /// Where it ends.
    pub log_end: Offset,
    /// Everything before it is known to be on disk. After a crash of the process that may be less than the log holds.
    pub durable: Offset,
    /// The checkpointed high watermark.
    pub high_watermark: Offset,
    /// The broker shut down in order. After an unclean start part of what was written in the last epoch may be gone, so leading in it once more could put
    /// other records under the same epoch and offset, which no truncation by epoch would ever find: the replica asks for a new epoch instead.
    pub clean: bool,
}

/// One replica of a partition.
#[derive(Debug, Clone)]
pub struct Partition {
    local: BrokerId,
    assignment: Vec<BrokerId>,
    config: PartitionConfig,
    live: Arc<LiveBrokers>,
    role: Role,
    leader_epoch: LeaderEpoch,
    /// Version of the state znode that was obeyed last; -1 before the first.
    partition_epoch: i32,
    clean: bool,
    /// Epochs up to this one it must not lead in: they began before an unclean start.
    refused_epoch: LeaderEpoch,
    log_end: Offset,
    durable: Offset,
    high_watermark: Offset,
}

impl Partition {
    /// The replica on broker `local`, offline until [`Partition::on_state`] is called.
    #[must_use]
    pub fn new(local: BrokerId, assignment: Vec<BrokerId>, config: PartitionConfig, log: OpenedLog) -> Partition {
        Partition {
            local,
            assignment,
            config,
            live: Arc::default(),
            role: Role::Offline,
            leader_epoch: LeaderEpoch::NONE,
            partition_epoch: -1,
            clean: log.clean,
            refused_epoch: LeaderEpoch::NONE,
            log_end: log.log_end,
            durable: log.durable.min(log.log_end),
            high_watermark: log.high_watermark.max(Offset::ZERO).min(log.log_end),
        }
    }

    /// What it is.
    #[must_use]
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// The leadership, where this replica leads.
    #[must_use]
    pub fn leadership(&self) -> Option<&Leadership> {
        match &self.role {
            Role::Leader(leadership) => Some(leadership),
            Role::Follower { .. } | Role::Offline => None,
        }
    }

    /// It leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leadership().is_some()
    }

    /// The newest epoch it has heard of; -1 before the first.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Version of the state znode it acts on.
    #[must_use]
    pub fn partition_epoch(&self) -> i32 {
        self.partition_epoch
    }

    /// First offset that is not committed: consumers see only what lies before it.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Where the log ends.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Everything before it is on disk.
    #[must_use]
    pub fn durable(&self) -> Offset {
        self.durable
    }

    /// The replicas of the partition; the first is the preferred leader.
    #[must_use]
    pub fn assignment(&self) -> &[BrokerId] {
        &self.assignment
    }

    /// Fewer replicas in sync than `min.insync.replicas`. Only a leader knows.
    #[must_use]
    pub fn is_under_min_isr(&self) -> bool {
        self.leadership().is_some_and(|leadership| leadership.isr().len() < self.min_isr())
    }

    /// A follower that must flush before it fetches on, because its fetch will be taken for "this is safe with me".
    #[must_use]
    pub fn must_flush_before_fetch(&self) -> bool {
        self.config.flush_before_ack == FlushBeforeAck::Always && self.durable < self.log_end
    }

    /// `min.insync.replicas`, but never more than there are replicas (as Kafka since 3.7).
    fn min_isr(&self) -> usize {
        self.config.min_insync_replicas.min(self.assignment.len().max(1))
    }

    /// Compares the leader epoch a client or follower names with ours; -1 names none.
    ///
    /// # Errors
    /// [`ReplicationError::FencedLeaderEpoch`] (74) or [`ReplicationError::UnknownLeaderEpoch`] (75, the client retries).
    pub fn check_leader_epoch(&self, requested: LeaderEpoch) -> Result<(), ReplicationError> {
        let current = self.leader_epoch;
        if requested < LeaderEpoch(0) || requested == current {
            Ok(())
        } else if requested < current {
            Err(ReplicationError::FencedLeaderEpoch { requested, current })
        } else {
            Err(ReplicationError::UnknownLeaderEpoch { requested, current })
        }
    }

    /// Obeys the state znode: called when the metadata image changes and after [`Effect::RereadState`]; the first time with what was read after this broker
    /// registered, so that no election before its start is taken for a later one. A version older than the last one obeyed, and an
    /// epoch older than ours, are ignored, and so is a store that hands an epoch to two leaders.
    pub fn on_state(&mut self, state: &LeaderAndIsr, now_ms: i64) -> Effects {
        let mut effects = Effects::NONE;
        if state.partition_epoch < self.partition_epoch || state.leader_epoch < self.leader_epoch {
            return effects;
        }
        if self.partition_epoch < 0 && !self.clean {
            self.refused_epoch = state.leader_epoch;
        }
        if state.leader == self.local && state.leader_epoch <= self.refused_epoch {
            self.partition_epoch = state.partition_epoch;
            effects.push(Effect::RaiseLeaderEpoch(raise_epoch(state)));
            return effects;
        }
        let same_epoch = state.leader_epoch == self.leader_epoch;
        let same_version = state.partition_epoch == self.partition_epoch;
        if state.leader == self.local {
            if same_epoch {
                let Role::Leader(leadership) = &mut self.role else {
                    return effects;
                };
                if same_version {
                    effects.extend(leadership.repropose(self.partition_epoch).map(Effect::ProposeIsr));
                } else {
                    leadership.adopt(state);
                    self.partition_epoch = state.partition_epoch;
                    effects.extend(self.advance_high_watermark(now_ms));
                    effects.push(Effect::CheckAcks);
                }
                return effects;
            }
            self.become_leader(state, now_ms, &mut effects);
            return effects;
        }
        let was_leader = self.is_leader();
        if was_leader && same_epoch && state.leader != BrokerId::NONE {
            return effects;
        }
        let is_same_leader = matches!(&self.role, Role::Follower { leader } if *leader == state.leader);
        self.leader_epoch = state.leader_epoch;
        self.partition_epoch = state.partition_epoch;
        if state.leader == BrokerId::NONE {
            if !matches!(self.role, Role::Offline) {
                self.role = Role::Offline;
                effects.push(Effect::BecomeOffline);
            }
        } else if !is_same_leader || !same_epoch {
            self.role = Role::Follower { leader: state.leader };
            effects.push(Effect::BecomeFollower { leader: state.leader, leader_epoch: state.leader_epoch });
        }
        if was_leader {
            effects.push(Effect::CheckAcks);
        }
        effects
    }

    fn become_leader(&mut self, state: &LeaderAndIsr, now_ms: i64, effects: &mut Effects) {
        assert!(state.leader_epoch > self.leader_epoch, "the epoch rises with every election");
        let before = match std::mem::replace(&mut self.role, Role::Offline) {
            Role::Leader(before) => Some(*before),
            Role::Follower { .. } | Role::Offline => None,
        };
        let local = self.local;
        let others = self.assignment.iter().copied().filter(|broker| *broker != local);
        let leadership = Leadership::begin(state, self.log_end, self.log_end, others, before, now_ms);
        self.role = Role::Leader(Box::new(leadership));
        self.leader_epoch = state.leader_epoch;
        self.partition_epoch = state.partition_epoch;
        effects.push(Effect::BecomeLeader { leader_epoch: state.leader_epoch, start_offset: self.log_end });
        effects.extend(self.advance_high_watermark(now_ms));
        effects.push(Effect::CheckAcks);
    }

    /// The set of replicas changed (reassignment). Followers that are new have everything before them.
    pub fn on_assignment(&mut self, assignment: Vec<BrokerId>, now_ms: i64) -> Effects {
        self.assignment = assignment;
        let mut effects = Effects::NONE;
        let local = self.local;
        if let Role::Leader(leadership) = &mut self.role {
            let others = self.assignment.iter().copied().filter(|broker| *broker != local);
            leadership.set_followers(others, now_ms);
            effects.extend(self.advance_high_watermark(now_ms));
            effects.push(Effect::CheckAcks);
        }
        effects
    }

    /// A setting changed.
    pub fn on_config(&mut self, config: PartitionConfig, now_ms: i64) -> Effects {
        self.config = config;
        let mut effects = Effects::NONE;
        effects.extend(self.advance_high_watermark(now_ms));
        if self.is_leader() {
            effects.push(Effect::CheckAcks);
        }
        effects
    }

    /// Registrations of brokers changed.
    pub fn on_live_brokers(&mut self, live: Arc<LiveBrokers>, now_ms: i64) -> Effects {
        self.live = live;
        let mut effects = Effects::NONE;
        effects.extend(self.advance_high_watermark(now_ms));
        effects
    }

    /// The log grew to `log_end`, by a producer where this replica leads and by a fetch where it follows.
    ///
    /// # Panics
    /// When the log end falls: a log shrinks by [`Partition::on_truncate`] only.
    pub fn on_append(&mut self, log_end: Offset, now_ms: i64) -> Effects {
        assert!(log_end >= self.log_end, "an append never moves the log end back");
        if let Role::Leader(leadership) = &mut self.role {
            leadership.note_append(self.log_end, now_ms);
        }
        self.log_end = log_end;
        let mut effects = Effects::NONE;
        effects.extend(self.advance_high_watermark(now_ms));
        effects
    }

    /// Everything before `durable` is on disk now. Flushes may finish out of order.
    pub fn on_flushed(&mut self, durable: Offset) -> Effects {
        let mut effects = Effects::NONE;
        // A flush that began before a truncation may report more than there is.
        let durable = durable.min(self.log_end);
        if durable > self.durable {
            self.durable = durable;
            if self.is_leader() && self.config.flush_before_ack != FlushBeforeAck::Never {
                effects.push(Effect::CheckAcks);
            }
        }
        effects
    }

    /// A follower fetches. Call it once the position was found to be in the log and, by [`crate::epochs::divergence`], on our history.
    ///
    /// # Errors
    /// [`ReplicationError`] naming the refusal; nothing is noted then.
    pub fn on_follower_fetch(&mut self, fetch: &FollowerFetch, now_ms: i64) -> Result<Effects, ReplicationError> {
        let (log_end, high_watermark) = (self.log_end, self.high_watermark);
        let Role::Leader(leadership) = &mut self.role else { return Err(ReplicationError::NotLeader) };
        if let (Some(requested), Some(registered)) = (fetch.broker_epoch, self.live.epoch(fetch.replica))
            && requested < registered
        {
            let (replica, requested, registered) = (fetch.replica, requested.0, registered.0);
            return Err(ReplicationError::StaleBrokerEpoch { replica, requested, registered });
        }
        if fetch.offset > log_end {
            return Err(ReplicationError::OffsetBeyondLogEnd { offset: fetch.offset, log_end });
        }
        let start_moved = leadership
            .note_fetch(fetch.replica, fetch.broker_epoch, fetch.offset, fetch.log_start, log_end, now_ms)
            .ok_or(ReplicationError::UnknownReplica(fetch.replica))?;
        let mut effects = Effects::NONE;
        if start_moved {
            effects.push(Effect::CheckAcks);
        }
        if fetch.offset < high_watermark && leadership.isr().contains(&fetch.replica) {
            effects.extend(self.propose_shrink(now_ms));
            return Ok(effects);
        }
        // Its acknowledgement may be the last one missing even where the high watermark is past already.
        let advanced = self.advance_high_watermark(now_ms);
        effects.extend(advanced);
        let (high_watermark, partition_epoch, min_isr) = (self.high_watermark, self.partition_epoch, self.min_isr());
        if let Role::Leader(leadership) = &mut self.role {
            let proposal =
                leadership.propose_expansion(fetch.replica, high_watermark, &self.live, partition_epoch, min_isr);
            effects.extend(proposal.map(Effect::ProposeIsr));
        }
        Ok(effects)
    }

    /// Time passed: drops replicas from the ISR that have been behind for `replica.lag.time.max.ms`. Call it about twice in that time (Kafka's
    /// `isr-expiration`).
    pub fn on_tick(&mut self, now_ms: i64) -> Effects {
        let mut effects = Effects::NONE;
        effects.extend(self.propose_shrink(now_ms));
        // A replica that was about to join and fell silent is no longer waited for.
        effects.extend(self.advance_high_watermark(now_ms));
        effects
    }

    fn propose_shrink(&mut self, now_ms: i64) -> Option<Effect> {
        let min_isr = self.min_isr();
        let Role::Leader(leadership) = &mut self.role else { return None };
        let lag_ms_max = self.config.replica_lag_time_ms_max;
        let (log_end, high_watermark, version) = (self.log_end, self.high_watermark, self.partition_epoch);
        let proposal = leadership.propose_shrink(log_end, high_watermark, now_ms, lag_ms_max, version, min_isr);
        proposal.map(Effect::ProposeIsr)
    }

    /// The metadata store answered a proposal made in `leader_epoch`.
    pub fn on_isr_update(&mut self, leader_epoch: LeaderEpoch, update: IsrUpdate, now_ms: i64) -> Effects {
        let mut effects = Effects::NONE;
        let Role::Leader(leadership) = &mut self.role else { return effects };
        if leadership.epoch != leader_epoch {
            return effects;
        }
        match update {
            IsrUpdate::Accepted { partition_epoch } => {
                // The image may have brought the news before the answer did.
                if partition_epoch <= self.partition_epoch || !leadership.commit_in_flight() {
                    return effects;
                }
                self.partition_epoch = partition_epoch;
                effects.extend(self.advance_high_watermark(now_ms));
                effects.push(Effect::CheckAcks);
            }
            IsrUpdate::NotWritten => {
                if leadership.drop_in_flight() {
                    effects.extend(self.advance_high_watermark(now_ms));
                    effects.push(Effect::CheckAcks);
                }
            }
            IsrUpdate::VersionConflict | IsrUpdate::Unknown => {
                if leadership.doubt_in_flight() {
                    effects.push(Effect::RereadState);
                }
            }
        }
        effects
    }

    /// A follower learns the leader's high watermark from a fetch answered in `leader_epoch`, after it appended what came with it.
    pub fn on_leader_high_watermark(&mut self, leader_epoch: LeaderEpoch, high_watermark: Offset) -> Effects {
        let mut effects = Effects::NONE;
        let is_follower = matches!(self.role, Role::Follower { .. });
        let high_watermark = high_watermark.min(self.log_end);
        if is_follower && leader_epoch == self.leader_epoch && high_watermark > self.high_watermark {
            self.high_watermark = high_watermark;
            effects.push(Effect::AdvanceHighWatermark(high_watermark));
        }
        effects
    }

    /// A follower cut its log to `log_end`, by [`crate::epochs::truncation`] or to begin anew at the leader's log start. Returns whether records that this
    /// replica knew as committed are gone, which only an unclean election can cause.
    ///
    /// # Panics
    /// On a leader, whose log is the truth.
    pub fn on_truncate(&mut self, log_end: Offset) -> bool {
        assert!(!self.is_leader(), "a leader never truncates its log");
        self.log_end = log_end;
        self.durable = self.durable.min(log_end);
        let lost = log_end < self.high_watermark;
        self.high_watermark = self.high_watermark.min(log_end);
        lost
    }

    /// Records before `log_start` were deleted: they count as committed, or they could not have been deleted.
    pub fn on_log_start(&mut self, log_start: Offset) -> Effects {
        let mut effects = Effects::NONE;
        let log_start = log_start.min(self.log_end);
        if log_start > self.high_watermark {
            self.high_watermark = log_start;
            effects.push(Effect::AdvanceHighWatermark(log_start));
        }
        effects
    }

    fn advance_high_watermark(&mut self, now_ms: i64) -> Option<Effect> {
        let leadership = self.leadership()?;
        // While somebody outside the ISR is eligible, nothing is committed that they might lack, also when fewer replicas are enough by now.
        if leadership.isr().len() < self.min_isr() || leadership.has_eligible() {
            return None;
        }
        let lag_ms_max = self.config.replica_lag_time_ms_max;
        let end = leadership.committed_end(self.log_end, &self.live, now_ms, lag_ms_max)?;
        if end <= self.high_watermark {
            return None;
        }
        assert!(end <= self.log_end, "the high watermark never passes the log end");
        assert!(leadership.all_in_sync_have(end), "the high watermark never passes the log end of an in-sync replica");
        self.high_watermark = end;
        Some(Effect::AdvanceHighWatermark(end))
    }
}

#[cfg(test)]
mod tests;
