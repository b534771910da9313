//! The operations on one node, in the protocol's own words.

use std::time::Duration;

use bytes::Bytes;
use protocol::zookeeper::{
    Acl, Create2Response, CreateMode, CreateRequest, CreateResponse, CreateTtlRequest, DeleteRequest, ExistsRequest,
    ExistsResponse, GetAclRequest, GetAclResponse, GetChildren2Response, GetChildrenRequest, GetDataRequest,
    GetDataResponse, OpCode, Record, SetAclRequest, SetAclResponse, SetDataRequest, SetDataResponse, Stat, SyncRequest,
};
use tokio::sync::oneshot;

use super::{Session, bad_path};
use crate::zookeeper::ZkError;
use crate::zookeeper::driver::Watching;
use crate::zookeeper::watches::{OneShot, Watch};

/// Times [`Session::watch_data`] starts over when the node comes and goes under it.
const WATCH_DATA_TRIES_MAX: usize = 100;

impl Session {
    /// Creates a node that everybody may use, and returns its path: with the server's counter, for the sequential modes.
    ///
    /// # Errors
    /// `NodeExists`, `NoNode` (no parent), `NoChildrenForEphemerals` among others.
    pub async fn create(&self, path: &str, data: impl Into<Bytes>, mode: CreateMode) -> Result<String, ZkError> {
        self.create_with_acl(path, data, mode, Acl::open()).await
    }

    /// [`Session::create`] with an ACL.
    ///
    /// # Errors
    /// Those of `create`, and `InvalidACL`.
    pub async fn create_with_acl(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        mode: CreateMode,
        acl: Vec<Acl>,
    ) -> Result<String, ZkError> {
        // Containers have an operation of their own, which answers as create2 does.
        if mode == CreateMode::Container {
            return Ok(self.create2_with_acl(path, data, mode, acl).await?.0);
        }
        let request = self.create_request(path, data.into(), mode, acl)?;
        let response: CreateResponse = self.call(OpCode::Create, path, &request, None).await?;
        Ok(self.inner.chroot.strip(&response.path))
    }

    /// Creates a node and returns its path and what it is now (ZooKeeper 3.5).
    ///
    /// # Errors
    /// Those of `create`. A server before 3.5 closes the connection.
    pub async fn create2(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        mode: CreateMode,
    ) -> Result<(String, Stat), ZkError> {
        self.create2_with_acl(path, data, mode, Acl::open()).await
    }

    /// [`Session::create2`] with an ACL.
    ///
    /// # Errors
    /// Those of `create2`, and `InvalidACL`.
    pub async fn create2_with_acl(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        mode: CreateMode,
        acl: Vec<Acl>,
    ) -> Result<(String, Stat), ZkError> {
        let request = self.create_request(path, data.into(), mode, acl)?;
        let op = if mode == CreateMode::Container { OpCode::CreateContainer } else { OpCode::Create2 };
        let response: Create2Response = self.call(op, path, &request, None).await?;
        Ok((self.inner.chroot.strip(&response.path), response.stat))
    }

    /// Creates a node that the server deletes once it was childless and unchanged for `ttl`. For the TTL modes (ZooKeeper 3.5,
    /// `extendedTypesEnabled`).
    ///
    /// # Errors
    /// Those of `create`, and `Unimplemented` where the server has TTL nodes switched off.
    pub async fn create_ttl(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        mode: CreateMode,
        ttl: Duration,
    ) -> Result<(String, Stat), ZkError> {
        let CreateRequest { path: full, data, acl, flags } =
            self.create_request(path, data.into(), mode, Acl::open())?;
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let request = CreateTtlRequest { path: full, data, acl, flags, ttl_ms };
        let response: Create2Response = self.call(OpCode::CreateTtl, path, &request, None).await?;
        Ok((self.inner.chroot.strip(&response.path), response.stat))
    }

    /// Creates a node and the parents it lacks, these empty and persistent. A parent that somebody else makes meanwhile is fine; for the node itself
    /// `NodeExists` is an error.
    ///
    /// # Errors
    /// Those of `create`.
    pub async fn create_recursive(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        mode: CreateMode,
    ) -> Result<String, ZkError> {
        let data = data.into();
        match self.create(path, data.clone(), mode).await {
            Err(error) if error.is_no_node() => {}
            done => return done,
        }
        if let Some(parent) = protocol::zookeeper::path::parent(path.trim_end_matches('/')) {
            self.ensure_path(parent).await?;
        }
        self.create(path, data, mode).await
    }

