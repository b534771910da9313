//! The server processes: keeper, broker, and both in one.
//!
//! A server logs to stderr, prints one line when it is ready, and stops cleanly on SIGINT or SIGTERM; a second signal ends it at once.
//!
//! # Layout
//! - [`signals`]: waiting for the end
//! - [`daemon`]: `-daemon`, and stopping a process through the lock file it holds
//! - [`logging`]: the log on stderr

pub mod broker;
pub mod daemon;
pub mod keeper;
pub mod logging;
pub mod signals;
pub mod standalone;
