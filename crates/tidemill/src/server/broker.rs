//! The broker as a process of its own: `kafka-server-start [-daemon] server.properties [--override property=value]*`.

use std::path::Path;

use broker::{Broker, BrokerConfig, Surroundings};
use console::{Board, Console};
use runtime::Clock;

use super::http::Listen;
use super::keeper::{absolute, say_how_to_stop};
use super::signals::StopSignals;
use super::{daemon, http, logging, recovery};
use crate::failure::Failure;
use crate::properties::{self, Pairs};

const USAGE: &str = "USAGE: kafka-server-start.sh [-daemon] server.properties [--override property=value]*";
/// What `kafka-server-stop` reads where no file is named.
const DEFAULT_FILE: &str = "config/server.properties";
/// Threads for calls that block: syncs, cold reads, recovery.
const BLOCKING_THREADS_MAX: usize = 16;

/// Runs a broker until a signal ends it, or the failure of its last log directory.
pub fn start(words: &[String]) -> Result<(), Failure> {
    if words.first().is_some_and(|word| word == "-daemon") {
        return daemon::start("kafka-server-start", &words[1..]);
    }
    if words.iter().any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let (file, overrides) = understand(words)?;
    let log = logging::start("info")?;
    let refused = |error| Failure::of_broker(&error, &format!("bin/kafka-server-start.sh {file}"));
    let config = BrokerConfig::load(Path::new(file), overrides).map_err(refused)?;
    let listen = Listen::of(&config)?;
    run(async {
        let mut signals = StopSignals::listen(&log)?;
        let started = Clock::real().now();
        let mut board = Board::new();
        let monitor = board.expect_broker();
        let console = listen.start(board)?;
        let surroundings =
            Surroundings { monitor: monitor.clone(), loggers: Some(log.clone()), ..Surroundings::default() };
        let broker = tokio::select! {
            biased;
            () = signals.first() => return Ok(()),
            broker = recovery::shown(&log, &monitor, Broker::start_in(config.clone(), surroundings)) => broker.map_err(refused)?,
        };
        announce(&broker, &config, console.as_ref(), started);
        say_how_to_stop();
        let done = tokio::select! {
            biased;
            () = signals.first() => Ok(()),
            failed = broker.failed() => {
                signals.stopping();
                Err(refused(failed))
            }
        };
        broker.shutdown().await;
        done
    })
}

/// Stops the broker that holds the first log directory of the properties file.
pub fn stop(words: &[String]) -> Result<(), Failure> {
    let (file, overrides) = if words.is_empty() { (DEFAULT_FILE, Pairs::new()) } else { understand(words)? };
    let refused = |error| Failure::of_broker(&error, &format!("bin/kafka-server-start.sh {file}"));
    let config = BrokerConfig::load(Path::new(file), overrides).map_err(refused)?;
    let directory = config.log_dirs.first().ok_or_else(|| Failure::new("log.dirs names no directory"))?;
    daemon::stop("kafka server", &directory.join(".lock"))
}

/// Runs a broker's work on the threads a broker needs.
pub fn run(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let workers = runtime::spawn::parallelism();
    let threads = runtime::spawn::multi_thread("broker", workers, BLOCKING_THREADS_MAX);
    let threads = threads.map_err(|error| Failure::new("cannot start the broker's threads").cause(error))?;
    let done = threads.block_on(work);
    // A start that a signal cut short may still be reading logs; nothing there needs its end.
    threads.shutdown_background();
    done
}

/// Says that the broker is there, and where.
pub fn announce(broker: &Broker, config: &BrokerConfig, console: Option<&Console>, started: runtime::clock::Instant) {
    let took = Clock::real().now() - started;
    let listeners: Vec<String> =
        broker.addresses().iter().map(|(name, address)| format!("{name}://{address}")).collect();
    let folders: Vec<String> = config.log_dirs.iter().map(|folder| absolute(folder)).collect();
    let id = broker.id();
    logging::announce(&format!("[KafkaServer id={id}] started"));
    logging::announce(&format!(
        "tidemill broker {}  listeners {}  log.dirs {}  ready in {} ms",
        env!("CARGO_PKG_VERSION"),
        listeners.join(","),
        folders.join(","),
        took.as_millis()
    ));
    http::announce(console);
}

/// The properties file and the settings that win over it.
fn understand(words: &[String]) -> Result<(&str, Pairs), Failure> {
    let usage = || Failure::misuse(USAGE).help(format!("bin/kafka-server-start.sh {DEFAULT_FILE}"));
    let Some((file, mut rest)) = words.split_first().filter(|(file, _)| !file.starts_with('-')) else {
        return Err(usage());
    };
    let mut overrides = Vec::new();
    while let Some((word, tail)) = rest.split_first() {
        let (pair, tail) = match (word.strip_prefix("--override="), tail.split_first()) {
            (Some(pair), _) => (pair.to_owned(), tail),
            (None, Some((pair, tail))) if word == "--override" => (pair.clone(), tail),
            _ if word == "--override" => return Err(Failure::misuse("Option override requires an argument")),
            _ => return Err(usage().cause(format!("{word} is not a recognized option"))),
        };
        overrides.push(pair);
        rest = tail;
    }
    Ok((file, properties::words(&overrides)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_read_in_both_forms() {
        let words: Vec<String> =
            "server.properties --override broker.id=3 --override=log.dirs=/a=b".split(' ').map(str::to_owned).collect();
        let (file, overrides) = understand(&words).unwrap();
        assert_eq!(file, "server.properties");
        assert_eq!(overrides, [("broker.id".to_owned(), "3".to_owned()), ("log.dirs".to_owned(), "/a=b".to_owned())]);
        for wrong in ["", "--override a=b", "f --override", "f --override a", "f g"] {
            let words: Vec<String> = wrong.split_whitespace().map(str::to_owned).collect();
            assert!(understand(&words).is_err(), "{wrong}");
        }
    }
}
