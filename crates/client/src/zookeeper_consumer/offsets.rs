//! Where a group's offsets are kept: in ZooKeeper, in Kafka, or in both (`offsets.storage`, `dual.commit.enabled`).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::types::{Offset, TopicPartition};

use crate::kafka::consumer::commit::{GroupCoordinator, Member, OffsetToCommit};
use crate::zookeeper::session::op;
use crate::zookeeper::{CreateMode, Session, ZkError, paths, znodes};
use crate::zookeeper_consumer::{ConsumerError, OffsetsStorage};

/// Offsets written in one multi.
const MULTI_OPS_MAX: usize = 500;

/// A group's offsets.
#[derive(Clone)]
pub(super) struct Offsets {
    pub(super) group: String,
    pub(super) storage: OffsetsStorage,
    /// Repetitions of a commit that failed for want of a connection.
    pub(super) retries: u32,
    pub(super) session: Session,
    pub(super) coordinator: Option<Arc<GroupCoordinator>>,
}

impl Offsets {
    /// The next offsets to read. Partitions nobody has committed for are left out.
    pub(super) async fn fetch(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Offset>, ConsumerError> {
        let mut found = match self.storage {
            OffsetsStorage::Kafka => BTreeMap::new(),
            OffsetsStorage::Zookeeper | OffsetsStorage::Both => read(&self.session, &self.group, partitions).await?,
        };
        if let Some(coordinator) = self.in_kafka() {
            let deadline = coordinator.cluster().default_deadline();
            for (partition, committed) in coordinator.committed(Some(partitions), deadline).await? {
                let known = found.entry(partition).or_insert(committed.offset);
                *known = (*known).max(committed.offset);
            }
        }
        Ok(found)
    }

    /// Writes the next offsets to read. Repeating it does no harm, so a lost connection is waited for.
    pub(super) async fn commit(&self, offsets: &[(TopicPartition, Offset)]) -> Result<(), ConsumerError> {
        if offsets.is_empty() {
            return Ok(());
        }
        if let Some(coordinator) = self.in_kafka() {
            let deadline = coordinator.cluster().default_deadline();
            let offsets: Vec<_> = offsets.iter().map(|(p, offset)| OffsetToCommit::new(p.clone(), *offset)).collect();
            coordinator.commit(&Member::none(), &offsets, deadline).await?;
        }
        if self.storage == OffsetsStorage::Kafka {
            return Ok(());
        }
        let mut failures = 0;
        loop {
            match write(&self.session, &self.group, offsets).await {
                Err(error) if error.is_connection_loss() && failures < self.retries => {
                    failures += 1;
                    self.session.connected(self.session.timeout()).await?;
                }
                done => return Ok(done?),
            }
        }
    }

    fn in_kafka(&self) -> Option<&GroupCoordinator> {
        match self.storage {
            OffsetsStorage::Zookeeper => None,
            OffsetsStorage::Kafka | OffsetsStorage::Both => self.coordinator.as_deref(),
        }
    }
}

/// A group's offsets in ZooKeeper.
///
/// # Errors
/// ZooKeeper's, and [`ZkError::BadZnode`] where something else than a number is kept.
pub(super) async fn read(
    session: &Session,
    group: &str,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, Offset>, ZkError> {
    let path = |partition: &TopicPartition| paths::consumer_offset(group, &partition.topic, partition.partition);
    let znodes: Vec<String> = partitions.iter().map(path).collect();
    let mut found = BTreeMap::new();
    for ((partition, path), data) in partitions.iter().zip(&znodes).zip(session.read_many(&znodes).await?) {
        let Some((data, _stat)) = data else { continue };
        let offset: i64 = znodes::parse_number(path, &data)?;
        // Kafka's "no offset yet".
        if offset >= 0 {
            found.insert(partition.clone(), Offset(offset));
        }
    }
    Ok(found)
}

/// Keeps offsets for a group in ZooKeeper.
///
/// # Errors
/// ZooKeeper's; a part may then have been written.
pub(super) async fn write(session: &Session, group: &str, offsets: &[(TopicPartition, Offset)]) -> Result<(), ZkError> {
    let znodes: Vec<(String, Bytes)> = offsets
        .iter()
        .map(|(partition, offset)| {
            let path = paths::consumer_offset(group, &partition.topic, partition.partition);
            (path, Bytes::from(offset.to_string()))
        })
        .collect();
    for chunk in znodes.chunks(MULTI_OPS_MAX) {
        if chunk.len() > 1 {
            let ops = chunk.iter().map(|(path, data)| op::set_data(path, data.clone(), -1)).collect();
            match session.multi(ops).await {
                Ok(_) => continue,
                // Some are written for the first time: one by one, then.
                Err(error) if error.is_no_node() => {}
                Err(error) => return Err(error),
            }
        }
        for (path, data) in chunk {
            put(session, path, data).await?;
        }
    }
    Ok(())
}

/// Writes a znode that may not be there yet.
async fn put(session: &Session, path: &str, data: &Bytes) -> Result<(), ZkError> {
    match session.set_data(path, data.clone(), -1).await {
        Err(error) if error.is_no_node() => {}
        done => return done.map(drop),
    }
    match session.create_recursive(path, data.clone(), CreateMode::Persistent).await {
        Err(error) if error.is_node_exists() => session.set_data(path, data.clone(), -1).await.map(drop),
        done => done.map(drop),
    }
}
