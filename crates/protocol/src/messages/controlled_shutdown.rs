//! ControlledShutdown: a broker asks the controller to move its leaders away before it stops.
//!
//! The request header of v0 has no client id.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api ControlledShutdown: ControlledShutdownRequest => ControlledShutdownResponse, versions 0..=3, flexible 3..;

    /// What is asked.
    struct ControlledShutdownRequest {
        broker_id: i32, versions 0..;
        /// -1 is not known.
        broker_epoch: i64 = -1, ignorable 2..;
    }

    /// What is answered.
    struct ControlledShutdownResponse {
        error_code: i16, versions 0..;
        remaining_partitions: Vec<RemainingPartition>, versions 0..;
    }

    /// A partition that still has its leader on the stopping broker.
    struct RemainingPartition {
        topic_name: Str, versions 0..;
        partition_index: i32, versions 0..;
    }
}
