//! Requests that change nothing in the tree: reads, and setting and removing watches.

use bytes::BufMut;
use protocol::zookeeper::*;

use super::{Processor, write_event};
use crate::acl;
use crate::tree::Node;
use crate::watch::{ConnectionId, Event, Kind, TooMany};

impl From<TooMany> for ErrorCode {
    fn from(_: TooMany) -> ErrorCode {
        ErrorCode::ThrottledOp
    }
}

impl Processor {
    /// The node, if this connection has one of the permissions.
    fn readable(&self, id: ConnectionId, path: &str, wanted: i32) -> Result<&Node, ErrorCode> {
        let node = self.tree.get(path).ok_or(ErrorCode::NoNode)?;
        let connection = self.connections.get(&id).ok_or(ErrorCode::SystemError)?;
        connection.who.check(&node.acl, wanted)?;
        Ok(node)
    }

    /// The watch is set even where there is no node: it waits for the creation.
    pub(super) fn exists(&mut self, id: ConnectionId, request: &ExistsRequest) -> Result<(), ErrorCode> {
        if request.path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let stat = self.readable(id, &request.path, perms::READ).map(Node::stat);
        if request.watch && stat != Err(ErrorCode::NoAuth) {
            self.watches.add(id, &request.path, Kind::Data)?;
        }
        ExistsResponse { stat: stat? }.write(&mut self.body);
        Ok(())
    }

    pub(super) fn get_data(
        &mut self,
        id: ConnectionId,
        request: &GetDataRequest,
    ) -> Result<GetDataResponse, ErrorCode> {
        let node = self.readable(id, &request.path, perms::READ)?;
        let response = GetDataResponse { data: node.data.clone(), stat: node.stat() };
        if request.watch {
            self.watches.add(id, &request.path, Kind::Data)?;
        }
        Ok(response)
    }

    pub(super) fn get_acl(&mut self, id: ConnectionId, request: &GetAclRequest) -> Result<(), ErrorCode> {
        let node = self.readable(id, &request.path, perms::READ | perms::ADMIN)?;
        let admin = self.connections.get(&id).is_some_and(|connection| connection.who.may(&node.acl, perms::ADMIN));
        let list = if admin { node.acl.to_vec() } else { acl::without_digests(&node.acl) };
        GetAclResponse { acl: list, stat: node.stat() }.write(&mut self.body);
        Ok(())
    }

    pub(super) fn get_children(
        &mut self,
        id: ConnectionId,
        request: &GetChildrenRequest,
        with_stat: bool,
    ) -> Result<(), ErrorCode> {
        // Written name by name: a vector of owned strings would copy a long list once more.
        let mut body = std::mem::take(&mut self.body);
        let written = self.readable(id, &request.path, perms::READ).map(|node| {
            body.put_i32(node.children.len() as i32);
            for name in &node.children {
                body.put_i32(name.len() as i32);
                body.put_slice(name.as_bytes());
            }
            if with_stat {
                node.stat().write(&mut body);
            }
        });
        self.body = body;
        written?;
        if request.watch {
            self.watches.add(id, &request.path, Kind::Children)?;
        }
        Ok(())
    }

    /// Each operation succeeds or fails alone. Their watch flags mean nothing, as in ZooKeeper.
    pub(super) fn multi_read(&mut self, id: ConnectionId, ops: Vec<MultiOp>) {
        let mut results = Vec::with_capacity(ops.len());
        for op in ops {
            let result = match op {
                MultiOp::GetData(request) => {
                    self.get_data(id, &GetDataRequest { watch: false, ..request }).map(MultiResult::GetData)
                }
                MultiOp::GetChildren(request) => self.get_child_names(id, &request).map(MultiResult::GetChildren),
                _ => Err(ErrorCode::Unimplemented),
            };
            results.push(result.unwrap_or_else(MultiResult::Error));
        }
        MultiResponse { results }.write(&mut self.body);
    }

