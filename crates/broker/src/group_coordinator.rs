//! Consumer groups: the partitions of `__consumer_offsets` that this broker leads, each with the groups it keeps.
//!
//! The rules are those of crate `coordinator`; here is what they lack: the log they are written to and loaded from, the clock, and the requests that wait. Always true: a
//! group is served only while this broker leads its partition, from the end of its loading to the end of that leadership; records reach the log in the order in which the
//! rules gave them out.
//!
//! # Layout
//! - [`shard`]: one partition: its groups, and who waits for them
//! - [`load`]: reading a partition's records
//! - [`task`]: following the metadata, and what is due in time
//! - [`GroupCoordinator`]: which partition serves a group, for the handlers

pub mod load;
pub mod shard;
pub mod task;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coordinator::{Client, GroupConfig, partition_for};
use parking_lot::RwLock;
use protocol::error::ErrorCode;
use runtime::{Clock, Random};
use tokio::sync::Notify;

use crate::config::BrokerConfig;
use crate::handlers::RequestContext;
use crate::metadata::MetadataCache;
use crate::metadata::image::OFFSETS_TOPIC;
use crate::replica_manager::ReplicaManager;
use shard::Shard;

/// The groups this broker coordinates.
pub struct GroupCoordinator {
    config: Arc<GroupConfig>,
    /// `offsets.load.buffer.size`.
    load_buffer_bytes: usize,
    /// `offsets.retention.check.interval.ms`.
    retention_check_interval: Duration,
    writing: shard::Writing,
    replicas: Arc<ReplicaManager>,
    metadata: MetadataCache,
    random: Random,
    /// By number of the partition.
    shards: RwLock<BTreeMap<i32, Arc<Shard>>>,
    /// Called when a deadline comes before the one the task sleeps until.
    earlier: Arc<Notify>,
}

impl GroupCoordinator {
    /// A coordinator of nothing, until [`GroupCoordinator::run`] follows the metadata.
    #[must_use]
    pub fn new(
        config: &BrokerConfig,
        replicas: Arc<ReplicaManager>,
        metadata: MetadataCache,
        clock: Clock,
        random: Random,
    ) -> GroupCoordinator {
        let groups = &config.groups;
        let writing = shard::Writing {
            required_acks: groups.offsets_commit_required_acks,
            timeout: groups.offsets_commit_timeout,
            flusher: replicas.logs().flusher().clone(),
            clock,
            started: clock.now(),
        };
        GroupCoordinator {
            config: Arc::new(GroupConfig {
                min_session_timeout_ms: groups.min_session_timeout_ms,
                max_session_timeout_ms: groups.max_session_timeout_ms,
                initial_rebalance_delay_ms: i64::from(groups.initial_rebalance_delay_ms),
                max_size: usize::try_from(groups.max_size).unwrap_or_default(),
                offset_metadata_max: groups.offset_metadata_max_bytes,
                offsets_retention_ms: groups.offsets_retention_ms,
            }),
            load_buffer_bytes: groups.offsets_load_buffer_bytes,
            retention_check_interval: groups.offsets_retention_check_interval,
            writing,
            replicas,
            metadata,
            random,
            shards: RwLock::default(),
            earlier: Arc::new(Notify::new()),
        }
    }

    /// The shard that serves a group, if this broker does.
    ///
    /// # Errors
    /// COORDINATOR_NOT_AVAILABLE while `__consumer_offsets` does not exist, NOT_COORDINATOR where another broker leads the group's partition.
    pub fn shard_of(&self, group: &str) -> Result<Arc<Shard>, ErrorCode> {
        let partition = self.partition_of(group).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        self.shards.read().get(&partition).cloned().ok_or(ErrorCode::NOT_COORDINATOR)
    }

    /// The partition of `__consumer_offsets` that keeps a group; none while that topic does not exist.
    #[must_use]
    pub fn partition_of(&self, group: &str) -> Option<i32> {
        let image = self.metadata.image();
        let partitions = i32::try_from(image.topic(OFFSETS_TOPIC)?.partitions.len()).ok()?;
        (partitions > 0).then(|| partition_for(group, partitions))
    }

    /// All shards, by rising number.
    #[must_use]
    pub fn shards(&self) -> Vec<Arc<Shard>> {
        self.shards.read().values().cloned().collect()
    }

    /// Who sends a request, as the rules want to know it.
    #[must_use]
    pub fn client(&self, context: &RequestContext) -> Client {
        Client { id: context.client_id().to_owned(), host: context.client_host(), id_suffix: self.random_uuid() }
    }

    /// A random UUID in its usual writing, which Kafka ends member ids with.
    fn random_uuid(&self) -> String {
        let mut bytes: [u8; 16] = self.random.bytes();
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}
