//! What can go wrong between us and a Kafka cluster, in the words that users search for.
//!
//! [`ClientError`] displays Kafka's own text first; [`ClientError::cause`] says what lies behind it and [`ClientError::help`] names one thing
//! to do next, so that a tool prints `error:` / `cause:` / `help:` lines from it. It is cheap to clone: one failed batch answers many records.

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::types::TopicPartition;
use runtime::machine::without_number;

/// The brokers that [`ClientError::help`] names: those of every tutorial.
pub const EXAMPLE_SERVERS: &str = "localhost:9092";

/// Why a request, a record or a whole client failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// A list of servers that cannot be read.
    #[error("Invalid url in bootstrap.servers: {given}")]
    InvalidAddress {
        /// The entry as it was given.
        given: String,
    },

    /// A configuration value that cannot be used.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    InvalidConfig {
        /// Kafka's name of the configuration.
        name: String,
        /// The value as it was given.
        value: String,
        /// What a good value looks like.
        reason: String,
    },

    /// No TCP connection could be opened.
    #[error("Connection to node {node} ({address}) could not be established. Node may not be available.")]
    Unreachable {
        /// The broker's id; -1, -2, ... for bootstrap servers.
        node: i32,
        /// `host:port`.
        address: String,
        /// What the kernel said.
        cause: String,
    },

    /// The connection ended while a request was under way: nobody knows whether the broker acted on it.
    #[error("{broker} disconnected")]
    Disconnected {
        /// The broker, as Kafka writes it: `Broker localhost:9092 (id: 0 rack: null)`.
        broker: String,
        /// What ended it.
        cause: String,
    },

    /// No answer within `request.timeout.ms`; the connection was then closed.
    #[error("Disconnected from node {node} due to request timeout")]
    RequestTimeout {
        /// The broker's id.
        node: i32,
        /// Name of the request.
        api: &'static str,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },

    /// No broker answered in time.
    #[error("Timed out waiting for a node assignment. Call: {call}")]
    NoBroker {
        /// What was to be asked.
        call: String,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
        /// The last failure seen.
        last: Option<Arc<ClientError>>,
    },

    /// Metadata of a topic did not come in time.
    #[error("Topic {topic} not present in metadata after {waited_ms} ms.")]
    TopicNotPresent {
        /// The topic.
        topic: String,
        /// `max.block.ms` or the time given by the caller.
        waited_ms: u64,
        /// The last failure seen.
        last: Option<Arc<ClientError>>,
    },

    /// A consumer's wait for metadata, offsets or its coordinator ran out.
    #[error("Timeout expired while {doing}")]
    Timeout {
        /// A verb phrase: `fetching topic metadata`.
        doing: String,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
        /// The last failure seen.
        last: Option<Arc<ClientError>>,
    },

    /// A partition number that the topic does not have.
    #[error("Invalid partition given with record: {partition} is not in the range [0...{count}).")]
    InvalidPartition {
        /// The number given.
        partition: i32,
        /// How many partitions the topic has.
        count: usize,
    },

    /// The broker answered with an error code.
    #[error("{}", broker_text(*code, message.as_deref()))]
    Broker {
        /// The code.
        code: ErrorCode,
        /// The broker's own sentence, where the response carries one.
        message: Option<String>,
        /// What it is about: a topic, a partition, a group.
        about: String,
    },

    /// Client and broker share no version of a request, or the feature needs a newer broker.
    #[error("The node does not support {api}")]
    UnsupportedVersion {
        /// Name of the request.
        api: &'static str,
        /// Why, with both version ranges.
        reason: String,
    },

    /// A record that no request may carry.
    #[error(
        "The message is {bytes} bytes when serialized which is larger than {limit}, which is the value of the {config} configuration."
    )]
    RecordTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
        /// `max.request.size` or `buffer.memory`.
        config: &'static str,
    },

    /// A batch was not acknowledged within `delivery.timeout.ms`.
    #[error("Expiring {records} record(s) for {partition}:{waited_ms} ms has passed since batch creation")]
    DeliveryTimeout {
        /// How many records share this fate.
        records: usize,
        /// Where they were to go.
        partition: TopicPartition,
        /// Age of the batch in milliseconds.
        waited_ms: u64,
        /// The last failure seen.
        last: Option<Arc<ClientError>>,
    },

    /// `buffer.memory` stayed full for `max.block.ms`.
    #[error(
        "Failed to allocate {bytes} bytes within the configured max blocking time {waited_ms} ms. Total memory: {total} bytes."
    )]
    BufferExhausted {
        /// What was needed.
        bytes: usize,
        /// `max.block.ms`.
        waited_ms: u64,
        /// `buffer.memory`.
        total: usize,
    },

    /// The producer was closed before the record was acknowledged.
    #[error("Producer is closed forcefully.")]
    ProducerClosed,

    /// The consumer was closed.
    #[error("This consumer has already been closed.")]
    ConsumerClosed,

    /// A partition has neither a committed offset nor a reset policy.
    #[error("Undefined offset with no reset policy for partitions: [{partition}]")]
    NoOffsetForPartition {
        /// The partition.
        partition: TopicPartition,
    },

    /// A position outside the log, and `auto.offset.reset` is `none`.
    #[error("Fetch position {offset} is out of range for partition {partition}")]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: i64,
    },

    /// An operation that needs an assignment the consumer does not have.
    #[error("No current assignment for partition {partition}")]
    NotAssigned {
        /// The partition.
        partition: TopicPartition,
    },

    /// A commit by a member that has been replaced.
    #[error(
        "Offset commit cannot be completed since the consumer is not part of an active group for auto partition assignment; \
         it is likely that the consumer was kicked out of the group."
    )]
    CommitFailed {
        /// The group.
        group: String,
        /// The broker's code.
        code: ErrorCode,
    },

    /// Bytes from a broker that are not what they should be.
    #[error("Error reading {what} from {broker}: {cause}")]
    Malformed {
        /// What was being read.
        what: String,
        /// Where it came from.
        broker: String,
        /// What is wrong.
        cause: String,
    },

    /// A request of ours that cannot be encoded.
    #[error("Error building {what}: {cause}")]
    Unencodable {
        /// What was being built.
        what: String,
        /// What is wrong.
        cause: String,
    },
}

