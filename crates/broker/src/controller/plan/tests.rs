use std::collections::BTreeMap;

use client::zookeeper::znodes::TopicAssignment;
use protocol::types::Uuid;

use super::*;
use crate::config::Settings;
use crate::metadata::{Change, LiveBroker, TopicRead};

const RULES: Rules = Rules { controller_epoch: 7, delete_topics: true };

/// An image with these live brokers and one topic of one partition.
fn image(live: &[i32], replicas: &[i32], state: Option<(i32, &[i32])>) -> Image {
    let mut image = Image::default();
    let mut apply = |change| image.apply(change, &Settings::default());
    for id in live {
        let broker = LiveBroker { id: *id, endpoints: Vec::new(), rack: None, epoch: 1, is_tidemill: true };
        apply(Change::Broker(*id, Some(broker)));
    }
    let assignment = TopicAssignment {
        topic_id: Some(Uuid([1; 16])),
        partitions: BTreeMap::from([(0, replicas.to_vec())]),
        ..Default::default()
    };
    apply(Change::Topic("t".into(), Some(TopicRead { assignment, zk_version: 0, czxid: 1 })));
    if let Some((leader, isr)) = state {
        let znode =
            StateZnode { leader, leader_epoch: 3, isr: isr.to_vec(), controller_epoch: 1, ..Default::default() };
        apply(Change::State("t".into(), 0, Some(PartitionState { znode, zk_version: 5 })));
    }
    image
}

/// Leader, epoch and ISR that the plan writes, if it writes one state and nothing else.
fn written(actions: &[Action]) -> Option<(i32, i32, Vec<i32>)> {
    match actions {
        [] => None,
        [Action::CreateState { state, .. }] => Some((state.leader, state.leader_epoch, state.isr.clone())),
        [Action::SetState { state, expected: 5, .. }] => Some((state.leader, state.leader_epoch, state.isr.clone())),
        other => panic!("unexpected plan: {other:?}"),
    }
}

#[test]
fn leaders_are_elected_from_the_isr() {
    let check = |live: &[i32], state: Option<(i32, &[i32])>, expected: Option<(i32, i32, Vec<i32>)>| {
        assert_eq!(written(&plan(&image(live, &[1, 2, 3], state), RULES)), expected, "live {live:?}, state {state:?}");
    };
    // New partitions.
    check(&[1, 2, 3], None, Some((1, 0, vec![1, 2, 3])));
    check(&[3, 2], None, Some((2, 0, vec![2, 3])));
    check(&[9], None, None);
    // A living leader is left alone.
    check(&[1, 2, 3], Some((2, &[2, 3])), None);
    // A dead one is replaced by the first replica in sync.
    check(&[2, 3], Some((1, &[1, 3, 2])), Some((2, 4, vec![3, 2])));
    check(&[2, 3], Some((1, &[1, 3])), Some((3, 4, vec![3])));
    // Nobody in sync is alive: no leader, and the ISR is kept for whoever comes back.
    check(&[2, 3], Some((1, &[1])), Some((-1, 4, vec![1])));
    check(&[2, 3], Some((-1, &[1])), None);
    check(&[1, 2], Some((-1, &[1])), Some((1, 4, vec![1])));
}

#[test]
fn an_unclean_leader_needs_leave() {
    let mut image = image(&[2, 3], &[1, 2, 3], Some((1, &[1])));
    let overrides = BTreeMap::from([("unclean.leader.election.enable".to_owned(), "true".to_owned())]);
    image.apply(Change::TopicOverrides("t".into(), Some(overrides)), &Settings::default());
    assert_eq!(written(&plan(&image, RULES)), Some((2, 4, vec![2])));
}

