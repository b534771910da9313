//! CreateTopics, all versions.

use crate::messages::table::messages;
use crate::types::Uuid;
use crate::wire::Str;

messages! {
    api CreateTopics: CreateTopicsRequest => CreateTopicsResponse, versions 0..=7, flexible 5..;

    struct CreateTopicsRequest {
        topics: Vec<CreatableTopic>, versions 0..;
        timeout_ms: i32 = 60000, versions 0..;
        validate_only: bool, versions 1..;
    }

    struct CreatableTopic {
        name: Str, versions 0..;
        num_partitions: i32, versions 0..;
        replication_factor: i16, versions 0..;
        assignments: Vec<CreatableReplicaAssignment>, versions 0..;
        configs: Vec<CreatableTopicConfig>, versions 0..;
    }

    struct CreatableReplicaAssignment {
        partition_index: i32, versions 0..;
        broker_ids: Vec<i32>, versions 0..;
    }

    struct CreatableTopicConfig {
        name: Str, versions 0..;
        value: Option<Str> = Some(Default::default()), versions 0..;
    }

    struct CreateTopicsResponse {
        throttle_time_ms: i32, ignorable 2..;
        topics: Vec<CreatableTopicResult>, versions 0..;
    }

    struct CreatableTopicResult {
        name: Str, versions 0..;
        topic_id: Uuid, ignorable 7..;
        error_code: i16, versions 0..;
        error_message: Option<Str> = Some(Default::default()), ignorable 1..;
        topic_config_error_code: i16, ignorable 5.., tag 0;
        num_partitions: i32 = -1, ignorable 5..;
        replication_factor: i16 = -1, ignorable 5..;
        configs: Option<Vec<CreatableTopicConfigs>> = Some(Default::default()), ignorable 5..;
    }

    struct CreatableTopicConfigs {
        name: Str, versions 5..;
        value: Option<Str> = Some(Default::default()), versions 5..;
        read_only: bool, versions 5..;
        config_source: i8 = -1, ignorable 5..;
        is_sensitive: bool, versions 5..;
    }
}
