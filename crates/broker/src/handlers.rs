//! One file per API: request in, response out.
//!
//! A handler parses nothing and writes no bytes. [`start`] cuts the header off a frame, decodes the request its key and version name, and hands it to its handler; what the
//! table of served versions does not name is answered as Kafka answers it: by closing the connection, or for ApiVersions by error 35.
//!
//! # Layout
//! - [`served`]: what is served
//! - [`start`]: frame to handler
//! - one module per API

pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod api_versions;
pub mod authorized_operations;
pub mod broker_loggers;
pub mod controlled_shutdown;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
mod refused;
pub mod sync_group;

use std::future::Future;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use protocol::api::{ApiKey, RequestHeader};
use protocol::frame::decode_request_header;
use protocol::messages::api_versions::ApiVersionsRequest;
use protocol::messages::{Message, Request};
use protocol::strangers::{self, Stranger};
use protocol::wire::{Reader, Str, WireError};
use tracing::warn;

use crate::network::connection::PendingAnswer;
use crate::network::frame::advice;
use crate::network::{Answer, FileSlice, Response};
use crate::state::BrokerState;

/// What is known about one connection.
#[derive(Debug)]
pub struct Session {
    /// Number of the listener it came in on.
    pub listener: usize,
    /// The other side.
    pub peer: SocketAddr,
    /// Name and version that the client gave itself (KIP-511).
    pub software: Option<(String, String)>,
    /// A buffer that the last request needs no more.
    spare: Option<BytesMut>,
}

impl Session {
    /// A connection that has said nothing yet.
    #[must_use]
    pub fn new(listener: usize, peer: SocketAddr) -> Session {
        Session { listener, peer, software: None, spare: None }
    }

    /// Gives a buffer back to the connection it came from.
    pub fn give_back(&mut self, buffer: BytesMut) {
        self.spare = Some(buffer);
    }

    /// The buffer that was given back.
    pub fn take_back(&mut self) -> Option<BytesMut> {
        self.spare.take()
    }
}

/// What a handler knows about a request besides its body.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Number of the listener it came in on.
    pub listener: usize,
    /// The other side.
    pub peer: SocketAddr,
    /// What is asked.
    pub api: ApiKey,
    /// In which version.
    pub version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// Name the client gives itself.
    pub client_id: Option<Str>,
}

impl RequestContext {
    /// The client's name of itself, or nothing.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or_default()
    }

    /// The host of the client as group descriptions show it: `/127.0.0.1`.
    #[must_use]
    pub fn client_host(&self) -> String {
        format!("/{}", self.peer.ip().to_canonical())
    }

    /// The same, but keeping no part of the request's frame alive.
    #[must_use]
    pub fn detached(self) -> RequestContext {
        let client_id = self.client_id.as_ref().map(|id| Str::from(id.to_string()));
        RequestContext { client_id, ..self }
    }

    /// Encodes a response without file slices.
    pub fn respond<M: Message>(&self, body: &M) -> Option<Response> {
        self.respond_with_files(body, Vec::new())
    }

    /// Encodes a response whose gaps are filled with `files`. A response that its version cannot carry is a mistake of ours: it is logged, and the connection closed,
    /// which is what the client can make most of.
    pub fn respond_with_files<M: Message>(&self, body: &M, files: Vec<FileSlice>) -> Option<Response> {
        match Response::encode(self.api, self.version, self.correlation_id, body, files) {
            Ok(response) => Some(response),
            Err(error) => {
                tracing::error!(api = %self.api, version = self.version, %error, "cannot encode a response");
                None
            }
        }
    }
}

