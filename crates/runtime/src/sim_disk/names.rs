//! The tree of names: what is seen, what is on stable storage, and the changes of each directory in between, in order.
//!
//! Always true: a node is never forgotten while a file may be open on it; the durable entries of a directory with its unsynced changes
//! applied are its seen ones.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path};

use super::Seeded;
use super::content::Content;
use crate::disk::Entry;

/// Number of a file or directory.
pub(super) type NodeId = usize;

const ROOT: NodeId = 0;

#[derive(Debug, Clone)]
pub(super) struct Names {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
enum Node {
    File(Content),
    Dir(Dir),
}

#[derive(Debug, Clone, Default)]
struct Dir {
    seen: BTreeMap<OsString, NodeId>,
    durable: BTreeMap<OsString, NodeId>,
    unsynced: Vec<Change>,
}

/// A change of a directory that is kept or lost as a whole.
#[derive(Debug, Clone)]
enum Change {
    Put(OsString, NodeId),
    Remove(OsString),
    Rename(OsString, OsString),
}

impl Default for Names {
    fn default() -> Names {
        Names { nodes: vec![Node::Dir(Dir::default())] }
    }
}

impl Names {
    /// The node of this name.
    pub(super) fn find(&self, path: &Path) -> io::Result<Option<NodeId>> {
        let mut node = ROOT;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let Node::Dir(dir) = &self.nodes[node] else { return Err(io::ErrorKind::NotADirectory.into()) };
            match dir.seen.get(name) {
                Some(next) => node = *next,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    pub(super) fn is_dir(&self, path: &Path) -> bool {
        matches!(self.find(path), Ok(Some(node)) if matches!(self.nodes[node], Node::Dir(_)))
    }

    /// The file of this name.
    pub(super) fn file_mut(&mut self, path: &Path) -> io::Result<&mut Content> {
        let node = self.find(path)?.ok_or(io::ErrorKind::NotFound)?;
        self.content_mut(node)
    }

    pub(super) fn content_mut(&mut self, node: NodeId) -> io::Result<&mut Content> {
        match &mut self.nodes[node] {
            Node::File(content) => Ok(content),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn dir_mut(&mut self, path: &Path) -> io::Result<&mut Dir> {
        let node = self.find(path)?.ok_or(io::ErrorKind::NotFound)?;
        match &mut self.nodes[node] {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory that holds `path`, and the name in it.
    fn parent_mut<'a>(&mut self, path: &'a Path) -> io::Result<(&mut Dir, &'a OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.dir_mut(path.parent().unwrap_or(Path::new("")))?, name))
    }

    pub(super) fn create_file(&mut self, path: &Path, content: Content) -> io::Result<NodeId> {
        self.create(path, Node::File(content))
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.create(path, Node::Dir(Dir::default())).map(|_| ())
    }

    fn create(&mut self, path: &Path, node: Node) -> io::Result<NodeId> {
        let id = self.nodes.len();
        let (dir, name) = self.parent_mut(path)?;
        if dir.seen.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        dir.change(Change::Put(name.to_owned(), id));
        self.nodes.push(node);
        Ok(id)
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find(path)?.ok_or(io::ErrorKind::NotFound)?;
        if matches!(&self.nodes[node], Node::Dir(dir) if !dir.seen.is_empty()) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (dir, name) = self.parent_mut(path)?;
        dir.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?.ok_or(io::ErrorKind::NotFound)?;
        let (old_dir, old_name) = (from.parent(), from.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        if old_dir == to.parent() {
            let (dir, name) = self.parent_mut(to)?;
            dir.change(Change::Rename(old_name.to_owned(), name.to_owned()));
            return Ok(());
        }
        let (dir, name) = self.parent_mut(to)?;
        dir.change(Change::Put(name.to_owned(), node));
        let (dir, name) = self.parent_mut(from)?;
        dir.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let node = self.find(path)?.ok_or(io::ErrorKind::NotFound)?;
        let Node::Dir(dir) = &self.nodes[node] else { return Err(io::ErrorKind::NotADirectory.into()) };
        let entries = dir.seen.iter().map(|(name, node)| Entry {
            name: name.clone(),
            path: path.join(name),
            is_dir: matches!(self.nodes[*node], Node::Dir(_)),
        });
        Ok(entries.collect())
    }

    pub(super) fn sync(&mut self, path: &Path) -> io::Result<()> {
        self.dir_mut(path)?.keep(usize::MAX);
        Ok(())
    }

    /// Bytes of all files that have a name.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes_below(ROOT)
    }

    fn bytes_below(&self, node: NodeId) -> u64 {
        match &self.nodes[node] {
            Node::File(content) => content.len(),
            Node::Dir(dir) => dir.seen.values().map(|child| self.bytes_below(*child)).sum(),
        }
    }

    /// What the power cut leaves: nothing, everything, or the oldest changes of each directory.
    pub(super) fn cut(&mut self, random: &mut Seeded) {
        for node in &mut self.nodes {
            match node {
                Node::File(content) => content.cut(random),
                Node::Dir(dir) => {
                    let changes = dir.unsynced.len() as u64;
                    let kept = match random.below(3) {
                        0 => 0,
                        1 => changes,
                        _ => random.below(changes + 1),
                    };
                    dir.keep(kept as usize);
                    dir.seen = dir.durable.clone();
                }
            }
        }
    }
}

impl Dir {
    fn change(&mut self, change: Change) {
        apply(&mut self.seen, &change);
        self.unsynced.push(change);
    }

    /// Brings the oldest so many changes to stable storage; the others are gone where the caller goes back to what is durable.
    fn keep(&mut self, count: usize) {
        for change in self.unsynced.drain(..).take(count) {
            apply(&mut self.durable, &change);
        }
    }
}

fn apply(entries: &mut BTreeMap<OsString, NodeId>, change: &Change) {
    match change {
        Change::Put(name, node) => {
            entries.insert(name.clone(), *node);
        }
        Change::Remove(name) => {
            entries.remove(name);
        }
        Change::Rename(from, to) => {
            if let Some(node) = entries.remove(from) {
                entries.insert(to.clone(), node);
            }
        }
    }
}
