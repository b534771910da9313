//! How tools reach a keeper or a broker: one session, or one set of connections, for the time of one command, on a runtime of its own.

use std::future::Future;
use std::time::Duration;

use client::kafka::{ClientConfig, ClientError, Cluster, ConsumerConfig, HostPort};
use client::probe::{self, Answering, Instead};
use client::zookeeper::znodes::BrokerRegistration;
use client::zookeeper::{ConnectString, Session, ZkError, paths};
use runtime::Clock;

use crate::failure::Failure;
use crate::properties::{self, Pairs};

/// Session time-out of the tools, and their wait for a first connection (Kafka's tools: 30 s, which a person does not wait).
const ZOOKEEPER_TIMEOUT: Duration = Duration::from_secs(6);

/// A ZooKeeper that has not answered for so long is looked at, and its user is told.
const ZOOKEEPER_PATIENCE: Duration = Duration::from_secs(1);

/// How long a broker may keep silent about its versions before it counts as one too old to tell them (0.9 never answers). A person waits for it.
const OLD_BROKER_SILENCE: Duration = Duration::from_secs(2);

/// A broker that has not answered for so long is looked at.
const BROKER_PATIENCE: Duration = Duration::from_secs(1);

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
    properties::apply(&settings, &[command_config], |name, value| Ok(config.set(name, value)?))?;
    Ok(config)
}

/// The configuration of a tool that reads from `servers` as a member of `group`.
pub fn consumer_config(servers: &str, client_id: &str, group: String) -> Result<ConsumerConfig, Failure> {
    let mut client = client_config(servers, None)?;
    client.client_id = client_id.to_owned();
    let mut config = ConsumerConfig::new(client);
    // A reader that waits for a topic must not make it by waiting.
    config.allow_auto_create_topics = false;
    config.group_id = Some(group);
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
    match contact(&cluster).await {
        Ok(()) => Ok(cluster),
        Err(NoContact::Wrong(failure)) => Err(failure),
        Err(NoContact::Failed(error)) => Err(error.into()),
    }
}

/// Why brokers could not be talked to.
pub enum NoContact {
    /// Something else answers at their address: waiting does not help.
    Wrong(Failure),
    /// A broker that may yet come.
    Failed(ClientError),
}

/// Meets the brokers of a cluster. A refused connection is told at once: nobody waits a minute to learn that a port is wrong. Where somebody takes
/// the connection and says nothing of use, it is found out who.
pub async fn contact(cluster: &Cluster) -> Result<(), NoContact> {
    let servers = &cluster.config().bootstrap_servers;
    let met = async {
        cluster.any_connection().await?;
        cluster.refresh_brokers().await.map(drop)
    };
    let mut met = std::pin::pin!(met);
    let outcome = tokio::select! {
        biased;
        outcome = &mut met => outcome,
        () = Clock::real().sleep(BROKER_PATIENCE) => match wrong_broker(servers).await {
            Some(wrong) => return Err(NoContact::Wrong(wrong)),
            None => met.await,
        },
    };
    match outcome {
        Ok(()) => Ok(()),
        // Where nobody listens nobody need be asked.
        Err(error @ ClientError::Unreachable { .. }) => Err(NoContact::Failed(error)),
        Err(error) => match wrong_broker(servers).await {
            Some(wrong) => Err(NoContact::Wrong(wrong)),
            None => Err(NoContact::Failed(error)),
        },
    }
}

/// What is said where something else answers at the brokers' address.
async fn wrong_broker(servers: &[HostPort]) -> Option<Failure> {
    let addresses: Vec<(&str, u16)> = servers.iter().map(|server| (server.host.as_str(), server.port)).collect();
    let Instead { found, address } = probe::instead_of_brokers(&addresses).await?;
    let failure = Failure::verbatim(format!("Bootstrap broker {address} (id: -1 rack: null) disconnected"));
    let help = match found {
        Answering::ZooKeeper(_) => {
            format!("bin/kafka-topics.sh --list --zookeeper {address}   (a broker's port is 9092 as a rule)")
        }
        _ => "bin/kafka-server-start.sh config/server.properties".to_owned(),
    };
    Some(failure.cause(format!("{found} answers there, not a Kafka broker")).help(help))
}

/// Opens a session at `--zookeeper`. A server that is not there is waited for, and that is told; one that is no ZooKeeper is not.
pub async fn zookeeper(connect: &str) -> Result<Session, Failure> {
    let mut connected = std::pin::pin!(Session::connect(connect, ZOOKEEPER_TIMEOUT));
    let outcome = tokio::select! {
        biased;
        outcome = &mut connected => outcome,
        () = Clock::real().sleep(ZOOKEEPER_PATIENCE) => {
            if let Some(wrong) = wrong_zookeeper(connect).await {
                return Err(wrong);
            }
            eprintln!("note: waiting for ZooKeeper at {connect}, {} s at most", ZOOKEEPER_TIMEOUT.as_secs());
            connected.await
        }
    };
    match outcome {
        Ok(session) => Ok(session),
        Err(error) => Err(unreachable_zookeeper(connect, error).await),
    }
}

/// What is said where ZooKeeper does not answer.
pub async fn unreachable_zookeeper(connect: &str, error: ZkError) -> Failure {
    let ZkError::ConnectTimeout { last, .. } = error else { return error.into() };
    let failure = Failure::verbatim(format!(
        "Timed out waiting for connection to ZooKeeper server {connect} after {} ms",
        ZOOKEEPER_TIMEOUT.as_millis()
    ));
    match wrong_zookeeper(connect).await {
        Some(wrong) => failure.explained_by(wrong),
        None => failure.cause(last).help("bin/zookeeper-server-start.sh config/zookeeper.properties"),
    }
}

/// What is said where something else answers at `--zookeeper`.
async fn wrong_zookeeper(connect: &str) -> Option<Failure> {
    let parsed = ConnectString::parse(connect).ok()?;
    let Instead { found, address } = probe::instead_of_zookeeper(&parsed).await?;
    let failure = Failure::verbatim(format!("Unable to connect to zookeeper server {address}"));
    let help = match found {
        Answering::Kafka => {
            format!("bin/kafka-topics.sh --list --bootstrap-server {address}   (ZooKeeper's port is 2181 as a rule)")
        }
        _ => "bin/zookeeper-server-start.sh config/zookeeper.properties".to_owned(),
    };
    Some(failure.cause(format!("{found} answers there, not a ZooKeeper")).help(help))
}
