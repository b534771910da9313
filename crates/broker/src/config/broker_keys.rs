//! The keys of `server.properties` that mean something here, and the names of Kafka's others.
//!
//! [`KEYS`] is sorted by subject, in the order a reader of `server.properties` meets them. [`ACCEPTED`] holds those that change nothing.

mod accepted;

use protocol::spelling;

use super::key::{Key, Kind, Rule, key};

pub use accepted::{ACCEPTED, ACCEPTED_PREFIXES};

const LONG_MAX: &str = "9223372036854775807";
const INT_MAX: &str = "2147483647";

/// The value of `replica.selector.class` that sends consumers to a replica in their rack.
pub const RACK_AWARE_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
/// Its value that leaves them with the leader, as none does.
const LEADER_SELECTOR: &str = "org.apache.kafka.common.replica.LeaderSelector";

/// The codecs `compression.type` may name.
pub(super) const COMPRESSION_TYPES: Rule = Rule::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);
/// The clocks `message.timestamp.type` may name.
pub(super) const TIMESTAMP_TYPES: Rule = Rule::OneOf(&["CreateTime", "LogAppendTime"]);
/// The policies `cleanup.policy` may name.
pub(super) const CLEANUP_POLICIES: Rule = Rule::OneOf(&["compact", "delete"]);

