//! A broker as it is at one moment: plain values for pages, metrics and tests.
//!
//! Looking costs nobody who works more than a short lock; it is for somebody who asks once in a while.

use std::collections::BTreeMap;
use std::sync::Arc;

use coordinator::groups::snapshot::GroupSnapshot;
use runtime::DurationsSnapshot;
use storage::{Cleaner, Log, Recovered};
pub use storage::{CleanerStatus, LogDirState, LogDirStatus};

use crate::control::ZooKeeperStatus;
use crate::metadata::Image;
use crate::metrics::{RequestCounts, TopicCounts};
use crate::monitor::Phase;
use crate::network::acceptor::ListenerCounts;
use crate::replica_manager::HostedPartition;
use crate::state::BrokerState;

/// Committed offsets told at most; a broker that coordinates more says how many there are.
pub const GROUP_OFFSETS_MAX: usize = 50_000;

/// A broker as it is now.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its id.
    pub id: i32,
    /// Id of its cluster.
    pub cluster_id: String,
    /// Whether it is the controller.
    pub is_controller: bool,
    /// Who is the controller, as far as it knows.
    pub controller: Option<i32>,
    /// Live brokers.
    pub brokers: Vec<i32>,
    /// Topics in the cluster.
    pub topics: usize,
    /// Partitions held here.
    pub partitions: usize,
    /// Of these, those it leads.
    pub leaderships: usize,
    /// Records in the logs held here that the disk may not have yet.
    pub unsynced_records: u64,
    /// Open connections.
    pub connections: usize,
    /// Each log directory: whether records can be written there, and why not.
    pub log_dirs: Vec<LogDirStatus>,
}

/// Whether a broker can do its work, and what keeps it from that.
#[derive(Debug, Clone)]
pub struct Health {
    /// How far its life is.
    pub phase: Phase,
    /// How far the loading of its logs is.
    pub recovered: Recovered,
    /// How its ZooKeeper sessions go; none before the first.
    pub zookeeper: Option<ZooKeeperStatus>,
    /// Whether ZooKeeper was heard within a session timeout.
    pub is_heard: bool,
    /// Whether the cluster sees it.
    pub is_registered: bool,
    /// Whether the cluster has a controller.
    pub has_controller: bool,
    /// Each log directory: whether records can be written there, and why not.
    pub log_dirs: Vec<LogDirStatus>,
}

/// Everything that is counted and measured.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Whether it can do its work.
    pub health: Health,
    /// Its id.
    pub id: i32,
    /// Id of its cluster.
    pub cluster_id: String,
    /// Whether it is the controller.
    pub is_controller: bool,
    /// What is known of the cluster.
    pub cluster: Cluster,
    /// The partitions held here, by name.
    pub partitions: Vec<Replica>,
    /// What is counted by topic, by name.
    pub topics: Vec<(Arc<str>, TopicCounts)>,
    /// What is counted of all topics, those that are gone included.
    pub all_topics: TopicCounts,
    /// What is counted of requests.
    pub requests: Vec<RequestCounts>,
    /// Requests that could not be served.
    pub refused_requests: u64,
    /// Connections, by listener.
    pub listeners: Vec<ListenerCounts>,
    /// ISRs that became smaller.
    pub isr_shrinks: u64,
    /// ISRs that became larger.
    pub isr_expands: u64,
    /// ISR changes that were not written.
    pub failed_isr_updates: u64,
    /// How long syncs of logs took.
    pub flushes: DurationsSnapshot,
    /// What compacts the logs; none where `log.cleaner.enable` is false.
    pub cleaner: Option<CleanerStatus>,
    /// The groups coordinated here.
    pub groups: Vec<GroupSnapshot>,
    /// Fetch sessions.
    pub fetch_sessions: usize,
}

/// The cluster as a broker's image shows it.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// Live brokers: id and an address.
    pub brokers: Vec<(i32, String)>,
    /// Number of partitions by topic.
    pub topics: BTreeMap<Arc<str>, usize>,
    /// Partitions without a live leader.
    pub offline_partitions: usize,
    /// Partitions whose leader is not the preferred one.
    pub preferred_imbalance: usize,
}

/// One partition held here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its number.
    pub partition: i32,
    /// Bytes on disk.
    pub size_bytes: u64,
    /// Segments on disk.
    pub segments: usize,
    /// First offset.
    pub log_start: i64,
    /// Offset of the next record.
    pub log_end: i64,
    /// Where consumers may read up to.
    pub high_watermark: i64,
    /// Whether this broker leads it.
    pub is_leader: bool,
    /// Who leads it; none while nobody does.
    pub leader: Option<i32>,
    /// Its replicas; the first is the preferred leader.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub isr: Vec<i32>,
    /// `min.insync.replicas`.
    pub min_isr: usize,
    /// Whether its log cannot be used.
    pub is_offline: bool,
}

