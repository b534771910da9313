use client::zookeeper::znodes::PartitionState as StateZnode;
use protocol::types::Uuid;

use super::*;
use crate::config::Settings;
use crate::controller::writes;
use crate::metadata::{Change, LiveBroker, PartitionState, ReassignmentRequest, TopicRead};

/// An image with brokers 1 to 4 and one topic of one partition on 1 and 2, led by 1.
fn image() -> Image {
    let mut image = Image::default();
    for id in 1..5 {
        let broker =
            LiveBroker { id, endpoints: Vec::new(), rack: None, epoch: 1, is_tidemill: true, shutting_down: false };
        apply(&mut image, Change::Broker(id, Some(broker)));
    }
    let assignment = TopicAssignment {
        topic_id: Some(Uuid([1; 16])),
        partitions: BTreeMap::from([(0, vec![1, 2])]),
        ..Default::default()
    };
    apply(&mut image, Change::Topic("t".into(), Some(TopicRead { assignment, zk_version: 3, czxid: 1 })));
    in_sync(&mut image, 1, &[1, 2]);
    image
}

fn apply(image: &mut Image, change: Change) {
    image.apply(change, &Settings::default());
}

fn state(image: &Image) -> PartitionState {
    image.topic("t").unwrap().partitions[0].state.clone().unwrap()
}

/// Writes leader and ISR, as the leader does.
fn in_sync(image: &mut Image, leader: i32, isr: &[i32]) {
    let known = image.topic("t").unwrap().partitions[0].state.clone();
    let zk_version = known.as_ref().map_or(0, |known| known.zk_version + 1);
    let leader_epoch = known.map_or(3, |known| known.leader_epoch);
    let znode = StateZnode { leader, leader_epoch, isr: isr.to_vec(), controller_epoch: 1, ..Default::default() };
    apply(image, Change::State("t".into(), 0, Some(PartitionState { znode, zk_version })));
}

/// Asks as an old tool does.
fn ask(image: &mut Image, asked: &[(&str, i32, &[i32])]) {
    let asked = asked.iter().map(|(topic, partition, ids)| ((*topic).to_owned(), *partition, ids.to_vec())).collect();
    apply(image, Change::Reassignment(Some(ReassignmentRequest { asked, zk_version: 0 })));
}

/// Plans and takes in what is written, until there is nothing left to do. Gives whether there was anything.
fn settle(image: &mut Image) -> bool {
    let mut any = false;
    for _ in 0..10 {
        let actions = plan(image, 7, |_| true);
        if actions.is_empty() {
            return any;
        }
        any = true;
        for multi in writes::ops(None, image, actions, &|_| Uuid::ZERO) {
            multi.changes.into_iter().for_each(|(_, change)| apply(image, change));
        }
    }
    panic!("it never settles");
}

/// Replicas, adding, removing.
fn assigned(image: &Image) -> (Vec<i32>, Vec<i32>, Vec<i32>) {
    let assignment = &image.topic("t").unwrap().assignment;
    let ids = |moves: &BTreeMap<i32, Vec<i32>>| moves.get(&0).cloned().unwrap_or_default();
    (ids(&assignment.partitions), ids(&assignment.adding_replicas), ids(&assignment.removing_replicas))
}

#[test]
fn a_partition_moves_step_by_step() {
    let mut image = image();
    ask(&mut image, &[("t", 0, &[3, 4])]);
    assert!(settle(&mut image));
    assert_eq!(assigned(&image), (vec![3, 4, 1, 2], vec![3, 4], vec![1, 2]));
    assert!(image.reassignment.is_some());
    // One of two is not enough.
    in_sync(&mut image, 1, &[1, 2, 3]);
    assert!(!settle(&mut image));
    in_sync(&mut image, 1, &[1, 2, 3, 4]);
    let before = state(&image).leader_epoch;
    assert!(settle(&mut image));
    assert_eq!(assigned(&image), (vec![3, 4], vec![], vec![]));
    let after = state(&image);
    assert_eq!((after.leader, &after.isr[..], after.leader_epoch), (3, &[3, 4][..], before + 1));
    assert_eq!(image.reassignment, None);
}

