//! One partition held here: who leads it, its log, and who waits for it.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use protocol::error::ErrorCode;
use protocol::types::{LeaderEpoch, Offset, TopicPartition, Uuid};
use runtime::Clock;
use runtime::clock::Instant;
use storage::{AppendError, AppendInfo, AppendOptions, Flusher, Log};
use tokio::sync::oneshot;
use tracing::{error, info};

use super::leadership::Leadership;
use super::purgatory::{Ticket, Waiters};
use crate::config::{FlushBeforeAck, TopicConfig};
use crate::metadata::PartitionState;

/// What this broker is to the partition.
#[derive(Debug)]
pub enum Role {
    /// It leads.
    Leader(Mutex<Leadership>),
    /// Another broker leads (-1: none), in this epoch.
    Follower {
        /// The leader.
        leader: i32,
        /// Its epoch.
        epoch: i32,
        /// Version of the state znode.
        zk_version: i32,
    },
    /// It was told nothing yet, or let go.
    None,
}

/// One partition held here.
#[derive(Debug)]
pub struct HostedPartition {
    partition: TopicPartition,
    topic_id: RwLock<Uuid>,
    log: Arc<Log>,
    config: RwLock<Arc<TopicConfig>>,
    role: RwLock<Role>,
    /// Who waits for the high watermark to rise.
    pub committed: Waiters,
    /// Followers that wait for records.
    pub appended: Waiters,
}

/// A produce request's batches, in the log.
#[derive(Debug, Clone, Copy)]
pub struct Appended {
    /// What the log says.
    pub info: AppendInfo,
    /// Epoch they were appended in.
    pub epoch: i32,
}

/// Why batches were refused.
#[derive(Debug)]
pub enum AppendRefused {
    /// Not by the log: wrong broker, too few replicas.
    Code(ErrorCode),
    /// By the log.
    Log(AppendError),
}

/// How an ack stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AckState {
    Waiting,
    Done { in_sync: usize },
    Failed(ErrorCode),
}

