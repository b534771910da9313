//! The logs of a broker: opened and told of at its start, compacted from then on, and watched for their end.

use std::sync::Arc;
use std::time::Duration;

use protocol::types::BrokerId;
use storage::{Cleaner, LogManager, LogManagerConfig, RecoveryReport};
use tracing::{error, info, warn};

use super::join::storage_error;
use super::{Broker, Start};
use crate::error::BrokerError;
use crate::metadata::Image;
use crate::monitor::Phase;

impl Start {
    pub(super) fn start_cleaner(&self, logs: &Arc<LogManager>) -> Result<Option<Cleaner>, BrokerError> {
        let started = self.config.cleaner.clone().map(|config| Cleaner::start(logs.clone(), config, self.clock));
        started
            .transpose()
            .map_err(|source| BrokerError::Io { action: "start the cleaner's threads".to_owned(), source })
    }

    pub(super) async fn open_logs(
        &self,
        id: i32,
        cluster_id: &str,
        image: &Image,
    ) -> Result<(Arc<LogManager>, RecoveryReport), BrokerError> {
        let expiration_ms = self.config.producer_id_expiration_ms;
        let mut config = LogManagerConfig::new(self.config.log_dirs.clone(), BrokerId(id));
        config.cluster_id = Some(cluster_id.to_owned());
        config.default_config = crate::replica_manager::log_config(&self.config.topic_defaults(), expiration_ms);
        config.topic_configs = image
            .topics
            .values()
            .map(|topic| (topic.name.clone(), crate::replica_manager::log_config(&topic.config, expiration_ms)))
            .collect();
        config.recovery_threads_per_dir = self.config.recovery_threads_per_dir;
        if self.surroundings.machine.is_simulated() {
            config.flusher_threads = 0;
        }
        let monitor = &self.surroundings.monitor;
        config.progress = monitor.recovery().clone();
        monitor.enter(Phase::Recovery);
        let (disk, clock) = (self.disk, self.clock);
        let opened = runtime::spawn_blocking(move || LogManager::open(config, disk, clock)).await;
        let opened = opened.map_err(|failed| BrokerError::Storage(failed.to_string()))?;
        let (logs, report) = opened.map_err(storage_error)?;
        monitor.enter(Phase::Starting);
        for (partition, problem) in &report.offline {
            error!(%partition, error = %problem, "a log is not served");
        }
        for (dir, problem) in &report.offline_dirs {
            error!(dir = %dir.display(), error = %problem, "a log directory is not used");
        }
        info!(logs = report.logs, clean = report.clean, elapsed_ms = report.elapsed_ms, "opened the logs");
        Ok((Arc::new(logs), report))
    }
}

/// Whether the logs are as this broker left them when it last shut down in order. A mark of an earlier shutdown than the last (`last_epoch` is of another life) tells of
/// directories that were put back from a copy.
pub(super) fn is_clean(report: &RecoveryReport, last_epoch: Option<i64>) -> bool {
    let is_last = last_epoch.is_none_or(|last| report.clean_epochs.iter().all(|epoch| *epoch == last));
    if report.clean && !is_last {
        warn!(found = ?report.clean_epochs, last_epoch, "the log directories are of an earlier life of this broker: it counts as not shut down in order");
    }
    report.clean && is_last
}

/// How often it is looked whether a log directory is left. A directory that failed takes nothing from its first failure on, so this may be slow.
const FAILURE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl Broker {
    /// Resumes when no log directory is left online, within a second, and says why: whoever runs the broker then shuts it down
    /// (Kafka's `LogManager` halts the process). While one is left the broker serves what is in it.
    pub async fn failed(&self) -> BrokerError {
        let logs = self.state.replicas.logs();
        while !logs.is_all_offline() {
            self.state.clock.sleep(FAILURE_CHECK_INTERVAL).await;
        }
        let status = logs.status();
        BrokerError::AllLogDirsFailed {
            directories: status.iter().map(|dir| dir.path.display().to_string()).collect::<Vec<_>>().join(", "),
            causes: status.into_iter().filter_map(|dir| dir.reason).collect::<Vec<_>>().join("; "),
        }
    }
}
