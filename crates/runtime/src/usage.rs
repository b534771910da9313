//! What this process uses of its machine, as the kernel counts it.
//!
//! For pages and metrics alone. Where the kernel does not tell (no `/proc`), a figure is absent.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What a process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time of all its threads on a processor.
    pub cpu: Duration,
    /// Memory that is resident, in bytes.
    pub resident_bytes: Option<u64>,
    /// Address space, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open files, sockets among them.
    pub open_files: Option<u64>,
    /// How many may be open (`ulimit -n`); none for no limit.
    pub open_files_max: Option<u64>,
}

/// What this process uses now.
#[must_use]
pub fn now() -> Usage {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |key| field(&status, key).map(|kib| kib.saturating_mul(1024));
    Usage {
        cpu: Duration::new(cpu.tv_sec.unsigned_abs(), u32::try_from(cpu.tv_nsec).unwrap_or_default()),
        resident_bytes: kib("VmRSS:"),
        virtual_bytes: kib("VmSize:"),
        threads: field(&status, "Threads:"),
        // The listing itself has one open.
        open_files: fs::read_dir("/proc/self/fd").ok().map(|files| (files.count() as u64).saturating_sub(1)),
        open_files_max: getrlimit(Resource::Nofile).current,
    }
}

/// Whether this process was started with the signal of this number ignored, as `nohup` does with SIGHUP.
#[must_use]
pub fn ignores_signal(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    (1..=64).contains(&number) && mask >> (number - 1) & 1 == 1
}

/// The number behind a key of `/proc/self/status`.
fn field(status: &str, key: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_keys() {
        let status = "Name:\tx\nVmRSS:\t   11700 kB\nThreads:\t9\n";
        assert_eq!((field(status, "VmRSS:"), field(status, "Threads:")), (Some(11700), Some(9)));
        assert_eq!((field(status, "VmSize:"), field("VmRSS:\n", "VmRSS:")), (None, None));
    }

    #[test]
    fn this_process_uses_something() {
        let before = now();
        let file = fs::File::open("/proc/self/status").unwrap();
        let after = now();
        assert!(after.cpu >= before.cpu && after.resident_bytes > Some(100_000), "{after:?}");
        assert!(after.threads >= Some(1) && after.open_files >= Some(3), "{after:?}");
        drop(file);
    }
}
