//! What a client can be told, under Kafka's own names and defaults (Apache Kafka 3.9).
//!
//! Each struct is plain data with public fields; `set("linger.ms", "5")` takes the textual form of `.properties` files and of
//! `--producer-property`. A name that Kafka does not have is told apart (`Ok(false)`) from a value that cannot be used (`Err`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use protocol::records::compression::Codec;

use super::error::{ClientError, Result};
use super::versions::OldBroker;

/// `host:port` of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = ClientError;

    /// Reads `host:port`, `[::1]:port` or `PLAINTEXT://host:port`.
    fn from_str(text: &str) -> Result<HostPort> {
        let invalid = || ClientError::InvalidAddress { given: text.to_string() };
        let trimmed = text.trim();
        let address = trimmed.strip_prefix("PLAINTEXT://").unwrap_or(trimmed);
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(invalid)?,
            None if host.contains(':') => return Err(invalid()),
            None => host,
        };
        let port: u16 = port.parse().map_err(|_| invalid())?;
        if host.is_empty() || port == 0 || host.contains(['/', ' ']) {
            return Err(invalid());
        }
        Ok(HostPort { host: host.to_string(), port })
    }
}

/// Reads a comma-separated list such as `bootstrap.servers` or `--broker-list`.
///
/// # Errors
/// [`ClientError::InvalidAddress`] names the entry that cannot be read, or the whole text where it is empty.
pub fn parse_servers(text: &str) -> Result<Vec<HostPort>> {
    let servers: Vec<HostPort> =
        text.split(',').filter(|part| !part.trim().is_empty()).map(str::parse).collect::<Result<_>>()?;
    if servers.is_empty() {
        return Err(ClientError::InvalidAddress { given: text.to_string() });
    }
    Ok(servers)
}

/// What producers, consumers and admin clients have in common.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `bootstrap.servers`: where to ask first; any live broker of the cluster will do.
    pub bootstrap_servers: Vec<HostPort>,
    /// `client.id`: name in the broker's logs and quotas.
    pub client_id: String,
    /// `request.timeout.ms`: longest wait for one answer; the connection is closed after it.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`: longest wait of one call with all its retries.
    pub default_api_timeout: Duration,
    /// `metadata.max.age.ms`: metadata older than this is asked for again when it is next used.
    pub metadata_max_age: Duration,
    /// `retry.backoff.ms`: pause before the first retry; it doubles with each.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`: longest pause between retries.
    pub retry_backoff_max: Duration,
    /// `reconnect.backoff.ms`: pause before connecting again to a broker that refused; it doubles with each.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`: longest such pause.
    pub reconnect_backoff_max: Duration,
    /// `socket.connection.setup.timeout.ms`: longest wait for a TCP connection.
    pub connection_setup_timeout: Duration,
    /// `api.version.request`: whether to ask a broker for its versions (librdkafka's name). Without it the fallback's table is used at once.
    pub api_version_request: bool,
    /// `api.version.request.timeout.ms`: silence after which a broker counts as one without ApiVersions (librdkafka's name).
    pub api_version_request_timeout: Duration,
    /// `broker.version.fallback`: release assumed of a broker without ApiVersions (librdkafka's name).
    pub broker_version_fallback: OldBroker,
    /// Requests under way on one connection at most; further ones wait.
    pub in_flight_requests_max: usize,
    /// Largest response read, in bytes; a longer one closes the connection before anything is allocated for it.
    pub response_bytes_max: usize,
}

impl ClientConfig {
    /// Kafka's defaults for a cluster known by `bootstrap_servers`.
    #[must_use]
    pub fn new(bootstrap_servers: Vec<HostPort>) -> ClientConfig {
        ClientConfig {
            bootstrap_servers,
            client_id: String::new(),
            request_timeout: Duration::from_secs(30),
            default_api_timeout: Duration::from_secs(60),
            metadata_max_age: Duration::from_secs(300),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            connection_setup_timeout: Duration::from_secs(10),
            api_version_request: true,
            api_version_request_timeout: Duration::from_secs(5),
            broker_version_fallback: OldBroker::default(),
            in_flight_requests_max: 64,
            response_bytes_max: 100 << 20,
        }
    }

