use std::sync::Arc;

use super::*;
use crate::config::GroupConfig;
use crate::groups::Groups;
use crate::record::{MemberValue, group_key, offset_key};

fn offset(value: i64) -> Option<Bytes> {
    let value = OffsetValue {
        offset: value,
        leader_epoch: -1,
        metadata: "".into(),
        commit_timestamp: 0,
        expire_timestamp: None,
    };
    Some(value.encode().unwrap())
}

fn group(generation: i32) -> Option<Bytes> {
    let member = MemberValue { member_id: "m".into(), session_timeout_ms: 10_000, ..Default::default() };
    let value = GroupValue {
        protocol_type: "consumer".into(),
        generation,
        protocol: Some("range".into()),
        leader: Some("m".into()),
        members: vec![member],
        state_since_ms: None,
    };
    Some(value.encode().unwrap())
}

fn load(replay: Replay) -> Groups {
    let mut effects = Vec::new();
    let groups = Groups::load(0, Arc::new(GroupConfig::default()), replay, Now::default(), &mut effects);
    assert_eq!(effects, []);
    groups
}

fn offset_of(groups: &Groups, partition: i32) -> i64 {
    let fetched = groups.fetch_offsets("g", None, false);
    let mut partitions = fetched.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.find(|found| found.partition_index == partition).map_or(-1, |found| found.committed_offset)
}

#[test]
fn the_last_record_of_a_key_counts() {
    let mut replay = Replay::default();
    let (p0, p1) = (offset_key("g", "t", 0).unwrap(), offset_key("g", "t", 1).unwrap());
    replay.record(0, p0.clone(), offset(10), None).unwrap();
    replay.record(1, p1.clone(), offset(11), None).unwrap();
    replay.record(2, p0, offset(20), None).unwrap();
    replay.record(3, p1, None, None).unwrap();
    replay.record(4, group_key("g").unwrap(), group(3), None).unwrap();
    let groups = load(replay);
    assert_eq!((offset_of(&groups, 0), offset_of(&groups, 1)), (20, -1));
    let described = groups.describe("g");
    assert_eq!((&*described.group_state, &*described.protocol_data, described.members.len()), ("Stable", "range", 1));
    // The member has to show up within its session timeout.
    assert_eq!(groups.next_deadline(), Some(10_000));
}

#[test]
fn a_removed_group_may_still_keep_offsets() {
    let mut replay = Replay::default();
    replay.record(0, group_key("g").unwrap(), group(3), None).unwrap();
    replay.record(1, group_key("g").unwrap(), None, None).unwrap();
    replay.record(2, group_key("gone").unwrap(), None, None).unwrap();
    replay.record(3, offset_key("g", "t", 0).unwrap(), offset(5), None).unwrap();
    let groups = load(replay);
    assert_eq!(groups.len(), 1);
    assert_eq!(&*groups.describe("g").group_state, "Empty");
    assert_eq!(offset_of(&groups, 0), 5);
}

#[test]
fn offsets_of_a_transaction_count_once_it_commits() {
    for (marker, expected, unstable) in [(Some(true), 7, false), (Some(false), -1, false), (None, -1, true)] {
        let mut replay = Replay::default();
        replay.record(0, offset_key("g", "t", 0).unwrap(), offset(7), Some(9)).unwrap();
        if let Some(commit) = marker {
            replay.end_transaction(9, commit);
        }
        let groups = load(replay);
        assert_eq!(offset_of(&groups, 0), expected, "{marker:?}");
        let asked =
            protocol::messages::offset_fetch::OffsetFetchRequestTopics { name: "t".into(), partition_indexes: vec![0] };
        let fetched = groups.fetch_offsets("g", Some(&[asked]), true);
        let refused =
            fetched.topics[0].partitions[0].error_code == protocol::error::ErrorCode::UNSTABLE_OFFSET_COMMIT.0;
        assert_eq!(refused, unstable, "{marker:?}");
    }
}

#[test]
fn unknown_records_are_skipped_and_damaged_ones_reported() {
    let mut replay = Replay::default();
    replay.record(0, Bytes::from_static(&[0, 5, 1, 2, 3]), Some(Bytes::new()), None).unwrap();
    assert!(replay.record(1, Bytes::from_static(&[0, 1, 9]), None, None).is_err());
    assert!(replay.record(2, group_key("g").unwrap(), Some(Bytes::from_static(&[0, 3])), None).is_err());
    assert!(load(replay).is_empty());
}
