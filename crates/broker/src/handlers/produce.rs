//! Produce: append the batches of a producer, in the order its requests came, and answer when its acks are there.
//!
//! Appending happens at once, before the next request of the connection is looked at; only waiting for acks is put off. So requests that a producer pipelines share
//! replication round trips and syncs, and keep their order.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::error::ErrorCode;
use protocol::messages::Message;
use protocol::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceResponse,
};
use protocol::wire::{Reader, Str, WireError};
use storage::{AppendError, AppendOptions};

use super::refused::timeout;
use super::{RequestContext, Session, ready};
use crate::metadata::image::is_internal;
use crate::network::Answer;
use crate::network::connection::PendingAnswer;
use crate::replica_manager::HostedPartition;
use crate::replica_manager::partition::{AppendRefused, Appended};
use crate::replica_manager::validation::{Prepared, Refusal, prepare};
use crate::state::BrokerState;

/// The client id by which Kafka's own tools may write into internal topics (`AdminUtils.ADMIN_CLIENT_ID`).
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// One partition of a request on its way into the log.
struct Job {
    index: i32,
    step: Step,
}

enum Step {
    /// To be appended: from the frame, patched in place.
    AppendFrame(Arc<HostedPartition>, Range<usize>),
    /// To be appended: rewritten batches.
    Append(Arc<HostedPartition>, Vec<u8>),
    /// In the log; acks may be missing.
    Appended(Arc<HostedPartition>, Appended),
    /// Answered.
    Answered(PartitionProduceResponse),
}

struct TopicJobs {
    name: Str,
    jobs: Vec<Job>,
}

/// Appends what a request holds and answers it, now or once its acks are there. `frame` is the whole frame the reader stands in.
pub fn start(
    broker: &Arc<BrokerState>,
    session: &mut Session,
    context: RequestContext,
    frame: Bytes,
    mut reader: Reader,
) -> Result<Answer, WireError> {
    let request = ProduceRequest::decode(&mut reader, context.version)?;
    drop(reader);
    // Nothing may share the frame when its batches are patched in place.
    let context = context.detached();
    let (acks, limit) = (request.acks, timeout(request.timeout_ms));
    let mut topics = look_at(broker, &context, request, &frame);
    append(broker, acks, &mut topics, frame, session);
    if acks == 0 {
        return Ok(answer_nobody(&topics));
    }
    if !settle_acks(&mut topics) {
        return Ok(wait_for_acks(broker.clone(), context, topics, limit));
    }
    let response = respond(broker, &context, topics);
    Ok(ready(context.respond(&response)))
}

fn jobs(topics: &[TopicJobs]) -> impl Iterator<Item = &Job> {
    topics.iter().flat_map(|topic| &topic.jobs)
}

/// Finds the partitions and looks at the batches. What comes back holds no part of the frame but positions in it.
fn look_at(broker: &BrokerState, context: &RequestContext, request: ProduceRequest, frame: &Bytes) -> Vec<TopicJobs> {
    let image = broker.metadata.image();
    let refused_at_once = match (request.acks, &request.transactional_id) {
        (-1..=1, None) => None,
        (-1..=1, Some(_)) => Some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        _ => Some(ErrorCode::INVALID_REQUIRED_ACKS),
    };
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        // What stands in `__consumer_offsets` is a coordinator's state.
        let is_forbidden = is_internal(&topic.name) && context.client_id() != ADMIN_CLIENT_ID;
        let refused_at_once = refused_at_once.or(is_forbidden.then_some(ErrorCode::INVALID_TOPIC_EXCEPTION));
        let mut jobs = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let records = data.records.unwrap_or_default();
            let found = refused_at_once.map_or_else(|| broker.replicas.find(&image, &topic.name, data.index), Err);
            let step = match found {
                Err(code) => Step::Answered(failed(data.index, code, None)),
                Ok(hosted) => match prepare(&records, context.version, &hosted.config()) {
                    Ok(Prepared::AsSent) => Step::AppendFrame(hosted, position_in(frame, &records)),
                    Ok(Prepared::Rewritten(batches)) => Step::Append(hosted, batches),
                    Ok(Prepared::Nothing) => Step::Answered(PartitionProduceResponse {
                        index: data.index,
                        base_offset: -1,
                        ..Default::default()
                    }),
                    Err(refusal) => Step::Answered(refused(data.index, refusal)),
                },
            };
            jobs.push(Job { index: data.index, step });
        }
        topics.push(TopicJobs { name: Str::from(topic.name.to_string()), jobs });
    }
    topics
}

/// Where a slice of the frame lies in it.
fn position_in(frame: &Bytes, part: &Bytes) -> Range<usize> {
    let start = (part.as_ptr() as usize).wrapping_sub(frame.as_ptr() as usize);
    assert!(
        start <= frame.len() && part.len() <= frame.len() - start,
        "the records of a request are a slice of its frame"
    );
    start..start + part.len()
}

fn append(broker: &BrokerState, acks: i16, topics: &mut [TopicJobs], frame: Bytes, session: &mut Session) {
    let options = AppendOptions::client(broker.clock.now_ms());
    let mut frame = match frame.try_into_mut() {
        Ok(own) => own,
        // Pipelined requests share one buffer; these batches are copied out of it.
        Err(shared) => BytesMut::from(&shared[..]),
    };
    for topic in topics {
        for job in &mut topic.jobs {
            let step = std::mem::replace(&mut job.step, Step::Answered(PartitionProduceResponse::default()));
            job.step = match step {
                Step::AppendFrame(hosted, range) => append_one(hosted, job.index, &mut frame[range], acks, options),
                Step::Append(hosted, mut batches) => append_one(hosted, job.index, &mut batches, acks, options),
                other => other,
            };
        }
    }
    session.give_back(frame);
}