    /// Kafka's defaults for a cluster known by `servers`, a comma-separated list.
    ///
    /// # Errors
    /// [`ClientError::InvalidAddress`] where the list cannot be read.
    pub fn parse(servers: &str) -> Result<ClientConfig> {
        Ok(ClientConfig::new(parse_servers(servers)?))
    }

    /// Sets one configuration by Kafka's name; `false` where these are not its home.
    ///
    /// # Errors
    /// Where the value cannot be used.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            "bootstrap.servers" | "metadata.broker.list" => self.bootstrap_servers = parse_servers(value)?,
            "client.id" => self.client_id = value.to_string(),
            "request.timeout.ms" => self.request_timeout = millis(name, value)?,
            "default.api.timeout.ms" => self.default_api_timeout = millis(name, value)?,
            "metadata.max.age.ms" => self.metadata_max_age = millis(name, value)?,
            "retry.backoff.ms" => self.retry_backoff = millis(name, value)?,
            "retry.backoff.max.ms" => self.retry_backoff_max = millis(name, value)?,
            "reconnect.backoff.ms" => self.reconnect_backoff = millis(name, value)?,
            "reconnect.backoff.max.ms" => self.reconnect_backoff_max = millis(name, value)?,
            "socket.connection.setup.timeout.ms" => self.connection_setup_timeout = millis(name, value)?,
            "api.version.request" => self.api_version_request = boolean(name, value)?,
            "api.version.request.timeout.ms" => self.api_version_request_timeout = millis(name, value)?,
            "broker.version.fallback" => self.broker_version_fallback = value.parse()?,
            "security.protocol" if value.eq_ignore_ascii_case("PLAINTEXT") => {}
            "security.protocol" => return Err(invalid(name, value, "only PLAINTEXT is supported")),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// `acks`: when a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// `0`: when it has been handed to the network. Offsets are not known.
    None,
    /// `1`: when the leader has it.
    Leader,
    /// `all` or `-1`: when every replica in sync has it.
    #[default]
    All,
}

impl Acks {
    /// The number in the Produce request.
    #[must_use]
    pub fn wire(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

impl FromStr for Acks {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Acks> {
        match text {
            "0" => Ok(Acks::None),
            "1" => Ok(Acks::Leader),
            "all" | "-1" => Ok(Acks::All),
            _ => Err(invalid("acks", text, "String must be one of: all, -1, 0, 1")),
        }
    }
}

/// What a [`super::Producer`] can be told.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// What all clients can be told.
    pub client: ClientConfig,
    /// `acks`.
    pub acks: Acks,
    /// `enable.idempotence`: a retry never stores a record twice nor out of order. Brokers before 0.11 cannot recognise what they have stored:
    /// there, after a warning, only the order is kept, by one batch per partition at a time.
    pub enable_idempotence: bool,
    /// `batch.size` in bytes: a batch this large is sent at once. 0 sends each record alone.
    pub batch_size: usize,
    /// `linger.ms`: how long a smaller batch waits for more records.
    pub linger: Duration,
    /// `buffer.memory` in bytes: records not yet acknowledged, all partitions together.
    pub buffer_memory: usize,
    /// `max.block.ms`: longest wait of `send` for metadata and for room in the buffer.
    pub max_block: Duration,
    /// `max.request.size` in bytes: largest record and largest request.
    pub max_request_size: usize,
    /// `max.in.flight.requests.per.connection`.
    pub max_in_flight: usize,
    /// `retries` of one batch, within `delivery.timeout.ms`.
    pub retries: u32,
    /// `delivery.timeout.ms`: from the first record of a batch to its acknowledgement.
    pub delivery_timeout: Duration,
    /// `compression.type`.
    pub compression: Codec,
}

impl ProducerConfig {
    /// Batches in flight per partition whose duplicates a broker recognises (`NUM_BATCHES_TO_RETAIN`).
    pub const IDEMPOTENT_IN_FLIGHT_MAX: usize = 5;

