//! The controller: the one broker that holds `/controller`, and elects leaders, finishes new topics and carries deletions out.
//!
//! It only writes to the tree; every broker acts on what it sees there. Always true: each write is one multi that begins with a check of `/controller_epoch`, so a broker
//! that lost the office without knowing it changes nothing.
//!
//! # Layout
//! - [`plan`]: what to do, from an image alone
//! - [`assignment`]: which brokers get the replicas of a new topic
//! - [`topics`]: the writes that create and grow topics, shared with the handlers
//! - [`Office`]: holding `/controller`; [`carry_out`]: doing what was planned

pub mod assignment;
pub mod plan;
pub mod topics;

use std::sync::Arc;

use client::zookeeper::session::op;
use client::zookeeper::znodes::{Controller, PartitionElection, TopicAssignment, parse_number};
use client::zookeeper::{CreateMode, MultiOp, MultiResult, Session, ZkError, paths};
use parking_lot::RwLock;
use protocol::types::{BrokerId, Uuid};
use runtime::{Clock, Random};
use tracing::{info, warn};

use crate::metadata::{Change, Image, PartitionState, TopicRead};
use plan::Action;

/// Tells the id of a topic from its logs.
pub type StoredId = dyn Fn(&str) -> Option<Uuid> + Send + Sync;

/// Operations in one multi: some 200 bytes each, so far below ZooKeeper's 1 MiB.
pub const MULTI_OPS_MAX: usize = 500;

/// Times a multi is put together anew because some of its parents were there already.
const PARENT_RETRIES_MAX: usize = 16;

/// The right to act as controller: what every write checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// Epoch of this controller.
    pub epoch: i32,
    /// Version of `/controller_epoch` that goes with it.
    pub zk_version: i32,
}

impl Fence {
    /// The operation that makes a multi fail once another controller was elected.
    #[must_use]
    pub fn check(&self) -> MultiOp {
        op::check(paths::CONTROLLER_EPOCH, self.zk_version)
    }
}

/// Whether this broker is the controller, for all who ask.
#[derive(Debug, Clone, Default)]
pub struct Office {
    fence: Arc<RwLock<Option<Fence>>>,
}

impl Office {
    /// The fence, while this broker is the controller.
    #[must_use]
    pub fn fence(&self) -> Option<Fence> {
        *self.fence.read()
    }

    /// Gives the office up, or notices that it is lost.
    pub fn resign(&self) {
        if self.fence.write().take().is_some() {
            info!("no longer the controller");
        }
    }

