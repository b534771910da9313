//! DeleteTopics: asks for the deletion in the tree and waits until the topic is gone.

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::delete_topics::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use protocol::types::Uuid;
use protocol::wire::Str;
use runtime::clock::Instant;

use super::RequestContext;
use super::refused::{Refused, not_controller, timeout, tree_error};
use crate::controller::topics::request_deletion;
use crate::state::BrokerState;

/// First version with TOPIC_DELETION_DISABLED.
const DELETION_DISABLED_FROM: i16 = 3;

/// Deletes topics one by one.
pub async fn handle(
    broker: Arc<BrokerState>,
    context: RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let deadline = broker.clock.now() + timeout(request.timeout_ms);
    let by_name = request.topic_names.into_iter().map(|name| (Some(name), Uuid::ZERO));
    let by_state = request.topics.into_iter().map(|topic| (topic.name, topic.topic_id));
    let asked: Vec<(Option<Str>, Uuid)> = by_name.chain(by_state).collect();
    let mut responses = Vec::with_capacity(asked.len());
    for (name, id) in asked {
        // Only the controller says what there is to delete.
        let found = if broker.office.is_held() { find(&broker, name.as_ref(), id) } else { Err(not_controller()) };
        let (name, topic_id) = match &found {
            Ok((name, id)) => (Some(name.clone()), *id),
            Err(_) => (name, id),
        };
        let deleted = match found {
            Ok((name, _)) => delete(&broker, context.version, &name, deadline).await,
            Err(refused) => Err(refused),
        };
        let (code, message) = match deleted {
            Ok(()) => (ErrorCode::NONE, None),
            Err((code, message)) => (code, Some(Str::from(message))),
        };
        responses.push(DeletableTopicResult { name, topic_id, error_code: code.0, error_message: message });
    }
    DeleteTopicsResponse { responses, ..Default::default() }
}

fn find(broker: &BrokerState, name: Option<&Str>, id: Uuid) -> Result<(Str, Uuid), Refused> {
    let image = broker.metadata.image();
    match name {
        Some(_) if id != Uuid::ZERO => {
            Err((ErrorCode::INVALID_REQUEST, "Topic name and topic ID can not both be specified.".to_owned()))
        }
        Some(name) => match image.topic(name) {
            Some(topic) => Ok((Str::from(&*topic.name), topic.id)),
            None => {
                Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.message().to_owned()))
            }
        },
        None => match image.topic_by_id(id) {
            Some(topic) => Ok((Str::from(&*topic.name), topic.id)),
            None => Err((ErrorCode::UNKNOWN_TOPIC_ID, ErrorCode::UNKNOWN_TOPIC_ID.message().to_owned())),
        },
    }
}

async fn delete(broker: &BrokerState, version: i16, name: &str, deadline: Instant) -> Result<(), Refused> {
    if !broker.config.delete_topics {
        let code = if version < DELETION_DISABLED_FROM {
            ErrorCode::INVALID_REQUEST
        } else {
            ErrorCode::TOPIC_DELETION_DISABLED
        };
        return Err((code, "Topic deletion is disabled.".to_owned()));
    }
    request_deletion(&broker.zookeeper.session(), name).await.map_err(|error| tree_error(&error))?;
    match broker.metadata.wait_until(broker.clock, deadline, |image| image.topic(name).is_none()).await {
        Some(_) => Ok(()),
        None => {
            Err((ErrorCode::REQUEST_TIMED_OUT, "The topic is marked for deletion, but is not gone yet.".to_owned()))
        }
    }
}
