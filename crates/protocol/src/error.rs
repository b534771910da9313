//! [`ErrorCode`]: the error codes of the Kafka protocol (`org.apache.kafka.common.protocol.Errors`).
//!
//! Names are Kafka's own, so that they can be searched for; texts are short forms of what each code tells its receiver.

use std::fmt;

macro_rules! error_codes {
    ($($code:literal $name:ident $kind:ident $message:literal;)*) => {
        impl ErrorCode {
            $(#[doc = $message] pub const $name: ErrorCode = ErrorCode($code);)*

            /// All codes that have a name, rising.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)*];

            /// Kafka's name of the code. A code without a name counts as `UNKNOWN_SERVER_ERROR`, as it does for Kafka's own clients.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($code => stringify!($name),)*
                    _ => "UNKNOWN_SERVER_ERROR",
                }
            }

            /// What the code means, in words for people.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self.0 {
                    $($code => $message,)*
                    _ => "the server met an unexpected error",
                }
            }

            /// Whether the same request may succeed later, so that a client should try again after refreshing its metadata
            /// (`RetriableException` and its subclasses in Kafka's client).
            #[must_use]
            pub const fn is_retriable(self) -> bool {
                match self.0 {
                    $($code => error_codes!(@$kind),)*
                    _ => false,
                }
            }
        }
    };
    (@retriable) => { true };
    (@final) => { false };
}

/// An error code as it stands in a response: 0 is success. Any number is allowed, as newer peers may send newer codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ErrorCode(pub i16);