    /// Kafka's defaults.
    #[must_use]
    pub fn new(client: ClientConfig) -> ProducerConfig {
        ProducerConfig {
            client,
            acks: Acks::All,
            enable_idempotence: true,
            batch_size: 16_384,
            linger: Duration::ZERO,
            buffer_memory: 32 << 20,
            max_block: Duration::from_secs(60),
            max_request_size: 1 << 20,
            max_in_flight: 5,
            retries: i32::MAX as u32,
            delivery_timeout: Duration::from_secs(120),
            compression: Codec::None,
        }
    }

    /// Sets one configuration by Kafka's name; `false` where Kafka's producer does not have it.
    ///
    /// # Errors
    /// Where the value cannot be used.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            "acks" => {
                self.acks = value.parse()?;
                // Kafka switches its default off where the user's acks rule it out; an explicit wish is checked in `validate`.
                if self.acks != Acks::All {
                    self.enable_idempotence = false;
                }
            }
            "enable.idempotence" => self.enable_idempotence = boolean(name, value)?,
            "batch.size" => self.batch_size = number(name, value)?,
            "linger.ms" => self.linger = millis(name, value)?,
            "buffer.memory" => self.buffer_memory = number(name, value)?,
            "max.block.ms" => self.max_block = millis(name, value)?,
            "max.request.size" => self.max_request_size = number(name, value)?,
            "max.in.flight.requests.per.connection" => self.max_in_flight = number(name, value)?,
            "retries" => self.retries = number(name, value)?,
            "delivery.timeout.ms" => self.delivery_timeout = millis(name, value)?,
            "compression.type" => self.compression = codec(name, value)?,
            _ => return self.client.set(name, value),
        }
        Ok(true)
    }

    /// Refuses values that contradict each other, with Kafka's words.
    ///
    /// # Errors
    /// [`ClientError::InvalidConfig`].
    pub fn validate(&self) -> Result<()> {
        if self.max_in_flight == 0 {
            return Err(invalid("max.in.flight.requests.per.connection", "0", "Value must be at least 1"));
        }
        if self.enable_idempotence {
            if self.acks != Acks::All {
                let reason = "Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence.";
                return Err(invalid("acks", &self.acks.wire().to_string(), reason));
            }
            if self.max_in_flight > Self::IDEMPOTENT_IN_FLIGHT_MAX {
                let reason =
                    "Must set max.in.flight.requests.per.connection to at most 5 to use the idempotent producer.";
                return Err(invalid("max.in.flight.requests.per.connection", &self.max_in_flight.to_string(), reason));
            }
            if self.retries == 0 {
                let reason = "Must set retries to non-zero when using the idempotent producer.";
                return Err(invalid("retries", "0", reason));
            }
        }
        if self.delivery_timeout < self.linger + self.client.request_timeout {
            let reason = "delivery.timeout.ms should be equal to or larger than linger.ms + request.timeout.ms";
            return Err(invalid("delivery.timeout.ms", &self.delivery_timeout.as_millis().to_string(), reason));
        }
        Ok(())
    }
}

/// `auto.offset.reset`: where to begin without a position, or with one outside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OffsetReset {
    /// `earliest` (0.8: `smallest`).
    Earliest,
    /// `latest` (0.8: `largest`).
    #[default]
    Latest,
    /// `none`: an error.
    None,
}

impl FromStr for OffsetReset {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<OffsetReset> {
        match text {
            "earliest" | "smallest" => Ok(OffsetReset::Earliest),
            "latest" | "largest" => Ok(OffsetReset::Latest),
            "none" => Ok(OffsetReset::None),
            _ => Err(invalid("auto.offset.reset", text, "String must be one of: latest, earliest, none")),
        }
    }
}

/// `isolation.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IsolationLevel {
    /// Everything up to the high watermark, aborted transactions too.
    #[default]
    ReadUncommitted,
    /// Only what is committed, up to the last stable offset.
    ReadCommitted,
}

/// `partition.assignment.strategy`: how a group's leader shares partitions out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// `range`, Kafka's default.
    Range,
    /// `roundrobin`.
    RoundRobin,
    /// `sticky` (KIP-54): even, and moving as few partitions as it can.
    Sticky,
}

impl Strategy {
    /// The name in JoinGroup.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Range => "range",
            Strategy::RoundRobin => "roundrobin",
            Strategy::Sticky => "sticky",
        }
    }
}

