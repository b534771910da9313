//! CreateTopics: makes topics.

use crate::messages::table::messages;
use crate::types::Uuid;
use crate::wire::Str;

messages! {
    api CreateTopics: CreateTopicsRequest => CreateTopicsResponse, versions 0..=7, flexible 5..;

    /// What is asked.
    struct CreateTopicsRequest {
        topics: Vec<CreatableTopic>, versions 0..;
        /// How long the broker may take, in milliseconds.
        timeout_ms: i32 = 60000, versions 0..;
        /// Check, but change nothing.
        validate_only: bool, versions 1..;
    }

    /// A topic to make.
    struct CreatableTopic {
        name: Str, versions 0..;
        /// -1 is the default, or as `assignments` say.
        num_partitions: i32, versions 0..;
        /// -1 is the default, or as `assignments` say.
        replication_factor: i16, versions 0..;
        /// No element lets the broker choose.
        assignments: Vec<CreatableReplicaAssignment>, versions 0..;
        configs: Vec<CreatableTopicConfig>, versions 0..;
    }

    /// Brokers of one partition, first the preferred leader.
    struct CreatableReplicaAssignment {
        partition_index: i32, versions 0..;
        broker_ids: Vec<i32>, versions 0..;
    }

    /// A configuration entry.
    struct CreatableTopicConfig {
        name: Str, versions 0..;
        value: Option<Str> = Some(Default::default()), versions 0..;
    }

    /// What is answered.
    struct CreateTopicsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 2..;
        topics: Vec<CreatableTopicResult>, versions 0..;
    }

    /// Outcome for one topic.
    struct CreatableTopicResult {
        name: Str, versions 0..;
        topic_id: Uuid, ignorable 7..;
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str> = Some(Default::default()), ignorable 1..;
        /// Why `configs` is None, if it is.
        topic_config_error_code: i16, ignorable 5.., tag 0;
        num_partitions: i32 = -1, ignorable 5..;
        replication_factor: i16 = -1, ignorable 5..;
        /// None if the client may not see them.
        configs: Option<Vec<CreatableTopicConfigs>> = Some(Default::default()), ignorable 5..;
    }

    /// A configuration entry of the new topic.
    struct CreatableTopicConfigs {
        name: Str, versions 5..;
        value: Option<Str> = Some(Default::default()), versions 5..;
        read_only: bool, versions 5..;
        /// 1: topic; 2: broker; 3: default for all brokers; 4: server.properties; 5: built in; 6: broker logger; 7: client metrics; 8: group.
        config_source: i8 = -1, ignorable 5..;
        /// The value is withheld.
        is_sensitive: bool, versions 5..;
    }
}