error_codes! {
    -1 UNKNOWN_SERVER_ERROR final "the server met an unexpected error";
    0 NONE final "no error";
    1 OFFSET_OUT_OF_RANGE final "offset is outside the range the server keeps for this partition";
    2 CORRUPT_MESSAGE retriable "record failed its CRC, has an invalid size, or has no key in a compacted topic";
    3 UNKNOWN_TOPIC_OR_PARTITION retriable "this server does not host this topic-partition";
    4 INVALID_FETCH_SIZE final "fetch size is invalid";
    5 LEADER_NOT_AVAILABLE retriable "partition has no leader at the moment (an election is under way)";
    6 NOT_LEADER_OR_FOLLOWER retriable "broker is not the leader, or not a replica, of this topic-partition";
    7 REQUEST_TIMED_OUT retriable "request timed out";
    8 BROKER_NOT_AVAILABLE final "broker is not available";
    9 REPLICA_NOT_AVAILABLE retriable "replica is not available on this broker";
    10 MESSAGE_TOO_LARGE final "record is larger than the server accepts";
    11 STALE_CONTROLLER_EPOCH final "request comes from a controller that has been replaced";
    12 OFFSET_METADATA_TOO_LARGE final "metadata of the offset commit is too large";
    13 NETWORK_EXCEPTION retriable "server closed the connection before it answered";
    14 COORDINATOR_LOAD_IN_PROGRESS retriable "coordinator is loading and cannot answer yet";
    15 COORDINATOR_NOT_AVAILABLE retriable "coordinator is not available";
    16 NOT_COORDINATOR retriable "this broker is not the coordinator";
    17 INVALID_TOPIC_EXCEPTION final "topic name or operation on this topic is invalid";
    18 RECORD_LIST_TOO_LARGE final "record batch is larger than a segment";
    19 NOT_ENOUGH_REPLICAS retriable "fewer replicas are in sync than min.insync.replicas";
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND retriable "records are in the log, but fewer replicas are in sync than min.insync.replicas";
    21 INVALID_REQUIRED_ACKS final "acks must be -1, 0 or 1";
    22 ILLEGAL_GENERATION final "generation id is not the group's current one";
    23 INCONSISTENT_GROUP_PROTOCOL final "member's protocol type or protocols do not fit those of the group";
    24 INVALID_GROUP_ID final "group id is invalid";
    25 UNKNOWN_MEMBER_ID final "coordinator does not know this member";
    26 INVALID_SESSION_TIMEOUT final "session timeout is outside group.min.session.timeout.ms and group.max.session.timeout.ms";
    27 REBALANCE_IN_PROGRESS final "group is rebalancing, so a rejoin is needed";
    28 INVALID_COMMIT_OFFSET_SIZE final "size of the committed offset data is invalid";
    29 TOPIC_AUTHORIZATION_FAILED final "topic authorization failed";
    30 GROUP_AUTHORIZATION_FAILED final "group authorization failed";
    31 CLUSTER_AUTHORIZATION_FAILED final "cluster authorization failed";
    32 INVALID_TIMESTAMP final "record timestamp is out of the accepted range";
    33 UNSUPPORTED_SASL_MECHANISM final "broker does not support this SASL mechanism";
    34 ILLEGAL_SASL_STATE final "request is not valid in the current SASL state";
    35 UNSUPPORTED_VERSION final "version of the API is not supported";
    36 TOPIC_ALREADY_EXISTS final "topic with this name already exists";
    37 INVALID_PARTITIONS final "number of partitions is below 1";
    38 INVALID_REPLICATION_FACTOR final "replication factor is below 1 or larger than the number of available brokers";
    39 INVALID_REPLICA_ASSIGNMENT final "replica assignment is invalid";
    40 INVALID_CONFIG final "configuration is invalid";
    41 NOT_CONTROLLER retriable "this broker is not the controller";
    42 INVALID_REQUEST final "request is malformed or does not fit the protocol, see the server's log";
    43 UNSUPPORTED_FOR_MESSAGE_FORMAT final "message format on the broker does not support the request";
    44 POLICY_VIOLATION final "request does not satisfy the configured policy";
    45 OUT_OF_ORDER_SEQUENCE_NUMBER final "broker received a sequence number out of order";
    46 DUPLICATE_SEQUENCE_NUMBER final "broker received a sequence number it already has";
    47 INVALID_PRODUCER_EPOCH final "producer used an old epoch";
    48 INVALID_TXN_STATE final "operation is not valid in the transaction's state";
    49 INVALID_PRODUCER_ID_MAPPING final "producer id is not the one assigned to this transactional id";
    50 INVALID_TRANSACTION_TIMEOUT final "transaction timeout is larger than transaction.max.timeout.ms";
    51 CONCURRENT_TRANSACTIONS retriable "another operation on this transaction is still under way";
    52 TRANSACTION_COORDINATOR_FENCED final "transaction coordinator has been replaced";
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED final "transactional id authorization failed";
    54 SECURITY_DISABLED final "security features are disabled";
    55 OPERATION_NOT_ATTEMPTED final "broker did not attempt the operation, for example because another of the same request failed";
    56 KAFKA_STORAGE_ERROR retriable "disk error on the broker's log directory";
    57 LOG_DIR_NOT_FOUND final "log directory is not among those configured";
    58 SASL_AUTHENTICATION_FAILED final "SASL authentication failed";
    59 UNKNOWN_PRODUCER_ID final "broker has no state for this producer id";
    60 REASSIGNMENT_IN_PROGRESS final "a partition reassignment is in progress";
    61 DELEGATION_TOKEN_AUTH_DISABLED final "delegation tokens are not enabled";
    62 DELEGATION_TOKEN_NOT_FOUND final "delegation token is not found";
    63 DELEGATION_TOKEN_OWNER_MISMATCH final "principal is not the owner or a renewer of the token";
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED final "delegation tokens cannot be requested over this connection";
    65 DELEGATION_TOKEN_AUTHORIZATION_FAILED final "delegation token authorization failed";
    66 DELEGATION_TOKEN_EXPIRED final "delegation token is expired";
    67 INVALID_PRINCIPAL_TYPE final "principal type is not supported";
    68 NON_EMPTY_GROUP final "group still has members";
    69 GROUP_ID_NOT_FOUND final "group id does not exist";
    70 FETCH_SESSION_ID_NOT_FOUND retriable "fetch session is not found";
    71 INVALID_FETCH_SESSION_EPOCH retriable "fetch session epoch is invalid";
    72 LISTENER_NOT_FOUND retriable "leader has no listener of the name the request came in on";
    73 TOPIC_DELETION_DISABLED final "topic deletion is disabled";
    74 FENCED_LEADER_EPOCH retriable "leader epoch of the request is older than the broker's";
    75 UNKNOWN_LEADER_EPOCH retriable "leader epoch of the request is newer than the broker's";
    76 UNSUPPORTED_COMPRESSION_TYPE final "client does not support the compression type of this partition";
    77 STALE_BROKER_EPOCH final "broker epoch has changed";
    78 OFFSET_NOT_AVAILABLE retriable "leader's high watermark has not caught up after an election, so offsets are not known yet";
    79 MEMBER_ID_REQUIRED final "member must rejoin with the member id it was given";
    80 PREFERRED_LEADER_NOT_AVAILABLE retriable "preferred leader is not available";
    81 GROUP_MAX_SIZE_REACHED final "group has group.max.size members already";
    82 FENCED_INSTANCE_ID final "another member with the same group.instance.id took over";
    83 ELIGIBLE_LEADERS_NOT_AVAILABLE retriable "no replica may become leader";
    84 ELECTION_NOT_NEEDED retriable "election is not needed";
    85 NO_REASSIGNMENT_IN_PROGRESS final "no partition reassignment is in progress";
    86 GROUP_SUBSCRIBED_TO_TOPIC final "offsets cannot be deleted while the group is subscribed to the topic";
    87 INVALID_RECORD final "record failed validation on the broker";
    88 UNSTABLE_OFFSET_COMMIT retriable "offsets of open transactions are not yet stable";
    89 THROTTLING_QUOTA_EXCEEDED retriable "throttling quota has been exceeded";
    90 PRODUCER_FENCED final "a newer producer with the same transactional.id fences this one";
    91 RESOURCE_NOT_FOUND final "resource is not found";
    92 DUPLICATE_RESOURCE final "resource already exists";
    93 UNACCEPTABLE_CREDENTIAL final "credential does not meet the criteria";
    94 INCONSISTENT_VOTER_SET final "voter sets of sender and receiver differ";
    95 INVALID_UPDATE_VERSION final "version of the update is invalid";
    96 FEATURE_UPDATE_FAILED final "finalized features cannot be updated";
    97 PRINCIPAL_DESERIALIZATION_FAILURE final "forwarded principal cannot be read";
    98 SNAPSHOT_NOT_FOUND final "snapshot is not found";
    99 POSITION_OUT_OF_RANGE final "position is not within the snapshot";
    100 UNKNOWN_TOPIC_ID retriable "this server does not host this topic id";
    101 DUPLICATE_BROKER_REGISTRATION final "broker id is already registered";
    102 BROKER_ID_NOT_REGISTERED final "broker id is not registered";
    103 INCONSISTENT_TOPIC_ID retriable "topic id in the log and in the request differ";
    104 INCONSISTENT_CLUSTER_ID final "cluster id of the request is not that of this cluster";
    105 TRANSACTIONAL_ID_NOT_FOUND final "transactional id is not found";
    106 FETCH_SESSION_TOPIC_ID_ERROR retriable "fetch session met inconsistent use of topic ids";
    107 INELIGIBLE_REPLICA final "new ISR holds a replica that may not be in it";
    108 NEW_LEADER_ELECTED final "request changed the ISR and thereby elected a new leader";
    109 OFFSET_MOVED_TO_TIERED_STORAGE final "offset has moved to tiered storage";
    110 FENCED_MEMBER_EPOCH final "member epoch is fenced by the coordinator, so a rejoin is needed";
    111 UNRELEASED_INSTANCE_ID final "instance id is still used by another member";
    112 UNSUPPORTED_ASSIGNOR final "group does not support this assignor";
    113 STALE_MEMBER_EPOCH final "member epoch is stale, so a retry with the newest is needed";
    114 MISMATCHED_ENDPOINT_TYPE final "request was sent to an endpoint of the wrong type";
    115 UNSUPPORTED_ENDPOINT_TYPE final "endpoint type is not supported";
    116 UNKNOWN_CONTROLLER_ID final "controller id is not known";
    117 UNKNOWN_SUBSCRIPTION_ID final "subscription id of the client is not valid or outdated";
    118 TELEMETRY_TOO_LARGE final "pushed metrics are larger than the broker accepts";
    119 INVALID_REGISTRATION final "controller holds the broker's registration invalid";
    120 TRANSACTION_ABORTABLE final "transaction must be aborted, after which the producer can go on";
    121 INVALID_RECORD_STATE final "record is not in a state that allows this acknowledgement";
    122 SHARE_SESSION_NOT_FOUND retriable "share session is not found";
    123 INVALID_SHARE_SESSION_EPOCH retriable "share session epoch is invalid";
    124 FENCED_STATE_EPOCH final "state epoch of the share coordinator is older than its newest";
    125 INVALID_VOTER_KEY final "voter key is not that of the receiving replica";
    126 DUPLICATE_VOTER final "voter is already in the voter set";
    127 VOTER_NOT_FOUND final "voter is not in the voter set";
    128 INVALID_REGULAR_EXPRESSION final "regular expression is not valid";
    129 REBOOTSTRAP_REQUIRED final "client metadata is stale, so the client must bootstrap anew";
}

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self.0
    }

    /// Whether this is success.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// `Ok` for success, the code itself as an error otherwise.
    ///
    /// # Errors
    /// The code, unless it is [`ErrorCode::NONE`].
    pub const fn ok(self) -> Result<(), ErrorCode> {
        if self.is_none() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name(), self.0, self.message())
    }
}

