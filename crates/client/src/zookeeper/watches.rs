//! Watches: one-shot ones, and the persistent ones of ZooKeeper 3.6.
//!
//! What is always true: a watch is armed on the server or will be on the next connection, until it has fired, was dropped, or the session ended. A
//! one-shot watch misses nothing, because `setWatches` makes the server compare what it saw with what is. A persistent watch is told with
//! [`WatchNotice::Missed`] whenever changes may have gone by unseen: its owner then reads again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::zookeeper::{
    AddWatchMode, EventType, OpCode, Record, SetWatches2Request, SetWatchesRequest, WatcherEvent,
};
use tokio::sync::{Notify, mpsc, oneshot};

use super::connect_string::Chroot;
use super::driver::Command;
use crate::zookeeper::ZkError;

/// Bytes of paths in one setWatches; more are sent in several (Java: `SET_WATCHES_MAX_LENGTH`).
const SET_WATCHES_BYTES_MAX: usize = 128 * 1024;

/// Events a persistent watch keeps for an owner that does not read them. At one more they are dropped for [`WatchNotice::Missed`].
const INBOX_EVENTS_MAX: usize = 10_000;

/// A change of a znode, as a watch tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedEvent {
    /// What happened.
    pub kind: EventType,
    /// To which znode, as this session names it.
    pub path: String,
}

/// A one-shot watch: it fires once. Dropping it forgets it.
#[derive(Debug)]
pub struct Watch {
    pub(super) fired: oneshot::Receiver<Result<WatchedEvent, ZkError>>,
}

impl Watch {
    /// Waits for the change. Reconnects go by unnoticed.
    ///
    /// # Errors
    /// The session's end: expired, closed, or refused. Cancelling the wait loses nothing.
    pub async fn changed(&mut self) -> Result<WatchedEvent, ZkError> {
        (&mut self.fired).await.unwrap_or(Err(ZkError::Closed))
    }
}

/// What a persistent watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchNotice {
    /// A znode changed.
    Event(WatchedEvent),
    /// Changes may have been missed (a reconnect, or an owner that read too slowly): read again all that is watched.
    Missed,
}

/// A persistent watch: it goes on until it is dropped or the session ends.
#[derive(Debug)]
pub struct PersistentWatch {
    pub(super) inbox: Arc<Inbox>,
    pub(super) path: String,
    pub(super) mode: AddWatchMode,
    pub(super) commands: mpsc::WeakSender<Command>,
}

impl PersistentWatch {
    /// The next notice, in the order of the changes. Cancelling the wait loses nothing.
    ///
    /// # Errors
    /// The session's end, or [`ZkError::Unsupported`] where the session moved to a server that knows no persistent watches.
    pub async fn next(&mut self) -> Result<WatchNotice, ZkError> {
        loop {
            let told = self.inbox.told.notified();
            if let Some(notice) = self.inbox.take() {
                return notice;
            }
            told.await;
        }
    }
}

impl Drop for PersistentWatch {
    fn drop(&mut self) {
        // Best effort: with a full queue the server keeps an unused watch until the next reconnect, which does not re-arm it.
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.try_send(Command::Unwatch { path: self.path.clone(), mode: self.mode });
        }
    }
}

/// Where the driver puts notices for one [`PersistentWatch`].
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<InboxState>,
    told: Notify,
}

#[derive(Debug, Default)]
struct InboxState {
    missed: bool,
    events: VecDeque<WatchedEvent>,
    end: Option<ZkError>,
}

impl Inbox {
    fn push(&self, event: WatchedEvent) {
        let mut state = self.state.lock();
        if state.events.len() >= INBOX_EVENTS_MAX {
            state.events.clear();
            state.missed = true;
        } else {
            state.events.push_back(event);
        }
        drop(state);
        self.told.notify_one();
    }

    fn miss(&self) {
        let mut state = self.state.lock();
        state.events.clear();
        state.missed = true;
        drop(state);
        self.told.notify_one();
    }

