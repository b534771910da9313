//! Which replica serves which reader: followers read from the leader alone, consumers since KIP-392 from the replica that is nearest to them.

use protocol::types::Offset;

use super::Fetch;
use crate::fetch_sessions::Wanted;
use crate::metadata::Image;
use crate::replica_manager::HostedPartition;

/// First version in which a consumer says where it is, and may be served by a follower (KIP-392).
const FOLLOWERS_SERVE_FROM: i16 = 11;

/// `replica_id` of a consumer.
const CONSUMER: i32 = -1;
/// `replica_id` of a tool that compares replicas, and is served by each (Kafka `FetchRequest.DEBUGGING_CONSUMER_ID`).
const DEBUGGING_CONSUMER: i32 = -2;

impl Fetch {
    pub(super) fn is_follower(&self) -> bool {
        self.replica_id >= 0
    }

    /// Whether only the partition's leader may answer: followers copy from nobody else, and old consumers know of no other.
    pub(super) fn leader_only(&self) -> bool {
        self.is_follower() || (self.replica_id != DEBUGGING_CONSUMER && self.context.version < FOLLOWERS_SERVE_FROM)
    }

    /// Whether a follower lacks nothing: it has all there is, and is in sync. One that is out of sync is looked at with every fetch, which is what brings it back.
    pub(super) fn is_settled(&self, hosted: &HostedPartition, wanted: &Wanted) -> bool {
        self.is_follower()
            && hosted.log().log_end_offset().0 <= wanted.fetch_offset
            && hosted.is_in_sync(self.replica_id)
    }

    /// The follower that a consumer had better read from: in sync, in the consumer's rack where the leader is not, and with the offset it wants; of several the one that has
    /// most (Kafka `RackAwareReplicaSelector`).
    pub(super) fn nearer_replica(&self, image: &Image, hosted: &HostedPartition, wanted: &Wanted) -> Option<i32> {
        let selects = self.broker.config.rack_aware_selector
            && self.replica_id == CONSUMER
            && self.context.version >= FOLLOWERS_SERVE_FROM
            && !self.rack.is_empty();
        if !selects {
            return None;
        }
        let is_near =
            |broker: i32| image.brokers.get(&broker).and_then(|broker| broker.rack.as_deref()) == Some(&*self.rack);
        if is_near(self.broker.id) {
            return None;
        }
        let replicas = hosted.in_sync_with(Offset(wanted.fetch_offset)).into_iter();
        let near = replicas.filter(|(broker, _)| is_near(*broker));
        near.max_by_key(|(broker, log_end)| (*log_end, std::cmp::Reverse(*broker))).map(|(broker, _)| broker)
    }

    /// Whether a follower must wait: it is out of sync, its partition is throttled, and this second's bytes are spent (KIP-73).
    pub(super) fn is_throttled(&self, hosted: &HostedPartition) -> bool {
        self.is_follower()
            && self.is_of_throttled(hosted)
            && !hosted.is_in_sync(self.replica_id)
            && self.broker.replicas.leader_throttle().is_exhausted()
    }

    /// Whether what is sent of a partition counts among the throttled bytes.
    pub(super) fn is_of_throttled(&self, hosted: &HostedPartition) -> bool {
        hosted.config().leader_throttled.contains(hosted.partition().partition, self.broker.id)
    }
}