/// Every key with a meaning here.
pub const KEYS: &[Key] = &[
    // Identity
    key(
        "broker.id",
        Kind::Int,
        Some("-1"),
        Rule::AtLeast(-1),
        "Number of this broker; -1 takes the next free one above reserved.broker.max.id.",
    ),
    key(
        "broker.id.generation.enable",
        Kind::Boolean,
        Some("true"),
        Rule::Any,
        "Whether a broker without broker.id may take a generated one.",
    ),
    key(
        "reserved.broker.max.id",
        Kind::Int,
        Some("1000"),
        Rule::AtLeast(0),
        "Highest number that broker.id may be set to; generated ones start above it.",
    ),
    key("broker.rack", Kind::Text, None, Rule::Any, "Rack of this broker, told to clients in metadata."),
    // Listeners
    key(
        "listeners",
        Kind::Text,
        None,
        Rule::Any,
        "Addresses to listen on, as NAME://host:port parted by commas; no host means every interface.",
    ),
    key(
        "advertised.listeners",
        Kind::Text,
        None,
        Rule::Any,
        "Addresses told to clients, when they differ from listeners.",
    ),
    key(
        "http.listener",
        Kind::Text,
        Some("127.0.0.1:8080"),
        Rule::Any,
        "Where /metrics, /healthz and /readyz are served, as host:port; none serves them nowhere. Ours, not Kafka's.",
    ),
    key(
        "listener.security.protocol.map",
        Kind::Text,
        Some("PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL"),
        Rule::Any,
        "Security protocol of each listener name.",
    ),
    key("inter.broker.listener.name", Kind::Text, None, Rule::Any, "Listener that brokers use among themselves."),
    key(
        "security.inter.broker.protocol",
        Kind::Text,
        Some("PLAINTEXT"),
        Rule::OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
        "Protocol that brokers use among themselves when inter.broker.listener.name is not set.",
    ),
    key("host.name", Kind::Text, Some(""), Rule::Any, "Address to bind when listeners is not set (0.9)."),
    key("port", Kind::Int, Some("9092"), Rule::Between(0, 65535), "Port to bind when listeners is not set (0.9)."),
    key(
        "advertised.host.name",
        Kind::Text,
        None,
        Rule::Any,
        "Host told to clients when advertised.listeners is not set (0.9).",
    ),
    key(
        "advertised.port",
        Kind::Int,
        None,
        Rule::Between(0, 65535),
        "Port told to clients when advertised.listeners is not set (0.9).",
    ),
    // Network limits
    key(
        "num.network.threads",
        Kind::Int,
        Some("3"),
        Rule::AtLeast(1),
        "Threads that serve connections; at most as many as processors are used.",
    ),
    key(
        "socket.request.max.bytes",
        Kind::Int,
        Some("104857600"),
        Rule::AtLeast(1),
        "Largest request a connection may send.",
    ),
    key(
        "socket.listen.backlog.size",
        Kind::Int,
        Some("50"),
        Rule::AtLeast(1),
        "Connections the kernel may hold before they are accepted.",
    ),
    key("max.connections", Kind::Int, Some(INT_MAX), Rule::AtLeast(0), "Most connections of this broker at any time.")
        .dynamic(),
    key("max.connections.per.ip", Kind::Int, Some(INT_MAX), Rule::AtLeast(0), "Most connections from one address.")
        .dynamic(),
    key(
        "max.connections.per.ip.overrides",
        Kind::Text,
        Some(""),
        Rule::Any,
        "host:count pairs that replace max.connections.per.ip.",
    )
    .dynamic(),
    key("connections.max.idle.ms", Kind::Long, Some("600000"), Rule::Any, "A connection idle for this long is closed."),
    key(
        "queued.max.requests",
        Kind::Int,
        Some("500"),
        Rule::AtLeast(1),
        "Requests read ahead over all connections before reading pauses.",
    ),
    key(
        "queued.max.request.bytes",
        Kind::Long,
        Some("-1"),
        Rule::AtLeast(-1),
        "Bytes of requests held in memory before reading pauses; -1 takes 256 MiB.",
    ),
    // Log directories
    key("log.dirs", Kind::Text, None, Rule::Any, "Directories that hold the logs, parted by commas."),
    key(
        "log.dir",
        Kind::Text,
        Some("data/kafka-logs"),
        Rule::Any,
        "Directory that holds the logs when log.dirs is not set.",
    ),
    key(
        "num.recovery.threads.per.data.dir",
        Kind::Int,
        Some("1"),
        Rule::AtLeast(1),
        "Threads that recover logs at start.",
    ),
    // Topics
    key("num.partitions", Kind::Int, Some("1"), Rule::AtLeast(1), "Partitions of a topic created without a number."),
    key(
        "default.replication.factor",
        Kind::Int,
        Some("1"),
        Rule::AtLeast(1),
        "Replicas of a topic created without a number.",
    ),
    key(
        "auto.create.topics.enable",
        Kind::Boolean,
        Some("true"),
        Rule::Any,
        "Whether asking for a topic's metadata, or producing to it, creates it.",
    ),
    key("delete.topic.enable", Kind::Boolean, Some("true"), Rule::Any, "Whether topics can be deleted."),
    key(
        "auto.leader.rebalance.enable",
        Kind::Boolean,
        Some("true"),
        Rule::Any,
        "Whether the controller gives leadership back to preferred replicas.",
    ),
    key(
        "leader.imbalance.per.broker.percentage",
        Kind::Int,
        Some("10"),
        Rule::AtLeast(0),
        "Share of a broker's preferred partitions that others may lead before leadership is given back, in percent.",
    ),
    key(
        "leader.imbalance.check.interval.seconds",
        Kind::Long,
        Some("300"),
        Rule::AtLeast(1),
        "How often the controller looks for leaders that are not the preferred replica.",
    ),
    key(
        "min.insync.replicas",
        Kind::Int,
        Some("1"),
        Rule::AtLeast(1),
        "Replicas that must hold a record before acks=all is answered.",
    )
    .dynamic(),
    key(
        "unclean.leader.election.enable",
        Kind::Boolean,
        Some("false"),
        Rule::Any,
        "Whether a replica outside the ISR may lead, losing records.",
    )
    .dynamic(),
    key(
        "compression.type",
        Kind::Text,
        Some("producer"),
        COMPRESSION_TYPES,
        "Codec of stored batches; producer keeps what the producer sent.",
    )
    .dynamic(),
    key("message.max.bytes", Kind::Int, Some("1048588"), Rule::AtLeast(0), "Largest record batch taken.").dynamic(),
    key("create.topic.policy.class.name", Kind::Text, None, Rule::Any, "Not used: policies are Java classes."),
    // Log: roll, retention, flush
    key("log.segment.bytes", Kind::Int, Some("1073741824"), Rule::AtLeast(14), "Size at which a segment is rolled.")
        .dynamic(),
    key(
        "log.roll.ms",
        Kind::Long,
        None,
        Rule::AtLeast(1),
        "Age at which a segment is rolled; log.roll.hours when not set.",
    )
    .dynamic(),
    key("log.roll.hours", Kind::Int, Some("168"), Rule::AtLeast(1), "Age at which a segment is rolled, in hours."),
    key(
        "log.roll.jitter.ms",
        Kind::Long,
        None,
        Rule::AtLeast(0),
        "Random time taken off the rolling age; log.roll.jitter.hours when not set.",
    )
    .dynamic(),
    key(
        "log.roll.jitter.hours",
        Kind::Int,
        Some("0"),
        Rule::AtLeast(0),
        "Random time taken off the rolling age, in hours.",
    ),
    key(
        "log.retention.ms",
        Kind::Long,
        None,
        Rule::Any,
        "Age at which records are deleted; -1 for never; log.retention.minutes when not set.",
    )
    .dynamic(),
    key(
        "log.retention.minutes",
        Kind::Int,
        None,
        Rule::Any,
        "Age at which records are deleted, in minutes; log.retention.hours when not set.",
    ),
    key("log.retention.hours", Kind::Int, Some("168"), Rule::Any, "Age at which records are deleted, in hours."),
    key(
        "log.retention.bytes",
        Kind::Long,
        Some("-1"),
        Rule::Any,
        "Size of a partition at which old segments are deleted; -1 for none.",
    )
    .dynamic(),
    key(
        "log.retention.check.interval.ms",
        Kind::Long,
        Some("300000"),
        Rule::AtLeast(1),
        "How often retention is looked at.",
    ),
    key("log.cleanup.policy", Kind::List, Some("delete"), CLEANUP_POLICIES, "What happens to old records.").dynamic(),
    key(
        "log.segment.delete.delay.ms",
        Kind::Long,
        Some("60000"),
        Rule::AtLeast(0),
        "How long the file of a deleted segment stays.",
    )
    .dynamic(),
    key(
        "log.index.size.max.bytes",
        Kind::Int,
        Some("10485760"),
        Rule::AtLeast(4),
        "Largest offset index of a segment.",
    )
    .dynamic(),
    key(
        "log.index.interval.bytes",
        Kind::Int,
        Some("4096"),
        Rule::AtLeast(0),
        "Bytes of log between two index entries.",
    )
    .dynamic(),
    key(
        "log.preallocate",
        Kind::Boolean,
        Some("false"),
        Rule::Any,
        "Whether a new segment takes its whole room on disk at once.",
    )
    .dynamic(),
    key(
        "log.flush.interval.messages",
        Kind::Long,
        Some(LONG_MAX),
        Rule::AtLeast(1),
        "Records appended to a partition before it is synced to disk.",
    )
    .dynamic(),
    key(
        "log.flush.interval.ms",
        Kind::Long,
        None,
        Rule::Any,
        "Time records may stay unsynced; log.flush.scheduler.interval.ms when not set.",
    )
    .dynamic(),
    key(
        "log.flush.scheduler.interval.ms",
        Kind::Long,
        Some(LONG_MAX),
        Rule::Any,
        "How often the flusher looks whether a log must be synced.",
    ),
    key(
        "log.flush.offset.checkpoint.interval.ms",
        Kind::Int,
        Some("60000"),
        Rule::AtLeast(0),
        "How often recovery points are written.",
    ),
    key(
        "log.flush.start.offset.checkpoint.interval.ms",
        Kind::Int,
        Some("60000"),
        Rule::AtLeast(0),
        "How often log start offsets are written.",
    ),
    key(
        "replica.high.watermark.checkpoint.interval.ms",
        Kind::Long,
        Some("5000"),
        Rule::AtLeast(1),
        "How often high watermarks are written.",
    ),
    key(
        "log.flush.before.ack",
        Kind::Text,
        Some("auto"),
        Rule::OneOf(&["auto", "always", "never"]),
        "Whether acks=all waits for the leader's disk: auto when fewer than two replicas are in sync. Ours, not Kafka's.",
    ),
    key(
        "log.message.timestamp.type",
        Kind::Text,
        Some("CreateTime"),
        TIMESTAMP_TYPES,
        "Whose clock stamps records: the producer's or the broker's.",
    )
    .dynamic(),
    key(
        "log.message.timestamp.before.max.ms",
        Kind::Long,
        Some(LONG_MAX),
        Rule::AtLeast(0),
        "How old a producer's timestamp may be.",
    )
    .dynamic(),
    key(
        "log.message.timestamp.after.max.ms",
        Kind::Long,
        Some(LONG_MAX),
        Rule::AtLeast(0),
        "How far in the future a producer's timestamp may be.",
    )
    .dynamic(),
    key("log.cleaner.enable", Kind::Boolean, Some("true"), Rule::Any, "Whether logs are compacted."),
    key("log.cleaner.threads", Kind::Int, Some("1"), Rule::AtLeast(1), "Threads that compact logs."),
    key(
        "log.cleaner.backoff.ms",
        Kind::Long,
        Some("15000"),
        Rule::AtLeast(0),
        "Pause of the cleaner when there is nothing to clean.",
    ),
    key(
        "log.cleaner.dedupe.buffer.size",
        Kind::Long,
        Some("134217728"),
        Rule::AtLeast(1 << 20),
        "Most memory for the keys of the logs being compacted, in bytes; taken while they are.",
    ),
    key(
        "log.cleaner.io.buffer.load.factor",
        Kind::Double,
        Some("0.9"),
        Rule::Fraction,
        "Share of that memory that is filled with keys.",
    ),
    key(
        "log.cleaner.io.buffer.size",
        Kind::Int,
        Some("524288"),
        Rule::AtLeast(0),
        "Bytes the cleaner gathers before it writes.",
    ),
    key(
        "log.cleaner.io.max.bytes.per.second",
        Kind::Double,
        Some("1.7976931348623157E308"),
        Rule::Any,
        "Bytes the cleaner may read and write in a second.",
    ),
    key(
        "log.cleaner.delete.retention.ms",
        Kind::Long,
        Some("86400000"),
        Rule::AtLeast(0),
        "How long the cleaner keeps tombstones.",
    )
    .dynamic(),
    key(
        "log.cleaner.min.compaction.lag.ms",
        Kind::Long,
        Some("0"),
        Rule::AtLeast(0),
        "How long a record stays uncompacted.",
    )
    .dynamic(),
    key(
        "log.cleaner.max.compaction.lag.ms",
        Kind::Long,
        Some(LONG_MAX),
        Rule::AtLeast(1),
        "How long a record may stay uncompacted.",
    )
    .dynamic(),
    key(
        "log.cleaner.min.cleanable.ratio",
        Kind::Double,
        Some("0.5"),
        Rule::Fraction,
        "Share of dirty bytes at which a log is compacted.",
    )
    .dynamic(),
    key(
        "producer.id.expiration.ms",
        Kind::Int,
        Some("86400000"),
        Rule::AtLeast(1),
        "How long an idle producer's sequence numbers are remembered.",
    )
    .dynamic(),
    // Replication
    key(
        "replica.lag.time.max.ms",
        Kind::Long,
        Some("30000"),
        Rule::AtLeast(1),
        "How long a follower may lag before it leaves the ISR.",
    ),
    key(
        "replica.fetch.max.bytes",
        Kind::Int,
        Some("1048576"),
        Rule::AtLeast(0),
        "Bytes a follower asks for per partition.",
    ),
    key("replica.fetch.wait.max.ms", Kind::Int, Some("500"), Rule::AtLeast(0), "Longest wait of a follower's fetch."),
    key(
        "replica.fetch.min.bytes",
        Kind::Int,
        Some("1"),
        Rule::AtLeast(0),
        "Fewest bytes a follower's fetch waits for.",
    ),
    key(
        "replica.fetch.response.max.bytes",
        Kind::Int,
        Some("10485760"),
        Rule::AtLeast(0),
        "Bytes a follower asks for in one fetch.",
    ),
    key(
        "replica.selector.class",
        Kind::Text,
        None,
        Rule::OneOf(&[RACK_AWARE_SELECTOR, LEADER_SELECTOR]),
        "Whether consumers that say in which rack they are read from a replica there (KIP-392).",
    ),
    key(
        "replica.fetch.backoff.ms",
        Kind::Int,
        Some("1000"),
        Rule::AtLeast(0),
        "Longest pause of a follower after an error, and of a fetcher before it connects again.",
    ),
    key(
        "request.timeout.ms",
        Kind::Int,
        Some("30000"),
        Rule::AtLeast(1),
        "How long a broker waits for another broker's answer.",
    ),
    // Fetch
    key("fetch.max.bytes", Kind::Int, Some("57671680"), Rule::AtLeast(1024), "Most bytes in one fetch response."),
    key(
        "max.incremental.fetch.session.cache.slots",
        Kind::Int,
        Some("1000"),
        Rule::AtLeast(0),
        "Fetch sessions remembered (KIP-227).",
    ),
    // ZooKeeper
    key(
        "zookeeper.connect",
        Kind::Text,
        None,
        Rule::Any,
        "ZooKeeper servers as host:port parted by commas, with an optional /chroot at the end.",
    ),
    key(
        "zookeeper.session.timeout.ms",
        Kind::Int,
        Some("18000"),
        Rule::AtLeast(1),
        "Silence after which ZooKeeper gives this broker up.",
    ),
    key(
        "zookeeper.connection.timeout.ms",
        Kind::Int,
        None,
        Rule::AtLeast(1),
        "How long a starting broker tries to reach ZooKeeper; the session timeout when not set.",
    ),
    key(
        "zookeeper.max.in.flight.requests",
        Kind::Int,
        Some("10"),
        Rule::AtLeast(1),
        "Taken; the session keeps up to 1000 requests in flight.",
    ),
    // Shutdown
    key(
        "controlled.shutdown.enable",
        Kind::Boolean,
        Some("true"),
        Rule::Any,
        "Whether a stopping broker hands its partitions over first.",
    ),
    key(
        "controlled.shutdown.max.retries",
        Kind::Int,
        Some("3"),
        Rule::AtLeast(0),
        "How often a stopping broker asks again while it cannot hand over.",
    ),
    key(
        "controlled.shutdown.retry.backoff.ms",
        Kind::Long,
        Some("5000"),
        Rule::AtLeast(0),
        "Pause before it asks again.",
    ),
    // Groups and offsets
    key(
        "group.min.session.timeout.ms",
        Kind::Int,
        Some("6000"),
        Rule::AtLeast(0),
        "Shortest session timeout a group member may ask for.",
    ),
    key(
        "group.max.session.timeout.ms",
        Kind::Int,
        Some("1800000"),
        Rule::AtLeast(0),
        "Longest session timeout a group member may ask for.",
    ),
    key(
        "group.initial.rebalance.delay.ms",
        Kind::Int,
        Some("3000"),
        Rule::AtLeast(0),
        "How long an empty group waits for more members before its first rebalance.",
    ),
    key("group.max.size", Kind::Int, Some(INT_MAX), Rule::AtLeast(1), "Most members of a group."),
    key(
        "offset.metadata.max.bytes",
        Kind::Int,
        Some("4096"),
        Rule::AtLeast(0),
        "Longest text kept beside a committed offset.",
    ),
    key(
        "offsets.load.buffer.size",
        Kind::Int,
        Some("5242880"),
        Rule::AtLeast(1),
        "Bytes read at a time while offsets are loaded.",
    ),
    key("offsets.topic.num.partitions", Kind::Int, Some("50"), Rule::AtLeast(1), "Partitions of __consumer_offsets."),
    key(
        "offsets.topic.replication.factor",
        Kind::Short,
        Some("3"),
        Rule::AtLeast(1),
        "Replicas of __consumer_offsets; fewer while fewer brokers live.",
    ),
    key(
        "offsets.topic.segment.bytes",
        Kind::Int,
        Some("104857600"),
        Rule::AtLeast(1),
        "Segment size of __consumer_offsets.",
    ),
    key(
        "offsets.retention.minutes",
        Kind::Int,
        Some("10080"),
        Rule::AtLeast(1),
        "How long offsets of an empty group are kept.",
    ),
    key(
        "offsets.retention.check.interval.ms",
        Kind::Long,
        Some("600000"),
        Rule::AtLeast(1),
        "How often expired offsets are looked for.",
    ),
    key(
        "offsets.commit.timeout.ms",
        Kind::Int,
        Some("5000"),
        Rule::AtLeast(1),
        "How long an offset commit waits for its replicas.",
    ),
    key("offsets.commit.required.acks", Kind::Short, Some("-1"), Rule::Any, "Acks an offset commit waits for."),
];

/// The key of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether Kafka knows the name, though it means nothing here.
#[must_use]
pub fn is_accepted(name: &str) -> bool {
    ACCEPTED.contains(&name) || ACCEPTED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The known name nearest to a misspelt one, if one is near enough to be meant.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    spelling::nearest(name, KEYS.iter().map(|key| key.name).chain(ACCEPTED.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_obeys_its_own_rule() {
        for key in KEYS {
            if let Some(default) = key.default {
                assert_eq!(key.check(default), Ok(()), "{}", key.name);
            }
        }
    }

    #[test]
    fn no_key_is_declared_twice() {
        let mut names: Vec<&str> = KEYS.iter().map(|key| key.name).chain(ACCEPTED.iter().copied()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_misspelt_key_finds_the_meant_one() {
        assert_eq!(nearest("num.partition"), Some("num.partitions"));
        assert_eq!(nearest("log.dirz"), Some("log.dir"));
        assert_eq!(nearest("a.key.of.my.own.plugin"), None);
    }
}
