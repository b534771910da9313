//! What a controller does about an image: a plain function, so that every case is a test.

use std::sync::Arc;

use client::zookeeper::znodes::PartitionState as StateZnode;
use protocol::types::{BrokerId, LeaderEpoch};
use replication::election::{Election, Rules as ElectionRules, elect, without_brokers};
use replication::{BrokerEpoch, LeaderAndIsr, LiveBrokers};

use crate::metadata::{Image, Partition, PartitionState, Topic};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Give a topic without an id one.
    NameTopic {
        /// The topic.
        topic: Arc<str>,
    },
    /// Write the first state of a partition.
    CreateState {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The state.
        state: StateZnode,
        /// Whether the topic has no state at all yet, so that the parent must be made.
        first_of_topic: bool,
    },
    /// Replace the state of a partition.
    SetState {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The state.
        state: StateZnode,
        /// Version that it replaces.
        expected: i32,
    },
    /// Take a topic out of the tree.
    DeleteTopic {
        /// The topic.
        topic: Arc<str>,
    },
    /// Drop a request to delete a topic that is not there, or that may not be deleted.
    ForgetDeletion {
        /// The topic.
        topic: Arc<str>,
    },
    /// Drop the request for a preferred replica election, done.
    ForgetPreferredElection,
}

/// What the plan depends on besides the image.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Epoch of this controller.
    pub controller_epoch: i32,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
}

/// What the tree needs: leaders for partitions without a live one, ids, deletions.
#[must_use]
pub fn plan(image: &Image, rules: Rules) -> Vec<Action> {
    let mut actions = Vec::new();
    for topic in &image.deletions {
        let deletes = rules.delete_topics && image.topic(topic).is_some();
        let topic = topic.clone();
        actions.push(if deletes { Action::DeleteTopic { topic } } else { Action::ForgetDeletion { topic } });
    }
    for topic in image.topics.values() {
        if rules.delete_topics && image.deletions.contains(&topic.name) {
            continue;
        }
        if topic.assignment.topic_id.is_none() {
            actions.push(Action::NameTopic { topic: topic.name.clone() });
        }
        elect_topic(image, topic, rules, &mut actions);
    }
    actions
}

fn elect_topic(image: &Image, topic: &Topic, rules: Rules, actions: &mut Vec<Action>) {
    let mut first_of_topic = topic.partitions.iter().all(|partition| partition.state.is_none());
    for partition in &topic.partitions {
        match &partition.state {
            None => {
                if let Some(state) = first_state(image, partition, rules) {
                    let (topic, partition) = (topic.name.clone(), partition.partition);
                    actions.push(Action::CreateState { topic, partition, state, first_of_topic });
                    first_of_topic = false;
                }
            }
            Some(state) => {
                let next = after_deaths(image, topic, partition, state);
                actions.extend(next.map(|next| set_state(topic, partition, state, &next, rules.controller_epoch)));
            }
        }
    }
}

fn set_state(
    topic: &Topic,
    partition: &Partition,
    old: &PartitionState,
    next: &LeaderAndIsr,
    controller_epoch: i32,
) -> Action {
    let state = StateZnode { controller_epoch, ..old.with(next) };
    Action::SetState { topic: topic.name.clone(), partition: partition.partition, state, expected: old.zk_version }
}

/// A new partition is led by its first live replica, and all live ones are in sync: there is nothing to lack yet. Without a live replica it waits.
fn first_state(image: &Image, partition: &Partition, rules: Rules) -> Option<StateZnode> {
    let isr: Vec<i32> = partition.replicas.iter().copied().filter(|replica| image.is_live(*replica)).collect();
    let leader = *isr.first()?;
    Some(StateZnode { controller_epoch: rules.controller_epoch, leader, leader_epoch: 0, isr, ..StateZnode::default() })
}

/// The state after brokers that are not registered any more were taken out of it, if that changes anything.
fn after_deaths(image: &Image, topic: &Topic, partition: &Partition, state: &PartitionState) -> Option<LeaderAndIsr> {
    let all = partition.replicas.iter().chain(&state.isr).chain(std::iter::once(&state.leader));
    let gone: Vec<BrokerId> = all.copied().filter(|id| *id != -1 && !image.is_live(*id)).map(BrokerId).collect();
    if gone.is_empty() && state.leader != -1 {
        return None;
    }
    let election = if topic.config.unclean_leader_election { Election::Unclean } else { Election::Any };
    with_rules(image, topic, partition, |rules| {
        without_brokers(&gone, &[], election, &state.to_leader_and_isr(), rules)
    })
}