fn append_one(hosted: Arc<HostedPartition>, index: i32, batches: &mut [u8], acks: i16, options: AppendOptions) -> Step {
    let (counters, bytes) = (hosted.counters(), batches.len() as u64);
    counters.total_produce_requests.one();
    let refused = |code: ErrorCode| {
        counters.failed_produce_requests.one();
        if matches!(code, ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE) {
            counters.bytes_rejected.add(bytes);
        }
    };
    match hosted.append(batches, acks, options) {
        Ok(appended) => Step::Appended(hosted, appended),
        Err(AppendRefused::Code(code)) => {
            refused(code);
            Step::Answered(failed(index, code, None))
        }
        Err(AppendRefused::Log(error)) => {
            let code = ErrorCode(error.code());
            refused(code);
            if matches!(&error, AppendError::Storage(problem) if code == ErrorCode::KAFKA_STORAGE_ERROR && !problem.is_of_directory())
            {
                tracing::error!(partition = %hosted.partition(), %error, "append failed");
            }
            let start = hosted.log().log_start_offset().0;
            let mut answer = failed(index, code, Some(error.to_string()));
            if code == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER {
                answer.log_start_offset = start;
            }
            Step::Answered(answer)
        }
    }
}

/// With acks=0 there is no answer: an error is told by closing the connection, as Kafka does.
fn answer_nobody(topics: &[TopicJobs]) -> Answer {
    let failed = jobs(topics).any(|job| matches!(&job.step, Step::Answered(answer) if answer.error_code != 0));
    if failed { Answer::Close } else { Answer::Silent }
}

/// Settles the acks that need no wait. True if none is left.
fn settle_acks(topics: &mut [TopicJobs]) -> bool {
    let mut all = true;
    for topic in topics {
        for job in &mut topic.jobs {
            let Step::Appended(hosted, appended) = &job.step else { continue };
            match hosted.ack_now(appended) {
                Some(Ok(())) => job.step = Step::Answered(succeeded(job.index, appended)),
                Some(Err(code)) => job.step = Step::Answered(failed(job.index, code, None)),
                None => all = false,
            }
        }
    }
    all
}

fn wait_for_acks(
    broker: Arc<BrokerState>,
    context: RequestContext,
    mut topics: Vec<TopicJobs>,
    limit: Duration,
) -> Answer {
    let deadline = broker.clock.now() + limit;
    let flusher = broker.replicas.logs().flusher().clone();
    // Syncs of all partitions are asked for before any is waited for, so that they share the flusher's threads.
    for job in jobs(&topics) {
        if let Step::Appended(hosted, appended) = &job.step {
            hosted.ask_for_flush(appended, &flusher);
        }
    }
    let future = async move {
        for topic in &mut topics {
            for job in &mut topic.jobs {
                let Step::Appended(hosted, appended) = &job.step else { continue };
                let acked = hosted.wait_for_acks(appended, &flusher, deadline).await;
                job.step = Step::Answered(match acked {
                    Ok(()) => succeeded(job.index, appended),
                    Err(code) => failed(job.index, code, None),
                });
            }
        }
        let response = respond(&broker, &context, topics);
        context.respond(&response)
    };
    Answer::Later(PendingAnswer { future: Box::pin(future), next_may_start: true, dropped_on_hang_up: false })
}

fn succeeded(index: i32, appended: &Appended) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        base_offset: appended.info.first_offset.0,
        log_append_time_ms: appended.info.log_append_time,
        log_start_offset: appended.info.log_start_offset.0,
        ..Default::default()
    }
}

fn failed(index: i32, code: ErrorCode, message: Option<String>) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: code.0,
        base_offset: -1,
        error_message: message.map(Str::from),
        ..Default::default()
    }
}

fn refused(index: i32, refusal: Refusal) -> PartitionProduceResponse {
    let record_errors = refusal.records.into_iter().map(|(batch_index, why)| BatchIndexAndErrorMessage {
        batch_index,
        batch_index_error_message: Some(Str::from(why)),
    });
    let record_errors = record_errors.collect();
    PartitionProduceResponse { record_errors, ..failed(index, refusal.code, Some(refusal.message)) }
}

fn respond(broker: &BrokerState, context: &RequestContext, topics: Vec<TopicJobs>) -> ProduceResponse {
    let mut leaders = std::collections::BTreeSet::new();
    let responses = topics.into_iter().map(|topic| {
        let name = topic.name;
        let partition_responses = topic.jobs.into_iter().map(|job| match job.step {
            Step::Answered(mut answer) => {
                if answer.error_code != 0 {
                    broker.requests.error(context.api, ErrorCode(answer.error_code));
                }
                if answer.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER.0 && context.version >= 10 {
                    let (leader_id, leader_epoch) = broker.leader_hint(&name, answer.index);
                    answer.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
                    leaders.insert(leader_id);
                }
                answer
            }
            Step::Appended(_, appended) => succeeded(job.index, &appended),
            Step::AppendFrame(..) | Step::Append(..) => failed(job.index, ErrorCode::UNKNOWN_SERVER_ERROR, None),
        });
        let partition_responses = partition_responses.collect();
        TopicProduceResponse { name, partition_responses }
    });
    let responses = responses.collect();
    let node_endpoints = broker.endpoints_of(&leaders, context.listener);
    let node_endpoints = node_endpoints.into_iter().map(|node| NodeEndpoint {
        node_id: node.id,
        host: node.host,
        port: node.port,
        rack: node.rack,
    });
    ProduceResponse { responses, node_endpoints: node_endpoints.collect(), ..Default::default() }
}
