//! Who wants to be told of what (ZooKeeper's `WatchManager`).
//!
//! A watch belongs to a connection and goes with it, not with the session: clients set theirs again after a reconnect. There are three tables: data watches
//! (data and existence), child watches, and persistent recursive ones, which are looked at only when there are any. A persistent watch stands in the first two.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use protocol::zookeeper::{EventType, WatcherType, path};

use crate::tree::Change;

/// Number of a connection, never used twice.
pub(crate) type ConnectionId = u64;

/// Paths one connection may watch; beyond it a watch is refused.
pub(crate) const WATCHES_PER_CONNECTION_MAX: usize = 1 << 20;

/// How a path is watched in one of the tables: bits.
type Modes = u8;
const ONE_SHOT: Modes = 1;
const PERSISTENT: Modes = 2;

/// Which one-shot watch a read sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Children,
}

/// All watches.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    data: HashMap<Arc<str>, Vec<(ConnectionId, Modes)>>,
    children: HashMap<Arc<str>, Vec<(ConnectionId, Modes)>>,
    recursive: HashMap<Arc<str>, Vec<ConnectionId>>,
    /// Paths each connection watches in any table.
    by_connection: HashMap<ConnectionId, HashSet<Arc<str>>>,
    /// Number of paths in all of these sets.
    pairs: usize,
}

/// An event for one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) connection: ConnectionId,
    pub(crate) event_type: EventType,
    pub(crate) path: Arc<str>,
}

