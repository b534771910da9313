use super::*;
use crate::state::BrokerEpoch;

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn live(brokers: &[i32]) -> LiveBrokers {
    brokers.iter().map(|id| (BrokerId(*id), BrokerEpoch(1))).collect()
}

fn state(leader: i32, isr: &[i32], elr: &[i32]) -> LeaderAndIsr {
    LeaderAndIsr { leader_epoch: LeaderEpoch(5), elr: ids(elr), ..LeaderAndIsr::new(BrokerId(leader), ids(isr)) }
}

/// Elects among replicas 1, 2, 3 and tells (leader, epoch, isr, recovering), or `None` when nothing changes.
fn check(election: Election, before: &LeaderAndIsr, alive: &[i32], expected: Option<(i32, i32, &[i32], bool)>) {
    let (assignment, live) = (ids(&[1, 2, 3]), live(alive));
    let rules = Rules { assignment: &assignment, live: &live, min_insync_replicas: 2, eligible_leader_replicas: true };
    let after = elect(election, before, &rules).map(|after| {
        let recovering = after.leader_recovery_state == LeaderRecoveryState::Recovering;
        (after.leader, after.leader_epoch.0, after.isr, recovering)
    });
    let expected = expected.map(|(leader, epoch, isr, recovering)| (BrokerId(leader), epoch, ids(isr), recovering));
    assert_eq!(after, expected, "{election:?} {before:?} {alive:?}");
}

#[test]
fn a_valid_leader_stays() {
    check(Election::Any, &state(2, &[2, 3], &[]), &[1, 2, 3], None);
    check(Election::Unclean, &state(2, &[2, 3], &[]), &[1, 2, 3], None);
    check(Election::Preferred, &state(1, &[1, 2], &[]), &[1, 2, 3], None);
}

#[test]
fn the_preferred_replica_leads_if_it_is_in_sync() {
    check(Election::Preferred, &state(2, &[2, 1], &[]), &[1, 2, 3], Some((1, 6, &[2, 1], false)));
    check(Election::Preferred, &state(2, &[2, 3], &[]), &[1, 2, 3], None);
    check(Election::Preferred, &state(2, &[2, 1], &[]), &[2, 3], None);
}

#[test]
fn a_clean_election_takes_the_first_assigned_replica_in_sync() {
    check(Election::Any, &state(1, &[3, 2, 1], &[]), &[2, 3], Some((2, 6, &[3, 2, 1], false)));
    check(Election::Any, &state(1, &[1, 3], &[]), &[2, 3], Some((3, 6, &[1, 3], false)));
}

#[test]
fn without_a_replica_in_sync_there_is_no_leader() {
    check(Election::Any, &state(1, &[1], &[]), &[2, 3], Some((-1, 6, &[1], false)));
    check(Election::Any, &state(-1, &[1], &[]), &[2, 3], None);
}

#[test]
fn an_unclean_election_is_the_last_resort_and_says_so() {
    check(Election::Unclean, &state(1, &[1], &[]), &[2, 3], Some((2, 6, &[2], true)));
    check(Election::Unclean, &state(1, &[1, 3], &[]), &[2, 3], Some((3, 6, &[1, 3], false)));
    check(Election::Unclean, &state(1, &[1], &[]), &[], Some((-1, 6, &[1], false)));
}

#[test]
fn an_empty_isr_falls_back_to_the_eligible() {
    check(Election::Any, &state(-1, &[], &[3]), &[2, 3], Some((3, 6, &[3], false)));
    check(Election::Any, &state(-1, &[1], &[3]), &[2, 3], None);
    check(Election::Unclean, &state(-1, &[], &[3]), &[2, 3], Some((3, 6, &[3], false)));
}

/// Leader, ISR, ELR and last known ELR.
type Replicas<'a> = (i32, &'a [i32], &'a [i32], &'a [i32]);

/// Removes brokers from a partition on 1, 2, 3; `None` when nothing changes.
fn check_without(
    (gone, unclean): (&[i32], &[i32]),
    elr_kept: bool,
    before: &LeaderAndIsr,
    expected: Option<Replicas<'_>>,
) {
    let assignment = ids(&[1, 2, 3]);
    let alive: Vec<i32> = [1, 2, 3].into_iter().filter(|id| !gone.contains(id)).collect();
    let live = live(&alive);
    let rules =
        Rules { assignment: &assignment, live: &live, min_insync_replicas: 2, eligible_leader_replicas: elr_kept };
    let after = without_brokers(&ids(gone), &ids(unclean), Election::Any, before, &rules);
    let after = after.map(|after| (after.leader, after.isr, after.elr, after.last_known_elr));
    let expected = expected.map(|(leader, isr, elr, last)| (BrokerId(leader), ids(isr), ids(elr), ids(last)));
    assert_eq!(after, expected, "{gone:?} {unclean:?} {before:?}");
}

#[test]
fn whoever_leaves_an_isr_below_the_minimum_stays_eligible() {
    let full = state(1, &[1, 2, 3], &[]);
    check_without((&[3], &[]), true, &full, Some((1, &[1, 2], &[], &[])));
    check_without((&[1], &[]), true, &full, Some((2, &[2, 3], &[], &[])));
    check_without((&[1, 3], &[]), true, &full, Some((2, &[2], &[1, 3], &[])));
    check_without((&[1, 2, 3], &[]), true, &full, Some((-1, &[], &[1, 2, 3], &[])));
    check_without((&[2], &[]), true, &state(1, &[1], &[]), None);
}

#[test]
fn a_power_loss_ends_eligibility() {
    let mut before = state(-1, &[], &[1, 2]);
    check_without((&[], &[1]), true, &before, Some((2, &[2], &[], &[1])));
    before = state(1, &[1, 2, 3], &[]);
    check_without((&[3], &[2]), true, &before, Some((1, &[1], &[3], &[2])));
}

#[test]
fn the_last_one_stays_though_a_power_loss_may_have_cost_it_records() {
    // It does not lead on in its old epoch, and is elected anew.
    check_without((&[], &[1]), true, &state(1, &[1], &[]), Some((-1, &[1], &[], &[])));
    check_without((&[], &[1]), false, &state(1, &[1], &[]), Some((-1, &[1], &[], &[])));
    check_without((&[], &[1]), true, &state(-1, &[1], &[]), Some((1, &[1], &[], &[])));
    check_without((&[], &[1]), true, &state(-1, &[], &[1]), Some((1, &[1], &[], &[])));
    check_without((&[], &[1]), true, &state(1, &[1], &[2]), Some((2, &[2], &[], &[1])));
    check_without((&[2], &[1]), true, &state(1, &[1], &[2]), Some((-1, &[], &[2], &[1])));
}

#[test]
fn elr_is_kept_where_several_replicas_must_be_in_sync() {
    let check = |isr: &[i32], min: usize, replicas: usize, expected: bool| {
        assert_eq!(keeps_elr(&state(1, isr, &[]), min, replicas), expected, "{isr:?} {min} {replicas}");
    };
    check(&[1], 1, 3, false);
    check(&[1], 2, 3, true);
    check(&[1], 2, 1, false);
    check(&[], 1, 3, true);
}

#[test]
fn without_elr_the_last_in_sync_stays_in_the_isr() {
    check_without((&[1, 2, 3], &[]), false, &state(2, &[1, 2], &[]), Some((-1, &[2], &[], &[])));
    check_without((&[1], &[]), false, &state(1, &[1, 2], &[]), Some((2, &[2], &[], &[])));
    check_without((&[1], &[]), false, &state(1, &[1], &[]), Some((-1, &[1], &[], &[])));
}