impl Status {
    pub(crate) fn of(state: &BrokerState, connections: usize) -> Status {
        let image = state.metadata.image();
        let held = state.replicas.all();
        Status {
            id: state.id,
            cluster_id: state.cluster_id.clone(),
            is_controller: state.office.fence().is_some(),
            controller: image.controller,
            brokers: image.brokers.keys().copied().collect(),
            topics: image.topics.len(),
            partitions: held.len(),
            leaderships: held.iter().filter(|partition| partition.leader_epoch().is_ok()).count(),
            unsynced_records: held.iter().map(|partition| unsynced_records(partition.log())).sum(),
            connections,
            log_dirs: state.replicas.logs().status(),
        }
    }
}

impl Figures {
    pub(crate) fn of(state: &BrokerState, health: Health, listeners: Vec<ListenerCounts>) -> Figures {
        let image = state.metadata.image();
        let replicas = &state.replicas;
        let (topics, all_topics) = replicas.topics.read();
        let mut room = GROUP_OFFSETS_MAX;
        let mut groups = Vec::new();
        for shard in state.groups.shards() {
            // A shard that is loading or gone has nothing to tell.
            let snapshot = shard.with(|groups, _, _| groups.snapshot(room)).unwrap_or_default();
            room -= snapshot.iter().map(|group| group.offsets.len()).sum::<usize>();
            groups.extend(snapshot);
        }
        Figures {
            health,
            id: state.id,
            cluster_id: state.cluster_id.clone(),
            is_controller: state.office.fence().is_some(),
            cluster: Cluster::of(&image),
            partitions: replicas.all().iter().map(|hosted| Replica::of(hosted)).collect(),
            topics,
            all_topics,
            requests: state.requests.read(),
            refused_requests: state.requests.refused.get(),
            listeners,
            isr_shrinks: replicas.isr_changes.shrinks.get(),
            isr_expands: replicas.isr_changes.expands.get(),
            failed_isr_updates: replicas.isr_changes.failed_updates.get(),
            flushes: replicas.logs().flushes(),
            cleaner: state.cleaner.get().map(Cleaner::status),
            groups,
            fetch_sessions: state.fetch_sessions.len(),
        }
    }
}

impl Cluster {
    fn of(image: &Image) -> Cluster {
        let address = |broker: &crate::metadata::LiveBroker| {
            broker.endpoints.first().map(|endpoint| format!("{}:{}", endpoint.host, endpoint.port)).unwrap_or_default()
        };
        let mut cluster = Cluster {
            brokers: image.brokers.values().map(|broker| (broker.id, address(broker))).collect(),
            topics: image.topics.values().map(|topic| (topic.name.clone(), topic.partitions.len())).collect(),
            ..Cluster::default()
        };
        for partition in image.topics.values().flat_map(|topic| &topic.partitions) {
            let leader = partition.state.as_ref().map(|state| state.leader).filter(|leader| image.is_live(*leader));
            cluster.offline_partitions += usize::from(leader.is_none());
            let is_imbalanced = leader.is_some() && leader != partition.replicas.first().copied();
            cluster.preferred_imbalance += usize::from(is_imbalanced);
        }
        cluster
    }
}

impl Replica {
    fn of(hosted: &HostedPartition) -> Replica {
        let (partition, log) = (hosted.partition(), hosted.log());
        let (leader, _) = hosted.leader_and_epoch();
        Replica {
            topic: partition.topic.clone(),
            partition: partition.partition,
            size_bytes: log.size(),
            segments: log.segments().len(),
            log_start: log.log_start_offset().0,
            log_end: log.log_end_offset().0,
            high_watermark: hosted.high_watermark().0,
            is_leader: hosted.leader_epoch().is_ok(),
            leader: Some(leader).filter(|leader| *leader >= 0),
            replicas: hosted.replicas(),
            isr: hosted.last_state().map_or_else(Vec::new, |state| state.isr.clone()),
            min_isr: usize::try_from(hosted.config().min_insync_replicas).unwrap_or(1),
            is_offline: log.check_open().is_err(),
        }
    }

    /// Whether a replica is missing from the ISR, as far as the leader says.
    #[must_use]
    pub fn is_under_replicated(&self) -> bool {
        self.is_leader && self.isr.len() < self.replicas.len()
    }
}

/// What a crash of the machine may cost now. The end is read first: what is synced meanwhile counts as synced.
fn unsynced_records(log: &Log) -> u64 {
    let end = log.log_end_offset();
    u64::try_from(end.0 - log.durable_offset().0).unwrap_or_default()
}