/// More watches than one connection may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Watches {
    /// Sets a one-shot watch.
    pub(crate) fn add(&mut self, connection: ConnectionId, path: &str, kind: Kind) -> Result<(), TooMany> {
        let path = self.own(connection, path)?;
        let table = match kind {
            Kind::Data => &mut self.data,
            Kind::Children => &mut self.children,
        };
        add_mode(table, path, connection, ONE_SHOT);
        Ok(())
    }

    /// Sets a persistent watch on the path alone.
    pub(crate) fn add_persistent(&mut self, connection: ConnectionId, path: &str) -> Result<(), TooMany> {
        let path = self.own(connection, path)?;
        add_mode(&mut self.data, path.clone(), connection, PERSISTENT);
        add_mode(&mut self.children, path, connection, PERSISTENT);
        Ok(())
    }

    /// Sets a persistent watch on the path and all below it.
    pub(crate) fn add_recursive(&mut self, connection: ConnectionId, path: &str) -> Result<(), TooMany> {
        let path = self.own(connection, path)?;
        let watchers = self.recursive.entry(path).or_default();
        if !watchers.contains(&connection) {
            watchers.push(connection);
        }
        Ok(())
    }

    /// Whether the connection has such a watch on the path.
    pub(crate) fn has(&self, connection: ConnectionId, path: &str, kind: WatcherType) -> bool {
        let mode = |table: &HashMap<Arc<str>, Vec<(ConnectionId, Modes)>>, modes: Modes| {
            table
                .get(path)
                .is_some_and(|watchers| watchers.iter().any(|(who, have)| *who == connection && have & modes != 0))
        };
        let recursive = || self.recursive.get(path).is_some_and(|watchers| watchers.contains(&connection));
        match kind {
            WatcherType::Children => mode(&self.children, ONE_SHOT),
            WatcherType::Data => mode(&self.data, ONE_SHOT),
            WatcherType::Persistent => mode(&self.data, PERSISTENT),
            WatcherType::PersistentRecursive => recursive(),
            WatcherType::Any => mode(&self.data, !0) || mode(&self.children, !0) || recursive(),
        }
    }

    /// Takes such a watch away; false where there was none.
    pub(crate) fn remove(&mut self, connection: ConnectionId, path: &str, kind: WatcherType) -> bool {
        if !self.has(connection, path, kind) {
            return false;
        }
        match kind {
            WatcherType::Children => drop_mode(&mut self.children, path, connection, ONE_SHOT),
            WatcherType::Data => drop_mode(&mut self.data, path, connection, ONE_SHOT),
            WatcherType::Persistent => {
                drop_mode(&mut self.data, path, connection, PERSISTENT);
                drop_mode(&mut self.children, path, connection, PERSISTENT);
            }
            WatcherType::PersistentRecursive => drop_recursive(&mut self.recursive, path, connection),
            WatcherType::Any => {
                drop_mode(&mut self.data, path, connection, !0);
                drop_mode(&mut self.children, path, connection, !0);
                drop_recursive(&mut self.recursive, path, connection);
            }
        }
        self.disown_if_gone(connection, path);
        true
    }

    /// Drops all watches of a connection that is gone.
    pub(crate) fn remove_connection(&mut self, connection: ConnectionId) {
        let paths = self.by_connection.remove(&connection).unwrap_or_default();
        self.pairs -= paths.len();
        for path in paths {
            drop_mode(&mut self.data, &path, connection, !0);
            drop_mode(&mut self.children, &path, connection, !0);
            drop_recursive(&mut self.recursive, &path, connection);
        }
    }

    /// Who is to be told of a change, in order; one-shot watches that fire are gone. The second value of each pair says whose ACL decides: the node's (true) or
    /// its parent's.
    pub(crate) fn fire(&mut self, change: &Change, mut tell: impl FnMut(Event, bool)) {
        match change {
            Change::Created { path, .. } => {
                for connection in self.fire_data(path) {
                    tell(Event { connection, event_type: EventType::NodeCreated, path: path.clone() }, true);
                }
                self.fire_parent(path, &mut tell);
            }
            Change::DataChanged { path, .. } => {
                for connection in self.fire_data(path) {
                    tell(Event { connection, event_type: EventType::NodeDataChanged, path: path.clone() }, true);
                }
            }
            Change::Deleted { path, .. } => {
                let mut told = self.fire_data(path);
                for connection in take_watchers(&mut self.children, path) {
                    self.disown_if_gone(connection, path);
                    if !told.contains(&connection) {
                        told.push(connection);
                    }
                }
                for connection in told {
                    tell(Event { connection, event_type: EventType::NodeDeleted, path: path.clone() }, true);
                }
                self.fire_parent(path, &mut tell);
            }
        }
    }

    fn fire_parent(&mut self, path: &str, tell: &mut impl FnMut(Event, bool)) {
        let Some(parent) = path::parent(path) else { return };
        let watchers = take_watchers(&mut self.children, parent);
        if watchers.is_empty() {
            return;
        }
        let parent: Arc<str> = parent.into();
        for connection in watchers {
            self.disown_if_gone(connection, &parent);
            tell(Event { connection, event_type: EventType::NodeChildrenChanged, path: parent.clone() }, false);
        }
    }

    /// Watchers of the node itself and recursive ones of it and of all above it.
    fn fire_data(&mut self, path: &str) -> Vec<ConnectionId> {
        let mut watchers = take_watchers(&mut self.data, path);
        for connection in &watchers {
            self.disown_if_gone(*connection, path);
        }
        if !self.recursive.is_empty() {
            let mut at = Some(path);
            while let Some(here) = at {
                for connection in self.recursive.get(here).into_iter().flatten() {
                    if !watchers.contains(connection) {
                        watchers.push(*connection);
                    }
                }
                at = path::parent(here);
            }
        }
        watchers
    }

    /// Number of (connection, path) pairs, of watched paths and of connections with watches.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let paths: HashSet<&Arc<str>> =
            self.data.keys().chain(self.children.keys()).chain(self.recursive.keys()).collect();
        (self.pairs, paths.len(), self.by_connection.len())
    }

    /// Number of (connection, path) pairs.
    pub(crate) fn count(&self) -> usize {
        self.pairs
    }

    /// Paths each connection watches, sorted, for `wchc` and `wchp`.
    pub(crate) fn by_connection(&self) -> Vec<(ConnectionId, Vec<&Arc<str>>)> {
        let mut all: Vec<(ConnectionId, Vec<&Arc<str>>)> =
            self.by_connection.iter().map(|(connection, paths)| (*connection, paths.iter().collect())).collect();
        all.sort_unstable();
        all.iter_mut().for_each(|(_, paths)| paths.sort_unstable());
        all
    }

    /// Notes that the connection watches the path and gives the one shared copy of it.
    fn own(&mut self, connection: ConnectionId, path: &str) -> Result<Arc<str>, TooMany> {
        let paths = self.by_connection.entry(connection).or_default();
        if let Some(known) = paths.get(path) {
            return Ok(known.clone());
        }
        if paths.len() >= WATCHES_PER_CONNECTION_MAX {
            return Err(TooMany);
        }
        let known =
            self.data.get_key_value(path).or_else(|| self.children.get_key_value(path)).map(|(path, _)| path.clone());
        let path: Arc<str> = known.unwrap_or_else(|| path.into());
        paths.insert(path.clone());
        self.pairs += 1;
        Ok(path)
    }

    fn disown_if_gone(&mut self, connection: ConnectionId, path: &str) {
        if self.has(connection, path, WatcherType::Any) {
            return;
        }
        if let Some(paths) = self.by_connection.get_mut(&connection) {
            self.pairs -= usize::from(paths.remove(path));
            if paths.is_empty() {
                self.by_connection.remove(&connection);
            }
        }
    }
}

fn add_mode(
    table: &mut HashMap<Arc<str>, Vec<(ConnectionId, Modes)>>,
    path: Arc<str>,
    connection: ConnectionId,
    mode: Modes,
) {
    let watchers = table.entry(path).or_default();
    match watchers.iter_mut().find(|(who, _)| *who == connection) {
        Some((_, modes)) => *modes |= mode,
        None => watchers.push((connection, mode)),
    }
}

fn drop_mode(
    table: &mut HashMap<Arc<str>, Vec<(ConnectionId, Modes)>>,
    path: &str,
    connection: ConnectionId,
    mode: Modes,
) {
    let Some(watchers) = table.get_mut(path) else { return };
    watchers.retain_mut(|(who, modes)| {
        if *who == connection {
            *modes &= !mode;
        }
        *modes != 0
    });
    if watchers.is_empty() {
        table.remove(path);
    }
}

