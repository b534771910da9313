//! Loggers and their levels. A logger is a crate of this program or a module of one, with dots: `broker`, `broker.network`; `root` is all of them.
//!
//! Always true: what is not set inherits from the logger above it, in the end from `root`.

use std::collections::BTreeMap;
use std::fmt;

use broker::loggers::{Level, ROOT};
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::ANNOUNCEMENT;

/// Every logger but `root`: the crates, and the modules of theirs that say something.
pub const LOGGERS: &[&str] = &[
    "broker",
    "broker.broker",
    "broker.control",
    "broker.controller",
    "broker.group_coordinator",
    "broker.handlers",
    "broker.housekeeping",
    "broker.metadata",
    "broker.network",
    "broker.registration",
    "broker.replica_fetcher",
    "broker.replica_manager",
    "client",
    "client.kafka",
    "client.zookeeper",
    "client.zookeeper_consumer",
    "console",
    "console.server",
    "keeper",
    "keeper.config",
    "keeper.connection",
    "keeper.owner",
    "keeper.processor",
    "keeper.recovery",
    "keeper.server",
    "keeper.wal",
    "storage",
    "storage.cleaner",
    "storage.log",
    "storage.log_dir",
    "storage.log_manager",
    "storage.preallocation",
    "storage.read",
    "storage.recovery",
    "storage.retention",
    "storage.segment",
    "storage.truncate",
    "streaming",
    "streaming.context",
    "streaming.jobs",
    "streaming.listener",
    "streaming.sources",
    "streaming.text",
    "tidemill",
    "tidemill.server",
];

/// Whether there is a logger of this name.
pub fn exists(logger: &str) -> bool {
    logger == ROOT || LOGGERS.contains(&logger)
}

/// What is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    root: Level,
    set: BTreeMap<String, Level>,
}

impl Levels {
    /// Reads levels parted by commas or line ends: a level alone is for `root`, `logger=level` for one logger; what follows a `#` is a remark.
    ///
    /// # Errors
    /// What a person can make of a word that is no level or names no logger.
    pub fn parse(text: &str) -> Result<Levels, String> {
        let mut levels = Levels { root: Level::Info, set: BTreeMap::new() };
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        for word in lines.flat_map(|line| line.split(',')).map(str::trim).filter(|word| !word.is_empty()) {
            let (logger, level) = word.split_once('=').unwrap_or((ROOT, word));
            let level: Level =
                level.trim().parse().map_err(|error: broker::loggers::UnknownLevel| error.to_string())?;
            let logger = logger.trim();
            if !exists(logger) {
                return Err(format!("there is no logger {logger}; there are {ROOT}, {}", LOGGERS.join(", ")));
            }
            levels.set(logger, Some(level));
        }
        Ok(levels)
    }

    /// Sets a level, or lets a logger inherit again.
    pub fn set(&mut self, logger: &str, level: Option<Level>) {
        match level {
            Some(level) if logger == ROOT => self.root = level,
            Some(level) => {
                self.set.insert(logger.to_owned(), level);
            }
            None => {
                self.set.remove(logger);
            }
        }
    }

    /// Every logger with the level that holds for it.
    pub fn all(&self) -> Vec<(String, Level)> {
        let loggers = std::iter::once(&ROOT).chain(LOGGERS);
        loggers.map(|logger| ((*logger).to_owned(), self.of(logger))).collect()
    }

    fn of(&self, logger: &str) -> Level {
        let above = logger.rsplit_once('.').map(|(above, _)| above);
        self.set.get(logger).copied().or_else(|| above.map(|above| self.of(above))).unwrap_or(self.root)
    }

    /// The same for crate `tracing`.
    pub fn to_targets(&self) -> Targets {
        let set = self.set.iter().map(|(logger, level)| (target(logger), filter(*level)));
        // The empty prefix is that of every target.
        let root = std::iter::once((String::new(), filter(self.root)));
        root.chain(set).chain([(ANNOUNCEMENT.to_owned(), LevelFilter::INFO)]).collect()
    }
}

impl fmt::Display for Levels {
    /// As it may be written in `TIDEMILL_LOG`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root)?;
        self.set.iter().try_for_each(|(logger, level)| write!(f, ",{logger}={level}"))
    }
}