    /// Runs for controller. True if this broker now is; false if another was quicker.
    ///
    /// # Errors
    /// The session's.
    pub async fn stand(&self, session: &Session, clock: Clock, id: i32) -> Result<bool, ZkError> {
        let known = session.try_get_data(paths::CONTROLLER_EPOCH).await?;
        let (epoch, zk_version) = match &known {
            Some((data, stat)) => (parse_number::<i32>(paths::CONTROLLER_EPOCH, data)?, stat.version),
            None => (0, 0),
        };
        let next = epoch + 1;
        let controller = Controller { broker: BrokerId(id), timestamp_ms: clock.now_ms() };
        // The first controller of a cluster makes the znode, with a zero as Kafka does, so that its version counts elections.
        let first = known.is_none().then(|| op::create(paths::CONTROLLER_EPOCH, "0", CreateMode::Persistent));
        let ops: Vec<MultiOp> = [
            Some(op::create(paths::CONTROLLER, controller.to_json(), CreateMode::Ephemeral)),
            first,
            Some(op::set_data(paths::CONTROLLER_EPOCH, next.to_string(), zk_version)),
        ]
        .into_iter()
        .flatten()
        .collect();
        match session.multi(ops).await {
            Ok(results) => {
                let zk_version = written_version(results.last()).unwrap_or(zk_version + 1);
                *self.fence.write() = Some(Fence { epoch: next, zk_version });
                info!(epoch = next, "elected as controller");
                Ok(true)
            }
            Err(error) if error.is_node_exists() || error.is_bad_version() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Version of a znode after an operation of a multi wrote it.
fn written_version(result: Option<&MultiResult>) -> Option<i32> {
    match result {
        Some(MultiResult::SetData(response)) => Some(response.stat.version),
        _ => None,
    }
}

/// Carries a plan out, in multis, and gives what changed. `stored_id` knows the ids of topics from the logs. What could not be written because somebody else was quicker is left: the next image shows it.
///
/// # Errors
/// The session's, and `BadVersion` of `/controller_epoch` when this broker is no longer the controller.
pub async fn carry_out(
    session: &Session,
    fence: Fence,
    image: &Image,
    actions: Vec<Action>,
    stored_id: &StoredId,
    random: Random,
) -> Result<Vec<Change>, ZkError> {
    let mut changes = Vec::new();
    let mut states = Vec::new();
    for action in actions {
        match action {
            Action::CreateState { .. } | Action::SetState { .. } => states.push(action),
            Action::NameTopic { topic } => {
                changes.extend(name_topic(session, fence, image, &topic, stored_id, random).await?)
            }
            Action::DeleteTopic { topic } => changes.extend(delete_topic(session, fence, image, &topic).await?),
            Action::ForgetDeletion { topic } => {
                session_delete(session, &paths::delete_topic(&topic)).await?;
                changes.push(Change::Deletion(topic, false));
            }
            Action::ForgetPreferredElection => {
                session_delete(session, paths::PREFERRED_REPLICA_ELECTION).await?;
                changes.push(Change::PreferredElection(false));
            }
        }
    }
    changes.extend(write_elections(session, fence, &states).await?);
    Ok(changes)
}

/// Writes states of partitions that the controller decided on, and gives what changed.
///
/// # Errors
/// As [`carry_out`].
pub async fn write_elections(session: &Session, fence: Fence, states: &[Action]) -> Result<Vec<Change>, ZkError> {
    let mut changes = Vec::new();
    // Three operations at most for each state, and the check.
    for chunk in states.chunks((MULTI_OPS_MAX - 1) / 3) {
        changes.extend(write_states(session, Some(fence), chunk).await?);
    }
    Ok(changes)
}

/// The partitions that `/admin/preferred_replica_election` names.
///
/// # Errors
/// The session's. A request that cannot be read names none.
pub async fn preferred_election_request(session: &Session) -> Result<Vec<(String, i32)>, ZkError> {
    let Some((data, _)) = session.try_get_data(paths::PREFERRED_REPLICA_ELECTION).await? else { return Ok(Vec::new()) };
    match PartitionElection::parse(paths::PREFERRED_REPLICA_ELECTION, &data) {
        Ok(election) => Ok(election.partitions),
        Err(error) => {
            warn!(%error, "cannot read the request for a preferred replica election");
            Ok(Vec::new())
        }
    }
}

async fn session_delete(session: &Session, path: &str) -> Result<(), ZkError> {
    match session.delete(path, -1).await {
        Err(error) if !error.is_no_node() => Err(error),
        _ => Ok(()),
    }
}

/// Writes states that a broker may write itself, as the leader of their partitions: each on condition that nobody else wrote it meanwhile.
///
/// # Errors
/// The session's.
pub async fn write_own_states(session: &Session, actions: &[Action]) -> Result<Vec<Change>, ZkError> {
    let mut changes = Vec::new();
    for chunk in actions.chunks(MULTI_OPS_MAX) {
        changes.extend(write_states(session, None, chunk).await?);
    }
    Ok(changes)
}

async fn write_states(session: &Session, fence: Option<Fence>, actions: &[Action]) -> Result<Vec<Change>, ZkError> {
    let mut ops: Vec<MultiOp> = fence.iter().map(Fence::check).collect();
    let mut written = Vec::new();
    let mut parents_made = std::collections::BTreeSet::new();
    for action in actions {
        match action {
            Action::CreateState { topic, partition, state, first_of_topic } => {
                if *first_of_topic && parents_made.insert(topic.clone()) {
                    ops.push(op::create(&paths::topic_partitions(topic), "", CreateMode::Persistent));
                }
                ops.push(op::create(&paths::topic_partition(topic, *partition), "", CreateMode::Persistent));
                ops.push(op::create(
                    &paths::partition_state(topic, *partition),
                    state.to_json(),
                    CreateMode::Persistent,
                ));
                written.push((topic.clone(), *partition, PartitionState { znode: state.clone(), zk_version: 0 }));
            }
            Action::SetState { topic, partition, state, expected } => {
                ops.push(op::set_data(&paths::partition_state(topic, *partition), state.to_json(), *expected));
                written.push((
                    topic.clone(),
                    *partition,
                    PartitionState { znode: state.clone(), zk_version: expected + 1 },
                ));
            }
            _ => {}
        }
    }
    match commit(session, ops).await {
        Ok(()) => Ok(written
            .into_iter()
            .map(|(topic, partition, state)| Change::State(topic, partition, Some(state)))
            .collect()),
        Err(error) if actions.len() > 1 && lost_race(&error) => {
            // Somebody wrote one of them meanwhile: the rest must not wait for it.
            let mut changes = Vec::new();
            for action in actions {
                match Box::pin(write_states(session, fence, std::slice::from_ref(action))).await {
                    Ok(change) => changes.extend(change),
                    Err(error) if lost_race(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(changes)
        }
        Err(error) => Err(error),
    }
}

/// Whether a multi failed over one of its znodes, and not over the office.
pub fn lost_race(error: &ZkError) -> bool {
    match error {
        ZkError::Multi { path, .. } => {
            path != paths::CONTROLLER_EPOCH && (error.is_bad_version() || error.is_node_exists() || error.is_no_node())
        }
        _ => false,
    }
}

/// Applies a multi. Parents it would create that are there already are left out.
///
/// # Errors
/// As [`Session::multi`].
pub async fn commit(session: &Session, mut ops: Vec<MultiOp>) -> Result<(), ZkError> {
    let mut retries = 0;
    loop {
        match session.multi(ops.clone()).await {
            Ok(_) => return Ok(()),
            Err(ZkError::Multi { index, code, path, codes }) => {
                let error = ZkError::Multi { index, code, path: path.clone(), codes };
                retries += 1;
                let is_parent = error.is_node_exists() && is_state_parent(&path);
                if !is_parent || retries > PARENT_RETRIES_MAX.max(ops.len()) || index >= ops.len() {
                    return Err(error);
                }
                ops.remove(index);
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_state_parent(path: &str) -> bool {
    path.starts_with(paths::BROKER_TOPICS) && path.contains("/partitions") && !path.ends_with("/state")
}

/// Gives a topic whose znode an old tool wrote its id: the one it had, if any is known.
async fn name_topic(
    session: &Session,
    fence: Fence,
    image: &Image,
    topic: &str,
    stored_id: &StoredId,
    random: Random,
) -> Result<Option<Change>, ZkError> {
    let Some(known) = image.topic(topic) else { return Ok(None) };
    let id = Some(known.id).filter(|id| *id != Uuid::ZERO).or_else(|| stored_id(topic));
    let id = id.unwrap_or_else(|| Uuid::from_random_bytes(random.bytes()));
    let assignment = TopicAssignment { topic_id: Some(id), ..known.assignment.clone() };
    let ops = vec![fence.check(), op::set_data(&paths::topic(topic), assignment.to_json(), known.zk_version)];
    match session.multi(ops).await {
        Ok(_) => {
            let read = TopicRead { assignment, zk_version: known.zk_version + 1, czxid: known.czxid };
            Ok(Some(Change::Topic(known.name.clone(), Some(read))))
        }
        Err(error) if lost_race(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes a topic out of the tree: states first, its own znode and the request last, so that a deletion cut short is taken up again.
async fn delete_topic(
    session: &Session,
    fence: Fence,
    image: &Image,
    topic: &Arc<str>,
) -> Result<Vec<Change>, ZkError> {
    info!(%topic, "deleting topic");
    let mut paths_below = Vec::new();
    if let Some(known) = image.topic(topic) {
        for partition in &known.partitions {
            if partition.state.is_some() {
                paths_below.push(paths::partition_state(topic, partition.partition));
                paths_below.push(paths::topic_partition(topic, partition.partition));
            }
        }
    }
    for chunk in paths_below.chunks(MULTI_OPS_MAX - 1) {
        let ops = std::iter::once(fence.check()).chain(chunk.iter().map(|path| op::delete(path, -1))).collect();
        match session.multi(ops).await {
            Err(error) if !lost_race(&error) => return Err(error),
            _ => {}
        }
    }
    // What is left after a lost race, and what no image knew.
    session.multi(vec![fence.check()]).await?;
    session.delete_recursive(&paths::topic_partitions(topic)).await?;
    session.delete_recursive(&paths::topic(topic)).await?;
    session_delete(session, &paths::topic_config(topic)).await?;
    session_delete(session, &paths::delete_topic(topic)).await?;
    Ok(vec![
        Change::Topic(topic.clone(), None),
        Change::TopicOverrides(topic.clone(), None),
        Change::Deletion(topic.clone(), false),
    ])
}
