//! Configuration of a topic: the keys of `/config/topics/T`, each with the broker key it falls back to.

use std::collections::BTreeMap;

use protocol::spelling;

use super::broker_keys::{self, CLEANUP_POLICIES, COMPRESSION_TYPES, TIMESTAMP_TYPES};
use super::dynamic::ThrottledReplicas;
use super::key::{Key, Kind, Rule, key, parse_boolean, split_list};
use super::settings::Settings;

/// A topic key and the broker key whose value it takes when it is not set.
#[derive(Debug, Clone, Copy)]
pub struct TopicKey {
    /// The topic key itself; its default is that of the broker key, or its own where it has no twin.
    pub key: Key,
    /// The broker keys that give the default, most telling first: `log.retention.ms`, `log.retention.minutes`, `log.retention.hours`.
    pub twins: &'static [&'static str],
}

const fn topic(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    rule: Rule,
    twins: &'static [&'static str],
    doc: &'static str,
) -> TopicKey {
    TopicKey { key: key(name, kind, default, rule, doc).dynamic(), twins }
}

const LONG_MAX: Option<&str> = Some("9223372036854775807");

/// Every topic key Kafka 3.9 knows, in its order.
pub const TOPIC_KEYS: &[TopicKey] = &[
    topic(
        "cleanup.policy",
        Kind::List,
        Some("delete"),
        CLEANUP_POLICIES,
        &["log.cleanup.policy"],
        "What happens to old records: delete, compact, or both.",
    ),
    topic(
        "compression.gzip.level",
        Kind::Int,
        Some("-1"),
        Rule::Between(-1, 9),
        &[],
        "Level of gzip when compression.type is gzip.",
    ),
    topic(
        "compression.lz4.level",
        Kind::Int,
        Some("9"),
        Rule::Between(1, 17),
        &[],
        "Level of lz4 when compression.type is lz4.",
    ),
    topic(
        "compression.type",
        Kind::Text,
        Some("producer"),
        COMPRESSION_TYPES,
        &["compression.type"],
        "Codec of stored batches; producer keeps what the producer sent.",
    ),
    topic(
        "compression.zstd.level",
        Kind::Int,
        Some("3"),
        Rule::Between(-131_072, 22),
        &[],
        "Level of zstd when compression.type is zstd.",
    ),
    topic(
        "delete.retention.ms",
        Kind::Long,
        Some("86400000"),
        Rule::AtLeast(0),
        &["log.cleaner.delete.retention.ms"],
        "How long the cleaner keeps tombstones.",
    ),
    topic(
        "file.delete.delay.ms",
        Kind::Long,
        Some("60000"),
        Rule::AtLeast(0),
        &["log.segment.delete.delay.ms"],
        "How long the file of a deleted segment stays.",
    ),
    topic(
        "flush.messages",
        Kind::Long,
        LONG_MAX,
        Rule::AtLeast(1),
        &["log.flush.interval.messages"],
        "Records appended before the log is synced to disk.",
    ),
    topic(
        "flush.ms",
        Kind::Long,
        LONG_MAX,
        Rule::AtLeast(0),
        &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "Time records may stay unsynced.",
    ),
    topic(
        "follower.replication.throttled.replicas",
        Kind::List,
        Some(""),
        Rule::Any,
        &[],
        "Replicas whose following is throttled.",
    ),
    topic(
        "index.interval.bytes",
        Kind::Int,
        Some("4096"),
        Rule::AtLeast(0),
        &["log.index.interval.bytes"],
        "Bytes of log between two index entries.",
    ),
    topic(
        "leader.replication.throttled.replicas",
        Kind::List,
        Some(""),
        Rule::Any,
        &[],
        "Replicas whose leading is throttled.",
    ),
    topic("local.retention.bytes", Kind::Long, Some("-2"), Rule::AtLeast(-2), &[], "Local size of a tiered log."),
    topic("local.retention.ms", Kind::Long, Some("-2"), Rule::AtLeast(-2), &[], "Local age of a tiered log."),
    topic(
        "max.compaction.lag.ms",
        Kind::Long,
        LONG_MAX,
        Rule::AtLeast(1),
        &["log.cleaner.max.compaction.lag.ms"],
        "How long a record may stay uncompacted.",
    ),
    topic(
        "max.message.bytes",
        Kind::Int,
        Some("1048588"),
        Rule::AtLeast(0),
        &["message.max.bytes"],
        "Largest record batch taken.",
    ),
    topic(
        "message.downconversion.enable",
        Kind::Boolean,
        Some("true"),
        Rule::Any,
        &[],
        "Whether old fetchers get old message formats.",
    ),
    topic(
        "message.format.version",
        Kind::Text,
        Some("3.0-IV1"),
        Rule::Any,
        &[],
        "Without effect since Kafka 3.0: batches are stored as v2.",
    ),
    topic(
        "message.timestamp.after.max.ms",
        Kind::Long,
        LONG_MAX,
        Rule::AtLeast(0),
        &["log.message.timestamp.after.max.ms"],
        "How far in the future a producer's timestamp may be.",
    ),
    topic(
        "message.timestamp.before.max.ms",
        Kind::Long,
        LONG_MAX,
        Rule::AtLeast(0),
        &["log.message.timestamp.before.max.ms"],
        "How old a producer's timestamp may be.",
    ),
    topic(
        "message.timestamp.difference.max.ms",
        Kind::Long,
        LONG_MAX,
        Rule::AtLeast(0),
        &[],
        "Deprecated: how far a producer's timestamp may be from the broker's clock, either way.",
    ),
    topic(
        "message.timestamp.type",
        Kind::Text,
        Some("CreateTime"),
        TIMESTAMP_TYPES,
        &["log.message.timestamp.type"],
        "Whose clock stamps records: the producer's or the broker's.",
    ),
    topic(
        "min.cleanable.dirty.ratio",
        Kind::Double,
        Some("0.5"),
        Rule::Fraction,
        &["log.cleaner.min.cleanable.ratio"],
        "Share of dirty bytes at which the log is compacted.",
    ),
    topic(
        "min.compaction.lag.ms",
        Kind::Long,
        Some("0"),
        Rule::AtLeast(0),
        &["log.cleaner.min.compaction.lag.ms"],
        "How long a record stays uncompacted.",
    ),
    topic(
        "min.insync.replicas",
        Kind::Int,
        Some("1"),
        Rule::AtLeast(1),
        &["min.insync.replicas"],
        "Replicas that must hold a record before acks=all is answered.",
    ),
    topic(
        "preallocate",
        Kind::Boolean,
        Some("false"),
        Rule::Any,
        &["log.preallocate"],
        "Whether a new segment takes its whole room on disk at once.",
    ),
    topic(
        "remote.storage.enable",
        Kind::Boolean,
        Some("false"),
        Rule::Any,
        &[],
        "Whether old segments go to tiered storage.",
    ),
    topic(
        "retention.bytes",
        Kind::Long,
        Some("-1"),
        Rule::Any,
        &["log.retention.bytes"],
        "Size of a partition at which old segments are deleted; -1 for none.",
    ),
    topic(
        "retention.ms",
        Kind::Long,
        Some("604800000"),
        Rule::AtLeast(-1),
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
        "Age at which records are deleted; -1 for never.",
    ),
    topic(
        "segment.bytes",
        Kind::Int,
        Some("1073741824"),
        Rule::AtLeast(14),
        &["log.segment.bytes"],
        "Size at which a segment is rolled.",
    ),
    topic(
        "segment.index.bytes",
        Kind::Int,
        Some("10485760"),
        Rule::AtLeast(4),
        &["log.index.size.max.bytes"],
        "Largest offset index of a segment.",
    ),
    topic(
        "segment.jitter.ms",
        Kind::Long,
        Some("0"),
        Rule::AtLeast(0),
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        "Random time taken off the rolling age.",
    ),
    topic(
        "segment.ms",
        Kind::Long,
        Some("604800000"),
        Rule::AtLeast(1),
        &["log.roll.ms", "log.roll.hours"],
        "Age at which a segment is rolled.",
    ),
    topic(
        "unclean.leader.election.enable",
        Kind::Boolean,
        Some("false"),
        Rule::Any,
        &["unclean.leader.election.enable"],
        "Whether a replica outside the ISR may lead, losing records.",
    ),
];

