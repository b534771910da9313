//! How the log directories are: online, short of room, full, or offline. What a person must know of it is said once.
//!
//! Always true: a full directory takes no append until there is room again, which is looked for once a second; everything else goes on in
//! it. An offline directory stays offline until the broker is restarted.

use std::path::PathBuf;

use protocol::types::TopicPartition;
use runtime::DurationsSnapshot;

use super::*;

/// Share of a file system, in percent, below which its room is called low.
const LOW_SPACE_PERCENT: u64 = 10;
/// Room in percent that ends the warning, so that it does not come and go.
const ENOUGH_SPACE_PERCENT: u64 = 12;
/// Room, beyond what there was when a write failed, that ends the pause of a full directory: so many bytes, or that share of a small file
/// system.
const RESUME_BYTES: u64 = 16 << 20;
const RESUME_PERCENT: u64 = 5;
/// Topics named as the biggest.
const BIGGEST_TOPICS_SHOWN: usize = 5;

/// How one log directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogDirState {
    /// Everything works.
    Online,
    /// Everything works, but there is little room left.
    LowSpace,
    /// Reads work; appends are answered with KAFKA_STORAGE_ERROR until there is room.
    Full,
    /// A write or sync failed: nothing in it is served until a restart has checked it.
    Offline,
}

/// One log directory, for health checks and metrics.
#[derive(Debug, Clone)]
pub struct LogDirStatus {
    /// The directory.
    pub path: PathBuf,
    /// How it is.
    pub state: LogDirState,
    /// Why it is not online, in the words of the log; `None` while it is.
    pub reason: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// Bytes that may still be written, where the file system says.
    pub free_bytes: Option<u64>,
    /// Bytes that the file system holds in all, where it says.
    pub total_bytes: Option<u64>,
    /// Logs in it that are not served though the directory is online, and why.
    pub offline_logs: Vec<(TopicPartition, String)>,
}

impl LogDirStatus {
    /// Whether records can be appended in it.
    #[must_use]
    pub fn takes_appends(&self) -> bool {
        matches!(self.state, LogDirState::Online | LogDirState::LowSpace)
    }
}

impl LogManager {
    /// Each log directory, in the order configured.
    #[must_use]
    pub fn status(&self) -> Vec<LogDirStatus> {
        self.dirs.iter().map(|dir| self.status_of(dir)).collect()
    }

    /// How long syncs took, over all directories.
    #[must_use]
    pub fn flushes(&self) -> DurationsSnapshot {
        let mut all = DurationsSnapshot::default();
        self.dirs.iter().for_each(|dir| all.merge(&dir.log_dir.flushes.snapshot()));
        all
    }

    /// Whether every directory takes appends: none failed, none is full.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.dirs.iter().all(|dir| dir.log_dir.check_appends().is_ok())
    }

    /// Whether no directory is left: the broker can do nothing more.
    #[must_use]
    pub fn is_all_offline(&self) -> bool {
        self.dirs.iter().all(|dir| dir.log_dir.check().is_err())
    }

    fn status_of(&self, dir: &ManagedDir) -> LogDirStatus {
        let log_dir = &dir.log_dir;
        let space = self.disk.space(log_dir.path()).ok();
        let mut status = LogDirStatus {
            path: log_dir.path().to_owned(),
            state: LogDirState::Online,
            reason: None,
            help: None,
            free_bytes: space.map(|space| space.free),
            total_bytes: space.map(|space| space.total),
            offline_logs: self
                .offline_of(dir)
                .into_iter()
                .map(|(partition, log)| (partition, log.error.to_string()))
                .collect(),
        };
        if let Err(error) = log_dir.check() {
            status.state = LogDirState::Offline;
            status.reason = Some(error.to_string());
            status.help =
                Some("repair the disk, then start the broker again: it checks what the directory holds".to_owned());
        } else if log_dir.is_full() {
            status.state = LogDirState::Full;
            status.reason = Some(format!("no space left in {}{}", log_dir.path().display(), room(space)));
            status.help = Some(self.help_for_space(dir));
        } else if log_dir.is_low() {
            status.state = LogDirState::LowSpace;
            status.reason = Some(format!("little space left in {}{}", log_dir.path().display(), room(space)));
            status.help = Some(self.help_for_space(dir));
        }
        status
    }

    fn help_for_space(&self, dir: &ManagedDir) -> String {
        let mut topics: HashMap<Arc<str>, u64> = HashMap::new();
        for log in self.logs_of(dir) {
            *topics.entry(log.partition().topic.clone()).or_default() += log.size();
        }
        let mut topics: Vec<(Arc<str>, u64)> = topics.into_iter().collect();
        topics.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        topics.truncate(BIGGEST_TOPICS_SHOWN);
        let biggest: Vec<String> =
            topics.iter().map(|(topic, bytes)| format!("{topic} {}", human_bytes(*bytes))).collect();
        let name = topics.first().map_or("X", |(topic, _)| topic);
        let help = format!(
            "lower retention: kafka-configs --alter --entity-type topics --entity-name {name} --add-config retention.bytes=..."
        );
        if biggest.is_empty() { help } else { format!("{help}; biggest topics: {}", biggest.join(", ")) }
    }

    /// Looks at the room of each directory: says once when it gets low or is gone, and lets a full one go on when there is room again.
    pub(super) fn watch_space(&self) {
        for dir in &self.dirs {
            let log_dir = &dir.log_dir;
            let Ok(space) = self.disk.space(log_dir.path()) else { continue };
            if log_dir.check().is_err() {
                continue;
            }
            if log_dir.is_full() {
                if !log_dir.said_full(true) {
                    say(&self.status_of(dir), true);
                }
                let enough = RESUME_BYTES.min(space.total / 100 * RESUME_PERCENT).max(1);
                if space.free >= log_dir.free_when_full().saturating_add(enough) {
                    log_dir.end_full();
                    tracing::info!(
                        "there is space again in {}{}: appends go on",
                        log_dir.path().display(),
                        room(Some(space))
                    );
                }
            }
            let percent = |percent: u64| space.total / 100 * percent;
            if !log_dir.is_low() && space.free < percent(LOW_SPACE_PERCENT) {
                log_dir.set_low(true);
                if !log_dir.is_full() {
                    say(&self.status_of(dir), false);
                }
            } else if space.free >= percent(ENOUGH_SPACE_PERCENT) {
                log_dir.set_low(false);
            }
        }
    }
}

fn say(status: &LogDirStatus, is_error: bool) {
    let (reason, help) = (status.reason.as_deref().unwrap_or_default(), status.help.as_deref().unwrap_or_default());
    if is_error {
        tracing::error!(help, "{reason}");
    } else {
        tracing::warn!(help, "{reason}");
    }
}

fn room(space: Option<runtime::disk::Space>) -> String {
    space.map_or_else(String::new, |space| format!(" ({} of {})", human_bytes(space.free), human_bytes(space.total)))
}

/// Bytes as a person reads them: `0 B`, `1.5 KiB`, `20 GiB`.
fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 10.0 && (value * 10.0).round() % 10.0 != 0.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_said_as_people_say_them() {
        let check = |bytes: u64, expected: &str| assert_eq!(human_bytes(bytes), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1536, "1.5 KiB");
        check(20 << 30, "20 GiB");
        check(12_884_901_888, "12 GiB");
    }
}
