//! ZooKeeper's wire protocol: jute records, one struct for each request and reply, in both directions.
//!
//! A frame is a big-endian `i32` length and a body. The first body on a connection is a [`ConnectRequest`] and its answer a [`ConnectResponse`]; after
//! that every request is a [`RequestHeader`] and the record of its [`OpCode`], every reply a [`ReplyHeader`] and, only when its error is
//! [`ErrorCode::Ok`], the record of that operation. Both the keeper and the client use these types, so each can be read and written.
//!
//! What is always true here: a reader takes no more memory than the bytes it was given pay for, and never panics on them.
//!
//! # Layout
//! - [`jute`]: the encoding: [`Record`], [`Reader`], frames
//! - [`codes`]: the numbers: operations, errors, create modes, permissions, event types
//! - [`records`]: the structs of the handshake, the headers and all operations
//! - [`multi`]: `multi` and `multiRead`, which have a framing of their own
//! - [`path`]: what a znode path may look like, and its parts

pub mod codes;
pub mod jute;
pub mod multi;
pub mod path;
pub mod records;

pub use codes::{AddWatchMode, CreateMode, ErrorCode, EventType, KeeperState, OpCode, WatcherType, perms, xid};
pub use jute::{JuteError, MAX_FRAME_BYTES, Reader, Record, frame, frame_length};
pub use multi::{MultiOp, MultiRequest, MultiResponse, MultiResult};
pub use records::*;

#[cfg(test)]
mod tests;
