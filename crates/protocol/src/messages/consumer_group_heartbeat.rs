//! ConsumerGroupHeartbeat, all versions.

use crate::messages::table::messages;
use crate::types::Uuid;
use crate::wire::Str;

messages! {
    api ConsumerGroupHeartbeat: ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse, versions 0..=0, flexible 0..;

    struct ConsumerGroupHeartbeatRequest {
        group_id: Str, versions 0..;
        member_id: Str, versions 0..;
        member_epoch: i32, versions 0..;
        instance_id: Option<Str>, versions 0..;
        rack_id: Option<Str>, versions 0..;
        rebalance_timeout_ms: i32 = -1, versions 0..;
        subscribed_topic_names: Option<Vec<Str>>, versions 0..;
        server_assignor: Option<Str>, versions 0..;
        topic_partitions: Option<Vec<TopicPartitions>>, versions 0..;
    }

    struct TopicPartitions {
        topic_id: Uuid, versions 0..;
        partitions: Vec<i32>, versions 0..;
    }

    struct ConsumerGroupHeartbeatResponse {
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        error_message: Option<Str>, versions 0..;
        member_id: Option<Str>, versions 0..;
        member_epoch: i32, versions 0..;
        heartbeat_interval_ms: i32, versions 0..;
        assignment: Option<Assignment>, versions 0..;
    }

    struct Assignment {
        topic_partitions: Vec<TopicPartitions>, versions 0..;
    }
}
