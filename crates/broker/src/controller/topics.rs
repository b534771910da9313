//! Names of topics, and the writes that create, grow, configure and delete them: what the admin handlers, auto-creation and the group coordinator share.

use std::collections::BTreeMap;

use client::zookeeper::session::op;
use client::zookeeper::znodes::{EntityConfig, TopicAssignment};
use client::zookeeper::{CreateMode, MultiOp, Session, ZkError, paths};
use protocol::types::Uuid;

use super::Fence;
use super::plan::first_state;
use super::writes::MULTI_OPS_MAX;
use crate::metadata::{Image, Topic};

/// Longest topic name: with the partition behind it, it must fit a file name (`Topic.MAX_NAME_LENGTH`).
pub const NAME_BYTES_MAX: usize = 249;

/// Most partitions one request may create. Beyond it a request is refused, so that one client cannot fill the tree.
pub const PARTITIONS_MAX: i32 = 100_000;

/// A topic to be created.
#[derive(Debug, Clone)]
pub struct NewTopic {
    /// Its name, checked.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// Replicas of its partitions.
    pub assignment: BTreeMap<i32, Vec<i32>>,
    /// Its own settings, checked.
    pub overrides: BTreeMap<String, String>,
}

/// Checks a name as Kafka does, and says what is wrong with it (`Topic.validate` of 3.9).
///
/// # Errors
/// The text for error 17 (INVALID_TOPIC_EXCEPTION).
pub fn validate_name(name: &str) -> Result<(), String> {
    let why = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        _ if name.len() > NAME_BYTES_MAX => {
            format!("the length of '{name}' is longer than the max allowed length {NAME_BYTES_MAX}")
        }
        _ if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) => {
            format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
        }
        _ => return Ok(()),
    };
    Err(format!("Topic name is invalid: {why}"))
}

/// Names that differ from `name` only in '.' and '_': their metrics would be one (`Topic.hasCollision`).
#[must_use]
pub fn collisions(image: &Image, name: &str) -> Vec<String> {
    if !name.contains(['.', '_']) {
        return Vec::new();
    }
    let unified = name.replace('.', "_");
    let same = image.topics.keys().filter(|known| ***known != *name && known.replace('.', "_") == unified);
    same.map(ToString::to_string).collect()
}

/// Writes a new topic. The controller writes it whole, leaders included, in one multi (the rest of a very large one follows from its next plan); any other broker
/// writes the topic alone and leaves the leaders to the controller.
///
/// # Errors
/// `NodeExists` of the topic's znode if it is there already; `BadVersion` of `/controller_epoch` when the office was lost.
pub async fn create(session: &Session, fence: Option<Fence>, image: &Image, topic: &NewTopic) -> Result<(), ZkError> {
    let config = EntityConfig::new(topic.overrides.clone().into_iter().collect()).to_json();
    let assignment =
        TopicAssignment { partitions: topic.assignment.clone(), topic_id: Some(topic.id), ..Default::default() };
    let config_path = paths::topic_config(&topic.name);
    let mut ops: Vec<MultiOp> = fence.iter().map(Fence::check).collect();
    let config_at = ops.len();
    ops.push(op::create(&config_path, config.clone(), CreateMode::Persistent));
    ops.push(op::create(&paths::topic(&topic.name), assignment.to_json(), CreateMode::Persistent));
    if let Some(fence) = fence {
        ops.push(op::create(&paths::topic_partitions(&topic.name), "", CreateMode::Persistent));
        for (partition, replicas) in &topic.assignment {
            if ops.len() + 2 > MULTI_OPS_MAX {
                break;
            }
            let Some(state) = first_state(image, replicas, fence.epoch) else { continue };
            ops.push(op::create(&paths::topic_partition(&topic.name, *partition), "", CreateMode::Persistent));
            ops.push(op::create(
                &paths::partition_state(&topic.name, *partition),
                state.to_json(),
                CreateMode::Persistent,
            ));
        }
    }
    match session.multi(ops.clone()).await {
        // Left over by a deletion of an old tool, or set before the topic was made.
        Err(ZkError::Multi { index, code, .. })
            if index == config_at && code == client::zookeeper::ErrorCode::NodeExists =>
        {
            ops[config_at] = op::set_data(&config_path, config, -1);
            session.multi(ops).await.map(|_| ())
        }
        other => other.map(|_| ()),
    }
}

/// Adds partitions to a topic. The controller's next plan elects their leaders.
///
/// # Errors
/// `BadVersion` if the topic changed since the image.
pub async fn grow(
    session: &Session,
    fence: Fence,
    topic: &Topic,
    added: &BTreeMap<i32, Vec<i32>>,
) -> Result<(), ZkError> {
    let mut assignment = topic.assignment.clone();
    assignment.partitions.extend(added.iter().map(|(partition, replicas)| (*partition, replicas.clone())));
    let ops = vec![fence.check(), op::set_data(&paths::topic(&topic.name), assignment.to_json(), topic.zk_version)];
    session.multi(ops).await.map(|_| ())
}

/// Replaces the settings of a topic or broker, which are kept in the znode `path`.
///
/// # Errors
/// The session's.
pub async fn configure(session: &Session, path: &str, overrides: &BTreeMap<String, String>) -> Result<(), ZkError> {
    let mut config = match session.try_get_data(path).await? {
        Some((data, _)) => EntityConfig::parse(path, &data).unwrap_or_default(),
        None => EntityConfig::default(),
    };
    config.config = overrides.clone().into_iter().collect();
    match session.set_data(path, config.to_json(), -1).await {
        Err(error) if error.is_no_node() => {
            session.create_recursive(path, config.to_json(), CreateMode::Persistent).await?;
        }
        other => {
            other?;
        }
    }
    Ok(())
}

/// Asks for the deletion of a topic.
///
/// # Errors
/// The session's. A request that is there already is fine.
pub async fn request_deletion(session: &Session, topic: &str) -> Result<(), ZkError> {
    match session.create(&paths::delete_topic(topic), "", CreateMode::Persistent).await {
        Err(error) if !error.is_node_exists() => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_in_kafkas_words() {
        let check = |name: &str, expected: Option<&str>| {
            let expected = expected.map(|why| format!("Topic name is invalid: {why}"));
            assert_eq!(validate_name(name).err(), expected);
        };
        check("wordsendertest", None);
        check("a.b_c-9", None);
        check("", Some("the empty string is not allowed"));
        check("..", Some("'..' is not allowed"));
        check("a b", Some("'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"));
        check("ä", Some("'ä' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"));
        let long = "x".repeat(250);
        check(&long, Some(&format!("the length of '{long}' is longer than the max allowed length 249")));
    }
}
