//! How requests that change the cluster are refused, and how long they may wait.

use std::time::Duration;

use client::zookeeper::ZkError;
use protocol::error::ErrorCode;

/// Longest wait that a request may ask for: for leaders, acks, or followers. Beyond any client's own patience.
const TIMEOUT_MS_MAX: i32 = 10 * 60 * 1000;

/// Kafka's text for NOT_CONTROLLER.
pub(super) const NOT_CONTROLLER_TEXT: &str = "This is not the correct controller for this cluster.";

/// Why an admin request was refused: the code and what is wrong, for people.
pub type Refused = (ErrorCode, String);

/// What a broker answers that is not the controller. Clients ask the one that Metadata names then.
pub(super) fn not_controller() -> Refused {
    (ErrorCode::NOT_CONTROLLER, NOT_CONTROLLER_TEXT.to_owned())
}

/// What a client is told whose change could not be written into the tree. While ZooKeeper is out of reach it is REQUEST_TIMED_OUT: the change may have been made or not, and clients ask
/// again; of a broker whose session is over, that another may be the controller.
pub(super) fn tree_error(error: &ZkError) -> Refused {
    let code = match error {
        error if error.is_connection_loss() => ErrorCode::REQUEST_TIMED_OUT,
        error if error.is_terminal() => ErrorCode::NOT_CONTROLLER,
        _ => ErrorCode::UNKNOWN_SERVER_ERROR,
    };
    (code, error.to_string())
}

/// A wait that a request asks for, within bounds.
pub(super) fn timeout(timeout_ms: i32) -> Duration {
    Duration::from_millis(timeout_ms.clamp(0, TIMEOUT_MS_MAX).unsigned_abs().into())
}