#[test]
fn topics_of_old_tools_get_ids_and_deletions_are_carried_out() {
    let mut old = image(&[1], &[1], Some((1, &[1])));
    let assignment = TopicAssignment { partitions: BTreeMap::from([(0, vec![1])]), ..Default::default() };
    old.apply(Change::Topic("t".into(), Some(TopicRead { assignment, zk_version: 1, czxid: 1 })), &Settings::default());
    let named = plan(&old, RULES);
    assert_eq!(named.first(), Some(&Action::NameTopic { topic: "t".into() }));
    let mut doomed = image(&[1], &[1], None);
    doomed.apply(Change::Deletion("t".into(), true), &Settings::default());
    doomed.apply(Change::Deletion("gone".into(), true), &Settings::default());
    let asked = [Action::ForgetDeletion { topic: "gone".into() }, Action::DeleteTopic { topic: "t".into() }];
    assert_eq!(plan(&doomed, RULES), asked);
    let kept = plan(&doomed, Rules { delete_topics: false, ..RULES });
    assert!(kept.contains(&Action::ForgetDeletion { topic: "t".into() }), "{kept:?}");
    assert!(kept.iter().any(|action| matches!(action, Action::CreateState { .. })), "{kept:?}");
}

#[test]
fn leadership_goes_home_only_to_a_replica_in_sync() {
    let check = |isr: &[i32], expected: Option<(i32, i32, Vec<i32>)>| {
        assert_eq!(written(&prefer(&image(&[1, 2], &[1, 2], Some((2, isr))), None, 7)), expected, "{isr:?}");
    };
    check(&[2], None);
    check(&[2, 1], Some((1, 4, vec![2, 1])));
    let other = [("u".to_owned(), 0)];
    assert_eq!(prefer(&image(&[1, 2], &[1, 2], Some((2, &[2, 1]))), Some(&other), 7), []);
}

#[test]
fn a_leaving_broker_hands_over_what_others_can_lead() {
    let check = |replicas: &[i32], state: (i32, &[i32]), expected: Option<(i32, i32, Vec<i32>)>, remaining: usize| {
        let moves = hand_over(&image(&[1, 2], replicas, Some(state)), 1, 7);
        assert_eq!(written(&moves.actions), expected, "{state:?}");
        assert_eq!(moves.remaining.len(), remaining, "{state:?}");
    };
    check(&[1], (1, &[1]), None, 0);
    check(&[1, 2], (1, &[1, 2]), Some((2, 4, vec![2])), 0);
    check(&[1, 2], (1, &[1]), None, 1);
    check(&[1, 2], (2, &[1, 2]), Some((2, 4, vec![2])), 0);
}

#[test]
fn an_election_on_request_says_why_it_does_not_take_place() {
    let check = |live: &[i32],
                 state: (i32, &[i32]),
                 election: Election,
                 expected: Result<Option<(i32, i32, Vec<i32>)>, NotElected>| {
        let image = image(live, &[1, 2, 3], Some(state));
        let topic = image.topic("t").unwrap();
        let elected = elect_on_request(&image, topic, &topic.partitions[0], election, 7);
        assert_eq!(elected.map(|action| written(&[action])), expected, "live {live:?}, state {state:?}, {election:?}");
    };
    let all: &[i32] = &[1, 2, 3];
    check(all, (1, all), Election::Preferred, Err(NotElected::NotNeeded));
    check(all, (2, all), Election::Preferred, Ok(Some((1, 4, vec![1, 2, 3]))));
    // The preferred replica is dead, or not in sync.
    check(&[2, 3], (2, &[2, 3]), Election::Preferred, Err(NotElected::NobodyCan));
    check(all, (2, &[2, 3]), Election::Preferred, Err(NotElected::NobodyCan));
    // An unclean election is for partitions without a leader, and takes whoever is alive.
    check(all, (2, all), Election::Unclean, Err(NotElected::NotNeeded));
    check(&[3], (-1, &[1]), Election::Unclean, Ok(Some((3, 4, vec![3]))));
    check(&[9], (-1, &[1]), Election::Unclean, Err(NotElected::NobodyCan));
}