/// The versions served of an API; none for an API that is not served. It never reaches beyond the message table.
#[must_use]
pub fn served(api: ApiKey) -> Option<RangeInclusive<i16>> {
    match api {
        ApiKey::AlterConfigs
        | ApiKey::AlterPartitionReassignments
        | ApiKey::ApiVersions
        | ApiKey::ControlledShutdown
        | ApiKey::CreateAcls
        | ApiKey::CreatePartitions
        | ApiKey::CreateTopics
        | ApiKey::DeleteAcls
        | ApiKey::DeleteGroups
        | ApiKey::DeleteRecords
        | ApiKey::DeleteTopics
        | ApiKey::DescribeAcls
        | ApiKey::DescribeCluster
        | ApiKey::DescribeConfigs
        | ApiKey::DescribeGroups
        | ApiKey::DescribeLogDirs
        | ApiKey::DescribeProducers
        | ApiKey::ElectLeaders
        | ApiKey::Fetch
        | ApiKey::FindCoordinator
        | ApiKey::Heartbeat
        | ApiKey::IncrementalAlterConfigs
        | ApiKey::InitProducerId
        | ApiKey::JoinGroup
        | ApiKey::LeaveGroup
        | ApiKey::ListGroups
        | ApiKey::ListOffsets
        | ApiKey::ListPartitionReassignments
        | ApiKey::Metadata
        | ApiKey::OffsetCommit
        | ApiKey::OffsetDelete
        | ApiKey::OffsetFetch
        | ApiKey::OffsetForLeaderEpoch
        | ApiKey::Produce
        | ApiKey::SyncGroup => Some(api.versions()),
        _ => None,
    }
}

/// Starts the request of one frame.
pub fn start(broker: &Arc<BrokerState>, session: &mut Session, frame: Bytes) -> Answer {
    let (header, reader) = match decode_request_header(frame.clone()) {
        Ok(decoded) => decoded,
        Err(error) => return refuse(broker, session, None, &error.to_string()),
    };
    let Some(api) = header.api() else { return refuse(broker, session, Some(&header), "unknown api key") };
    if (header.api_key, header.api_version) == (0, 0) && strangers::is_zookeeper_session(&frame) {
        let who = Stranger::ZooKeeperClient;
        return refuse(broker, session, None, &format!("it looks like {who}; {}", advice(who)));
    }
    let context = RequestContext {
        listener: session.listener,
        peer: session.peer,
        api,
        version: header.api_version,
        correlation_id: header.correlation_id,
        client_id: header.client_id.clone(),
    };
    if !served(api).is_some_and(|versions| versions.contains(&header.api_version)) {
        if api == ApiKey::ApiVersions {
            let context = RequestContext { version: 0, ..context };
            return ready(context.respond(&api_versions::unsupported_version()));
        }
        return refuse(broker, session, Some(&header), "this version is not served");
    }
    let api_version = header.api_version;
    broker.requests.request(api, api_version);
    drop(header);
    dispatch(broker, session, context, frame, reader)
        .unwrap_or_else(|error| refuse(broker, session, None, &format!("{api} v{api_version}: {error}")))
}

