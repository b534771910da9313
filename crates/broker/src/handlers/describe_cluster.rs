//! DescribeCluster: who is in the cluster (KIP-700).

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};
use protocol::wire::Str;

use super::{RequestContext, authorized_operations};
use crate::state::BrokerState;

/// `endpoint_type` of brokers; controllers of KRaft, which we are not, are 2 (KIP-919).
const BROKERS: i8 = 1;

/// Answers from the image.
pub fn handle(
    broker: &Arc<BrokerState>,
    context: &RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return DescribeClusterResponse {
            error_code: ErrorCode::UNSUPPORTED_ENDPOINT_TYPE.0,
            error_message: Some(Str::from_static("this is a broker, and no KRaft controller")),
            endpoint_type: request.endpoint_type,
            ..Default::default()
        };
    }
    let image = broker.metadata.image();
    let nodes = broker.nodes(context.listener).into_iter();
    DescribeClusterResponse {
        cluster_id: Str::from(broker.cluster_id.as_str()),
        controller_id: image.controller.unwrap_or(-1),
        brokers: nodes
            .map(|node| DescribeClusterBroker { broker_id: node.id, host: node.host, port: node.port, rack: node.rack })
            .collect(),
        cluster_authorized_operations: authorized_operations::told(
            request.include_cluster_authorized_operations,
            authorized_operations::CLUSTER,
        ),
        ..Default::default()
    }
}
