//! What a controller does about an image: a plain function, so that every case is a test.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use client::zookeeper::znodes::{PartitionState as StateZnode, TopicAssignment};
use protocol::types::BrokerId;
use replication::election::{Election, Rules as ElectionRules, elect, keeps_elr, without_brokers};
use replication::{BrokerEpoch, LeaderAndIsr, LiveBrokers};

use super::reassignment;
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
    SetState(SetState),
    /// Replace the replicas of partitions, and their states with them.
    SetAssignment {
        /// The topic.
        topic: Arc<str>,
        /// What its znode says from now on.
        assignment: TopicAssignment,
        /// Version that it replaces.
        expected: i32,
        /// States that change together with it.
        states: Vec<SetState>,
    },
    /// Replace what is asked in `/admin/reassign_partitions` by what is left of it; the znode goes when nothing is.
    LeaveReassignments {
        /// Topic, partition and replicas.
        left: Vec<(String, i32, Vec<i32>)>,
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

/// A new state of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetState {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The state.
    pub state: StateZnode,
    /// Version that it replaces.
    pub expected: i32,
}

/// What the plan depends on besides the image.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Epoch of this controller.
    pub controller_epoch: i32,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
}

/// What the tree needs: leaders for partitions without a live one, others in the place of brokers that stop, moves of replicas, ids, deletions; and, once nothing of that
/// is left, the elections that somebody asked for.
#[must_use]
pub fn plan(image: &Image, rules: Rules) -> Vec<Action> {
    let mut actions = Vec::new();
    for topic in &image.deletions {
        let deletes = rules.delete_topics && image.topic(topic).is_some();
        let topic = topic.clone();
        actions.push(if deletes { Action::DeleteTopic { topic } } else { Action::ForgetDeletion { topic } });
    }
    let doomed = |topic: &Topic| rules.delete_topics && image.deletions.contains(&topic.name);
    let unnamed = |topic: &Topic| topic.assignment.topic_id.is_none();
    actions.extend(reassignment::plan(image, rules.controller_epoch, |topic| !doomed(topic) && !unnamed(topic)));
    let moving: HashSet<(Arc<str>, i32)> = actions.iter().flat_map(Action::states).map(SetState::partition).collect();
    let voters = Voters::of(image);
    for topic in image.topics.values().filter(|topic| !doomed(topic)) {
        if unnamed(topic) {
            actions.push(Action::NameTopic { topic: topic.name.clone() });
        }
        elect_topic(&voters, topic, rules, &moving, &mut actions);
    }
    if let Some(named) = image.preferred_election.as_ref().filter(|_| actions.is_empty()) {
        actions.extend(prefer(image, named, rules.controller_epoch));
        actions.push(Action::ForgetPreferredElection);
    }
    actions
}

impl Action {
    /// The states it replaces.
    fn states(&self) -> &[SetState] {
        match self {
            Action::SetState(state) => std::slice::from_ref(state),
            Action::SetAssignment { states, .. } => states,
            _ => &[],
        }
    }
}

impl SetState {
    fn partition(&self) -> (Arc<str>, i32) {
        (self.topic.clone(), self.partition)
    }

    /// The state of a partition after the replication rules changed it.
    pub(super) fn of(
        topic: &Topic,
        partition: &Partition,
        old: &PartitionState,
        next: &LeaderAndIsr,
        controller_epoch: i32,
    ) -> SetState {
        let state = StateZnode { controller_epoch, ..old.with(next) };
        SetState { topic: topic.name.clone(), partition: partition.partition, state, expected: old.zk_version }
    }
}

/// Who may lead, looked up once for all partitions of an image.
pub(super) struct Voters<'a> {
    image: &'a Image,
    /// All that are registered, also those that are about to stop.
    registered: LiveBrokers,
}

