//! Leaving the cluster in good order: the controller is asked to give this broker's leaderships to others while it still serves (`controlled.shutdown.enable`).

use std::sync::Arc;
use std::time::Duration;

use client::kafka::config::HostPort;
use client::kafka::{ClientConfig, ask_once};
use client::zookeeper::SessionState;
use protocol::error::ErrorCode;
use protocol::messages::controlled_shutdown::{ControlledShutdownRequest, ControlledShutdownResponse};
use tracing::{info, warn};

use crate::handlers::controlled_shutdown::hand_over;
use crate::metadata::Image;
use crate::state::BrokerState;

/// Longest wait for one answer of the controller (`controller.socket.timeout.ms` of Kafka).
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Pause before another controller is asked: while an old one has just gone, the next is elected.
const OTHER_CONTROLLER_PAUSE: Duration = Duration::from_millis(200);

/// Asks until nothing is left that another broker could lead, or as often as `controlled.shutdown.max.retries` says.
pub(super) async fn leave(state: &Arc<BrokerState>) {
    let started = state.clock.now();
    for attempt in 0..=state.config.controlled_shutdown_retries {
        let image = state.metadata.image();
        // Without ZooKeeper no controller can hand anything over.
        let is_connected = state.zookeeper.status().state == SessionState::SyncConnected;
        if !is_wanted(&image, state.id) || !state.zookeeper.is_heard() || (attempt > 0 && !is_connected) {
            return;
        }
        let pause = match ask(state).await {
            Ok(answer) if answer.error_code == ErrorCode::NONE.0 && answer.remaining_partitions.is_empty() => {
                info!(elapsed_ms = (state.clock.now() - started).as_millis(), "handed over");
                return;
            }
            Ok(answer) if answer.error_code == ErrorCode::NONE.0 => {
                warn!(
                    attempt,
                    partitions = answer.remaining_partitions.len(),
                    "partitions are left that nobody else who is in sync can lead"
                );
                state.config.controlled_shutdown_backoff
            }
            Ok(answer) if answer.error_code == ErrorCode::NOT_CONTROLLER.0 => OTHER_CONTROLLER_PAUSE,
            Err(why) if state.metadata.image().controller != image.controller => {
                info!("the controller has gone: {why}");
                OTHER_CONTROLLER_PAUSE
            }
            Ok(answer) => {
                warn!(attempt, "the controller does not hand over: {}", ErrorCode(answer.error_code).message());
                state.config.controlled_shutdown_backoff
            }
            Err(why) => {
                warn!(attempt, "cannot ask the controller to hand over: {why}");
                state.config.controlled_shutdown_backoff
            }
        };
        if attempt < state.config.controlled_shutdown_retries {
            // Another controller may be elected meanwhile, or the others may go, and nobody is left to hand over to.
            let deadline = state.clock.now() + pause;
            let is_news = |now: &Image| {
                !is_wanted(now, state.id) || now.controller.is_some_and(|id| Some(id) != image.controller)
            };
            state.metadata.wait_until(state.clock, deadline, is_news).await;
        }
    }
    warn!("stopping without having handed everything over");
}

/// Whether there is anything to hand over, and anybody to take it.
fn is_wanted(image: &Image, id: i32) -> bool {
    let others = image.brokers.values().any(|broker| broker.id != id && !broker.shutting_down);
    let holds = |topic: &crate::metadata::Topic| {
        topic.partitions.iter().any(|partition| {
            partition.replicas.len() > 1
                && partition.state.as_ref().is_some_and(|state| state.leader == id || state.isr.contains(&id))
        })
    };
    others && image.topics.values().any(|topic| holds(topic))
}

async fn ask(state: &BrokerState) -> Result<ControlledShutdownResponse, String> {
    let image = state.metadata.image();
    let controller = image.controller.and_then(|id| image.brokers.get(&id)).ok_or("there is no controller")?;
    let epoch = image.brokers.get(&state.id).map_or(-1, |own| own.epoch);
    if controller.id == state.id {
        return Ok(hand_over(state, state.id, epoch).await);
    }
    let endpoint = controller
        .endpoint(&state.config.listeners.inter_broker)
        .or(controller.endpoints.first())
        .ok_or("the controller has no address")?;
    let address = HostPort { host: endpoint.host.clone(), port: endpoint.port };
    let config = ClientConfig::new(vec![address.clone()]);
    let request = ControlledShutdownRequest { broker_id: state.id, broker_epoch: epoch };
    tokio::select! {
        biased;
        answer = ask_once(controller.id, &address, &config, &request, state.clock) => answer.map_err(|error| error.to_string()),
        () = state.clock.sleep(ANSWER_LIMIT) => Err("no answer in time".to_owned()),
    }
}
