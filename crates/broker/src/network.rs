//! Sockets to requests and back: one acceptor per listener, one task per connection.
//!
//! Always true: a frame's size is checked before a byte is set aside for it; answers leave a connection in the order its requests came; the bytes of requests held in
//! memory, over all connections, stay under one budget; nothing here knows what a request means.
//!
//! # Layout
//! - [`budget`]: the budget of request bytes
//! - [`pool`]: buffers for large frames
//! - [`frame`]: cutting frames, and what bytes look like that are none
//! - [`input`]: bytes to frames
//! - [`response`]: a list of bytes and file slices, and how it is sent
//! - [`connection`]: the life of one connection
//! - [`acceptor`]: listeners and the limits of connections

pub mod acceptor;
pub mod budget;
pub mod connection;
pub mod frame;
pub mod input;
pub mod pool;
pub mod response;

pub use acceptor::{Acceptors, BoundListener};
pub use connection::{Answer, Service};
pub use response::{FileSlice, Response};
