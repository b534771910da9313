//! What the passing of time asks of a broker: retention, checkpoints, lagging replicas, and the logs' own maintenance.

use std::sync::Arc;
use std::time::Duration;

use runtime::Clock;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::config::BrokerConfig;
use crate::replica_manager::ReplicaManager;

/// How often logs do the work of time (`flush.ms`, delayed removals).
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(1);

/// Retention, checkpoints, lagging replicas and the logs' own maintenance, each at its interval.
pub async fn housekeeping(
    config: Arc<BrokerConfig>,
    replicas: Arc<ReplicaManager>,
    clock: Clock,
    mut stopped: watch::Receiver<bool>,
) {
    let start = clock.now();
    let lag_interval = Duration::from_millis(u64::try_from(config.replica_lag_time_max_ms / 2).unwrap_or(1).max(1));
    let mut lag = start + lag_interval;
    let mut maintenance = start + MAINTENANCE_INTERVAL;
    let mut high_watermarks = start + config.high_watermark_checkpoint_interval;
    let mut checkpoints = start + config.recovery_checkpoint_interval;
    // Kafka waits a little after the start too (`log.initial.task.delay.ms`).
    let mut retention = start + config.retention_check_interval.min(Duration::from_secs(30));
    loop {
        let next = maintenance.min(high_watermarks).min(checkpoints).min(retention).min(lag);
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            () = clock.sleep_until(next) => {}
        }
        let now = clock.now();
        let due = |at: &mut runtime::clock::Instant, interval: Duration| {
            let is_due = *at <= now;
            if is_due {
                *at = now + interval.max(Duration::from_millis(1));
            }
            is_due
        };
        let run_maintenance = due(&mut maintenance, MAINTENANCE_INTERVAL);
        let write_high_watermarks = due(&mut high_watermarks, config.high_watermark_checkpoint_interval);
        let write_checkpoints = due(&mut checkpoints, config.recovery_checkpoint_interval);
        let run_retention = due(&mut retention, config.retention_check_interval);
        if due(&mut lag, lag_interval) {
            replicas.on_tick();
        }
        if run_maintenance {
            replicas.give_up_unwritable();
        }
        let logs = replicas.logs().clone();
        let worked = runtime::spawn_blocking(move || {
            let now_ms = clock.now_ms();
            if run_maintenance {
                logs.run_maintenance(now_ms);
            }
            if run_retention {
                logs.run_retention(now_ms);
            }
            if write_checkpoints {
                return logs.write_checkpoints();
            }
            if write_high_watermarks {
                return logs.write_high_watermarks();
            }
            Ok(())
        });
        match worked.await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) if problem.is_of_directory() => {}
            Ok(Err(problem)) => warn!(error = %problem, "cannot write checkpoints"),
            Err(failed) => error!(%failed, "housekeeping failed"),
        }
    }
}
