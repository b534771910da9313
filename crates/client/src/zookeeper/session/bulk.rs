//! Many operations at once: all or none ([`Session::multi`]), or many reads for the price of a few ([`Session::read_many`]).

use bytes::Bytes;
use protocol::zookeeper::{
    Create2Response, CreateMode, CreateResponse, ErrorCode, GetDataRequest, GetDataResponse, MultiOp, MultiRequest,
    MultiResponse, MultiResult, OpCode, Record, Stat,
};

use super::{Session, bad_path};
use crate::zookeeper::ZkError;

/// Reads in one multiRead of [`Session::read_many`].
const MULTI_READ_OPS_MAX: usize = 100;

/// So many reads are pipelined without asking the server whether it knows multiRead: that costs a session of its own.
const PIPELINED_READS_MAX: usize = 64;

impl Session {
    /// Applies all operations or none, each seeing those before it. The operations come from [`op`].
    ///
    /// # Errors
    /// [`ZkError::Multi`] says which operation failed and why.
    pub async fn multi(&self, ops: Vec<MultiOp>) -> Result<Vec<MultiResult>, ZkError> {
        let (paths, request) = self.multi_request(ops)?;
        let first = paths.first().map_or("/", String::as_str);
        let response: MultiResponse = self.call(OpCode::Multi, first, &request, None).await?;
        if let Some((index, code)) = response.first_error() {
            let codes = response.results.iter().map(|result| match result {
                MultiResult::Error(code) => *code,
                _ => ErrorCode::Ok,
            });
            let path = paths.get(index).cloned().unwrap_or_default();
            return Err(ZkError::Multi { index, code, path, codes: codes.collect() });
        }
        Ok(response.results.into_iter().map(|result| self.strip_result(result)).collect())
    }

    /// Reads in one round trip (`GetData` and `GetChildren` of [`op`]); each succeeds or fails alone (ZooKeeper 3.6). [`Session::read_many`] works
    /// with every server.
    ///
    /// # Errors
    /// [`ZkError::Unsupported`] with an older server.
    pub async fn multi_read(&self, ops: Vec<MultiOp>) -> Result<Vec<MultiResult>, ZkError> {
        if !self.knows_multi_read().await? {
            return Err(ZkError::Unsupported { operation: "multiRead" });
        }
        let (paths, request) = self.multi_request(ops)?;
        let first = paths.first().map_or("/", String::as_str);
        let response: MultiResponse = self.call(OpCode::MultiRead, first, &request, None).await?;
        Ok(response.results)
    }

    /// The data of many nodes, in the order asked for, nothing for those that are not there: by multiRead of 100 where there are many and the server
    /// knows it, else by pipelined getData.
    ///
    /// # Errors
    /// The first error other than `NoNode`.
    pub async fn read_many(&self, paths: &[String]) -> Result<Vec<Option<(Bytes, Stat)>>, ZkError> {
        let by_multi = paths.len() > PIPELINED_READS_MAX && self.knows_multi_read().await?;
        let mut found = Vec::with_capacity(paths.len());
        if by_multi {
            let mut answers = Vec::new();
            for chunk in paths.chunks(MULTI_READ_OPS_MAX) {
                let (_, request) = self.multi_request(chunk.iter().map(|path| op::get_data(path)).collect())?;
                let full = self.inner.chroot.prepend(&chunk[0]);
                answers.push((&chunk[0], self.submit(OpCode::MultiRead, full, request.to_body(), None).await?));
            }
            for (path, answered) in answers {
                let response: MultiResponse = self.decode(path, answered.await)?;
                for result in response.results {
                    let path = paths.get(found.len()).unwrap_or(path).clone();
                    found.push(match result {
                        MultiResult::GetData(response) => Some((response.data.unwrap_or_default(), response.stat)),
                        MultiResult::Error(ErrorCode::NoNode) => None,
                        MultiResult::Error(code) => return Err(ZkError::Server { code, path }),
                        _ => return Err(ZkError::Server { code: ErrorCode::RuntimeInconsistency, path }),
                    });
                }
            }
            if found.len() != paths.len() {
                let path = paths[0].clone();
                return Err(ZkError::Server { code: ErrorCode::RuntimeInconsistency, path });
            }
            return Ok(found);
        }
        let mut answers = Vec::with_capacity(paths.len());
        for path in paths {
            let request = GetDataRequest { path: self.full_path(path)?, watch: false };
            let body = request.to_body();
            answers.push((path, self.submit(OpCode::GetData, request.path, body, None).await?));
        }
        for (path, answered) in answers {
            found.push(match self.decode::<GetDataResponse>(path, answered.await) {
                Ok(response) => Some((response.data.unwrap_or_default(), response.stat)),
                Err(error) if error.is_no_node() => None,
                Err(error) => return Err(error),
            });
        }
        Ok(found)
    }

