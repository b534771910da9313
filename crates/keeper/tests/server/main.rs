//! The keeper as clients meet it: real sockets, real files, exact bytes.

mod common;
mod durability;
mod limits;
mod sessions;
mod watches;
mod wire;
