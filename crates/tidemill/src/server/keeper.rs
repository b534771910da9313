//! The keeper as a process of its own: `zookeeper-server-start [-daemon] zookeeper.properties`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use console::Board;
use keeper::{Keeper, KeeperConfig, KeeperError};
use runtime::Clock;

use super::http::Listen;
use super::signals::StopSignals;
use super::{daemon, http, logging};
use crate::connect;
use crate::failure::Failure;

const USAGE: &str = "USAGE: zookeeper-server-start.sh [-daemon] zookeeper.properties";
/// What `zookeeper-server-stop` reads where no file is named.
const DEFAULT_FILE: &str = "config/zookeeper.properties";

/// Runs a keeper until a signal ends it.
pub fn start(words: &[String]) -> Result<(), Failure> {
    let file = match words {
        [flag, rest @ ..] if flag == "-daemon" => return daemon::start("zookeeper-server-start", rest),
        [flag] if flag == "--help" || flag == "-h" => {
            println!("{USAGE}");
            return Ok(());
        }
        [file] => PathBuf::from(file),
        _ => return Err(Failure::misuse(USAGE).help(format!("bin/zookeeper-server-start.sh {DEFAULT_FILE}"))),
    };
    let log = logging::start("info")?;
    let config = KeeperConfig::from_properties(&file)?;
    let folder = config.data_dir.clone();
    let started = Clock::real().now();
    // ZooKeeper's own key for its Prometheus provider; without it a keeper beside a broker would take the broker's port.
    let listen = config.metrics_address().map_or(Listen::Nowhere, Listen::At);
    connect::block_on(async {
        let mut signals = StopSignals::listen(&log)?;
        let mut board = Board::new();
        let place = board.expect_keeper();
        let console = listen.start(board)?;
        let keeper = match Keeper::start(config) {
            Ok(keeper) => keeper,
            Err(error) => {
                let Some(note) = already_served(&error) else { return Err(error.into()) };
                eprintln!("{note}");
                return Ok(());
            }
        };
        place.put(keeper.monitor());
        let took = Clock::real().now() - started;
        let port = keeper.local_addr().port();
        let folder = absolute(&folder);
        logging::announce(&format!(
            "tidemill keeper {}  clientPort {port}  dataDir {folder}  ready in {} ms",
            env!("CARGO_PKG_VERSION"),
            took.as_millis()
        ));
        http::announce(console.as_ref());
        say_how_to_stop();
        tokio::select! {
            biased;
            () = signals.first() => {}
            () = keeper.ended() => signals.stopping(),
        }
        Ok(keeper.shutdown().await?)
    })
}

/// Stops the keeper that holds the data directory of the properties file.
pub fn stop(words: &[String]) -> Result<(), Failure> {
    let file = words.first().map_or(DEFAULT_FILE, String::as_str);
    let config = KeeperConfig::from_properties(Path::new(file))?;
    daemon::stop("zookeeper server", &config.data_dir.join(keeper::LOCK_FILE))
}

/// Tells people at a terminal what closing it would do; a log file needs no such advice.
pub fn say_how_to_stop() {
    if std::io::stderr().is_terminal() {
        eprintln!("keep this window open (Ctrl-C stops it)");
    }
}

/// A path as people can find it again, whatever folder they stand in.
pub fn absolute(path: &Path) -> String {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf()).display().to_string()
}

/// A port that is taken by the keeper inside `tidemill serve` needs no second one: whoever follows the tutorial after that has nothing to do.
fn already_served(error: &KeeperError) -> Option<String> {
    let KeeperError::AddressInUse { address } = error else { return None };
    let port = address.port();
    let holder = runtime::machine::port_holder(port)?;
    let mut words = holder.words.iter().map(String::as_str);
    let is_ours = Path::new(words.next()?).file_name()? == "tidemill";
    let is_standalone = words.next().is_none_or(|word| matches!(word, "serve" | "demo") || word.starts_with('-'));
    (is_ours && is_standalone).then(|| {
        format!("note: the broker's embedded keeper (process {}) already serves {port}; nothing to do", holder.pid)
    })
}
