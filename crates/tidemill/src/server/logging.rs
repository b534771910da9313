//! The log of a server process on stderr: for people on a terminal, one JSON object a line otherwise.
//!
//! - `TIDEMILL_LOG` holds the levels (`info`, `warn,broker.network=debug`), or `@FILE`: then they stand in that file and are read again on SIGHUP.
//! - `TIDEMILL_LOG_FORMAT` forces one of the formats: `human` or `json`.
//! - Clients change levels with `kafka-configs --alter --entity-type broker-loggers` (KIP-412) until the process ends or SIGHUP comes.
//!
//! # Layout
//! - [`levels`]: loggers and their levels
//! - [`lines`]: an event as a line

pub mod levels;
mod lines;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use broker::Loggers;
use broker::loggers::Level;
use indicatif::ProgressBar;
use runtime::Disk;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Registry, reload};

use crate::failure::Failure;
use levels::Levels;
use lines::{Format, Lines};

/// Environment variable with the levels.
const LEVELS: &str = "TIDEMILL_LOG";
/// Environment variable with the format.
const FORMAT: &str = "TIDEMILL_LOG_FORMAT";
/// Longest file of levels that is read.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Target of what is said whatever the levels are: that a server is ready, and where.
const ANNOUNCEMENT: &str = "tidemill::announcement";

/// The log of this process, once it is started: a subscriber is the process' own.
static LOG: OnceLock<Arc<Log>> = OnceLock::new();
/// A bar that is being drawn at the end of the terminal: lines go above it.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// The log of a server process.
pub struct Log {
    levels: Mutex<Levels>,
    filter: reload::Handle<Targets, Registry>,
    format: Format,
    /// What the levels are where nothing else is said.
    default: &'static str,
    /// Where the levels are read from.
    source: Source,
}

enum Source {
    /// The default.
    Default,
    /// The environment.
    Text(String),
    /// A file that the environment names.
    File(PathBuf),
}

/// Starts logging at `default` unless the environment says otherwise. A second call changes nothing and gives the same log.
///
/// # Errors
/// An environment that makes no sense.
pub fn start(default: &'static str) -> Result<Arc<Log>, Failure> {
    if let Some(log) = LOG.get() {
        return Ok(log.clone());
    }
    let source = match std::env::var(LEVELS) {
        Ok(text) => match text.strip_prefix('@') {
            Some(file) => Source::File(PathBuf::from(file)),
            None => Source::Text(text),
        },
        Err(_) => Source::Default,
    };
    let levels = read(&source, default)?;
    let is_terminal = std::io::stderr().is_terminal();
    let format = match std::env::var(FORMAT).as_deref() {
        Ok("json") => Format::Json,
        Ok("human") => Format::Human { colours: is_terminal },
        Ok(other) if !other.is_empty() => {
            return Err(Failure::usage(format!("{FORMAT} is {other}, and may be human or json")));
        }
        _ if is_terminal => Format::Human { colours: true },
        _ => Format::Json,
    };
    let (filter, handle) = reload::Layer::new(levels.to_targets());
    let log = Arc::new(Log { levels: Mutex::new(levels), filter: handle, format, default, source });
    let log = LOG.get_or_init(|| log).clone();
    // It fails only where a subscriber is set already: by a second thread that started the log at the same moment.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(filter).with(Lines(format)));
    Ok(log)
}

/// Says something that whoever started the server waits for, whatever the levels are.
pub fn announce(text: &str) {
    match LOG.get() {
        Some(_) => tracing::info!(target: ANNOUNCEMENT, "{text}"),
        None => eprintln!("{text}"),
    }
}

/// Draws a bar at the end of the terminal from now on, or no longer.
pub fn set_bar(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

impl Log {
    /// Whether people read it at a terminal.
    pub fn is_for_terminal(&self) -> bool {
        matches!(self.format, Format::Human { .. }) && std::io::stderr().is_terminal()
    }

    /// The file that is read again on SIGHUP, if there is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.source {
            Source::File(file) => Some(file),
            _ => None,
        }
    }

    /// Takes the levels from where they came from at the start; what clients changed meanwhile is forgotten. A file that makes no sense changes nothing.
    pub fn reread(&self) {
        match read(&self.source, self.default) {
            Ok(levels) => {
                tracing::warn!(levels = %levels, "read the log levels again");
                self.change(|current| *current = levels);
            }
            Err(failure) => tracing::error!("cannot read the log levels again: {}", failure.text()),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Levels)) {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut levels);
        // The subscriber lives as long as the process.
        let _ = self.filter.reload(levels.to_targets());
    }
}

impl Loggers for Log {
    fn levels(&self) -> Vec<(String, Level)> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    fn exists(&self, logger: &str) -> bool {
        levels::exists(logger)
    }

    fn set(&self, logger: &str, level: Option<Level>) {
        self.change(|levels| levels.set(logger, level));
    }
}

fn read(source: &Source, default: &str) -> Result<Levels, Failure> {
    let parse = |text: &str, from: &str| {
        Levels::parse(text)
            .map_err(|why| Failure::usage(format!("{from}: {why}")).help(format!("{LEVELS}=info,broker.network=debug")))
    };
    match source {
        Source::Default => parse(default, "the default levels"),
        Source::Text(text) => parse(text, LEVELS),
        Source::File(file) => {
            let from = format!("{LEVELS}=@{}", file.display());
            let bytes = Disk::real()
                .read(file, FILE_BYTES_MAX)
                .map_err(|error| Failure::new(format!("cannot read {}", file.display())).cause(error))?;
            parse(&String::from_utf8_lossy(&bytes), &from)
        }
    }
}
