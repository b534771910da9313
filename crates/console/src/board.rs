//! What the console looks at: monitors of the servers in this process, put up before they start.

#[cfg(feature = "keeper")]
use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::metrics;
use crate::metrics::process::Process;
use crate::readiness;
use crate::routes::Shown;
use crate::windows::Windows;

/// What the console looks at.
#[derive(Debug)]
pub struct Board {
    #[cfg(feature = "broker")]
    pub(crate) broker: Option<broker::Monitor>,
    #[cfg(feature = "keeper")]
    pub(crate) keeper: Option<std::sync::Arc<KeeperPlace>>,
    pub(crate) process: Process,
    pub(crate) windows: Mutex<Windows>,
}

/// Where the monitor of a keeper is put once it serves: it makes its own.
#[cfg(feature = "keeper")]
#[derive(Debug, Default)]
pub struct KeeperPlace(OnceLock<keeper::KeeperMonitor>);

#[cfg(feature = "keeper")]
impl KeeperPlace {
    /// The keeper serves.
    pub fn put(&self, monitor: keeper::KeeperMonitor) {
        // A board is for one keeper; a second one would be told of the first.
        let _ = self.0.set(monitor);
    }

    pub(crate) fn monitor(&self) -> Option<&keeper::KeeperMonitor> {
        self.0.get()
    }
}

impl Board {
    /// A board for a process that serves nothing yet.
    #[must_use]
    pub fn new() -> Board {
        Board {
            #[cfg(feature = "broker")]
            broker: None,
            #[cfg(feature = "keeper")]
            keeper: None,
            process: Process::new(),
            windows: Mutex::default(),
        }
    }

    /// A broker will be started in this process, with this monitor. It is not ready until it is.
    #[cfg(feature = "broker")]
    pub fn expect_broker(&mut self) -> broker::Monitor {
        self.broker.get_or_insert_default().clone()
    }

    /// A keeper will be started in this process; its monitor is put into the place. It is not ready until it is.
    #[cfg(feature = "keeper")]
    pub fn expect_keeper(&mut self) -> std::sync::Arc<KeeperPlace> {
        self.keeper.get_or_insert_default().clone()
    }
}

impl Shown for Board {
    fn metrics(&self) -> String {
        metrics::text(self)
    }

    fn reasons(&self) -> Vec<String> {
        readiness::reasons(self)
    }
}

impl Default for Board {
    fn default() -> Board {
        Board::new()
    }
}
