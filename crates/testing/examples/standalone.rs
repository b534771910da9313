//! A keeper and a broker in one process, for trying clients by hand: `standalone DIRECTORY [key=value ...]`. Keys are those of `server.properties`, and `keeper.port`.

use std::path::PathBuf;
use std::process::ExitCode;

use broker::{Broker, BrokerConfig};
use keeper::{Keeper, KeeperConfig};

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter()).init();
    let mut arguments = std::env::args().skip(1);
    let Some(directory) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: standalone DIRECTORY [key=value ...]");
        return ExitCode::from(2);
    };
    let runtime = runtime::spawn::multi_thread("broker", runtime::spawn::parallelism(), 64).expect("threads");
    runtime.block_on(async {
        let mut settings: Vec<(String, String)> = vec![
            ("broker.id".into(), "0".into()),
            ("listeners".into(), "PLAINTEXT://127.0.0.1:21392".into()),
            ("log.dirs".into(), directory.join("kafka-logs").display().to_string()),
        ];
        settings.extend(arguments.filter_map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))));
        let mut keeper = None;
        if !settings.iter().any(|(key, _)| key == "zookeeper.connect") {
            let port = settings.iter().position(|(key, _)| key == "keeper.port").map(|at| settings.remove(at).1);
            let mut config = KeeperConfig::new(directory.join("keeper"));
            config.address = format!("127.0.0.1:{}", port.as_deref().unwrap_or("21381")).parse().expect("a port");
            let started = match Keeper::start(config) {
                Ok(started) => started,
                Err(error) => {
                    eprintln!("error: {error}");
                    return ExitCode::FAILURE;
                }
            };
            settings.push(("zookeeper.connect".into(), started.local_addr().to_string()));
            keeper = Some(started);
        }
        let broker = match BrokerConfig::from_overrides(settings) {
            Ok(config) => Broker::start(config).await,
            Err(error) => Err(error),
        };
        match broker {
            Ok(broker) => {
                println!("{:?}", broker.addresses());
                let mut terminate =
                    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("signals");
                tokio::select! {
                    biased;
                    _ = tokio::signal::ctrl_c() => {}
                    _ = terminate.recv() => {}
                }
                println!("{:?}", broker.status());
                broker.shutdown().await;
                if let Some(keeper) = keeper {
                    keeper.shutdown().await.expect("the keeper stops");
                }
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error}");
                error.cause().iter().for_each(|cause| eprintln!("cause: {cause}"));
                error.help("bin/tidemill serve").iter().for_each(|help| eprintln!("help: {help}"));
                ExitCode::FAILURE
            }
        }
    })
}

fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into())
}
