//! One partition of `__consumer_offsets`: its groups, behind one mutex, and the requests that wait for them.
//!
//! A request is handed to the rules under the mutex; what they want written is appended to the log before the mutex is let go, so the log has their order. Only waiting for
//! acks happens outside.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use coordinator::event::OffsetsRecord;
use coordinator::{Effect, Groups, Now, Response, Token, WriteId};
use parking_lot::Mutex;
use protocol::error::ErrorCode;
use protocol::records::{BatchBuilder, BatchOptions};
use runtime::Clock;
use runtime::clock::Instant;
use storage::{AppendError, AppendOptions, AppendOrigin, Flusher};
use tokio::sync::{Notify, oneshot};
use tracing::{error, info, warn};

use crate::replica_manager::HostedPartition;
use crate::replica_manager::partition::{AppendRefused, Appended};

/// Records are packed into batches of about this size, so that many tombstones at once are no oversized batch.
const BATCH_BYTES: usize = 256 * 1024;

/// How records are written.
#[derive(Clone)]
pub struct Writing {
    /// `offsets.commit.required.acks`.
    pub required_acks: i16,
    /// `offsets.commit.timeout.ms`.
    pub timeout: Duration,
    /// Who syncs.
    pub flusher: Flusher,
    /// Source of the time.
    pub clock: Clock,
    /// Where the rules' monotonic clock begins.
    pub started: Instant,
}

impl Writing {
    /// The time as the rules want it.
    #[must_use]
    pub fn now(&self) -> Now {
        let elapsed = self.clock.now().saturating_duration_since(self.started);
        Now { monotonic_ms: i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX), wall_ms: self.clock.now_ms() }
    }

    /// The moment of a deadline of the rules.
    #[must_use]
    pub fn instant(&self, deadline_ms: i64) -> Instant {
        // The rules count whole milliseconds, so the one that has begun must be over.
        self.started + Duration::from_millis(u64::try_from(deadline_ms).unwrap_or_default())
    }
}

/// One partition of `__consumer_offsets` that this broker leads.
pub struct Shard {
    /// Its number.
    pub partition: i32,
    /// Epoch of the leadership it belongs to.
    pub epoch: i32,
    pub(super) hosted: Arc<HostedPartition>,
    writing: Writing,
    earlier: Arc<Notify>,
    state: Mutex<State>,
}

/// How far a shard is.
enum State {
    /// Its records are being read.
    Loading,
    /// It serves its groups.
    Active(Active),
    /// Its records cannot be read.
    Failed,
    /// The leadership is over.
    Gone,
}

struct Active {
    groups: Groups,
    waiting: HashMap<Token, oneshot::Sender<Response>>,
    last_token: u64,
    /// The deadline that the task knows of.
    armed: Option<i64>,
}

impl Shard {
    pub(super) fn new(
        partition: i32,
        epoch: i32,
        hosted: Arc<HostedPartition>,
        writing: Writing,
        earlier: Arc<Notify>,
    ) -> Arc<Shard> {
        Arc::new(Shard { partition, epoch, hosted, writing, earlier, state: Mutex::new(State::Loading) })
    }

    /// Looks at the groups, or lets them answer at once.
    ///
    /// # Errors
    /// Why the groups cannot be asked: they are being loaded (14), could not be (15), or are served elsewhere by now (16).
    pub fn with<R>(
        self: &Arc<Self>,
        act: impl FnOnce(&mut Groups, Now, &mut Vec<Effect>) -> R,
    ) -> Result<R, ErrorCode> {
        let mut state = self.state.lock();
        let active = state.active()?;
        let mut effects = Vec::new();
        let result = act(&mut active.groups, self.writing.now(), &mut effects);
        self.carry_out(active, effects);
        Ok(result)
    }

    /// Hands the groups a request that they answer when it is time.
    ///
    /// # Errors
    /// As [`Shard::with`].
    pub async fn ask(
        self: &Arc<Self>,
        act: impl FnOnce(&mut Groups, Token, Now, &mut Vec<Effect>),
    ) -> Result<Response, ErrorCode> {
        let answered = {
            let mut state = self.state.lock();
            let active = state.active()?;
            active.last_token += 1;
            let token = Token(active.last_token);
            let (answer, answered) = oneshot::channel();
            active.waiting.insert(token, answer);
            let mut effects = Vec::new();
            act(&mut active.groups, token, self.writing.now(), &mut effects);
            self.carry_out(active, effects);
            answered
        };
        // The groups answer everyone before they go.
        answered.await.map_err(|_| ErrorCode::NOT_COORDINATOR)
    }

