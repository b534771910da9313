//! Who leads next: the controller's rules as functions from the state znode as it is to the state znode to write (Kafka `PartitionChangeBuilder`,
//! `Election`; KIP-966 for eligible leader replicas).
//!
//! A clean election takes its leader from the ISR, or from the ELR once the ISR is empty, so it loses nothing that was acknowledged. An unclean one, only where
//! `unclean.leader.election.enable` allows it, takes any live replica, makes it the whole ISR, and says so in `leader_recovery_state`. Each change of leader
//! raises the leader epoch by one, an unclean start of the old leader included; changes of the ISR alone do not.

use protocol::types::{BrokerId, LeaderEpoch};

use crate::state::{LeaderAndIsr, LeaderRecoveryState, LiveBrokers};

/// What to aim for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    /// Keep the leader while it is valid, else the first assigned replica that is.
    Any,
    /// The first assigned replica if it is valid, else as [`Election::Any`] (`kafka-leader-election.sh --election-type PREFERRED`).
    Preferred,
    /// As [`Election::Any`], and any live replica if none is valid (`--election-type UNCLEAN`, or the topic allows it).
    Unclean,
}

/// What the rules look at besides the state znode.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The replicas in order of preference.
    pub assignment: &'a [BrokerId],
    /// Registered brokers; those that shut down are not eligible.
    pub live: &'a LiveBrokers,
    /// The topic's `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// Whether ELR is kept. Without it the last member of an ISR stays in it when it dies, as in ZooKeeper-based Kafka.
    pub eligible_leader_replicas: bool,
}

/// Whether ELR is kept for a partition: where acknowledgements need several replicas in sync, so that the high watermark stands still below that and those who leave
/// the ISR keep all that is committed. Where one replica is enough, the last one in sync is the only one that surely has everything. An ELR that is the only record of
/// who may lead is kept whatever the setting says by now.
#[must_use]
pub fn keeps_elr(state: &LeaderAndIsr, min_insync_replicas: usize, replicas: usize) -> bool {
    min_insync_replicas.min(replicas) > 1 || state.isr.is_empty()
}

/// Elects a leader. `None` when nothing changes, also when nobody can lead and the znode says so already.
#[must_use]
pub fn elect(election: Election, state: &LeaderAndIsr, rules: &Rules<'_>) -> Option<LeaderAndIsr> {
    let valid = |broker: BrokerId| {
        let holds_all = state.isr.contains(&broker) || (state.isr.is_empty() && state.elr.contains(&broker));
        holds_all && rules.assignment.contains(&broker) && rules.live.is_eligible(broker)
    };
    let preferred = rules.assignment.first().copied().filter(|first| election == Election::Preferred && valid(*first));
    let clean = preferred
        .or_else(|| Some(state.leader).filter(|leader| valid(*leader)))
        .or_else(|| rules.assignment.iter().copied().find(|broker| valid(*broker)));
    if let Some(leader) = clean {
        return (leader != state.leader).then(|| with_leader(state, leader, rules));
    }
    if election == Election::Unclean
        && let Some(leader) = rules.assignment.iter().copied().find(|broker| rules.live.is_eligible(*broker))
    {
        let mut next = with_leader(state, leader, rules);
        next.isr = vec![leader];
        next.leader_recovery_state = LeaderRecoveryState::Recovering;
        next.elr.clear();
        next.last_known_elr.clear();
        return Some(next);
    }
    (state.leader != BrokerId::NONE).then(|| LeaderAndIsr {
        leader: BrokerId::NONE,
        leader_epoch: LeaderEpoch(state.leader_epoch.0 + 1),
        ..state.clone()
    })
}

fn with_leader(state: &LeaderAndIsr, leader: BrokerId, rules: &Rules<'_>) -> LeaderAndIsr {
    let mut next = LeaderAndIsr { leader, leader_epoch: LeaderEpoch(state.leader_epoch.0 + 1), ..state.clone() };
    if !next.isr.contains(&leader) {
        // Elected from the ELR: it is the first member of the new ISR.
        next.isr.push(leader);
        keep_eligible(state, &mut next, rules, &[]);
    }
    next
}

