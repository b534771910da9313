//! InitProducerId: an id for an idempotent producer (KIP-98).

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::RequestContext;
use crate::state::BrokerState;

/// Gives an id with epoch 0. A transactional id gets an error that its producer does not retry: there are no transactions yet, and a producer that waited for them would
/// wait for ever.
pub async fn handle(
    broker: Arc<BrokerState>,
    context: RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refuse =
        |code: ErrorCode| InitProducerIdResponse { error_code: code.0, producer_epoch: -1, ..Default::default() };
    if let Some(transactional_id) = &request.transactional_id {
        tracing::warn!(client_id = context.client_id(), %transactional_id, "refusing a transactional producer: transactions are not served yet");
        return refuse(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    }
    match broker.producer_ids.next().await {
        Ok(producer_id) => InitProducerIdResponse { producer_id, ..Default::default() },
        Err(error) => {
            tracing::warn!(%error, "cannot get producer ids from ZooKeeper");
            refuse(ErrorCode::COORDINATOR_NOT_AVAILABLE)
        }
    }
}
