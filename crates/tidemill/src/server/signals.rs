//! Waiting for the end of a server: SIGINT or SIGTERM asks for a clean stop, a second one ends the process at once.
//!
//! Always true: signals are taken on a thread of their own, so that the second one counts whatever the rest of the process waits for; a clean stop that takes longer than
//! [`CLEAN_STOP_MAX`] is cut short.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::Clock;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info};

use super::logging::Log;

/// Longest clean stop, below the 90 s after which systemd loses its patience.
const CLEAN_STOP_MAX: Duration = Duration::from_secs(60);
/// Number of SIGHUP.
const SIGHUP: u32 = 1;

/// The signals that stop a server.
pub struct StopSignals {
    asked: watch::Receiver<bool>,
    stopping: Arc<AtomicBool>,
}

/// The signals of one process.
struct Taken {
    interrupt: Signal,
    terminate: Signal,
    /// None where it was ignored at the start (`nohup`), and is to stay so.
    hang_up: Option<Signal>,
}

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Interrupt,
    Terminate,
    HangUp,
}

impl Came {
    /// What a shell sees of a process that it ended.
    fn exit_code(self) -> i32 {
        match self {
            Came::HangUp => 129,
            Came::Interrupt => 130,
            Came::Terminate => 143,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Came::HangUp => "SIGHUP",
            Came::Interrupt => "SIGINT",
            Came::Terminate => "SIGTERM",
        }
    }
}

impl StopSignals {
    /// Takes the signals over from the kernel's default, which would end the process at once. SIGHUP, which a closing terminal sends, asks for a stop too, unless the levels
    /// of `log` stand in a file: then it reads them again.
    ///
    /// # Errors
    /// Where the kernel gives no handler or no thread.
    pub fn listen(log: &Arc<Log>) -> io::Result<StopSignals> {
        let (ask, asked) = watch::channel(false);
        let stopping = Arc::new(AtomicBool::new(false));
        let (log, seen) = (log.clone(), stopping.clone());
        let (tell, taken) = std::sync::mpsc::sync_channel(1);
        runtime::thread("signals", move || {
            let runtime = match runtime::spawn::current_thread() {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell.send(Err(error))),
            };
            runtime.block_on(async {
                match Taken::from_kernel(&log) {
                    Ok(signals) => {
                        // Whoever starts the server waits for this.
                        let _ = tell.send(Ok(()));
                        signals.watch(&log, &ask, &seen).await;
                    }
                    Err(error) => drop(tell.send(Err(error))),
                }
            });
        })?;
        taken.recv().unwrap_or_else(|_| Err(io::Error::other("the thread of the signals ended")))?;
        Ok(StopSignals { asked, stopping })
    }

    /// Resumes at the first signal.
    pub async fn first(&mut self) {
        // A sender that is gone is a thread that is gone: nothing will come any more.
        if self.asked.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The server stops by itself: already the next signal ends the process at once.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}

impl Taken {
    fn from_kernel(log: &Log) -> io::Result<Taken> {
        let takes_hang_up = log.file().is_some() || !runtime::usage::ignores_signal(SIGHUP);
        Ok(Taken {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: takes_hang_up.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    /// Ends the process, or never.
    async fn watch(mut self, log: &Log, ask: &watch::Sender<bool>, stopping: &AtomicBool) {
        let clock = Clock::real();
        let mut cut_short_at = None;
        loop {
            let came = tokio::select! {
                biased;
                came = self.next() => came,
                () = until(clock, cut_short_at) => {
                    error!("the clean stop took longer than {} s; the next start recovers", CLEAN_STOP_MAX.as_secs());
                    process::exit(1);
                }
            };
            if came == Came::HangUp && log.file().is_some() {
                log.reread();
                continue;
            }
            if stopping.swap(true, Ordering::AcqRel) {
                error!(signal = came.name(), "stopped at once by a second signal; the next start recovers");
                process::exit(came.exit_code());
            }
            info!(signal = came.name(), "stopping; a second signal stops at once");
            cut_short_at = Some(clock.now() + CLEAN_STOP_MAX);
            ask.send_replace(true);
        }
    }

    async fn next(&mut self) -> Came {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Came::Terminate,
            _ = self.interrupt.recv() => Came::Interrupt,
            _ = hang_up => Came::HangUp,
        }
    }
}

async fn until(clock: Clock, deadline: Option<runtime::clock::Instant>) {
    match deadline {
        Some(deadline) => clock.sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
