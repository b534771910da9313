//! `zookeeper-shell`: looks at a ZooKeeper tree and changes it, with the commands of Apache's shell (`org.apache.zookeeper.ZooKeeperMain`).
//!
//! One command on the command line is run and that is all; without one, commands are read from stdin, line by line.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use client::zookeeper::{CreateMode, Session, Stat, ZkError};
use protocol::spelling;
use protocol::zookeeper::{Acl, Id};

use crate::connect;
use crate::failure::{EXAMPLE_ZOOKEEPER, Failure};

const HELP: &str = "\
Commands:
  ls [-s] [-R] PATH                 the children; -s with the node's statistics, -R all below
  get [-s] PATH                     the data; -s with the statistics
  stat PATH                         the statistics
  create [-s] [-e] PATH [DATA]      a node; -s sequential, -e ephemeral
  set [-v VERSION] PATH DATA        other data
  delete [-v VERSION] PATH          a node without children
  deleteall PATH                    a node and all below it (also: rmr)
  getAcl PATH, setAcl PATH ACL      who may do what: world:anyone:cdrwa
  addauth SCHEME AUTH               say who you are: addauth digest user:password
  sync PATH                         wait until the server has all that its leader has
  quit
";

/// Names of the commands, for guesses at misspelt ones.
const COMMANDS: [&str; 15] = [
    "addauth",
    "close",
    "create",
    "delete",
    "deleteall",
    "get",
    "getAcl",
    "help",
    "ls",
    "ls2",
    "quit",
    "rmr",
    "set",
    "setAcl",
    "stat",
];

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (hosts, command) = match &words[..] {
        ["-server", hosts, rest @ ..] => (*hosts, rest),
        ["-h" | "--help", ..] | [] => {
            println!("Usage: zookeeper-shell HOST:PORT[/PATH] [COMMAND ...]\n\n{HELP}");
            return Ok(());
        }
        [hosts, rest @ ..] => (*hosts, rest),
    };
    let done = connect::block_on(async {
        eprintln!("Connecting to {hosts}");
        let session = connect::zookeeper(hosts).await?;
        let done = if command.is_empty() { converse(&session).await } else { run_one(&session, command).await };
        session.close().await;
        done
    });
    done.map_err(|failure| failure.with_zookeeper(hosts))
}

/// Reads commands until `quit` or the end of stdin. A command that fails says so and the next one is read.
async fn converse(session: &Session) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    let prompts = stdin.is_terminal();
    loop {
        if prompts {
            print!("[zk] ");
            std::io::stdout().flush()?;
        }
        let mut line = String::new();
        if stdin.lock().read_line(&mut line)? == 0 {
            return Ok(());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            ["quit" | "close"] => return Ok(()),
            _ => {
                if let Err(failure) = run_one(session, &words).await {
                    failure.report();
                }
            }
        }
    }
}

async fn run_one(session: &Session, words: &[&str]) -> Result<(), Failure> {
    let (name, rest) = words.split_first().ok_or_else(|| Failure::usage("no command"))?;
    let (flags, values) = split_flags(rest);
    let has = |flag: &str| flags.iter().any(|(name, _)| *name == flag);
    let version = flags.iter().find(|(name, _)| *name == "-v").map_or(Ok(-1), |(_, value)| {
        value.parse().map_err(|_| Failure::usage(format!("-v takes a version, not {value:?}")))
    })?;
    let said = |error| explain(&error);
    match (*name, &values[..]) {
        ("help", _) => print!("{HELP}"),
        ("ls" | "ls2", [path]) => {
            if has("-R") {
                return list_below(session, path).await;
            }
            let (mut children, stat) = session.get_children2(path).await.map_err(said)?;
            children.sort();
            println!("[{}]", children.join(", "));
            if has("-s") || *name == "ls2" {
                print!("{}", statistics(&stat));
            }
        }
        ("get", [path]) => {
            let (data, stat) = session.get_data(path).await.map_err(said)?;
            println!("{}", if data.is_empty() { "null".into() } else { String::from_utf8_lossy(&data) });
            if has("-s") {
                print!("{}", statistics(&stat));
            }
        }
        ("stat", [path]) => {
            let stat = session.exists(path).await.map_err(said)?;
            print!("{}", statistics(&stat.ok_or_else(|| Failure::verbatim(format!("Node does not exist: {path}")))?));
        }
        ("create", [path, data @ ..]) if data.len() <= 1 => {
            let mode = match (has("-s"), has("-e")) {
                (false, false) => CreateMode::Persistent,
                (true, false) => CreateMode::PersistentSequential,
                (false, true) => CreateMode::Ephemeral,
                (true, true) => CreateMode::EphemeralSequential,
            };
            let data = data.first().copied().unwrap_or_default().to_owned();
            println!("Created {}", session.create(path, data, mode).await.map_err(said)?);
        }
        ("set", [path, data]) => {
            session.set_data(path, (*data).to_owned(), version).await.map_err(said)?;
        }
        ("delete", [path]) => session.delete(path, version).await.map_err(said)?,
        ("deleteall" | "rmr", [path]) => session.delete_recursive(path).await.map_err(said)?,
        ("getAcl", [path]) => {
            for acl in session.get_acl(path).await.map_err(said)?.0 {
                println!("'{},'{}\n: {}", acl.id.scheme, acl.id.id, permissions(acl.perms));
            }
        }
        ("setAcl", [path, text]) => {
            session.set_acl(path, parse_acl(text)?, version).await.map_err(said)?;
        }
        ("addauth", [scheme, auth]) => session.add_auth(scheme, (*auth).to_owned()).await.map_err(said)?,
        ("sync", [path]) => {
            session.sync(path).await.map_err(said)?;
            println!("Sync is OK");
        }
        _ => {
            let failure = Failure::misuse(format!("Command not found: Command not found {}", words.join(" ")));
            return Err(match spelling::nearest(name, COMMANDS) {
                Some(near) => failure.cause(format!("did you mean {near}?")),
                None if COMMANDS.contains(name) => failure.cause(format!("these are not the words that {name} takes")),
                None => failure,
            });
        }
    }
    Ok(())
}