/// Shorthand of this crate's Kafka half.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;

impl ClientError {
    /// An error code of a response, about `about`.
    pub fn broker(code: ErrorCode, about: impl Into<String>) -> ClientError {
        ClientError::Broker { code, message: None, about: about.into() }
    }

    /// The broker's code, where it is one that failed the request.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ClientError::Broker { code, .. } | ClientError::CommitFailed { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same request may succeed when it is sent again, perhaps to another broker.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            ClientError::Unreachable { .. }
            | ClientError::Disconnected { .. }
            | ClientError::RequestTimeout { .. }
            | ClientError::NoBroker { .. }
            | ClientError::TopicNotPresent { .. }
            | ClientError::Timeout { .. } => true,
            ClientError::Broker { code, .. } => code.is_retriable(),
            _ => false,
        }
    }

    /// Whether the broker may have acted on the request although we have no answer.
    #[must_use]
    pub fn outcome_is_unknown(&self) -> bool {
        matches!(
            self,
            ClientError::Disconnected { .. } | ClientError::RequestTimeout { .. } | ClientError::Malformed { .. }
        ) || self.code() == Some(ErrorCode::REQUEST_TIMED_OUT)
    }

    /// What lies behind the text, for a `cause:` line.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        match self {
            ClientError::InvalidAddress { .. } => {
                Some("Please provide valid host:port like host1:9091,host2:9092".to_owned())
            }
            ClientError::Unreachable { cause, .. } | ClientError::Disconnected { cause, .. } => {
                Some(without_number(cause).to_owned())
            }
            ClientError::RequestTimeout { api, waited_ms, .. } => {
                Some(format!("no answer to {api} within {waited_ms} ms"))
            }
            ClientError::NoBroker { waited_ms, last, .. } => Some(match last {
                Some(last) => chain(last),
                None => format!("no broker answered within {waited_ms} ms"),
            }),
            ClientError::TopicNotPresent { last, .. }
            | ClientError::Timeout { last, .. }
            | ClientError::DeliveryTimeout { last, .. } => last.as_ref().map(|last| chain(last)),
            ClientError::Broker { code, about, .. } if !about.is_empty() => Some(format!("{about}: {}", code.name())),
            ClientError::Broker { code, .. } => Some(code.name().to_string()),
            ClientError::CommitFailed { group, code } => Some(format!("group {group}: {}", code.name())),
            ClientError::UnsupportedVersion { reason, .. } => Some(reason.clone()),
            _ => None,
        }
    }

    /// One command that helps, for a `help:` line; what else would do stands behind three blanks. Brokers are named as [`EXAMPLE_SERVERS`]: who
    /// knows better puts theirs.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            ClientError::InvalidAddress { .. } => {
                format!("bin/kafka-topics.sh --list --bootstrap-server {EXAMPLE_SERVERS}")
            }
            ClientError::Unreachable { .. } | ClientError::NoBroker { .. } | ClientError::Disconnected { .. } => {
                "bin/kafka-server-start.sh config/server.properties".to_owned()
            }
            ClientError::RequestTimeout { .. }
            | ClientError::UnsupportedVersion { .. }
            | ClientError::Timeout { last: None, .. } => {
                format!("bin/kafka-broker-api-versions.sh --bootstrap-server {EXAMPLE_SERVERS}")
            }
            ClientError::TopicNotPresent { last: Some(last), .. } if last.code().is_none() => return last.help(),
            ClientError::TopicNotPresent { topic, .. } => {
                format!("bin/kafka-topics.sh --create --topic {topic} --bootstrap-server {EXAMPLE_SERVERS}")
            }
            ClientError::Timeout { last: Some(last), .. } => return last.help(),
            ClientError::RecordTooLarge { config, .. } => {
                format!("send smaller records, or raise {config} and the topic's max.message.bytes")
            }
            ClientError::DeliveryTimeout { last: Some(last), .. } if last.help().is_some() => return last.help(),
            ClientError::DeliveryTimeout { partition, .. } => describe_topic(&partition.topic),
            ClientError::BufferExhausted { .. } => "send slower, or raise buffer.memory".to_owned(),
            ClientError::NoOffsetForPartition { .. } | ClientError::OffsetOutOfRange { .. } => {
                "set auto.offset.reset to earliest or latest".to_owned()
            }
            ClientError::CommitFailed { .. } => {
                "call poll more often, raise max.poll.interval.ms, or lower max.poll.records".to_owned()
            }
            ClientError::Malformed { .. } => "check that this port is a Kafka broker's, without TLS".to_owned(),
            ClientError::Broker { code, about, .. } => return broker_help(*code, about),
            ClientError::InvalidConfig { .. }
            | ClientError::InvalidPartition { .. }
            | ClientError::ProducerClosed
            | ClientError::ConsumerClosed
            | ClientError::NotAssigned { .. }
            | ClientError::Unencodable { .. } => return None,
        })
    }
}

