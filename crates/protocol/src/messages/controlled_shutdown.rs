//! ControlledShutdown, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api ControlledShutdown: ControlledShutdownRequest => ControlledShutdownResponse, versions 0..=3, flexible 3..;

    struct ControlledShutdownRequest {
        broker_id: i32, versions 0..;
        broker_epoch: i64 = -1, ignorable 2..;
    }

    struct ControlledShutdownResponse {
        error_code: i16, versions 0..;
        remaining_partitions: Vec<RemainingPartition>, versions 0..;
    }

    struct RemainingPartition {
        topic_name: Str, versions 0..;
        partition_index: i32, versions 0..;
    }
}
