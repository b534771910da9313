//! The controller: the one broker that holds `/controller`, and elects leaders, finishes new topics and carries deletions out.
//!
//! It only writes to the tree; every broker acts on what it sees there. Always true: each write is one multi that begins with a check of `/controller_epoch`, so a broker
//! that lost the office without knowing it changes nothing.
//!
//! # Layout
//! - [`plan`]: what to do, from an image alone; [`reassignment`]: the part of it that moves replicas
//! - [`assignment`]: which brokers get the replicas of a new topic
//! - [`writes`]: the operations that carry a plan out
//! - [`topics`]: the writes that create and grow topics, shared with the handlers
//! - [`Office`]: holding `/controller`; [`carry_out`]: doing what was planned

pub mod assignment;
pub mod plan;
pub mod reassignment;
pub mod topics;
pub mod writes;

use std::sync::Arc;

use client::zookeeper::session::op;
use client::zookeeper::znodes::{Controller, parse_number};
use client::zookeeper::{CreateMode, MultiOp, MultiResult, Session, ZkError, paths};
use parking_lot::RwLock;
use protocol::types::{BrokerId, Uuid};
use runtime::Clock;
use tracing::{debug, info};

use crate::metadata::{Change, Image};
use plan::{Action, SetState};
use writes::Multi;

/// Tells the id of a topic from its logs.
pub type StoredId = dyn Fn(&str) -> Option<Uuid> + Send + Sync;

/// Gives an id to a topic that has none.
pub type NewId<'a> = dyn Fn(&str) -> Uuid + Send + Sync + 'a;

/// Actions of one multi that others may be quicker with, before the rest of it is left to the next image: that many show that this one is old.
const LOST_RACES_MAX: usize = 32;

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

    /// Whether this broker is the controller.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.fence.read().is_some()
    }

    /// Gives the office up, or notices that it is lost.
    pub fn resign(&self) {
        if self.fence.write().take().is_some() {
            info!("no longer the controller");
        }
    }

    /// Takes the office up again that this session holds already: it was elected, and the answer was lost. False if somebody else holds it, or an earlier session.
    ///
    /// # Errors
    /// The session's.
    pub async fn resume(&self, session: &Session) -> Result<bool, ZkError> {
        // The epoch is read first. Both znodes were written by one transaction, so the epoch is that of this election, and not of a later one.
        let Some((data, epoch_stat)) = session.try_get_data(paths::CONTROLLER_EPOCH).await? else { return Ok(false) };
        let Some((_, stat)) = session.try_get_data(paths::CONTROLLER).await? else { return Ok(false) };
        if stat.ephemeral_owner != session.session_id() || stat.czxid != epoch_stat.mzxid {
            return Ok(false);
        }
        let epoch = parse_number::<i32>(paths::CONTROLLER_EPOCH, &data)?;
        *self.fence.write() = Some(Fence { epoch, zk_version: epoch_stat.version });
        info!(epoch, "elected as controller, as a second look shows");
        Ok(true)
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

/// Carries actions out, and gives what changed. `new_id` gives ids to topics that have none. What could not be written because somebody else was quicker is left: the next
/// image shows it. After any other error it is not known what was written: everything must be read again before the next write.
///
/// # Errors
/// The session's, and `BadVersion` of `/controller_epoch` when this broker is no longer the controller.
pub async fn carry_out(
    session: &Session,
    fence: Option<Fence>,
    image: &Image,
    actions: Vec<Action>,
    new_id: &NewId<'_>,
) -> Result<Vec<Change>, ZkError> {
    let mut changes = Vec::new();
    for multi in writes::ops(fence, image, actions, new_id) {
        changes.extend(apply(session, fence, multi).await?);
    }
    Ok(changes)
}

/// Writes states of partitions: the controller's with its fence, a leader's own without, for each is written on condition that nobody else wrote it meanwhile.
///
/// # Errors
/// As [`carry_out`].
pub async fn write_states(
    session: &Session,
    fence: Option<Fence>,
    states: Vec<SetState>,
) -> Result<Vec<Change>, ZkError> {
    let actions = states.into_iter().map(Action::SetState).collect();
    carry_out(session, fence, &Image::default(), actions, &|_| Uuid::ZERO).await
}

/// Applies a multi. What need not be done any more is left out, and so is an action whose znodes somebody else has written: the others must not wait for it.
async fn apply(session: &Session, fence: Option<Fence>, multi: Multi) -> Result<Vec<Change>, ZkError> {
    let Multi { mut ops, actions, mut changes } = multi;
    let mut lost = 0;
    while ops.iter().any(|(_, owner)| owner.is_some()) {
        let (index, code, error) = match session.multi(ops.iter().map(|(op, _)| op.clone()).collect()).await {
            Ok(_) => return Ok(changes.into_iter().map(|(_, change)| change).collect()),
            Err(ZkError::Multi { index, code, path, codes }) => {
                (index, code, ZkError::Multi { index, code, path, codes })
            }
            Err(error) => return Err(error),
        };
        let Some((op, Some(owner))) = ops.get(index) else { return Err(error) };
        if writes::is_settled(op, code) {
            ops.remove(index);
            continue;
        }
        let owner = *owner;
        match &actions[owner] {
            Action::DeleteTopic { topic } if lost_race(&error) => delete_by_reading(session, fence, topic).await?,
            _ if lost_race(&error) => {
                debug!(%error, "somebody else was quicker");
                lost += 1;
                changes.retain(|(action, _)| *action != owner);
                if lost >= LOST_RACES_MAX {
                    return Ok(Vec::new());
                }
            }
            _ => return Err(error),
        }
        ops.retain(|(_, action)| *action != Some(owner));
    }
    Ok(changes.into_iter().map(|(_, change)| change).collect())
}

/// Whether a multi failed over one of its znodes, and not over the office.
fn lost_race(error: &ZkError) -> bool {
    use client::zookeeper::ErrorCode::{BadVersion, NoNode, NodeExists, NotEmpty};
    match error {
        ZkError::Multi { path, code, .. } => {
            path != paths::CONTROLLER_EPOCH && matches!(code, BadVersion | NodeExists | NoNode | NotEmpty)
        }
        _ => false,
    }
}

/// Deletes a topic of which the tree holds more, or less, than the image knew.
async fn delete_by_reading(session: &Session, fence: Option<Fence>, topic: &str) -> Result<(), ZkError> {
    session.multi(fence.iter().map(Fence::check).collect()).await?;
    session.delete_recursive(&paths::topic_partitions(topic)).await?;
    session.delete_recursive(&paths::topic(topic)).await?;
    for path in [paths::topic_config(topic), paths::delete_topic(topic)] {
        match session.delete(&path, -1).await {
            Err(error) if !error.is_no_node() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
