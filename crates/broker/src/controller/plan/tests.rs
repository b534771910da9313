use std::collections::BTreeMap;

use client::zookeeper::znodes::TopicAssignment;
use protocol::types::Uuid;

use super::*;
use crate::config::Settings;
use crate::metadata::{Change, LiveBroker, TopicRead};

const RULES: Rules = Rules { controller_epoch: 7, delete_topics: true };

fn broker(id: i32, shutting_down: bool) -> LiveBroker {
    LiveBroker { id, endpoints: Vec::new(), rack: None, epoch: 1, is_tidemill: true, shutting_down }
}

/// The same image with other settings of the topic.
fn with_settings(mut image: Image, settings: &[(&str, &str)]) -> Image {
    let overrides = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    image.apply(Change::TopicOverrides("t".into(), Some(overrides)), &Settings::default());
    image
}

/// The same image with other ELRs in the state.
fn with_elr(mut image: Image, elr: &[i32]) -> Image {
    let known = image.topic("t").unwrap().partitions[0].state.clone().unwrap();
    let znode = StateZnode { elr: elr.to_vec(), ..known.znode };
    image.apply(Change::State("t".into(), 0, Some(PartitionState { znode, zk_version: 5 })), &Settings::default());
    // A version is news only once.
    assert_eq!(image.topic("t").unwrap().partitions[0].state.as_ref().unwrap().elr, elr);
    image
}

