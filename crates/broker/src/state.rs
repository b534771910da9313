//! What all parts of a running broker share.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use protocol::api::ApiKey;
use protocol::wire::Str;
use runtime::{Clock, Random};
use storage::Cleaner;

use crate::config::BrokerConfig;
use crate::control::ZooKeeper;
use crate::controller::Office;
use crate::fetch_sessions::FetchSessions;
use crate::group_coordinator::GroupCoordinator;
use crate::handlers::{self, Session};
use crate::loggers::Loggers;
use crate::metadata::MetadataCache;
use crate::metrics::RequestMetrics;
use crate::network::{Answer, Service};
use crate::producer_ids::ProducerIds;
use crate::replica_manager::ReplicaManager;

/// What all parts of a running broker share.
pub struct BrokerState {
    /// What it was told.
    pub config: Arc<BrokerConfig>,
    /// Its id.
    pub id: i32,
    /// Id of its cluster.
    pub cluster_id: String,
    /// Names of its listeners, in the order of their numbers.
    pub listeners: Vec<String>,
    /// What it knows of the cluster; only images its replicas have acted on.
    pub metadata: MetadataCache,
    /// The partitions it holds.
    pub replicas: Arc<ReplicaManager>,
    /// The ZooKeeper session.
    pub zookeeper: ZooKeeper,
    /// Whether it is the controller.
    pub office: Office,
    /// Fetch sessions.
    pub fetch_sessions: FetchSessions,
    /// The groups it coordinates.
    pub groups: Arc<GroupCoordinator>,
    /// Ids for idempotent producers.
    pub producer_ids: ProducerIds,
    /// The log's levels; none where they cannot be changed.
    pub loggers: Option<Arc<dyn Loggers>>,
    /// What is counted of requests.
    pub requests: RequestMetrics,
    /// Topics that a metadata request has asked to create, while that is under way.
    pub creating: Mutex<HashSet<String>>,
    /// What compacts its logs, once the broker is registered; nothing where `log.cleaner.enable` is false.
    pub cleaner: OnceLock<Cleaner>,
    /// Source of the time.
    pub clock: Clock,
    /// Source of chance.
    pub random: Random,
}

/// Where a broker can be reached on one listener.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its id.
    pub id: i32,
    /// Host.
    pub host: Str,
    /// Port.
    pub port: i32,
    /// Rack.
    pub rack: Option<Str>,
}

impl BrokerState {
    /// Name of the listener of this number.
    #[must_use]
    pub fn listener(&self, number: usize) -> &str {
        self.listeners.get(number).map(String::as_str).unwrap_or_default()
    }

    /// The live brokers that can be reached on a listener.
    #[must_use]
    pub fn nodes(&self, listener: usize) -> Vec<Node> {
        let name = self.listener(listener);
        let image = self.metadata.image();
        let nodes = image.brokers.values().filter_map(|broker| {
            let endpoint = broker.endpoint(name)?;
            Some(Node {
                id: broker.id,
                host: Str::from(endpoint.host.as_str()),
                port: i32::from(endpoint.port),
                rack: broker.rack.as_deref().map(Str::from),
            })
        });
        nodes.collect()
    }

    /// Where some brokers can be reached, as answers to misdirected requests tell (KIP-951).
    #[must_use]
    pub fn endpoints_of(&self, brokers: &BTreeSet<i32>, listener: usize) -> Vec<Node> {
        if brokers.is_empty() {
            return Vec::new();
        }
        self.nodes(listener).into_iter().filter(|node| brokers.contains(&node.id)).collect()
    }

    /// Leader and epoch of a partition as the image shows them; -1 for unknown.
    #[must_use]
    pub fn leader_hint(&self, topic: &str, partition: i32) -> (i32, i32) {
        let image = self.metadata.image();
        let state = image
            .topic(topic)
            .and_then(|topic| topic.partition(partition))
            .and_then(|partition| partition.state.as_ref());
        state.map_or((-1, -1), |state| (state.leader, state.leader_epoch))
    }
}

impl Service for BrokerState {
    type Session = Session;

    fn connected(self: &Arc<Self>, listener: usize, peer: SocketAddr) -> Session {
        Session::new(listener, peer)
    }

    fn start(self: &Arc<Self>, session: &mut Session, frame: Bytes) -> Answer {
        handlers::start(self, session, frame)
    }

    fn answered(self: &Arc<Self>, api: ApiKey, took: Duration) {
        self.requests.answered(api, took);
    }

    fn take_back(self: &Arc<Self>, session: &mut Session) -> Option<BytesMut> {
        session.take_back()
    }
}
