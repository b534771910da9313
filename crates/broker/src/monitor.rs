//! A look at a broker from outside, from before it starts until it is gone.
//!
//! Whoever starts a broker makes a [`Monitor`] first and may hand it on; it tells how far the start is, and later everything that is counted. It keeps nothing alive.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use client::zookeeper::SessionState;
use storage::{Recovered, RecoveryProgress};

use crate::network::acceptor::ConnectionCounts;
use crate::state::BrokerState;
use crate::status::{Figures, Health, Status};

/// How far the life of a broker is, with Kafka's numbers (`BrokerState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not started yet, or gone.
    NotRunning = 0,
    /// Taking its ports, reaching ZooKeeper, registering.
    Starting = 1,
    /// Loading its logs.
    Recovery = 2,
    /// Serving.
    Running = 3,
    /// Stopping.
    ShuttingDown = 7,
}

/// A look at a broker from outside. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Monitor(Arc<Shared>);

#[derive(Default)]
struct Shared {
    phase: AtomicU8,
    recovery: Arc<RecoveryProgress>,
    serving: OnceLock<(Weak<BrokerState>, ConnectionCounts)>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl Monitor {
    /// A look at a broker that is to be started.
    #[must_use]
    pub fn new() -> Monitor {
        Monitor::default()
    }

    /// How far its life is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let phase = self.0.phase.load(Ordering::Acquire);
        [Phase::Starting, Phase::Recovery, Phase::Running, Phase::ShuttingDown]
            .into_iter()
            .find(|known| *known as u8 == phase)
            .unwrap_or(Phase::NotRunning)
    }

    /// How far the loading of its logs is.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.0.recovery.read()
    }

    /// Whether it can do its work.
    #[must_use]
    pub fn health(&self) -> Health {
        let mut health = Health {
            phase: self.phase(),
            recovered: self.recovered(),
            zookeeper: None,
            is_heard: false,
            is_registered: false,
            has_controller: false,
            log_dirs: Vec::new(),
        };
        if let Some((state, _)) = self.serving() {
            let image = state.metadata.image();
            let zookeeper = state.zookeeper.status();
            health.is_heard = zookeeper.state == SessionState::SyncConnected && state.zookeeper.is_heard();
            health.zookeeper = Some(zookeeper);
            health.is_registered = image.is_live(state.id);
            health.has_controller = image.controller.is_some();
            health.log_dirs = state.replicas.logs().status();
        }
        health
    }

    /// The broker in short; none before it has joined its cluster, and after its end.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        let (state, connections) = self.serving()?;
        Some(Status::of(&state, connections.total()))
    }

    /// Everything that is counted and measured; none before it has joined its cluster, and after its end.
    #[must_use]
    pub fn figures(&self) -> Option<Figures> {
        let (state, connections) = self.serving()?;
        Some(Figures::of(&state, self.health(), connections.by_listener()))
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.0.phase.store(phase as u8, Ordering::Release);
    }

    pub(crate) fn recovery(&self) -> &Arc<RecoveryProgress> {
        &self.0.recovery
    }

    pub(crate) fn watch(&self, state: &Arc<BrokerState>, connections: ConnectionCounts) {
        // A monitor watches one broker; a second start with the same one would be told of the first.
        let _ = self.0.serving.set((Arc::downgrade(state), connections));
    }

    fn serving(&self) -> Option<(Arc<BrokerState>, &ConnectionCounts)> {
        let (state, connections) = self.0.serving.get()?;
        Some((state.upgrade()?, connections))
    }
}