    /// Whether the records are still being read.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        matches!(*self.state.lock(), State::Loading)
    }

    /// The records were read.
    pub(super) fn loaded(self: &Arc<Self>, groups: Groups, effects: Vec<Effect>) {
        let mut state = self.state.lock();
        if let State::Loading = *state {
            *state = State::Active(Active { groups, waiting: HashMap::new(), last_token: 0, armed: None });
            if let State::Active(active) = &mut *state {
                self.carry_out(active, effects);
            }
        }
    }

    /// The records cannot be read.
    pub(super) fn failed(&self) {
        let mut state = self.state.lock();
        if let State::Loading = *state {
            *state = State::Failed;
        }
    }

    /// The leadership is over: whoever waits is sent elsewhere.
    pub(super) fn unload(&self) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Gone);
        if let State::Active(mut active) = before {
            let mut effects = Vec::new();
            active.groups.unload(self.writing.now(), &mut effects);
            for effect in effects {
                if let Effect::Reply { token, response } = effect {
                    answer(&mut active.waiting, token, response);
                }
            }
        }
    }

    /// When something is due, if anything is.
    pub(super) fn next_deadline(&self) -> Option<i64> {
        match &mut *self.state.lock() {
            State::Active(active) => {
                active.armed = active.groups.next_deadline();
                active.armed
            }
            _ => None,
        }
    }

    /// Does what is due.
    pub(super) fn tick(self: &Arc<Self>) {
        // A shard that is not active has nothing due.
        let _ = self.with(|groups, now, effects| groups.on_tick(now, effects));
    }

    /// Carries out what the rules want, and what follows from it, in order.
    fn carry_out(self: &Arc<Self>, active: &mut Active, effects: Vec<Effect>) {
        let mut round = effects;
        while !round.is_empty() {
            let mut next = Vec::new();
            for effect in round {
                match effect {
                    Effect::Reply { token, response } => answer(&mut active.waiting, token, response),
                    Effect::Notice(text) => info!(target: "group_coordinator", "{text}"),
                    Effect::Write { id, records } => {
                        if let Some(result) = self.write(id, records) {
                            active.groups.on_written(id, result, self.writing.now(), &mut next);
                        }
                    }
                }
            }
            round = next;
        }
        let deadline = active.groups.next_deadline();
        if deadline.is_some_and(|deadline| active.armed.is_none_or(|armed| deadline < armed)) {
            active.armed = deadline;
            self.earlier.notify_one();
        }
    }

    /// Appends records. Gives how it went, or nothing while acks are missing: then [`Shard::written`] is called with it.
    fn write(self: &Arc<Self>, id: WriteId, records: Vec<OffsetsRecord>) -> Option<Result<i64, ErrorCode>> {
        let appended = match self.append(&records) {
            Ok(appended) => appended,
            Err(code) => return Some(Err(code)),
        };
        let base = appended.info.first_offset.0;
        if let Some(acked) = self.hosted.ack_now(&appended) {
            return Some(acked.map(|()| base));
        }
        self.hosted.ask_for_flush(&appended, &self.writing.flusher);
        let shard = self.clone();
        // At most one task for each write under way, which the rules limit (`WRITES_MAX`).
        runtime::spawn(async move {
            let writing = &shard.writing;
            let deadline = writing.clock.now() + writing.timeout;
            let acked = shard.hosted.wait_for_acks(&appended, &writing.flusher, deadline).await;
            shard.written(id, acked.map(|()| base));
        });
        None
    }

    fn written(self: &Arc<Self>, id: WriteId, result: Result<i64, ErrorCode>) {
        // A shard that is gone has answered all who waited.
        let _ = self.with(|groups, now, effects| groups.on_written(id, result, now, effects));
    }

    fn append(&self, records: &[OffsetsRecord]) -> Result<Appended, ErrorCode> {
        // What belongs to a former leadership must not follow what another leader wrote.
        if self.hosted.leader_epoch() != Ok(self.epoch) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let now_ms = self.writing.clock.now_ms();
        let mut batches = pack(records, now_ms).map_err(|problem| {
            error!(partition = %self.hosted.partition(), error = %problem, "cannot pack group records");
            ErrorCode::UNKNOWN_SERVER_ERROR
        })?;
        let options = AppendOptions { now_ms, origin: AppendOrigin::Coordinator };
        self.hosted.append(&mut batches, self.writing.required_acks, options).map_err(|refused| match refused {
            AppendRefused::Code(code) => code,
            AppendRefused::Log(problem) => {
                // An offline or full directory has said so, once for all.
                let is_told = matches!(&problem, AppendError::Storage(problem) if problem.is_of_directory());
                if !is_told {
                    warn!(partition = %self.hosted.partition(), error = %problem, "cannot append group records");
                }
                ErrorCode(problem.code())
            }
        })
    }
}

impl State {
    fn active(&mut self) -> Result<&mut Active, ErrorCode> {
        match self {
            State::Active(active) => Ok(active),
            State::Loading => Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
            State::Failed => Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
            State::Gone => Err(ErrorCode::NOT_COORDINATOR),
        }
    }
}

fn answer(waiting: &mut HashMap<Token, oneshot::Sender<Response>>, token: Token, response: Response) {
    if let Some(answer) = waiting.remove(&token) {
        // The connection may be gone by now.
        let _ = answer.send(response);
    }
}

/// Packs records into batches, one after the other.
fn pack(records: &[OffsetsRecord], now_ms: i64) -> Result<Vec<u8>, protocol::records::RecordsError> {
    let mut batches = Vec::new();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for record in records {
        let size = record.key.len() + record.value.as_ref().map_or(0, |value| value.len());
        if !builder.is_empty() && builder.uncompressed_size() + size > BATCH_BYTES {
            let full = std::mem::replace(&mut builder, BatchBuilder::new(BatchOptions::default()));
            batches.extend_from_slice(&full.build_vec()?);
        }
        builder.append(now_ms, Some(&record.key), record.value.as_deref(), None)?;
    }
    if batches.is_empty() {
        return builder.build_vec();
    }
    batches.extend_from_slice(&builder.build_vec()?);
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::records::BatchIter;

    use super::*;

    #[test]
    fn many_records_become_several_batches_with_all_of_them() {
        let record = OffsetsRecord { key: Bytes::from(vec![7; 1000]), value: None };
        let batches = pack(&vec![record; 1000], 5).unwrap();
        let counts: Vec<i32> =
            BatchIter::new(Bytes::from(batches)).map(|batch| batch.unwrap().header.records_count).collect();
        assert!(counts.len() > 1);
        assert_eq!(counts.iter().sum::<i32>(), 1000);
    }
}