/// An error and what lies behind it, on one line.
fn chain(error: &ClientError) -> String {
    match error.cause() {
        Some(cause) => format!("{error} ({cause})"),
        None => error.to_string(),
    }
}

fn broker_text(code: ErrorCode, message: Option<&str>) -> String {
    match message {
        Some(message) if !message.is_empty() => message.to_string(),
        _ => searchable_text(code).unwrap_or(code.message()).to_string(),
    }
}

/// What users of Kafka's own clients read, and search for, where a broker sends only the code.
fn searchable_text(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::NOT_ENOUGH_REPLICAS => "Messages are rejected since there are fewer in-sync replicas than required.",
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => {
            "Messages are written to the log, but to fewer in-sync replicas than required."
        }
        _ => return None,
    })
}

/// `about` is a topic, a partition, a group or a record: what the request was for.
fn broker_help(code: ErrorCode, about: &str) -> Option<String> {
    let topic = match about.rsplit_once('-') {
        Some((topic, number)) if number.parse::<u32>().is_ok() => topic,
        _ => about,
    };
    let server = format!("--bootstrap-server {EXAMPLE_SERVERS}");
    Some(match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => format!("bin/kafka-topics.sh --list {server}"),
        ErrorCode::NOT_ENOUGH_REPLICAS | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => format!(
            "bin/kafka-topics.sh --describe --under-min-isr-partitions {server}   (start the missing brokers, or lower min.insync.replicas)"
        ),
        ErrorCode::MESSAGE_TOO_LARGE => format!(
            "bin/kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config max.message.bytes=10485760 {server}   (or send smaller records)"
        ),
        ErrorCode::INVALID_REPLICATION_FACTOR => {
            format!(
                "bin/kafka-topics.sh --create --topic {topic} --replication-factor 1 {server}   (or start more brokers)"
            )
        }
        ErrorCode::TOPIC_ALREADY_EXISTS | ErrorCode::LEADER_NOT_AVAILABLE => describe_topic(topic),
        ErrorCode::NON_EMPTY_GROUP => {
            format!("bin/kafka-consumer-groups.sh --describe --members --group {about} {server}")
        }
        _ => return None,
    })
}

