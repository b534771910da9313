//! DescribeCluster, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeCluster: DescribeClusterRequest => DescribeClusterResponse, versions 0..=1, flexible 0..;

    struct DescribeClusterRequest {
        include_cluster_authorized_operations: bool, versions 0..;
        endpoint_type: i8 = 1, versions 1..;
    }

    struct DescribeClusterResponse {
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        error_message: Option<Str>, versions 0..;
        endpoint_type: i8 = 1, versions 1..;
        cluster_id: Str, versions 0..;
        controller_id: i32 = -1, versions 0..;
        brokers: Vec<DescribeClusterBroker>, versions 0..;
        cluster_authorized_operations: i32 = i32::MIN, versions 0..;
    }

    struct DescribeClusterBroker {
        broker_id: i32, versions 0..;
        host: Str, versions 0..;
        port: i32, versions 0..;
        rack: Option<Str>, versions 0..;
    }
}