#[test]
fn a_leader_that_stays_leads_on_in_a_new_epoch() {
    let mut image = image();
    ask(&mut image, &[("t", 0, &[1, 3])]);
    settle(&mut image);
    assert_eq!(assigned(&image), (vec![1, 3, 2], vec![3], vec![2]));
    in_sync(&mut image, 1, &[1, 2, 3]);
    settle(&mut image);
    let after = state(&image);
    assert_eq!((after.leader, &after.isr[..], after.leader_epoch), (1, &[1, 3][..], 4));
}

#[test]
fn another_order_and_fewer_replicas_are_moves_too() {
    let mut image = image();
    ask(&mut image, &[("t", 0, &[2, 1])]);
    settle(&mut image);
    assert_eq!(assigned(&image), (vec![2, 1], vec![], vec![]));
    assert_eq!((state(&image).leader, state(&image).leader_epoch), (1, 3));
    ask(&mut image, &[("t", 0, &[2])]);
    settle(&mut image);
    assert_eq!(assigned(&image), (vec![2], vec![], vec![]));
    assert_eq!((state(&image).leader, &state(&image).isr[..]), (2, &[2][..]));
    assert_eq!(image.reassignment, None);
}

#[test]
fn what_cannot_be_is_dropped_and_the_rest_goes_on() {
    let mut image = image();
    ask(&mut image, &[("t", 0, &[3, 9]), ("t", 7, &[3]), ("gone", 0, &[3]), ("t", 0, &[1, 3])]);
    settle(&mut image);
    assert_eq!(assigned(&image), (vec![1, 3, 2], vec![3], vec![2]));
    let left = image.reassignment.as_ref().unwrap();
    assert_eq!(left.asked, [("t".to_owned(), 0, vec![1, 3])]);
    ask(&mut image, &[]);
    assert!(settle(&mut image));
    assert_eq!(image.reassignment, None);
}

#[test]
fn a_move_is_taken_back_or_led_elsewhere() {
    let begin = |wanted: Option<Vec<i32>>, isr: &[i32], leader: i32| {
        let mut image = image();
        ask(&mut image, &[("t", 0, &[3, 4])]);
        settle(&mut image);
        apply(&mut image, Change::Reassignment(None));
        in_sync(&mut image, leader, isr);
        let topic = image.topic("t").unwrap().clone();
        let action = start(&image, &topic, &[(0, wanted)], 7)?;
        for multi in writes::ops(None, &image, vec![action], &|_| Uuid::ZERO) {
            multi.changes.into_iter().for_each(|(_, change)| apply(&mut image, change));
        }
        Ok::<_, (i32, String)>((assigned(&image), state(&image).leader, state(&image).isr.clone()))
    };
    let back = ((vec![1, 2], vec![], vec![]), 1, vec![1, 2]);
    assert_eq!(begin(None, &[1, 2, 3], 1), Ok(back.clone()));
    assert_eq!(begin(None, &[1, 2, 3], 3), Ok(back));
    assert_eq!(begin(Some(vec![4]), &[1, 2, 3], 3), Ok(((vec![4, 1, 2], vec![4], vec![1, 2]), 1, vec![1, 2])));
    // Not back to where nobody is in sync.
    assert!(begin(None, &[3], 3).unwrap_err().1.contains("None of the replicas"));
}

#[test]
fn wishes_are_refused_in_kafkas_words() {
    let image = image();
    let topic = image.topic("t").unwrap();
    let check = |wanted: &[i32], expected: Result<(), &str>| {
        assert_eq!(validate(&image, topic, 0, wanted), expected.map_err(str::to_owned), "{wanted:?}");
    };
    check(&[1, 4], Ok(()));
    check(&[], Err("Empty replica list specified in partition reassignment."));
    check(&[3, 3], Err("Duplicate replica ids in partition reassignment replica list: 3, 3"));
    check(&[-1], Err("Invalid broker id in replica list: -1"));
    check(
        &[1, 9],
        Err("Replica assignment has brokers that are not alive. Replica list: 9, live broker list: 1, 2, 3, 4"),
    );
}
