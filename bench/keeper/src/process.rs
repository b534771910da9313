//! CPU time and memory of a process of this machine, out of /proc.

use std::fs;

/// A process.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    pub pid: u32,
}

impl Process {
    /// This program itself.
    pub fn own() -> Process {
        Process { pid: std::process::id() }
    }

    /// CPU seconds it has used, user and system, all threads.
    pub fn cpu_s(self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The name in parentheses may hold anything; behind it, fields 12 and 13 are ticks of user and system time.
        let Some(behind_name) = stat.rfind(')').and_then(|end| stat.get(end + 2..)) else { return 0.0 };
        let ticks = |field: &str| field.parse::<f64>().unwrap_or(0.0);
        const TICKS_PER_SECOND: f64 = 100.0;
        behind_name.split(' ').skip(11).take(2).map(ticks).sum::<f64>() / TICKS_PER_SECOND
    }

    /// Resident memory in MiB.
    pub fn rss_mib(self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }
}
