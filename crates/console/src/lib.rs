//! What a running server or job shows over HTTP: its metrics, whether it lives, whether it is ready. It is fed by plain snapshots of the crates below, and changes nothing.
//!
//! # Layout
//! - [`board`]: the servers of a process that are looked at
//! - [`job`]: a streaming job that is looked at, on Spark's port
//! - [`readiness`]: whether it can do its work, and if not, why
//! - [`exposition`]: Prometheus' text format; [`windows`]: quantiles of the last minute or two
//! - [`metrics`]: which figure goes by which names
//! - [`routes`]: paths to answers
//! - [`server`]: the thread, its listener and its limits; [`io`]: our streams as hyper reads them
//!
//! # Invariants
//! - Nothing can be changed through it: only GET and HEAD are answered, and no request body is read.
//! - Connections, their age, headers and the time for an answer have limits; a slow client or a slow disk costs the servers nothing, for the console has a thread of its own.
//! - `/healthz` answers from that thread alone, whatever the rest of the process waits for.
//!
//! # Example
//! ```no_run
//! # use tidemill_console as console;
//! # fn run() -> std::io::Result<()> {
//! let mut board = console::Board::new();
//! let monitor = board.expect_broker();
//! let console = console::Console::start("127.0.0.1:8080".parse().unwrap(), board)?;
//! // Broker::start_in(config, Surroundings { monitor, .. }) follows; /readyz tells how far it is.
//! console.stop();
//! # Ok(())
//! # }
//! ```

pub mod board;
pub mod exposition;
pub mod io;
#[cfg(feature = "streaming")]
pub mod job;
pub mod metrics;
pub mod readiness;
pub mod routes;
pub mod server;
pub mod windows;

pub use board::Board;
pub use server::Console;
