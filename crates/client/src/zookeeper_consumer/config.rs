//! What a ZooKeeper consumer can be told, under the names and with the defaults of Kafka 0.8.2 (`kafka.consumer.ConsumerConfig`).

use std::time::Duration;

use crate::kafka::{ClientConfig, ConsumerConfig, HostPort, OffsetReset};
use crate::zookeeper_consumer::ConsumerError;

/// Keys of Kafka's consumer that mean nothing here: they tune queues and threads this one does not have.
const WITHOUT_MEANING: &[&str] = &[
    "socket.receive.buffer.bytes",
    "queued.max.message.chunks",
    "num.consumer.fetchers",
    "offsets.channel.backoff.ms",
    "offsets.channel.socket.timeout.ms",
    "refresh.leader.backoff.ms",
];

/// `partition.assignment.strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AssignmentStrategy {
    /// Topic by topic, each thread a run of partitions.
    #[default]
    Range,
    /// All partitions of all topics in turn; only where all members subscribe alike.
    RoundRobin,
}

/// `offsets.storage` and `dual.commit.enabled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OffsetsStorage {
    /// In ZooKeeper.
    #[default]
    Zookeeper,
    /// In Kafka.
    Kafka,
    /// In both; the greater counts. For a group on its way from ZooKeeper to Kafka.
    Both,
}