/// The module path that a logger stands for. Events are matched by its beginning.
fn target(logger: &str) -> String {
    let path = logger.replace('.', "::");
    match logger {
        // Every other crate's path begins with `tidemill_`.
        "tidemill" => "tidemill::".to_owned(),
        _ if logger.starts_with("tidemill.") => path,
        _ => format!("tidemill_{path}"),
    }
}

/// The logger that an event of this module path belongs to, as a line shows it.
pub fn logger(target: &str) -> String {
    target.strip_prefix("tidemill_").unwrap_or(target).replace("::", ".")
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Fatal => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn what_is_not_set_inherits() {
        let mut levels =
            Levels::parse("warn,broker=debug # the loud one\nbroker.network=ERROR, keeper = info").unwrap();
        let expect = |levels: &Levels, expected: &[(&str, Level)]| {
            let all = levels.all();
            for (logger, level) in expected {
                assert!(all.contains(&((*logger).to_owned(), *level)), "{logger} is not {level} in {levels}");
            }
        };
        expect(
            &levels,
            &[
                ("root", Level::Warn),
                ("storage.log", Level::Warn),
                ("broker.control", Level::Debug),
                ("broker.network", Level::Error),
                ("keeper", Level::Info),
            ],
        );
        levels.set("broker", None);
        levels.set("root", Some(Level::Trace));
        expect(&levels, &[("broker.control", Level::Trace), ("broker.network", Level::Error)]);
        assert_eq!(levels.to_string(), "TRACE,broker.network=ERROR,keeper=INFO");
        assert_eq!(Levels::parse(&levels.to_string()), Ok(levels));
        for wrong in ["loud", "broker=loud", "kafka=info", "broker.netwrok=info"] {
            assert!(Levels::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn events_find_the_level_of_their_logger() {
        let targets = Levels::parse("warn,broker=info,broker.network=debug,tidemill=error").unwrap().to_targets();
        let expect = |target: &str, most: tracing::Level, not: tracing::Level| {
            assert!(targets.would_enable(target, &most), "{target} at {most}");
            assert!(!targets.would_enable(target, &not), "{target} at {not}");
        };
        expect("tidemill_broker::network::acceptor", tracing::Level::DEBUG, tracing::Level::TRACE);
        expect("tidemill_broker::control", tracing::Level::INFO, tracing::Level::DEBUG);
        expect("tidemill_storage::log", tracing::Level::WARN, tracing::Level::INFO);
        expect("somebody_else", tracing::Level::WARN, tracing::Level::INFO);
        expect("tidemill::server::keeper", tracing::Level::ERROR, tracing::Level::WARN);
        expect(ANNOUNCEMENT, tracing::Level::INFO, tracing::Level::DEBUG);
        let silent = Levels::parse("fatal").unwrap().to_targets();
        assert!(!silent.would_enable("tidemill_broker", &tracing::Level::ERROR));
    }

    #[test]
    fn loggers_go_by_their_paths() {
        for name in LOGGERS {
            assert_eq!(logger(target(name).trim_end_matches(':')), **name);
        }
    }

    /// Modules come and go; the list of loggers follows.
    #[test]
    fn the_loggers_are_the_modules_that_say_something() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut expected = BTreeSet::new();
        for name in ["broker", "client", "console", "keeper", "storage", "streaming", "tidemill"] {
            let source = crates.join(name).join("src");
            let mut folders = vec![source.clone()];
            while let Some(folder) = folders.pop() {
                for entry in std::fs::read_dir(&folder).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_dir() {
                        folders.push(path);
                        continue;
                    }
                    let says = std::fs::read_to_string(&path).unwrap().lines().any(|line| {
                        let line = line.trim_start();
                        line.starts_with("use tracing::") || line.contains("tracing::") && !line.starts_with("//")
                    });
                    if says {
                        let module = path.strip_prefix(&source).unwrap().components().next().unwrap();
                        let module = module.as_os_str().to_string_lossy();
                        expected.insert(name.to_owned());
                        expected.insert(format!("{name}.{}", module.trim_end_matches(".rs")));
                    }
                }
            }
        }
        let listed: BTreeSet<String> = LOGGERS.iter().map(|logger| (*logger).to_owned()).collect();
        assert_eq!(listed, expected);
    }
}