    fn get_child_names(
        &self,
        id: ConnectionId,
        request: &GetChildrenRequest,
    ) -> Result<GetChildrenResponse, ErrorCode> {
        let node = self.readable(id, &request.path, perms::READ)?;
        let children = node.children.iter().map(|name| name.to_string()).collect();
        Ok(GetChildrenResponse { children })
    }

    pub(super) fn get_all_children_number(
        &mut self,
        id: ConnectionId,
        request: &GetAllChildrenNumberRequest,
    ) -> Result<(), ErrorCode> {
        self.readable(id, &request.path, perms::READ)?;
        let total_number = self.tree.descendant_count(&request.path) as i32;
        GetAllChildrenNumberResponse { total_number }.write(&mut self.body);
        Ok(())
    }

    pub(super) fn who_am_i(&mut self, id: ConnectionId) -> Result<(), ErrorCode> {
        let connection = self.connections.get(&id).ok_or(ErrorCode::SystemError)?;
        let info = |id: &Id| ClientInfo { auth_scheme: id.scheme.clone(), user: acl::user_name(id).to_owned() };
        let client_info = connection.who.ids.iter().map(info).collect();
        WhoAmIResponse { client_info }.write(&mut self.body);
        Ok(())
    }

    pub(super) fn check_watches(
        &mut self,
        id: ConnectionId,
        request: &WatchesRequest,
        remove: bool,
    ) -> Result<(), ErrorCode> {
        let kind = WatcherType::from_i32(request.watcher_type).ok_or(ErrorCode::BadArguments)?;
        let found = if remove {
            self.watches.remove(id, &request.path, kind)
        } else {
            self.watches.has(id, &request.path, kind)
        };
        if found { Ok(()) } else { Err(ErrorCode::NoWatcher) }
    }

    /// The answer has a body of four zero bytes; Java clients wait for it.
    pub(super) fn add_watch(&mut self, id: ConnectionId, request: &AddWatchRequest) -> Result<(), ErrorCode> {
        match AddWatchMode::from_i32(request.mode).ok_or(ErrorCode::BadArguments)? {
            AddWatchMode::Persistent => self.watches.add_persistent(id, &request.path)?,
            AddWatchMode::PersistentRecursive => self.watches.add_recursive(id, &request.path)?,
        }
        ErrorResponse { err: 0 }.write(&mut self.body);
        Ok(())
    }

    /// A client that was away sets its watches again. What has changed since `relative_zxid` fires at once, the rest is armed (`DataTree.setWatches`).
    pub(super) fn set_watches(&mut self, id: ConnectionId, request: &SetWatches2Request) -> Result<(), ErrorCode> {
        for path in &request.data_watches {
            match self.tree.get(path) {
                None => self.tell(id, EventType::NodeDeleted, path),
                Some(node) if node.mzxid > request.relative_zxid => self.tell(id, EventType::NodeDataChanged, path),
                Some(_) => self.watches.add(id, path, Kind::Data)?,
            }
        }
        for path in &request.exist_watches {
            match self.tree.get(path) {
                Some(_) => self.tell(id, EventType::NodeCreated, path),
                None => self.watches.add(id, path, Kind::Data)?,
            }
        }
        for path in &request.child_watches {
            match self.tree.get(path) {
                None => self.tell(id, EventType::NodeDeleted, path),
                Some(node) if node.pzxid > request.relative_zxid => self.tell(id, EventType::NodeChildrenChanged, path),
                Some(_) => self.watches.add(id, path, Kind::Children)?,
            }
        }
        for path in &request.persistent_watches {
            self.watches.add_persistent(id, path)?;
        }
        for path in &request.persistent_recursive_watches {
            self.watches.add_recursive(id, path)?;
        }
        Ok(())
    }

    /// Sends one event at once, if the connection may read the node.
    fn tell(&mut self, id: ConnectionId, event_type: EventType, path: &str) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if self.tree.get(path).is_some_and(|node| !connection.who.may(&node.acl, perms::READ)) {
            return;
        }
        self.dirty.push(id);
        self.stats.sent += 1;
        write_event(&Event { connection: id, event_type, path: path.into() }, connection);
    }
}