fn describe_topic(topic: &str) -> String {
    format!("bin/kafka-topics.sh --describe --topic {topic} --bootstrap-server {EXAMPLE_SERVERS}")
}

/// `Err` for any code but 0.
///
/// # Errors
/// [`ClientError::Broker`] about `about`.
pub fn check_code(code: i16, about: impl FnOnce() -> String) -> Result<()> {
    check_code_with(code, None, about)
}

/// [`check_code`] with the broker's own sentence.
///
/// # Errors
/// [`ClientError::Broker`] about `about`.
pub fn check_code_with(code: i16, message: Option<&str>, about: impl FnOnce() -> String) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    Err(ClientError::Broker { code: ErrorCode(code), message: message.map(str::to_string), about: about() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_why_and_what_to_do() {
        fn check(error: &ClientError, text: &str, cause: Option<&str>, help: bool) {
            assert_eq!(error.to_string(), text);
            assert_eq!(error.cause().as_deref(), cause, "{text}");
            assert_eq!(error.help().is_some(), help, "{text}");
        }
        let unreachable = ClientError::Unreachable {
            node: -1,
            address: "localhost:9092".to_string(),
            cause: "Connection refused".to_string(),
        };
        let text = "Connection to node -1 (localhost:9092) could not be established. Node may not be available.";
        check(&unreachable, text, Some("Connection refused"), true);
        let nobody = ClientError::NoBroker {
            call: "listTopics".to_string(),
            waited_ms: 60_000,
            last: Some(Arc::new(unreachable)),
        };
        let cause = format!("{text} (Connection refused)");
        check(&nobody, "Timed out waiting for a node assignment. Call: listTopics", Some(&cause), true);
        let few = ClientError::broker(ErrorCode::NOT_ENOUGH_REPLICAS, "t-0");
        let text = "Messages are rejected since there are fewer in-sync replicas than required.";
        check(&few, text, Some("t-0: NOT_ENOUGH_REPLICAS"), true);
        let missing = ClientError::TopicNotPresent { topic: "T".to_string(), waited_ms: 60_000, last: None };
        check(&missing, "Topic T not present in metadata after 60000 ms.", None, true);
        let large = ClientError::RecordTooLarge { bytes: 1_100_000, limit: 1_048_576, config: "max.request.size" };
        let text = "The message is 1100000 bytes when serialized which is larger than 1048576, which is the value of the \
                    max.request.size configuration.";
        check(&large, text, None, true);
    }
}
