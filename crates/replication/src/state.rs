//! What the metadata store says: a partition's leader and ISR, and which brokers live. Everything else in this crate is derived from these and from fetches.

use std::collections::BTreeMap;

use protocol::types::{BrokerId, LeaderEpoch};

/// Contents of `/brokers/topics/T/partitions/P/state` with the znode's version (Kafka `LeaderAndIsr`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderAndIsr {
    /// The leader, or [`BrokerId::NONE`].
    pub leader: BrokerId,
    /// Number of this leadership; every election raises it.
    pub leader_epoch: LeaderEpoch,
    /// Replicas in sync, in the order they were written. With ELR it may be empty.
    pub isr: Vec<BrokerId>,
    /// Version of the znode: each write, by the controller or the leader, raises it by one.
    pub partition_epoch: i32,
    /// Whether the leader was elected out of the ISR.
    pub leader_recovery_state: LeaderRecoveryState,
    /// Eligible leader replicas (KIP-966): out of the ISR, but known to hold all that is committed.
    pub elr: Vec<BrokerId>,
    /// Members that were in the ISR or ELR last and are in neither now.
    pub last_known_elr: Vec<BrokerId>,
}

impl LeaderAndIsr {
    /// The state of a new partition: its first live replica leads, all live ones are in sync.
    #[must_use]
    pub fn new(leader: BrokerId, isr: Vec<BrokerId>) -> LeaderAndIsr {
        LeaderAndIsr {
            leader,
            leader_epoch: LeaderEpoch(0),
            isr,
            partition_epoch: 0,
            leader_recovery_state: LeaderRecoveryState::Recovered,
            elr: Vec::new(),
            last_known_elr: Vec::new(),
        }
    }
}

/// Whether the partition lost records that were committed (Kafka `LeaderRecoveryState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LeaderRecoveryState {
    /// The leader came from the ISR or ELR.
    #[default]
    Recovered,
    /// The leader was elected unclean and has not yet changed its ISR.
    Recovering,
}

/// `czxid` of a broker's `/brokers/ids/N`: every registration has a new one (KIP-380).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerEpoch(pub i64);

/// The brokers that are registered, with their epochs, and which of them are about to stop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LiveBrokers {
    brokers: BTreeMap<BrokerId, Registration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Registration {
    epoch: BrokerEpoch,
    shutting_down: bool,
}

impl LiveBrokers {
    /// Nobody.
    #[must_use]
    pub fn new() -> LiveBrokers {
        LiveBrokers::default()
    }

    /// Adds a registration or replaces an older one.
    pub fn register(&mut self, broker: BrokerId, epoch: BrokerEpoch) {
        self.brokers.insert(broker, Registration { epoch, shutting_down: false });
    }

    /// Removes a registration.
    pub fn unregister(&mut self, broker: BrokerId) {
        self.brokers.remove(&broker);
    }

    /// Notes that a broker asked for a controlled shutdown.
    pub fn set_shutting_down(&mut self, broker: BrokerId) {
        if let Some(registration) = self.brokers.get_mut(&broker) {
            registration.shutting_down = true;
        }
    }

    /// Registered, perhaps about to stop.
    #[must_use]
    pub fn is_live(&self, broker: BrokerId) -> bool {
        self.brokers.contains_key(&broker)
    }

    /// May become leader or join an ISR: registered and not about to stop.
    #[must_use]
    pub fn is_eligible(&self, broker: BrokerId) -> bool {
        self.brokers.get(&broker).is_some_and(|registration| !registration.shutting_down)
    }

    /// Epoch of a broker's registration.
    #[must_use]
    pub fn epoch(&self, broker: BrokerId) -> Option<BrokerEpoch> {
        self.brokers.get(&broker).map(|registration| registration.epoch)
    }

    /// All registered brokers, by id.
    pub fn iter(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.brokers.keys().copied()
    }
}

impl FromIterator<(BrokerId, BrokerEpoch)> for LiveBrokers {
    fn from_iter<T: IntoIterator<Item = (BrokerId, BrokerEpoch)>>(brokers: T) -> LiveBrokers {
        let mut live = LiveBrokers::new();
        for (broker, epoch) in brokers {
            live.register(broker, epoch);
        }
        live
    }
}
