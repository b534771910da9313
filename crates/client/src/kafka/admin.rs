//! [`Admin`]: creates, describes, changes and deletes what a cluster keeps: topics, configurations, groups, records.
//!
//! # Layout
//! - [`topics`]: topics, partitions, replicas, leaders, the cluster itself
//! - [`configs`]: configurations of topics and brokers
//! - [`groups`]: groups, their members and offsets
//! - [`records`]: offsets of partitions, deletion of records, log directories
//! - [`replicas`]: what each replica holds
//!
//! A call with several names has a result per name, in the order of the answer. Whatever changes something is repeated only where the broker
//! has certainly not acted on it (no connection, NOT_CONTROLLER, NOT_COORDINATOR); questions are repeated until `default.api.timeout.ms`.

pub mod configs;
pub mod groups;
pub mod records;
pub mod replicas;
pub mod topics;

use std::future::Future;
use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::types::BrokerId;
use runtime::clock::Instant;

pub use self::configs::{AlterOperation, ConfigEntry, ConfigResource, ConfigSource, ConfigSynonym};
pub use self::groups::{GroupDescription, GroupListing, GroupMemberDescription};
pub use self::records::{LogDirDescription, ReplicaSize};
pub use self::replicas::{ReplicaBytes, ReplicasRead};
pub use self::topics::{ClusterDescription, ElectionType, NewTopic, Reassignment};

use super::cluster::{Cluster, Lane};
use super::connection::Connection;
use super::error::{ClientError, Result};

/// What became of each name of a call.
pub type PerName<T> = Vec<(String, Result<T>)>;

/// Asks and changes a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    cluster: Cluster,
}

/// Whom a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Any,
    Controller,
    Broker(BrokerId),
}

/// Whether a call may be sent again when nobody knows whether the broker has acted on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Question,
    Change,
}

impl Admin {
    /// Works on `cluster`.
    #[must_use]
    pub fn new(cluster: Cluster) -> Admin {
        Admin { cluster }
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Sends a call where it belongs until it is answered. `call` is Kafka's name of it, for the time-out's text.
    async fn call<T, F>(&self, call: &str, to: To, kind: Kind, attempt: impl Fn(Connection) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let deadline = self.cluster.default_deadline();
        let started = self.cluster.clock().now();
        let mut backoff = self.cluster.backoff();
        let mut last = None;
        loop {
            let connected = self.cluster.clock().timeout_at(deadline, self.connect(to)).await;
            let error = match connected {
                // The request has a limit of its own.
                Ok(Ok(connection)) => match attempt(connection).await {
                    Ok(done) => return Ok(done),
                    Err(error) if kind == Kind::Change && error.outcome_is_unknown() => return Err(error),
                    Err(error) => error,
                },
                Ok(Err(error)) => error,
                Err(_elapsed) => return Err(self.timed_out(call, started, deadline, last)),
            };
            let is_gone = to == To::Controller && error.code().is_none() && error.is_retriable();
            if error.code() == Some(ErrorCode::NOT_CONTROLLER) || is_gone {
                // The new one may still be coming; a failure to ask shows itself in the next attempt.
                let _ = self.cluster.clock().timeout_at(deadline, self.cluster.refresh_brokers()).await;
            } else if !error.is_retriable() {
                return Err(error);
            }
            tracing::debug!(call, %error, "admin call failed");
            last = Some(error);
            if !self.cluster.pause(&mut backoff, deadline).await {
                return Err(self.timed_out(call, started, deadline, last));
            }
        }
    }

    async fn connect(&self, to: To) -> Result<Connection> {
        match to {
            To::Any => self.cluster.any_connection().await,
            To::Controller => self.cluster.controller().await,
            To::Broker(broker) => {
                if !self.cluster.metadata().brokers.contains_key(&broker) {
                    self.cluster.refresh_brokers().await?;
                }
                self.cluster.connection(broker, Lane::General).await
            }
        }
    }

    fn timed_out(&self, call: &str, started: Instant, deadline: Instant, last: Option<ClientError>) -> ClientError {
        let waited_ms = super::cluster::whole_ms(deadline.saturating_duration_since(started));
        match last {
            // A broker did answer, and kept saying this.
            Some(last) if last.code().is_some() => last,
            last => ClientError::NoBroker { call: call.to_string(), waited_ms, last: last.map(Arc::new) },
        }
    }

    /// All brokers, asked for anew.
    async fn brokers(&self, call: &str) -> Result<Vec<BrokerId>> {
        let metadata = self.cluster.refresh_brokers().await.map_err(|error| named(error, call))?;
        Ok(metadata.brokers.keys().copied().collect())
    }

    /// `request.timeout.ms` as requests carry it.
    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.cluster.config().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

/// Puts the call's name into a time-out of the metadata it needed.
fn named(error: ClientError, name: &str) -> ClientError {
    match error {
        ClientError::NoBroker { waited_ms, last, .. } => {
            ClientError::NoBroker { call: name.to_string(), waited_ms, last }
        }
        other => other,
    }
}

/// The first name's result, where a call was about one name.
fn only<T>(results: PerName<T>, what: &str) -> Result<T> {
    match results.into_iter().next() {
        Some((_, result)) => result,
        None => Err(ClientError::Malformed {
            what: format!("{what} response"),
            broker: "the broker".to_string(),
            cause: "it has no result".to_string(),
        }),
    }
}

#[cfg(test)]
mod tests;
