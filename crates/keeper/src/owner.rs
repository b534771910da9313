//! The owner task: takes messages in turns, and lets what a turn said leave when its transactions are on disk.
//!
//! Everything is applied in memory at once, and everything said in a turn, reads by anybody included, waits for the newest transaction of that turn. So nobody ever sees a
//! write that a crash could still take back. While one batch is being synced on the log's own thread, the next one gathers: group commit without a timer.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use runtime::clock::Instant;
use runtime::{Clock, Task};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::error::KeeperError;
use crate::processor::{Command, Processor, Turn};
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

/// Work for the log's thread.
enum LogWork {
    Commit(LogBuffer),
    Purge(i64),
}

/// What it answers: the emptied buffer of a commit, and up to where the log is on disk.
struct Synced {
    buffer: LogBuffer,
    zxid: i64,
}

/// The owner, ready to run.
pub(crate) struct Owner {
    processor: Processor,
    clock: Clock,
    log: LogThread,
    /// Turns whose transactions are not all on disk yet, oldest first.
    held: VecDeque<(i64, Turn)>,
    durable_zxid: i64,
    /// The log's thread has a batch.
    syncing: bool,
    /// The buffer that is not in use.
    spare: LogBuffer,
    snapshots: snapshot::Snapshots,
    snapshot: Option<RunningSnapshot>,
    /// The last step of the running snapshot: its file gets its name.
    finishing: Option<Task<Result<(), KeeperError>>>,
    /// Transactions and bytes logged since the last snapshot began.
    since_snapshot: (u64, u64),
    gauges: Arc<Gauges>,
}

struct LogThread {
    work: std::sync::mpsc::SyncSender<LogWork>,
    done: mpsc::UnboundedReceiver<Result<Synced, KeeperError>>,
    thread: std::thread::JoinHandle<Result<(), KeeperError>>,
}

struct RunningSnapshot {
    zxid: i64,
    writer: snapshot::Writer,
    /// All nodes have been handed over; what is left is to finish the file once the log has caught up.
    complete: bool,
}

impl LogThread {
    fn start(mut wal: Wal) -> Result<LogThread, KeeperError> {
        // One batch at a time, and a purge beside it.
        let (work, inbox) = std::sync::mpsc::sync_channel(2);
        let (outbox, done) = mpsc::unbounded_channel();
        let thread = runtime::thread("keeper-log", move || {
            for work in inbox {
                let result = match work {
                    LogWork::Commit(mut buffer) => {
                        let zxid = buffer.last_zxid;
                        wal.commit(&mut buffer).map(|()| Some(Synced { buffer, zxid }))
                    }
                    LogWork::Purge(zxid) => wal.purge(zxid).map(|()| None),
                };
                match result {
                    Ok(None) => {}
                    Ok(Some(synced)) => {
                        if outbox.send(Ok(synced)).is_err() {
                            break;
                        }
                    }
                    // Nothing written since the last good sync can be trusted: the log ends here.
                    Err(error) => {
                        let _ = outbox.send(Err(error));
                        return Ok(());
                    }
                }
            }
            wal.close()
        });
        let thread = thread.map_err(|source| KeeperError::Start { what: "log thread", source })?;
        Ok(LogThread { work, done, thread })
    }
}

