//! `kafka-reassign-partitions`: moves partitions to other brokers (Kafka: `ReassignPartitionsCommand`).
//!
//! With `--zookeeper` it writes `/admin/reassign_partitions` and speaks as 0.9.0.1 did; with `--bootstrap-server` it asks the brokers and speaks as 3.9 does. What Kafka
//! prints of its failures on stdout is printed on stderr here.
//!
//! # Layout
//! - [`file`]: the JSON files it reads and prints
//! - [`plan`]: what is proposed, what moves, what is throttled
//! - [`zookeeper`]: the form of 0.9
//! - [`bootstrap`]: the form of 3.9

mod bootstrap;
pub mod file;
mod plan;
mod zookeeper;

use clap::Parser;

use crate::failure::Failure;
use crate::{connect, options};

/// Move partitions to other brokers.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// The brokers to ask: host:port[,host:port]
    #[arg(long, value_name = "HOSTS")]
    bootstrap_server: Option<String>,
    /// The ZooKeeper of the brokers: host:port[,host:port][/chroot]
    #[arg(long, value_name = "HOSTS")]
    zookeeper: Option<String>,
    /// Properties for the connection to the brokers
    #[arg(long, value_name = "FILE")]
    command_config: Option<String>,
    /// Propose where topics could lie; moves nothing
    #[arg(long)]
    generate: bool,
    /// Move partitions as --reassignment-json-file says
    #[arg(long)]
    execute: bool,
    /// Say how far that is; takes the throttle away when all is moved
    #[arg(long)]
    verify: bool,
    /// Give up moves under way
    #[arg(long)]
    cancel: bool,
    /// List the moves under way
    #[arg(long)]
    list: bool,
    /// {"version":1,"partitions":[{"topic":"foo","partition":1,"replicas":[1,2,3]}]}
    #[arg(long, value_name = "FILE")]
    reassignment_json_file: Option<String>,
    /// --generate: {"version":1,"topics":[{"topic":"foo"},{"topic":"foo1"}]}
    #[arg(long, value_name = "FILE")]
    topics_to_move_json_file: Option<String>,
    /// --generate: ids of the brokers that may hold them
    #[arg(long, value_name = "0,1,2")]
    broker_list: Option<String>,
    /// --generate: as if no broker had a rack
    #[arg(long)]
    disable_rack_aware: bool,
    /// --execute: bytes a second that brokers send each other for it, at most
    #[arg(long, value_name = "BYTES/S", allow_negative_numbers = true)]
    throttle: Option<i64>,
    /// --execute: beside moves that are under way, or to change their throttle
    #[arg(long)]
    additional: bool,
    /// --verify, --cancel: leave throttles as they are
    #[arg(long)]
    preserve_throttles: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Generate,
    Execute,
    Verify,
    Cancel,
    List,
}

impl Action {
    const ALL: [Action; 5] = [Action::Generate, Action::Execute, Action::Verify, Action::Cancel, Action::List];

    fn name(self) -> &'static str {
        match self {
            Action::Generate => "generate",
            Action::Execute => "execute",
            Action::Verify => "verify",
            Action::Cancel => "cancel",
            Action::List => "list",
        }
    }

    fn is_asked(self, options: &Options) -> bool {
        match self {
            Action::Generate => options.generate,
            Action::Execute => options.execute,
            Action::Verify => options.verify,
            Action::Cancel => options.cancel,
            Action::List => options.list,
        }
    }
}

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    if words.is_empty() {
        return Err(usage("This command moves topic partitions between replicas."));
    }
    let options: Options = options::parse("kafka-reassign-partitions", words)?;
    match (&options.zookeeper, &options.bootstrap_server) {
        (Some(_), Some(_)) => Err(usage("Option \"[zookeeper]\" can't be used with option \"[bootstrap-server]\"")),
        (Some(hosts), None) => {
            let action = zookeeper::action(&options)?;
            let done = connect::block_on(zookeeper::run(&options, action, hosts));
            done.map_err(|failure| failure.with_zookeeper(hosts))
        }
        (None, Some(servers)) => {
            let action = bootstrap::action(&options)?;
            let done = connect::block_on(bootstrap::run(&options, action, servers));
            done.map_err(|failure| failure.with_servers(servers))
        }
        (None, None) => {
            only_action(&options, &Action::ALL)?;
            Err(usage("Missing required argument \"[bootstrap-server]\"")
                .cause("say where the brokers are, or with --zookeeper where their ZooKeeper is")
                .help("bin/kafka-reassign-partitions.sh --list --bootstrap-server localhost:9092"))
        }
    }
}

