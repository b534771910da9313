//! `multi` and `multiRead`: several operations in one request, each behind a small header, ended by a header that says `done`.
//!
//! In a `multi` either every operation is applied or none; then each result is an error: 0 before the failed one, its own code, and -2 behind it. The
//! reply header's error stays 0 all the same. In a `multiRead` every operation succeeds or fails alone.

use bytes::BytesMut;

use super::codes::{ErrorCode, OpCode};
use super::jute::{JuteError, Reader, Record};
use super::records::*;

/// Header before each operation and each result (`MultiHeader`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MultiHeader {
    op: i32,
    done: bool,
    err: i32,
}

const END: MultiHeader = MultiHeader { op: -1, done: true, err: -1 };

impl Record for MultiHeader {
    const MIN_BYTES: usize = 9;
    fn read(reader: &mut Reader) -> Result<MultiHeader, JuteError> {
        Ok(MultiHeader { op: reader.read()?, done: reader.read()?, err: reader.read()? })
    }
    fn write(&self, out: &mut BytesMut) {
        self.op.write(out);
        self.done.write(out);
        self.err.write(out);
    }
}

/// One operation of a multi (writes and checks) or a multiRead (`GetData`, `GetChildren`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiOp {
    Create(CreateRequest),
    Create2(CreateRequest),
    CreateContainer(CreateRequest),
    CreateTtl(CreateTtlRequest),
    Delete(DeleteRequest),
    SetData(SetDataRequest),
    Check(CheckVersionRequest),
    GetData(GetDataRequest),
    GetChildren(GetChildrenRequest),
}

impl MultiOp {
    /// Type of the operation.
    pub fn op(&self) -> OpCode {
        match self {
            MultiOp::Create(_) => OpCode::Create,
            MultiOp::Create2(_) => OpCode::Create2,
            MultiOp::CreateContainer(_) => OpCode::CreateContainer,
            MultiOp::CreateTtl(_) => OpCode::CreateTtl,
            MultiOp::Delete(_) => OpCode::Delete,
            MultiOp::SetData(_) => OpCode::SetData,
            MultiOp::Check(_) => OpCode::Check,
            MultiOp::GetData(_) => OpCode::GetData,
            MultiOp::GetChildren(_) => OpCode::GetChildren,
        }
    }

    /// Whether it belongs in a multiRead and not in a multi.
    pub fn is_read(&self) -> bool {
        matches!(self, MultiOp::GetData(_) | MultiOp::GetChildren(_))
    }
}

/// Body of a multi or multiRead request. Which of the two it is, the request header says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MultiRequest {
    pub ops: Vec<MultiOp>,
}

impl Record for MultiRequest {
    const MIN_BYTES: usize = MultiHeader::MIN_BYTES;

    fn read(reader: &mut Reader) -> Result<MultiRequest, JuteError> {
        let mut ops = Vec::new();
        loop {
            let header: MultiHeader = reader.read()?;
            if header.done {
                return Ok(MultiRequest { ops });
            }
            ops.push(match OpCode::from_i32(header.op) {
                Some(OpCode::Create) => MultiOp::Create(reader.read()?),
                Some(OpCode::Create2) => MultiOp::Create2(reader.read()?),
                Some(OpCode::CreateContainer) => MultiOp::CreateContainer(reader.read()?),
                Some(OpCode::CreateTtl) => MultiOp::CreateTtl(reader.read()?),
                Some(OpCode::Delete) => MultiOp::Delete(reader.read()?),
                Some(OpCode::SetData) => MultiOp::SetData(reader.read()?),
                Some(OpCode::Check) => MultiOp::Check(reader.read()?),
                Some(OpCode::GetData) => MultiOp::GetData(reader.read()?),
                Some(OpCode::GetChildren) => MultiOp::GetChildren(reader.read()?),
                _ => return Err(JuteError::NotInMulti(header.op)),
            });
        }
    }