/// How an event of the loop was caused.
enum Wake {
    Synced(Option<Result<Synced, KeeperError>>),
    Tick,
    Collect,
    Message(Option<(Command, Option<OwnedSemaphorePermit>)>),
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
            syncing: false,
            spare: LogBuffer::default(),
            snapshots,
            snapshot: None,
            finishing: None,
            // A keeper that is started often must not replay ever more.
            since_snapshot: (replayed, 0),
            gauges,
        })
    }

    /// Runs until told to stop or until the log fails.
    pub(crate) async fn run(
        mut self,
        mut messages: mpsc::Receiver<(Command, Option<OwnedSemaphorePermit>)>,
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
                synced = self.log.done.recv() => Wake::Synced(synced),
                _ = stop.wait_for(|stop| *stop) => Wake::Stop,
                () = tick.as_mut() => Wake::Tick,
                _ = collect.tick() => Wake::Collect,
                result = snapshot_finished(&mut self.finishing) => Wake::SnapshotDone(result),
                message = messages.recv(), if self.takes_messages() => Wake::Message(message),
                () = snapshot_room(&self.snapshot) => Wake::SnapshotRoom,
            };
            // Sessions that a message touches count from now.
            self.processor.expire_sessions(session_clock.advance(self.clock.now()));
            match wake {
                Wake::Synced(Some(Ok(synced))) => self.synced(synced),
                Wake::Synced(Some(Err(error))) => break Err(error),
                Wake::Synced(None) => break Err(KeeperError::Panicked),
                Wake::Stop | Wake::Message(None) => break Ok(()),
                Wake::Tick => {}
                Wake::Collect => self.processor.collect(),
                Wake::Message(Some((command, permit))) => {
                    self.processor.handle(command);
                    drop(permit);
                    self.handle_waiting(&mut messages);
                    if !self.syncing && !self.processor.log.is_empty() {
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

    /// Handles what waits, as much as belongs in a turn.
    fn handle_waiting(&mut self, messages: &mut mpsc::Receiver<(Command, Option<OwnedSemaphorePermit>)>) {
        for _ in 1..TURN_MESSAGES_MAX {
            if self.processor.log.bytes() > LOG_BYTES_MAX {
                break;
            }
            let Ok((command, permit)) = messages.try_recv() else { break };
            self.processor.handle(command);
            drop(permit);
        }
    }

    fn takes_messages(&self) -> bool {
        self.processor.log.bytes() <= LOG_BYTES_MAX && self.held.len() < TURNS_MAX
    }

    /// Sends what may leave, hands the log what has gathered, and moves a snapshot on.
    fn end_turn(&mut self) {
        let turn = self.processor.end_turn();
        if !turn.deliveries.is_empty() || !turn.requested.is_empty() {
            self.held.push_back((self.processor.zxid, turn));
        }
        self.release();
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
        if self.syncing || self.processor.log.is_empty() {
            return;
        }
        let batch = std::mem::replace(&mut self.processor.log, std::mem::take(&mut self.spare));
        self.since_snapshot.0 += (batch.last_zxid - batch.first_zxid + 1) as u64;
        self.since_snapshot.1 += batch.bytes() as u64;
        self.syncing = true;
        // A log thread that has ended says why through `done`.
        let _ = self.log.work.send(LogWork::Commit(batch));
    }

    fn synced(&mut self, synced: Synced) {
        self.syncing = false;
        self.spare = synced.buffer;
        self.durable_zxid = synced.zxid;
    }

    fn advance_snapshot(&mut self) {
        let config = &self.processor.config;
        if self.snapshot.is_none() {
            let (txns, bytes) = self.since_snapshot;
            if txns < config.snap_count && bytes < config.snap_log_bytes {
                return;
            }
            self.since_snapshot = (0, 0);
            self.processor.tree.start_snapshot();
            let sessions =
                self.processor.sessions.iter().map(|(id, session)| (*id, session.timeout_ms, session.password));
            let zxid = self.processor.zxid;
            let writer = self.snapshots.start(zxid, sessions.collect());
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
                let _ = self.log.work.try_send(LogWork::Purge(oldest_kept));
            }
            // Nothing is lost: the log has it all. The next one is tried after as many transactions again.
            Err(error) => tracing::warn!("{error}: {}", error.cause().unwrap_or_default()),
        }
    }

    async fn shut_down(mut self, result: Result<(), KeeperError>) -> Result<(), KeeperError> {
        let mut result = result;
        while result.is_ok() && (self.syncing || !self.processor.log.is_empty()) {
            self.commit();
            match self.log.done.recv().await {
                Some(Ok(synced)) => self.synced(synced),
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
