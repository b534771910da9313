//! DeleteRecords: moves the start of logs forward (KIP-107).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DeleteRecords: DeleteRecordsRequest => DeleteRecordsResponse, versions 0..=2, flexible 2..;

    /// What is asked.
    struct DeleteRecordsRequest {
        topics: Vec<DeleteRecordsTopic>, versions 0..;
        /// How long the broker may take, in milliseconds.
        timeout_ms: i32, versions 0..;
    }

    /// Partitions of one topic.
    struct DeleteRecordsTopic {
        name: Str, versions 0..;
        partitions: Vec<DeleteRecordsPartition>, versions 0..;
    }

    /// New start of one partition.
    struct DeleteRecordsPartition {
        partition_index: i32, versions 0..;
        /// Records before it go; -1 is the high watermark.
        offset: i64, versions 0..;
    }

    /// What is answered.
    struct DeleteRecordsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        topics: Vec<DeleteRecordsTopicResult>, versions 0..;
    }

    /// Outcome for one topic.
    struct DeleteRecordsTopicResult {
        name: Str, versions 0..;
        partitions: Vec<DeleteRecordsPartitionResult>, versions 0..;
    }

    /// Outcome for one partition.
    struct DeleteRecordsPartitionResult {
        partition_index: i32, versions 0..;
        /// New first offset.
        low_watermark: i64, versions 0..;
        error_code: i16, versions 0..;
    }
}
