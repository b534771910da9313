//! What a failed command says: `error: what`, `cause: why`, `help: one command to type`, on stderr.
//!
//! Where Kafka has a text that people search for, it comes first, as Kafka writes it. The command of a `help:` line runs as it stands in the folder
//! that holds `bin/` and `config/`; what else would do follows behind three blanks, in brackets. Exit codes: 1 for what went wrong, 2 for a
//! command line that makes no sense.

use std::fmt;
use std::io;
use std::process::ExitCode;

use broker::BrokerError;
use client::kafka::{ClientError, EXAMPLE_SERVERS};
use client::zookeeper::ZkError;
use client::zookeeper_consumer::ConsumerError;
use keeper::KeeperError;
use protocol::zookeeper::ErrorCode;
use runtime::machine::without_number;

/// The ZooKeeper that help lines name, until [`Failure::with_zookeeper`] puts in the one in use.
pub const EXAMPLE_ZOOKEEPER: &str = "localhost:2181";

/// Why a command ended without doing what it was asked.
#[derive(Debug)]
pub struct Failure {
    what: Says,
    cause: Option<String>,
    help: Option<String>,
    code: u8,
}

#[derive(Debug)]
enum Says {
    /// Ours: printed behind `error: `.
    Error(String),
    /// Kafka's own line, printed as it is.
    Verbatim(String),
    /// Already said, or nobody is left to hear it.
    Nothing,
}

impl Failure {
    /// Something went wrong: exit code 1.
    pub fn new(what: impl fmt::Display) -> Failure {
        Failure { what: Says::Error(what.to_string()), cause: None, help: None, code: 1 }
    }

    /// The command line makes no sense: exit code 2.
    pub fn usage(what: impl fmt::Display) -> Failure {
        Failure { what: Says::Error(what.to_string()), cause: None, help: None, code: 2 }
    }

    /// A line people search for, printed without a prefix; exit code 1.
    pub fn verbatim(what: impl fmt::Display) -> Failure {
        Failure { what: Says::Verbatim(what.to_string()), cause: None, help: None, code: 1 }
    }

    /// Kafka's own line for a command line that makes no sense; exit code 2.
    pub fn misuse(what: impl fmt::Display) -> Failure {
        Failure { what: Says::Verbatim(what.to_string()), cause: None, help: None, code: 2 }
    }

    /// What an error says of itself.
    fn explained(mut self, cause: Option<String>, help: Option<String>) -> Failure {
        (self.cause, self.help) = (cause, help);
        self
    }

    /// The same text with another's cause and help.
    #[must_use]
    pub fn explained_by(self, other: Failure) -> Failure {
        self.explained(other.cause, other.help)
    }

    /// What was said first becomes the cause, for a tool that says something else first.
    #[must_use]
    pub fn said_as_cause(self) -> Failure {
        let said = self.text().to_owned();
        let cause = match &self.cause {
            Some(cause) => format!("{said}: {cause}"),
            None => said,
        };
        self.cause(cause)
    }

    /// A broker that did not start; `start` is the command that was to start it.
    pub fn of_broker(error: &BrokerError, start: &str) -> Failure {
        Failure::verbatim(error).explained(error.cause(), error.help(start))
    }

    /// Ends with `code` and prints nothing.
    pub fn silent(code: u8) -> Failure {
        Failure { what: Says::Nothing, cause: None, help: None, code }
    }

    /// Puts a searchable beginning before what is said; usage failures keep theirs.
    #[must_use]
    pub fn behind(mut self, beginning: &str) -> Failure {
        if let (Says::Verbatim(text) | Says::Error(text), 1) = (&self.what, self.code) {
            self.what = Says::Verbatim(format!("{beginning}{text}"));
        }
        self
    }

