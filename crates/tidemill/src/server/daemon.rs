//! `-daemon`: the server in the background with its talk in `logs/`; and stopping a server through the process id in the lock file it holds.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use runtime::{Clock, Disk};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::failure::Failure;

/// How long a stop waits for the process to be gone.
const STOP_WAIT_MAX: Duration = Duration::from_secs(60);
/// How often it looks.
const STOP_POLL: Duration = Duration::from_millis(50);

/// Starts this program again as `tool words...` in the background, in a process group of its own, with stdout and stderr in
/// `logs/<tool>.out` of the current folder. Gives once the process runs; whether it comes up is in that file.
pub fn start(tool: &str, words: &[String]) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::new("cannot find this program").cause(error))?;
    let directory = std::env::var_os("LOG_DIR").map_or_else(|| PathBuf::from("logs"), PathBuf::from);
    fs::create_dir_all(&directory)
        .map_err(|error| Failure::new(format!("cannot make {}", directory.display())).cause(error))?;
    let path = directory.join(format!("{tool}.out"));
    let open = || fs::OpenOptions::new().create(true).append(true).open(&path);
    let (out, err) = open()
        .and_then(|out| Ok((out, open()?)))
        .map_err(|error| Failure::new(format!("cannot write {}", path.display())).cause(error))?;
    let child = Command::new(program)
        .arg(tool)
        .args(words)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0)
        .spawn()
        .map_err(|error| Failure::new("cannot start the server in the background").cause(error))?;
    eprintln!("started as process {}; its log is {}", child.id(), path.display());
    Ok(())
}

/// Asks the process that holds `lock` to stop, and waits until it is gone.
pub fn stop(what: &str, lock: &Path) -> Result<(), Failure> {
    let disk = Disk::real();
    let none = || {
        Failure::verbatim(format!("No {what} to stop")).help(match what {
            "kafka server" => "bin/kafka-server-start.sh config/server.properties",
            _ => "bin/zookeeper-server-start.sh config/zookeeper.properties",
        })
    };
    // A lock that can be taken has no living holder, whatever process id an earlier one left in it.
    match disk.exists(lock).then(|| disk.try_lock(lock)) {
        None | Some(Ok(Some(_))) => return Err(none().cause(format!("nobody holds {}", lock.display()))),
        Some(Err(error)) => return Err(Failure::new(format!("cannot look at {}", lock.display())).cause(error)),
        Some(Ok(None)) => {}
    }
    let holder =
        disk.lock_holder(lock).and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw).ok_or_else(none)?;
    kill_process(holder, Signal::TERM)
        .map_err(|error| Failure::new(format!("cannot stop process {}", holder.as_raw_nonzero())).cause(error))?;
    let clock = Clock::real();
    let deadline = clock.now() + STOP_WAIT_MAX;
    while test_kill_process(holder).is_ok() {
        if clock.now() >= deadline {
            let pid = holder.as_raw_nonzero();
            return Err(Failure::new(format!("process {pid} did not stop within {STOP_WAIT_MAX:?}"))
                .help(format!("kill {pid}   (a second signal ends it at once)")));
        }
        clock.block_for(STOP_POLL);
    }
    Ok(())
}