/// The topic key of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static TopicKey> {
    TOPIC_KEYS.iter().find(|topic| topic.key.name == name)
}

/// A refusal of a topic configuration, in Kafka's words (error INVALID_CONFIG, 40).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTopicConfig(pub String);

/// Checks what a client wants to set on a topic.
///
/// # Errors
/// Unknown names, values that break a rule, and promises this broker cannot keep.
pub fn validate(overrides: &BTreeMap<String, String>) -> Result<(), InvalidTopicConfig> {
    for (name, value) in overrides {
        let Some(topic) = find(name) else {
            let meant = spelling::nearest(name, TOPIC_KEYS.iter().map(|topic| topic.key.name));
            let meant = meant.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            return Err(InvalidTopicConfig(format!("Unknown topic config name: {name}{meant}")));
        };
        topic.key.check(value).map_err(InvalidTopicConfig)?;
        if name.ends_with(".replication.throttled.replicas") {
            ThrottledReplicas::parse(name, value).map_err(InvalidTopicConfig)?;
        }
        let refused = match name.as_str() {
            "remote.storage.enable" if parse_boolean(value.trim()) == Some(true) => {
                Some("tiered storage is not served yet")
            }
            _ => None,
        };
        if let Some(why) = refused {
            return Err(InvalidTopicConfig(format!("Invalid value {value} for configuration {name}: {why}")));
        }
    }
    Ok(())
}