fn dispatch(
    broker: &Arc<BrokerState>,
    session: &mut Session,
    context: RequestContext,
    frame: Bytes,
    mut reader: Reader,
) -> Result<Answer, WireError> {
    let reader = &mut reader;
    let version = context.version;
    match context.api {
        ApiKey::Produce => {
            produce::start(broker, session, context, frame, std::mem::replace(reader, Reader::new(Bytes::new())))
        }
        ApiKey::Fetch => fetch::start(broker, context, reader),
        ApiKey::ListOffsets => later(broker, context, reader, list_offsets::handle),
        ApiKey::Metadata => now(broker, &context, reader, metadata::handle),
        ApiKey::ApiVersions => {
            let request = ApiVersionsRequest::decode(reader, version)?;
            Ok(ready(context.respond(&api_versions::handle(session, version, &request))))
        }
        ApiKey::ControlledShutdown => later(broker, context, reader, controlled_shutdown::handle),
        ApiKey::CreateTopics => later(broker, context, reader, create_topics::handle),
        ApiKey::DeleteTopics => later(broker, context, reader, delete_topics::handle),
        ApiKey::DeleteRecords => later(broker, context, reader, delete_records::handle),
        ApiKey::InitProducerId => later(broker, context, reader, init_producer_id::handle),
        ApiKey::OffsetForLeaderEpoch => now(broker, &context, reader, offset_for_leader_epoch::handle),
        ApiKey::DescribeAcls => now(broker, &context, reader, |_, _, request| describe_acls::handle(request)),
        ApiKey::CreateAcls => now(broker, &context, reader, |_, _, request| create_acls::handle(request)),
        ApiKey::DeleteAcls => now(broker, &context, reader, |_, _, request| delete_acls::handle(request)),
        ApiKey::DescribeConfigs => now(broker, &context, reader, describe_configs::handle),
        ApiKey::AlterConfigs => later(broker, context, reader, alter_configs::handle),
        ApiKey::DescribeLogDirs => later(broker, context, reader, describe_log_dirs::handle),
        ApiKey::CreatePartitions => later(broker, context, reader, create_partitions::handle),
        ApiKey::ElectLeaders => later(broker, context, reader, elect_leaders::handle),
        ApiKey::IncrementalAlterConfigs => later(broker, context, reader, alter_configs::handle_incremental),
        ApiKey::AlterPartitionReassignments => later(broker, context, reader, alter_partition_reassignments::handle),
        ApiKey::ListPartitionReassignments => now(broker, &context, reader, list_partition_reassignments::handle),
        ApiKey::DescribeCluster => now(broker, &context, reader, describe_cluster::handle),
        ApiKey::DescribeProducers => now(broker, &context, reader, describe_producers::handle),
        ApiKey::FindCoordinator => later(broker, context, reader, find_coordinator::handle),
        ApiKey::JoinGroup => later(broker, context, reader, join_group::handle),
        ApiKey::SyncGroup => later(broker, context, reader, sync_group::handle),
        ApiKey::Heartbeat => now(broker, &context, reader, heartbeat::handle),
        ApiKey::LeaveGroup => now(broker, &context, reader, leave_group::handle),
        ApiKey::OffsetCommit => later(broker, context, reader, offset_commit::handle),
        ApiKey::OffsetFetch => later(broker, context, reader, offset_fetch::handle),
        ApiKey::DescribeGroups => now(broker, &context, reader, describe_groups::handle),
        ApiKey::ListGroups => now(broker, &context, reader, list_groups::handle),
        ApiKey::DeleteGroups => later(broker, context, reader, delete_groups::handle),
        ApiKey::OffsetDelete => later(broker, context, reader, offset_delete::handle),
        // `served` names no other.
        _ => Ok(Answer::Close),
    }
}

/// An answer that is there already.
fn ready(response: Option<Response>) -> Answer {
    response.map_or(Answer::Close, Answer::Ready)
}

/// Answers with what a handler returns at once.
fn now<R: Request>(
    broker: &Arc<BrokerState>,
    context: &RequestContext,
    reader: &mut Reader,
    handle: impl FnOnce(&Arc<BrokerState>, &RequestContext, R) -> R::Response,
) -> Result<Answer, WireError> {
    let request = R::decode(reader, context.version)?;
    Ok(ready(context.respond(&handle(broker, context, request))))
}

/// Answers with what an asynchronous handler returns; the next request of the connection waits for it.
fn later<R, F>(
    broker: &Arc<BrokerState>,
    context: RequestContext,
    reader: &mut Reader,
    handle: impl FnOnce(Arc<BrokerState>, RequestContext, R) -> F,
) -> Result<Answer, WireError>
where
    R: Request,
    F: Future<Output = R::Response> + Send + 'static,
    R::Response: Send + Sync,
{
    let request = R::decode(reader, context.version)?;
    let future = handle(broker.clone(), context.clone(), request);
    Ok(Answer::Later(PendingAnswer {
        future: Box::pin(async move { context.respond(&future.await) }),
        next_may_start: false,
        dropped_on_hang_up: false,
    }))
}

/// Kafka closes the connection on a request it cannot read; so do we, with one line of why.
fn refuse(broker: &BrokerState, session: &Session, header: Option<&RequestHeader>, why: &str) -> Answer {
    broker.requests.refused.one();
    let (api, version, client_id) = header.map_or((None, None, None), |header| {
        (Some(header.api_key), Some(header.api_version), header.client_id.as_deref())
    });
    warn!(peer = %session.peer, api, version, client_id, "closing connection: cannot serve its request: {why}");
    Answer::Close
}