fn usage(what: &str) -> Failure {
    Failure::misuse(what).help("bin/kafka-reassign-partitions.sh --help")
}

/// The one action that is asked for, of those there are.
fn only_action(options: &Options, known: &[Action]) -> Result<Action, Failure> {
    let mut asked = Action::ALL.into_iter().filter(|action| action.is_asked(options));
    match (asked.next(), asked.next()) {
        (Some(action), None) if known.contains(&action) => Ok(action),
        _ => {
            let names: Vec<String> = known.iter().map(|action| format!("--{}", action.name())).collect();
            let names = match (known.contains(&Action::List), names.as_slice()) {
                // The comma before the last one came with 2.6.
                (false, [first @ .., last]) => format!("{} or {last}", first.join(", ")),
                _ => names.join(", "),
            };
            Err(usage(&format!("Command must include exactly one action: {names}")))
        }
    }
}

/// `--broker-list`: ids, each once.
fn broker_ids(text: &str) -> Result<Vec<i32>, Failure> {
    let id = |id: &str| {
        id.trim().parse::<i32>().map_err(|_| {
            Failure::misuse(format!("For input string: \"{id}\""))
                .cause("--broker-list takes ids of brokers: 0,1,2")
                .help("bin/kafka-reassign-partitions.sh --help")
        })
    };
    let ids = text.split(',').map(id).collect::<Result<Vec<i32>, _>>()?;
    let twice: Vec<i32> = file::repeated(&ids).into_iter().copied().collect();
    if !twice.is_empty() {
        let twice = crate::assignment::id_list(&twice);
        return Err(usage(&format!("Broker list contains duplicate entries: {twice}")));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        run(&words).unwrap_err().to_string()
    }

    #[test]
    fn brokers_are_named_once_each() {
        assert_eq!(broker_ids("0, 1,2").unwrap(), [0, 1, 2]);
        let said = |text| broker_ids(text).unwrap_err().to_string();
        assert!(said("0,x").starts_with("For input string: \"x\"\ncause: --broker-list takes ids"), "{}", said("0,x"));
        assert!(said("1,0,1,0").starts_with("Broker list contains duplicate entries: 0,1\n"), "{}", said("1,0,1,0"));
    }

    #[test]
    fn lines_without_sense_are_refused_in_kafkas_words() {
        let help = "\nhelp: bin/kafka-reassign-partitions.sh --help";
        for (line, expected) in [
            ("", "This command moves topic partitions between replicas."),
            ("--zookeeper h:1", "Command must include exactly one action: --generate, --execute or --verify"),
            ("--zookeeper h:1 --list", "Command must include exactly one action: --generate, --execute or --verify"),
            (
                "--bootstrap-server h:1 --list --verify",
                "Command must include exactly one action: --generate, --execute, --verify, --cancel, --list",
            ),
            (
                "--zookeeper h:1 --generate --broker-list 0",
                "If --generate option is used, command must include both --topics-to-move-json-file and --broker-list options",
            ),
            (
                "--zookeeper h:1 --execute",
                "If --execute option is used, command must include --reassignment-json-file that was output during the --generate option",
            ),
            (
                "--zookeeper h:1 --verify",
                "If --verify option is used, command must include --reassignment-json-file that was used during the --execute option",
            ),
            ("--bootstrap-server h:1 --verify", "Missing required argument \"[reassignment-json-file]\""),
            (
                "--bootstrap-server h:1 --generate --broker-list 0",
                "Missing required argument \"[topics-to-move-json-file]\"",
            ),
            (
                "--bootstrap-server h:1 --list --throttle 5",
                "Option \"[throttle]\" can't be used with action \"[list]\"",
            ),
            (
                "--zookeeper h:1 --execute --reassignment-json-file f --throttle 5",
                "Option \"[throttle]\" can't be used with option \"[zookeeper]\"",
            ),
        ] {
            assert_eq!(refused(line), format!("{expected}{help}"), "{line}");
        }
    }
}