/// Where the value in force comes from, in the numbers of DescribeConfigs (`DescribeConfigsResponse.ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set on the running broker.
    DynamicBroker = 2,
    /// Set on all running brokers.
    DynamicDefaultBroker = 3,
    /// Set in `server.properties`.
    StaticBroker = 4,
    /// Nobody set it.
    Default = 5,
}

/// One of the values that a topic key could take, best first (KIP-226 synonyms).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// Name of the topic or broker key.
    pub name: &'static str,
    /// Its value, in the unit of that key.
    pub value: Option<String>,
    /// Where it was set.
    pub source: Source,
}

/// The synonyms of a topic key: the topic's own value, then each broker key that was set, then the default.
#[must_use]
pub fn synonyms(topic: &TopicKey, overrides: &BTreeMap<String, String>, settings: &Settings) -> Vec<Synonym> {
    let mut synonyms = Vec::new();
    if let Some(value) = overrides.get(topic.key.name) {
        synonyms.push(Synonym { name: topic.key.name, value: Some(value.clone()), source: Source::Topic });
    }
    for twin in topic.twins {
        if let Some(value) = settings.explicit(twin).filter(|value| !value.is_empty()) {
            synonyms.push(Synonym { name: twin, value: Some(value.to_owned()), source: Source::StaticBroker });
        }
    }
    for twin in topic.twins {
        if let Some(value) = broker_keys::find(twin).and_then(|key| key.default) {
            synonyms.push(Synonym { name: twin, value: Some(value.to_owned()), source: Source::Default });
        }
    }
    synonyms
}

/// The value of a topic key in force, in the topic key's own unit.
#[must_use]
pub fn effective(
    topic: &TopicKey,
    overrides: &BTreeMap<String, String>,
    settings: &Settings,
) -> (Option<String>, Source) {
    if let Some(value) = overrides.get(topic.key.name) {
        return (Some(value.clone()), Source::Topic);
    }
    for twin in topic.twins {
        if let Some(value) = settings.explicit(twin).filter(|value| !value.is_empty()) {
            return (Some(in_topic_unit(twin, value)), Source::StaticBroker);
        }
    }
    (topic.key.default.map(str::to_owned), Source::Default)
}

