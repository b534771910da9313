//! What a producer appends.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use protocol::error::ErrorCode;
use protocol::types::LeaderEpoch;
use replication::{Effect, Effects, Partition};
use runtime::Clock;
use runtime::clock::Instant;
use storage::{AppendError, AppendInfo, AppendOptions};

use super::{Awaited, HostedPartition};
use crate::control::Hearing;

/// How long after a refusal a gap in a producer's sequence is taken for its consequence: its later requests were on their way already, and a busy broker may take seconds to
/// come to them.
const AFTERMATH: Duration = Duration::from_secs(10);

/// A produce request's batches, in the log.
#[derive(Debug, Clone, Copy)]
pub struct Appended {
    /// What the log says.
    pub info: AppendInfo,
    /// Epoch they were appended in.
    pub epoch: LeaderEpoch,
    /// What the answer waits for.
    pub awaits: Awaited,
}

/// Why batches were refused.
#[derive(Debug)]
pub enum AppendRefused {
    /// Not by the log: wrong broker, too few replicas.
    Code(ErrorCode),
    /// By the log.
    Log(AppendError),
}

/// The last refusal of a batch that may be sent again.
///
/// A producer may have five requests under way. Where the first is refused because this broker does not lead yet, or its disk is full, and the second finds that it does, or that there is room, the second leaves a
/// gap. Told OUT_OF_ORDER_SEQUENCE_NUMBER, as Kafka would tell it, librdkafka begins a new epoch for all its partitions, in which it sends once more what it has no answer to, though it may be stored: a
/// duplicate. So for a while a gap is answered as the refusal was, after which clients send again in order and in the same epoch.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    last: Mutex<Option<(Instant, ErrorCode)>>,
}

impl Refusals {
    /// Notes that batches were refused, or, where a leadership begins, may have been.
    pub(super) fn note(&self, clock: Clock, code: ErrorCode) {
        *self.last.lock() = Some((clock.now(), code));
    }

    /// What a producer is answered whose batches the log refuses.
    fn judge(&self, clock: Clock, error: AppendError) -> AppendRefused {
        match &error {
            AppendError::OutOfOrderSequence { sequence, last, .. } if i64::from(*sequence) > i64::from(*last) + 1 => {
                match *self.last.lock() {
                    Some((at, code)) if clock.now() < at + AFTERMATH => AppendRefused::Code(code),
                    _ => AppendRefused::Log(error),
                }
            }
            AppendError::Storage(problem) if ErrorCode(problem.code()) == ErrorCode::KAFKA_STORAGE_ERROR => {
                self.note(clock, ErrorCode::KAFKA_STORAGE_ERROR);
                AppendRefused::Log(error)
            }
            _ => AppendRefused::Log(error),
        }
    }
}

impl HostedPartition {
    /// Appends batches v2 of a producer, in the order of the calls.
    ///
    /// # Errors
    /// This broker does not lead, too few replicas are in sync for acks=all, or the log refuses.
    pub fn append(
        self: &Arc<Self>,
        batches: &mut [u8],
        acks: i16,
        options: AppendOptions,
    ) -> Result<Appended, AppendRefused> {
        let bytes = batches.len();
        let refused = |code| {
            self.refusals.note(self.rules.clock, code);
            AppendRefused::Code(code)
        };
        let (appended, effects) = {
            let _lasts = self.leadership.read();
            let (allowed, hearing) = {
                let replica = self.replica.lock();
                (replica.check_append(acks == -1), self.hearing(&replica))
            };
            let epoch = allowed.map_err(|why| refused(why.error_code()))?;
            if hearing == Hearing::Over {
                return Err(refused(ErrorCode::NOT_LEADER_OR_FOLLOWER));
            }
            let appended = self.log.append_as_leader(batches, epoch, options);
            let info = appended.map_err(|error| self.refusals.judge(self.rules.clock, error))?;
            let appended = Appended { info, epoch, awaits: Awaited::of(acks, hearing, &info) };
            if info.duplicate {
                return Ok(appended);
            }
            let mut replica = self.replica.lock();
            let effects = replica.on_append(self.log.log_end_offset(), self.lag_now_ms());
            let effects = self.raise_high_watermark(&replica, bytes, effects);
            (appended, effects)
        };
        let info = &appended.info;
        self.counters.messages_in.add((info.last_offset.0 - info.first_offset.0 + 1).unsigned_abs());
        self.counters.bytes_in.add(bytes as u64);
        self.appended.bytes_came(bytes);
        self.watchers.call(true);
        if let Some(effects) = effects {
            self.carry_out(effects);
        }
        Ok(appended)
    }

    /// The common case of an append without followers, settled under the lock: the high watermark follows, and consumers are told how many bytes came. Gives back what is
    /// left to do.
    fn raise_high_watermark(
        &self,
        replica: &MutexGuard<'_, Partition>,
        bytes: usize,
        effects: Effects,
    ) -> Option<Effects> {
        let only_the_watermark = {
            let mut all = effects.iter();
            matches!((all.next(), all.next()), (Some(Effect::AdvanceHighWatermark(_)), None))
        };
        if !only_the_watermark {
            return (!effects.is_empty()).then_some(effects);
        }
        self.log.set_high_watermark(replica.high_watermark());
        self.committed.bytes_came(bytes);
        None
    }
}

#[cfg(test)]
mod tests {
    use protocol::types::{Offset, TopicPartition};
    use runtime::sim_time::SimTime;

    use super::*;

    fn out_of_order(last: i32, sequence: i32) -> AppendError {
        let partition = TopicPartition::new("t", 0);
        AppendError::OutOfOrderSequence { partition, producer_id: 1, offset: Offset(9), sequence, last }
    }

    #[test]
    fn a_gap_after_a_refusal_is_answered_as_the_refusal_was() {
        let time = SimTime::begin();
        let (refusals, clock) = (Refusals::default(), Clock::Sim(time.clock(0, 0)));
        let answer = |last, sequence| match refusals.judge(clock, out_of_order(last, sequence)) {
            AppendRefused::Code(code) => code,
            AppendRefused::Log(error) => ErrorCode(error.code()),
        };
        let unexplained = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
        assert_eq!(answer(4, 7), unexplained);
        refusals.note(clock, ErrorCode::NOT_ENOUGH_REPLICAS);
        assert_eq!(answer(4, 7), ErrorCode::NOT_ENOUGH_REPLICAS);
        assert_eq!(answer(-1, 2), ErrorCode::NOT_ENOUGH_REPLICAS, "a stranger");
        assert_eq!(answer(4, 3), unexplained, "older than what is stored: sent again, it would be so again");
        time.advance(time.now() + AFTERMATH);
        assert_eq!(answer(4, 7), unexplained, "whoever sent again in order has done so by now");
    }
}
