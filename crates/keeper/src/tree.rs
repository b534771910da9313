//! The tree of znodes: a hash map of whole paths, each node with the sorted set of its children's names (ZooKeeper's `DataTree`).
//!
//! What is always true: every node but the root has its parent in the map, and every name in a child set has its node. Only [`Tree::apply`] and
//! [`Tree::undo`] change nodes, so replaying the log gives the same tree. `/`, `/zookeeper`, `/zookeeper/quota` and `/zookeeper/config` are always there.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use protocol::zookeeper::{Acl, Stat, path};

use crate::acl;
use crate::txn::TxnOp;

pub(crate) mod snapshot_pass;

use snapshot_pass::SnapshotPass;

/// The owner field of a node says what kind it is (`EphemeralType.java`).
pub(crate) mod owner {
    /// Stays until deleted.
    pub(crate) const PERSISTENT: i64 = 0;
    /// Goes when its last child has gone.
    pub(crate) const CONTAINER: i64 = i64::MIN;
    /// The top byte of a TTL node; the low 40 bits are milliseconds.
    const TTL_MARK: i64 = 0xff << 56;
    /// Longest TTL that fits.
    pub(crate) const TTL_MS_MAX: i64 = (1 << 40) - 1;

    /// Owner field of a node that lives this long unchanged.
    pub(crate) fn ttl(ttl_ms: i64) -> i64 {
        TTL_MARK | ttl_ms
    }

    /// The TTL in milliseconds, if it is a TTL node.
    pub(crate) fn ttl_ms(owner: i64) -> Option<i64> {
        (owner & TTL_MARK == TTL_MARK).then_some(owner & TTL_MS_MAX)
    }

    /// The session, if it is an ephemeral node.
    pub(crate) fn session(owner: i64) -> Option<i64> {
        (owner != PERSISTENT && owner != CONTAINER && ttl_ms(owner).is_none()).then_some(owner)
    }
}

/// Nodes that nobody can delete, parents first.
pub(crate) const RESERVED: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];

/// One znode.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) data: Option<Bytes>,
    pub(crate) acl: Arc<[Acl]>,
    /// Names, not paths.
    pub(crate) children: BTreeSet<Arc<str>>,
    pub(crate) czxid: i64,
    pub(crate) mzxid: i64,
    pub(crate) pzxid: i64,
    pub(crate) ctime: i64,
    pub(crate) mtime: i64,
    pub(crate) version: i32,
    /// Children created so far; clients see creations and deletions ([`Node::stat`]).
    pub(crate) cversion: i32,
    pub(crate) aversion: i32,
    /// See [`owner`].
    pub(crate) owner: i64,
    /// Number of the newest snapshot pass that has written the node, or that began before the node was made.
    pub(crate) pass: u64,
}

impl Node {
    /// The node as clients see it.
    pub(crate) fn stat(&self) -> Stat {
        let num_children = self.children.len() as i32;
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion.wrapping_mul(2).wrapping_sub(num_children),
            aversion: self.aversion,
            ephemeral_owner: owner::session(self.owner).unwrap_or(0),
            data_length: self.data.as_ref().map_or(0, |data| data.len() as i32),
            num_children,
            pzxid: self.pzxid,
        }
    }

    fn data_len(&self) -> usize {
        self.data.as_ref().map_or(0, Bytes::len)
    }
}

/// What watchers are told of. ACLs ride along because an event is only for those who may read the node.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Created { path: Arc<str>, acl: Arc<[Acl]>, parent_acl: Arc<[Acl]> },
    Deleted { path: Arc<str>, acl: Arc<[Acl]>, parent_acl: Arc<[Acl]> },
    DataChanged { path: Arc<str>, acl: Arc<[Acl]> },
}

/// How to take one applied change back: a failed multi leaves nothing behind.
#[derive(Debug)]
pub(crate) enum Undo {
    Create { path: Arc<str>, parent_cversion: i32, parent_pzxid: i64 },
    Delete { path: Arc<str>, node: Box<Node>, parent_pzxid: i64 },
    SetData { path: Arc<str>, data: Option<Bytes>, version: i32, mzxid: i64, mtime: i64 },
    SetAcl { path: Arc<str>, acl: Arc<[Acl]>, aversion: i32 },
    Nothing,
}

/// A change does not fit the tree: when replaying a log, the log is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {path}")]
pub(crate) struct ApplyError {
    what: &'static str,
    path: String,
}