/// Flags (with the value of those that have one) and the words beside them.
fn split_flags<'a>(words: &[&'a str]) -> (Vec<(&'a str, &'a str)>, Vec<&'a str>) {
    let (mut flags, mut values) = (Vec::new(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "-v" => flags.push((*word, words.next().copied().unwrap_or_default())),
            "-s" | "-e" | "-R" if values.is_empty() => flags.push((*word, "")),
            _ => values.push(*word),
        }
    }
    (flags, values)
}

async fn list_below(session: &Session, path: &str) -> Result<(), Failure> {
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let mut children = match session.get_children(&path).await {
            Ok(children) => children,
            Err(error) if error.is_no_node() && !open.is_empty() => continue,
            Err(error) => return Err(explain(&error)),
        };
        println!("{path}");
        children.sort_by(|a, b| b.cmp(a));
        open.extend(children.iter().map(|child| protocol::zookeeper::path::join(&path, child)));
    }
    Ok(())
}

/// Apache's sentences for the errors people meet.
fn explain(error: &ZkError) -> Failure {
    use client::zookeeper::ErrorCode;
    match error {
        ZkError::Server { code: ErrorCode::NoNode, path } => {
            let parent = path.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent });
            Failure::verbatim(format!("Node does not exist: {path}"))
                .help(format!("bin/zookeeper-shell.sh {EXAMPLE_ZOOKEEPER} ls {parent}"))
        }
        ZkError::Server { code: ErrorCode::NodeExists, path } => {
            Failure::verbatim(format!("Node already exists: {path}"))
        }
        ZkError::Server { code: ErrorCode::NotEmpty, path } => Failure::verbatim(format!("Node not empty: {path}"))
            .help(format!("bin/zookeeper-shell.sh {EXAMPLE_ZOOKEEPER} deleteall {path}")),
        ZkError::Server { code: ErrorCode::BadVersion, path } => {
            Failure::verbatim(format!("version No is not valid : {path}"))
        }
        ZkError::Server { code: ErrorCode::NoAuth, path } => {
            Failure::verbatim(format!("Insufficient permission : {path}"))
        }
        other => Failure::new(other),
    }
}

fn statistics(stat: &Stat) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "cZxid = {:#x}\nctime = {}", stat.czxid, date(stat.ctime));
    let _ = writeln!(text, "mZxid = {:#x}\nmtime = {}", stat.mzxid, date(stat.mtime));
    let _ = writeln!(text, "pZxid = {:#x}\ncversion = {}\ndataVersion = {}", stat.pzxid, stat.cversion, stat.version);
    let _ = writeln!(text, "aclVersion = {}\nephemeralOwner = {:#x}", stat.aversion, stat.ephemeral_owner);
    let _ = writeln!(text, "dataLength = {}\nnumChildren = {}", stat.data_length, stat.num_children);
    text
}

/// `Sun Nov 22 10:16:57 UTC 2026`, as Java prints dates.
fn date(milliseconds: i64) -> String {
    let instant = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    instant.to_zoned(jiff::tz::TimeZone::system()).strftime("%a %b %d %H:%M:%S %Z %Y").to_string()
}

/// Permission letters in the order Apache prints them.
const LETTERS: [(i32, char); 5] = [(4, 'c'), (8, 'd'), (1, 'r'), (2, 'w'), (16, 'a')];

fn permissions(bits: i32) -> String {
    LETTERS.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, letter)| letter).collect()
}

/// `scheme:id:perms[,scheme:id:perms]`; a digest's id holds a colon itself.
fn parse_acl(text: &str) -> Result<Vec<Acl>, Failure> {
    let one = |part: &str| {
        let (scheme, rest) = part.split_once(':')?;
        let (id, letters) = rest.rsplit_once(':')?;
        let bits = letters
            .chars()
            .try_fold(0, |bits, letter| Some(bits | LETTERS.iter().find(|(_, known)| *known == letter)?.0))?;
        Some(Acl { perms: bits, id: Id { scheme: scheme.to_owned(), id: id.to_owned() } })
    };
    text.split(',')
        .map(|part| one(part).ok_or_else(|| Failure::usage(format!("{part} does not have the form scheme:id:perm"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_lists_are_read() {
        let acl = parse_acl("world:anyone:cdrwa,digest:user:hash=:r").unwrap();
        assert_eq!((acl[0].perms, acl[0].id.scheme.as_str()), (31, "world"));
        assert_eq!((acl[1].perms, acl[1].id.id.as_str()), (1, "user:hash="));
        assert!(parse_acl("world:anyone:x").is_err());
        assert!(parse_acl("world").is_err());
    }

    #[test]
    fn permissions_print_in_apaches_order() {
        assert_eq!(permissions(31), "cdrwa");
        assert_eq!(permissions(1), "r");
    }
}
