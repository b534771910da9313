//! The owner task: takes messages in turns, and lets what a turn said leave when its transactions are on disk.
//!
//! Everything is applied in memory at once, and everything said in a turn, reads by anybody included, waits for the newest transaction of that turn. So nobody ever sees a
//! write that a crash could still take back. While one batch is being synced on the log's own thread, the next one gathers: group commit without a timer.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use runtime::clock::Instant;
use runtime::{Clock, Task};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::error::KeeperError;
use crate::log_thread::{LogAnswer, LogThread, LogWork};
use crate::processor::{Admission, Command, Processor, Turn};
use crate::session::SessionClock;
use crate::snapshot;
use crate::status::Gauges;
use crate::wal::{LogBuffer, Wal};

/// Messages handled before replies are let go.
const TURN_MESSAGES_MAX: usize = 1000;

/// Bytes of transactions waiting for the log beyond which no message is taken: the disk is slower than the clients.
const LOG_BYTES_MAX: usize = 16 << 20;

/// Turns waiting for the log beyond which no message is taken.
const TURNS_MAX: usize = 1000;

/// How often a full disk is looked at again.
const ROOM_CHECK: Duration = Duration::from_secs(1);

/// How long a snapshot that failed is not tried again.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(30);

/// A message, and the permit of the memory it holds.
type Message = (Command, Option<OwnedSemaphorePermit>);

/// The owner, ready to run.
pub(crate) struct Owner {
    processor: Processor,
    clock: Clock,
    log: LogThread,
    /// Turns whose transactions are not all on disk yet, oldest first.
    held: VecDeque<(i64, Turn)>,
    durable_zxid: i64,
    /// The log's thread has a batch of so many bytes.
    syncing: Option<usize>,
    /// The log's thread looks for room.
    reserving: bool,
    /// A message that waits for room; none is taken before it.
    waiting: Option<Message>,
    /// Where the disk is full: when to look again.
    room_check: Option<Instant>,
    /// Nodes whose time is over wait for room.
    collecting: bool,
    /// The buffer that is not in use.
    spare: LogBuffer,
    snapshots: snapshot::Snapshots,
    snapshot: Option<RunningSnapshot>,
    /// The last step of the running snapshot: its file gets its name.
    finishing: Option<Task<Result<(), KeeperError>>>,
    /// Transactions and bytes logged since the last snapshot began.
    since_snapshot: (u64, u64),
    /// Where the last snapshot failed: not before this one is tried again.
    snapshot_retry: Option<Instant>,
    gauges: Arc<Gauges>,
}

struct RunningSnapshot {
    zxid: i64,
    writer: snapshot::Writer,
    /// All nodes have been handed over; what is left is to finish the file once the log has caught up.
    complete: bool,
}

/// How an event of the loop was caused.
enum Wake {
    Log(Option<Result<LogAnswer, KeeperError>>),
    Tick,
    Collect,
    Message(Option<Message>),
    RoomCheck,
    SnapshotRoom,
    SnapshotDone(Result<(), KeeperError>),
    Stop,
}

impl Owner {
    pub(crate) fn new(
        processor: Processor,
        clock: Clock,
        wal: Wal,
        snapshots: snapshot::Snapshots,
        replayed: u64,
        gauges: Arc<Gauges>,
    ) -> Result<Owner, KeeperError> {
        let durable_zxid = processor.zxid;
        gauges.set(&processor, 0);
        Ok(Owner {
            processor,
            clock,
            log: LogThread::start(wal)?,
            held: VecDeque::new(),
            durable_zxid,
            syncing: None,
            reserving: false,
            waiting: None,
            room_check: None,
            collecting: false,
            spare: LogBuffer::default(),
            snapshots,
            snapshot: None,
            finishing: None,
            // A keeper that is started often must not replay ever more.
            since_snapshot: (replayed, 0),
            snapshot_retry: None,
            gauges,
        })
    }

