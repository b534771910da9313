//! Keeper and broker in one process: `tidemill` alone, or `tidemill serve`.
//!
//! The broker reaches the keeper through its port like any other client, so the two can be taken apart later without a change of data.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::{Broker, BrokerConfig, Loggers, Surroundings};
use clap::Parser;
use console::{Board, Console};
use keeper::{Keeper, KeeperConfig};
use runtime::Clock;

use super::http::{self, Listen};
use super::logging::{self, Log};
use super::signals::StopSignals;
use super::{broker as broker_process, recovery};
use crate::failure::Failure;
use crate::{options, properties};

/// The command that starts both, for help lines.
const START: &str = "bin/tidemill serve";

/// Keeper and broker in one process, on loopback.
#[derive(Debug, Parser)]
struct Options {
    /// Port of the broker
    #[arg(long, default_value_t = 9092, env = "TIDEMILL_PORT")]
    port: u16,
    /// Port of the keeper
    #[arg(long, default_value_t = 2181, env = "TIDEMILL_KEEPER_PORT")]
    keeper_port: u16,
    /// Folder of all data; keeper/ and kafka-logs/ are made in it
    #[arg(long, default_value = "data", env = "TIDEMILL_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
    /// Where /metrics, /healthz and /readyz are served: host:port, a port, or none [default: 127.0.0.1:8080, if it is free]
    #[arg(long, env = "TIDEMILL_HTTP", value_name = "ADDRESS")]
    http: Option<String>,
    /// A broker setting, as in server.properties; once for each
    #[arg(long = "override", value_name = "PROPERTY=VALUE")]
    overrides: Vec<String>,
}

/// Both servers, with where they are.
pub struct Servers {
    /// The keeper.
    pub keeper: Keeper,
    /// The broker.
    pub broker: Broker,
    /// What the broker was started with.
    pub config: BrokerConfig,
    /// Metrics and health, where they are served.
    pub console: Option<Console>,
}

impl Servers {
    /// Starts both on loopback, with their data below `data`, and before them what tells how far that is.
    pub async fn start(
        log: &Arc<Log>,
        data: &Path,
        keeper_port: u16,
        port: u16,
        overrides: &[(String, String)],
    ) -> Result<Servers, Failure> {
        let listen = match overrides.iter().rev().find(|(key, _)| key == http::KEY) {
            Some((_, value)) => Listen::parse(value)?,
            None => Listen::by_default(),
        };
        let mut board = Board::new();
        let (place, monitor) = (board.expect_keeper(), board.expect_broker());
        let console = listen.start(board)?;
        let mut keeper_config = KeeperConfig::new(data.join("keeper"));
        keeper_config.address = SocketAddr::from((Ipv4Addr::LOCALHOST, keeper_port));
        // All clients of this machine come from one address.
        keeper_config.max_client_connections = 0;
        let keeper = Keeper::start(keeper_config)?;
        place.put(keeper.monitor());
        let mut settings = vec![
            ("broker.id".to_owned(), "0".to_owned()),
            ("listeners".to_owned(), format!("PLAINTEXT://localhost:{port}")),
            ("log.dirs".to_owned(), data.join("kafka-logs").display().to_string()),
            ("zookeeper.connect".to_owned(), keeper.local_addr().to_string()),
        ];
        settings.extend_from_slice(overrides);
        let refused = |error| Failure::of_broker(&error, START);
        let config = BrokerConfig::from_overrides(settings).map_err(refused)?;
        let loggers: Arc<dyn Loggers> = log.clone();
        let surroundings = Surroundings { monitor: monitor.clone(), loggers: Some(loggers), ..Surroundings::default() };
        match recovery::shown(log, &monitor, Broker::start_in(config.clone(), surroundings)).await {
            Ok(broker) => Ok(Servers { keeper, broker, config, console }),
            Err(error) => {
                keeper.shutdown().await?;
                Err(refused(error))
            }
        }
    }

    /// Resumes when the keeper ended by itself, which it does where its disk fails.
    pub async fn ended(&self) {
        self.keeper.ended().await;
    }

    /// Stops the broker, then the keeper it still needs to say goodbye to.
    pub async fn shutdown(self) -> Result<(), Failure> {
        self.broker.shutdown().await;
        Ok(self.keeper.shutdown().await?)
    }
}

/// Runs both until a signal ends them, or a disk that fails.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let options: Options = options::parse("tidemill serve", words)?;
    let mut overrides = properties::words(&options.overrides)?;
    if let Some(address) = options.http {
        overrides.insert(0, (http::KEY.to_owned(), address));
    }
    let log = logging::start("warn")?;
    broker_process::run(async {
        let mut signals = StopSignals::listen(&log)?;
        let started = Clock::real().now();
        let servers = tokio::select! {
            biased;
            () = signals.first() => return Ok(()),
            servers = Servers::start(&log, &options.data_dir, options.keeper_port, options.port, &overrides) => servers?,
        };
        broker_process::announce(&servers.broker, &servers.config, servers.console.as_ref(), started);
        logging::announce(&format!("keeper on {}", servers.keeper.local_addr()));
        logging::announce(&format!(
            "try: bin/kafka-console-producer.sh --broker-list localhost:{} --topic wordsendertest",
            options.port
        ));
        let done = tokio::select! {
            biased;
            () = signals.first() => Ok(()),
            () = servers.ended() => {
                signals.stopping();
                Ok(())
            }
            failed = servers.broker.failed() => {
                signals.stopping();
                Err(Failure::of_broker(&failed, START))
            }
        };
        // What ended the broker comes before what its end met.
        let stopped = servers.shutdown().await;
        done.and(stopped)
    })
}
