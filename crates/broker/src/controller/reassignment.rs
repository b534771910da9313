//! Moves of replicas between brokers (KIP-455): what a topic's znode says while a partition moves, and the steps from the old replicas to the new ones.
//!
//! A move that is under way stands in the tree, so a new controller takes it up where the old one was: the partition has old and new replicas together, the new ones are
//! also its `adding_replicas`, those that will go its `removing_replicas`. Once every new replica is in sync, one multi elects a leader among them if that is needed,
//! takes the old ones out of the ISR and out of the assignment; the brokers that are named no more delete their logs. The leader epoch rises then, so that an old replica
//! that has not heard of it cannot come back into the ISR by its fetches.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::zookeeper::znodes::TopicAssignment;
use protocol::types::{BrokerId, LeaderEpoch};
use replication::LeaderAndIsr;
use replication::election::{Election, elect, keep_eligible};
use tracing::{info, warn};

use super::plan::{Action, SetState, Voters};
use crate::metadata::{Image, Partition, Topic};

/// Partitions of a topic whose moves end in one multi; the others end in the next.
const FINISHED_AT_ONCE_MAX: usize = 400;

/// What is asked of one partition: the replicas it shall have, or none to take a move back.
pub type Move = (i32, Option<Vec<i32>>);

/// Whether a partition moves.
#[must_use]
pub fn is_moving(assignment: &TopicAssignment, partition: i32) -> bool {
    let names = |moves: &BTreeMap<i32, Vec<i32>>| moves.get(&partition).is_some_and(|ids| !ids.is_empty());
    names(&assignment.adding_replicas) || names(&assignment.removing_replicas)
}

fn without(ids: &[i32], out: Option<&Vec<i32>>) -> Vec<i32> {
    ids.iter().copied().filter(|id| out.is_none_or(|out| !out.contains(id))).collect()
}

fn replicas(assignment: &TopicAssignment, partition: i32) -> &[i32] {
    assignment.partitions.get(&partition).map(Vec::as_slice).unwrap_or_default()
}

/// The replicas a partition has in the end.
#[must_use]
pub fn target(assignment: &TopicAssignment, partition: i32) -> Vec<i32> {
    without(replicas(assignment, partition), assignment.removing_replicas.get(&partition))
}

/// The replicas a partition had before it began to move.
#[must_use]
pub fn origin(assignment: &TopicAssignment, partition: i32) -> Vec<i32> {
    without(replicas(assignment, partition), assignment.adding_replicas.get(&partition))
}

/// Checks the replicas that somebody wants a partition to have.
///
/// # Errors
/// The text for error 39 (INVALID_REPLICA_ASSIGNMENT).
pub fn validate(image: &Image, topic: &Topic, partition: i32, wanted: &[i32]) -> Result<(), String> {
    let mut distinct = wanted.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if wanted.is_empty() {
        return Err("Empty replica list specified in partition reassignment.".to_owned());
    }
    if distinct.len() != wanted.len() {
        return Err(format!("Duplicate replica ids in partition reassignment replica list: {}", listed(wanted)));
    }
    if wanted.iter().any(|id| *id < 0) {
        return Err(format!("Invalid broker id in replica list: {}", listed(wanted)));
    }
    let adding = without(wanted, Some(&origin(&topic.assignment, partition)));
    if adding.iter().any(|id| !image.live.is_eligible(BrokerId(*id))) {
        let live: Vec<i32> = image.live.iter().map(|broker| broker.0).collect();
        return Err(format!(
            "Replica assignment has brokers that are not alive. Replica list: {}, live broker list: {}",
            listed(&adding),
            listed(&live)
        ));
    }
    Ok(())
}

