//! Whether the servers of this process can do their work, and if not, why: one sentence for each reason.

use crate::board::Board;

/// Why they cannot; nothing where they can.
#[must_use]
pub fn reasons(board: &Board) -> Vec<String> {
    #[allow(unused_mut, reason = "without servers there are no reasons")]
    let mut reasons: Vec<String> = Vec::new();
    #[cfg(feature = "keeper")]
    if let Some(place) = &board.keeper {
        match place.monitor().map(keeper::KeeperMonitor::status) {
            None => reasons.push("the keeper is recovering its log".to_owned()),
            Some(None) => reasons.push("the keeper has ended".to_owned()),
            Some(Some(status)) if status.disk_full => {
                reasons.push("the disk of the keeper's log is full: writes are refused until there is room".to_owned());
            }
            Some(Some(_)) => {}
        }
    }
    #[cfg(feature = "broker")]
    if let Some(monitor) = &board.broker {
        reasons.extend(of_broker::reasons(&monitor.health()));
    }
    #[cfg(not(any(feature = "broker", feature = "keeper")))]
    let _ = board;
    reasons
}

#[cfg(feature = "broker")]
mod of_broker {
    use broker::Phase;
    use broker::status::Health;

    pub(super) fn reasons(health: &Health) -> Vec<String> {
        let one = |reason: &str| vec![reason.to_owned()];
        match health.phase {
            Phase::NotRunning => return one("the broker is not running"),
            Phase::ShuttingDown => return one("the broker is shutting down"),
            Phase::Recovery => return vec![recovering(health)],
            Phase::Starting => return one("the broker is starting and has not registered yet"),
            Phase::Running => {}
        }
        let mut reasons = Vec::new();
        if !health.is_heard {
            let state = health.zookeeper.map_or_else(String::new, |zookeeper| format!(" ({:?})", zookeeper.state));
            reasons.push(format!("the broker has no session with ZooKeeper{state}"));
        }
        if !health.is_registered {
            reasons.push("the broker is not registered in /brokers/ids".to_owned());
        }
        if !health.has_controller {
            reasons.push("the cluster has no controller".to_owned());
        }
        for dir in &health.log_dirs {
            if !dir.takes_appends() {
                let unknown = || format!("log directory {} takes no records", dir.path.display());
                reasons.push(dir.reason.clone().unwrap_or_else(unknown));
            } else if let Some((partition, why)) = dir.offline_logs.first() {
                let more = match dir.offline_logs.len() - 1 {
                    0 => String::new(),
                    more => format!(" (and {more} more in {})", dir.path.display()),
                };
                reasons.push(format!("the log of {partition} is not served: {why}{more}"));
            }
        }
        reasons
    }

    fn recovering(health: &Health) -> String {
        let recovered = &health.recovered;
        if recovered.logs == 0 {
            return "the broker is looking at its log directories".to_owned();
        }
        let (done, all) = (recovered.logs_loaded, recovered.logs);
        if recovered.unclean {
            let mib = recovered.bytes_checked >> 20;
            format!("recovering {done} of {all} logs after an unclean shutdown ({mib} MiB checked)")
        } else {
            format!("loading {done} of {all} logs")
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use broker::status::{LogDirState, LogDirStatus};

        fn healthy() -> Health {
            let mut health = broker::Monitor::new().health();
            health.phase = Phase::Running;
            (health.is_heard, health.is_registered, health.has_controller) = (true, true, true);
            health
        }

        #[test]
        fn each_reason_is_a_sentence() {
            let expect = |change: fn(&mut Health), expected: &[&str]| {
                let mut health = healthy();
                change(&mut health);
                assert_eq!(reasons(&health), expected);
            };
            expect(|_| {}, &[]);
            expect(|health| health.phase = Phase::NotRunning, &["the broker is not running"]);
            expect(
                |health| {
                    health.phase = Phase::Recovery;
                    health.recovered.logs = 200;
                    health.recovered.logs_loaded = 12;
                    health.recovered.unclean = true;
                    health.recovered.bytes_checked = 5 << 20;
                },
                &["recovering 12 of 200 logs after an unclean shutdown (5 MiB checked)"],
            );
            expect(|health| health.is_heard = false, &["the broker has no session with ZooKeeper"]);
            expect(
                |health| (health.is_registered, health.has_controller) = (false, false),
                &["the broker is not registered in /brokers/ids", "the cluster has no controller"],
            );
            expect(
                |health| {
                    health.log_dirs = vec![LogDirStatus {
                        path: "/data/logs".into(),
                        state: LogDirState::Full,
                        reason: Some("no space left in /data/logs (0 B of 20 GiB)".to_owned()),
                        help: None,
                        free_bytes: Some(0),
                        total_bytes: Some(20 << 30),
                        offline_logs: Vec::new(),
                    }];
                },
                &["no space left in /data/logs (0 B of 20 GiB)"],
            );
        }
    }
}
