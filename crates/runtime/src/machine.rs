//! What this machine says, for people to read: who listens on a port, how many files this process may hold open, why a call failed.
//!
//! For messages alone: nothing the program does depends on these answers, and where the system does not tell (another user's process, no
//! `/proc`), there is none.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Processes looked through for the holder of a port; on a machine with more, the port may have to do without a name.
const PROCESSES_MAX: usize = 32_768;

/// State of a listening socket in `/proc/net/tcp` (`TCP_LISTEN`).
const LISTENING: &str = "0A";

/// A process, as it is told to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// The name of its program: `java`.
    pub program: String,
    /// Its command line.
    pub words: Vec<String>,
}

impl Process {
    /// The process of this id; its name is empty where the system does not tell it.
    #[must_use]
    pub fn of(pid: u32) -> Process {
        let folder = Path::new("/proc").join(pid.to_string());
        let program = fs::read_to_string(folder.join("comm")).unwrap_or_default().trim_end().to_owned();
        let line = fs::read(folder.join("cmdline")).unwrap_or_default();
        let words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let words = words.filter(|word| !word.is_empty()).collect();
        Process { pid, program, words }
    }
}

impl std::fmt::Display for Process {
    /// `process 1234 (java)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}", self.pid)?;
        if self.program.is_empty() { Ok(()) } else { write!(f, " ({})", self.program) }
    }
}

/// The process that listens on a TCP port of this machine, on any address. `None` where nobody does, or where this user may not see who.
#[must_use]
pub fn port_holder(port: u16) -> Option<Process> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let sockets: Vec<String> = tables.iter().flat_map(|table| listening_inodes(table, port)).collect();
    if sockets.is_empty() {
        return None;
    }
    let is_one = |link: &Path| fs::read_link(link).is_ok_and(|to| sockets.iter().any(|name| to.as_os_str() == &**name));
    let mut pids = fs::read_dir("/proc").ok()?.take(PROCESSES_MAX).flatten();
    pids.find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let mut files = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        files.any(|file| is_one(&file.path())).then(|| Process::of(pid))
    })
}

/// `socket:[INODE]` of every socket in the table that listens on the port.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let of_line = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (_, listened) = columns.get(1)?.rsplit_once(':')?;
        let wanted = u16::from_str_radix(listened, 16) == Ok(port) && *columns.get(3)? == LISTENING;
        wanted.then(|| columns.get(9).map(|inode| format!("socket:[{inode}]")))?
    };
    table.lines().skip(1).filter_map(of_line).collect()
}

/// Raises this process's limit of open files to what the system allows it (`RLIMIT_NOFILE`, soft to hard), as a JVM does, and gives the limit that
/// then holds; `None` for no limit.
#[must_use]
pub fn raise_open_files_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Where it is refused the old limit holds, and that is what is told.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current
}

/// What the system said, without the number that nobody looks up: `Connection refused (os error 111)` is `Connection refused`.
#[must_use]
pub fn without_number(said: &str) -> &str {
    said.split(" (os error").next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_this_process() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let holder = port_holder(port).expect("this very process listens");
        assert_eq!(holder.pid, std::process::id());
        assert!(holder.to_string().starts_with(&format!("process {} (", holder.pid)), "{holder}");
        drop(socket);
        assert_eq!(port_holder(port), None);
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     0: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n\
                     1: 0100007F:2384 0100007F:8000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n\
                     2: 0100007F:2385 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0\n\
                     3: cut\n";
        assert_eq!(listening_inodes(table, 0x2384), ["socket:[4711]"]);
        assert_eq!(listening_inodes(table, 1), [""; 0]);
    }

    #[test]
    fn open_files_may_be_as_many_as_the_system_allows() {
        assert_eq!(raise_open_files_limit(), getrlimit(Resource::Nofile).maximum);
    }
}