/// What a [`super::Consumer`] or [`super::GroupConsumer`] can be told.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// What all clients can be told.
    pub client: ClientConfig,
    /// `group.id`.
    pub group_id: Option<String>,
    /// `group.instance.id`: static membership (KIP-345).
    pub group_instance_id: Option<String>,
    /// `client.rack`: the nearest replica may then be read (KIP-392).
    pub client_rack: String,
    /// `session.timeout.ms`: silence after which the coordinator gives the member up.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: longest time between two polls before the member leaves by itself.
    pub max_poll_interval: Duration,
    /// `enable.auto.commit`.
    pub enable_auto_commit: bool,
    /// `auto.commit.interval.ms`.
    pub auto_commit_interval: Duration,
    /// `auto.offset.reset`.
    pub auto_offset_reset: OffsetReset,
    /// `isolation.level`.
    pub isolation_level: IsolationLevel,
    /// `fetch.min.bytes`: the broker waits for so many ...
    pub fetch_min_bytes: i32,
    /// `fetch.max.wait.ms`: ... but no longer than this.
    pub fetch_max_wait: Duration,
    /// `fetch.max.bytes` of one response.
    pub fetch_max_bytes: i32,
    /// `max.partition.fetch.bytes` of one partition in one response.
    pub max_partition_fetch_bytes: i32,
    /// `check.crcs`.
    pub check_crcs: bool,
    /// `allow.auto.create.topics` by asking for their metadata.
    pub allow_auto_create_topics: bool,
    /// `partition.assignment.strategy`, in order of preference.
    pub assignment_strategies: Vec<Strategy>,
}

impl ConsumerConfig {
    /// Kafka's defaults.
    #[must_use]
    pub fn new(client: ClientConfig) -> ConsumerConfig {
        ConsumerConfig {
            client,
            group_id: None,
            group_instance_id: None,
            client_rack: String::new(),
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            enable_auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            auto_offset_reset: OffsetReset::Latest,
            isolation_level: IsolationLevel::ReadUncommitted,
            fetch_min_bytes: 1,
            fetch_max_wait: Duration::from_millis(500),
            fetch_max_bytes: 50 << 20,
            max_partition_fetch_bytes: 1 << 20,
            check_crcs: true,
            allow_auto_create_topics: true,
            assignment_strategies: vec![Strategy::Range],
        }
    }

    /// Sets one configuration by Kafka's name (0.8's names too); `false` where Kafka's consumer does not have it.
    ///
    /// # Errors
    /// Where the value cannot be used.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            "group.id" => self.group_id = Some(value.to_string()),
            "group.instance.id" => self.group_instance_id = Some(value.to_string()),
            "client.rack" => self.client_rack = value.to_string(),
            "session.timeout.ms" => self.session_timeout = millis(name, value)?,
            "heartbeat.interval.ms" => self.heartbeat_interval = millis(name, value)?,
            "max.poll.interval.ms" => self.max_poll_interval = millis(name, value)?,
            "enable.auto.commit" | "auto.commit.enable" => self.enable_auto_commit = boolean(name, value)?,
            "auto.commit.interval.ms" => self.auto_commit_interval = millis(name, value)?,
            "auto.offset.reset" => self.auto_offset_reset = value.parse()?,
            "isolation.level" => {
                self.isolation_level = match value {
                    "read_uncommitted" => IsolationLevel::ReadUncommitted,
                    "read_committed" => IsolationLevel::ReadCommitted,
                    _ => return Err(invalid(name, value, "String must be one of: read_committed, read_uncommitted")),
                };
            }
            "fetch.min.bytes" => self.fetch_min_bytes = number(name, value)?,
            "fetch.max.wait.ms" | "fetch.wait.max.ms" => self.fetch_max_wait = millis(name, value)?,
            "fetch.max.bytes" => self.fetch_max_bytes = number(name, value)?,
            "max.partition.fetch.bytes" | "fetch.message.max.bytes" => {
                self.max_partition_fetch_bytes = number(name, value)?
            }
            "check.crcs" => self.check_crcs = boolean(name, value)?,
            "allow.auto.create.topics" => self.allow_auto_create_topics = boolean(name, value)?,
            "partition.assignment.strategy" => self.assignment_strategies = strategies(name, value)?,
            _ => return self.client.set(name, value),
        }
        Ok(true)
    }

    /// Refuses values that contradict each other, with Kafka's words.
    ///
    /// # Errors
    /// [`ClientError::InvalidConfig`].
    pub fn validate(&self) -> Result<()> {
        if self.heartbeat_interval >= self.session_timeout {
            let reason = "must be lower than session.timeout.ms";
            return Err(invalid("heartbeat.interval.ms", &self.heartbeat_interval.as_millis().to_string(), reason));
        }
        if self.assignment_strategies.is_empty() {
            return Err(invalid(
                "partition.assignment.strategy",
                "",
                "must name at least one of range, roundrobin, sticky",
            ));
        }
        Ok(())
    }
}