    /// Runs until told to stop or until the log fails.
    pub(crate) async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), KeeperError> {
        let mut session_clock = SessionClock::new(self.clock.now());
        let mut tick_at = session_clock.plan(self.processor.sessions.sleep_ms());
        let mut tick = pin!(self.clock.sleep_until(tick_at));
        let mut collect = tokio::time::interval(self.processor.config.container_check_interval);
        collect.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let result = loop {
            // A timer that rings too early costs less than one that is set anew for each message.
            let due = session_clock.plan(self.processor.sessions.sleep_ms());
            if due < tick_at || tick_at <= self.clock.now() {
                tick_at = due;
                tick.set(self.clock.sleep_until(tick_at));
            }
            let wake = tokio::select! {
                biased;
                answer = self.log.answers.recv() => Wake::Log(answer),
                _ = stop.wait_for(|stop| *stop) => Wake::Stop,
                () = tick.as_mut() => Wake::Tick,
                _ = collect.tick() => Wake::Collect,
                () = time_has_come(self.clock, self.room_check) => Wake::RoomCheck,
                result = snapshot_finished(&mut self.finishing) => Wake::SnapshotDone(result),
                message = messages.recv(), if self.takes_messages() => Wake::Message(message),
                () = snapshot_room(&self.snapshot) => Wake::SnapshotRoom,
            };
            // Sessions that a message touches count from now.
            self.processor.expire_sessions(session_clock.advance(self.clock.now()));
            match wake {
                Wake::Log(Some(Ok(answer))) => self.answered(answer),
                Wake::Log(Some(Err(error))) => break Err(error),
                Wake::Log(None) => break Err(KeeperError::Panicked),
                Wake::Stop | Wake::Message(None) => break Ok(()),
                Wake::Tick => {}
                Wake::Collect => self.collecting = !self.processor.collect(),
                Wake::RoomCheck => self.reserve(self.processor.session_room()),
                Wake::Message(Some(message)) => {
                    self.handle(message);
                    self.handle_waiting(&mut messages);
                    if self.syncing.is_none() && !self.processor.log.is_empty() {
                        // One look at the sockets: what has come from others meanwhile shares the sync that is about to begin.
                        tokio::task::yield_now().await;
                        self.handle_waiting(&mut messages);
                    }
                }
                Wake::SnapshotRoom => {}
                Wake::SnapshotDone(result) => self.snapshot_done(result),
            }
            self.end_turn();
        };
        self.shut_down(result).await
    }

    /// Handles a message, refuses it, or keeps it until the log has room.
    fn handle(&mut self, message: Message) {
        match self.processor.admit(&message.0) {
            Admission::Take => self.processor.handle(message.0),
            Admission::Refuse => self.processor.refuse(message.0),
            Admission::Wait => self.waiting = Some(message),
        }
    }

    /// Handles what waits, as much as belongs in a turn.
    fn handle_waiting(&mut self, messages: &mut mpsc::Receiver<Message>) {
        for _ in 1..TURN_MESSAGES_MAX {
            if self.processor.log.bytes() > LOG_BYTES_MAX || self.waiting.is_some() {
                break;
            }
            let Ok(message) = messages.try_recv() else { break };
            self.handle(message);
        }
    }

    fn takes_messages(&self) -> bool {
        self.processor.log.bytes() <= LOG_BYTES_MAX && self.held.len() < TURNS_MAX && self.waiting.is_none()
    }

    /// Sends what may leave, hands the log what has gathered, and moves a snapshot on.
    fn end_turn(&mut self) {
        let turn = self.processor.end_turn();
        if !turn.deliveries.is_empty() || !turn.requested.is_empty() {
            self.held.push_back((self.processor.zxid, turn));
        }
        self.release();
        let wanted = std::mem::take(&mut self.processor.room.wanted);
        if wanted > 0 && !self.processor.room.full {
            self.reserve(wanted);
        }
        self.commit();
        self.advance_snapshot();
        self.gauges.set(&self.processor, self.held.len());
    }

    fn release(&mut self) {
        let now: Instant = self.clock.now();
        while self.held.front().is_some_and(|(zxid, _)| *zxid <= self.durable_zxid) {
            let Some((_, turn)) = self.held.pop_front() else { return };
            self.processor.stats.answered(&turn.requested, now);
            turn.deliveries.into_iter().for_each(|delivery| delivery.deliver());
        }
    }

    fn commit(&mut self) {
        if self.syncing.is_some() || self.processor.log.is_empty() {
            return;
        }
        let batch = std::mem::replace(&mut self.processor.log, std::mem::take(&mut self.spare));
        debug_assert!(batch.bytes() <= self.processor.room.bytes, "a transaction is larger than was thought");
        self.processor.room.bytes = self.processor.room.bytes.saturating_sub(batch.bytes());
        self.since_snapshot.0 += (batch.last_zxid - batch.first_zxid + 1) as u64;
        self.since_snapshot.1 += batch.bytes() as u64;
        self.syncing = Some(batch.bytes());
        // A log thread that has ended says why through its answers.
        let _ = self.log.work.send(LogWork::Commit(batch));
    }

    /// Asks the log for room, one question at a time.
    fn reserve(&mut self, bytes: usize) {
        self.room_check = None;
        if !self.reserving {
            self.reserving = true;
            let _ = self.log.work.send(LogWork::Reserve(bytes as u64));
        }
    }

    fn answered(&mut self, answer: LogAnswer) {
        match answer.synced {
            Some((buffer, zxid)) => {
                self.syncing = None;
                self.spare = buffer;
                self.durable_zxid = zxid;
            }
            None => self.reserving = false,
        }
        let room = &mut self.processor.room;
        // What is on its way was not counted yet.
        room.bytes = (answer.room as usize).saturating_sub(self.syncing.unwrap_or(0));
        room.full = answer.full;
        self.room_check = answer.full.then(|| self.clock.now() + ROOM_CHECK);
        if let Some(message) = self.waiting.take() {
            self.handle(message);
        }
        if self.collecting && !self.processor.room.full {
            self.collecting = !self.processor.collect();
        }
    }

    fn advance_snapshot(&mut self) {
        let config = &self.processor.config;
        if self.snapshot.is_none() {
            let (txns, bytes) = self.since_snapshot;
            let is_due = match self.snapshot_retry {
                Some(at) => at <= self.clock.now(),
                None => txns >= config.snap_count || bytes >= config.snap_log_bytes,
            };
            if !is_due {
                return;
            }
            self.since_snapshot = (0, 0);
            self.processor.tree.start_snapshot();
            let sessions =
                self.processor.sessions.iter().map(|(id, session)| (*id, session.timeout_ms, session.password));
            let zxid = self.processor.zxid;
            let bytes_about = self.processor.tree.snapshot_bytes_about();
            let writer = self.snapshots.start(zxid, sessions.collect(), bytes_about);
            self.snapshot = Some(RunningSnapshot { zxid, writer, complete: false });
        }
        let Some(running) = &mut self.snapshot else { return };
        if !running.complete
            && running.writer.has_room()
            && let Some((bytes, total)) = self.processor.tree.snapshot_slice(snapshot::BLOCK_BYTES)
        {
            running.writer.block(bytes);
            if let Some(nodes) = total {
                running.complete = true;
                running.writer.total(nodes);
            }
        }
        // A snapshot must never be newer than the log.
        if running.complete && self.finishing.is_none() && self.durable_zxid >= running.zxid {
            self.finishing = Some(running.writer.finish());
        }
    }

    fn snapshot_done(&mut self, result: Result<(), KeeperError>) {
        self.finishing = None;
        let Some(running) = self.snapshot.take() else { return };
        self.processor.tree.stop_snapshot();
        match result.and_then(|()| self.snapshots.purge()) {
            Ok(oldest_kept) => {
                tracing::info!("snapshot of zxid 0x{:x} is written", running.zxid);
                self.snapshot_retry = None;
                let _ = self.log.work.try_send(LogWork::Purge(oldest_kept));
            }
            // Nothing is lost: the log has it all.
            Err(error) => {
                if self.snapshot_retry.replace(self.clock.now() + SNAPSHOT_PAUSE).is_none() {
                    tracing::warn!(
                        "{error}: {}; tried again every {} s, the log grows meanwhile; help: df -h {}",
                        error.cause().unwrap_or_default(),
                        SNAPSHOT_PAUSE.as_secs(),
                        self.snapshots.dir.display()
                    );
                }
            }
        }
    }

    async fn shut_down(mut self, result: Result<(), KeeperError>) -> Result<(), KeeperError> {
        let mut result = result;
        self.waiting = None;
        while result.is_ok() && (self.syncing.is_some() || !self.processor.log.is_empty()) {
            self.commit();
            match self.log.answers.recv().await {
                Some(Ok(answer)) => self.answered(answer),
                Some(Err(error)) => result = Err(error),
                None => result = Err(KeeperError::Panicked),
            }
        }
        if result.is_ok() {
            self.processor.close_all();
            self.end_turn();
        } else {
            // What was not synced must not be said.
            self.held.iter().flat_map(|(_, turn)| &turn.deliveries).for_each(|delivery| delivery.outbox.cut());
            self.processor.connections.values().for_each(|connection| connection.outbox.cut());
        }
        drop(self.log.work);
        let closed = self.log.thread.join().unwrap_or(Err(KeeperError::Panicked));
        result.and(closed)
    }
}

/// Resumes at a time, if there is one.
async fn time_has_come(clock: Clock, at: Option<Instant>) {
    match at {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Resumes when the running snapshot's file is finished; never, where there is none.
async fn snapshot_finished(finishing: &mut Option<Task<Result<(), KeeperError>>>) -> Result<(), KeeperError> {
    match finishing {
        Some(finishing) => finishing.await.unwrap_or(Err(KeeperError::Panicked)),
        None => std::future::pending().await,
    }
}

/// Resumes when the running snapshot wants more nodes and has room for them; never, where there is none.
async fn snapshot_room(snapshot: &Option<RunningSnapshot>) {
    match snapshot {
        Some(running) if !running.complete => running.writer.until_room().await,
        _ => std::future::pending().await,
    }
}
