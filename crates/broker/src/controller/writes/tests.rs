use std::collections::BTreeMap;

use client::zookeeper::znodes::PartitionState as StateZnode;

use super::*;
use crate::config::Settings;

const FENCE: Fence = Fence { epoch: 7, zk_version: 9 };

fn kinds(multi: &Multi) -> Vec<(String, &'static str)> {
    let told = |op: &MultiOp| match op {
        MultiOp::Create(create) => (create.path.clone(), "create"),
        MultiOp::SetData(set) => (set.path.clone(), "set"),
        MultiOp::Delete(delete) => (delete.path.clone(), "delete"),
        MultiOp::Check(check) => (check.path.clone(), "check"),
        _ => (String::new(), "?"),
    };
    multi.ops.iter().map(|(op, _)| told(op)).collect()
}

fn topic(image: &mut Image, name: &str, partitions: i32) {
    let assignment = TopicAssignment {
        partitions: (0..partitions).map(|partition| (partition, vec![1])).collect::<BTreeMap<_, _>>(),
        ..Default::default()
    };
    let read = TopicRead { assignment, zk_version: 4, czxid: 1 };
    image.apply(Change::Topic(name.into(), Some(read)), &Settings::default());
    for partition in 0..partitions {
        let state = PartitionState { znode: StateZnode::default(), zk_version: 0 };
        image.apply(Change::State(name.into(), partition, Some(state)), &Settings::default());
    }
}

fn set(partition: i32) -> SetState {
    SetState { topic: "t".into(), partition, state: StateZnode::default(), expected: 5 }
}

#[test]
fn every_multi_of_a_controller_is_fenced_and_none_is_too_large() {
    let actions: Vec<Action> = (0..1200).map(|partition| Action::SetState(set(partition))).collect();
    let multis = ops(Some(FENCE), &Image::default(), actions, &|_| Uuid::ZERO);
    assert_eq!(multis.iter().map(|multi| multi.ops.len()).collect::<Vec<_>>(), [500, 500, 203]);
    for multi in &multis {
        assert_eq!(multi.ops[0], (FENCE.check(), None));
        assert!(multi.ops[1..].iter().all(|(_, owner)| owner.is_some()));
    }
    assert_eq!(multis.iter().map(|multi| multi.changes.len()).sum::<usize>(), 1200);
    let unfenced = ops(None, &Image::default(), vec![Action::SetState(set(0))], &|_| Uuid::ZERO);
    assert_eq!(kinds(&unfenced[0]), [("/brokers/topics/t/partitions/0/state".to_owned(), "set")]);
}

#[test]
fn an_assignment_is_written_before_the_states_that_go_with_it_and_with_them() {
    let mut image = Image::default();
    topic(&mut image, "t", 1);
    let assignment = image.topic("t").unwrap().assignment.clone();
    let action = Action::SetAssignment { topic: "t".into(), assignment, expected: 4, states: vec![set(0)] };
    let multis = ops(Some(FENCE), &image, vec![action], &|_| Uuid::ZERO);
    let [multi] = &multis[..] else { panic!("{multis:?}") };
    let expected =
        [("/controller_epoch", "check"), ("/brokers/topics/t", "set"), ("/brokers/topics/t/partitions/0/state", "set")];
    assert_eq!(kinds(multi), expected.map(|(path, kind)| (path.to_owned(), kind)));
}

#[test]
fn the_parent_of_a_new_topic_is_made_once() {
    let state = |partition: i32| Action::CreateState {
        topic: "t".into(),
        partition,
        state: StateZnode::default(),
        first_of_topic: true,
    };
    let multis = ops(Some(FENCE), &Image::default(), vec![state(0), state(1)], &|_| Uuid::ZERO);
    let parents = kinds(&multis[0]).into_iter().filter(|(path, _)| path.ends_with("/partitions")).count();
    assert_eq!(parents, 1);
    let parent = op::create("/brokers/topics/t/partitions/0", "", CreateMode::Persistent);
    let own = op::create("/brokers/topics/t/partitions/0/state", "", CreateMode::Persistent);
    assert!(is_settled(&parent, ErrorCode::NodeExists) && !is_settled(&own, ErrorCode::NodeExists));
    assert!(
        is_settled(&op::delete("/a", -1), ErrorCode::NoNode) && !is_settled(&op::delete("/a", 3), ErrorCode::NoNode)
    );
}

#[test]
fn a_deletion_ends_with_the_topic_and_the_request() {
    let mut image = Image::default();
    topic(&mut image, "t", 300);
    let multis = ops(Some(FENCE), &image, vec![Action::DeleteTopic { topic: "t".into() }], &|_| Uuid::ZERO);
    assert_eq!(multis.len(), 2);
    let last: Vec<String> = kinds(&multis[1]).into_iter().rev().take(4).map(|(path, _)| path).collect();
    let expected = ["/admin/delete_topics/t", "/config/topics/t", "/brokers/topics/t", "/brokers/topics/t/partitions"];
    assert_eq!(last, expected);
    assert!(multis[0].changes.is_empty() && multis[1].changes.len() == 3);
}

#[test]
fn a_request_that_is_met_goes_and_what_is_left_of_it_stays() {
    let leave = |left: Vec<(String, i32, Vec<i32>)>| {
        let actions = vec![Action::LeaveReassignments { left, expected: 2 }];
        let multi = ops(None, &Image::default(), actions, &|_| Uuid::ZERO).remove(0);
        (kinds(&multi).remove(0).1, multi.changes)
    };
    let (gone, changes) = leave(Vec::new());
    assert!(gone == "delete" && matches!(&changes[..], [(0, Change::Reassignment(None))]));
    let (kept, changes) = leave(vec![("t".to_owned(), 0, vec![1])]);
    assert!(kept == "set");
    assert!(matches!(&changes[..], [(0, Change::Reassignment(Some(request)))] if request.zk_version == 3));
}
