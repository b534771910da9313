//! What `zookeeper.properties` may say, with ZooKeeper's own names and defaults (Administrator's Guide, "Configuration Parameters").

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use java_properties::{LineContent, PropertiesIter};
use protocol::spelling;
use protocol::zookeeper::MAX_FRAME_BYTES;
use runtime::Disk;
use runtime::machine::without_number;

use crate::error::KeeperError;

/// Longest properties file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Everything that can be set. [`KeeperConfig::new`] gives the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeeperConfig {
    /// `dataDir`: snapshots and the lock file.
    pub data_dir: PathBuf,
    /// `dataLogDir`: the transaction log; `data_dir` where it is not set.
    pub data_log_dir: Option<PathBuf>,
    /// `clientPortAddress` and `clientPort`. Port 0 takes a free one.
    pub address: SocketAddr,
    /// `tickTime`: unit of the two time-outs below, in milliseconds.
    pub tick_time_ms: i32,
    /// `minSessionTimeout`; two ticks where it is not set.
    pub min_session_timeout_ms: Option<i32>,
    /// `maxSessionTimeout`; twenty ticks where it is not set.
    pub max_session_timeout_ms: Option<i32>,
    /// `maxClientCnxns`: connections of one IP address; 0 for no limit.
    pub max_client_connections: usize,
    /// `maxCnxns`: connections in all; 0 for no limit.
    pub max_connections: usize,
    /// `globalOutstandingLimit`: requests read and not yet processed; beyond it sockets are not read.
    pub global_outstanding_limit: usize,
    /// `jute.maxbuffer`: longest request.
    pub frame_bytes_max: usize,
    /// `snapCount`: transactions between two snapshots.
    pub snap_count: u64,
    /// `snapSizeLimitInKb`, in bytes: log written between two snapshots.
    pub snap_log_bytes: u64,
    /// `txnLogSizeLimitInKb`, in bytes: a log file of this size is followed by a new one; never more than [`KeeperConfig::SEGMENT_BYTES_MAX`].
    pub log_segment_bytes: u64,
    /// `preAllocSize`, in bytes: the most by which a log file is written ahead; never more than [`KeeperConfig::PRE_ALLOC_BYTES_MAX`].
    pub pre_alloc_bytes: u64,
    /// `autopurge.snapRetainCount`: snapshots kept.
    pub snap_retain_count: usize,
    /// `znode.container.checkIntervalMs`: how often empty containers and old TTL nodes are looked for.
    pub container_check_interval: Duration,
    /// `forceSync`: whether a reply waits for the disk. Without it a power cut loses acknowledged writes.
    pub force_sync: bool,
    /// `skipACL`: whether permissions are ignored.
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.superDigest`: `user:hash` that may do everything.
    pub super_digest: Option<String>,
    /// `metricsProvider.httpHost`: where metrics are served; loopback where it is not set.
    pub metrics_host: Option<IpAddr>,
    /// `metricsProvider.httpPort`: no metrics are served where it is not set.
    pub metrics_port: Option<u16>,
    /// `4lw.commands.whitelist`: the four-letter words that are answered; `None` for all.
    pub four_letter_whitelist: Option<BTreeSet<String>>,
}

impl KeeperConfig {
    /// The longest log files, and the default: a start reads them whole.
    pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
    /// The longest stretch of zeros written at a time, for which clients wait.
    pub const PRE_ALLOC_BYTES_MAX: u64 = 4 << 20;

    /// The defaults: ZooKeeper's, on 127.0.0.1:2181.
    pub fn new(data_dir: impl Into<PathBuf>) -> KeeperConfig {
        KeeperConfig {
            data_dir: data_dir.into(),
            data_log_dir: None,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 2181)),
            tick_time_ms: 3000,
            min_session_timeout_ms: None,
            max_session_timeout_ms: None,
            max_client_connections: 60,
            max_connections: 0,
            global_outstanding_limit: 1000,
            frame_bytes_max: MAX_FRAME_BYTES,
            snap_count: 100_000,
            snap_log_bytes: 1 << 30,
            log_segment_bytes: KeeperConfig::SEGMENT_BYTES_MAX,
            pre_alloc_bytes: KeeperConfig::PRE_ALLOC_BYTES_MAX,
            snap_retain_count: 3,
            container_check_interval: Duration::from_secs(60),
            force_sync: true,
            skip_acl: false,
            super_digest: None,
            metrics_host: None,
            metrics_port: None,
            four_letter_whitelist: None,
        }
    }

    /// Reads a properties file as ZooKeeper reads it. Unknown keys warn once each; a value that breaks its rule is an error naming file and line.
    /// As in ZooKeeper, all addresses of the machine are served unless `clientPortAddress` says otherwise.
    pub fn from_properties(file: &Path) -> Result<KeeperConfig, KeeperError> {
        let unreadable = |line: Option<usize>, error: String| {
            let reason = without_number(&error).split(" (line_number").next().unwrap_or_default().to_owned();
            KeeperError::ConfigUnreadable { file: file.to_owned(), line, reason }
        };
        let text = Disk::real().read_text(file, FILE_BYTES_MAX).map_err(|error| unreadable(None, error.to_string()))?;
        let mut config = KeeperConfig::new(PathBuf::new());
        config.address.set_ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let mut warned = BTreeSet::new();
        let mut timeout_line = 0;
        for line in PropertiesIter::new(text.as_slice()) {
            let line = line.map_err(|error| unreadable(error.line_number(), error.to_string()))?;
            let number = line.line_number();
            let LineContent::KVPair(key, value) = line.consume_content() else { continue };
            match config.set(&key, value.trim()) {
                Ok(()) if key.ends_with("SessionTimeout") || key.ends_with("tickTime") => timeout_line = number,
                Ok(()) => {}
                Err(Refusal::Rule(rule)) => {
                    return Err(KeeperError::ConfigValue { file: file.to_owned(), line: number, key, value, rule });
                }
                Err(Refusal::Ensemble) => {
                    return Err(KeeperError::Ensemble { file: file.to_owned(), line: number, key });
                }
                Err(Refusal::Unknown) => {
                    if warned.insert(key.clone()) {
                        let meant = spelling::nearest(&key, KEYS.iter().chain(&ACCEPTED).copied());
                        let meant = meant.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                        tracing::warn!("{}:{number}: unknown key {key} is ignored{meant}", file.display());
                    }
                }
            }
        }
        if config.data_dir.as_os_str().is_empty() {
            return Err(KeeperError::ConfigMissing { file: file.to_owned(), key: "dataDir" });
        }
        let (min, max) = config.session_timeouts_ms();
        if min > max {
            return Err(KeeperError::ConfigValue {
                file: file.to_owned(),
                line: timeout_line,
                key: "minSessionTimeout".to_owned(),
                value: min.to_string(),
                rule: format!("it must not be above maxSessionTimeout, which is {max}"),
            });
        }
        Ok(config)
    }

    /// Shortest and longest session time-out, in milliseconds.
    pub fn session_timeouts_ms(&self) -> (i32, i32) {
        (
            self.min_session_timeout_ms.unwrap_or(self.tick_time_ms.saturating_mul(2)),
            self.max_session_timeout_ms.unwrap_or(self.tick_time_ms.saturating_mul(20)),
        )
    }

    /// Where whoever runs the keeper is to serve its metrics, if anywhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        let host = self.metrics_host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        self.metrics_port.map(|port| SocketAddr::new(host, port))
    }

    /// Where the transaction log is.
    pub fn log_dir(&self) -> &Path {
        self.data_log_dir.as_deref().unwrap_or(&self.data_dir)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Refusal> {
        match key.strip_prefix("zookeeper.").unwrap_or(key) {
            "dataDir" => self.data_dir = path(value)?,
            "dataLogDir" => self.data_log_dir = Some(path(value)?),
            "clientPort" => self.address.set_port(number(value, 0, 65_535)? as u16),
            "clientPortAddress" => self.address.set_ip(address(value)?),
            "tickTime" => self.tick_time_ms = number(value, 1, i64::from(i32::MAX) / 20)? as i32,
            "minSessionTimeout" => self.min_session_timeout_ms = timeout(value)?,
            "maxSessionTimeout" => self.max_session_timeout_ms = timeout(value)?,
            "maxClientCnxns" => self.max_client_connections = number(value, 0, i64::from(i32::MAX))? as usize,
            "maxCnxns" => self.max_connections = number(value, 0, i64::from(i32::MAX))? as usize,
            "globalOutstandingLimit" => self.global_outstanding_limit = number(value, 1, 1 << 20)? as usize,
            "jute.maxbuffer" => self.frame_bytes_max = number(value, 1024, 64 << 20)? as usize,
            "snapCount" => self.snap_count = number(value, 2, i64::MAX)? as u64,
            "snapSizeLimitInKb" => self.snap_log_bytes = number(value, 1, 1 << 40)? as u64 * 1024,
            "txnLogSizeLimitInKb" => self.log_segment_bytes = log_size(value, KeeperConfig::SEGMENT_BYTES_MAX)?,
            "preAllocSize" => self.pre_alloc_bytes = log_size(value, KeeperConfig::PRE_ALLOC_BYTES_MAX)?,
            "autopurge.snapRetainCount" => self.snap_retain_count = number(value, 3, 1 << 20)? as usize,
            "znode.container.checkIntervalMs" => {
                self.container_check_interval = Duration::from_millis(number(value, 1, i64::from(i32::MAX))? as u64);
            }
            "forceSync" => self.force_sync = yes_or_no(value)?,
            "skipACL" => self.skip_acl = yes_or_no(value)?,
            "DigestAuthenticationProvider.superDigest" => self.super_digest = Some(value.to_owned()),
            "metricsProvider.httpHost" => self.metrics_host = Some(address(value)?),
            "metricsProvider.httpPort" => self.metrics_port = Some(number(value, 0, 65_535)? as u16),
            "4lw.commands.whitelist" => self.four_letter_whitelist = whitelist(value),
            "secureClientPort" | "secureClientPortAddress" | "client.secure" => {
                return Err(Refusal::Rule("TLS is not served; remove the line".to_owned()));
            }
            "authProvider" => return Err(Refusal::Rule("only world, digest and ip are served".to_owned())),
            key if key.starts_with("server.") => return Err(Refusal::Ensemble),
            key if key.starts_with("authProvider.") => {
                return Err(Refusal::Rule("only world, digest and ip are served; remove the line".to_owned()));
            }
            key if ACCEPTED.contains(&key) || ACCEPTED_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) => {}
            _ => return Err(Refusal::Unknown),
        }
        Ok(())
    }
}

/// The keys with a meaning here, for guesses at misspelt ones; [`KeeperConfig::set`] is what takes them.
const KEYS: [&str; 21] = [
    "dataDir",
    "dataLogDir",
    "clientPort",
    "clientPortAddress",
    "tickTime",
    "minSessionTimeout",
    "maxSessionTimeout",
    "maxClientCnxns",
    "maxCnxns",
    "globalOutstandingLimit",
    "jute.maxbuffer",
    "snapCount",
    "snapSizeLimitInKb",
    "txnLogSizeLimitInKb",
    "preAllocSize",
    "autopurge.snapRetainCount",
    "znode.container.checkIntervalMs",
    "forceSync",
    "skipACL",
    "DigestAuthenticationProvider.superDigest",
    "4lw.commands.whitelist",
];

/// Keys of ZooKeeper without a meaning here: the log makes its own choices, there is no ensemble, the admin server's commands are not served.
const ACCEPTED: [&str; 16] = [
    "autopurge.purgeInterval",
    "electionAlg",
    "emulate353TTLNodes",
    "extendedTypesEnabled",
    "fsync.warningthresholdms",
    "initLimit",
    "leaderServes",
    "localSessionsEnabled",
    "peerType",
    "readonlymode.enabled",
    "reconfigEnabled",
    "serverCnxnFactory",
    "standaloneEnabled",
    "syncEnabled",
    "syncLimit",
    "cnxTimeout",
];

const ACCEPTED_PREFIXES: [&str; 7] =
    ["admin.", "metricsProvider.", "nio", "quorum.", "ssl.", "request_throttle_", "commitProcessor."];

enum Refusal {
    Rule(String),
    Ensemble,
    Unknown,
}

fn number(value: &str, min: i64, max: i64) -> Result<i64, Refusal> {
    match value.parse::<i64>() {
        Ok(n) if (min..=max).contains(&n) => Ok(n),
        _ => Err(Refusal::Rule(format!("it must be a whole number from {min} to {max}"))),
    }
}

/// Kilobytes, in bytes and within what makes sense here; -1 is ZooKeeper's word for no limit.
fn log_size(value: &str, max: u64) -> Result<u64, Refusal> {
    const MIN: u64 = 64 << 10;
    let kilobytes = number(value, -1, 1 << 40)?;
    Ok(u64::try_from(kilobytes).map_or(max, |kilobytes| (kilobytes * 1024).clamp(MIN, max)))
}

fn timeout(value: &str) -> Result<Option<i32>, Refusal> {
    match number(value, -1, i64::from(i32::MAX))? {
        -1 => Ok(None),
        ms => Ok(Some(ms as i32)),
    }
}

fn path(value: &str) -> Result<PathBuf, Refusal> {
    if value.is_empty() { Err(Refusal::Rule("it must name a directory".to_owned())) } else { Ok(PathBuf::from(value)) }
}

fn address(value: &str) -> Result<IpAddr, Refusal> {
    match value {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => value
            .parse()
            .map_err(|_| Refusal::Rule("it must be an IP address of this machine, or localhost".to_owned())),
    }
}

fn yes_or_no(value: &str) -> Result<bool, Refusal> {
    match value {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(Refusal::Rule("it must be yes or no".to_owned())),
    }
}

fn whitelist(value: &str) -> Option<BTreeSet<String>> {
    let words: BTreeSet<String> =
        value.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect();
    if words.contains("*") { None } else { Some(words) }
}

#[cfg(test)]
mod tests;
