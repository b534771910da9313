//! What a client may do, as bits by `AclOperation` code (KIP-430). Where no authorizer is set nothing is forbidden, so that is each operation the resource knows
//! (`AclEntry.supportedOperations` of Kafka).

const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;
const CREATE: i32 = 1 << 5;
const DELETE: i32 = 1 << 6;
const ALTER: i32 = 1 << 7;
const DESCRIBE: i32 = 1 << 8;
const CLUSTER_ACTION: i32 = 1 << 9;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
const ALTER_CONFIGS: i32 = 1 << 11;
const IDEMPOTENT_WRITE: i32 = 1 << 12;

/// On the cluster.
pub const CLUSTER: i32 =
    CREATE | CLUSTER_ACTION | DESCRIBE_CONFIGS | ALTER_CONFIGS | IDEMPOTENT_WRITE | ALTER | DESCRIBE;
/// On a consumer group.
pub const GROUP: i32 = READ | DESCRIBE | DELETE;
/// On a topic.
pub const TOPIC: i32 = READ | WRITE | CREATE | DESCRIBE | DELETE | ALTER | DESCRIBE_CONFIGS | ALTER_CONFIGS;

/// The answer to one who may not have asked.
#[must_use]
pub fn told(asked: bool, operations: i32) -> i32 {
    if asked { operations } else { i32::MIN }
}
