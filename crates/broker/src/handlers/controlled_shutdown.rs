//! ControlledShutdown: a broker that is about to stop asks the controller to give its leaderships to others.

use std::sync::Arc;
use std::time::Duration;

use client::zookeeper::session::op;
use client::zookeeper::znodes::BrokerRegistration;
use client::zookeeper::{ZkError, paths};
use protocol::error::ErrorCode;
use protocol::messages::controlled_shutdown::{
    ControlledShutdownRequest, ControlledShutdownResponse, RemainingPartition,
};
use protocol::types::BrokerId;
use protocol::wire::Str;

use super::RequestContext;
use crate::controller::{Fence, plan};
use crate::metadata::Image;
use crate::state::BrokerState;

/// How long the controller may take to hand everything over before it answers what is left.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(20);

/// Moves what can be moved, and names what cannot.
pub async fn handle(
    broker: Arc<BrokerState>,
    _context: RequestContext,
    request: ControlledShutdownRequest,
) -> ControlledShutdownResponse {
    hand_over(&broker, request.broker_id, request.broker_epoch).await
}

/// Notes in the tree that a broker of this epoch (-1 for any) is about to stop, which all brokers obey, and waits until the controller's plan has handed over what it can.
pub async fn hand_over(broker: &BrokerState, id: i32, epoch: i64) -> ControlledShutdownResponse {
    let refuse = |code: ErrorCode| ControlledShutdownResponse { error_code: code.0, ..Default::default() };
    let Some(fence) = broker.office.fence() else { return refuse(ErrorCode::NOT_CONTROLLER) };
    let image = broker.metadata.image();
    let Some(leaving) = image.brokers.get(&id) else { return refuse(ErrorCode::BROKER_NOT_AVAILABLE) };
    if epoch >= 0 && epoch < leaving.epoch {
        return refuse(ErrorCode::STALE_BROKER_EPOCH);
    }
    match note(broker, fence, id, leaving.epoch).await {
        Ok(()) => {}
        Err(error) if error.is_no_node() => return refuse(ErrorCode::BROKER_NOT_AVAILABLE),
        Err(error) => {
            tracing::warn!(broker = id, %error, "cannot note that a broker is about to stop");
            let lost = matches!(&error, ZkError::Multi { path, .. } if path == paths::CONTROLLER_EPOCH);
            return refuse(if lost { ErrorCode::NOT_CONTROLLER } else { ErrorCode::UNKNOWN_SERVER_ERROR });
        }
    }
    let deadline = broker.clock.now() + HAND_OVER_LIMIT;
    let is_out = |image: &Image| {
        let noted = image.brokers.get(&id).is_none_or(|leaving| leaving.shutting_down);
        noted && (!broker.office.is_held() || plan::is_handed_over(image))
    };
    broker.metadata.wait_until(broker.clock, deadline, is_out).await;
    if !broker.office.is_held() {
        return refuse(ErrorCode::NOT_CONTROLLER);
    }
    let remaining = plan::still_led(&broker.metadata.image(), id).into_iter();
    ControlledShutdownResponse {
        remaining_partitions: remaining
            .map(|(topic, partition_index)| RemainingPartition { topic_name: Str::from(&*topic), partition_index })
            .collect(),
        ..Default::default()
    }
}

async fn note(broker: &BrokerState, fence: Fence, id: i32, epoch: i64) -> Result<(), ZkError> {
    let session = broker.zookeeper.session();
    let path = paths::broker_id(BrokerId(id));
    let (data, stat) = session.get_data(&path).await?;
    let registration = BrokerRegistration::parse(&path, &data)?;
    if registration.shutting_down || stat.czxid != epoch {
        return Ok(());
    }
    let leaving = BrokerRegistration { shutting_down: true, ..registration };
    session.multi(vec![fence.check(), op::set_data(&path, leaving.to_json(), stat.version)]).await.map(|_| ())
}