    fn write(&self, out: &mut BytesMut) {
        for op in &self.ops {
            MultiHeader { op: op.op().as_i32(), done: false, err: -1 }.write(out);
            match op {
                MultiOp::Create(request) | MultiOp::Create2(request) | MultiOp::CreateContainer(request) => {
                    request.write(out);
                }
                MultiOp::CreateTtl(request) => request.write(out),
                MultiOp::Delete(request) => request.write(out),
                MultiOp::SetData(request) => request.write(out),
                MultiOp::Check(request) => request.write(out),
                MultiOp::GetData(request) => request.write(out),
                MultiOp::GetChildren(request) => request.write(out),
            }
        }
        END.write(out);
    }
}

/// Result of one operation of a multi or multiRead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiResult {
    Create(CreateResponse),
    /// Also the result of createContainer and createTTL.
    Create2(Create2Response),
    Delete,
    SetData(SetDataResponse),
    Check,
    GetData(GetDataResponse),
    GetChildren(GetChildrenResponse),
    /// The operation failed, or ([`ErrorCode::Ok`], [`ErrorCode::RuntimeInconsistency`]) stood before or behind the one that did.
    Error(ErrorCode),
}

/// Body of the answer to a multi or multiRead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MultiResponse {
    pub results: Vec<MultiResult>,
}

impl MultiResponse {
    /// The first real failure and the index of its operation: what a multi failed with.
    pub fn first_error(&self) -> Option<(usize, ErrorCode)> {
        self.results.iter().enumerate().find_map(|(index, result)| match result {
            MultiResult::Error(ErrorCode::Ok | ErrorCode::RuntimeInconsistency) => None,
            MultiResult::Error(code) => Some((index, *code)),
            _ => None,
        })
    }
}

impl Record for MultiResponse {
    const MIN_BYTES: usize = MultiHeader::MIN_BYTES;

    fn read(reader: &mut Reader) -> Result<MultiResponse, JuteError> {
        let mut results = Vec::new();
        loop {
            let header: MultiHeader = reader.read()?;
            if header.done {
                return Ok(MultiResponse { results });
            }
            results.push(match OpCode::from_i32(header.op) {
                Some(OpCode::Create) => MultiResult::Create(reader.read()?),
                Some(OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl) => {
                    MultiResult::Create2(reader.read()?)
                }
                Some(OpCode::Delete) => MultiResult::Delete,
                Some(OpCode::SetData) => MultiResult::SetData(reader.read()?),
                Some(OpCode::Check) => MultiResult::Check,
                Some(OpCode::GetData) => MultiResult::GetData(reader.read()?),
                Some(OpCode::GetChildren) => MultiResult::GetChildren(reader.read()?),
                Some(OpCode::Error) => MultiResult::Error(reader.read()?),
                _ => return Err(JuteError::NotInMulti(header.op)),
            });
        }
    }

    fn write(&self, out: &mut BytesMut) {
        for result in &self.results {
            let (op, err) = match result {
                MultiResult::Create(_) => (OpCode::Create, 0),
                MultiResult::Create2(_) => (OpCode::Create2, 0),
                MultiResult::Delete => (OpCode::Delete, 0),
                MultiResult::SetData(_) => (OpCode::SetData, 0),
                MultiResult::Check => (OpCode::Check, 0),
                MultiResult::GetData(_) => (OpCode::GetData, 0),
                MultiResult::GetChildren(_) => (OpCode::GetChildren, 0),
                MultiResult::Error(code) => (OpCode::Error, code.as_i32()),
            };
            MultiHeader { op: op.as_i32(), done: false, err }.write(out);
            match result {
                MultiResult::Create(response) => response.write(out),
                MultiResult::Create2(response) => response.write(out),
                MultiResult::SetData(response) => response.write(out),
                MultiResult::GetData(response) => response.write(out),
                MultiResult::GetChildren(response) => response.write(out),
                MultiResult::Error(code) => code.write(out),
                MultiResult::Delete | MultiResult::Check => {}
            }
        }
        END.write(out);
    }
}
