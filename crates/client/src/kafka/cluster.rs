//! The cluster as a client sees it: which brokers there are, who leads each partition, and a connection to any of them.
//!
//! Always true:
//! - metadata is a snapshot ([`Metadata`], shared and never changed); a refresh replaces it, and refreshes that ask at the same time become one;
//! - at most one connection per broker and [`Lane`] is open or being opened; a broker that refused is left alone for `reconnect.backoff.ms`;
//! - every wait ends: each call takes a deadline, or `default.api.timeout.ms`.
//!
//! Nothing runs in the background: metadata older than `metadata.max.age.ms` is refreshed by whoever uses it next.

mod metadata;
mod pool;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use protocol::messages::Request;
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::metadata::MetadataRequest;
use protocol::types::{BrokerId, LeaderEpoch, TopicPartition};
use protocol::wire::Str;
use runtime::clock::Instant;
use runtime::{Clock, Random};
use tokio::sync::Mutex;

pub use metadata::{Metadata, Node, PartitionMetadata, TopicMetadata};

use self::pool::Pool;
use super::backoff::Backoff;
use super::config::ClientConfig;
use super::connection::Connection;
use super::error::{ClientError, Result, check_code_with};

/// Connections to one broker that must not wait for each other: a broker answers the requests of one connection in order, and a fetch may be
/// held back for `fetch.max.wait.ms`, a JoinGroup for a whole rebalance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Metadata, offsets, admin requests and Produce.
    General,
    /// Fetch by those who never wait for records to come.
    Fetch,
    /// A connection of one user's own; see [`Cluster::private_lane`].
    Private(u64),
}

/// A [`Lane`] that nobody else uses. Its connections are closed when it is dropped.
pub struct PrivateLane {
    cluster: Cluster,
    number: u64,
}

impl PrivateLane {
    /// The lane.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane::Private(self.number)
    }
}

impl Drop for PrivateLane {
    fn drop(&mut self) {
        self.cluster.inner.pool.close_lane(self.lane());
    }
}

/// What a coordinator coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoordinatorKind {
    /// A consumer group, named by `group.id`.
    Group,
    /// A transaction, named by `transactional.id`.
    Transaction,
}

/// A cluster. Cheap to clone; clones share connections and metadata.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    config: ClientConfig,
    clock: Clock,
    random: Random,
    pool: Pool,
    metadata: RwLock<Arc<Metadata>>,
    /// Held by the one refresh under way.
    refreshing: Mutex<()>,
    next_private_lane: AtomicU64,
}

/// Which topics a refresh asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted<'a> {
    /// All of the cluster.
    All,
    /// None: only brokers and controller.
    Brokers,
    /// These, which the broker may create where it is configured so.
    Topics { names: &'a [&'a str], create: bool },
}

impl Cluster {
    /// A cluster known by the bootstrap servers of `config`. Nothing is sent yet.
    #[must_use]
    pub fn new(config: ClientConfig, clock: Clock) -> Cluster {
        Cluster::with_chance(config, clock, Random::real())
    }

    /// [`Cluster::new`] with a source of chance: what decides who is asked first, and how long pauses are.
    #[must_use]
    pub fn with_chance(config: ClientConfig, clock: Clock, random: Random) -> Cluster {
        let inner = Inner {
            pool: Pool::new(clock, random),
            metadata: RwLock::new(Arc::new(Metadata::empty(clock.now()))),
            refreshing: Mutex::new(()),
            next_private_lane: AtomicU64::new(0),
            config,
            clock,
            random,
        };
        Cluster { inner: Arc::new(inner) }
    }

    /// [`Cluster::new`], and a first answer from one of the bootstrap servers within `default.api.timeout.ms`.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`] where none answers.
    pub async fn connect(config: ClientConfig, clock: Clock) -> Result<Cluster> {
        let cluster = Cluster::new(config, clock);
        cluster.refresh_brokers().await?;
        Ok(cluster)
    }

