//! Waiting for the end of a server: SIGINT or SIGTERM asks for a clean stop, a second one ends the process at once.

use std::io;
use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of a process that a second signal cut short: 128 + SIGINT, as shells report it.
const CUT_SHORT: i32 = 130;

/// The two signals that stop a server.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Takes both signals over from the kernel's default, which would end the process at once.
    ///
    /// # Errors
    /// Where the kernel gives no handler.
    pub fn listen() -> io::Result<StopSignals> {
        Ok(StopSignals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Resumes at the first signal.
    pub async fn first(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// From now on a signal ends the process at once.
    pub fn second_ends_at_once(mut self) {
        runtime::spawn(async move {
            self.first().await;
            eprintln!("stopped at once by a second signal; the next start recovers");
            process::exit(CUT_SHORT);
        });
    }
}