fn drop_recursive(table: &mut HashMap<Arc<str>, Vec<ConnectionId>>, path: &str, connection: ConnectionId) {
    let Some(watchers) = table.get_mut(path) else { return };
    watchers.retain(|who| *who != connection);
    if watchers.is_empty() {
        table.remove(path);
    }
}

/// Everybody who watches the path in this table; their one-shot watches are used up.
fn take_watchers(table: &mut HashMap<Arc<str>, Vec<(ConnectionId, Modes)>>, path: &str) -> Vec<ConnectionId> {
    let Some(watchers) = table.get_mut(path) else { return Vec::new() };
    let all = watchers.iter().map(|(who, _)| *who).collect();
    watchers.retain_mut(|(_, modes)| {
        *modes &= !ONE_SHOT;
        *modes != 0
    });
    if watchers.is_empty() {
        table.remove(path);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(watches: &mut Watches, change: &Change) -> Vec<(ConnectionId, EventType, String)> {
        let mut events = Vec::new();
        watches.fire(change, |event, _| events.push((event.connection, event.event_type, event.path.to_string())));
        events
    }

    fn created(path: &str) -> Change {
        Change::Created { path: path.into(), acl: [].into(), parent_acl: [].into() }
    }

    fn deleted(path: &str) -> Change {
        Change::Deleted { path: path.into(), acl: [].into(), parent_acl: [].into() }
    }

    fn changed(path: &str) -> Change {
        Change::DataChanged { path: path.into(), acl: [].into() }
    }

    #[test]
    fn one_shot_watches_fire_once() {
        let mut watches = Watches::default();
        watches.add(1, "/a", Kind::Data).unwrap();
        watches.add(2, "/", Kind::Children).unwrap();
        let expected =
            [(1, EventType::NodeCreated, "/a".to_owned()), (2, EventType::NodeChildrenChanged, "/".to_owned())];
        assert_eq!(fired(&mut watches, &created("/a")), expected);
        assert_eq!(fired(&mut watches, &deleted("/a")), []);
        assert_eq!(watches.counts(), (0, 0, 0));
    }

    #[test]
    fn a_deletion_is_told_once_to_each_watcher() {
        let mut watches = Watches::default();
        watches.add(1, "/a", Kind::Data).unwrap();
        watches.add(1, "/a", Kind::Children).unwrap();
        watches.add(2, "/a", Kind::Children).unwrap();
        let told = fired(&mut watches, &deleted("/a"));
        assert_eq!(told, [(1, EventType::NodeDeleted, "/a".to_owned()), (2, EventType::NodeDeleted, "/a".to_owned())]);
        assert_eq!(watches.counts(), (0, 0, 0));
    }

    #[test]
    fn persistent_watches_stay_and_see_children() {
        let mut watches = Watches::default();
        watches.add_persistent(1, "/a").unwrap();
        for _ in 0..2 {
            assert_eq!(fired(&mut watches, &changed("/a")), [(1, EventType::NodeDataChanged, "/a".to_owned())]);
            assert_eq!(fired(&mut watches, &created("/a/b")), [(1, EventType::NodeChildrenChanged, "/a".to_owned())]);
            assert_eq!(fired(&mut watches, &created("/a/b/c")), []);
        }
    }

    #[test]
    fn recursive_watches_see_all_below_but_never_children_changed() {
        let mut watches = Watches::default();
        watches.add_recursive(1, "/").unwrap();
        watches.add_recursive(1, "/a").unwrap();
        watches.add(1, "/a/b", Kind::Data).unwrap();
        assert_eq!(fired(&mut watches, &created("/a/b")), [(1, EventType::NodeCreated, "/a/b".to_owned())]);
        assert_eq!(fired(&mut watches, &deleted("/a/b")), [(1, EventType::NodeDeleted, "/a/b".to_owned())]);
        assert_eq!(watches.count(), 2);
    }

    #[test]
    fn watches_are_removed_by_kind_and_with_their_connection() {
        let mut watches = Watches::default();
        watches.add(1, "/a", Kind::Data).unwrap();
        watches.add_persistent(1, "/a").unwrap();
        watches.add_recursive(1, "/a").unwrap();
        assert!(!watches.remove(1, "/a", WatcherType::Children));
        assert!(!watches.remove(2, "/a", WatcherType::Any));
        assert!(watches.remove(1, "/a", WatcherType::Data));
        assert!(!watches.remove(1, "/a", WatcherType::Data));
        assert!(watches.has(1, "/a", WatcherType::Persistent) && watches.has(1, "/a", WatcherType::Any));
        assert!(watches.remove(1, "/a", WatcherType::Any));
        assert!(!watches.remove(1, "/a", WatcherType::PersistentRecursive));
        assert_eq!(watches.counts(), (0, 0, 0));
        watches.add_persistent(3, "/b").unwrap();
        watches.add_recursive(3, "/c").unwrap();
        watches.remove_connection(3);
        assert_eq!(watches.counts(), (0, 0, 0));
    }
}
