use bytes::Bytes;
use protocol::messages::fetch::{EpochEndOffset, FetchPartition, FetchTopic, ForgottenTopic};
use protocol::wire::Records;

use super::*;

fn sessions(slots: usize) -> FetchSessions {
    FetchSessions::new(slots, Clock::real(), Random::real())
}

fn request(session_id: i32, session_epoch: i32, partitions: &[(i32, i64)]) -> FetchRequest {
    let partitions = partitions
        .iter()
        .map(|(partition, fetch_offset)| FetchPartition {
            partition: *partition,
            fetch_offset: *fetch_offset,
            ..Default::default()
        })
        .collect();
    let topics = vec![FetchTopic { topic: "t".into(), partitions, ..Default::default() }];
    FetchRequest { session_id, session_epoch, topics, ..Default::default() }
}

fn data(high_watermark: i64) -> PartitionData {
    PartitionData { high_watermark, ..Default::default() }
}

fn tell(plan: &FetchPlan, at: usize, data: &PartitionData) -> bool {
    plan.telling().tell(&plan.wanted[at], data, true)
}

fn partitions(plan: &FetchPlan) -> Vec<i32> {
    plan.wanted.iter().map(|wanted| wanted.partition).collect()
}

#[test]
fn who_was_served_goes_to_the_end_of_the_line() {
    let sessions = sessions(10);
    let full = sessions.plan(&request(0, 0, &[(0, 0), (1, 0), (2, 0)]), false).unwrap();
    let records = PartitionData { records: Records::Bytes(Bytes::from_static(b"batch")), ..data(9) };
    assert!(tell(&full, 0, &records));
    let next = sessions.plan(&request(full.session_id, 1, &[(0, 5)]), false).unwrap();
    assert_eq!(partitions(&next), [1, 2, 0]);
}

#[test]
fn a_follower_is_not_shown_what_has_nothing_for_it_until_it_calls() {
    let sessions = sessions(10);
    let full = sessions.plan(&request(0, 0, &[(0, 5), (1, 6), (2, 7)]), true).unwrap();
    let news = full.news.clone().unwrap();
    {
        let mut telling = full.telling();
        assert!(telling.tell(&full.wanted[0], &data(5), true));
        assert!(telling.tell(&full.wanted[1], &data(6), true));
        assert!(telling.tell(&full.wanted[2], &data(7), false), "there was no room for its records");
    }
    let mut next = sessions.plan(&request(full.session_id, 1, &[]), true).unwrap();
    assert_eq!(partitions(&next), [2]);
    news.call(full.wanted[0].number, true);
    news.call(full.wanted[0].number, true);
    next.refresh();
    assert_eq!(partitions(&next), [2, 0]);
    assert!(!next.is_empty());
    let named = sessions.plan(&request(full.session_id, 2, &[(1, 8)]), true).unwrap();
    assert_eq!(partitions(&named), [2, 0, 1]);
}

#[test]
fn a_session_tells_news_only() {
    let sessions = sessions(10);
    let full = sessions.plan(&request(0, 0, &[(0, 5), (1, 6)]), false).unwrap();
    assert!(full.session_id > 0);
    assert!(tell(&full, 0, &data(10)) && tell(&full, 1, &data(10)));
    let next = sessions.plan(&request(full.session_id, 1, &[(1, 9)]), false).unwrap();
    let offsets: Vec<i64> = next.wanted.iter().map(|wanted| wanted.fetch_offset).collect();
    assert_eq!(offsets, [5, 9]);
    assert!(!tell(&next, 0, &data(10)), "nothing new");
    assert!(tell(&next, 1, &data(11)), "the high watermark rose");
    let broken = PartitionData { error_code: 6, ..data(11) };
    assert!(tell(&next, 1, &broken) && tell(&next, 1, &broken));
    assert!(tell(&next, 1, &data(11)), "the error is gone");
}

/// Found by the simulator (seed 427): the follower cut its log, and never learned the high watermark that came with the word to cut it.
#[test]
fn a_high_watermark_that_came_with_a_divergence_is_told_again() {
    let sessions = sessions(10);
    let full = sessions.plan(&request(0, 0, &[(0, 5)]), true).unwrap();
    let diverging_epoch = EpochEndOffset { epoch: 1, end_offset: 4 };
    assert!(tell(&full, 0, &PartitionData { diverging_epoch, ..data(10) }));
    let next = sessions.plan(&request(full.session_id, 1, &[(0, 4)]), true).unwrap();
    assert!(tell(&next, 0, &data(10)));
}

/// Found by the simulator (seed 610): the follower had heard of a new epoch before the answer came, and did not take the high watermark from it.
#[test]
fn a_partition_that_is_named_is_told_of_again() {
    let sessions = sessions(10);
    let full = sessions.plan(&request(0, 0, &[(0, 5)]), true).unwrap();
    assert!(tell(&full, 0, &data(5)));
    let next = sessions.plan(&request(full.session_id, 1, &[(0, 5)]), true).unwrap();
    assert!(tell(&next, 0, &data(5)));
}

#[test]
fn forgotten_partitions_leave_and_wrong_epochs_are_refused() {
    let sessions = sessions(10);
    let id = sessions.plan(&request(0, 0, &[(0, 0), (1, 0), (2, 0)]), false).unwrap().session_id;
    let mut forgetting = request(id, 1, &[]);
    forgetting.forgotten_topics_data =
        vec![ForgottenTopic { topic: "t".into(), partitions: vec![0], ..Default::default() }];
    let left: Vec<i32> =
        sessions.plan(&forgetting, false).unwrap().wanted.iter().map(|wanted| wanted.partition).collect();
    assert_eq!(left, [1, 2]);
    assert_eq!(sessions.plan(&request(id, 1, &[]), false).unwrap_err(), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    assert_eq!(sessions.plan(&request(id, 2, &[(2, 8)]), false).unwrap().wanted[1].fetch_offset, 8);
    assert_eq!(sessions.plan(&request(id, -1, &[(0, 0)]), false).unwrap().session_id, 0);
    assert_eq!(sessions.plan(&request(id, 3, &[]), false).unwrap_err(), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
}

#[test]
fn without_a_slot_a_fetch_is_full() {
    let sessions = sessions(1);
    assert!(sessions.plan(&request(0, 0, &[(0, 0)]), false).unwrap().session_id > 0);
    let second = sessions.plan(&request(0, 0, &[(0, 0)]), false).unwrap();
    assert_eq!((second.session_id, second.wanted.len()), (0, 1));
}