impl<'a> Voters<'a> {
    pub(super) fn of(image: &'a Image) -> Voters<'a> {
        let registered = image.brokers.values().map(|broker| (BrokerId(broker.id), BrokerEpoch(broker.epoch)));
        Voters { image, registered: registered.collect() }
    }

    /// Asks the replication rules about a partition whose replicas are `assignment`. Brokers that are about to stop may lead where `last_resort` says so.
    pub(super) fn decide<T>(
        &self,
        topic: &Topic,
        assignment: &[i32],
        state: &LeaderAndIsr,
        last_resort: bool,
        decide: impl FnOnce(&ElectionRules<'_>) -> T,
    ) -> T {
        let assignment: Vec<BrokerId> = assignment.iter().copied().map(BrokerId).collect();
        let min_insync_replicas = min_insync_replicas(topic);
        decide(&ElectionRules {
            assignment: &assignment,
            live: if last_resort { &self.registered } else { &self.image.live },
            min_insync_replicas,
            eligible_leader_replicas: keeps_elr(state, min_insync_replicas, assignment.len()),
        })
    }

    /// The state after brokers that are not registered any more, or about to stop, were taken out of it, if that changes anything.
    fn next(&self, topic: &Topic, partition: &Partition, state: &PartitionState) -> Option<LeaderAndIsr> {
        let Image { live, brokers, .. } = self.image;
        let is_assigned = |id: &i32| partition.replicas.contains(id);
        // A broker that is about to stop hands over where somebody else can take over.
        let handed_over = state.isr.iter().any(|id| live.is_eligible(BrokerId(*id)) && is_assigned(id));
        let is_out = |id: &i32| match brokers.get(id) {
            None => true,
            Some(broker) => handed_over && broker.shutting_down,
        };
        let lost = state.leader == -1 || is_out(&state.leader) || state.isr.iter().any(is_out);
        let stray = state.isr.iter().chain(&state.elr).any(|id| !is_assigned(id)) && state.isr.iter().any(is_assigned);
        let enough = min_insync_replicas(topic).min(partition.replicas.len());
        let outdated = !state.elr.is_empty() && !state.isr.is_empty() && state.isr.len() >= enough;
        if !(lost || stray || outdated) {
            return None;
        }
        let before = state.to_leader_and_isr();
        let members = state.isr.iter().chain(std::iter::once(&state.leader)).filter(|id| **id != -1);
        let gone: Vec<BrokerId> =
            members.filter(|id| is_out(id) || (stray && !is_assigned(id))).copied().map(BrokerId).collect();
        let election = if topic.config.unclean_leader_election { Election::Unclean } else { Election::Any };
        self.decide(topic, &partition.replicas, &before, !handed_over, |rules| {
            without_brokers(&gone, &[], election, &before, rules)
        })
    }
}

fn min_insync_replicas(topic: &Topic) -> usize {
    usize::try_from(topic.config.min_insync_replicas).unwrap_or(1)
}

fn elect_topic(
    voters: &Voters<'_>,
    topic: &Topic,
    rules: Rules,
    moving: &HashSet<(Arc<str>, i32)>,
    actions: &mut Vec<Action>,
) {
    let mut first_of_topic = topic.partitions.iter().all(|partition| partition.state.is_none());
    for partition in &topic.partitions {
        match &partition.state {
            None => {
                if let Some(state) = first_state(voters.image, &partition.replicas, rules.controller_epoch) {
                    let (topic, partition) = (topic.name.clone(), partition.partition);
                    actions.push(Action::CreateState { topic, partition, state, first_of_topic });
                    first_of_topic = false;
                }
            }
            Some(state) => {
                let Some(next) = voters.next(topic, partition, state) else { continue };
                let set = SetState::of(topic, partition, state, &next, rules.controller_epoch);
                if moving.is_empty() || !moving.contains(&set.partition()) {
                    actions.push(Action::SetState(set));
                }
            }
        }
    }
}

/// A new partition is led by its first live replica, and all live ones are in sync: there is nothing to lack yet. Without a live replica it waits.
#[must_use]
pub fn first_state(image: &Image, replicas: &[i32], controller_epoch: i32) -> Option<StateZnode> {
    let isr: Vec<i32> = replicas.iter().copied().filter(|replica| image.is_live(*replica)).collect();
    let staying = isr.iter().find(|replica| image.live.is_eligible(BrokerId(**replica)));
    let leader = *staying.or(isr.first())?;
    Some(StateZnode { controller_epoch, leader, leader_epoch: 0, isr, ..StateZnode::default() })
}

/// Moves of leadership to the preferred replicas of the named partitions, where those are in sync.
#[must_use]
pub fn prefer(image: &Image, named: &[(String, i32)], controller_epoch: i32) -> Vec<Action> {
    let voters = Voters::of(image);
    let named: BTreeSet<(&str, i32)> = named.iter().map(|(topic, partition)| (topic.as_str(), *partition)).collect();
    let mut actions = Vec::new();
    for (name, number) in named {
        let Some((topic, partition)) = image.topic(name).and_then(|topic| Some((topic, topic.partition(number)?)))
        else {
            continue;
        };
        let Some(state) = partition.state.as_ref().filter(|state| image.is_live(state.leader)) else { continue };
        let before = state.to_leader_and_isr();
        let next = voters
            .decide(topic, &partition.replicas, &before, true, |rules| elect(Election::Preferred, &before, rules));
        let next = next.filter(|next| image.live.is_eligible(next.leader));
        actions
            .extend(next.map(|next| Action::SetState(SetState::of(topic, partition, state, &next, controller_epoch))));
    }
    actions
}

/// Partitions to give back to their preferred replicas: those of each broker that leads too few of the partitions it should, by more than `percentage` of them
/// (`leader.imbalance.per.broker.percentage`).
#[must_use]
pub fn imbalanced(image: &Image, percentage: i32) -> Vec<(String, i32)> {
    // By preferred leader: partitions it should lead, and those of them it does not.
    let mut of_broker: std::collections::BTreeMap<i32, (usize, Vec<(String, i32)>)> = Default::default();
    for topic in image.topics.values().filter(|topic| !image.deletions.contains(&topic.name)) {
        for partition in &topic.partitions {
            let (Some(preferred), Some(state)) = (partition.replicas.first(), &partition.state) else { continue };
            let (should, elsewhere) = of_broker.entry(*preferred).or_default();
            *should += 1;
            if state.leader != *preferred {
                elsewhere.push((topic.name.to_string(), partition.partition));
            }
        }
    }
    let percentage = usize::try_from(percentage).unwrap_or_default();
    let unbalanced = of_broker.into_iter().filter(|(broker, (should, elsewhere))| {
        image.live.is_eligible(BrokerId(*broker)) && elsewhere.len() * 100 > should * percentage
    });
    let back = unbalanced.flat_map(|(_, (_, elsewhere))| elsewhere);
    // Leaders of partitions that move are left alone, as Kafka leaves them.
    back.filter(|(topic, partition)| {
        image.topic(topic).is_some_and(|topic| !reassignment::is_moving(&topic.assignment, *partition))
    })
    .collect()
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
) -> Result<SetState, NotElected> {
    let state = partition.state.as_ref().ok_or(NotElected::NobodyCan)?;
    let preferred = partition.replicas.first().copied();
    let needed = match election {
        Election::Preferred => Some(state.leader) != preferred,
        _ => !image.is_live(state.leader),
    };
    if !needed {
        return Err(NotElected::NotNeeded);
    }
    let before = state.to_leader_and_isr();
    let next = Voters::of(image)
        .decide(topic, &partition.replicas, &before, false, |rules| elect(election, &before, rules))
        .filter(|next| match election {
            Election::Preferred => Some(next.leader.0) == preferred,
            _ => next.leader != BrokerId::NONE,
        });
    let next = next.ok_or(NotElected::NobodyCan)?;
    Ok(SetState::of(topic, partition, state, &next, controller_epoch))
}

/// What a broker that is about to stop still leads although others hold replicas: nobody of them is in sync and alive. A partition with one replica does not count: there
/// is nobody to give it to, and nothing to wait for.
#[must_use]
pub fn still_led(image: &Image, broker: i32) -> Vec<(Arc<str>, i32)> {
    let partitions = image.topics.values().flat_map(|topic| topic.partitions.iter().map(move |p| (topic, p)));
    partitions
        .filter(|(_, partition)| partition.replicas.len() > 1)
        .filter(|(_, partition)| partition.state.as_ref().is_some_and(|state| state.leader == broker))
        .map(|(topic, partition)| (topic.name.clone(), partition.partition))
        .collect()
}

/// Whether the tree has what a controller makes of it: nothing is left to be handed over by brokers that are about to stop.
#[must_use]
pub fn is_handed_over(image: &Image) -> bool {
    let voters = Voters::of(image);
    image.topics.values().all(|topic| {
        topic.partitions.iter().all(|partition| {
            partition.state.as_ref().is_none_or(|state| voters.next(topic, partition, state).is_none())
        })
    })
}

/// What a broker writes before it registers, where its log lacks records that others may have (`lacks`: it did not shut down in order, so a power loss may have cost it some,
/// or the log is gone): it leaves every ISR and ELR in which it is not the last (KIP-966). It acts on its own states only, each on condition that nobody else wrote it.
#[must_use]
pub fn after_unclean_start(image: &Image, broker: i32, lacks: impl Fn(&str, i32) -> bool) -> Vec<SetState> {
    let voters = Voters::of(image);
    let own = BrokerId(broker);
    let mut live = (*image.live).clone();
    live.unregister(own);
    let mut states = Vec::new();
    for topic in image.topics.values() {
        for partition in &topic.partitions {
            let Some(state) = &partition.state else { continue };
            let is_named = state.isr.contains(&broker) || state.elr.contains(&broker);
            if !is_named || partition.replicas.len() < 2 || !lacks(&topic.name, partition.partition) {
                continue;
            }
            let before = state.to_leader_and_isr();
            let next = voters.decide(topic, &partition.replicas, &before, false, |rules| {
                without_brokers(&[], &[own], Election::Any, &before, &ElectionRules { live: &live, ..*rules })
            });
            // The last one stays. Whether it leads on in its old epoch is its own affair: it asks for another.
            let next = next.filter(|next| !next.isr.contains(&own) && !next.elr.contains(&own));
            states.extend(next.map(|next| SetState::of(topic, partition, state, &next, state.controller_epoch)));
        }
    }
    states
}

#[cfg(test)]
mod tests;
