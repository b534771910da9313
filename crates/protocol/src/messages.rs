//! Kafka's messages: one file per API, each a table of fields with the versions that carry them.
//!
//! Structures and fields have the names of Kafka's own message schemas. Decoding takes any version a table covers and gives absent fields their defaults;
//! encoding refuses to drop a value the version cannot carry unless the schema calls it ignorable. Unknown tagged fields are skipped and not kept:
//! nothing here forwards messages of others. `table.rs` says how to read a table; [`metadata`] is a good one to begin with.

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
    ([] $($key:ident: $module:ident, $request:ident, $response:ident;)*) => {
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
    };
}

/// Hands `arguments` and the list of all APIs with a table to the macro `callback`.
macro_rules! for_each_api {
    ($callback:ident $($arguments:tt)*) => {
        $callback! { [$($arguments)*]
            Produce: produce, ProduceRequest, ProduceResponse;
            Fetch: fetch, FetchRequest, FetchResponse;
            ListOffsets: list_offsets, ListOffsetsRequest, ListOffsetsResponse;
            Metadata: metadata, MetadataRequest, MetadataResponse;
            ControlledShutdown: controlled_shutdown, ControlledShutdownRequest, ControlledShutdownResponse;
            OffsetCommit: offset_commit, OffsetCommitRequest, OffsetCommitResponse;
            OffsetFetch: offset_fetch, OffsetFetchRequest, OffsetFetchResponse;
            FindCoordinator: find_coordinator, FindCoordinatorRequest, FindCoordinatorResponse;
            JoinGroup: join_group, JoinGroupRequest, JoinGroupResponse;
            Heartbeat: heartbeat, HeartbeatRequest, HeartbeatResponse;
            LeaveGroup: leave_group, LeaveGroupRequest, LeaveGroupResponse;
            SyncGroup: sync_group, SyncGroupRequest, SyncGroupResponse;
            DescribeGroups: describe_groups, DescribeGroupsRequest, DescribeGroupsResponse;
            ListGroups: list_groups, ListGroupsRequest, ListGroupsResponse;
            SaslHandshake: sasl_handshake, SaslHandshakeRequest, SaslHandshakeResponse;
            ApiVersions: api_versions, ApiVersionsRequest, ApiVersionsResponse;
            CreateTopics: create_topics, CreateTopicsRequest, CreateTopicsResponse;
            DeleteTopics: delete_topics, DeleteTopicsRequest, DeleteTopicsResponse;
            DeleteRecords: delete_records, DeleteRecordsRequest, DeleteRecordsResponse;
            InitProducerId: init_producer_id, InitProducerIdRequest, InitProducerIdResponse;
            OffsetForLeaderEpoch: offset_for_leader_epoch, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
            AddPartitionsToTxn: add_partitions_to_txn, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse;
            AddOffsetsToTxn: add_offsets_to_txn, AddOffsetsToTxnRequest, AddOffsetsToTxnResponse;
            EndTxn: end_txn, EndTxnRequest, EndTxnResponse;
            WriteTxnMarkers: write_txn_markers, WriteTxnMarkersRequest, WriteTxnMarkersResponse;
            TxnOffsetCommit: txn_offset_commit, TxnOffsetCommitRequest, TxnOffsetCommitResponse;
            DescribeAcls: describe_acls, DescribeAclsRequest, DescribeAclsResponse;
            CreateAcls: create_acls, CreateAclsRequest, CreateAclsResponse;
            DeleteAcls: delete_acls, DeleteAclsRequest, DeleteAclsResponse;
            DescribeConfigs: describe_configs, DescribeConfigsRequest, DescribeConfigsResponse;
            AlterConfigs: alter_configs, AlterConfigsRequest, AlterConfigsResponse;
            AlterReplicaLogDirs: alter_replica_log_dirs, AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse;
            DescribeLogDirs: describe_log_dirs, DescribeLogDirsRequest, DescribeLogDirsResponse;
            SaslAuthenticate: sasl_authenticate, SaslAuthenticateRequest, SaslAuthenticateResponse;
            CreatePartitions: create_partitions, CreatePartitionsRequest, CreatePartitionsResponse;
            DeleteGroups: delete_groups, DeleteGroupsRequest, DeleteGroupsResponse;
            ElectLeaders: elect_leaders, ElectLeadersRequest, ElectLeadersResponse;
            IncrementalAlterConfigs: incremental_alter_configs, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse;
            AlterPartitionReassignments: alter_partition_reassignments, AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse;
            ListPartitionReassignments: list_partition_reassignments, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse;
            OffsetDelete: offset_delete, OffsetDeleteRequest, OffsetDeleteResponse;
            DescribeClientQuotas: describe_client_quotas, DescribeClientQuotasRequest, DescribeClientQuotasResponse;
            AlterClientQuotas: alter_client_quotas, AlterClientQuotasRequest, AlterClientQuotasResponse;
            DescribeCluster: describe_cluster, DescribeClusterRequest, DescribeClusterResponse;
            DescribeProducers: describe_producers, DescribeProducersRequest, DescribeProducersResponse;
            DescribeTransactions: describe_transactions, DescribeTransactionsRequest, DescribeTransactionsResponse;
            ListTransactions: list_transactions, ListTransactionsRequest, ListTransactionsResponse;
            ConsumerGroupHeartbeat: consumer_group_heartbeat, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse;
            ConsumerGroupDescribe: consumer_group_describe, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse;
            DescribeTopicPartitions: describe_topic_partitions, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse;
        }
    };
}

for_each_api!(apis);

#[cfg(any(test, feature = "sample"))]
pub mod sample;
#[cfg(test)]
mod tests;
