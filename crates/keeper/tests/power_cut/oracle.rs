//! What a keeper must hold when so many transactions are done: the rules of znodes and sessions once more, as plain as can be, and what a client sees of a real keeper to compare.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::zookeeper::*;

use crate::common::Client;

/// One transaction, as it was asked for.
#[derive(Debug, Clone)]
pub enum Op {
    OpenSession { id: i64, session: Session },
    CloseSession { id: i64 },
    Create { path: String, data: String, mode: CreateMode, session: i64 },
    Delete { path: String, version: i32 },
    Set { path: String, data: String, version: i32 },
    SetAcl { path: String, acl: Vec<Acl>, version: i32 },
    Multi(Vec<Op>),
}

/// What a client needs to take up a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub timeout_ms: i32,
    pub password: Bytes,
}

/// One znode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub data: String,
    pub acl: Vec<Acl>,
    pub czxid: i64,
    pub mzxid: i64,
    pub pzxid: i64,
    pub version: i32,
    /// Children made so far.
    pub created: i32,
    pub aversion: i32,
    pub owner: i64,
}

/// Everything at one zxid. `/zookeeper` is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub zxid: i64,
    pub nodes: BTreeMap<String, Node>,
    pub sessions: BTreeMap<i64, Session>,
}

/// A node as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub data: String,
    pub acl: Vec<Acl>,
    pub stat: Stat,
}

impl State {
    pub fn new() -> State {
        let root = Node {
            data: String::new(),
            acl: Acl::open(),
            czxid: 0,
            mzxid: 0,
            pzxid: 0,
            version: 0,
            created: 0,
            aversion: 0,
            owner: 0,
        };
        State { zxid: 0, nodes: BTreeMap::from([("/".to_owned(), root)]), sessions: BTreeMap::new() }
    }

    /// The next transaction. Gives the paths it made, or why it failed, which is a transaction as well.
    pub fn apply(&mut self, op: &Op) -> Result<Vec<String>, ErrorCode> {
        self.zxid += 1;
        let before = self.clone();
        let result = self.perform(op);
        if result.is_err() {
            *self = before;
        }
        result
    }

    fn perform(&mut self, op: &Op) -> Result<Vec<String>, ErrorCode> {
        let zxid = self.zxid;
        match op {
            Op::OpenSession { id, session } => {
                self.sessions.insert(*id, session.clone());
            }
            Op::CloseSession { id } => {
                self.sessions.remove(id);
                let own: Vec<String> =
                    self.nodes.iter().filter(|(_, node)| node.owner == *id).map(|(path, _)| path.clone()).collect();
                own.iter().for_each(|path| self.remove(path));
            }
            Op::Create { path, data, mode, session } => {
                let parent_path = parent(path);
                let parent = self.nodes.get_mut(parent_path).ok_or(ErrorCode::NoNode)?;
                let path = if mode.is_sequential() { format!("{path}{:010}", parent.created) } else { path.clone() };
                let below_ephemeral = parent.owner != 0;
                if self.nodes.contains_key(&path) {
                    return Err(ErrorCode::NodeExists);
                }
                if below_ephemeral {
                    return Err(ErrorCode::NoChildrenForEphemerals);
                }
                if let Some(parent) = self.nodes.get_mut(parent_path) {
                    parent.created += 1;
                    parent.pzxid = zxid;
                }
                let owner = if mode.is_ephemeral() { *session } else { 0 };
                let node = Node {
                    data: data.clone(),
                    acl: Acl::open(),
                    czxid: zxid,
                    mzxid: zxid,
                    pzxid: zxid,
                    version: 0,
                    created: 0,
                    aversion: 0,
                    owner,
                };
                self.nodes.insert(path.clone(), node);
                return Ok(vec![path]);
            }
            Op::Delete { path, version } => {
                let node = self.nodes.get(path).ok_or(ErrorCode::NoNode)?;
                fits(*version, node.version)?;
                if self.children(path) > 0 {
                    return Err(ErrorCode::NotEmpty);
                }
                self.remove(path);
            }
            Op::Set { path, data, version } => {
                let node = self.nodes.get_mut(path).ok_or(ErrorCode::NoNode)?;
                fits(*version, node.version)?;
                node.data.clone_from(data);
                node.version += 1;
                node.mzxid = zxid;
            }
            Op::SetAcl { path, acl, version } => {
                let node = self.nodes.get_mut(path).ok_or(ErrorCode::NoNode)?;
                fits(*version, node.aversion)?;
                node.acl.clone_from(acl);
                node.aversion += 1;
            }
            Op::Multi(ops) => {
                let mut made = Vec::new();
                for op in ops {
                    made.extend(self.perform(op)?);
                }
                return Ok(made);
            }
        }
        Ok(Vec::new())
    }

    fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
        let zxid = self.zxid;
        if let Some(parent) = self.nodes.get_mut(parent(path)) {
            parent.pzxid = zxid;
        }
    }

    fn children(&self, path: &str) -> i32 {
        let of_zookeeper = i32::from(path == "/");
        of_zookeeper + self.nodes.keys().filter(|child| *child != "/" && parent(child) == path).count() as i32
    }

    /// Holds what a client saw against this. Times are the keeper's own: each zxid has one, wherever it shows.
    pub fn check(&self, seen: &BTreeMap<String, Seen>, times: &BTreeMap<i64, i64>, place: &str) {
        let paths: Vec<&String> = self.nodes.keys().collect();
        assert_eq!(seen.keys().collect::<Vec<_>>(), paths, "{place}: paths at zxid {}", self.zxid);
        for (path, node) in &self.nodes {
            let seen = &seen[path];
            let num_children = self.children(path);
            let expected = Stat {
                czxid: node.czxid,
                mzxid: node.mzxid,
                ctime: times.get(&node.czxid).copied().unwrap_or(seen.stat.ctime),
                mtime: times.get(&node.mzxid).copied().unwrap_or(seen.stat.mtime),
                version: node.version,
                cversion: node.created * 2 - num_children,
                aversion: node.aversion,
                ephemeral_owner: node.owner,
                data_length: node.data.len() as i32,
                num_children,
                pzxid: node.pzxid,
            };
            let expected = Seen { data: node.data.clone(), acl: node.acl.clone(), stat: expected };
            assert_eq!(*seen, expected, "{place}: {path} at zxid {}", self.zxid);
        }
    }
}

/// Every node but those of `/zookeeper`, as a client sees it.
pub fn look(client: &mut Client) -> BTreeMap<String, Seen> {
    let mut seen = BTreeMap::new();
    let mut waiting = vec!["/".to_owned()];
    while let Some(path) = waiting.pop() {
        let gets = [
            client.send(OpCode::GetData, &GetDataRequest { path: path.clone(), watch: false }),
            client.send(OpCode::GetAcl, &GetAclRequest { path: path.clone() }),
            client.send(OpCode::GetChildren, &GetChildrenRequest { path: path.clone(), watch: false }),
        ];
        let data: GetDataResponse = client.wait(gets[0]).read();
        let acl = client.wait(gets[1]).read::<GetAclResponse>().acl;
        let children = client.wait(gets[2]).read::<GetChildrenResponse>().children;
        let below = if path == "/" { "" } else { &path };
        waiting.extend(children.iter().filter(|name| *name != "zookeeper").map(|name| format!("{below}/{name}")));
        let text = String::from_utf8(data.data.unwrap_or_default().to_vec()).unwrap();
        seen.insert(path, Seen { data: text, acl, stat: data.stat });
    }
    seen
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

fn fits(expected: i32, version: i32) -> Result<(), ErrorCode> {
    if expected == -1 || expected == version { Ok(()) } else { Err(ErrorCode::BadVersion) }
}
