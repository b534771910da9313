//! When the answer to a producer can go out: what `replication::Partition` decides, and the waits for the high watermark and for this broker's disk.
//!
//! A leader that has not heard ZooKeeper for a session timeout cannot know whether another leads by now. What it may still acknowledge is what every replica in sync has: only
//! one of those is ever elected, and none of them fetches from an old leader once it leads. So acks=all goes on while ZooKeeper is gone, and acks=1 is answered by the same rule
//! for so long: no record that was acknowledged meanwhile is cut off when the leader finds that it was one no more.

use std::time::Duration;

use protocol::error::ErrorCode;
use protocol::types::Offset;
use replication::AckState;
use runtime::clock::Instant;
use storage::{AppendInfo, Flusher};
use tokio::sync::oneshot;

use super::{Appended, HostedPartition};
use crate::control::Hearing;
use crate::replica_manager::purgatory::Ticket;

/// How long a leader that does not hear ZooKeeper waits for its replicas in sync before it sends the producer to look for another leader: some rounds of fetching, and well
/// below any client's own patience.
const PATIENCE_IN_SILENCE: Duration = Duration::from_secs(2);

/// What the answer to a producer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// Nothing but the append: acks=0 and acks=1.
    Nothing,
    /// This broker's disk: acks=1 where `flush.messages` was reached, as with Kafka.
    Disk,
    /// Every replica in sync has the records: acks=1 of a leader that does not hear ZooKeeper.
    InSync,
    /// Every replica in sync has them, and they are as many as `min.insync.replicas` wants: acks=all.
    Committed,
}

impl Awaited {
    /// What an append with `acks` waits for.
    pub(super) fn of(acks: i16, hearing: Hearing, info: &AppendInfo) -> Awaited {
        match acks {
            -1 => Awaited::Committed,
            1 if hearing != Hearing::Heard => Awaited::InSync,
            1 if info.flush_due => Awaited::Disk,
            _ => Awaited::Nothing,
        }
    }
}

impl HostedPartition {
    /// `NotLeader` as soon as it is certain, and from a leader that does not hear ZooKeeper once it has waited long enough for its followers.
    fn ack_state(&self, appended: &Appended, has_waited: bool) -> AckState {
        let required = appended.info.last_offset.plus(1);
        let durable = self.log.durable_offset();
        let mut replica = self.replica.lock();
        // Whoever waits for acks asks by itself, so nobody needs calling.
        let _ = replica.on_flushed(durable);
        let hearing = self.hearing(&replica);
        if hearing == Hearing::Over {
            return AckState::NotLeader;
        }
        let state = match appended.awaits {
            Awaited::InSync => replica.in_sync_state(appended.epoch, required),
            Awaited::Nothing | Awaited::Disk | Awaited::Committed => replica.ack_state(appended.epoch, required),
        };
        match state {
            AckState::Pending { needs_flush: false } if has_waited && hearing == Hearing::Silent => AckState::NotLeader,
            state => state,
        }
    }

    /// Whether the answer can go out now; nothing while it has to wait.
    #[must_use]
    pub fn ack_now(&self, appended: &Appended) -> Option<Result<(), ErrorCode>> {
        match appended.awaits {
            Awaited::Nothing => return Some(Ok(())),
            Awaited::Disk => return None,
            Awaited::InSync | Awaited::Committed => {}
        }
        match self.ack_state(appended, false) {
            AckState::Ok => (!appended.info.flush_due).then_some(Ok(())),
            AckState::Pending { .. } => None,
            AckState::NotEnoughReplicasAfterAppend => Some(Err(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND)),
            AckState::NotLeader => Some(Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)),
        }
    }

    /// Has the sync begun that the answer will wait for, where it will.
    pub fn ask_for_flush(&self, appended: &Appended, flusher: &Flusher) {
        let waits = || matches!(self.ack_state(appended, false), AckState::Pending { needs_flush: true });
        if appended.info.flush_due || (appended.awaits == Awaited::Committed && waits()) {
            flusher.request(&self.log, appended.info.last_offset.plus(1), Box::new(|_| {}));
        }
    }

    /// Waits until the answer can go out: for what [`Appended::awaits`] says and, by `log.flush.before.ack`, for this broker's disk too.
    ///
    /// # Errors
    /// REQUEST_TIMED_OUT at `deadline`, or what the wait showed.
    pub async fn wait_for_acks(
        &self,
        appended: &Appended,
        flusher: &Flusher,
        deadline: Instant,
    ) -> Result<(), ErrorCode> {
        let required = appended.info.last_offset.plus(1);
        if appended.info.flush_due {
            self.wait_for_flush(required, flusher, deadline).await?;
        }
        if matches!(appended.awaits, Awaited::Nothing | Awaited::Disk) {
            return Ok(());
        }
        let mut has_waited = false;
        loop {
            let ticket = Ticket::new(0);
            self.committed.add(&ticket);
            let needs_flush = match self.ack_state(appended, has_waited) {
                AckState::Ok => return Ok(()),
                AckState::NotEnoughReplicasAfterAppend => return Err(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
                AckState::NotLeader => return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
                AckState::Pending { needs_flush } => needs_flush,
            };
            if needs_flush {
                self.wait_for_flush(required, flusher, deadline).await?;
                continue;
            }
            let patience = deadline.min(self.rules.clock.now() + PATIENCE_IN_SILENCE);
            tokio::select! {
                biased;
                () = ticket.called() => {}
                () = self.rules.clock.sleep_until(patience) => {
                    if patience == deadline {
                        return Err(ErrorCode::REQUEST_TIMED_OUT);
                    }
                    has_waited = true;
                }
            }
        }
    }

    /// Waits until this broker's disk has everything below `required`.
    ///
    /// # Errors
    /// REQUEST_TIMED_OUT at `deadline`, KAFKA_STORAGE_ERROR.
    pub async fn wait_for_flush(
        &self,
        required: Offset,
        flusher: &Flusher,
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
            () = self.rules.clock.sleep_until(deadline) => Err(ErrorCode::REQUEST_TIMED_OUT),
        }
    }
}
