//! FindCoordinator, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api FindCoordinator: FindCoordinatorRequest => FindCoordinatorResponse, versions 0..=6, flexible 3..;

    struct FindCoordinatorRequest {
        key: Str, versions 0..=3;
        key_type: i8, versions 1..;
        coordinator_keys: Vec<Str>, versions 4..;
    }

    struct FindCoordinatorResponse {
        throttle_time_ms: i32, ignorable 1..;
        error_code: i16, versions 0..=3;
        error_message: Option<Str> = Some(Default::default()), ignorable 1..=3;
        node_id: i32, versions 0..=3;
        host: Str, versions 0..=3;
        port: i32, versions 0..=3;
        coordinators: Vec<Coordinator>, versions 4..;
    }

    struct Coordinator {
        key: Str, versions 4..;
        node_id: i32, versions 4..;
        host: Str, versions 4..;
        port: i32, versions 4..;
        error_code: i16, versions 4..;
        error_message: Option<Str> = Some(Default::default()), ignorable 4..;
    }
}
