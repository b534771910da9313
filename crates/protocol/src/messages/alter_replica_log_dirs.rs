//! AlterReplicaLogDirs, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api AlterReplicaLogDirs: AlterReplicaLogDirsRequest => AlterReplicaLogDirsResponse, versions 0..=2, flexible 2..;

    struct AlterReplicaLogDirsRequest {
        dirs: Vec<AlterReplicaLogDir>, versions 0..;
    }

    struct AlterReplicaLogDir {
        path: Str, versions 0..;
        topics: Vec<AlterReplicaLogDirTopic>, versions 0..;
    }

    struct AlterReplicaLogDirTopic {
        name: Str, versions 0..;
        partitions: Vec<i32>, versions 0..;
    }

    struct AlterReplicaLogDirsResponse {
        throttle_time_ms: i32, versions 0..;
        results: Vec<AlterReplicaLogDirTopicResult>, versions 0..;
    }

    struct AlterReplicaLogDirTopicResult {
        topic_name: Str, versions 0..;
        partitions: Vec<AlterReplicaLogDirPartitionResult>, versions 0..;
    }

    struct AlterReplicaLogDirPartitionResult {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
    }
}