    /// Adds why.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Failure {
        self.cause = Some(without_number(&cause.to_string()).to_owned());
        self
    }

    /// Adds a help line where there is none.
    #[must_use]
    pub fn or_help(self, help: impl FnOnce() -> String) -> Failure {
        Failure { help: self.help.or_else(|| Some(help())), ..self }
    }

    /// Adds a help line to a command line that makes no sense, where it has none.
    #[must_use]
    pub fn or_help_of_misuse(self, help: impl FnOnce() -> String) -> Failure {
        if self.code == 2 { self.or_help(help) } else { self }
    }

    /// Lets the help line name the brokers that were asked.
    #[must_use]
    pub fn with_servers(self, servers: &str) -> Failure {
        self.with_address(EXAMPLE_SERVERS, servers)
    }

    /// Lets the help line name the ZooKeeper that was asked.
    #[must_use]
    pub fn with_zookeeper(self, hosts: &str) -> Failure {
        self.with_address(EXAMPLE_ZOOKEEPER, hosts)
    }

    fn with_address(mut self, example: &str, real: &str) -> Failure {
        // An address that makes no sense is no help.
        if self.code != 2 {
            self.help = self.help.map(|help| help.replace(example, real));
        }
        self
    }

    /// Adds one command to type, or one thing to do.
    #[must_use]
    pub fn help(mut self, help: impl fmt::Display) -> Failure {
        self.help = Some(help.to_string());
        self
    }

    /// What went wrong, without cause and help.
    pub fn text(&self) -> &str {
        match &self.what {
            Says::Error(text) | Says::Verbatim(text) => text,
            Says::Nothing => "",
        }
    }

    /// Says it as a warning: the tool goes on. The caller says it once, because a flood of the same line helps nobody.
    pub fn warn(&self) {
        let text = self.to_string();
        eprintln!("WARN {}", text.strip_prefix("error: ").unwrap_or(&text));
    }

    /// Prints it and gives the exit code.
    pub fn report(self) -> ExitCode {
        if !matches!(self.what, Says::Nothing) {
            eprintln!("{self}");
        }
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    /// All lines, without the end of the last one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Says::Error(text) => write!(f, "error: {text}")?,
            Says::Verbatim(text) => f.write_str(text)?,
            Says::Nothing => {}
        }
        if let Some(cause) = &self.cause {
            write!(f, "\ncause: {cause}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

impl From<io::Error> for Failure {
    /// A pipe closed by the reader (`| head`) is no failure worth a word.
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe { Failure::silent(0) } else { Failure::new(error) }
    }
}

impl From<ZkError> for Failure {
    fn from(error: ZkError) -> Failure {
        match error {
            ZkError::BadConnectString { .. } => {
                Failure::misuse(error).help(format!("bin/zookeeper-shell.sh {EXAMPLE_ZOOKEEPER} ls /"))
            }
            // A real ZooKeeper gives this code to nobody.
            ZkError::Server { code: ErrorCode::OperationTimeout, .. } => Failure::new(error)
                .cause("the keeper takes no writes: its disk is full")
                .help("df -h   (make room where its dataDir is; it goes on by itself)"),
            other => Failure::new(other),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let failure = match error {
            ClientError::InvalidAddress { .. } | ClientError::InvalidConfig { .. } => Failure::misuse(&error),
            _ => Failure::verbatim(&error),
        };
        failure.explained(error.cause(), error.help())
    }
}

impl From<ConsumerError> for Failure {
    fn from(error: ConsumerError) -> Failure {
        match error {
            ConsumerError::Kafka(error) => error.into(),
            ConsumerError::Zookeeper(error) => error.into(),
            other => Failure::verbatim(&other).explained(other.cause(), other.help()),
        }
    }
}

impl From<KeeperError> for Failure {
    fn from(error: KeeperError) -> Failure {
        Failure::new(&error).explained(error.cause(), error.help())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_the_addresses_in_use() {
        let help = |failure: Failure| failure.help.unwrap();
        let failure = || Failure::new("x").help("bin/kafka-topics.sh --list --bootstrap-server localhost:9092");
        let expected = "bin/kafka-topics.sh --list --bootstrap-server h1:1,h2:2";
        assert_eq!(help(failure().with_servers("h1:1,h2:2")), expected);
        assert_eq!(help(failure().with_zookeeper("h:2")), help(failure()));
    }

    #[test]
    fn a_full_keeper_is_told_as_one() {
        let path = "/brokers/topics/t".to_owned();
        let said = Failure::from(ZkError::Server { code: ErrorCode::OperationTimeout, path }).to_string();
        let expected = "error: KeeperErrorCode = OperationTimeout for /brokers/topics/t\n\
                        cause: the keeper takes no writes: its disk is full\n\
                        help: df -h   (make room where its dataDir is; it goes on by itself)";
        assert_eq!(said, expected);
    }

    #[test]
    fn a_command_line_without_sense_keeps_its_text_and_code() {
        let said = |failure: Failure| match failure.what {
            Says::Error(text) | Says::Verbatim(text) => (text, failure.code),
            Says::Nothing => (String::new(), failure.code),
        };
        let beginning = "Error while executing topic command : ";
        assert_eq!(said(Failure::misuse("no").behind(beginning)), ("no".to_owned(), 2));
        assert_eq!(said(Failure::new("no").behind(beginning)), (format!("{beginning}no"), 1));
    }
}