    /// Makes sure that a persistent node and its parents are there, the session's chroot included.
    ///
    /// # Errors
    /// Those of `create`, but `NodeExists`.
    pub async fn ensure_path(&self, path: &str) -> Result<(), ZkError> {
        let full = self.full_path(path)?;
        let mut missing = Vec::new();
        let mut at = full.as_str();
        // From the node upwards until one is there, then down again.
        loop {
            match self.create_at(at).await {
                Ok(()) => break,
                Err(error) if error.is_node_exists() => break,
                Err(error) if error.is_no_node() => missing.push(at),
                Err(error) => return Err(error),
            }
            match protocol::zookeeper::path::parent(at) {
                Some(parent) if parent != "/" => at = parent,
                _ => break,
            }
        }
        for path in missing.into_iter().rev() {
            match self.create_at(path).await {
                Err(error) if !error.is_node_exists() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Creates an empty persistent node by the server's name of its path.
    async fn create_at(&self, full: &str) -> Result<(), ZkError> {
        if full == "/" {
            return Ok(());
        }
        let data = Some(Bytes::new());
        let flags = CreateMode::Persistent.as_i32();
        let request = CreateRequest { path: full.to_owned(), data, acl: Acl::open(), flags };
        let answered = self.submit(OpCode::Create, full.to_owned(), request.to_body(), None).await?;
        let _: CreateResponse = self.decode(full, answered.await)?;
        Ok(())
    }

    /// Deletes a node of this version, -1 for any.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`, `NotEmpty`.
    pub async fn delete(&self, path: &str, version: i32) -> Result<(), ZkError> {
        let request = DeleteRequest { path: self.full_path(path)?, version };
        self.call(OpCode::Delete, path, &request, None).await
    }

    /// Deletes a node and all below it. What somebody else deletes meanwhile is fine, the node itself not being there included.
    ///
    /// # Errors
    /// `NotEmpty` where somebody keeps creating children, and whatever `delete` says.
    pub async fn delete_recursive(&self, path: &str) -> Result<(), ZkError> {
        // A list and not recursion: the depth is the tree's, not ours.
        let mut found = vec![path.to_owned()];
        let mut next = 0;
        while let Some(parent) = found.get(next).cloned() {
            next += 1;
            match self.get_children(&parent).await {
                Ok(children) => {
                    found.extend(children.iter().map(|child| protocol::zookeeper::path::join(&parent, child)));
                }
                Err(error) if error.is_no_node() => {}
                Err(error) => return Err(error),
            }
        }
        for path in found.iter().rev() {
            match self.delete(path, -1).await {
                Err(error) if !error.is_no_node() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// What a node is, or nothing where it is not.
    ///
    /// # Errors
    /// The connection's and the session's; `NoAuth`.
    pub async fn exists(&self, path: &str) -> Result<Option<Stat>, ZkError> {
        self.exists_call(path, None).await
    }

    /// [`Session::exists`], and a watch for its creation, change or deletion.
    ///
    /// # Errors
    /// Those of `exists`; then there is no watch.
    pub async fn exists_watch(&self, path: &str) -> Result<(Option<Stat>, Watch), ZkError> {
        let (watching, watch) = one_shot(OneShot::Exists);
        Ok((self.exists_call(path, Some(watching)).await?, watch))
    }

    async fn exists_call(&self, path: &str, watching: Option<Watching>) -> Result<Option<Stat>, ZkError> {
        let request = ExistsRequest { path: self.full_path(path)?, watch: watching.is_some() };
        match self.call::<ExistsResponse>(OpCode::Exists, path, &request, watching).await {
            Ok(response) => Ok(Some(response.stat)),
            Err(error) if error.is_no_node() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A node's data; null reads as empty.
    ///
    /// # Errors
    /// `NoNode`, `NoAuth`.
    pub async fn get_data(&self, path: &str) -> Result<(Bytes, Stat), ZkError> {
        self.get_data_call(path, None).await
    }

    /// [`Session::get_data`], and a watch for the node's change or deletion.
    ///
    /// # Errors
    /// Those of `get_data`; then there is no watch.
    pub async fn get_data_watch(&self, path: &str) -> Result<(Bytes, Stat, Watch), ZkError> {
        let (watching, watch) = one_shot(OneShot::Data);
        let (data, stat) = self.get_data_call(path, Some(watching)).await?;
        Ok((data, stat, watch))
    }

    /// A node's data, or nothing where it is not there.
    ///
    /// # Errors
    /// The connection's and the session's; `NoAuth`.
    pub async fn try_get_data(&self, path: &str) -> Result<Option<(Bytes, Stat)>, ZkError> {
        match self.get_data(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_no_node() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The data of a node that may not be there, and a watch for whatever happens to it next.
    ///
    /// # Errors
    /// The connection's and the session's; `NoAuth`.
    pub async fn watch_data(&self, path: &str) -> Result<(Option<(Bytes, Stat)>, Watch), ZkError> {
        let mut tries = 0;
        loop {
            match self.get_data_watch(path).await {
                Ok((data, stat, watch)) => return Ok((Some((data, stat)), watch)),
                Err(error) if error.is_no_node() && tries < WATCH_DATA_TRIES_MAX => tries += 1,
                Err(error) => return Err(error),
            }
            if let (None, watch) = self.exists_watch(path).await? {
                return Ok((None, watch));
            }
        }
    }

    async fn get_data_call(&self, path: &str, watching: Option<Watching>) -> Result<(Bytes, Stat), ZkError> {
        let request = GetDataRequest { path: self.full_path(path)?, watch: watching.is_some() };
        let response: GetDataResponse = self.call(OpCode::GetData, path, &request, watching).await?;
        Ok((response.data.unwrap_or_default(), response.stat))
    }

    /// Replaces a node's data if it is of this version, -1 for any.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`.
    pub async fn set_data(&self, path: &str, data: impl Into<Bytes>, version: i32) -> Result<Stat, ZkError> {
        let request = SetDataRequest { path: self.full_path(path)?, data: Some(data.into()), version };
        let response: SetDataResponse = self.call(OpCode::SetData, path, &request, None).await?;
        Ok(response.stat)
    }

    /// Names of a node's children, in no order.
    ///
    /// # Errors
    /// `NoNode`, `NoAuth`.
    pub async fn get_children(&self, path: &str) -> Result<Vec<String>, ZkError> {
        Ok(self.get_children2(path).await?.0)
    }

    /// Names of a node's children, and what the node is.
    ///
    /// # Errors
    /// `NoNode`, `NoAuth`.
    pub async fn get_children2(&self, path: &str) -> Result<(Vec<String>, Stat), ZkError> {
        self.get_children_call(path, None).await
    }

    /// [`Session::get_children`], and a watch for children created or deleted, or the node's deletion.
    ///
    /// # Errors
    /// Those of `get_children`; then there is no watch.
    pub async fn get_children_watch(&self, path: &str) -> Result<(Vec<String>, Watch), ZkError> {
        let (watching, watch) = one_shot(OneShot::Children);
        let (children, _stat) = self.get_children_call(path, Some(watching)).await?;
        Ok((children, watch))
    }

    async fn get_children_call(&self, path: &str, watching: Option<Watching>) -> Result<(Vec<String>, Stat), ZkError> {
        let request = GetChildrenRequest { path: self.full_path(path)?, watch: watching.is_some() };
        let response: GetChildren2Response = self.call(OpCode::GetChildren2, path, &request, watching).await?;
        Ok((response.children, response.stat))
    }

    /// A node's ACL.
    ///
    /// # Errors
    /// `NoNode`, `NoAuth`.
    pub async fn get_acl(&self, path: &str) -> Result<(Vec<Acl>, Stat), ZkError> {
        let request = GetAclRequest { path: self.full_path(path)? };
        let response: GetAclResponse = self.call(OpCode::GetAcl, path, &request, None).await?;
        Ok((response.acl, response.stat))
    }

    /// Replaces a node's ACL if that is of this version ([`Stat::aversion`]), -1 for any.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`, `InvalidACL`, `NoAuth`.
    pub async fn set_acl(&self, path: &str, acl: Vec<Acl>, version: i32) -> Result<Stat, ZkError> {
        let request = SetAclRequest { path: self.full_path(path)?, acl, version };
        let response: SetAclResponse = self.call(OpCode::SetAcl, path, &request, None).await?;
        Ok(response.stat)
    }

    /// Waits until the connected server has all that its leader had done before.
    ///
    /// # Errors
    /// The connection's and the session's.
    pub async fn sync(&self, path: &str) -> Result<(), ZkError> {
        let request = SyncRequest { path: self.full_path(path)? };
        // The answer repeats the path.
        let _: CreateResponse = self.call(OpCode::Sync, path, &request, None).await?;
        Ok(())
    }

    fn create_request(
        &self,
        path: &str,
        data: Bytes,
        mode: CreateMode,
        acl: Vec<Acl>,
    ) -> Result<CreateRequest, ZkError> {
        protocol::zookeeper::path::validate_create(path, mode.is_sequential()).map_err(|e| bad_path(path, &e))?;
        let path = self.inner.chroot.prepend(path);
        Ok(CreateRequest { path, data: Some(data), acl, flags: mode.as_i32() })
    }
}

fn one_shot(kind: OneShot) -> (Watching, Watch) {
    let (fire, fired) = oneshot::channel();
    (Watching::Once(kind, fire), Watch { fired })
}
