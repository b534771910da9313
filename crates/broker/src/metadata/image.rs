//! Brokers, topics and partitions as the tree showed them at one moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use client::zookeeper::znodes::{self, TopicAssignment};
use protocol::types::{BrokerId, LeaderEpoch, Uuid};
use replication::{LeaderAndIsr, LeaderRecoveryState, LiveBrokers};

use crate::config::{Throttles, TopicConfig};

/// What is known of the cluster. Cheap to clone: clones share all but the maps' spines.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Live brokers by id.
    pub brokers: BTreeMap<i32, Arc<LiveBroker>>,
    /// The same in the words of the replication rules; another one whenever a registration changed.
    pub live: Arc<LiveBrokers>,
    /// Who holds `/controller`.
    pub controller: Option<i32>,
    /// Topics by name.
    pub topics: BTreeMap<Arc<str>, Arc<Topic>>,
    /// Names of topics by id.
    pub topic_ids: HashMap<Uuid, Arc<str>>,
    /// Topics that are to be deleted (`/admin/delete_topics`).
    pub deletions: BTreeSet<Arc<str>>,
    /// Topics whose deletion was asked for and which are gone, until they are made again.
    pub deleted: BTreeSet<Arc<str>>,
    /// Overrides of `/config/topics`, also of topics that are not there (yet).
    pub topic_overrides: BTreeMap<Arc<str>, Arc<BTreeMap<String, String>>>,
    /// Overrides of `/config/brokers`, by broker; those for all under none.
    pub broker_overrides: BTreeMap<Option<i32>, Arc<BTreeMap<String, String>>>,
    /// The partitions that `/admin/preferred_replica_election` names, while it is there.
    pub preferred_election: Option<Arc<Vec<(String, i32)>>>,
    /// What `/admin/reassign_partitions` asks for, while it is there.
    pub reassignment: Option<Arc<ReassignmentRequest>>,
    /// Whether the tree was read in full since the last session began.
    pub complete: bool,
}

/// A registered broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveBroker {
    /// Its id.
    pub id: i32,
    /// Where it listens, by listener name.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Its registration's czxid (KIP-380).
    pub epoch: i64,
    /// Whether it is of our make.
    pub is_tidemill: bool,
    /// Whether it is about to stop, so that it should lead nothing any more.
    pub shutting_down: bool,
}

/// `/admin/reassign_partitions`, as old tools write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReassignmentRequest {
    /// Topic, partition, and the replicas it shall have.
    pub asked: Vec<(String, i32, Vec<i32>)>,
    /// Version of the znode, for conditional writes.
    pub zk_version: i32,
}

/// An advertised address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the listener.
    pub listener: String,
    /// Host clients connect to.
    pub host: String,
    /// Port clients connect to.
    pub port: u16,
    /// Security protocol.
    pub protocol: String,
}

/// A topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; zero for a topic that an old tool made and no controller has met yet.
    pub id: Uuid,
    /// Its znode as read, so that it can be written again with all it holds.
    pub assignment: TopicAssignment,
    /// Version of its znode, for conditional writes.
    pub zk_version: i32,
    /// When its znode was created: another topic of the same name has another one.
    pub czxid: i64,
    /// Its partitions, by rising number.
    pub partitions: Vec<Partition>,
    /// Its own settings.
    pub overrides: Arc<BTreeMap<String, String>>,
    /// What holds for it.
    pub config: Arc<TopicConfig>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Partition {
    /// Its number.
    pub partition: i32,
    /// Its replicas; the first is the preferred leader.
    pub replicas: Vec<i32>,
    /// Leader and ISR; none until the controller has elected a leader.
    pub state: Option<PartitionState>,
}

/// Leader and ISR of a partition, with the version of the znode for conditional writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// What the znode says.
    pub znode: znodes::PartitionState,
    /// Version of the znode.
    pub zk_version: i32,
}

impl PartitionState {
    /// The same in the words of the replication rules.
    #[must_use]
    pub fn to_leader_and_isr(&self) -> LeaderAndIsr {
        let brokers = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
        LeaderAndIsr {
            leader: BrokerId(self.znode.leader),
            leader_epoch: LeaderEpoch(self.znode.leader_epoch),
            isr: brokers(&self.znode.isr),
            partition_epoch: self.zk_version,
            leader_recovery_state: match self.znode.leader_recovery_state {
                Some(1) => LeaderRecoveryState::Recovering,
                _ => LeaderRecoveryState::Recovered,
            },
            elr: brokers(&self.znode.elr),
            last_known_elr: brokers(&self.znode.last_known_elr),
        }
    }

    /// The znode after the replication rules changed the state; what they know nothing of stays as it is.
    #[must_use]
    pub fn with(&self, next: &LeaderAndIsr) -> znodes::PartitionState {
        let ids = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect();
        znodes::PartitionState {
            leader: next.leader.0,
            leader_epoch: next.leader_epoch.0,
            isr: ids(&next.isr),
            leader_recovery_state: (next.leader_recovery_state == LeaderRecoveryState::Recovering).then_some(1),
            elr: ids(&next.elr),
            last_known_elr: ids(&next.last_known_elr),
            ..self.znode.clone()
        }
    }
}

impl Deref for PartitionState {
    type Target = znodes::PartitionState;

    fn deref(&self) -> &znodes::PartitionState {
        &self.znode
    }
}

impl Image {
    /// A topic by name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// A topic by id.
    #[must_use]
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topics.get(self.topic_ids.get(&id)?)
    }

    /// Whether a broker is registered.
    #[must_use]
    pub fn is_live(&self, broker: i32) -> bool {
        self.brokers.contains_key(&broker)
    }

    /// How fast a broker may move replicas.
    #[must_use]
    pub fn throttles(&self, broker: i32) -> Throttles {
        let overrides = |whose: Option<i32>| self.broker_overrides.get(&whose).map(|overrides| &**overrides);
        Throttles::of(overrides(Some(broker)), overrides(None))
    }

    /// Whether every partition of a topic has a live leader.
    #[must_use]
    pub fn is_led(&self, name: &str) -> bool {
        self.topic(name).is_some_and(|topic| {
            topic
                .partitions
                .iter()
                .all(|partition| partition.state.as_ref().is_some_and(|state| self.is_live(state.leader)))
        })
    }
}

impl LiveBroker {
    /// Its address on a listener.
    #[must_use]
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }
}

impl Topic {
    /// A partition by number.
    #[must_use]
    pub fn partition(&self, number: i32) -> Option<&Partition> {
        let at = self.partitions.binary_search_by_key(&number, |partition| partition.partition).ok()?;
        self.partitions.get(at)
    }
}

/// Where groups keep their offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// Where transactions keep their state.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// Whether a topic is one of Kafka's own.
#[must_use]
pub fn is_internal(topic: &str) -> bool {
    matches!(topic, OFFSETS_TOPIC | TRANSACTIONS_TOPIC)
}