/// An image with these live brokers and one topic of one partition.
fn image(live: &[i32], replicas: &[i32], state: Option<(i32, &[i32])>) -> Image {
    let mut image = Image::default();
    let mut apply = |change| image.apply(change, &Settings::default());
    for id in live {
        apply(Change::Broker(*id, Some(broker(*id, false))));
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
        [Action::SetState(SetState { state, expected: 5, .. })] => {
            Some((state.leader, state.leader_epoch, state.isr.clone()))
        }
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
    let named = |topic: &str| [(topic.to_owned(), 0)];
    let check = |isr: &[i32], expected: Option<(i32, i32, Vec<i32>)>| {
        let image = image(&[1, 2], &[1, 2], Some((2, isr)));
        assert_eq!(written(&prefer(&image, &named("t"), 7)), expected, "{isr:?}");
        assert_eq!(prefer(&image, &named("u"), 7), []);
    };
    check(&[2], None);
    check(&[2, 1], Some((1, 4, vec![2, 1])));
}

#[test]
fn a_request_for_preferred_leaders_is_met_once_everything_else_is_done() {
    let mut asked = image(&[1, 2], &[1, 2], Some((2, &[2, 1])));
    asked.apply(Change::PreferredElection(Some(vec![("t".to_owned(), 0)])), &Settings::default());
    let actions = plan(&asked, RULES);
    assert_eq!(written(&actions[..1]), Some((1, 4, vec![2, 1])));
    assert_eq!(actions[1..], [Action::ForgetPreferredElection]);
    asked.apply(Change::Broker(2, None), &Settings::default());
    assert_eq!(written(&plan(&asked, RULES)), Some((1, 4, vec![1])));
}

#[test]
fn leaders_go_home_when_a_broker_leads_too_few_of_its_partitions() {
    let mut image = image(&[1, 2], &[1, 2], Some((2, &[1, 2])));
    assert_eq!(imbalanced(&image, 10), [("t".to_owned(), 0)]);
    assert_eq!(imbalanced(&image, 100), []);
    // Whoever is about to stop gets nothing back.
    image.apply(Change::Broker(1, Some(broker(1, true))), &Settings::default());
    assert_eq!(imbalanced(&image, 10), []);
}

#[test]
fn a_leaving_broker_hands_over_what_others_can_lead() {
    let check = |replicas: &[i32], state: (i32, &[i32]), expected: Option<(i32, i32, Vec<i32>)>, remaining: usize| {
        let mut image = image(&[1, 2], replicas, Some(state));
        image.apply(Change::Broker(1, Some(broker(1, true))), &Settings::default());
        assert_eq!(written(&plan(&image, RULES)), expected, "{state:?}");
        assert_eq!(is_handed_over(&image), expected.is_none(), "{state:?}");
        let left = if expected.is_none() { still_led(&image, 1).len() } else { 0 };
        assert_eq!(left, remaining, "{state:?}");
    };
    check(&[1], (1, &[1]), None, 0);
    check(&[1, 2], (1, &[1, 2]), Some((2, 4, vec![2])), 0);
    // It leads on as long as it lives where nobody else is in sync.
    check(&[1, 2], (1, &[1]), None, 1);
    check(&[1, 2], (2, &[1, 2]), Some((2, 3, vec![2])), 0);
    check(&[1, 2], (2, &[2]), None, 0);
}

#[test]
fn a_broker_that_is_about_to_stop_still_leads_when_nobody_else_can() {
    let mut image = image(&[1, 2], &[1, 2, 3], Some((3, &[3, 1])));
    image.apply(Change::Broker(1, Some(broker(1, true))), &Settings::default());
    assert_eq!(written(&plan(&image, RULES)), Some((1, 4, vec![1])));
}

#[test]
fn whoever_leaves_an_isr_below_the_minimum_stays_eligible() {
    let check = |live: &[i32], state: (i32, &[i32]), elr: &[i32], expected: Option<(i32, &[i32], &[i32])>| {
        let two = with_settings(image(live, &[1, 2, 3], Some(state)), &[("min.insync.replicas", "2")]);
        let planned = plan(&with_elr(two, elr), RULES);
        let found = match &planned[..] {
            [] => None,
            [Action::SetState(set)] => Some((set.state.leader, &set.state.isr[..], &set.state.elr[..])),
            other => panic!("unexpected plan: {other:?}"),
        };
        assert_eq!(found, expected, "live {live:?} {state:?} {elr:?}");
    };
    check(&[1, 2], (1, &[1, 2, 3]), &[], Some((1, &[1, 2], &[])));
    check(&[1], (1, &[1, 2, 3]), &[], Some((1, &[1], &[2, 3])));
    check(&[9], (1, &[1]), &[2], Some((-1, &[], &[2, 1])));
    check(&[2], (1, &[1]), &[2], Some((2, &[2], &[1])));
    check(&[3], (-1, &[]), &[2, 1], None);
    check(&[3, 2], (-1, &[]), &[2, 1], Some((2, &[2], &[1])));
    // It is over once enough are in sync, also because fewer are enough by now.
    check(&[1, 2], (1, &[1, 2]), &[3], Some((1, &[1, 2], &[])));
    let one = with_elr(image(&[1], &[1, 2], Some((1, &[1]))), &[2]);
    assert_eq!(written(&plan(&one, RULES)), Some((1, 3, vec![1])));
}

#[test]
fn an_elr_is_kept_while_it_alone_says_who_may_lead() {
    let alone = with_elr(image(&[3], &[1, 2, 3], Some((-1, &[]))), &[2]);
    assert_eq!(plan(&alone, RULES), []);
    let back = with_elr(image(&[3, 2], &[1, 2, 3], Some((-1, &[]))), &[2]);
    assert_eq!(written(&plan(&back, RULES)), Some((2, 4, vec![2])));
}

#[test]
fn an_isr_names_assigned_replicas_only() {
    assert_eq!(written(&plan(&image(&[1, 2, 3], &[1, 2], Some((1, &[1, 2, 3]))), RULES)), Some((1, 3, vec![1, 2])));
    assert_eq!(written(&plan(&image(&[1, 2, 3], &[1, 2], Some((3, &[1, 3]))), RULES)), Some((1, 4, vec![1])));
    // But not at the price of the last one.
    assert_eq!(plan(&image(&[1, 2, 3], &[1, 2], Some((3, &[3]))), RULES), []);
}

#[test]
fn an_unclean_start_leaves_isrs_in_which_others_stay() {
    let check = |min: &str, state: (i32, &[i32]), elr: &[i32], expected: Option<(i32, &[i32], &[i32])>| {
        let image = with_settings(image(&[1, 2, 3], &[1, 2, 3], Some(state)), &[("min.insync.replicas", min)]);
        let states = after_unclean_start(&with_elr(image, elr), 1, |_, _| true);
        let found = states.first().map(|set| (set.state.leader, &set.state.isr[..], &set.state.elr[..]));
        assert_eq!(found, expected, "{min} {state:?} {elr:?}");
    };
    check("1", (2, &[1, 2]), &[], Some((2, &[2], &[])));
    check("1", (1, &[1, 2]), &[], Some((2, &[2], &[])));
    check("1", (1, &[1]), &[], None);
    check("2", (1, &[1]), &[], None);
    // The last replica standing lost power: an eligible one leads.
    check("2", (1, &[1]), &[2], Some((2, &[2], &[])));
    check("2", (-1, &[]), &[1, 3], Some((3, &[3], &[])));
    check("2", (-1, &[]), &[1], None);
    check("1", (2, &[2, 3]), &[], None);
    let whole = image(&[1, 2], &[1, 2], Some((1, &[1, 2])));
    assert_eq!(after_unclean_start(&whole, 1, |_, _| false), []);
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
        let elected = elected.map(|state| written(&[Action::SetState(state)]));
        assert_eq!(elected, expected, "live {live:?}, state {state:?}, {election:?}");
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
