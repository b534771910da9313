//! Metadata: which brokers there are, and who leads which partition.
//!
//! "All topics" is an empty list in v0 and null from v1 on; there the empty list means "no topics".

use crate::messages::table::messages;
use crate::types::Uuid;
use crate::wire::Str;

messages! {
    api Metadata: MetadataRequest => MetadataResponse, versions 0..=12, flexible 9..;

    /// What is asked.
    struct MetadataRequest {
        /// None from v1 on, or no element in v0, asks for all topics.
        topics: Option<Vec<MetadataRequestTopic>> = Some(Default::default()), versions 0.., nullable 1..;
        /// Whether the broker may make a topic that is missing.
        allow_auto_topic_creation: bool = true, versions 4..;
        include_cluster_authorized_operations: bool, versions 8..=10;
        include_topic_authorized_operations: bool, versions 8..;
    }

    /// A topic asked for, by name or by id.
    struct MetadataRequestTopic {
        /// Zero if the name says it.
        topic_id: Uuid, ignorable 10..;
        /// None if the id says it.
        name: Option<Str> = Some(Default::default()), versions 0.., nullable 10..;
    }

    /// What is answered.
    struct MetadataResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 3..;
        brokers: Vec<MetadataResponseBroker>, versions 0..;
        cluster_id: Option<Str>, ignorable 2..;
        /// -1 is no controller.
        controller_id: i32 = -1, ignorable 1..;
        topics: Vec<MetadataResponseTopic>, versions 0..;
        /// Bits by AclOperation code; `i32::MIN` if not asked for.
        cluster_authorized_operations: i32 = i32::MIN, versions 8..=10;
    }

    /// A live broker, at its address on the listener the request came in on.
    struct MetadataResponseBroker {
        node_id: i32, versions 0..;
        host: Str, versions 0..;
        port: i32, versions 0..;
        rack: Option<Str>, ignorable 1..;
    }

    /// A topic, or why there is none.
    struct MetadataResponseTopic {
        error_code: i16, versions 0..;
        /// None only for an id nobody knows.
        name: Option<Str> = Some(Default::default()), versions 0.., nullable 12..;
        topic_id: Uuid, ignorable 10..;
        is_internal: bool, ignorable 1..;
        partitions: Vec<MetadataResponsePartition>, versions 0..;
        /// Bits by AclOperation code; `i32::MIN` if not asked for.
        topic_authorized_operations: i32 = i32::MIN, versions 8..;
    }

    /// A partition of a topic.
    struct MetadataResponsePartition {
        error_code: i16, versions 0..;
        partition_index: i32, versions 0..;
        /// -1 is no leader.
        leader_id: i32, versions 0..;
        /// -1 is not known.
        leader_epoch: i32 = -1, ignorable 7..;
        /// First the preferred leader.
        replica_nodes: Vec<i32>, versions 0..;
        isr_nodes: Vec<i32>, versions 0..;
        offline_replicas: Vec<i32>, ignorable 5..;
    }
}