    /// What it was configured with.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// The clock it measures its waits with.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.inner.clock
    }

    /// What it decides by where nothing else does.
    #[must_use]
    pub fn random(&self) -> Random {
        self.inner.random
    }

    /// What is known now; empty before the first refresh.
    #[must_use]
    pub fn metadata(&self) -> Arc<Metadata> {
        self.inner.metadata.read().clone()
    }

    /// `default.api.timeout.ms` from now.
    #[must_use]
    pub fn default_deadline(&self) -> Instant {
        self.inner.clock.now() + self.inner.config.default_api_timeout
    }

    /// Asks for brokers and controller.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`] where none answers within `default.api.timeout.ms`.
    pub async fn refresh_brokers(&self) -> Result<Arc<Metadata>> {
        self.refresh(Wanted::Brokers, self.default_deadline()).await
    }

    /// Asks for all topics.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`] where none answers within `default.api.timeout.ms`.
    pub async fn refresh_all(&self) -> Result<Arc<Metadata>> {
        self.refresh(Wanted::All, self.default_deadline()).await
    }

    /// Asks for some topics once; a topic that does not exist has its error in the result. Never creates one (where the broker can be told so:
    /// before Metadata v4 it cannot).
    ///
    /// # Errors
    /// [`ClientError::NoBroker`] where none answers until `deadline`.
    pub async fn refresh_topics(&self, names: &[&str], deadline: Instant) -> Result<Arc<Metadata>> {
        self.refresh(Wanted::Topics { names, create: false }, deadline).await
    }

    /// [`Cluster::refresh_topics`], but the broker may create topics that do not exist (`auto.create.topics.enable`).
    ///
    /// # Errors
    /// [`ClientError::NoBroker`] where none answers until `deadline`.
    pub async fn refresh_topics_creating(&self, names: &[&str], deadline: Instant) -> Result<Arc<Metadata>> {
        self.refresh(Wanted::Topics { names, create: true }, deadline).await
    }

    /// Metadata of a topic, asked for until it is there and has leaders, at most until `deadline`. With `create` the broker may create it; a
    /// broker that does so says LEADER_NOT_AVAILABLE at first.
    ///
    /// # Errors
    /// [`ClientError::TopicNotPresent`] at `deadline`; at once for codes that waiting does not cure, such as INVALID_TOPIC_EXCEPTION.
    pub async fn topic(&self, name: &str, create: bool, deadline: Instant) -> Result<Arc<TopicMetadata>> {
        let clock = self.inner.clock;
        let started = clock.now();
        let mut backoff = self.backoff();
        let mut last = None;
        loop {
            let metadata = self.metadata();
            if let Some(topic) = metadata.topic(name)
                && topic.is_usable()
                && clock.now().saturating_duration_since(topic.fetched_at) < self.inner.config.metadata_max_age
            {
                return Ok(topic.clone());
            }
            match self.refresh(Wanted::Topics { names: &[name], create }, deadline).await {
                Ok(metadata) => match metadata.topic(name) {
                    Some(topic) if topic.is_usable() => return Ok(topic.clone()),
                    Some(topic) => {
                        let code = topic.trouble();
                        if !code.is_retriable() {
                            return Err(ClientError::broker(code, name));
                        }
                        tracing::warn!("Error while fetching metadata : {{{name}={}}}", code.name());
                        last = Some(Arc::new(ClientError::broker(code, name)));
                    }
                    None => {}
                },
                // The deadline came before an answer: that says less than the answer before it.
                Err(ClientError::NoBroker { last: None, .. }) if last.is_some() => {}
                Err(error) if error.is_retriable() => last = Some(Arc::new(error)),
                Err(error) => return Err(error),
            }
            if !self.pause(&mut backoff, deadline).await {
                // The time that was allowed, which is what users look for; the pause that no longer fitted in counts.
                let waited_ms = whole_ms(deadline.saturating_duration_since(started));
                return Err(ClientError::TopicNotPresent { topic: name.to_string(), waited_ms, last });
            }
        }
    }

    /// Who leads a partition, as far as is known now.
    #[must_use]
    pub fn leader(&self, partition: &TopicPartition) -> Option<(BrokerId, LeaderEpoch)> {
        self.metadata().leader(partition)
    }

    /// Takes note that what is known of a topic is wrong: a broker said it does not lead. The next use asks again.
    pub fn forget_topic(&self, name: &str) {
        let mut metadata = self.inner.metadata.write();
        *metadata = Arc::new(metadata.without_topic(name));
    }

    /// A connection to a broker of the cluster.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] where it refuses or the id is not known.
    pub async fn connection(&self, broker: BrokerId, lane: Lane) -> Result<Connection> {
        let metadata = self.metadata();
        let Some(node) = metadata.brokers.get(&broker) else {
            return Err(ClientError::Unreachable {
                node: broker.0,
                address: "unknown".to_string(),
                cause: "the broker is not in the cluster's metadata".to_string(),
            });
        };
        self.inner.pool.get(broker.0, lane, &node.address, &self.inner.config).await
    }

    /// A lane for a user whose requests a broker may hold back for long: members of a group that share a cluster must not share a connection,
    /// or one's JoinGroup keeps the other's from being read.
    #[must_use]
    pub fn private_lane(&self) -> PrivateLane {
        let number = self.inner.next_private_lane.fetch_add(1, Ordering::Relaxed);
        PrivateLane { cluster: self.clone(), number }
    }

    /// A connection to whichever broker answers first: open ones, then those of the metadata, then the bootstrap servers.
    ///
    /// # Errors
    /// The last broker's failure where all fail.
    pub async fn any_connection(&self) -> Result<Connection> {
        let metadata = self.metadata();
        let mut known: Vec<&Node> = metadata.brokers.values().collect();
        self.inner.random.shuffle(&mut known);
        let config = &self.inner.config;
        if let Some(open) = known.iter().find_map(|node| self.inner.pool.open(node.id.0, Lane::General, &node.address))
        {
            return Ok(open);
        }
        let mut bootstrap: Vec<(i32, &super::config::HostPort)> =
            config.bootstrap_servers.iter().enumerate().map(|(index, address)| (-1 - index as i32, address)).collect();
        self.inner.random.shuffle(&mut bootstrap);
        let candidates = known.iter().map(|node| (node.id.0, &node.address)).chain(bootstrap);
        let mut last = ClientError::InvalidAddress { given: String::new() };
        for (id, address) in candidates {
            match self.inner.pool.get(id, Lane::General, address, config).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A connection to the controller; on a broker that names none (before Metadata v1) to any broker.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`] where nobody answers.
    pub async fn controller(&self) -> Result<Connection> {
        let mut metadata = self.metadata();
        if metadata.controller.is_none() {
            metadata = self.refresh_brokers().await?;
        }
        match metadata.controller {
            Some(controller) => self.connection(controller, Lane::General).await,
            None => self.any_connection().await,
        }
    }

    /// Who coordinates a group or a transaction. It is asked anew each time: keep the answer until the coordinator says NOT_COORDINATOR.
    ///
    /// Retries COORDINATOR_NOT_AVAILABLE, which a broker says while it creates its offsets topic.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] at `deadline`; at once for codes that waiting does not cure.
    pub async fn find_coordinator(&self, key: &str, kind: CoordinatorKind, deadline: Instant) -> Result<BrokerId> {
        self.retry("finding the coordinator", deadline, async || {
            let connection = self.any_connection().await?;
            let version = connection.version_of::<FindCoordinatorRequest>()?;
            // From version 4 on the keys are a list; one key is all we need, and every broker still speaks version 3.
            let version = version.min(3);
            let request = FindCoordinatorRequest {
                key: Str::from(key),
                key_type: match kind {
                    CoordinatorKind::Group => 0,
                    CoordinatorKind::Transaction => 1,
                },
                ..FindCoordinatorRequest::default()
            };
            let response = connection.send_version(&request, version).await?;
            check_code_with(response.error_code, response.error_message.as_deref(), || key.to_string())?;
            let id = BrokerId(response.node_id);
            if !self.metadata().brokers.contains_key(&id) {
                self.refresh_brokers().await?;
            }
            Ok(id)
        })
        .await
    }

    /// Sends a request to any broker, in the highest common version.
    ///
    /// # Errors
    /// As [`Cluster::any_connection`] and [`Connection::send`].
    pub async fn send_any<R: Request>(&self, request: &R) -> Result<R::Response> {
        self.any_connection().await?.send(request).await
    }

    /// Sends a request to one broker, in the highest common version.
    ///
    /// # Errors
    /// As [`Cluster::connection`] and [`Connection::send`].
    pub async fn send_to<R: Request>(&self, broker: BrokerId, request: &R) -> Result<R::Response> {
        self.connection(broker, Lane::General).await?.send(request).await
    }

    /// Repeats `attempt` with growing pauses until it succeeds or fails for good.
    ///
    /// # Errors
    /// The first error that is not retriable, or [`ClientError::Timeout`] at `deadline` with the last one inside.
    pub async fn retry<T, F>(&self, doing: &str, deadline: Instant, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let started = self.inner.clock.now();
        let mut last = None;
        let mut backoff = self.backoff();
        loop {
            let in_time = match self.inner.clock.timeout_at(deadline, attempt()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(error)) if error.is_retriable() => {
                    last = Some(Arc::new(error));
                    self.pause(&mut backoff, deadline).await
                }
                Ok(Err(error)) => return Err(error),
                Err(_elapsed) => false,
            };
            if !in_time {
                let waited_ms = whole_ms(self.inner.clock.now().saturating_duration_since(started));
                return Err(ClientError::Timeout { doing: doing.to_string(), waited_ms, last });
            }
        }
    }

    /// Closes all connections. Clones of this cluster open new ones when they are used again.
    pub fn close(&self) {
        self.inner.pool.close();
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(self.inner.config.retry_backoff, self.inner.config.retry_backoff_max, self.inner.random)
    }

    /// Waits for the next pause of `backoff`; `false` where `deadline` comes first.
    pub(super) async fn pause(&self, backoff: &mut Backoff, deadline: Instant) -> bool {
        let next = self.inner.clock.now() + backoff.next();
        if next >= deadline {
            return false;
        }
        self.inner.clock.sleep_until(next).await;
        true
    }

    /// Asks until one broker answers.
    async fn refresh(&self, wanted: Wanted<'_>, deadline: Instant) -> Result<Arc<Metadata>> {
        let clock = self.inner.clock;
        let started = clock.now();
        let no_broker = |last: Option<ClientError>| ClientError::NoBroker {
            call: "metadata".to_string(),
            waited_ms: whole_ms(clock.now().saturating_duration_since(started)),
            last: last.map(Arc::new),
        };
        let Ok(_refreshing) = clock.timeout_at(deadline, self.inner.refreshing.lock()).await else {
            return Err(no_broker(None));
        };
        // Somebody else asked for the same while we waited for our turn.
        let current = self.metadata();
        if current.answers(&wanted, started) {
            return Ok(current);
        }
        let mut backoff = self.backoff();
        let mut last = None;
        loop {
            let error = match clock.timeout_at(deadline, self.ask(&wanted)).await {
                Ok(Ok(metadata)) => return Ok(metadata),
                Ok(Err(error)) if !error.is_retriable() => return Err(error),
                Ok(Err(error)) => error,
                Err(_elapsed) => return Err(no_broker(last)),
            };
            tracing::debug!(%error, cause = error.cause(), "metadata request failed");
            if !self.pause(&mut backoff, deadline).await {
                return Err(no_broker(Some(error)));
            }
            last = Some(error);
        }
    }

    async fn ask(&self, wanted: &Wanted<'_>) -> Result<Arc<Metadata>> {
        let connection = self.any_connection().await?;
        let version = connection.version_of::<MetadataRequest>()?;
        let response = connection.send_version(&wanted.request(version), version).await?;
        let fresh = Metadata::from_response(&response, self.inner.clock.now())?;
        let mut metadata = self.inner.metadata.write();
        let merged = Arc::new(metadata.merged_with(fresh, wanted));
        *metadata = merged.clone();
        Ok(merged)
    }
}

/// A duration in whole milliseconds, as Kafka's texts want it.
pub(super) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
