//! What the broker was told: `server.properties` as Kafka reads it, with overrides, and the configuration of topics.
//!
//! One table declares every key ([`broker_keys`], [`topic`]): its type, default, rule and sentence. A [`BrokerConfig`] exists only when every value obeys its rule.
//!
//! # Layout
//! - [`key`]: one key and the check of one value
//! - [`broker_keys`], [`topic`]: the tables
//! - [`settings`]: raw values and where they came from
//! - [`listeners`]: where to listen, and what to tell clients
//! - [`dynamic`]: what can be set on a running broker

pub mod broker_keys;
pub mod dynamic;
pub mod key;
pub mod listeners;
pub mod settings;
pub mod topic;

use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::Disk;
use runtime::machine::without_number;
use storage::CleanerConfig;

pub use dynamic::{ThrottledReplicas, Throttles};
pub use listeners::{Listener, Listeners};
pub use settings::{Origin, Settings};
pub use topic::TopicConfig;

use crate::error::BrokerError;

/// Bytes of requests held in memory when `queued.max.request.bytes` does not say.
const QUEUED_REQUEST_BYTES_DEFAULT: usize = 256 << 20;

/// `log.flush.before.ack`: whether an answer to acks=all waits for the leader's own disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushBeforeAck {
    /// When fewer than two replicas are in sync at the moment of the answer.
    Auto,
    /// Always.
    Always,
    /// Never: the page cache is Kafka's promise.
    Never,
}

