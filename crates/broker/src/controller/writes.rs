//! What is written to carry a plan out: operations of ZooKeeper, put together as multis, and what the image shows once they are applied. Nothing here talks to a server, so a
//! simulated store can apply the same.
//!
//! Always true: each multi of a controller begins with the check of `/controller_epoch`; each replaces a znode only in the version that was seen. The assignment of a topic
//! is written before the states that change with it, and watches tell of them in that order.

use std::collections::BTreeSet;
use std::sync::Arc;

use client::zookeeper::session::op;
use client::zookeeper::znodes::{Reassignment, TopicAssignment};
use client::zookeeper::{CreateMode, ErrorCode, MultiOp, paths};
use protocol::types::Uuid;

use super::Fence;
use super::plan::{Action, SetState};
use crate::metadata::{Change, Image, PartitionState, ReassignmentRequest, TopicRead};

/// Operations in one multi: some 200 bytes each, so far below ZooKeeper's 1 MiB.
pub const MULTI_OPS_MAX: usize = 500;

/// Bytes of data in one multi: large assignments fill it before operations do.
pub const MULTI_BYTES_MAX: usize = 512 << 10;

/// Operations that are applied together.
#[derive(Debug, Clone)]
pub struct Multi {
    /// Each operation, with the number of the action in `actions` that it belongs to; none belongs to the fence.
    pub ops: Vec<(MultiOp, Option<usize>)>,
    /// What they carry out.
    pub actions: Vec<Action>,
    /// What an image shows after them, with the number of the action.
    pub changes: Vec<(usize, Change)>,
}

/// What one action takes.
struct Step {
    ops: Vec<MultiOp>,
    changes: Vec<Change>,
}

/// Puts the operations of actions together, in their order. `new_id` gives ids to topics that have none.
#[must_use]
pub fn ops(fence: Option<Fence>, image: &Image, actions: Vec<Action>, new_id: &dyn Fn(&str) -> Uuid) -> Vec<Multi> {
    let mut multis: Vec<Multi> = Vec::new();
    let mut parents = BTreeSet::new();
    let mut bytes = 0;
    for action in actions {
        for step in steps(image, &action, new_id, &mut parents) {
            let step_bytes: usize = step.ops.iter().map(data_bytes).sum();
            let is_full = |multi: &Multi| {
                multi.ops.len() + step.ops.len() > MULTI_OPS_MAX || bytes + step_bytes > MULTI_BYTES_MAX
            };
            if multis.last().is_none_or(is_full) {
                bytes = 0;
                let ops = fence.iter().map(|fence| (fence.check(), None)).collect();
                multis.push(Multi { ops, actions: Vec::new(), changes: Vec::new() });
            }
            let Some(multi) = multis.last_mut() else { continue };
            bytes += step_bytes;
            if multi.actions.last() != Some(&action) {
                multi.actions.push(action.clone());
            }
            let owner = multi.actions.len() - 1;
            multi.ops.extend(step.ops.into_iter().map(|op| (op, Some(owner))));
            multi.changes.extend(step.changes.into_iter().map(|change| (owner, change)));
        }
    }
    multis
}

