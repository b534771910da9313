//! How tools reach a keeper: one session for the time of one command, on a runtime of its own.

use std::future::Future;
use std::time::Duration;

use client::zookeeper::{Session, ZkError};

use crate::failure::Failure;

/// Session time-out of the tools, and their wait for a first connection (Kafka's tools: 30 s, which a person does not wait).
const ZOOKEEPER_TIMEOUT: Duration = Duration::from_secs(6);

/// Runs a tool's work to its end on the calling thread.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime::spawn::current_thread().map_err(|error| Failure::new("cannot start").cause(error))?;
    runtime.block_on(work)
}

/// Opens a session at `--zookeeper`.
pub async fn zookeeper(connect: &str) -> Result<Session, Failure> {
    Session::connect(connect, ZOOKEEPER_TIMEOUT).await.map_err(|error| unreachable_zookeeper(connect, &error))
}

/// What is said where ZooKeeper does not answer.
pub fn unreachable_zookeeper(connect: &str, error: &ZkError) -> Failure {
    match error {
        ZkError::ConnectTimeout { last, .. } => Failure::verbatim(format!(
            "Timed out waiting for connection to ZooKeeper server {connect} after {} ms",
            ZOOKEEPER_TIMEOUT.as_millis()
        ))
        .cause(last)
        .help("bin/zookeeper-server-start.sh config/zookeeper.properties"),
        other => Failure::new(other),
    }
}

impl From<ZkError> for Failure {
    fn from(error: ZkError) -> Failure {
        Failure::new(error)
    }
}
