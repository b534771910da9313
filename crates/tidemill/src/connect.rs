//! How tools reach a keeper or a broker: one session, or one set of connections, for the time of one command, on a runtime of its own.

use std::future::Future;
use std::time::Duration;

use client::kafka::{ClientConfig, ClientError, Cluster};
use client::zookeeper::znodes::BrokerRegistration;
use client::zookeeper::{Session, ZkError, paths};
use client::zookeeper_consumer::ConsumerError;
use runtime::Clock;

use crate::failure::Failure;
use crate::properties::{self, Pairs};

/// Session time-out of the tools, and their wait for a first connection (Kafka's tools: 30 s, which a person does not wait).
const ZOOKEEPER_TIMEOUT: Duration = Duration::from_secs(6);

/// How long a broker may keep silent about its versions before it counts as one too old to tell them (0.9 never answers). A person waits for it.
const OLD_BROKER_SILENCE: Duration = Duration::from_secs(2);

/// Runs a tool's work to its end on the calling thread.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime::spawn::current_thread().map_err(|error| Failure::new("cannot start").cause(error))?;
    runtime.block_on(work)
}

/// Runs the work of a tool that may stand still while it writes to its reader: what must go on meanwhile (heartbeats, fetches) has a thread of
/// its own.
pub fn block_on_two_threads<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    const BLOCKING_THREADS_MAX: usize = 4;
    let runtime = runtime::spawn::multi_thread("tool", 1, BLOCKING_THREADS_MAX)
        .map_err(|error| Failure::new("cannot start").cause(error))?;
    let done = runtime.block_on(work);
    // A thread that waits for a line of stdin would be waited for.
    runtime.shutdown_background();
    done
}

/// The configuration of a client of `servers` with the properties of `--command-config`.
pub fn client_config(servers: &str, command_config: Option<&str>) -> Result<ClientConfig, Failure> {
    let mut config = ClientConfig::parse(servers)?;
    config.client_id = "tidemill-tool".to_owned();
    config.api_version_request_timeout = OLD_BROKER_SILENCE;
    let settings = command_config.map_or(Ok(Pairs::new()), properties::file)?;
    properties::apply(&settings, |name, value| Ok(config.set(name, value)?))?;
    Ok(config)
}

/// A cluster that has answered.
pub async fn kafka(servers: &str, command_config: Option<&str>) -> Result<Cluster, Failure> {
    kafka_within(servers, command_config, None).await
}

/// [`kafka`], each call of which takes at most `timeout_ms`.
pub async fn kafka_within(
    servers: &str,
    command_config: Option<&str>,
    timeout_ms: Option<u64>,
) -> Result<Cluster, Failure> {
    let mut config = client_config(servers, command_config)?;
    if let Some(timeout_ms) = timeout_ms {
        config.set("default.api.timeout.ms", &timeout_ms.to_string())?;
    }
    opened(config).await
}

/// The cluster whose brokers are registered in ZooKeeper.
pub async fn kafka_of(session: &Session) -> Result<Cluster, Failure> {
    let ids = match session.get_children(paths::BROKER_IDS).await {
        Ok(ids) => ids,
        Err(error) if error.is_no_node() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let znodes: Vec<String> = ids.iter().map(|id| format!("{}/{id}", paths::BROKER_IDS)).collect();
    let (mut servers, mut oldest) = (Vec::new(), i32::MAX);
    for (path, data) in znodes.iter().zip(session.read_many(&znodes).await?) {
        let Some((data, _)) = data else { continue };
        let registration = BrokerRegistration::parse(path, &data)?;
        if let Some(endpoint) = registration.plaintext() {
            servers.push(format!("{}:{}", endpoint.host, endpoint.port));
            oldest = oldest.min(registration.version);
        }
    }
    if servers.is_empty() {
        return Err(Failure::new(format!("{} brokers registered under {}", ids.len(), paths::BROKER_IDS))
            .cause("none of them can be asked where partitions end")
            .help("bin/kafka-server-start.sh config/server.properties"));
    }
    let mut config = client_config(&servers.join(","), None)?;
    // A registration tells a broker's age; one of 0.8 or 0.9 would leave the question for its versions without an answer.
    if oldest <= 2 {
        config.api_version_request = false;
    }
    opened(config).await
}

async fn opened(config: ClientConfig) -> Result<Cluster, Failure> {
    let cluster = Cluster::new(config, Clock::real());
    // A refused connection is told at once: nobody waits a minute to learn that a port is wrong.
    cluster.any_connection().await?;
    cluster.refresh_brokers().await?;
    Ok(cluster)
}

/// Opens a session at `--zookeeper`.
pub async fn zookeeper(connect: &str) -> Result<Session, Failure> {
    Session::connect(connect, ZOOKEEPER_TIMEOUT).await.map_err(|error| unreachable_zookeeper(connect, &error))
}

/// What is said where ZooKeeper does not answer.
pub fn unreachable_zookeeper(connect: &str, error: &ZkError) -> Failure {
    match error {
        ZkError::ConnectTimeout { last, .. } => Failure::verbatim(format!(
            "Timed out waiting for connection to ZooKeeper server {connect} after {} ms",
            ZOOKEEPER_TIMEOUT.as_millis()
        ))
        .cause(last)
        .help("bin/zookeeper-server-start.sh config/zookeeper.properties"),
        other => Failure::new(other),
    }
}

impl From<ZkError> for Failure {
    fn from(error: ZkError) -> Failure {
        Failure::new(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        explained(&error, error.cause(), error.help())
    }
}

impl From<ConsumerError> for Failure {
    fn from(error: ConsumerError) -> Failure {
        match error {
            ConsumerError::Kafka(error) => error.into(),
            ConsumerError::Zookeeper(error) => error.into(),
            other => explained(&other, other.cause(), other.help()),
        }
    }
}

/// The client's texts are Kafka's: they come first, as they are.
fn explained(error: &impl std::fmt::Display, cause: Option<String>, help: Option<String>) -> Failure {
    let mut failure = Failure::verbatim(error);
    if let Some(cause) = cause {
        failure = failure.cause(cause);
    }
    if let Some(help) = help {
        failure = failure.help(help);
    }
    failure
}
