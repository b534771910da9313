//! What a producer may append, and when it can be told that its records are safe.

use protocol::types::{LeaderEpoch, Offset};

use super::{FlushBeforeAck, Partition};
use crate::error::ReplicationError;

/// Whether an acks=all request can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckState {
    /// Not yet. With `needs_flush` the leader's log must also be flushed, which can begin now.
    Pending {
        /// The durable offset is among what is missing.
        needs_flush: bool,
    },
    /// Success: the record is on every in-sync replica, and on disk where the rules say so.
    Ok,
    /// Error 20: the record is in the log, but fewer replicas than `min.insync.replicas` are in sync.
    NotEnoughReplicasAfterAppend,
    /// Error 6: the leadership in which the record was appended is over.
    NotLeader,
}

impl Partition {
    /// Asks whether a producer may append, and in which epoch the append happens.
    ///
    /// # Errors
    /// [`ReplicationError::NotLeader`] (6); with acks=all [`ReplicationError::NotEnoughReplicas`] (19).
    pub fn check_append(&self, acks_all: bool) -> Result<LeaderEpoch, ReplicationError> {
        let leadership = self.leadership().ok_or(ReplicationError::NotLeader)?;
        let (in_sync, min) = (leadership.isr().len(), self.min_isr());
        if acks_all && in_sync < min {
            return Err(ReplicationError::NotEnoughReplicas { in_sync, min });
        }
        Ok(leadership.epoch)
    }

    /// Decides an acks=all request whose records were appended in `epoch` and end before `required`.
    #[must_use]
    pub fn ack_state(&self, epoch: LeaderEpoch, required: Offset) -> AckState {
        let Some(leadership) = self.leadership() else { return AckState::NotLeader };
        if !(leadership.leading_since..=leadership.epoch).contains(&epoch) {
            return AckState::NotLeader;
        }
        let flush_counts = match self.config.flush_before_ack {
            FlushBeforeAck::Always => true,
            FlushBeforeAck::Never => false,
            FlushBeforeAck::Auto => leadership.isr().len() < 2,
        };
        let needs_flush = flush_counts && self.durable < required;
        // A replica that lost records below the high watermark is still in the ISR until its removal is accepted.
        if self.high_watermark < required || !leadership.all_in_sync_have(required) {
            return AckState::Pending { needs_flush };
        }
        if leadership.maximal_isr_len() < self.min_isr() {
            return AckState::NotEnoughReplicasAfterAppend;
        }
        if needs_flush {
            return AckState::Pending { needs_flush };
        }
        assert!(
            self.log_end >= required && leadership.all_in_sync_have(required),
            "an offset answered with success is on every in-sync replica"
        );
        AckState::Ok
    }

    /// Decides a request whose records only have to be on every replica in sync, however few those are; appended in `epoch`, they end before `required`. Unlike for
    /// acks=all, the high watermark need not have passed them.
    #[must_use]
    pub fn in_sync_state(&self, epoch: LeaderEpoch, required: Offset) -> AckState {
        match self.leadership() {
            Some(leadership) if (leadership.leading_since..=leadership.epoch).contains(&epoch) => {
                if leadership.all_in_sync_reached(required) {
                    AckState::Ok
                } else {
                    AckState::Pending { needs_flush: false }
                }
            }
            _ => AckState::NotLeader,
        }
    }

    /// First offset that every living replica still has, where this one's log begins at `log_start` (Kafka's `Partition.lowWatermarkIfLeader`). `None` while it does not
    /// lead, or while one of the others has not told yet.
    #[must_use]
    pub fn low_watermark(&self, log_start: Offset) -> Option<Offset> {
        let others = self.leadership()?.followers().iter().filter(|follower| self.live.is_live(follower.id));
        others.map(|follower| follower.log_start).try_fold(log_start, |low, start| Some(low.min(start?)))
    }
}
