//! ControlledShutdown: a broker that is about to stop asks the controller to give its leaderships to others.

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::controlled_shutdown::{
    ControlledShutdownRequest, ControlledShutdownResponse, RemainingPartition,
};
use protocol::wire::Str;

use super::RequestContext;
use crate::controller::{carry_out, plan};
use crate::state::BrokerState;

/// Moves what can be moved, and names what cannot.
pub async fn handle(
    broker: Arc<BrokerState>,
    _context: RequestContext,
    request: ControlledShutdownRequest,
) -> ControlledShutdownResponse {
    let refuse = |code: ErrorCode| ControlledShutdownResponse { error_code: code.0, ..Default::default() };
    let Some(fence) = broker.office.fence() else { return refuse(ErrorCode::NOT_CONTROLLER) };
    let image = broker.metadata.image();
    let Some(leaving) = image.brokers.get(&request.broker_id) else { return refuse(ErrorCode::BROKER_NOT_AVAILABLE) };
    if request.broker_epoch >= 0 && request.broker_epoch < leaving.epoch {
        return refuse(ErrorCode::STALE_BROKER_EPOCH);
    }
    let moves = plan::hand_over(&image, request.broker_id, fence.epoch);
    if let Err(error) =
        carry_out(&broker.zookeeper.session(), fence, &image, moves.actions, &|_| None, broker.random).await
    {
        tracing::warn!(broker = request.broker_id, %error, "cannot hand over the partitions of a leaving broker");
        return refuse(ErrorCode::UNKNOWN_SERVER_ERROR);
    }
    let remaining = moves.remaining.into_iter();
    ControlledShutdownResponse {
        remaining_partitions: remaining
            .map(|(topic, partition_index)| RemainingPartition { topic_name: Str::from(&*topic), partition_index })
            .collect(),
        ..Default::default()
    }
}
