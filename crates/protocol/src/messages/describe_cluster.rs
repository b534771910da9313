//! DescribeCluster: id, controller and brokers of the cluster (KIP-700).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeCluster: DescribeClusterRequest => DescribeClusterResponse, versions 0..=1, flexible 0..;

    /// What is asked.
    struct DescribeClusterRequest {
        include_cluster_authorized_operations: bool, versions 0..;
        /// 1 brokers, 2 controllers.
        endpoint_type: i8 = 1, versions 1..;
    }

    /// What is answered.
    struct DescribeClusterResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str>, versions 0..;
        /// 1 brokers, 2 controllers.
        endpoint_type: i8 = 1, versions 1..;
        cluster_id: Str, versions 0..;
        /// -1 is no controller.
        controller_id: i32 = -1, versions 0..;
        brokers: Vec<DescribeClusterBroker>, versions 0..;
        /// Bits by AclOperation code; `i32::MIN` if not asked for.
        cluster_authorized_operations: i32 = i32::MIN, versions 0..;
    }

    /// A broker.
    struct DescribeClusterBroker {
        broker_id: i32, versions 0..;
        host: Str, versions 0..;
        port: i32, versions 0..;
        rack: Option<Str>, versions 0..;
    }
}
