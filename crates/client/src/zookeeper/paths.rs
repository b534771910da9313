//! The path of every znode Kafka keeps, from 0.8 to 3.9 (Kafka: `ZkUtils`, `ZkData`). What is written there: [`super::znodes`].

use protocol::types::BrokerId;

/// Live brokers, one ephemeral child each.
pub const BROKER_IDS: &str = "/brokers/ids";
/// Topics, one child each.
pub const BROKER_TOPICS: &str = "/brokers/topics";
/// The root of both.
pub const BROKERS: &str = "/brokers";
/// Counter for broker ids given by ZooKeeper: the version of its data.
pub const BROKER_SEQUENCE_ID: &str = "/brokers/seqid";
/// Who is controller; ephemeral.
pub const CONTROLLER: &str = "/controller";
/// How often that changed; fences every write of a controller.
pub const CONTROLLER_EPOCH: &str = "/controller_epoch";
/// Groups of ZooKeeper consumers.
pub const CONSUMERS: &str = "/consumers";
/// Dynamic configuration.
pub const CONFIG: &str = "/config";
/// Notices that some of it changed.
pub const CONFIG_CHANGES: &str = "/config/changes";
/// Prefix of the sequential nodes below [`CONFIG_CHANGES`].
pub const CONFIG_CHANGE_PREFIX: &str = "config_change_";
/// What administrators ask of the controller.
pub const ADMIN: &str = "/admin";
/// Topics to delete, one child each.
pub const DELETE_TOPICS: &str = "/admin/delete_topics";
/// Partitions to move.
pub const REASSIGN_PARTITIONS: &str = "/admin/reassign_partitions";
/// Partitions to lead by their first replica.
pub const PREFERRED_REPLICA_ELECTION: &str = "/admin/preferred_replica_election";
/// Notices that in-sync replicas changed (0.9 to 2.6).
pub const ISR_CHANGE_NOTIFICATION: &str = "/isr_change_notification";
/// Prefix of the sequential nodes below it.
pub const ISR_CHANGE_PREFIX: &str = "isr_change_";
/// Notices that a log directory failed (1.0).
pub const LOG_DIR_EVENT_NOTIFICATION: &str = "/log_dir_event_notification";
/// Prefix of the sequential nodes below it.
pub const LOG_DIR_EVENT_PREFIX: &str = "log_dir_event_";
/// The cluster's id (0.10.1).
pub const CLUSTER_ID: &str = "/cluster/id";
/// Producer ids given out last.
pub const LATEST_PRODUCER_ID_BLOCK: &str = "/latest_producer_id_block";
/// The last epoch of each broker, which outlives its registration. Ours, not Kafka's.
pub const BROKER_EPOCHS: &str = "/tidemill/broker_epochs";
/// Name of the entity that stands for all those without one of their own.
pub const DEFAULT_ENTITY: &str = "<default>";

/// What a broker creates at start (those of 0.8.2, and of the versions since that their tools expect).
pub const PERSISTENT: &[&str] = &[
    CONSUMERS,
    BROKER_IDS,
    BROKER_TOPICS,
    CONFIG_CHANGES,
    "/config/topics",
    "/config/clients",
    "/config/users",
    "/config/brokers",
    "/config/ips",
    DELETE_TOPICS,
    BROKER_SEQUENCE_ID,
    ISR_CHANGE_NOTIFICATION,
    LATEST_PRODUCER_ID_BLOCK,
    LOG_DIR_EVENT_NOTIFICATION,
];

/// A live broker's registration.
pub fn broker_id(broker: BrokerId) -> String {
    format!("{BROKER_IDS}/{broker}")
}

/// The last epoch a broker registered with: plain text.
pub fn broker_epoch(broker: BrokerId) -> String {
    format!("{BROKER_EPOCHS}/{broker}")
}

/// A topic's replica assignment.
pub fn topic(topic: &str) -> String {
    format!("{BROKER_TOPICS}/{topic}")
}

/// The parent of a topic's partitions; there once its controller has acted.
pub fn topic_partitions(topic: &str) -> String {
    format!("{BROKER_TOPICS}/{topic}/partitions")
}

/// One partition, the parent of its state.
pub fn topic_partition(topic: &str, partition: i32) -> String {
    format!("{BROKER_TOPICS}/{topic}/partitions/{partition}")
}

/// Leader and in-sync replicas of a partition.
pub fn partition_state(topic: &str, partition: i32) -> String {
    format!("{BROKER_TOPICS}/{topic}/partitions/{partition}/state")
}

