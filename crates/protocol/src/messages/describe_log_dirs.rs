//! DescribeLogDirs, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeLogDirs: DescribeLogDirsRequest => DescribeLogDirsResponse, versions 0..=4, flexible 2..;

    struct DescribeLogDirsRequest {
        topics: Option<Vec<DescribableLogDirTopic>> = Some(Default::default()), versions 0..;
    }

    struct DescribableLogDirTopic {
        topic: Str, versions 0..;
        partitions: Vec<i32>, versions 0..;
    }

    struct DescribeLogDirsResponse {
        throttle_time_ms: i32, versions 0..;
        error_code: i16, ignorable 3..;
        results: Vec<DescribeLogDirsResult>, versions 0..;
    }

    struct DescribeLogDirsResult {
        error_code: i16, versions 0..;
        log_dir: Str, versions 0..;
        topics: Vec<DescribeLogDirsTopic>, versions 0..;
        total_bytes: i64 = -1, ignorable 4..;
        usable_bytes: i64 = -1, ignorable 4..;
    }

    struct DescribeLogDirsTopic {
        name: Str, versions 0..;
        partitions: Vec<DescribeLogDirsPartition>, versions 0..;
    }

    struct DescribeLogDirsPartition {
        partition_index: i32, versions 0..;
        partition_size: i64, versions 0..;
        offset_lag: i64, versions 0..;
        is_future_key: bool, versions 0..;
    }
}
