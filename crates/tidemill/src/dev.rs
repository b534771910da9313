//! `tidemill dev`: a cluster on this machine, a keeper and several brokers as processes of their own, for trying what one broker cannot show.
//!
//! What it is lies in one folder: properties files that anybody may read and change, data, logs, process ids. `up` makes the folder, or starts what does not run of it;
//! `stop` ends the processes in order; `purge` removes what `up` made.
//!
//! # Layout
//! - [`cluster`]: the folder and its members
//! - [`process`]: starting, finding and ending the process of a member
//! - [`up`], [`status`], [`stop`]: what is asked for

mod cluster;
mod process;
mod status;
mod stop;
mod up;

use std::path::{Path, PathBuf};

use clap::Parser;
use protocol::spelling;
use runtime::Disk;
use runtime::disk::FileLock;

use crate::failure::Failure;
use crate::options;

/// Where a cluster lies unless somebody says otherwise.
const DEFAULT_DIR: &str = "data/dev";
const USAGE: &str = "\
A cluster of several brokers on this machine

Usage: tidemill dev up [-n BROKERS] [--any-port | --port PORT --keeper-port PORT] [--zookeeper HOSTS] [--dir DIR]
       tidemill dev status [--dir DIR]
       tidemill dev stop [--dir DIR]
       tidemill dev purge [--dir DIR]

`tidemill dev ACTION --help` says more.
";

/// Start a keeper and some brokers as processes of their own, or those of a folder that do not run.
#[derive(Debug, Parser)]
struct UpOptions {
    /// Number of brokers, 1 to 9 [default: those of the folder, else 3]
    #[arg(short = 'n', long, value_name = "BROKERS", allow_negative_numbers = true)]
    brokers: Option<i64>,
    /// Port of the first broker; the others follow
    #[arg(long, default_value_t = 9092, env = "TIDEMILL_PORT", value_parser = clap::value_parser!(u16).range(1..=65_000))]
    port: u16,
    /// Port of the keeper
    #[arg(long, default_value_t = 2181, env = "TIDEMILL_KEEPER_PORT", value_parser = clap::value_parser!(u16).range(1..=65_000))]
    keeper_port: u16,
    /// Take ports that are free, not those two
    #[arg(long)]
    any_port: bool,
    /// Folder of all files
    #[arg(long, default_value = DEFAULT_DIR)]
    dir: PathBuf,
    /// A ZooKeeper that is there already, in place of a keeper: host:port[,host:port][/chroot]
    #[arg(long, value_name = "HOSTS")]
    zookeeper: Option<String>,
}

/// Show the processes of a cluster, its controller and what is under-replicated.
#[derive(Debug, Parser)]
struct StatusOptions {
    /// Folder of all files
    #[arg(long, default_value = DEFAULT_DIR)]
    dir: PathBuf,
}

/// Stop the brokers of a cluster, then its keeper. What they hold stays.
#[derive(Debug, Parser)]
struct StopOptions {
    /// Folder of all files
    #[arg(long, default_value = DEFAULT_DIR)]
    dir: PathBuf,
}

/// Remove all that a stopped cluster holds.
#[derive(Debug, Parser)]
struct PurgeOptions {
    /// Folder of all files
    #[arg(long, default_value = DEFAULT_DIR)]
    dir: PathBuf,
}

/// Runs what the first word says.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let Some((action, words)) = words.split_first() else {
        return Err(Failure::usage("dev takes what to do: up, status, stop or purge").help("bin/tidemill dev up -n 3"));
    };
    match action.as_str() {
        "up" => up::run(&options::parse("tidemill dev up", words)?),
        "status" => status::run(&options::parse("tidemill dev status", words)?),
        "stop" => stop::stop(&options::parse("tidemill dev stop", words)?),
        "purge" => stop::purge(&options::parse("tidemill dev purge", words)?),
        "-h" | "--help" | "help" => {
            print!("{USAGE}");
            Ok(())
        }
        other => {
            let failure = Failure::usage(format!("dev has no action named {other}"));
            Err(match spelling::nearest(other, ["up", "status", "stop", "purge"]) {
                Some(near) => {
                    failure.cause(format!("did you mean {near}?")).help(format!("bin/tidemill dev {near} --help"))
                }
                None => failure.help("bin/tidemill dev --help"),
            })
        }
    }
}

/// A command about the cluster in `dir`, as it is typed.
fn command(action: &str, dir: &Path) -> String {
    if dir == Path::new(DEFAULT_DIR) {
        format!("bin/tidemill dev {action}")
    } else {
        format!("bin/tidemill dev {action} --dir {}", dir.display())
    }
}

/// Keeps a second `up`, `stop` or `purge` of the same folder away while one works on it.
fn only_one(folder: &cluster::Folder, dir: &Path) -> Result<FileLock, Failure> {
    let path = folder.lock();
    match Disk::real().try_lock(&path) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => {
            let failure = Failure::new(format!("another command works on the cluster in {}", dir.display()));
            let holder = Disk::real().lock_holder(&path).map(runtime::machine::Process::of);
            Err(match holder {
                Some(holder) => failure.cause(format!("{holder} holds {}", path.display())),
                None => failure,
            }
            .help(command("status", dir)))
        }
        Err(error) => Err(Failure::new(format!("cannot use {}", dir.display()))
            .cause(error)
            .help(command("up", Path::new("data/dev-2")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_no_action_are_told() {
        let said = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            run(&words).unwrap_err().to_string()
        };
        insta::assert_snapshot!(said(""), @r"
        error: dev takes what to do: up, status, stop or purge
        help: bin/tidemill dev up -n 3
        ");
        insta::assert_snapshot!(said("statsu"), @r"
        error: dev has no action named statsu
        cause: did you mean status?
        help: bin/tidemill dev status --help
        ");
        insta::assert_snapshot!(said("up --brokrs 3"), @r"
        brokrs is not a recognized option
        cause: did you mean --brokers?
        help: bin/tidemill dev up --help
        ");
    }

    #[test]
    fn commands_name_the_folder_where_it_is_not_the_usual_one() {
        assert_eq!(command("stop", Path::new("data/dev")), "bin/tidemill dev stop");
        assert_eq!(command("stop", Path::new("/tmp/x")), "bin/tidemill dev stop --dir /tmp/x");
    }
}