/// The same leader in a new epoch: what an unclean start of the leader calls for.
#[must_use]
pub fn raise_epoch(state: &LeaderAndIsr) -> LeaderAndIsr {
    LeaderAndIsr { leader_epoch: LeaderEpoch(state.leader_epoch.0 + 1), ..state.clone() }
}

/// Takes brokers that are gone out of the ISR, keeps the ELR, and elects a new leader if the old one is among them. `unclean_shutdown` names those that came back
/// without having shut down in order: a power loss may have cost them records, so they leave the ELR too. `None` when nothing changes.
#[must_use]
pub fn without_brokers(
    gone: &[BrokerId],
    unclean_shutdown: &[BrokerId],
    election: Election,
    state: &LeaderAndIsr,
    rules: &Rules<'_>,
) -> Option<LeaderAndIsr> {
    let is_out = |broker: &BrokerId| gone.contains(broker) || unclean_shutdown.contains(broker);
    let mut next = state.clone();
    next.isr.retain(|broker| !is_out(broker));
    // Whoever was in sync last stays, or the next election could not tell who holds everything.
    let last = Some(state.leader).filter(|leader| state.isr.contains(leader)).or(state.isr.first().copied());
    if next.isr.is_empty() && !rules.eligible_leader_replicas {
        next.isr.extend(last);
    }
    keep_eligible(state, &mut next, rules, unclean_shutdown);
    if next.isr.is_empty() && next.elr.is_empty() {
        // A power loss may have cost the last one records, but nobody else is known to have more.
        next.isr.extend(last);
        if next.isr.is_empty() {
            next.elr.clone_from(&state.elr);
        }
        next.last_known_elr.clone_from(&state.last_known_elr);
    }
    if is_out(&next.leader) || next.leader == BrokerId::NONE || next.leader_epoch != state.leader_epoch {
        let led_by_the_gone = is_out(&next.leader);
        match elect(election, &next, rules) {
            Some(elected) => next = elected,
            // It is gone by our own count even if its registration still stands, and comes back only with a new epoch.
            None if led_by_the_gone => {
                next.leader = BrokerId::NONE;
                next.leader_epoch = LeaderEpoch(state.leader_epoch.0 + 1);
            }
            None => {}
        }
    }
    (next != *state).then_some(next)
}

/// Fills the ELR of `next`, whose ISR is set already, from the state before it (Kafka `maybePopulateTargetElr`): with a full ISR nobody else is needed;
/// below that, whoever leaves the ISR stays eligible, because the high watermark does not rise past what it holds.
pub fn keep_eligible(before: &LeaderAndIsr, next: &mut LeaderAndIsr, rules: &Rules<'_>, unclean_shutdown: &[BrokerId]) {
    let Rules { assignment, min_insync_replicas, eligible_leader_replicas: kept, .. } = *rules;
    let full = !kept || (!next.isr.is_empty() && next.isr.len() >= min_insync_replicas.min(assignment.len()));
    let known = [&before.elr[..], &before.isr[..]];
    (next.elr, next.last_known_elr) =
        eligible(known, &before.last_known_elr, &next.isr, (!full).then_some(assignment), unclean_shutdown);
}

/// ELR and last known ELR beside `isr`: of those who were `known` to hold everything, the assigned ones that are not in it. Both are empty without an assignment, which
/// stands for a full ISR.
pub(crate) fn eligible(
    known: [&[BrokerId]; 2],
    last_known: &[BrokerId],
    isr: &[BrokerId],
    assignment: Option<&[BrokerId]>,
    unclean_shutdown: &[BrokerId],
) -> (Vec<BrokerId>, Vec<BrokerId>) {
    let (mut elr, mut last) = (Vec::new(), Vec::new());
    let Some(assignment) = assignment else { return (elr, last) };
    let known = || known.into_iter().flatten().copied();
    for broker in known() {
        let is_eligible = assignment.contains(&broker) && !unclean_shutdown.contains(&broker);
        if is_eligible && !isr.contains(&broker) && !elr.contains(&broker) {
            elr.push(broker);
        }
    }
    for broker in last_known.iter().copied().chain(known()) {
        if !isr.contains(&broker) && !elr.contains(&broker) && !last.contains(&broker) {
            last.push(broker);
        }
    }
    (elr, last)
}

#[cfg(test)]
mod tests;