/// `log.retention.hours=168` becomes `604800000`; a negative retention means none, which a topic writes as -1.
fn in_topic_unit(twin: &str, value: &str) -> String {
    let factor = match twin {
        "log.retention.minutes" => 60_000,
        "log.retention.hours" | "log.roll.hours" | "log.roll.jitter.hours" => 3_600_000,
        "log.retention.ms" => 1,
        _ => return value.to_owned(),
    };
    match value.parse::<i64>() {
        Ok(number) if number < 0 => "-1".to_owned(),
        Ok(number) => number.saturating_mul(factor).to_string(),
        Err(_) => value.to_owned(),
    }
}

/// What a topic's configuration means to the data path. Made of the topic's overrides over the broker's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy` names `delete`.
    pub delete: bool,
    /// `cleanup.policy` names `compact`.
    pub compact: bool,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_ratio: f64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `compression.type`: none means "as the producer sent it".
    pub compression: Option<protocol::records::Codec>,
    /// `max.message.bytes`.
    pub max_message_bytes: usize,
    /// `message.timestamp.type` is `LogAppendTime`.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`, narrowed by the old difference key.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`, narrowed by the old difference key.
    pub timestamp_after_max_ms: i64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election: bool,
    /// `message.downconversion.enable`.
    pub down_conversion: bool,
    /// `segment.bytes`.
    pub segment_bytes: i64,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`.
    pub segment_index_bytes: i64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: i64,
    /// `retention.ms`; -1 for never.
    pub retention_ms: i64,
    /// `retention.bytes`; -1 for none.
    pub retention_bytes: i64,
    /// `flush.messages`.
    pub flush_messages: i64,
    /// `flush.ms`.
    pub flush_ms: i64,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `preallocate`.
    pub preallocate: bool,
    /// `leader.replication.throttled.replicas`.
    pub leader_throttled: ThrottledReplicas,
    /// `follower.replication.throttled.replicas`.
    pub follower_throttled: ThrottledReplicas,
}

impl TopicConfig {
    /// What holds for a topic with these overrides. An override that old tools wrote into ZooKeeper unchecked and that breaks its rule is left out.
    #[must_use]
    pub fn new(overrides: &BTreeMap<String, String>, settings: &Settings) -> TopicConfig {
        let valid: BTreeMap<String, String> = overrides
            .iter()
            .filter(|(name, value)| find(name).is_some_and(|topic| topic.key.check(value).is_ok()))
            .map(|(name, value)| (name.clone(), value.trim().to_owned()))
            .collect();
        let text = |name: &str| {
            let topic = find(name).expect("a name of the table");
            effective(topic, &valid, settings).0.unwrap_or_default()
        };
        let long = |name: &str| text(name).parse::<i64>().expect("numeric topic keys are checked and have defaults");
        let boolean =
            |name: &str| parse_boolean(&text(name)).expect("boolean topic keys are checked and have defaults");
        let throttled = |name: &str| ThrottledReplicas::parse(name, &text(name)).unwrap_or_default();
        let policies = text("cleanup.policy");
        let difference = long("message.timestamp.difference.max.ms");
        TopicConfig {
            delete: split_list(&policies).contains(&"delete"),
            compact: split_list(&policies).contains(&"compact"),
            min_cleanable_ratio: text("min.cleanable.dirty.ratio")
                .parse()
                .expect("fractions are checked and have defaults"),
            delete_retention_ms: long("delete.retention.ms"),
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            max_compaction_lag_ms: long("max.compaction.lag.ms"),
            compression: codec(&text("compression.type")),
            max_message_bytes: usize::try_from(long("max.message.bytes")).unwrap_or_default(),
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: long("message.timestamp.before.max.ms").min(difference),
            timestamp_after_max_ms: long("message.timestamp.after.max.ms").min(difference),
            min_insync_replicas: i32::try_from(long("min.insync.replicas")).unwrap_or(i32::MAX),
            unclean_leader_election: boolean("unclean.leader.election.enable"),
            down_conversion: boolean("message.downconversion.enable"),
            segment_bytes: long("segment.bytes"),
            segment_ms: long("segment.ms"),
            segment_jitter_ms: long("segment.jitter.ms"),
            segment_index_bytes: long("segment.index.bytes"),
            index_interval_bytes: long("index.interval.bytes"),
            retention_ms: long("retention.ms"),
            retention_bytes: long("retention.bytes"),
            flush_messages: long("flush.messages"),
            flush_ms: long("flush.ms"),
            file_delete_delay_ms: long("file.delete.delay.ms"),
            preallocate: boolean("preallocate"),
            leader_throttled: throttled("leader.replication.throttled.replicas"),
            follower_throttled: throttled("follower.replication.throttled.replicas"),
        }
    }
}

fn codec(compression_type: &str) -> Option<protocol::records::Codec> {
    use protocol::records::Codec;
    match compression_type {
        "uncompressed" => Some(Codec::None),
        "gzip" => Some(Codec::Gzip),
        "snappy" => Some(Codec::Snappy),
        "lz4" => Some(Codec::Lz4),
        "zstd" => Some(Codec::Zstd),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn overrides(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn settings(text: &str) -> Settings {
        Settings::parse(Path::new("server.properties"), text.as_bytes()).unwrap()
    }

    #[test]
    fn every_topic_key_obeys_its_table() {
        for topic in TOPIC_KEYS {
            if let Some(default) = topic.key.default.filter(|default| !default.is_empty()) {
                assert_eq!(topic.key.check(default), Ok(()), "{}", topic.key.name);
            }
            for twin in topic.twins {
                assert!(broker_keys::find(twin).is_some(), "{twin}");
            }
        }
        assert_eq!(TopicConfig::new(&BTreeMap::new(), &Settings::default()).retention_ms, 604_800_000);
    }

    #[test]
    fn milliseconds_win_over_minutes_win_over_hours() {
        let check = |text: &str, expected: i64| {
            assert_eq!(TopicConfig::new(&BTreeMap::new(), &settings(text)).retention_ms, expected, "{text}");
        };
        check("log.retention.hours=1", 3_600_000);
        check("log.retention.hours=1\nlog.retention.minutes=2", 120_000);
        check("log.retention.hours=1\nlog.retention.minutes=2\nlog.retention.ms=3", 3);
        check("log.retention.hours=-1", -1);
        let topic = overrides(&[("retention.ms", "7")]);
        assert_eq!(TopicConfig::new(&topic, &settings("log.retention.ms=3")).retention_ms, 7);
    }

    #[test]
    fn a_broken_override_in_zookeeper_does_not_reach_the_log() {
        let topic = overrides(&[("retention.ms", "soon"), ("segment.bytes", "100")]);
        let config = TopicConfig::new(&topic, &Settings::default());
        assert_eq!((config.retention_ms, config.segment_bytes), (604_800_000, 100));
    }

    #[test]
    fn clients_are_refused_in_kafkas_words() {
        let refused = |pairs: &[(&str, &str)]| validate(&overrides(pairs)).unwrap_err().0;
        assert_eq!(refused(&[("no.such.key.at.all", "1")]), "Unknown topic config name: no.such.key.at.all");
        assert_eq!(
            refused(&[("retention.mss", "1")]),
            "Unknown topic config name: retention.mss (did you mean retention.ms?)"
        );
        assert_eq!(
            refused(&[("retention.ms", "x")]),
            "Invalid value x for configuration retention.ms: Not a number of type LONG"
        );
        assert!(refused(&[("cleanup.policy", "shred")]).contains("must be one of: compact, delete"));
        for policy in ["compact", "delete", "compact,delete"] {
            assert_eq!(validate(&overrides(&[("cleanup.policy", policy)])), Ok(()));
        }
    }

    #[test]
    fn synonyms_go_from_topic_to_file_to_default() {
        let topic = find("retention.ms").unwrap();
        let found = synonyms(topic, &overrides(&[("retention.ms", "5")]), &settings("log.retention.hours=2"));
        let names: Vec<_> = found.iter().map(|s| (s.name, s.value.as_deref(), s.source)).collect();
        assert_eq!(
            names,
            [
                ("retention.ms", Some("5"), Source::Topic),
                ("log.retention.hours", Some("2"), Source::StaticBroker),
                ("log.retention.hours", Some("168"), Source::Default)
            ]
        );
    }
}
