//! The log of a server process on stderr: for people on a terminal, one JSON object a line otherwise where asked for.
//!
//! `TIDEMILL_LOG` holds the levels (`info`, `warn,broker=debug`); the default shows `info` of our own crates.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Environment variable with the levels.
const LEVELS: &str = "TIDEMILL_LOG";

/// Starts logging at `default` unless the environment says otherwise. A second call changes nothing.
pub fn start(default: &str) {
    let filter = EnvFilter::try_from_env(LEVELS).unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // It fails only where a subscriber is set already: demo and standalone start several servers in one process.
    let _ = subscriber.try_init();
}
