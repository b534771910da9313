//! AlterReplicaLogDirs: moves replicas between the log directories of a broker (KIP-113).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api AlterReplicaLogDirs: AlterReplicaLogDirsRequest => AlterReplicaLogDirsResponse, versions 0..=2, flexible 2..;

    /// What is asked.
    struct AlterReplicaLogDirsRequest {
        dirs: Vec<AlterReplicaLogDir>, versions 0..;
    }

    /// What to move into one directory.
    struct AlterReplicaLogDir {
        path: Str, versions 0..;
        topics: Vec<AlterReplicaLogDirTopic>, versions 0..;
    }

    /// Partitions of one topic.
    struct AlterReplicaLogDirTopic {
        name: Str, versions 0..;
        partitions: Vec<i32>, versions 0..;
    }

    /// What is answered.
    struct AlterReplicaLogDirsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        results: Vec<AlterReplicaLogDirTopicResult>, versions 0..;
    }

    /// Outcome for one topic.
    struct AlterReplicaLogDirTopicResult {
        topic_name: Str, versions 0..;
        partitions: Vec<AlterReplicaLogDirPartitionResult>, versions 0..;
    }

    /// Outcome for one partition.
    struct AlterReplicaLogDirPartitionResult {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
    }
}