/// All znodes.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: HashMap<Arc<str>, Node>,
    /// Paths of the ephemeral nodes of each session that has any.
    ephemerals: HashMap<i64, BTreeSet<Arc<str>>>,
    containers: HashSet<Arc<str>>,
    ttls: HashSet<Arc<str>>,
    /// Equal lists share one allocation.
    acls: HashSet<Arc<[Acl]>>,
    /// Bytes of all paths and data.
    data_bytes: usize,
    ephemeral_count: usize,
    pass: SnapshotPass,
}

/// ACL lists nobody uses are dropped when the table has grown to twice what was in use, and not below this.
const ACLS_BEFORE_SWEEP: usize = 1024;

impl Tree {
    /// The tree of a server that has never been used.
    pub(crate) fn new() -> Tree {
        let mut tree = Tree::empty();
        let (open, readable) = (tree.intern(&Acl::open()), tree.intern(&acl::world_readable()));
        for path in RESERVED {
            // ZooKeeper sets the ACL of the configuration once while it starts, which shows as a version of -1.
            let (acl, aversion) = if path == "/zookeeper/config" { (readable.clone(), -1) } else { (open.clone(), 0) };
            let node = Node {
                data: Some(Bytes::new()),
                acl,
                children: BTreeSet::new(),
                czxid: 0,
                mzxid: 0,
                pzxid: 0,
                ctime: 0,
                mtime: 0,
                version: 0,
                cversion: 0,
                aversion,
                owner: owner::PERSISTENT,
                pass: 0,
            };
            tree.insert(path.into(), node);
        }
        tree.link().expect("the reserved nodes have their parents");
        tree
    }

    fn empty() -> Tree {
        Tree {
            nodes: HashMap::new(),
            ephemerals: HashMap::new(),
            containers: HashSet::new(),
            ttls: HashSet::new(),
            acls: HashSet::new(),
            data_bytes: 0,
            ephemeral_count: 0,
            pass: SnapshotPass::default(),
        }
    }

    /// Builds the tree of a snapshot: nodes in any order, without child sets.
    pub(crate) fn from_nodes(nodes: impl IntoIterator<Item = (Arc<str>, Node)>) -> Result<Tree, ApplyError> {
        let mut tree = Tree::empty();
        for (path, mut node) in nodes {
            node.acl = tree.intern(&node.acl);
            if tree.nodes.contains_key(&path) {
                return Err(refuse("two nodes of the path", &path));
            }
            tree.insert(path, node);
        }
        match RESERVED.iter().find(|path| !tree.nodes.contains_key(**path)) {
            Some(path) => Err(refuse("no node", path)),
            None => tree.link().map(|()| tree),
        }
    }