fn listed(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What a topic's znode says once its partitions are on their way to new replicas (none: back to where they came from), and the states that change with it: replicas of
/// an earlier move that are needed no more leave the ISR.
///
/// # Errors
/// The first partition that would lose all its replicas in sync.
pub fn start(image: &Image, topic: &Topic, moves: &[Move], controller_epoch: i32) -> Result<Action, (i32, String)> {
    let voters = Voters::of(image);
    let mut assignment = topic.assignment.clone();
    let mut states = Vec::new();
    for (number, wanted) in moves {
        let origin = origin(&topic.assignment, *number);
        let target = wanted.clone().unwrap_or_else(|| origin.clone());
        let all: Vec<i32> = target.iter().copied().chain(without(&origin, Some(&target))).collect();
        let needless = without(replicas(&topic.assignment, *number), Some(&all));
        if let Some(partition) = topic.partition(*number).filter(|_| !needless.is_empty()) {
            let left = leave(&voters, topic, partition, &all, controller_epoch);
            states.extend(left.ok_or_else(|| (*number, "None of the replicas that stay is in sync.".to_owned()))?);
        }
        put(&mut assignment.adding_replicas, *number, without(&all, Some(&origin)));
        put(&mut assignment.removing_replicas, *number, without(&origin, Some(&target)));
        info!(topic = %topic.name, partition = number, from = ?origin, to = ?target, "moving replicas");
        assignment.partitions.insert(*number, all);
    }
    Ok(Action::SetAssignment { topic: topic.name.clone(), assignment, expected: topic.zk_version, states })
}

fn put(moves: &mut BTreeMap<i32, Vec<i32>>, partition: i32, ids: Vec<i32>) {
    if ids.is_empty() {
        moves.remove(&partition);
    } else {
        moves.insert(partition, ids);
    }
}

/// The state of a partition whose replicas are only `staying` from now on. `None` where no one of them could lead without a loss; without change where there is no state
/// yet.
fn leave(
    voters: &Voters<'_>,
    topic: &Topic,
    partition: &Partition,
    staying: &[i32],
    controller_epoch: i32,
) -> Option<Option<SetState>> {
    let Some(state) = &partition.state else { return Some(None) };
    let before = state.to_leader_and_isr();
    let stays = |id: &BrokerId| staying.contains(&id.0);
    let next = voters.decide(topic, staying, &before, false, |rules| {
        let mut next = LeaderAndIsr { isr: before.isr.iter().copied().filter(stays).collect(), ..before.clone() };
        keep_eligible(&before, &mut next, rules, &[]);
        elect(Election::Any, &next, rules).unwrap_or(next)
    });
    if next.isr.is_empty() || next.leader == BrokerId::NONE {
        return None;
    }
    let next = LeaderAndIsr { leader_epoch: LeaderEpoch(before.leader_epoch.0 + 1), ..next };
    Some(Some(SetState::of(topic, partition, state, &next, controller_epoch)))
}

/// What there is to do about moves: those that `/admin/reassign_partitions` asks for begin, those whose new replicas are all in sync end, and what is done or cannot be done
/// leaves the request. `counts` says which topics may be written at all.
#[must_use]
pub fn plan(image: &Image, controller_epoch: i32, counts: impl Fn(&Topic) -> bool) -> Vec<Action> {
    let mut actions: Vec<Action> = image
        .topics
        .values()
        .filter(|topic| !topic.assignment.adding_replicas.is_empty() || !topic.assignment.removing_replicas.is_empty())
        .filter(|topic| counts(topic))
        .filter_map(|topic| finish(image, topic, controller_epoch))
        .collect();
    if let Some(request) = &image.reassignment {
        let busy: Vec<Arc<str>> = actions
            .iter()
            .filter_map(|action| match action {
                Action::SetAssignment { topic, .. } => Some(topic.clone()),
                _ => None,
            })
            .collect();
        let mut left = Vec::new();
        let mut starting: BTreeMap<Arc<str>, Vec<Move>> = BTreeMap::new();
        for (name, number, wanted) in &request.asked {
            let fate = match image.topic(name) {
                Some(topic) if !counts(topic) && !image.deletions.contains(&topic.name) => Fate::Wait,
                Some(topic) if counts(topic) => fate(image, topic, *number, wanted),
                _ => Fate::Drop("the topic does not exist, or is being deleted".to_owned()),
            };
            match fate {
                Fate::Done => continue,
                Fate::Drop(why) => {
                    warn!(topic = %name, partition = number, "dropping a requested move of replicas: {why}");
                    continue;
                }
                Fate::Start(topic) if !busy.contains(&topic) => {
                    starting.entry(topic).or_default().push((*number, Some(wanted.clone())));
                }
                Fate::Start(_) | Fate::Wait => {}
            }
            left.push((name.clone(), *number, wanted.clone()));
        }
        for (name, moves) in starting {
            let Some(topic) = image.topic(&name) else { continue };
            match start(image, topic, &moves, controller_epoch) {
                Ok(action) => actions.push(action),
                Err((number, why)) => {
                    warn!(topic = %name, partition = number, "dropping a requested move of replicas: {why}");
                    left.retain(|(topic, partition, _)| **topic != *name || *partition != number);
                }
            }
        }
        if left != request.asked || left.is_empty() {
            actions.push(Action::LeaveReassignments { left, expected: request.zk_version });
        }
    }
    actions
}

enum Fate {
    /// It is as asked.
    Done,
    /// It never will be.
    Drop(String),
    /// The move begins.
    Start(Arc<str>),
    /// It is under way.
    Wait,
}

fn fate(image: &Image, topic: &Topic, number: i32, wanted: &[i32]) -> Fate {
    if topic.partition(number).is_none() {
        return Fate::Drop("the partition does not exist".to_owned());
    }
    if target(&topic.assignment, number) == wanted {
        return if is_moving(&topic.assignment, number) { Fate::Wait } else { Fate::Done };
    }
    match validate(image, topic, number, wanted) {
        Ok(()) => Fate::Start(topic.name.clone()),
        Err(why) => Fate::Drop(why),
    }
}

/// Ends the moves of a topic whose new replicas are all in sync.
fn finish(image: &Image, topic: &Topic, controller_epoch: i32) -> Option<Action> {
    let voters = Voters::of(image);
    let mut assignment = topic.assignment.clone();
    let mut states = Vec::new();
    let mut done = false;
    for partition in topic.partitions.iter().filter(|partition| is_moving(&topic.assignment, partition.partition)) {
        if states.len() >= FINISHED_AT_ONCE_MAX {
            break;
        }
        let number = partition.partition;
        let target = target(&topic.assignment, number);
        let in_sync = |id: &i32| partition.state.as_ref().is_some_and(|state| state.isr.contains(id));
        if target.is_empty() || !target.iter().all(in_sync) {
            continue;
        }
        let Some(left) = leave(&voters, topic, partition, &target, controller_epoch) else { continue };
        info!(topic = %topic.name, partition = number, replicas = ?target, "moved replicas");
        states.extend(left);
        assignment.partitions.insert(number, target);
        assignment.adding_replicas.remove(&number);
        assignment.removing_replicas.remove(&number);
        done = true;
    }
    done.then(|| Action::SetAssignment { topic: topic.name.clone(), assignment, expected: topic.zk_version, states })
}

#[cfg(test)]
mod tests;