/// What a [`super::ZookeeperConsumer`] can be told.
#[derive(Debug, Clone)]
pub struct ZookeeperConsumerConfig {
    /// `zookeeper.connect`.
    pub zookeeper_connect: String,
    /// `zookeeper.session.timeout.ms`: how long after its death a member's partitions are free again.
    pub zookeeper_session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`; the session time-out where not set.
    pub zookeeper_connection_timeout: Option<Duration>,
    /// `zookeeper.sync.time.ms`.
    pub zookeeper_sync_time: Duration,
    /// `group.id`.
    pub group_id: String,
    /// `consumer.id`; made of host, time and chance where not set.
    pub consumer_id: Option<String>,
    /// `client.id`: name in the broker's logs; the group's where not set.
    pub client_id: Option<String>,
    /// `auto.offset.reset`, `smallest` or `largest`: where to begin in a partition without an offset, or with one outside the log.
    pub auto_offset_reset: OffsetReset,
    /// `auto.commit.enable`. Off: only [`super::ZookeeperConsumer::commit`] commits.
    pub auto_commit_enable: bool,
    /// `auto.commit.interval.ms`.
    pub auto_commit_interval: Duration,
    /// `offsets.storage` and `dual.commit.enabled`.
    pub offsets_storage: OffsetsStorage,
    /// `offsets.commit.max.retries`: repetitions of a failed commit.
    pub offsets_commit_max_retries: u32,
    /// `rebalance.max.retries`: attempts to share the partitions out.
    pub rebalance_max_retries: u32,
    /// `rebalance.backoff.ms` between them; `zookeeper.sync.time.ms` where not set.
    pub rebalance_backoff: Option<Duration>,
    /// `partition.assignment.strategy`.
    pub assignment_strategy: AssignmentStrategy,
    /// `exclude.internal.topics` from what a regular expression matches.
    pub exclude_internal_topics: bool,
    /// `consumer.timeout.ms`: an error after so long without a record. Not set: wait for ever.
    pub consumer_timeout: Option<Duration>,
    /// `fetch.message.max.bytes` of one partition in one response.
    pub fetch_message_max_bytes: i32,
    /// `fetch.min.bytes`: the broker waits for so many ...
    pub fetch_min_bytes: i32,
    /// `fetch.wait.max.ms`: ... but no longer than this.
    pub fetch_wait_max: Duration,
    /// `socket.timeout.ms`: longest wait for an answer of a broker, on top of `fetch.wait.max.ms`.
    pub socket_timeout: Duration,
    /// `dual.commit.enabled`, where it was set by name: `offsets.storage` may come later.
    pub dual_commit_enabled: Option<bool>,
}

impl ZookeeperConsumerConfig {
    /// Kafka's defaults.
    pub fn new(zookeeper_connect: impl Into<String>, group_id: impl Into<String>) -> ZookeeperConsumerConfig {
        ZookeeperConsumerConfig {
            zookeeper_connect: zookeeper_connect.into(),
            zookeeper_session_timeout: Duration::from_secs(6),
            zookeeper_connection_timeout: None,
            zookeeper_sync_time: Duration::from_secs(2),
            group_id: group_id.into(),
            consumer_id: None,
            client_id: None,
            auto_offset_reset: OffsetReset::Latest,
            auto_commit_enable: true,
            auto_commit_interval: Duration::from_secs(60),
            offsets_storage: OffsetsStorage::Zookeeper,
            offsets_commit_max_retries: 5,
            rebalance_max_retries: 4,
            rebalance_backoff: None,
            assignment_strategy: AssignmentStrategy::Range,
            exclude_internal_topics: true,
            consumer_timeout: None,
            fetch_message_max_bytes: 1 << 20,
            fetch_min_bytes: 1,
            fetch_wait_max: Duration::from_millis(100),
            socket_timeout: Duration::from_secs(30),
            dual_commit_enabled: None,
        }
    }

    /// Sets one configuration by Kafka's name; `false` where Kafka's consumer does not have it.
    ///
    /// # Errors
    /// Where the value cannot be used.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, ConsumerError> {
        let value = value.trim();
        match name {
            "zookeeper.connect" => self.zookeeper_connect = value.to_owned(),
            "zookeeper.session.timeout.ms" => self.zookeeper_session_timeout = millis(name, value)?,
            "zookeeper.connection.timeout.ms" => self.zookeeper_connection_timeout = Some(millis(name, value)?),
            "zookeeper.sync.time.ms" => self.zookeeper_sync_time = millis(name, value)?,
            "group.id" => self.group_id = value.to_owned(),
            "consumer.id" => self.consumer_id = Some(value.to_owned()),
            "client.id" => self.client_id = Some(value.to_owned()),
            "auto.offset.reset" => {
                self.auto_offset_reset = match value {
                    "smallest" | "earliest" => OffsetReset::Earliest,
                    "largest" | "latest" => OffsetReset::Latest,
                    _ => return Err(bad(name, value, "Valid values are smallest and largest")),
                };
            }
            "auto.commit.enable" | "enable.auto.commit" => self.auto_commit_enable = boolean(name, value)?,
            "auto.commit.interval.ms" => self.auto_commit_interval = millis(name, value)?,
            "offsets.storage" => {
                self.offsets_storage = match value.to_ascii_lowercase().as_str() {
                    "zookeeper" => OffsetsStorage::Zookeeper,
                    // Kafka's default for dual.commit.enabled is whether offsets are kept in Kafka.
                    "kafka" if self.dual_commit_enabled == Some(false) => OffsetsStorage::Kafka,
                    "kafka" => OffsetsStorage::Both,
                    _ => return Err(bad(name, value, "Valid values are 'zookeeper' and 'kafka'")),
                };
            }
            "dual.commit.enabled" => {
                let dual = boolean(name, value)?;
                self.dual_commit_enabled = Some(dual);
                self.offsets_storage = match self.offsets_storage {
                    OffsetsStorage::Zookeeper => OffsetsStorage::Zookeeper,
                    _ if dual => OffsetsStorage::Both,
                    _ => OffsetsStorage::Kafka,
                };
            }
            "offsets.commit.max.retries" => self.offsets_commit_max_retries = number(name, value)?,
            "rebalance.max.retries" => self.rebalance_max_retries = number(name, value)?,
            "rebalance.backoff.ms" => self.rebalance_backoff = Some(millis(name, value)?),
            "partition.assignment.strategy" => {
                self.assignment_strategy = match value {
                    "range" => AssignmentStrategy::Range,
                    "roundrobin" => AssignmentStrategy::RoundRobin,
                    _ => return Err(bad(name, value, "Valid values are range and roundrobin")),
                };
            }
            "exclude.internal.topics" => self.exclude_internal_topics = boolean(name, value)?,
            "consumer.timeout.ms" => {
                let timeout: i64 = number(name, value)?;
                self.consumer_timeout = u64::try_from(timeout).ok().map(Duration::from_millis);
            }
            "fetch.message.max.bytes" | "max.partition.fetch.bytes" => {
                self.fetch_message_max_bytes = number(name, value)?;
            }
            "fetch.min.bytes" => self.fetch_min_bytes = number(name, value)?,
            "fetch.wait.max.ms" | "fetch.max.wait.ms" => self.fetch_wait_max = millis(name, value)?,
            "socket.timeout.ms" => self.socket_timeout = millis(name, value)?,
            _ => return Ok(WITHOUT_MEANING.contains(&name)),
        }
        Ok(true)
    }

    /// Refuses what cannot work, with Kafka's words.
    ///
    /// # Errors
    /// [`ConsumerError::BadConfig`].
    pub fn validate(&self) -> Result<(), ConsumerError> {
        if self.group_id.is_empty() {
            return Err(bad("group.id", "", "it must be set"));
        }
        for (name, value) in [("group.id", Some(&self.group_id)), ("client.id", self.client_id.as_ref())] {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if let Some(value) = value.filter(|value| !value.chars().all(legal)) {
                let why = "it contains a character other than ASCII alphanumerics, '.', '_' and '-'";
                return Err(bad(name, value, why));
            }
        }
        if self.consumer_id.as_ref().is_some_and(|id| id.is_empty() || id.contains('/')) {
            return Err(bad("consumer.id", self.consumer_id.as_deref().unwrap_or_default(), "it cannot name a znode"));
        }
        Ok(())
    }

    /// Pause between two attempts to share the partitions out.
    pub(super) fn backoff(&self) -> Duration {
        self.rebalance_backoff.unwrap_or(self.zookeeper_sync_time)
    }

    /// What reads the partitions, with brokers to ask first.
    pub(super) fn reader(&self, brokers: Vec<HostPort>) -> ConsumerConfig {
        let mut client = ClientConfig::new(brokers);
        client.client_id = self.client_id.clone().unwrap_or_else(|| self.group_id.clone());
        client.request_timeout = self.socket_timeout.saturating_add(self.fetch_wait_max);
        let mut reader = ConsumerConfig::new(client);
        reader.auto_offset_reset = self.auto_offset_reset;
        reader.enable_auto_commit = false;
        reader.fetch_min_bytes = self.fetch_min_bytes;
        reader.fetch_max_wait = self.fetch_wait_max;
        reader.max_partition_fetch_bytes = self.fetch_message_max_bytes;
        // A topic that is gone must not come back because its last reader asks about it.
        reader.allow_auto_create_topics = false;
        reader
    }
}

fn bad(name: &str, value: &str, why: &str) -> ConsumerError {
    ConsumerError::BadConfig { name: name.to_owned(), value: value.to_owned(), why: why.to_owned() }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, ConsumerError> {
    value.parse().map_err(|_| bad(name, value, "Not a number in range"))
}

fn millis(name: &str, value: &str) -> Result<Duration, ConsumerError> {
    // "For ever" is Integer.MAX_VALUE or Long.MAX_VALUE to Kafka's users; a century will do, and no deadline overflows.
    const FOR_EVER_MS: u64 = 100 * 365 * 86_400_000;
    Ok(Duration::from_millis(number::<u64>(name, value)?.min(FOR_EVER_MS)))
}

fn boolean(name: &str, value: &str) -> Result<bool, ConsumerError> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(bad(name, value, "Unacceptable value, must be either true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ZookeeperConsumerConfig {
        ZookeeperConsumerConfig::new("localhost:2181", "g")
    }

    #[test]
    fn kafkas_names_are_understood() {
        let mut config = config();
        for (name, value) in [
            ("zookeeper.session.timeout.ms", "400"),
            ("auto.offset.reset", "smallest"),
            ("auto.commit.enable", "false"),
            ("consumer.timeout.ms", "-1"),
            ("num.consumer.fetchers", "3"),
            ("fetch.wait.max.ms", "9223372036854775807"),
        ] {
            assert!(config.set(name, value).unwrap(), "{name}");
        }
        assert_eq!(config.zookeeper_session_timeout, Duration::from_millis(400));
        assert_eq!((config.auto_offset_reset, config.auto_commit_enable), (OffsetReset::Earliest, false));
        assert_eq!(config.consumer_timeout, None);
        assert!(!config.set("metrics.recorder", "x").unwrap());
        let error = config.set("auto.offset.reset", "first").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Invalid value first for configuration auto.offset.reset: Valid values are smallest and largest"
        );
    }

    #[test]
    fn offsets_go_to_both_places_until_told_otherwise() {
        let check = |settings: &[(&str, &str)], expected| {
            let mut config = config();
            settings.iter().for_each(|(name, value)| assert!(config.set(name, value).unwrap()));
            assert_eq!(config.offsets_storage, expected, "{settings:?}");
        };
        check(&[], OffsetsStorage::Zookeeper);
        check(&[("dual.commit.enabled", "true")], OffsetsStorage::Zookeeper);
        check(&[("offsets.storage", "kafka")], OffsetsStorage::Both);
        check(&[("offsets.storage", "kafka"), ("dual.commit.enabled", "false")], OffsetsStorage::Kafka);
        check(&[("dual.commit.enabled", "false"), ("offsets.storage", "kafka")], OffsetsStorage::Kafka);
    }

    #[test]
    fn a_group_must_be_able_to_name_a_znode() {
        assert!(config().validate().is_ok());
        for group in ["", "a/b", "a b"] {
            let config = ZookeeperConsumerConfig { group_id: group.to_owned(), ..config() };
            assert!(matches!(config.validate(), Err(ConsumerError::BadConfig { .. })), "{group}");
        }
    }
}
