//! Metadata, all versions.

use crate::messages::table::messages;
use crate::types::Uuid;
use crate::wire::Str;

messages! {
    api Metadata: MetadataRequest => MetadataResponse, versions 0..=12, flexible 9..;

    struct MetadataRequest {
        topics: Option<Vec<MetadataRequestTopic>> = Some(Default::default()), versions 0.., nullable 1..;
        allow_auto_topic_creation: bool = true, versions 4..;
        include_cluster_authorized_operations: bool, versions 8..=10;
        include_topic_authorized_operations: bool, versions 8..;
    }

    struct MetadataRequestTopic {
        topic_id: Uuid, ignorable 10..;
        name: Option<Str> = Some(Default::default()), versions 0.., nullable 10..;
    }

    struct MetadataResponse {
        throttle_time_ms: i32, ignorable 3..;
        brokers: Vec<MetadataResponseBroker>, versions 0..;
        cluster_id: Option<Str>, ignorable 2..;
        controller_id: i32 = -1, ignorable 1..;
        topics: Vec<MetadataResponseTopic>, versions 0..;
        cluster_authorized_operations: i32 = i32::MIN, versions 8..=10;
    }

    struct MetadataResponseBroker {
        node_id: i32, versions 0..;
        host: Str, versions 0..;
        port: i32, versions 0..;
        rack: Option<Str>, ignorable 1..;
    }

    struct MetadataResponseTopic {
        error_code: i16, versions 0..;
        name: Option<Str> = Some(Default::default()), versions 0.., nullable 12..;
        topic_id: Uuid, ignorable 10..;
        is_internal: bool, ignorable 1..;
        partitions: Vec<MetadataResponsePartition>, versions 0..;
        topic_authorized_operations: i32 = i32::MIN, versions 8..;
    }

    struct MetadataResponsePartition {
        error_code: i16, versions 0..;
        partition_index: i32, versions 0..;
        leader_id: i32, versions 0..;
        leader_epoch: i32 = -1, ignorable 7..;
        replica_nodes: Vec<i32>, versions 0..;
        isr_nodes: Vec<i32>, versions 0..;
        offline_replicas: Vec<i32>, ignorable 5..;
    }
}
