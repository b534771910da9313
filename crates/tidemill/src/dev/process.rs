//! The process of a member: started in the background, found again by its pid file, ended by a signal.
//!
//! A pid file may be stale: the process it names counts only if it runs this very member, which its command line says.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use runtime::Clock;
use runtime::machine::Process;
use rustix::process::{Pid, Signal, kill_process};

use super::cluster::{Folder, Role};
use crate::failure::Failure;

/// How long a process may take for its clean end.
const STOP_WAIT_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether it has.
const STOP_POLL: Duration = Duration::from_millis(50);
/// Most of a log that is read for the reason of an end.
const LOG_TAIL_BYTES_MAX: u64 = 16 << 10;

/// Whether a member runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As this process.
    Running(u32),
    /// The process that a pid file names is gone, or is another program now.
    Gone(u32),
    /// It has no pid file.
    Stopped,
}

/// Looks for the process of a member.
pub fn state(folder: &Folder, role: Role) -> State {
    let text = fs::read_to_string(folder.pid(role)).unwrap_or_default();
    match text.trim().parse() {
        Ok(pid) if is_member(&Process::of(pid).words, folder, role) => State::Running(pid),
        Ok(pid) => State::Gone(pid),
        Err(_) => State::Stopped,
    }
}

/// Whether a command line is that of the member.
fn is_member(words: &[String], folder: &Folder, role: Role) -> bool {
    let properties = folder.properties(role);
    matches!(words, [_, tool, file, ..] if tool == role.tool() && Path::new(file) == properties)
}

/// A process that was started just now.
pub struct Started {
    /// What it is.
    pub role: Role,
    child: Child,
    /// Where its part of the log begins.
    log_from: u64,
}

/// Starts a member in the background, in a process group of its own, with all it says in its log.
pub fn start(folder: &Folder, role: Role) -> Result<Started, Failure> {
    let cannot = |error: std::io::Error| Failure::new(format!("cannot start {role}")).cause(error);
    let program = std::env::current_exe().map_err(cannot)?;
    let open = || OpenOptions::new().create(true).append(true).open(folder.log(role));
    let (out, err) = open().and_then(|out| Ok((out, open()?))).map_err(cannot)?;
    let log_from = out.metadata().map_err(cannot)?.len();
    let mut command = Command::new(program);
    command.arg(role.tool()).arg(folder.properties(role));
    // Its log is read by people, unless they have said otherwise.
    if std::env::var_os("TIDEMILL_LOG_FORMAT").is_none() {
        command.env("TIDEMILL_LOG_FORMAT", "human");
    }
    let child = command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).spawn().map_err(cannot)?;
    fs::write(folder.pid(role), format!("{}\n", child.id())).map_err(cannot)?;
    Ok(Started { role, child, log_from })
}

impl Started {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What is said where it has ended; `None` while it runs.
    pub fn ended(&mut self, folder: &Folder) -> Option<Failure> {
        let status = self.child.try_wait().ok().flatten()?;
        let log = folder.log(self.role);
        let code = status.code().map_or("by a signal".to_owned(), |code| format!("with exit code {code}"));
        let failure = Failure::new(format!("{} ended {code} before it served", self.role));
        let failure = match last_words(&tail(&log, self.log_from)) {
            Some(words) => failure.cause(words),
            None => failure,
        };
        Some(failure.help(format!("tail {}", log.display())))
    }
}

/// The end of a log from `from` on.
fn tail(path: &Path, from: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(LOG_TAIL_BYTES_MAX))))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// What a server said at its end: its first line, and its cause where it told one.
fn last_words(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let end = lines.iter().rposition(|line| !line.starts_with("help: ") && !line.starts_with("cause: "))?;
    let said = lines[end].trim_start_matches("error: ");
    Some(match lines.get(end + 1).and_then(|line| line.strip_prefix("cause: ")) {
        Some(cause) => format!("{said} ({cause})"),
        None => said.to_owned(),
    })
}

/// Asks the process of a member to stop, waits until it is gone, and removes its pid file.
pub fn stop(folder: &Folder, role: Role, pid: u32) -> Result<(), Failure> {
    let cannot = |cause: String| Failure::new(format!("cannot stop {role}, process {pid}")).cause(cause);
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = process.ok_or_else(|| cannot("its pid file holds no process id".to_owned()))?;
    let clock = Clock::real();
    let deadline = clock.now() + STOP_WAIT_MAX;
    if let Err(error) = kill_process(process, Signal::TERM)
        && state(folder, role) == State::Running(pid)
    {
        return Err(cannot(error.to_string()));
    }
    while state(folder, role) == State::Running(pid) {
        if clock.now() >= deadline {
            return Err(Failure::new(format!(
                "{role}, process {pid}, did not stop within {} s",
                STOP_WAIT_MAX.as_secs()
            ))
            .help(format!("kill -9 {pid}   (it recovers when it is started again)")));
        }
        clock.block_for(STOP_POLL);
    }
    forget(folder, role);
    Ok(())
}

/// Removes a pid file; one that cannot be removed is stale, and is seen to be.
pub fn forget(folder: &Folder, role: Role) {
    let _ = fs::remove_file(folder.pid(role));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_counts_only_for_the_process_it_was_written_for() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(place.path()).unwrap();
        let role = Role::Broker(1);
        assert_eq!(state(&folder, role), State::Stopped);
        fs::write(folder.pid(role), "rubbish").unwrap();
        assert_eq!(state(&folder, role), State::Stopped);
        // This process lives, and is no broker.
        let me = std::process::id();
        fs::write(folder.pid(role), me.to_string()).unwrap();
        assert_eq!(state(&folder, role), State::Gone(me));
        let words =
            |tool: &str, file: &Path| vec!["x/tidemill".to_owned(), tool.to_owned(), file.display().to_string()];
        assert!(is_member(&words("kafka-server-start", &folder.properties(role)), &folder, role));
        assert!(!is_member(&words("kafka-server-start", &folder.properties(Role::Broker(2))), &folder, role));
        assert!(!is_member(&words("zookeeper-server-start", &folder.properties(role)), &folder, role));
        assert!(!is_member(&[], &folder, role));
    }

    #[test]
    fn what_a_server_said_last_is_why_it_ended() {
        let check = |log: &str, expected: Option<&str>| assert_eq!(last_words(log).as_deref(), expected, "{log}");
        check("", None);
        check("error: no\ncause: why\nhelp: do\n", Some("no (why)"));
        check("INFO a\n\nSocket server failed to bind\nhelp: do\n", Some("Socket server failed to bind"));
        check("help: do\n", None);
    }
}