fn with_rules<T>(
    image: &Image,
    topic: &Topic,
    partition: &Partition,
    decide: impl FnOnce(&ElectionRules<'_>) -> T,
) -> T {
    let assignment: Vec<BrokerId> = partition.replicas.iter().copied().map(BrokerId).collect();
    let live: LiveBrokers =
        image.brokers.values().map(|broker| (BrokerId(broker.id), BrokerEpoch(broker.epoch))).collect();
    decide(&ElectionRules {
        assignment: &assignment,
        live: &live,
        min_insync_replicas: usize::try_from(topic.config.min_insync_replicas).unwrap_or(1),
        eligible_leader_replicas: false,
    })
}

/// Moves of leadership to preferred replicas: of the named partitions, or of all.
#[must_use]
pub fn prefer(image: &Image, named: Option<&[(String, i32)]>, controller_epoch: i32) -> Vec<Action> {
    let mut actions = Vec::new();
    for topic in image.topics.values() {
        for partition in &topic.partitions {
            let asked = named.is_none_or(|named| {
                named.iter().any(|(name, number)| **name == *topic.name && *number == partition.partition)
            });
            let Some(state) = partition.state.as_ref().filter(|state| asked && image.is_live(state.leader)) else {
                continue;
            };
            let next = with_rules(image, topic, partition, |rules| {
                elect(Election::Preferred, &state.to_leader_and_isr(), rules)
            });
            actions.extend(next.map(|next| set_state(topic, partition, state, &next, controller_epoch)));
        }
    }
    actions
}

/// Why an election that somebody asked for does not take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotElected {
    /// The preferred replica leads already, or, where an unclean election is asked for, anybody does.
    NotNeeded,
    /// Nobody who could lead is alive.
    NobodyCan,
}

/// The election of one partition that a client asks for: [`Election::Preferred`] or [`Election::Unclean`].
///
/// # Errors
/// Why there is none.
pub fn elect_on_request(
    image: &Image,
    topic: &Topic,
    partition: &Partition,
    election: Election,
    controller_epoch: i32,
) -> Result<Action, NotElected> {
    let state = partition.state.as_ref().ok_or(NotElected::NobodyCan)?;
    let preferred = partition.replicas.first().copied();
    let needed = match election {
        Election::Preferred => Some(state.leader) != preferred,
        _ => !image.is_live(state.leader),
    };
    if !needed {
        return Err(NotElected::NotNeeded);
    }
    let next = with_rules(image, topic, partition, |rules| elect(election, &state.to_leader_and_isr(), rules));
    let next = next.filter(|next| match election {
        Election::Preferred => Some(next.leader.0) == preferred,
        _ => next.leader != BrokerId::NONE,
    });
    let next = next.ok_or(NotElected::NobodyCan)?;
    Ok(set_state(topic, partition, state, &next, controller_epoch))
}

/// What a broker that stops leaves to others.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HandOver {
    /// New leaders, and ISRs without the broker.
    pub actions: Vec<Action>,
    /// Partitions of several replicas that nobody else can lead now.
    pub remaining: Vec<(Arc<str>, i32)>,
}

/// Moves leaderships of a broker that is about to stop to other live replicas in sync, and takes it out of the ISRs it is in. A partition with one replica stays: there is
/// nobody to give it to, and nothing to wait for.
#[must_use]
pub fn hand_over(image: &Image, broker: i32, controller_epoch: i32) -> HandOver {
    let mut moves = HandOver::default();
    for topic in image.topics.values() {
        for partition in topic.partitions.iter().filter(|partition| partition.replicas.len() > 1) {
            let Some(state) = &partition.state else { continue };
            let isr: Vec<i32> = state.isr.iter().copied().filter(|replica| *replica != broker).collect();
            let next = |leader: i32| LeaderAndIsr {
                leader: BrokerId(leader),
                leader_epoch: LeaderEpoch(state.leader_epoch + 1),
                isr: isr.iter().copied().map(BrokerId).collect(),
                ..state.to_leader_and_isr()
            };
            if state.leader != broker {
                if state.isr.contains(&broker) && !isr.is_empty() {
                    moves.actions.push(set_state(topic, partition, state, &next(state.leader), controller_epoch));
                }
                continue;
            }
            match partition.replicas.iter().find(|replica| isr.contains(replica) && image.is_live(**replica)) {
                Some(leader) => {
                    moves.actions.push(set_state(topic, partition, state, &next(*leader), controller_epoch))
                }
                None => moves.remaining.push((topic.name.clone(), partition.partition)),
            }
        }
    }
    moves
}

#[cfg(test)]
mod tests;