    fn end(&self, error: &ZkError) {
        self.state.lock().end = Some(error.clone());
        self.told.notify_one();
    }

    fn take(&self) -> Option<Result<WatchNotice, ZkError>> {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.missed) {
            return Some(Ok(WatchNotice::Missed));
        }
        match state.events.pop_front() {
            Some(event) => Some(Ok(WatchNotice::Event(event))),
            None => state.end.clone().map(Err),
        }
    }
}

/// Which of the server's one-shot watches a request leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OneShot {
    /// getData.
    Data,
    /// exists: a data watch where the node is, an exist watch where it is not.
    Exists,
    /// getChildren.
    Children,
}

pub(super) type Fire = oneshot::Sender<Result<WatchedEvent, ZkError>>;

/// All watches of a session, under the server's names of the paths. Ordered, so that the same run sends the same bytes.
#[derive(Debug, Default)]
pub(super) struct WatchTable {
    data: BTreeMap<String, Vec<Fire>>,
    exist: BTreeMap<String, Vec<Fire>>,
    child: BTreeMap<String, Vec<Fire>>,
    persistent: BTreeMap<String, Vec<Weak<Inbox>>>,
    recursive: BTreeMap<String, Vec<Weak<Inbox>>>,
}

impl WatchTable {
    /// Keeps a one-shot watch that the server has just armed. `exists` says whether the node is there.
    pub(super) fn arm(&mut self, kind: OneShot, exists: bool, path: String, fire: Fire) {
        let table = match (kind, exists) {
            (OneShot::Data, true) | (OneShot::Exists, true) => &mut self.data,
            (OneShot::Children, true) => &mut self.child,
            (OneShot::Exists, false) => &mut self.exist,
            // The server arms nothing for a read that failed.
            (OneShot::Data | OneShot::Children, false) => return,
        };
        let waiting = table.entry(path).or_default();
        waiting.retain(|fire| !fire.is_closed());
        waiting.push(fire);
    }

    /// Keeps a persistent watch that the server has just armed.
    pub(super) fn arm_persistent(&mut self, mode: AddWatchMode, path: String, inbox: &Arc<Inbox>) {
        self.persistent_table(mode).entry(path).or_default().push(Arc::downgrade(inbox));
    }

    /// Forgets the dropped watches of a path. True where none is left, so that the server may forget it too.
    pub(super) fn disarm_persistent(&mut self, mode: AddWatchMode, path: &str) -> bool {
        let table = self.persistent_table(mode);
        let Some(inboxes) = table.get_mut(path) else { return false };
        inboxes.retain(|inbox| inbox.strong_count() > 0);
        if !inboxes.is_empty() {
            return false;
        }
        table.remove(path);
        true
    }

    fn persistent_table(&mut self, mode: AddWatchMode) -> &mut BTreeMap<String, Vec<Weak<Inbox>>> {
        match mode {
            AddWatchMode::Persistent => &mut self.persistent,
            AddWatchMode::PersistentRecursive => &mut self.recursive,
        }
    }

    /// Hands an event to whom it concerns (Java: `ZKWatchManager.materialize`).
    pub(super) fn deliver(&mut self, event: &WatcherEvent, chroot: &Chroot) {
        let Some(kind) = EventType::from_i32(event.event_type) else { return };
        let seen = WatchedEvent { kind, path: chroot.strip(&event.path) };
        let path = event.path.as_str();
        let fired: &mut [&mut BTreeMap<String, Vec<Fire>>] = match kind {
            EventType::NodeCreated | EventType::NodeDataChanged => &mut [&mut self.data, &mut self.exist],
            EventType::NodeChildrenChanged => &mut [&mut self.child],
            EventType::NodeDeleted => &mut [&mut self.data, &mut self.exist, &mut self.child],
            // A removal that was asked for, or the state events that only clients make.
            _ => return,
        };
        for table in fired {
            for fire in table.remove(path).unwrap_or_default() {
                // Its owner has dropped it.
                let _ = fire.send(Ok(seen.clone()));
            }
        }
        for inbox in self.persistent.get(path).into_iter().flatten().filter_map(Weak::upgrade) {
            inbox.push(seen.clone());
        }
        // Recursive watches hear of the children themselves, never that their parent's list has changed.
        if kind == EventType::NodeChildrenChanged || self.recursive.is_empty() {
            return;
        }
        let mut at = Some(path);
        while let Some(ancestor) = at {
            for inbox in self.recursive.get(ancestor).into_iter().flatten().filter_map(Weak::upgrade) {
                inbox.push(seen.clone());
            }
            at = protocol::zookeeper::path::parent(ancestor);
        }
    }