    /// Fills the child sets from the paths.
    fn link(&mut self) -> Result<(), ApplyError> {
        let paths: Vec<Arc<str>> = self.nodes.keys().cloned().collect();
        for child in paths {
            let Some(parent) = path::parent(&child) else { continue };
            let parent = self.nodes.get_mut(parent).ok_or_else(|| refuse("no parent of", &child))?;
            parent.children.insert(path::name(&child).into());
        }
        Ok(())
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// About how large a snapshot of it is: paths, data, and what else a node has.
    pub(crate) fn snapshot_bytes_about(&self) -> u64 {
        const NODE_BYTES: u64 = 128;
        self.data_bytes as u64 + self.nodes.len() as u64 * NODE_BYTES
    }

    pub(crate) fn ephemeral_count(&self) -> usize {
        self.ephemeral_count
    }

    /// Paths of a session's ephemeral nodes, sorted.
    pub(crate) fn ephemerals_of(&self, session: i64) -> impl Iterator<Item = &Arc<str>> {
        self.ephemerals.get(&session).into_iter().flatten()
    }

    /// Sessions that own ephemeral nodes, with those.
    pub(crate) fn ephemerals(&self) -> impl Iterator<Item = (&i64, &BTreeSet<Arc<str>>)> {
        self.ephemerals.iter()
    }

    /// Number of nodes below `path`.
    pub(crate) fn descendant_count(&self, path: &str) -> usize {
        if path == "/" {
            return self.nodes.len() - 1;
        }
        let mut count = 0;
        let mut waiting = vec![path.to_owned()];
        while let Some(next) = waiting.pop() {
            let Some(node) = self.nodes.get(next.as_str()) else { continue };
            count += node.children.len();
            waiting.extend(node.children.iter().map(|name| path::join(&next, name)));
        }
        count
    }

    /// Containers that have lost their last child and TTL nodes whose time is over, sorted.
    pub(crate) fn to_collect(&self, now_ms: i64) -> Vec<Arc<str>> {
        let empty_container = |node: &Node| node.cversion > 0 && node.children.is_empty();
        let over = |node: &Node| {
            let age_ms = now_ms.saturating_sub(node.mtime);
            node.children.is_empty() && owner::ttl_ms(node.owner).is_some_and(|ttl_ms| age_ms > ttl_ms)
        };
        let containers = self.containers.iter().filter(|path| self.nodes.get(*path).is_some_and(empty_container));
        let ttls = self.ttls.iter().filter(|path| self.nodes.get(*path).is_some_and(over));
        let mut paths: Vec<Arc<str>> = containers.chain(ttls).cloned().collect();
        paths.sort_unstable();
        paths
    }

    /// Does one change. An error leaves the tree as it was.
    pub(crate) fn apply(&mut self, op: &TxnOp, zxid: i64, time_ms: i64) -> Result<(Undo, Option<Change>), ApplyError> {
        match op {
            TxnOp::Create { path, data, acl, owner, parent_cversion } => {
                let made = Node {
                    // A copy: the request's slice would keep the whole receive buffer alive.
                    data: data.as_ref().map(|data| Bytes::copy_from_slice(data)),
                    acl: self.intern(acl),
                    children: BTreeSet::new(),
                    czxid: zxid,
                    mzxid: zxid,
                    pzxid: zxid,
                    ctime: time_ms,
                    mtime: time_ms,
                    version: 0,
                    cversion: 0,
                    aversion: 0,
                    owner: *owner,
                    pass: self.pass.number(),
                };
                self.create(path, made, *parent_cversion, zxid)
            }
            TxnOp::Delete { path } => self.delete(path, zxid),
            TxnOp::SetData { path, data, version } => {
                self.pass.preserve(&mut self.nodes, path);
                let (path, node) = self.entry(path)?;
                let data = data.as_ref().map(|data| Bytes::copy_from_slice(data));
                let undo = Undo::SetData {
                    path: path.clone(),
                    data: std::mem::replace(&mut node.data, data),
                    version: std::mem::replace(&mut node.version, *version),
                    mzxid: std::mem::replace(&mut node.mzxid, zxid),
                    mtime: std::mem::replace(&mut node.mtime, time_ms),
                };
                let (acl, new_len) = (node.acl.clone(), node.data_len());
                if let Undo::SetData { data, .. } = &undo {
                    self.data_bytes = self.data_bytes + new_len - data.as_ref().map_or(0, Bytes::len);
                }
                Ok((undo, Some(Change::DataChanged { path, acl })))
            }
            TxnOp::SetAcl { path, acl, version } => {
                let acl = self.intern(acl);
                self.pass.preserve(&mut self.nodes, path);
                let (path, node) = self.entry(path)?;
                let undo = Undo::SetAcl {
                    path,
                    acl: std::mem::replace(&mut node.acl, acl),
                    aversion: std::mem::replace(&mut node.aversion, *version),
                };
                Ok((undo, None))
            }
            TxnOp::CreateSession { .. } | TxnOp::CloseSession { .. } | TxnOp::Check { .. } | TxnOp::Failed { .. } => {
                Ok((Undo::Nothing, None))
            }
        }
    }

    /// Takes one change back; changes are undone in the reverse order of their making.
    pub(crate) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Nothing => {}
            Undo::Create { path, parent_cversion, parent_pzxid } => {
                self.remove(&path);
                if let Some(parent) = path::parent(&path).and_then(|parent| self.nodes.get_mut(parent)) {
                    parent.children.remove(path::name(&path));
                    parent.cversion = parent_cversion;
                    parent.pzxid = parent_pzxid;
                }
            }
            Undo::Delete { path, node, parent_pzxid } => {
                if let Some(parent) = path::parent(&path).and_then(|parent| self.nodes.get_mut(parent)) {
                    parent.children.insert(path::name(&path).into());
                    parent.pzxid = parent_pzxid;
                }
                self.insert(path, *node);
            }
            Undo::SetData { path, data, version, mzxid, mtime } => {
                if let Some(node) = self.nodes.get_mut(&path) {
                    self.data_bytes -= node.data_len();
                    self.data_bytes += data.as_ref().map_or(0, Bytes::len);
                    node.data = data;
                    node.version = version;
                    node.mzxid = mzxid;
                    node.mtime = mtime;
                }
            }
            Undo::SetAcl { path, acl, aversion } => {
                if let Some(node) = self.nodes.get_mut(&path) {
                    node.acl = acl;
                    node.aversion = aversion;
                }
            }
        }
    }

    fn create(
        &mut self,
        path: &str,
        node: Node,
        parent_cversion: i32,
        zxid: i64,
    ) -> Result<(Undo, Option<Change>), ApplyError> {
        if self.nodes.contains_key(path) {
            return Err(refuse("create an existing node", path));
        }
        let parent_path = path::parent(path).ok_or_else(|| refuse("create without a parent", path))?;
        self.pass.preserve(&mut self.nodes, parent_path);
        let parent = self.nodes.get_mut(parent_path).ok_or_else(|| refuse("create below a missing node", path))?;
        let parent_acl = parent.acl.clone();
        let path: Arc<str> = path.into();
        let undo = Undo::Create {
            path: path.clone(),
            parent_cversion: std::mem::replace(&mut parent.cversion, parent_cversion),
            parent_pzxid: std::mem::replace(&mut parent.pzxid, zxid),
        };
        parent.children.insert(path::name(&path).into());
        let change = Change::Created { path: path.clone(), acl: node.acl.clone(), parent_acl };
        self.insert(path, node);
        Ok((undo, Some(change)))
    }

    fn delete(&mut self, path: &str, zxid: i64) -> Result<(Undo, Option<Change>), ApplyError> {
        let node = self.nodes.get(path).ok_or_else(|| refuse("delete a missing node", path))?;
        if !node.children.is_empty() {
            return Err(refuse("delete a node with children", path));
        }
        let parent_path = path::parent(path).ok_or_else(|| refuse("delete the root", path))?;
        self.pass.preserve(&mut self.nodes, path);
        self.pass.preserve(&mut self.nodes, parent_path);
        let parent = self.nodes.get_mut(parent_path).ok_or_else(|| refuse("delete below a missing node", path))?;
        parent.children.remove(path::name(path));
        let parent_pzxid = std::mem::replace(&mut parent.pzxid, zxid);
        let parent_acl = parent.acl.clone();
        let (path, node) = self.remove(path).ok_or_else(|| refuse("delete a missing node", path))?;
        let change = Change::Deleted { path: path.clone(), acl: node.acl.clone(), parent_acl };
        Ok((Undo::Delete { path, node: Box::new(node), parent_pzxid }, Some(change)))
    }

    fn entry(&mut self, path: &str) -> Result<(Arc<str>, &mut Node), ApplyError> {
        let (path, _) = self.nodes.get_key_value(path).ok_or_else(|| refuse("change a missing node", path))?;
        let path = path.clone();
        let node = self.nodes.get_mut(&path).expect("it was just there");
        Ok((path, node))
    }

    /// Puts a node into the map and the side tables.
    fn insert(&mut self, path: Arc<str>, node: Node) {
        self.data_bytes += path.len() + node.data_len();
        if node.owner == owner::CONTAINER {
            self.containers.insert(path.clone());
        } else if owner::ttl_ms(node.owner).is_some() {
            self.ttls.insert(path.clone());
        } else if let Some(session) = owner::session(node.owner) {
            self.ephemerals.entry(session).or_default().insert(path.clone());
            self.ephemeral_count += 1;
        }
        self.nodes.insert(path, node);
    }

    fn remove(&mut self, path: &str) -> Option<(Arc<str>, Node)> {
        let (path, node) = self.nodes.remove_entry(path)?;
        self.data_bytes -= path.len() + node.data_len();
        if node.owner == owner::CONTAINER {
            self.containers.remove(&path);
        } else if owner::ttl_ms(node.owner).is_some() {
            self.ttls.remove(&path);
        } else if let Some(session) = owner::session(node.owner) {
            self.ephemeral_count -= 1;
            if let Some(paths) = self.ephemerals.get_mut(&session) {
                paths.remove(&path);
                if paths.is_empty() {
                    self.ephemerals.remove(&session);
                }
            }
        }
        Some((path, node))
    }

    fn intern(&mut self, acl: &[Acl]) -> Arc<[Acl]> {
        if let Some(known) = self.acls.get(acl) {
            return known.clone();
        }
        if self.acls.len() >= ACLS_BEFORE_SWEEP && self.acls.len() == self.acls.capacity() {
            self.acls.retain(|list| Arc::strong_count(list) > 1);
        }
        let acl: Arc<[Acl]> = acl.into();
        self.acls.insert(acl.clone());
        acl
    }
}

fn refuse(what: &'static str, path: &str) -> ApplyError {
    ApplyError { what, path: path.to_owned() }
}

#[cfg(test)]
mod tests;
