//! DescribeLogDirs: sizes of a broker's log directories and of the replicas in them.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeLogDirs: DescribeLogDirsRequest => DescribeLogDirsResponse, versions 0..=4, flexible 2..;

    /// What is asked.
    struct DescribeLogDirsRequest {
        /// None asks for all.
        topics: Option<Vec<DescribableLogDirTopic>> = Some(Default::default()), versions 0..;
    }

    /// Partitions of one topic.
    struct DescribableLogDirTopic {
        topic: Str, versions 0..;
        partitions: Vec<i32>, versions 0..;
    }

    /// What is answered.
    struct DescribeLogDirsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        error_code: i16, ignorable 3..;
        results: Vec<DescribeLogDirsResult>, versions 0..;
    }

    /// A log directory.
    struct DescribeLogDirsResult {
        error_code: i16, versions 0..;
        log_dir: Str, versions 0..;
        topics: Vec<DescribeLogDirsTopic>, versions 0..;
        /// Size of the volume; -1 is not known.
        total_bytes: i64 = -1, ignorable 4..;
        /// Room left on the volume; -1 is not known.
        usable_bytes: i64 = -1, ignorable 4..;
    }

    /// Replicas of one topic.
    struct DescribeLogDirsTopic {
        name: Str, versions 0..;
        partitions: Vec<DescribeLogDirsPartition>, versions 0..;
    }

    /// A replica.
    struct DescribeLogDirsPartition {
        partition_index: i32, versions 0..;
        /// In bytes.
        partition_size: i64, versions 0..;
        /// How far the replica is behind.
        offset_lag: i64, versions 0..;
        /// The replica is being moved into this directory.
        is_future_key: bool, versions 0..;
    }
}