    /// The requests that arm everything on a new connection, and tells the owners of persistent watches to read again.
    pub(super) fn rearm(&mut self, last_zxid: i64) -> Vec<(OpCode, Bytes)> {
        for table in [&mut self.data, &mut self.exist, &mut self.child] {
            table.retain(|_, waiting| {
                waiting.retain(|fire| !fire.is_closed());
                !waiting.is_empty()
            });
        }
        for table in [&mut self.persistent, &mut self.recursive] {
            table.retain(|_, inboxes| {
                inboxes.retain(|inbox| inbox.upgrade().inspect(|inbox| inbox.miss()).is_some());
                !inboxes.is_empty()
            });
        }
        let paths = self.data.keys().map(|path| (0, path));
        let paths = paths.chain(self.exist.keys().map(|path| (1, path)));
        let paths = paths.chain(self.child.keys().map(|path| (2, path)));
        let paths = paths.chain(self.persistent.keys().map(|path| (3, path)));
        let paths = paths.chain(self.recursive.keys().map(|path| (4, path)));
        let mut requests = Vec::new();
        let mut batch: [Vec<String>; 5] = Default::default();
        let mut bytes = 0;
        for (kind, path) in paths {
            if bytes > 0 && bytes + path.len() > SET_WATCHES_BYTES_MAX {
                requests.push(set_watches(last_zxid, std::mem::take(&mut batch)));
                bytes = 0;
            }
            bytes += path.len() + 4;
            batch[kind].push(path.clone());
        }
        if bytes > 0 {
            requests.push(set_watches(last_zxid, batch));
        }
        requests
    }

    /// The server knows no persistent watches after all: their owners hear so, the one-shot ones stay.
    pub(super) fn end_persistent(&mut self, error: &ZkError) {
        for table in [&mut self.persistent, &mut self.recursive] {
            for inbox in std::mem::take(table).into_values().flatten().filter_map(|inbox| inbox.upgrade()) {
                inbox.end(error);
            }
        }
    }

    /// The session has ended: everybody hears why.
    pub(super) fn end(&mut self, error: &ZkError) {
        for table in [&mut self.data, &mut self.exist, &mut self.child] {
            for fire in std::mem::take(table).into_values().flatten() {
                let _ = fire.send(Err(error.clone()));
            }
        }
        self.end_persistent(error);
    }
}

/// Servers before 3.6 know only the old request, so the new one is used only where it is needed.
fn set_watches(relative_zxid: i64, [data, exist, child, persistent, recursive]: [Vec<String>; 5]) -> (OpCode, Bytes) {
    let (data_watches, exist_watches, child_watches) = (data, exist, child);
    if persistent.is_empty() && recursive.is_empty() {
        let request = SetWatchesRequest { relative_zxid, data_watches, exist_watches, child_watches };
        return (OpCode::SetWatches, request.to_body());
    }
    let request = SetWatches2Request {
        relative_zxid,
        data_watches,
        exist_watches,
        child_watches,
        persistent_watches: persistent,
        persistent_recursive_watches: recursive,
    };
    (OpCode::SetWatches2, request.to_body())
}

#[cfg(test)]
mod tests;