/// What a path below `/brokers` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokersPath<'a> {
    /// A live broker.
    Broker(BrokerId),
    /// A topic's assignment.
    Topic(&'a str),
    /// A partition's state.
    PartitionState(&'a str, i32),
    /// Anything else: a parent, or not Kafka's.
    Other,
}

/// Reads a path below `/brokers`, as events of a recursive watch name it.
pub fn parse_brokers_path(path: &str) -> BrokersPath<'_> {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["", "brokers", "ids", id] => id.parse().map_or(BrokersPath::Other, |id| BrokersPath::Broker(BrokerId(id))),
        ["", "brokers", "topics", topic] => BrokersPath::Topic(topic),
        ["", "brokers", "topics", topic, "partitions", partition, "state"] => {
            partition.parse().map_or(BrokersPath::Other, |partition| BrokersPath::PartitionState(topic, partition))
        }
        _ => BrokersPath::Other,
    }
}

/// The configuration of one entity; `kind` is `topics`, `clients`, `users`, `brokers` or `ips`.
pub fn config_entity(kind: &str, name: &str) -> String {
    format!("{CONFIG}/{kind}/{name}")
}

/// The parent of all configurations of a kind.
pub fn config_kind(kind: &str) -> String {
    format!("{CONFIG}/{kind}")
}

/// A topic's configuration.
pub fn topic_config(topic: &str) -> String {
    config_entity("topics", topic)
}

/// What a config change notice is created as; the server appends the counter.
pub fn config_change() -> String {
    format!("{CONFIG_CHANGES}/{CONFIG_CHANGE_PREFIX}")
}

/// What an ISR change notice is created as.
pub fn isr_change() -> String {
    format!("{ISR_CHANGE_NOTIFICATION}/{ISR_CHANGE_PREFIX}")
}

/// A request to delete a topic.
pub fn delete_topic(topic: &str) -> String {
    format!("{DELETE_TOPICS}/{topic}")
}

/// A group of ZooKeeper consumers.
pub fn consumer_group(group: &str) -> String {
    format!("{CONSUMERS}/{group}")
}

/// Its members, one ephemeral child each.
pub fn consumer_ids(group: &str) -> String {
    format!("{CONSUMERS}/{group}/ids")
}

/// One member.
pub fn consumer_id(group: &str, consumer: &str) -> String {
    format!("{CONSUMERS}/{group}/ids/{consumer}")
}

/// The parent of all owners of a group.
pub fn consumer_group_owners(group: &str) -> String {
    format!("{CONSUMERS}/{group}/owners")
}

/// The parent of the owners of a topic's partitions. (Kafka's own comment says `owner`; its code says `owners`.)
pub fn consumer_owners(group: &str, topic: &str) -> String {
    format!("{CONSUMERS}/{group}/owners/{topic}")
}

/// The member and thread that reads a partition; ephemeral.
pub fn consumer_owner(group: &str, topic: &str, partition: i32) -> String {
    format!("{CONSUMERS}/{group}/owners/{topic}/{partition}")
}

/// The parent of a group's offsets.
pub fn consumer_offsets(group: &str) -> String {
    format!("{CONSUMERS}/{group}/offsets")
}

/// The parent of a group's offsets in a topic.
pub fn consumer_topic_offsets(group: &str, topic: &str) -> String {
    format!("{CONSUMERS}/{group}/offsets/{topic}")
}

/// The offset a group reads next in a partition.
pub fn consumer_offset(group: &str, topic: &str, partition: i32) -> String {
    format!("{CONSUMERS}/{group}/offsets/{topic}/{partition}")
}

/// The counter the server appended to the name of a sequential node, which may be negative after 2^31 of them.
pub fn sequence(name: &str, prefix: &str) -> Option<i64> {
    name.strip_prefix(prefix)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_brokers_are_told_apart() {
        let check = |path: &str, expected: BrokersPath<'_>| assert_eq!(parse_brokers_path(path), expected, "{path}");
        check(&broker_id(BrokerId(3)), BrokersPath::Broker(BrokerId(3)));
        check(&topic("t"), BrokersPath::Topic("t"));
        check(&partition_state("t", 12), BrokersPath::PartitionState("t", 12));
        check(&topic_partitions("t"), BrokersPath::Other);
        check(&topic_partition("t", 1), BrokersPath::Other);
        check("/brokers/ids/x", BrokersPath::Other);
        check("/brokers/topics/t/partitions/x/state", BrokersPath::Other);
        check(BROKER_SEQUENCE_ID, BrokersPath::Other);
    }

    #[test]
    fn every_fixed_path_is_one_a_znode_can_have() {
        for path in PERSISTENT {
            protocol::zookeeper::path::validate(path).unwrap();
        }
        assert_eq!(consumer_owner("g", "t", 0), "/consumers/g/owners/t/0");
        assert_eq!(sequence("config_change_0000000012", CONFIG_CHANGE_PREFIX), Some(12));
        assert_eq!(sequence("config_change_-2147483648", CONFIG_CHANGE_PREFIX), Some(-2_147_483_648));
        assert_eq!(sequence("other_1", CONFIG_CHANGE_PREFIX), None);
    }
}
