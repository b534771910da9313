//! ConsumerGroupHeartbeat: the one request of the newer group protocol: join, assignment, liveness, leave (KIP-848).

use crate::messages::table::messages;
use crate::types::Uuid;
use crate::wire::Str;

messages! {
    api ConsumerGroupHeartbeat: ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse, versions 0..=0, flexible 0..;

    /// What is asked.
    struct ConsumerGroupHeartbeatRequest {
        group_id: Str, versions 0..;
        member_id: Str, versions 0..;
        /// 0 joins, -1 leaves, -2 leaves for now as a static member.
        member_epoch: i32, versions 0..;
        /// None if it has not changed.
        instance_id: Option<Str>, versions 0..;
        rack_id: Option<Str>, versions 0..;
        /// -1 if it has not changed.
        rebalance_timeout_ms: i32 = -1, versions 0..;
        /// None if it has not changed.
        subscribed_topic_names: Option<Vec<Str>>, versions 0..;
        /// None if it has not changed.
        server_assignor: Option<Str>, versions 0..;
        /// What the member holds; None if it has not changed.
        topic_partitions: Option<Vec<TopicPartitions>>, versions 0..;
    }

    /// Partitions of one topic.
    struct TopicPartitions {
        topic_id: Uuid, versions 0..;
        partitions: Vec<i32>, versions 0..;
    }

    /// What is answered.
    struct ConsumerGroupHeartbeatResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str>, versions 0..;
        member_id: Option<Str>, versions 0..;
        /// Epoch of the member (KIP-848).
        member_epoch: i32, versions 0..;
        heartbeat_interval_ms: i32, versions 0..;
        /// None if it has not changed.
        assignment: Option<Assignment>, versions 0..;
    }

    /// What a member may read.
    struct Assignment {
        topic_partitions: Vec<TopicPartitions>, versions 0..;
    }
}
