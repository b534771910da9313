//! A group as the tools see it: its offsets, its owners, its end.

use std::collections::BTreeMap;

use protocol::types::{Offset, TopicPartition};

use super::offsets;
use crate::zookeeper::{Session, ZkError, paths};

/// A partition of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupPartition {
    /// The next offset to read, where one was committed.
    pub offset: Option<Offset>,
    /// The thread that reads it, `<consumer>-<thread>`, where one does.
    pub owner: Option<String>,
}

/// Names of the groups that have ever been in ZooKeeper.
///
/// # Errors
/// ZooKeeper's.
pub async fn list(session: &Session) -> Result<Vec<String>, ZkError> {
    sorted_children(session, paths::CONSUMERS).await
}

/// Whether a group has committed anything: then `--from-beginning` would not begin there.
///
/// # Errors
/// ZooKeeper's.
pub async fn has_offsets(session: &Session, group: &str) -> Result<bool, ZkError> {
    Ok(session.exists(&paths::consumer_offsets(group)).await?.is_some())
}

/// Members that live, by id.
///
/// # Errors
/// ZooKeeper's.
pub async fn members(session: &Session, group: &str) -> Result<Vec<String>, ZkError> {
    sorted_children(session, &paths::consumer_ids(group)).await
}

/// What a group has committed and who reads what, in the topics it has ever read.
///
/// # Errors
/// ZooKeeper's, and [`ZkError::BadZnode`] where an offset is no number.
pub async fn describe(session: &Session, group: &str) -> Result<BTreeMap<TopicPartition, GroupPartition>, ZkError> {
    let mut partitions: BTreeMap<TopicPartition, GroupPartition> = BTreeMap::new();
    for topic in sorted_children(session, &paths::consumer_offsets(group)).await? {
        for partition in partition_children(session, &paths::consumer_topic_offsets(group, &topic)).await? {
            partitions.entry(TopicPartition::new(topic.as_str(), partition)).or_default();
        }
    }
    let known: Vec<TopicPartition> = partitions.keys().cloned().collect();
    for (partition, offset) in offsets::read(session, group, &known).await? {
        partitions.entry(partition).or_default().offset = Some(offset);
    }
    for topic in sorted_children(session, &paths::consumer_group_owners(group)).await? {
        for partition in partition_children(session, &paths::consumer_owners(group, &topic)).await? {
            let owner = session.try_get_data(&paths::consumer_owner(group, &topic, partition)).await?;
            let owner = owner.map(|(data, _)| String::from_utf8_lossy(&data).into_owned());
            partitions.entry(TopicPartition::new(topic.as_str(), partition)).or_default().owner = owner;
        }
    }
    Ok(partitions)
}

/// Commits offsets for a group from outside, as a reset does. Members that read these partitions will overwrite it.
///
/// # Errors
/// ZooKeeper's; a part may then have been written.
pub async fn commit(session: &Session, group: &str, offsets: &[(TopicPartition, Offset)]) -> Result<(), ZkError> {
    offsets::write(session, group, offsets).await
}

/// Deletes a group with all its offsets. One that is not there is fine.
///
/// # Errors
/// ZooKeeper's.
pub async fn delete(session: &Session, group: &str) -> Result<(), ZkError> {
    session.delete_recursive(&paths::consumer_group(group)).await
}

/// Children by name; none where the node is not there.
async fn sorted_children(session: &Session, path: &str) -> Result<Vec<String>, ZkError> {
    match session.get_children(path).await {
        Ok(mut children) => {
            children.sort();
            Ok(children)
        }
        Err(error) if error.is_no_node() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

async fn partition_children(session: &Session, path: &str) -> Result<Vec<i32>, ZkError> {
    Ok(sorted_children(session, path).await?.iter().filter_map(|name| name.parse().ok()).collect())
}