/// Checked configuration of one broker.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Raw values, for DescribeConfigs and for topics.
    pub settings: Settings,
    /// `broker.id`; none takes a generated one.
    pub broker_id: Option<i32>,
    /// `reserved.broker.max.id`.
    pub reserved_broker_max_id: i32,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Addresses.
    pub listeners: Listeners,
    /// `log.dirs`.
    pub log_dirs: Vec<PathBuf>,
    /// How logs are compacted; `None` where they are not.
    pub cleaner: Option<CleanerConfig>,
    /// `num.recovery.threads.per.data.dir`.
    pub recovery_threads_per_dir: usize,
    /// Limits of connections.
    pub network: NetworkConfig,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `auto.leader.rebalance.enable`.
    pub auto_leader_rebalance: bool,
    /// `leader.imbalance.check.interval.seconds`.
    pub leader_imbalance_check_interval: Duration,
    /// `leader.imbalance.per.broker.percentage`.
    pub leader_imbalance_percentage: i32,
    /// `log.flush.before.ack`.
    pub flush_before_ack: FlushBeforeAck,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub recovery_checkpoint_interval: Duration,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub high_watermark_checkpoint_interval: Duration,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max_ms: i64,
    /// How followers fetch.
    pub replica_fetch: ReplicaFetchConfig,
    /// Whether consumers are sent to a replica in their rack: `replica.selector.class` names the rack-aware selector.
    pub rack_aware_selector: bool,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_session_slots: usize,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `zookeeper.connect`.
    pub zookeeper_connect: String,
    /// `zookeeper.session.timeout.ms`.
    pub zookeeper_session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`.
    pub zookeeper_connection_timeout: Duration,
    /// `controlled.shutdown.enable`.
    pub controlled_shutdown: bool,
    /// `controlled.shutdown.max.retries`.
    pub controlled_shutdown_retries: usize,
    /// `controlled.shutdown.retry.backoff.ms`.
    pub controlled_shutdown_backoff: Duration,
    /// Limits of groups and their offsets.
    pub groups: GroupConfig,
}

/// How a follower fetches.
#[derive(Debug, Clone, Copy)]
pub struct ReplicaFetchConfig {
    /// `replica.fetch.wait.max.ms`.
    pub wait_ms_max: i32,
    /// `replica.fetch.min.bytes`.
    pub bytes_min: i32,
    /// `replica.fetch.response.max.bytes`.
    pub response_bytes_max: i32,
    /// `replica.fetch.max.bytes`: of one partition.
    pub partition_bytes_max: i32,
    /// `replica.fetch.backoff.ms`: longest pause after an error.
    pub pause_max: Duration,
}

/// Limits of connections and of what they may hold in memory.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// `max.connections`.
    pub connections_max: usize,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: usize,
    /// `max.connections.per.ip.overrides`: address or host name, and its number.
    pub connections_per_ip_overrides: Vec<(String, usize)>,
    /// `connections.max.idle.ms`; none never closes.
    pub idle_max: Option<Duration>,
    /// `queued.max.requests`.
    pub queued_requests_max: usize,
    /// `queued.max.request.bytes`.
    pub queued_request_bytes_max: usize,
}

/// Limits of groups and their offsets.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`.
    pub max_size: i32,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.topic.num.partitions`.
    pub offsets_topic_partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub offsets_topic_replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub offsets_topic_segment_bytes: i32,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval: Duration,
    /// `offsets.commit.timeout.ms`.
    pub offsets_commit_timeout: Duration,
    /// `offsets.commit.required.acks`.
    pub offsets_commit_required_acks: i16,
    /// `offsets.load.buffer.size`.
    pub offsets_load_buffer_bytes: usize,
}

impl BrokerConfig {
    /// Reads a properties file and lays overrides over it.
    ///
    /// # Errors
    /// A file that cannot be read, a value that breaks its rule (with file and line), a missing `zookeeper.connect`.
    pub fn load<I, K, V>(path: &Path, overrides: I) -> Result<BrokerConfig, BrokerError>
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let text = Disk::real().read_text(path, settings::FILE_BYTES_MAX).map_err(|error| BrokerError::Config {
            what: format!("cannot read the configuration file {}", path.display()),
            cause: without_number(&error.to_string()).to_owned(),
            origin: None,
            advice: Some("bin/kafka-server-start.sh config/server.properties".to_owned()),
        })?;
        BrokerConfig::from_settings(Settings::parse(path, &text)?, overrides, Some(path))
    }

    /// Makes a configuration of overrides alone.
    ///
    /// # Errors
    /// As [`BrokerConfig::load`].
    pub fn from_overrides<I, K, V>(overrides: I) -> Result<BrokerConfig, BrokerError>
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<str>,
        V: AsRef<str>,
    {
        BrokerConfig::from_settings(Settings::default(), overrides, None)
    }

    fn from_settings<I, K, V>(
        mut settings: Settings,
        overrides: I,
        file: Option<&Path>,
    ) -> Result<BrokerConfig, BrokerError>
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<str>,
        V: AsRef<str>,
    {
        for (name, value) in overrides {
            settings.set(name.as_ref(), value.as_ref(), Origin::Override)?;
        }
        warn_of_no_cleaner(&mut settings);
        let zookeeper_connect = settings.string("zookeeper.connect");
        if zookeeper_connect.is_empty() {
            return Err(BrokerError::Config {
                what: "Missing required configuration `zookeeper.connect` which has no default value.".to_owned(),
                cause: "the broker keeps its metadata in ZooKeeper".to_owned(),
                origin: None,
                advice: file.map(|file| format!("echo zookeeper.connect=localhost:2181 >> {}", file.display())),
            });
        }
        let listeners = Listeners::from_settings(&settings)?;
        let broker_id = match settings.int("broker.id") {
            -1 if settings.boolean("broker.id.generation.enable") => None,
            id => Some(id),
        };
        let reserved = settings.int("reserved.broker.max.id");
        if let Some(id) = broker_id
            && (id < 0 || (id > reserved && settings.boolean("broker.id.generation.enable")))
        {
            return Err(BrokerError::Config {
                what: "broker.id must be greater than or equal to 0 and not greater than reserved.broker.max.id"
                    .to_owned(),
                cause: format!("broker.id is {id}, and reserved.broker.max.id is {reserved}"),
                origin: Some(settings.origin("broker.id")),
                advice: Some(format!("broker.id: from 0 to {reserved}")),
            });
        }
        let session_timeout = millis(settings.long("zookeeper.session.timeout.ms"));
        Ok(BrokerConfig {
            broker_id,
            reserved_broker_max_id: reserved,
            rack: settings.text("broker.rack").map(str::to_owned),
            listeners,
            log_dirs: log_dirs(&settings)?,
            cleaner: cleaner(&settings),
            recovery_threads_per_dir: size(settings.long("num.recovery.threads.per.data.dir")),
            network: NetworkConfig::from_settings(&settings)?,
            num_partitions: settings.int("num.partitions"),
            default_replication_factor: i16::try_from(settings.int("default.replication.factor")).unwrap_or(i16::MAX),
            auto_create_topics: settings.boolean("auto.create.topics.enable"),
            delete_topics: settings.boolean("delete.topic.enable"),
            auto_leader_rebalance: settings.boolean("auto.leader.rebalance.enable"),
            leader_imbalance_check_interval: Duration::from_secs(
                u64::try_from(settings.long("leader.imbalance.check.interval.seconds")).unwrap_or(300),
            ),
            leader_imbalance_percentage: settings.int("leader.imbalance.per.broker.percentage"),
            flush_before_ack: match settings.string("log.flush.before.ack").as_str() {
                "always" => FlushBeforeAck::Always,
                "never" => FlushBeforeAck::Never,
                _ => FlushBeforeAck::Auto,
            },
            retention_check_interval: millis(settings.long("log.retention.check.interval.ms")),
            recovery_checkpoint_interval: millis(settings.long("log.flush.offset.checkpoint.interval.ms")),
            high_watermark_checkpoint_interval: millis(settings.long("replica.high.watermark.checkpoint.interval.ms")),
            producer_id_expiration_ms: settings.long("producer.id.expiration.ms"),
            replica_lag_time_max_ms: settings.long("replica.lag.time.max.ms"),
            replica_fetch: ReplicaFetchConfig::from_settings(&settings),
            rack_aware_selector: settings.text("replica.selector.class") == Some(broker_keys::RACK_AWARE_SELECTOR),
            fetch_max_bytes: size(settings.long("fetch.max.bytes")),
            fetch_session_slots: size(settings.long("max.incremental.fetch.session.cache.slots")),
            request_timeout: millis(settings.long("request.timeout.ms")),
            zookeeper_connect,
            zookeeper_session_timeout: session_timeout,
            zookeeper_connection_timeout: settings
                .optional_long("zookeeper.connection.timeout.ms")
                .map_or(session_timeout, millis),
            controlled_shutdown: settings.boolean("controlled.shutdown.enable"),
            controlled_shutdown_retries: size(settings.long("controlled.shutdown.max.retries")),
            controlled_shutdown_backoff: millis(settings.long("controlled.shutdown.retry.backoff.ms")),
            groups: GroupConfig::from_settings(&settings),
            settings,
        })
    }

    /// What holds for a topic without overrides.
    #[must_use]
    pub fn topic_defaults(&self) -> TopicConfig {
        TopicConfig::new(&std::collections::BTreeMap::new(), &self.settings)
    }
}

impl ReplicaFetchConfig {
    fn from_settings(settings: &Settings) -> ReplicaFetchConfig {
        ReplicaFetchConfig {
            wait_ms_max: settings.int("replica.fetch.wait.max.ms"),
            bytes_min: settings.int("replica.fetch.min.bytes"),
            response_bytes_max: settings.int("replica.fetch.response.max.bytes"),
            partition_bytes_max: settings.int("replica.fetch.max.bytes"),
            pause_max: millis(settings.long("replica.fetch.backoff.ms")),
        }
    }
}

impl NetworkConfig {
    fn from_settings(settings: &Settings) -> Result<NetworkConfig, BrokerError> {
        let mut overrides = Vec::new();
        for pair in settings.list("max.connections.per.ip.overrides") {
            let parsed = pair
                .rsplit_once(':')
                .and_then(|(host, count)| Some((host.to_owned(), count.trim().parse::<usize>().ok()?)));
            overrides.push(parsed.ok_or_else(|| BrokerError::Config {
                what: format!(
                    "Invalid value {pair} for configuration max.connections.per.ip.overrides: expected host:count"
                ),
                cause: String::new(),
                origin: Some(settings.origin("max.connections.per.ip.overrides")),
                advice: None,
            })?);
        }
        let queued_bytes = settings.long("queued.max.request.bytes");
        let request_bytes_max = size(settings.long("socket.request.max.bytes"));
        Ok(NetworkConfig {
            request_bytes_max,
            connections_max: size(settings.long("max.connections")),
            connections_per_ip_max: size(settings.long("max.connections.per.ip")),
            connections_per_ip_overrides: overrides,
            idle_max: Some(settings.long("connections.max.idle.ms")).filter(|ms| *ms > 0).map(millis),
            queued_requests_max: size(settings.long("queued.max.requests")),
            queued_request_bytes_max: if queued_bytes > 0 { size(queued_bytes) } else { QUEUED_REQUEST_BYTES_DEFAULT }
                .max(request_bytes_max),
        })
    }
}

impl GroupConfig {
    fn from_settings(settings: &Settings) -> GroupConfig {
        GroupConfig {
            min_session_timeout_ms: settings.int("group.min.session.timeout.ms"),
            max_session_timeout_ms: settings.int("group.max.session.timeout.ms"),
            initial_rebalance_delay_ms: settings.int("group.initial.rebalance.delay.ms"),
            max_size: settings.int("group.max.size"),
            offset_metadata_max_bytes: size(settings.long("offset.metadata.max.bytes")),
            offsets_topic_partitions: settings.int("offsets.topic.num.partitions"),
            offsets_topic_replication_factor: i16::try_from(settings.long("offsets.topic.replication.factor"))
                .unwrap_or(i16::MAX),
            offsets_topic_segment_bytes: settings.int("offsets.topic.segment.bytes"),
            offsets_retention_ms: settings.long("offsets.retention.minutes").saturating_mul(60_000),
            offsets_retention_check_interval: millis(settings.long("offsets.retention.check.interval.ms")),
            offsets_commit_timeout: millis(settings.long("offsets.commit.timeout.ms")),
            offsets_commit_required_acks: i16::try_from(settings.long("offsets.commit.required.acks")).unwrap_or(-1),
            offsets_load_buffer_bytes: size(settings.long("offsets.load.buffer.size")),
        }
    }
}

/// How the cleaner works; `None` where `log.cleaner.enable` is false.
fn cleaner(settings: &Settings) -> Option<CleanerConfig> {
    settings.boolean("log.cleaner.enable").then(|| CleanerConfig {
        threads: size(settings.long("log.cleaner.threads")),
        dedupe_buffer_bytes: u64::try_from(settings.long("log.cleaner.dedupe.buffer.size")).unwrap_or_default(),
        load_factor: settings.double("log.cleaner.io.buffer.load.factor"),
        io_buffer_bytes: size(settings.long("log.cleaner.io.buffer.size")),
        io_bytes_per_second_max: settings.double("log.cleaner.io.max.bytes.per.second"),
        backoff: millis(settings.long("log.cleaner.backoff.ms")),
    })
}

/// Whoever switches the cleaner off must know that disks will fill.
fn warn_of_no_cleaner(settings: &mut Settings) {
    if !settings.boolean("log.cleaner.enable") {
        let origin = settings.origin("log.cleaner.enable");
        settings.warn(format!(
            "log.cleaner.enable=false ({origin}): nothing is compacted, __consumer_offsets keeps every commit for ever"
        ));
    }
}

fn log_dirs(settings: &Settings) -> Result<Vec<PathBuf>, BrokerError> {
    let key = if settings.is_set("log.dirs") { "log.dirs" } else { "log.dir" };
    let mut dirs: Vec<PathBuf> = settings.list(key).into_iter().map(PathBuf::from).collect();
    let count = dirs.len();
    dirs.sort();
    dirs.dedup();
    if dirs.is_empty() || dirs.len() != count {
        return Err(BrokerError::Config {
            what: format!("{key} must name one or more directories, none of them twice"),
            cause: String::new(),
            origin: Some(settings.origin(key)),
            advice: Some("such as log.dirs=data/kafka-logs".to_owned()),
        });
    }
    Ok(dirs)
}

fn millis(value: i64) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or_default())
}

fn size(value: i64) -> usize {
    usize::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_without_zookeeper_says_kafkas_sentence() {
        let error = BrokerConfig::from_overrides([("broker.id", "0")]).unwrap_err();
        assert_eq!(error.to_string(), "Missing required configuration `zookeeper.connect` which has no default value.");
    }

    #[test]
    fn defaults_are_kafkas() {
        let config = BrokerConfig::from_overrides([("zookeeper.connect", "localhost:2181")]).unwrap();
        assert_eq!(config.broker_id, None);
        assert_eq!(config.zookeeper_connection_timeout, Duration::from_secs(18));
        assert_eq!(config.network.queued_request_bytes_max, 256 << 20);
        assert_eq!(config.flush_before_ack, FlushBeforeAck::Auto);
        assert!(config.delete_topics);
    }

    #[test]
    fn the_file_of_the_tutorial_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.properties");
        std::fs::write(
            &path,
            "broker.id=0\nnum.network.threads=3\nlog.dirs=/tmp/kafka-logs\nzookeeper.connect=localhost:2181\n",
        )
        .unwrap();
        let config = BrokerConfig::load(&path, [("num.partitions", "3")]).unwrap();
        assert_eq!((config.broker_id, config.num_partitions), (Some(0), 3));
        assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kafka-logs")]);
        assert!(config.settings.warnings().is_empty());
    }

    #[test]
    fn the_cleaner_runs_unless_it_is_switched_off_which_is_told() {
        fn check(file: &str, expected: Option<CleanerConfig>, warnings: &[&str]) {
            let settings = Settings::parse(Path::new("server.properties"), file.as_bytes()).unwrap();
            let config =
                BrokerConfig::from_settings(settings, [("zookeeper.connect", "localhost:2181")], None).unwrap();
            assert_eq!(config.settings.warnings(), warnings, "{file}");
            assert_eq!(config.cleaner, expected, "{file}");
        }
        check("log.cleanup.policy=compact, delete\n", Some(CleanerConfig::default()), &[]);
        check(
            "log.cleaner.threads=2\nlog.cleaner.backoff.ms=10\nlog.cleaner.io.max.bytes.per.second=1e6\n",
            Some(CleanerConfig {
                threads: 2,
                backoff: Duration::from_millis(10),
                io_bytes_per_second_max: 1e6,
                ..CleanerConfig::default()
            }),
            &[],
        );
        check(
            "log.cleaner.enable=false\n",
            None,
            &[
                "log.cleaner.enable=false (set in server.properties:1): nothing is compacted, __consumer_offsets keeps every commit for ever",
            ],
        );
    }
}
