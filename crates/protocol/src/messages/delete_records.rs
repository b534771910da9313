//! DeleteRecords, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DeleteRecords: DeleteRecordsRequest => DeleteRecordsResponse, versions 0..=2, flexible 2..;

    struct DeleteRecordsRequest {
        topics: Vec<DeleteRecordsTopic>, versions 0..;
        timeout_ms: i32, versions 0..;
    }

    struct DeleteRecordsTopic {
        name: Str, versions 0..;
        partitions: Vec<DeleteRecordsPartition>, versions 0..;
    }

    struct DeleteRecordsPartition {
        partition_index: i32, versions 0..;
        offset: i64, versions 0..;
    }

    struct DeleteRecordsResponse {
        throttle_time_ms: i32, versions 0..;
        topics: Vec<DeleteRecordsTopicResult>, versions 0..;
    }

    struct DeleteRecordsTopicResult {
        name: Str, versions 0..;
        partitions: Vec<DeleteRecordsPartitionResult>, versions 0..;
    }

    struct DeleteRecordsPartitionResult {
        partition_index: i32, versions 0..;
        low_watermark: i64, versions 0..;
        error_code: i16, versions 0..;
    }
}
