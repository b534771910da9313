//! FindCoordinator: which broker serves a group. 0.8.2 calls it ConsumerMetadata.
//!
//! The first question creates `__consumer_offsets`.

use std::sync::Arc;
use std::time::Duration;

use protocol::error::ErrorCode;
use protocol::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use protocol::wire::Str;

use super::RequestContext;
use super::create_topics::create_on_demand;
use crate::metadata::image::OFFSETS_TOPIC;
use crate::state::{BrokerState, Node};

/// From here on the request names several keys (KIP-699).
const KEYS_FROM: i16 = 4;
/// Key type of groups.
const GROUP: i8 = 0;
/// Key type of transactional ids.
const TRANSACTION: i8 = 1;
/// How long the first question waits for `__consumer_offsets` to come into being; clients ask again after an error, but some of them late.
const TOPIC_WAIT: Duration = Duration::from_secs(2);

/// Why there is no coordinator, with a text for people.
type Refused = (ErrorCode, &'static str);

/// Finds coordinators.
pub async fn handle(
    broker: Arc<BrokerState>,
    context: RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let keys =
        if context.version >= KEYS_FROM { &request.coordinator_keys[..] } else { std::slice::from_ref(&request.key) };
    if request.key_type == GROUP && broker.metadata.image().topic(OFFSETS_TOPIC).is_none() {
        create_offsets_topic(&broker).await;
    }
    let mut found = keys.iter().map(|key| coordinator(key, find(&broker, &context, request.key_type, key)));
    if context.version >= KEYS_FROM {
        return FindCoordinatorResponse { coordinators: found.collect(), ..Default::default() };
    }
    let found = found.next().unwrap_or_default();
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}

async fn create_offsets_topic(broker: &Arc<BrokerState>) {
    // Who asks next hears how it went.
    create_on_demand(broker, OFFSETS_TOPIC);
    let deadline = broker.clock.now() + TOPIC_WAIT;
    broker.metadata.wait_until(broker.clock, deadline, |image| image.is_led(OFFSETS_TOPIC)).await;
}

fn find(broker: &BrokerState, context: &RequestContext, key_type: i8, key: &str) -> Result<Node, Refused> {
    match key_type {
        GROUP => {}
        // Not a retriable error: a producer would ask for ever.
        TRANSACTION => {
            return Err((ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "transactions are not served"));
        }
        _ => return Err((ErrorCode::INVALID_REQUEST, "this type of coordinator is not known")),
    }
    let unavailable = (ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::COORDINATOR_NOT_AVAILABLE.message());
    let partition = broker.groups.partition_of(key).ok_or(unavailable)?;
    let (leader, _) = broker.leader_hint(OFFSETS_TOPIC, partition);
    broker.nodes(context.listener).into_iter().find(|node| node.id == leader).ok_or(unavailable)
}

fn coordinator(key: &Str, found: Result<Node, Refused>) -> Coordinator {
    match found {
        Ok(node) => Coordinator {
            key: key.clone(),
            node_id: node.id,
            host: node.host,
            port: node.port,
            error_code: 0,
            error_message: Some(Str::default()),
        },
        Err((code, text)) => Coordinator {
            key: key.clone(),
            node_id: -1,
            host: Str::default(),
            port: -1,
            error_code: code.0,
            error_message: Some(Str::from_static(text)),
        },
    }
}