impl std::error::Error for ErrorCode {}

impl From<i16> for ErrorCode {
    fn from(code: i16) -> ErrorCode {
        ErrorCode(code)
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> i16 {
        code.0
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::ResponseError;

    use super::*;

    #[test]
    fn codes_names_and_retries_are_kafkas() {
        let codes: Vec<i16> = ErrorCode::ALL.iter().map(|code| code.code()).collect();
        assert_eq!(codes, (-1..=129).collect::<Vec<i16>>());
        for code in ErrorCode::ALL {
            match ResponseError::try_from_code(code.code()) {
                None => assert_eq!(*code, ErrorCode::NONE),
                Some(ResponseError::Unknown(_)) => assert!(code.code() > 106, "{code}"),
                Some(theirs) => {
                    let camel: String =
                        code.name().split('_').map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect();
                    assert_eq!(camel, format!("{theirs:?}"));
                    // Kafka made this one retriable after kafka-protocol had copied its list.
                    let retriable = theirs.is_retriable() || *code == ErrorCode::CONCURRENT_TRANSACTIONS;
                    assert_eq!(code.is_retriable(), retriable, "{code}");
                }
            }
        }
    }

    #[test]
    fn codes_without_a_name_are_an_unknown_server_error() {
        let newer = ErrorCode::from(999);
        assert_eq!((newer.name(), newer.is_retriable(), newer.ok()), ("UNKNOWN_SERVER_ERROR", false, Err(newer)));
        assert_eq!(ErrorCode::NONE.ok(), Ok(()));
    }
}