impl HostedPartition {
    /// A partition without a role.
    #[must_use]
    pub fn new(partition: TopicPartition, topic_id: Uuid, log: Arc<Log>, config: Arc<TopicConfig>) -> HostedPartition {
        HostedPartition {
            partition,
            topic_id: RwLock::new(topic_id),
            log,
            config: RwLock::new(config),
            role: RwLock::new(Role::None),
            committed: Waiters::default(),
            appended: Waiters::default(),
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

    /// Configuration of its topic.
    #[must_use]
    pub fn config(&self) -> Arc<TopicConfig> {
        self.config.read().clone()
    }

    pub(super) fn set_config(&self, config: Arc<TopicConfig>) {
        *self.config.write() = config;
        // min.insync.replicas may have changed.
        self.committed.call_all();
    }

    /// Takes the leadership over, or a newer state of it in.
    pub fn lead(&self, id: i32, replicas: &[i32], state: &PartitionState, now_ms: i64) {
        {
            let role = self.role.read();
            if let Role::Leader(leadership) = &*role {
                let mut leadership = leadership.lock();
                if leadership.epoch == state.leader_epoch {
                    if leadership.zk_version != state.zk_version || leadership.replicas != replicas {
                        leadership.update(replicas, &state.isr, state.zk_version, now_ms);
                        self.raise_high_watermark(&leadership);
                    }
                    return;
                }
            }
        }
        let mut role = self.role.write();
        if let Err(problem) = self.log.assign_epoch(LeaderEpoch(state.leader_epoch)) {
            error!(partition = %self.partition, error = %problem, "cannot begin a leader epoch");
            *role = Role::None;
            return;
        }
        let log_end = self.log.log_end_offset();
        let leadership =
            Leadership::new(id, state.leader_epoch, log_end, replicas, &state.isr, state.zk_version, now_ms);
        info!(partition = %self.partition, epoch = state.leader_epoch, %log_end, "leading");
        self.raise_high_watermark(&leadership);
        *role = Role::Leader(Mutex::new(leadership));
        drop(role);
        self.committed.call_all();
        self.appended.call_all();
    }

    /// Gives the leadership to another broker.
    pub fn follow(&self, state: &PartitionState) {
        let mut role = self.role.write();
        match &*role {
            Role::Follower { epoch, zk_version, .. }
                if *epoch == state.leader_epoch && *zk_version == state.zk_version =>
            {
                return;
            }
            _ => {}
        }
        *role = Role::Follower { leader: state.leader, epoch: state.leader_epoch, zk_version: state.zk_version };
        drop(role);
        self.committed.call_all();
        self.appended.call_all();
    }

    /// Lets the partition go: whoever waits is told that the leader is elsewhere.
    pub fn stop(&self) {
        *self.role.write() = Role::None;
        self.committed.call_all();
        self.appended.call_all();
    }

    /// Epoch of the leadership, if this broker leads.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER.
    pub fn leader_epoch(&self) -> Result<i32, ErrorCode> {
        match &*self.role.read() {
            Role::Leader(leadership) => Ok(leadership.lock().epoch),
            _ => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        }
    }

    /// Checks that this broker leads in the epoch a client believes in (KIP-320); -1 believes anything. Gives the epoch.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH.
    pub fn check_leader(&self, believed: i32) -> Result<i32, ErrorCode> {
        let (epoch, leads) = match &*self.role.read() {
            Role::Leader(leadership) => (leadership.lock().epoch, true),
            Role::Follower { epoch, .. } => (*epoch, false),
            Role::None => return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        };
        match believed {
            believed if believed >= 0 && believed < epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
            believed if believed > epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ if leads => Ok(epoch),
            _ => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        }
    }

    /// Leader and epoch as last heard of; -1 for unknown.
    #[must_use]
    pub fn leader_and_epoch(&self) -> (i32, i32) {
        match &*self.role.read() {
            Role::Leader(leadership) => {
                let leadership = leadership.lock();
                (leadership.id, leadership.epoch)
            }
            Role::Follower { leader, epoch, .. } => (*leader, *epoch),
            Role::None => (-1, -1),
        }
    }

    /// Where consumers may read up to.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.log.high_watermark()
    }

    /// Appends batches v2 of a producer, in the order of the calls.
    ///
    /// # Errors
    /// This broker does not lead, too few replicas are in sync for acks=all, or the log refuses.
    pub fn append(&self, batches: &mut [u8], acks: i16, options: AppendOptions) -> Result<Appended, AppendRefused> {
        let bytes = batches.len();
        let role = self.role.read();
        let Role::Leader(leadership) = &*role else {
            return Err(AppendRefused::Code(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        };
        let epoch = {
            let leadership = leadership.lock();
            if acks == -1 && leadership.is_under_min_isr(self.config.read().min_insync_replicas) {
                return Err(AppendRefused::Code(ErrorCode::NOT_ENOUGH_REPLICAS));
            }
            leadership.epoch
        };
        let info = self.log.append_as_leader(batches, LeaderEpoch(epoch), options).map_err(AppendRefused::Log)?;
        if !info.duplicate {
            let rose = self.raise_high_watermark(&leadership.lock());
            drop(role);
            self.appended.bytes_came(bytes);
            if rose {
                self.committed.bytes_came(bytes);
            }
        }
        Ok(Appended { info, epoch })
    }

    /// A follower fetched from `end`. Gives whether it is a replica.
    pub fn follower_fetched(&self, replica: i32, end: Offset, now_ms: i64) -> bool {
        let role = self.role.read();
        let Role::Leader(leadership) = &*role else { return false };
        let mut leadership = leadership.lock();
        let before = self.log.high_watermark();
        if !leadership.follower_fetched(replica, end, self.log.log_end_offset(), now_ms) {
            return false;
        }
        let rose = self.raise_high_watermark(&leadership);
        drop(leadership);
        drop(role);
        if rose {
            let records = self.log.high_watermark().0.saturating_sub(before.0);
            // The bytes between are not known here; looking once more is cheap beside a replication round trip.
            if records > 0 {
                self.committed.call_all();
            }
        }
        true
    }

    fn raise_high_watermark(&self, leadership: &Leadership) -> bool {
        let known = self.log.high_watermark();
        let min_insync_replicas = self.config.read().min_insync_replicas;
        let risen = leadership.high_watermark(known, self.log.log_end_offset(), min_insync_replicas);
        if risen > known {
            self.log.set_high_watermark(risen);
        }
        risen > known
    }

    fn ack_state(&self, required: Offset, epoch: i32) -> AckState {
        let role = self.role.read();
        let Role::Leader(leadership) = &*role else { return AckState::Failed(ErrorCode::NOT_LEADER_OR_FOLLOWER) };
        let leadership = leadership.lock();
        if leadership.epoch != epoch {
            return AckState::Failed(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if self.log.high_watermark() < required {
            return AckState::Waiting;
        }
        if leadership.is_under_min_isr(self.config.read().min_insync_replicas) {
            return AckState::Failed(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND);
        }
        AckState::Done { in_sync: leadership.isr.len() }
    }

    /// Whether the answer to acks=all can go out now; nothing while it has to wait.
    pub fn ack_now(&self, appended: &Appended, policy: FlushBeforeAck) -> Option<Result<(), ErrorCode>> {
        let required = appended.info.last_offset.plus(1);
        match self.ack_state(required, appended.epoch) {
            AckState::Waiting => None,
            AckState::Failed(code) => Some(Err(code)),
            AckState::Done { in_sync } if needs_flush(policy, in_sync) && self.log.durable_offset() < required => None,
            AckState::Done { .. } => Some(Ok(())),
        }
    }

    /// Has the sync begun that the answer to acks=all will wait for, where it can be known already that it will.
    pub fn ask_for_flush(&self, appended: &Appended, policy: FlushBeforeAck, flusher: &Flusher) {
        let in_sync = match &*self.role.read() {
            Role::Leader(leadership) => leadership.lock().isr.len(),
            _ => return,
        };
        if appended.info.flush_due || needs_flush(policy, in_sync) {
            flusher.request(&self.log, appended.info.last_offset.plus(1), Box::new(|_| {}));
        }
    }

    /// Waits until the answer to acks=all can go out: every replica in sync has the records, and, by `log.flush.before.ack`, this broker's disk too.
    ///
    /// # Errors
    /// REQUEST_TIMED_OUT at `deadline`, or what the wait showed.
    pub async fn wait_for_acks(
        &self,
        appended: &Appended,
        policy: FlushBeforeAck,
        flusher: &Flusher,
        clock: Clock,
        deadline: Instant,
    ) -> Result<(), ErrorCode> {
        let required = appended.info.last_offset.plus(1);
        let in_sync = loop {
            let ticket = Ticket::new(0);
            self.committed.add(&ticket);
            match self.ack_state(required, appended.epoch) {
                AckState::Done { in_sync } => break in_sync,
                AckState::Failed(code) => return Err(code),
                AckState::Waiting => {}
            }
            tokio::select! {
                biased;
                () = ticket.called() => {}
                () = clock.sleep_until(deadline) => return Err(ErrorCode::REQUEST_TIMED_OUT),
            }
        };
        if appended.info.flush_due || needs_flush(policy, in_sync) {
            self.wait_for_flush(required, flusher, clock, deadline).await?;
        }
        Ok(())
    }

    /// Waits until this broker's disk has everything below `required`.
    ///
    /// # Errors
    /// REQUEST_TIMED_OUT at `deadline`, KAFKA_STORAGE_ERROR.
    pub async fn wait_for_flush(
        &self,
        required: Offset,
        flusher: &Flusher,
        clock: Clock,
        deadline: Instant,
    ) -> Result<(), ErrorCode> {
        if self.log.durable_offset() >= required {
            return Ok(());
        }
        let (done, flushed) = oneshot::channel();
        flusher.request(
            &self.log,
            required,
            Box::new(move |result| {
                // The request may have timed out meanwhile.
                let _ = done.send(result);
            }),
        );
        tokio::select! {
            biased;
            flushed = flushed => match flushed {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(problem)) => Err(ErrorCode(problem.code())),
                Err(_) => Err(ErrorCode::KAFKA_STORAGE_ERROR),
            },
            () = clock.sleep_until(deadline) => Err(ErrorCode::REQUEST_TIMED_OUT),
        }
    }
}

fn needs_flush(policy: FlushBeforeAck, in_sync: usize) -> bool {
    match policy {
        FlushBeforeAck::Always => true,
        FlushBeforeAck::Auto => in_sync < 2,
        FlushBeforeAck::Never => false,
    }
}
