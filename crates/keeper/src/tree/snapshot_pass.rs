//! Writing all nodes as they were at one zxid, in slices, while writes go on.
//!
//! A pass lists the paths once. After that a node is written either when its turn comes or, if it is changed or deleted before, just before that
//! change. Nodes made after the start are not written. So what a pass writes is exactly the tree at its start, and replaying the log from there needs
//! no guesses about which changes are in already.

use std::sync::Arc;

use bytes::BytesMut;
use hashbrown::HashMap;
use protocol::zookeeper::Record;

use super::{Node, Tree};

/// State of the pass under way, if there is one.
#[derive(Debug, Default)]
pub(crate) struct SnapshotPass {
    number: u64,
    active: Option<Active>,
}

#[derive(Debug)]
struct Active {
    paths: Vec<Arc<str>>,
    /// How many of the paths have had their turn.
    done: usize,
    out: BytesMut,
    written: u64,
}

impl SnapshotPass {
    /// Number of the newest pass: nodes made now carry it.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// To be called before a node is changed or deleted.
    pub(crate) fn preserve(&mut self, nodes: &mut HashMap<Arc<str>, Node>, path: &str) {
        let Some(active) = &mut self.active else { return };
        if let Some(node) = nodes.get_mut(path) {
            active.write(self.number, path, node);
        }
    }
}

impl Active {
    fn write(&mut self, number: u64, path: &str, node: &mut Node) {
        if node.pass != number {
            node.pass = number;
            self.written += 1;
            write_node(path, node, &mut self.out);
        }
    }
}

impl Tree {
    /// Starts a pass over the tree as it is now. A pass that was under way is given up.
    pub(crate) fn start_snapshot(&mut self) {
        self.pass.number += 1;
        let paths = self.nodes.keys().cloned().collect();
        self.pass.active = Some(Active { paths, done: 0, out: BytesMut::new(), written: 0 });
    }

    /// Gives up the pass under way.
    pub(crate) fn stop_snapshot(&mut self) {
        self.pass.active = None;
    }

    /// Writes nodes until about `bytes` are gathered or all have had their turn. Gives what was gathered since the last call, and with the last of it the number
    /// of nodes the pass has written.
    pub(crate) fn snapshot_slice(&mut self, bytes: usize) -> Option<(BytesMut, Option<u64>)> {
        let number = self.pass.number;
        let active = self.pass.active.as_mut()?;
        while active.out.len() < bytes {
            let Some(path) = active.paths.get(active.done).cloned() else {
                let active = self.pass.active.take()?;
                return Some((active.out, Some(active.written)));
            };
            active.done += 1;
            if let Some(node) = self.nodes.get_mut(&path) {
                active.write(number, &path, node);
            }
        }
        Some((active.out.split(), None))
    }
}

/// One node as a snapshot holds it: everything but the children, which the paths tell.
fn write_node(path: &str, node: &Node, out: &mut BytesMut) {
    path.to_owned().write(out);
    node.data.write(out);
    node.acl.to_vec().write(out);
    for number in [node.czxid, node.mzxid, node.pzxid, node.ctime, node.mtime, node.owner] {
        number.write(out);
    }
    for number in [node.version, node.cversion, node.aversion] {
        number.write(out);
    }
}

/// Reads what [`write_node`] wrote.
pub(crate) fn read_node(
    reader: &mut protocol::zookeeper::Reader,
) -> Result<(Arc<str>, Node), protocol::zookeeper::JuteError> {
    let path: String = reader.read()?;
    let data: Option<bytes::Bytes> = reader.read()?;
    let acl: Vec<protocol::zookeeper::Acl> = reader.read()?;
    let node = Node {
        data: data.map(|data| bytes::Bytes::copy_from_slice(&data)),
        acl: acl.into(),
        children: Default::default(),
        czxid: reader.read()?,
        mzxid: reader.read()?,
        pzxid: reader.read()?,
        ctime: reader.read()?,
        mtime: reader.read()?,
        owner: reader.read()?,
        version: reader.read()?,
        cversion: reader.read()?,
        aversion: reader.read()?,
        pass: 0,
    };
    Ok((path.into(), node))
}
