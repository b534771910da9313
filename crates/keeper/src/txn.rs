//! A transaction: what one write did to the tree and the sessions, with all that was decided (time, versions, names), so that doing it again gives the same.
//!
//! It is what the log holds. Every zxid has one, failed writes too, so that zxids have no gaps and never go back after a restart.

use bytes::{Bytes, BytesMut};
use protocol::zookeeper::{Acl, JuteError, PASSWORD_BYTES, Reader, Record};

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Txn {
    pub(crate) zxid: i64,
    /// Wall time in milliseconds since 1970: ctime and mtime of what it touches.
    pub(crate) time_ms: i64,
    /// Session that asked for it.
    pub(crate) session: i64,
    /// None for a failed write, several for a multi.
    pub(crate) ops: Vec<TxnOp>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TxnOp {
    CreateSession {
        session: i64,
        timeout_ms: i32,
        password: [u8; PASSWORD_BYTES],
    },
    /// The session ends, and with it exactly these nodes.
    CloseSession {
        session: i64,
        ephemerals: Vec<String>,
    },
    Create {
        path: String,
        data: Option<Bytes>,
        acl: Vec<Acl>,
        /// As stored: 0, a session id, or one of the marks of [`crate::tree::owner`].
        owner: i64,
        /// The parent's stored cversion after it.
        parent_cversion: i32,
    },
    Delete {
        path: String,
    },
    SetData {
        path: String,
        data: Option<Bytes>,
        /// The version after it.
        version: i32,
    },
    SetAcl {
        path: String,
        acl: Vec<Acl>,
        /// The aversion after it.
        version: i32,
    },
    /// A version check inside a multi: changes nothing.
    Check {
        path: String,
    },
    /// The write failed with this error.
    Failed {
        error: i32,
    },
}

const CREATE_SESSION: i32 = 1;
const CLOSE_SESSION: i32 = 2;
const CREATE: i32 = 3;
const DELETE: i32 = 4;
const SET_DATA: i32 = 5;
const SET_ACL: i32 = 6;
const CHECK: i32 = 7;
const FAILED: i32 = 8;

/// Why a logged transaction cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TxnError {
    #[error("{0}")]
    Jute(#[from] JuteError),
    #[error("unknown kind of change {0}")]
    Kind(i32),
}

impl Txn {
    /// Appends all but the zxid, which the log keeps beside it.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        self.time_ms.write(out);
        self.session.write(out);
        (self.ops.len() as i32).write(out);
        self.ops.iter().for_each(|op| op.write(out));
    }

    pub(crate) fn read(zxid: i64, body: Bytes) -> Result<Txn, TxnError> {
        let mut reader = Reader::new(body);
        let (time_ms, session, count) = (reader.read()?, reader.read()?, reader.read::<i32>()?);
        let mut ops = Vec::new();
        for _ in 0..count {
            ops.push(TxnOp::read(&mut reader)?);
        }
        Ok(Txn { zxid, time_ms, session, ops })
    }
}

impl TxnOp {
    fn write(&self, out: &mut BytesMut) {
        match self {
            TxnOp::CreateSession { session, timeout_ms, password } => {
                CREATE_SESSION.write(out);
                session.write(out);
                timeout_ms.write(out);
                out.extend_from_slice(password);
            }
            TxnOp::CloseSession { session, ephemerals } => {
                CLOSE_SESSION.write(out);
                session.write(out);
                ephemerals.write(out);
            }
            TxnOp::Create { path, data, acl, owner, parent_cversion } => {
                CREATE.write(out);
                path.write(out);
                data.write(out);
                acl.write(out);
                owner.write(out);
                parent_cversion.write(out);
            }
            TxnOp::Delete { path } => {
                DELETE.write(out);
                path.write(out);
            }
            TxnOp::SetData { path, data, version } => {
                SET_DATA.write(out);
                path.write(out);
                data.write(out);
                version.write(out);
            }
            TxnOp::SetAcl { path, acl, version } => {
                SET_ACL.write(out);
                path.write(out);
                acl.write(out);
                version.write(out);
            }
            TxnOp::Check { path } => {
                CHECK.write(out);
                path.write(out);
            }
            TxnOp::Failed { error } => {
                FAILED.write(out);
                error.write(out);
            }
        }
    }

    fn read(reader: &mut Reader) -> Result<TxnOp, TxnError> {
        Ok(match reader.read()? {
            CREATE_SESSION => TxnOp::CreateSession {
                session: reader.read()?,
                timeout_ms: reader.read()?,
                password: read_password(reader)?,
            },
            CLOSE_SESSION => TxnOp::CloseSession { session: reader.read()?, ephemerals: reader.read()? },
            CREATE => TxnOp::Create {
                path: reader.read()?,
                data: reader.read()?,
                acl: reader.read()?,
                owner: reader.read()?,
                parent_cversion: reader.read()?,
            },
            DELETE => TxnOp::Delete { path: reader.read()? },
            SET_DATA => TxnOp::SetData { path: reader.read()?, data: reader.read()?, version: reader.read()? },
            SET_ACL => TxnOp::SetAcl { path: reader.read()?, acl: reader.read()?, version: reader.read()? },
            CHECK => TxnOp::Check { path: reader.read()? },
            FAILED => TxnOp::Failed { error: reader.read()? },
            kind => return Err(TxnError::Kind(kind)),
        })
    }
}

/// A password is written bare: two longs.
pub(crate) fn read_password(reader: &mut Reader) -> Result<[u8; PASSWORD_BYTES], JuteError> {
    let (high, low): (i64, i64) = (reader.read()?, reader.read()?);
    let mut password = [0; PASSWORD_BYTES];
    password[..8].copy_from_slice(&high.to_be_bytes());
    password[8..].copy_from_slice(&low.to_be_bytes());
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_change_comes_back_from_its_bytes() {
        let data = Some(Bytes::from_static(b"data"));
        let ops = vec![
            TxnOp::CreateSession { session: 7, timeout_ms: 4000, password: *b"0123456789abcdef" },
            TxnOp::CloseSession { session: 7, ephemerals: vec!["/a".into(), "/b".into()] },
            TxnOp::Create { path: "/a".into(), data: data.clone(), acl: Acl::open(), owner: 7, parent_cversion: 1 },
            TxnOp::Delete { path: "/a".into() },
            TxnOp::SetData { path: "/a".into(), data, version: 2 },
            TxnOp::SetAcl { path: "/a".into(), acl: Acl::open(), version: 3 },
            TxnOp::Check { path: "/a".into() },
            TxnOp::Failed { error: -110 },
        ];
        let txn = Txn { zxid: 9, time_ms: 1, session: 7, ops };
        let mut out = BytesMut::new();
        txn.write(&mut out);
        let body = out.freeze();
        assert_eq!(Txn::read(9, body.clone()), Ok(txn));
        for cut in 0..body.len() {
            assert!(Txn::read(9, body.slice(..cut)).is_err(), "cut at {cut}");
        }
    }
}