/// The steps of an action. They may go into several multis; each of them goes into one.
fn steps(image: &Image, action: &Action, new_id: &dyn Fn(&str) -> Uuid, parents: &mut BTreeSet<Arc<str>>) -> Vec<Step> {
    let one = |ops: Vec<MultiOp>, changes: Vec<Change>| vec![Step { ops, changes }];
    match action {
        Action::CreateState { topic, partition, state, first_of_topic } => {
            let mut ops = Vec::new();
            if *first_of_topic && parents.insert(topic.clone()) {
                ops.push(op::create(&paths::topic_partitions(topic), "", CreateMode::Persistent));
            }
            ops.push(op::create(&paths::topic_partition(topic, *partition), "", CreateMode::Persistent));
            let path = paths::partition_state(topic, *partition);
            ops.push(op::create(&path, state.to_json(), CreateMode::Persistent));
            let state = PartitionState { znode: state.clone(), zk_version: 0 };
            one(ops, vec![Change::State(topic.clone(), *partition, Some(state))])
        }
        Action::SetState(state) => vec![set_state(state)],
        Action::SetAssignment { topic, assignment, expected, states } => {
            let mut step = Step {
                ops: vec![op::set_data(&paths::topic(topic), assignment.to_json(), *expected)],
                changes: vec![topic_written(image, topic, assignment.clone(), expected + 1)],
            };
            // The assignment and the states that go with it are one step: nobody ever sees the one without the other.
            for state in states.iter().map(set_state) {
                step.ops.extend(state.ops);
                step.changes.extend(state.changes);
            }
            vec![step]
        }
        Action::LeaveReassignments { left, expected } => {
            let path = paths::REASSIGN_PARTITIONS;
            if left.is_empty() {
                return one(vec![op::delete(path, *expected)], vec![Change::Reassignment(None)]);
            }
            let data = Reassignment { partitions: left.clone() }.to_json();
            let request = ReassignmentRequest { asked: left.clone(), zk_version: expected + 1 };
            one(vec![op::set_data(path, data, *expected)], vec![Change::Reassignment(Some(request))])
        }
        Action::NameTopic { topic } => {
            let Some(known) = image.topic(topic) else { return Vec::new() };
            let id = Some(known.id).filter(|id| *id != Uuid::ZERO).unwrap_or_else(|| new_id(topic));
            let assignment = TopicAssignment { topic_id: Some(id), ..known.assignment.clone() };
            let ops = vec![op::set_data(&paths::topic(topic), assignment.to_json(), known.zk_version)];
            one(ops, vec![topic_written(image, topic, assignment, known.zk_version + 1)])
        }
        Action::DeleteTopic { topic } => delete(image, topic),
        Action::ForgetDeletion { topic } => {
            one(vec![op::delete(&paths::delete_topic(topic), -1)], vec![Change::Deletion(topic.clone(), false)])
        }
        Action::ForgetPreferredElection => {
            one(vec![op::delete(paths::PREFERRED_REPLICA_ELECTION, -1)], vec![Change::PreferredElection(None)])
        }
    }
}

fn set_state(set: &SetState) -> Step {
    let SetState { topic, partition, state, expected } = set;
    let path = paths::partition_state(topic, *partition);
    let written = PartitionState { znode: state.clone(), zk_version: expected + 1 };
    Step {
        ops: vec![op::set_data(&path, state.to_json(), *expected)],
        changes: vec![Change::State(topic.clone(), *partition, Some(written))],
    }
}

fn topic_written(image: &Image, topic: &Arc<str>, assignment: TopicAssignment, zk_version: i32) -> Change {
    let czxid = image.topic(topic).map_or(0, |known| known.czxid);
    Change::Topic(topic.clone(), Some(TopicRead { assignment, zk_version, czxid }))
}

/// States first, the topic's own znode and the request last, so that a deletion cut short is taken up again.
fn delete(image: &Image, topic: &Arc<str>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut last = Vec::new();
    if let Some(known) = image.topic(topic) {
        for partition in known.partitions.iter().filter(|partition| partition.state.is_some()) {
            let below = [
                paths::partition_state(topic, partition.partition),
                paths::topic_partition(topic, partition.partition),
            ];
            steps.push(Step { ops: below.iter().map(|path| op::delete(path, -1)).collect(), changes: Vec::new() });
        }
        last.push(op::delete(&paths::topic_partitions(topic), -1));
        last.push(op::delete(&paths::topic(topic), -1));
    }
    last.push(op::delete(&paths::topic_config(topic), -1));
    last.push(op::delete(&paths::delete_topic(topic), -1));
    let changes = vec![
        Change::Topic(topic.clone(), None),
        Change::TopicOverrides(topic.clone(), None),
        Change::Deletion(topic.clone(), false),
    ];
    steps.push(Step { ops: last, changes });
    steps
}

fn data_bytes(op: &MultiOp) -> usize {
    match op {
        MultiOp::Create(create) | MultiOp::CreateContainer(create) => create.data.as_ref().map_or(0, |data| data.len()),
        MultiOp::SetData(set) => set.data.as_ref().map_or(0, |data| data.len()),
        _ => 0,
    }
}

/// Whether an operation that was refused with `code` has nothing left to do: a parent that is there already need not be created, and what is gone need not be deleted.
#[must_use]
pub fn is_settled(op: &MultiOp, code: ErrorCode) -> bool {
    match op {
        MultiOp::Create(create) => code == ErrorCode::NodeExists && is_state_parent(&create.path),
        MultiOp::Delete(delete) => code == ErrorCode::NoNode && delete.version == -1,
        _ => false,
    }
}

fn is_state_parent(path: &str) -> bool {
    path.starts_with(paths::BROKER_TOPICS) && path.contains("/partitions") && !path.ends_with("/state")
}

#[cfg(test)]
mod tests;
