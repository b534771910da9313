//! The process, under the names every Prometheus client library uses.

use runtime::Clock;
use runtime::clock::Instant;

use crate::exposition::{Exposition, Kind};

/// When the process, as far as it is looked at, began.
#[derive(Debug)]
pub struct Process {
    /// Source of the time.
    pub clock: Clock,
    /// By the clock that only goes on.
    pub started: Instant,
    /// In ms since 1970.
    pub started_ms: i64,
}

impl Process {
    /// It begins now.
    #[must_use]
    pub fn new() -> Process {
        let clock = Clock::real();
        Process { clock, started: clock.now(), started_ms: clock.now_ms() }
    }
}

impl Default for Process {
    fn default() -> Process {
        Process::new()
    }
}

/// Writes whether it can do its work.
pub fn write_ready(out: &mut Exposition, ready: bool) {
    out.gauge("tidemill_ready", "Whether /readyz says so.", f64::from(u8::from(ready)));
}

/// Writes what the process uses, and what it is.
pub fn write(out: &mut Exposition, process: &Process) {
    let usage = runtime::usage::now();
    let mut build = out.family("tidemill_build_info", Kind::Gauge, "1, with the version of the program.");
    build.sample(&[("version", &env!("CARGO_PKG_VERSION"))], 1.0);
    out.counter(
        "process_cpu_seconds_total",
        "Time of all threads on a processor, in seconds.",
        usage.cpu.as_secs_f64(),
    );
    out.gauge(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970.",
        process.started_ms as f64 / 1e3,
    );
    let uptime = process.clock.now().saturating_duration_since(process.started);
    out.gauge("tidemill_uptime_seconds", "How long the process has been running, in seconds.", uptime.as_secs_f64());
    let known = [
        ("process_resident_memory_bytes", "Resident memory, in bytes.", usage.resident_bytes),
        ("process_virtual_memory_bytes", "Address space, in bytes.", usage.virtual_bytes),
        ("process_threads", "Threads.", usage.threads),
        ("process_open_fds", "Open files, sockets among them.", usage.open_files),
        ("process_max_fds", "How many files may be open.", usage.open_files_max),
    ];
    for (name, help, value) in known {
        if let Some(value) = value {
            out.gauge(name, help, value as f64);
        }
    }
}
