//! Kafka's messages: one file per API, each a table of fields with the versions that carry them.
//!
//! Structures and fields have the names of Kafka's own message schemas. Decoding takes any version a table covers and gives absent fields their defaults;
//! encoding refuses to drop a value the version cannot carry unless the schema calls it ignorable. Unknown tagged fields are skipped and not kept:
//! nothing here forwards messages of others. [`table`](self) files are read best starting with [`metadata`].

use std::fmt::Debug;
use std::ops::RangeInclusive;

use crate::api::ApiKey;
use crate::wire::{Field, Reader, WireError, Writer};

pub mod consumer_protocol;
mod table;

/// A request, a response, or a structure inside one.
pub trait Message: Field + Debug + Clone + PartialEq + Default {
    /// Name in Kafka's schema.
    const NAME: &'static str;

    /// Reads the message as `version` of its API writes it. Bytes after it are left in the reader.
    ///
    /// # Errors
    /// [`WireError::UnsupportedVersion`], or whatever is wrong with the bytes.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, WireError>;

    /// Writes the message as `version` of its API.
    ///
    /// # Errors
    /// [`WireError::UnsupportedVersion`]; [`WireError::FieldNotInVersion`] for a value the version cannot carry; [`WireError::NullNotAllowed`].
    /// The writer then holds part of a message and must be thrown away.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), WireError>;
}

/// A message that asks; its table knows what answers it.
pub trait Request: Message {
    /// The API.
    const KEY: ApiKey;
    /// Versions the table covers, for request and response alike.
    const VERSIONS: RangeInclusive<i16>;
    /// First version with compact types and tagged fields; `i16::MAX` if there is none.
    const FLEXIBLE_FROM: i16;
    /// What answers it.
    type Response: Message;
}

/// What the tables cover of one API.
pub(crate) struct Covered {
    pub(crate) versions: RangeInclusive<i16>,
    pub(crate) flexible_from: i16,
}

macro_rules! apis {
    ($($key:ident: $module:ident, $request:ident;)*) => {
        $(pub mod $module;)*

        /// What the tables cover of `api`; nothing if it has no table.
        pub(crate) fn covered(api: ApiKey) -> Option<Covered> {
            match api {
                $(ApiKey::$key => Some(Covered {
                    versions: <$module::$request as Request>::VERSIONS,
                    flexible_from: <$module::$request as Request>::FLEXIBLE_FROM,
                }),)*
                _ => None,
            }
        }

        /// Calls `visit` once per API with a table, with its request type.
        #[cfg(test)]
        pub(crate) fn for_each_request(visitor: &mut impl tests::RequestVisitor) {
            $(visitor.visit::<$module::$request>();)*
        }
    };
}

apis! {
    Produce: produce, ProduceRequest;
    Fetch: fetch, FetchRequest;
    ListOffsets: list_offsets, ListOffsetsRequest;
    Metadata: metadata, MetadataRequest;
    ControlledShutdown: controlled_shutdown, ControlledShutdownRequest;
    OffsetCommit: offset_commit, OffsetCommitRequest;
    OffsetFetch: offset_fetch, OffsetFetchRequest;
    FindCoordinator: find_coordinator, FindCoordinatorRequest;
    JoinGroup: join_group, JoinGroupRequest;
    Heartbeat: heartbeat, HeartbeatRequest;
    LeaveGroup: leave_group, LeaveGroupRequest;
    SyncGroup: sync_group, SyncGroupRequest;
    DescribeGroups: describe_groups, DescribeGroupsRequest;
    ListGroups: list_groups, ListGroupsRequest;
    SaslHandshake: sasl_handshake, SaslHandshakeRequest;
    ApiVersions: api_versions, ApiVersionsRequest;
    CreateTopics: create_topics, CreateTopicsRequest;
    DeleteTopics: delete_topics, DeleteTopicsRequest;
    DeleteRecords: delete_records, DeleteRecordsRequest;
    InitProducerId: init_producer_id, InitProducerIdRequest;
    OffsetForLeaderEpoch: offset_for_leader_epoch, OffsetForLeaderEpochRequest;
    AddPartitionsToTxn: add_partitions_to_txn, AddPartitionsToTxnRequest;
    AddOffsetsToTxn: add_offsets_to_txn, AddOffsetsToTxnRequest;
    EndTxn: end_txn, EndTxnRequest;
    WriteTxnMarkers: write_txn_markers, WriteTxnMarkersRequest;
    TxnOffsetCommit: txn_offset_commit, TxnOffsetCommitRequest;
    DescribeAcls: describe_acls, DescribeAclsRequest;
    CreateAcls: create_acls, CreateAclsRequest;
    DeleteAcls: delete_acls, DeleteAclsRequest;
    DescribeConfigs: describe_configs, DescribeConfigsRequest;
    AlterConfigs: alter_configs, AlterConfigsRequest;
    AlterReplicaLogDirs: alter_replica_log_dirs, AlterReplicaLogDirsRequest;
    DescribeLogDirs: describe_log_dirs, DescribeLogDirsRequest;
    SaslAuthenticate: sasl_authenticate, SaslAuthenticateRequest;
    CreatePartitions: create_partitions, CreatePartitionsRequest;
    DeleteGroups: delete_groups, DeleteGroupsRequest;
    ElectLeaders: elect_leaders, ElectLeadersRequest;
    IncrementalAlterConfigs: incremental_alter_configs, IncrementalAlterConfigsRequest;
    AlterPartitionReassignments: alter_partition_reassignments, AlterPartitionReassignmentsRequest;
    ListPartitionReassignments: list_partition_reassignments, ListPartitionReassignmentsRequest;
    OffsetDelete: offset_delete, OffsetDeleteRequest;
    DescribeClientQuotas: describe_client_quotas, DescribeClientQuotasRequest;
    AlterClientQuotas: alter_client_quotas, AlterClientQuotasRequest;
    DescribeCluster: describe_cluster, DescribeClusterRequest;
    DescribeProducers: describe_producers, DescribeProducersRequest;
    DescribeTransactions: describe_transactions, DescribeTransactionsRequest;
    ListTransactions: list_transactions, ListTransactionsRequest;
    ConsumerGroupHeartbeat: consumer_group_heartbeat, ConsumerGroupHeartbeatRequest;
    ConsumerGroupDescribe: consumer_group_describe, ConsumerGroupDescribeRequest;
    DescribeTopicPartitions: describe_topic_partitions, DescribeTopicPartitionsRequest;
}

#[cfg(test)]
mod tests;
