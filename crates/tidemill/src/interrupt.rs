//! SIGINT and SIGTERM of a tool that runs until it is stopped. The exit codes are those of Kafka's tools, whose JVM ends with 128 and the signal's
//! number however clean the end was.

use std::io;
use std::process;
use std::time::Duration;

use runtime::Clock;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Failure;

/// A clean end that takes longer than this says what it waits for.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// The two signals that stop a tool.
pub struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

/// Which of them came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: `kill`.
    Terminate,
}

impl Interrupted {
    /// What a shell sees: 130 or 143.
    pub fn exit_code(self) -> u8 {
        match self {
            Interrupted::Interrupt => 130,
            Interrupted::Terminate => 143,
        }
    }

    /// The end of a tool that was stopped and left nothing undone.
    pub fn as_failure(self) -> Failure {
        Failure::silent(self.exit_code())
    }
}

impl Interrupt {
    /// Takes both over from the kernel's default, which would end the process at once.
    ///
    /// # Errors
    /// Where the kernel gives no handler.
    pub fn listen() -> io::Result<Interrupt> {
        Ok(Interrupt { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Resumes at the next signal.
    pub async fn next(&mut self) -> Interrupted {
        tokio::select! {
            _ = self.interrupt.recv() => Interrupted::Interrupt,
            _ = self.terminate.recv() => Interrupted::Terminate,
        }
    }

    /// The first signal as something that can be looked at whenever there is time; the second one ends the process at once, whatever it waits for. `unfinished` says, where
    /// anything is, what the clean end in between waits for, and what the second signal gives up.
    pub fn watch(
        mut self,
        unfinished: impl Fn() -> Option<String> + Send + 'static,
    ) -> watch::Receiver<Option<Interrupted>> {
        let (tell, first) = watch::channel(None);
        runtime::spawn(async move {
            let clock = Clock::real();
            // Whoever looks may have ended.
            let _ = tell.send(Some(self.next().await));
            let second = tokio::select! {
                biased;
                second = self.next() => second,
                () = clock.sleep(QUIET_MAX) => {
                    if let Some(what) = unfinished() {
                        eprintln!("note: waiting for {what}; a second signal gives up");
                    }
                    self.next().await
                }
            };
            if let Some(what) = unfinished() {
                eprintln!("WARN gave up {what}");
            }
            process::exit(i32::from(second.exit_code()));
        });
        first
    }

    /// From now on a signal ends the process at once: whoever asks twice does not want to wait for the clean end.
    pub fn second_ends_at_once(mut self) {
        runtime::spawn(async move {
            let interrupted = self.next().await;
            process::exit(i32::from(interrupted.exit_code()));
        });
    }
}
