//! When the answer to a producer can go out: what `replication::Partition` decides, and the waits for the high watermark and for this broker's disk.

use protocol::error::ErrorCode;
use protocol::types::Offset;
use replication::AckState;
use runtime::clock::Instant;
use storage::Flusher;
use tokio::sync::oneshot;

use super::{Appended, HostedPartition};
use crate::replica_manager::purgatory::Ticket;

impl HostedPartition {
    fn ack_state(&self, appended: &Appended) -> AckState {
        let durable = self.log.durable_offset();
        let mut replica = self.replica.lock();
        // Whoever waits for acks asks by itself, so nobody needs calling.
        let _ = replica.on_flushed(durable);
        if self.is_deaf(&replica) {
            return AckState::NotLeader;
        }
        replica.ack_state(appended.epoch, appended.info.last_offset.plus(1))
    }

    /// Whether the answer to acks=all can go out now; nothing while it has to wait.
    #[must_use]
    pub fn ack_now(&self, appended: &Appended) -> Option<Result<(), ErrorCode>> {
        match self.ack_state(appended) {
            AckState::Pending { .. } => None,
            AckState::Ok => Some(Ok(())),
            AckState::NotEnoughReplicasAfterAppend => Some(Err(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND)),
            AckState::NotLeader => Some(Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)),
        }
    }

    /// Has the sync begun that the answer to acks=all will wait for, where it will.
    pub fn ask_for_flush(&self, appended: &Appended, flusher: &Flusher) {
        let waits = matches!(self.ack_state(appended), AckState::Pending { needs_flush: true });
        if waits || appended.info.flush_due {
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
        flusher: &Flusher,
        deadline: Instant,
    ) -> Result<(), ErrorCode> {
        let required = appended.info.last_offset.plus(1);
        if appended.info.flush_due {
            self.wait_for_flush(required, flusher, deadline).await?;
        }
        loop {
            let ticket = Ticket::new(0);
            self.committed.add(&ticket);
            let needs_flush = match self.ack_state(appended) {
                AckState::Ok => return Ok(()),
                AckState::NotEnoughReplicasAfterAppend => return Err(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
                AckState::NotLeader => return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
                AckState::Pending { needs_flush } => needs_flush,
            };
            if needs_flush {
                self.wait_for_flush(required, flusher, deadline).await?;
                continue;
            }
            tokio::select! {
                biased;
                () = ticket.called() => {}
                () = self.rules.clock.sleep_until(deadline) => return Err(ErrorCode::REQUEST_TIMED_OUT),
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
