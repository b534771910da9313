//! What a failed command says: `error: what`, `cause: why`, `help: one command to type`, on stderr.
//!
//! Where Kafka has a text that people search for, it comes first, as Kafka writes it. Exit codes: 1 for what went wrong, 2 for a command line
//! that makes no sense.

use std::fmt;
use std::io;
use std::process::ExitCode;

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
        self.cause = Some(cause.to_string());
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

    /// Prints it and gives the exit code.
    pub fn report(self) -> ExitCode {
        match &self.what {
            Says::Error(text) => eprintln!("error: {text}"),
            Says::Verbatim(text) => eprintln!("{text}"),
            Says::Nothing => return ExitCode::from(self.code),
        }
        if let Some(cause) = &self.cause {
            eprintln!("cause: {cause}");
        }
        if let Some(help) = &self.help {
            eprintln!("help: {help}");
        }
        ExitCode::from(self.code)
    }
}

impl From<io::Error> for Failure {
    /// A pipe closed by the reader (`| head`) is no failure worth a word.
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe { Failure::silent(0) } else { Failure::new(error) }
    }
}
