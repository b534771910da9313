//! The thread that writes and syncs the log: the owner hands it batches and is told when they are on disk and how much room there is.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::error::KeeperError;
use crate::wal::{LogBuffer, Wal};

/// The log rests when nothing has come for so long after a batch; its end is then marked ([`Wal::mark`]).
const REST: Duration = Duration::from_millis(20);

/// Work that waits: one batch, one look for room, one purge.
const WORK_MAX: usize = 3;

/// Work for the thread.
pub(crate) enum LogWork {
    Commit(LogBuffer),
    /// Room for so many bytes is wanted.
    Reserve(u64),
    Purge(i64),
}

/// What it answers to all but a purge.
pub(crate) struct LogAnswer {
    /// The emptied buffer of a batch, and up to where the log is on disk.
    pub(crate) synced: Option<(LogBuffer, i64)>,
    /// Bytes of transactions that the log will take for certain.
    pub(crate) room: u64,
    /// The disk has no more.
    pub(crate) full: bool,
}

/// The owner's end.
pub(crate) struct LogThread {
    pub(crate) work: SyncSender<LogWork>,
    pub(crate) answers: mpsc::UnboundedReceiver<Result<LogAnswer, KeeperError>>,
    pub(crate) thread: std::thread::JoinHandle<Result<(), KeeperError>>,
}

impl LogThread {
    pub(crate) fn start(mut wal: Wal) -> Result<LogThread, KeeperError> {
        let (work, inbox) = sync_channel(WORK_MAX);
        let (outbox, answers) = mpsc::unbounded_channel();
        let thread = runtime::thread("keeper-log", move || {
            match serve(&mut wal, &inbox, &outbox) {
                Ok(()) => wal.close(),
                // Nothing written since the last good sync can be trusted: the log ends here.
                Err(error) => {
                    let _ = outbox.send(Err(error));
                    Ok(())
                }
            }
        });
        let thread = thread.map_err(|source| KeeperError::Start { what: "log thread", source })?;
        Ok(LogThread { work, answers, thread })
    }
}

fn serve(
    wal: &mut Wal,
    inbox: &Receiver<LogWork>,
    outbox: &mpsc::UnboundedSender<Result<LogAnswer, KeeperError>>,
) -> Result<(), KeeperError> {
    let mut is_marked = true;
    loop {
        let work =
            if is_marked { inbox.recv().map_err(|_| RecvTimeoutError::Disconnected) } else { inbox.recv_timeout(REST) };
        let synced = match work {
            Ok(LogWork::Commit(mut batch)) => {
                let zxid = batch.last_zxid;
                wal.commit(&mut batch)?;
                is_marked = false;
                Some((batch, zxid))
            }
            Ok(LogWork::Reserve(bytes)) => {
                wal.reserve(bytes)?;
                None
            }
            Ok(LogWork::Purge(zxid)) => {
                wal.purge(zxid)?;
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {
                wal.mark()?;
                is_marked = true;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let answer = LogAnswer { synced, room: wal.room(), full: wal.is_full() };
        if outbox.send(Ok(answer)).is_err() {
            return Ok(());
        }
    }
}
