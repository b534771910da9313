//! The keeper as clients meet it: real sockets, real files, exact bytes.

mod common;
mod durability;
mod failing_disk;
mod full_disk;
mod limits;
mod sessions;
mod watches;
mod wire;
