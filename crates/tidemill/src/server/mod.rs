//! The server processes: keeper, broker, and both in one.
//!
//! A server logs to stderr, says when it is ready, and stops cleanly on SIGINT or SIGTERM; a second signal ends it at once.
//!
//! # Layout
//! - [`signals`]: waiting for the end
//! - [`daemon`]: `-daemon`, and stopping a process through the lock file it holds
//! - [`logging`]: the log on stderr; [`recovery`]: how far the loading of logs is
//! - [`http`]: where the console answers

pub mod broker;
pub mod daemon;
pub mod http;
pub mod keeper;
pub mod logging;
pub mod recovery;
pub mod signals;
pub mod standalone;