    /// Puts the chroot before the paths of all operations; returns the paths as they were too.
    fn multi_request(&self, mut ops: Vec<MultiOp>) -> Result<(Vec<String>, MultiRequest), ZkError> {
        let mut paths = Vec::with_capacity(ops.len());
        for op in &mut ops {
            let (path, sequential) = op_path(op);
            protocol::zookeeper::path::validate_create(path, sequential).map_err(|e| bad_path(path, &e))?;
            let full = self.inner.chroot.prepend(path);
            paths.push(std::mem::replace(path, full));
        }
        Ok((paths, MultiRequest { ops }))
    }

    fn strip_result(&self, result: MultiResult) -> MultiResult {
        match result {
            MultiResult::Create(response) => {
                MultiResult::Create(CreateResponse { path: self.inner.chroot.strip(&response.path) })
            }
            MultiResult::Create2(response) => {
                let path = self.inner.chroot.strip(&response.path);
                MultiResult::Create2(Create2Response { path, stat: response.stat })
            }
            other => other,
        }
    }
}

/// Operations for [`Session::multi`] and [`Session::multi_read`], with paths as the session names them.
pub mod op {
    use bytes::Bytes;
    use protocol::zookeeper::{
        Acl, CheckVersionRequest, CreateMode, CreateRequest, DeleteRequest, GetChildrenRequest, GetDataRequest,
        MultiOp, SetDataRequest,
    };

    /// Creates a node that everybody may use.
    pub fn create(path: &str, data: impl Into<Bytes>, mode: CreateMode) -> MultiOp {
        let (path, data, acl, flags) = (path.to_owned(), Some(data.into()), Acl::open(), mode.as_i32());
        let request = CreateRequest { path, data, acl, flags };
        if mode == CreateMode::Container { MultiOp::CreateContainer(request) } else { MultiOp::Create(request) }
    }

    /// Deletes a node of this version, -1 for any.
    pub fn delete(path: &str, version: i32) -> MultiOp {
        MultiOp::Delete(DeleteRequest { path: path.to_owned(), version })
    }

    /// Replaces a node's data if it is of this version, -1 for any.
    pub fn set_data(path: &str, data: impl Into<Bytes>, version: i32) -> MultiOp {
        MultiOp::SetData(SetDataRequest { path: path.to_owned(), data: Some(data.into()), version })
    }

    /// Fails the multi unless the node is of this version: how a controller's writes are fenced.
    pub fn check(path: &str, version: i32) -> MultiOp {
        MultiOp::Check(CheckVersionRequest { path: path.to_owned(), version })
    }

    /// Reads a node (multiRead only).
    pub fn get_data(path: &str) -> MultiOp {
        MultiOp::GetData(GetDataRequest { path: path.to_owned(), watch: false })
    }

    /// Reads the names of a node's children (multiRead only).
    pub fn get_children(path: &str) -> MultiOp {
        MultiOp::GetChildren(GetChildrenRequest { path: path.to_owned(), watch: false })
    }
}

fn op_path(op: &mut MultiOp) -> (&mut String, bool) {
    match op {
        MultiOp::Create(r) | MultiOp::Create2(r) | MultiOp::CreateContainer(r) => {
            (&mut r.path, CreateMode::from_i32(r.flags).is_some_and(CreateMode::is_sequential))
        }
        MultiOp::CreateTtl(r) => (&mut r.path, CreateMode::from_i32(r.flags).is_some_and(CreateMode::is_sequential)),
        MultiOp::Delete(r) => (&mut r.path, false),
        MultiOp::SetData(r) => (&mut r.path, false),
        MultiOp::Check(r) => (&mut r.path, false),
        MultiOp::GetData(r) => (&mut r.path, false),
        MultiOp::GetChildren(r) => (&mut r.path, false),
    }
}