fn strategies(name: &str, value: &str) -> Result<Vec<Strategy>> {
    let one = |part: &str| match part.trim() {
        "range" | "org.apache.kafka.clients.consumer.RangeAssignor" => Ok(Strategy::Range),
        "roundrobin" | "org.apache.kafka.clients.consumer.RoundRobinAssignor" => Ok(Strategy::RoundRobin),
        "sticky" | "org.apache.kafka.clients.consumer.StickyAssignor" => Ok(Strategy::Sticky),
        _ => Err(invalid(name, value, "must be among range, roundrobin, sticky")),
    };
    value.split(',').map(one).collect()
}

fn codec(name: &str, value: &str) -> Result<Codec> {
    Ok(match value {
        "none" => Codec::None,
        "gzip" => Codec::Gzip,
        "snappy" => Codec::Snappy,
        "lz4" => Codec::Lz4,
        "zstd" => Codec::Zstd,
        _ => return Err(invalid(name, value, "String must be one of: none, gzip, snappy, lz4, zstd")),
    })
}

fn invalid(name: &str, value: &str, reason: &str) -> ClientError {
    ClientError::InvalidConfig { name: name.to_string(), value: value.to_string(), reason: reason.to_string() }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T> {
    value.trim().parse().map_err(|_| invalid(name, value, "Not a number in range"))
}

fn millis(name: &str, value: &str) -> Result<Duration> {
    // Kafka writes "for ever" as Long.MAX_VALUE or Integer.MAX_VALUE; a deadline that far away overflows a clock, a century does not.
    const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);
    let parsed: u64 = number(name, value)?;
    Ok(Duration::from_millis(parsed).min(FOR_EVER))
}

fn boolean(name: &str, value: &str) -> Result<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(name, value, "Expected value to be either true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_lists_are_read_as_kafka_reads_them() {
        fn check(text: &str, expected: Option<&str>) {
            let read = parse_servers(text)
                .ok()
                .map(|servers| servers.iter().map(HostPort::to_string).collect::<Vec<_>>().join(" "));
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
        check("localhost:9092", Some("localhost:9092"));
        check("a:1, b:2,", Some("a:1 b:2"));
        check("PLAINTEXT://h:9092", Some("h:9092"));
        check("[::1]:9092", Some("[::1]:9092"));
        check("", None);
        check("localhost", None);
        check("localhost:", None);
        check("localhost:99999", None);
        check("::1:9092", None);
        check(":9092", None);
        check("localhost:2181/kafka", None);
    }

    #[test]
    fn a_name_kafka_does_not_have_is_no_error_but_a_bad_value_is() {
        let mut config = ProducerConfig::new(ClientConfig::parse("h:1").unwrap());
        assert!(!config.set("no.such.name", "1").unwrap());
        assert!(config.set("linger.ms", "5").unwrap());
        assert_eq!(config.linger, Duration::from_millis(5));
        assert!(config.set("linger.ms", "soon").is_err());
        assert!(config.set("request.timeout.ms", "9223372036854775807").unwrap());
    }

    #[test]
    fn idempotence_needs_acks_all() {
        let mut config = ProducerConfig::new(ClientConfig::parse("h:1").unwrap());
        config.validate().unwrap();
        config.set("acks", "1").unwrap();
        config.validate().unwrap();
        config.set("enable.idempotence", "true").unwrap();
        let refused = config.validate().unwrap_err().to_string();
        assert!(refused.contains("Must set acks to all in order to use the idempotent producer"), "{refused}");
    }
}
