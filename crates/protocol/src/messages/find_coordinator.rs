//! FindCoordinator: which broker coordinates a group or a transactional id.
//!
//! 0.8.2 calls it ConsumerMetadata. From v4 on one request asks for several keys (KIP-699).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api FindCoordinator: FindCoordinatorRequest => FindCoordinatorResponse, versions 0..=6, flexible 3..;

    /// What is asked.
    struct FindCoordinatorRequest {
        /// Up to v3.
        key: Str, versions 0..=3;
        /// 0: group; 1: transactional id; 2: share group.
        key_type: i8, versions 1..;
        /// From v4.
        coordinator_keys: Vec<Str>, versions 4..;
    }

    /// What is answered.
    struct FindCoordinatorResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 1..;
        error_code: i16, versions 0..=3;
        /// More than the code says, for people.
        error_message: Option<Str> = Some(Default::default()), ignorable 1..=3;
        node_id: i32, versions 0..=3;
        host: Str, versions 0..=3;
        port: i32, versions 0..=3;
        coordinators: Vec<Coordinator>, versions 4..;
    }

    /// The coordinator of one key (from v4).
    struct Coordinator {
        key: Str, versions 4..;
        node_id: i32, versions 4..;
        host: Str, versions 4..;
        port: i32, versions 4..;
        error_code: i16, versions 4..;
        /// More than the code says, for people.
        error_message: Option<Str> = Some(Default::default()), ignorable 4..;
    }
}
