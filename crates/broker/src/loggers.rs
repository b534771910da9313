//! The levels of the log, which clients may see and change while the broker runs (KIP-412). Who writes the log is the program's business: it hands a [`Loggers`] in.

use std::fmt;
use std::str::FromStr;

/// How much a logger says, with log4j's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing that this broker says is worse than an error, so: nothing.
    Fatal,
    /// What went wrong.
    Error,
    /// What may go wrong.
    Warn,
    /// What happens.
    Info,
    /// What happens inside.
    Debug,
    /// Everything.
    Trace,
}

/// Name of the logger that all others inherit from (`Log4jController.ROOT_LOGGER`).
pub const ROOT: &str = "root";

impl Level {
    /// All levels, in the order in which Kafka names them.
    pub const ALL: [Level; 6] = [Level::Debug, Level::Error, Level::Fatal, Level::Info, Level::Trace, Level::Warn];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Fatal => "FATAL",
            Level::Error => "ERROR",
            Level::Warn => "WARN",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
            Level::Trace => "TRACE",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no log level; valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN")]
pub struct UnknownLevel(pub String);

impl FromStr for Level {
    type Err = UnknownLevel;

    /// In any case: files and environments write `info`, Kafka's tools `INFO`.
    fn from_str(word: &str) -> Result<Level, UnknownLevel> {
        let known = Level::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(word));
        known.ok_or_else(|| UnknownLevel(word.to_owned()))
    }
}

/// The levels of a program's log.
pub trait Loggers: Send + Sync {
    /// Every logger with the level that holds for it, [`ROOT`] among them.
    fn levels(&self) -> Vec<(String, Level)>;

    /// Whether there is a logger of this name.
    fn exists(&self, logger: &str) -> bool;

    /// Sets the level of a logger and of all below it; none lets it inherit again. The caller has asked whether it exists.
    fn set(&self, logger: &str, level: Option<Level>);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_in_any_case() {
        for level in Level::ALL {
            assert_eq!(level.name().parse(), Ok(level));
            assert_eq!(level.name().to_lowercase().parse(), Ok(level));
        }
        assert_eq!("loud".parse::<Level>(), Err(UnknownLevel("loud".to_owned())));
        assert!(Level::Fatal < Level::Error && Level::Debug < Level::Trace);
    }
}
