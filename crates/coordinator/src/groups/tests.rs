//! What clients see of a group, request by request.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::messages::consumer_protocol::{self, ConsumerProtocolSubscription};
use protocol::messages::join_group::{JoinGroupRequestProtocol, JoinGroupResponse};
use protocol::messages::offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic, OffsetDeleteResponse,
};
use protocol::messages::offset_fetch::OffsetFetchRequestTopics;
use protocol::messages::sync_group::{SyncGroupRequestAssignment, SyncGroupResponse};
use protocol::wire::Str;

use super::*;
use crate::event::OffsetsRecord;

/// Groups with a clock that the test turns, and a log that takes every write at once unless told to hold them.
struct Bench {
    groups: Groups,
    now: Now,
    next_token: u64,
    replies: BTreeMap<Token, Response>,
    log: Vec<OffsetsRecord>,
    held: Option<Vec<WriteId>>,
}

impl Bench {
    fn new(config: GroupConfig) -> Bench {
        let now = Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000 };
        let groups = Groups::load(3, Arc::new(config), Replay::default(), now, &mut Vec::new());
        Bench { groups, now, next_token: 0, replies: BTreeMap::new(), log: Vec::new(), held: None }
    }

    /// Most tests have no use for the delay of a first rebalance.
    fn without_delay() -> Bench {
        Bench::new(GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() })
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    fn absorb(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply { token, response } => {
                    assert!(self.replies.insert(token, response).is_none(), "{token:?} was answered twice");
                }
                Effect::Write { id, records } => {
                    let base = self.log.len() as i64;
                    self.log.extend(records);
                    match &mut self.held {
                        Some(held) => held.push(id),
                        None => self.written(id, Ok(base)),
                    }
                }
                Effect::Notice(_) => {}
            }
        }
    }

    fn written(&mut self, id: WriteId, result: Result<i64, ErrorCode>) {
        let mut effects = Vec::new();
        self.groups.on_written(id, result, self.now, &mut effects);
        self.absorb(effects);
    }

    fn release(&mut self, result: Result<i64, ErrorCode>) {
        for id in self.held.take().unwrap_or_default() {
            self.written(id, result);
        }
    }

    fn wait(&mut self, ms: i64) {
        let until = self.now.monotonic_ms + ms;
        while self.groups.next_deadline().is_some_and(|deadline| deadline <= until) {
            let step = self.groups.next_deadline().unwrap_or(until).max(self.now.monotonic_ms) - self.now.monotonic_ms;
            self.now.monotonic_ms += step;
            self.now.wall_ms += step;
            let mut effects = Vec::new();
            self.groups.on_tick(self.now, &mut effects);
            self.absorb(effects);
        }
        self.now.wall_ms += until - self.now.monotonic_ms;
        self.now.monotonic_ms = until;
    }

    fn join(&mut self, version: i16, request: &JoinGroupRequest) -> Token {
        let token = self.token();
        let client = Client { id: "app".into(), host: "/127.0.0.1".into(), id_suffix: format!("id{}", token.0) };
        let mut effects = Vec::new();
        self.groups.join(token, version, request, &client, self.now, &mut effects);
        self.absorb(effects);
        token
    }

    fn joined(&mut self, token: Token) -> JoinGroupResponse {
        match self.replies.remove(&token) {
            Some(Response::JoinGroup(response)) => response,
            other => panic!("no JoinGroup response but {other:?}"),
        }
    }

    fn sync(&mut self, generation: i32, member: &str, assignments: &[(&str, &'static str)]) -> Token {
        let request = SyncGroupRequest {
            group_id: "g".into(),
            generation_id: generation,
            member_id: member.into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: assignments
                .iter()
                .map(|(member, assignment)| SyncGroupRequestAssignment {
                    member_id: (*member).into(),
                    assignment: Bytes::from_static(assignment.as_bytes()),
                })
                .collect(),
            ..Default::default()
        };
        self.sync_request(5, &request)
    }

    fn sync_request(&mut self, version: i16, request: &SyncGroupRequest) -> Token {
        let token = self.token();
        let mut effects = Vec::new();
        self.groups.sync(token, version, request, self.now, &mut effects);
        self.absorb(effects);
        token
    }

    fn synced(&mut self, token: Token) -> SyncGroupResponse {
        match self.replies.remove(&token) {
            Some(Response::SyncGroup(response)) => response,
            other => panic!("no SyncGroup response but {other:?}"),
        }
    }

    fn heartbeat(&mut self, generation: i32, member: &str) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: "g".into(),
            generation_id: generation,
            member_id: member.into(),
            ..Default::default()
        };
        let mut effects = Vec::new();
        let response = self.groups.heartbeat(&request, self.now, &mut effects);
        self.absorb(effects);
        ErrorCode(response.error_code)
    }

    fn leave(&mut self, version: i16, request: &LeaveGroupRequest) -> LeaveGroupResponse {
        let mut effects = Vec::new();
        let response = self.groups.leave(version, request, self.now, &mut effects);
        self.absorb(effects);
        response
    }

    fn commit(&mut self, generation: i32, member: &str, offset: i64) -> ErrorCode {
        let request = commit_request(generation, member, offset);
        self.commit_request(&request)
    }

    fn commit_request(&mut self, request: &OffsetCommitRequest) -> ErrorCode {
        let token = self.token();
        let mut effects = Vec::new();
        self.groups.commit(token, request, |_, _| None, self.now, &mut effects);
        self.absorb(effects);
        match self.replies.remove(&token) {
            Some(Response::OffsetCommit(response)) => ErrorCode(response.topics[0].partitions[0].error_code),
            other => panic!("no OffsetCommit response but {other:?}"),
        }
    }

    fn offset(&self) -> i64 {
        let asked = [OffsetFetchRequestTopics { name: "t".into(), partition_indexes: vec![0] }];
        self.groups.fetch_offsets("g", Some(&asked), false).topics[0].partitions[0].committed_offset
    }

    fn state(&self) -> String {
        self.groups.describe("g").group_state.to_string()
    }

    /// A new dynamic member that asks until it is in the rebalance.
    fn enter(&mut self) -> (Str, Token) {
        let first = self.join(9, &join_request(""));
        let response = self.joined(first);
        assert_eq!(ErrorCode(response.error_code), ErrorCode::MEMBER_ID_REQUIRED);
        let token = self.join(9, &join_request(&response.member_id));
        (response.member_id, token)
    }

    /// A stable group with `members` members; their ids, the leader first, and the generation.
    fn stable(&mut self, members: usize) -> (Vec<Str>, i32) {
        let mut tokens = Vec::new();
        let mut ids: Vec<Str> = Vec::new();
        for _ in 0..members {
            // The ones before must join again for the next to be let in.
            let (id, token) = self.enter();
            tokens.push(token);
            for (at, earlier) in ids.clone().iter().enumerate() {
                tokens[at] = self.join(9, &join_request(earlier));
            }
            ids.push(id);
        }
        let mut generation = 0;
        let mut leader = Str::default();
        for token in tokens {
            let response = self.joined(token);
            assert_eq!(ErrorCode(response.error_code), ErrorCode::NONE);
            generation = response.generation_id;
            leader = response.leader;
        }
        ids.sort_by_key(|id| *id != leader);
        let followers: Vec<Token> = ids[1..].iter().map(|id| self.sync(generation, id, &[])).collect();
        let assignments: Vec<(&str, &'static str)> = ids.iter().map(|id| (&**id, "mine")).collect();
        let leader = self.sync(generation, &ids[0], &assignments);
        for token in followers.into_iter().chain([leader]) {
            assert_eq!(&self.synced(token).assignment[..], b"mine");
        }
        assert_eq!(self.state(), "Stable");
        (ids, generation)
    }
}

fn join_request(member_id: &str) -> JoinGroupRequest {
    let subscription = ConsumerProtocolSubscription { topics: vec!["t".into()], ..Default::default() };
    let metadata = consumer_protocol::encode(&subscription, 1).unwrap();
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata }],
        ..Default::default()
    }
}

fn with_protocols(member_id: &str, protocols: &[&str]) -> JoinGroupRequest {
    let protocols =
        protocols.iter().map(|name| JoinGroupRequestProtocol { name: (*name).into(), ..Default::default() });
    JoinGroupRequest { protocols: protocols.collect(), ..join_request(member_id) }
}

fn static_request(member_id: &str, instance_id: &str) -> JoinGroupRequest {
    JoinGroupRequest { group_instance_id: Some(instance_id.into()), ..join_request(member_id) }
}

fn commit_request(generation: i32, member: &str, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics: vec![OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition] }],
        ..Default::default()
    }
}

fn leave_request(members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let members = members.iter().map(|(member, instance)| MemberIdentity {
        member_id: (*member).into(),
        group_instance_id: instance.map(Into::into),
        reason: None,
    });
    LeaveGroupRequest { group_id: "g".into(), members: members.collect(), ..Default::default() }
}

#[test]
fn the_first_rebalance_waits_for_more_members_as_long_as_they_come() {
    let mut bench = Bench::new(GroupConfig::default());
    let (_, first) = bench.enter();
    bench.wait(2_900);
    let (_, second) = bench.enter();
    bench.wait(200);
    assert!(bench.replies.is_empty(), "the second member prolongs the delay");
    bench.wait(3_000);
    let (first, second) = (bench.joined(first), bench.joined(second));
    assert_eq!((first.generation_id, second.generation_id), (1, 1));
    assert_eq!((first.members.len(), second.members.len()), (2, 0));
    assert_eq!(first.leader, first.member_id);
    assert_eq!(second.leader, first.member_id);
    assert_eq!(first.protocol_name.as_deref(), Some("range"));
}

#[test]
fn join_group_of_each_version_gets_the_right_errors() {
    let refuse = |version: i16, change: &dyn Fn(&mut JoinGroupRequest)| {
        let mut bench = Bench::without_delay();
        let mut request = join_request("");
        change(&mut request);
        let token = bench.join(version, &request);
        let response = bench.joined(token);
        // Before version 7 the name of the protocol cannot be null.
        if response.error_code != 0 {
            assert_eq!(response.protocol_name.is_none(), version >= 7);
        }
        ErrorCode(response.error_code)
    };
    for (version, change, expected) in [
        (3, &(|_: &mut JoinGroupRequest| {}) as &dyn Fn(&mut JoinGroupRequest), ErrorCode::NONE),
        (4, &|_| {}, ErrorCode::MEMBER_ID_REQUIRED),
        (9, &|request| request.group_id = "".into(), ErrorCode::INVALID_GROUP_ID),
        (9, &|request| request.member_id = "ghost".into(), ErrorCode::UNKNOWN_MEMBER_ID),
        (2, &|request| request.session_timeout_ms = 5_999, ErrorCode::INVALID_SESSION_TIMEOUT),
        (9, &|request| request.session_timeout_ms = 1_800_001, ErrorCode::INVALID_SESSION_TIMEOUT),
        (9, &|request| request.protocols.clear(), ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
        (9, &|request| request.protocol_type = "".into(), ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
        (9, &|request| request.group_instance_id = Some("i".into()), ErrorCode::NONE),
    ] {
        assert_eq!(refuse(version, change), expected, "version {version}");
    }
}

#[test]
fn members_without_a_common_assignor_are_turned_away() {
    let mut bench = Bench::without_delay();
    let first = bench.join(2, &with_protocols("", &["range", "roundrobin"]));
    assert_eq!(bench.joined(first).error_code, 0);
    let other_type = JoinGroupRequest { protocol_type: "connect".into(), ..with_protocols("", &["range"]) };
    for request in [with_protocols("", &["sticky"]), other_type] {
        let token = bench.join(2, &request);
        assert_eq!(ErrorCode(bench.joined(token).error_code), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
}

#[test]
fn the_assignor_most_members_prefer_wins() {
    let mut bench = Bench::new(GroupConfig::default());
    let tokens = [
        bench.join(2, &with_protocols("", &["range", "roundrobin"])),
        bench.join(2, &with_protocols("", &["roundrobin", "range", "sticky"])),
        bench.join(2, &with_protocols("", &["sticky", "roundrobin", "range"])),
    ];
    bench.wait(60_000);
    for token in tokens {
        assert_eq!(bench.joined(token).protocol_name.as_deref(), Some("roundrobin"));
    }
}

#[test]
fn two_members_form_a_generation_and_a_third_makes_the_next() {
    let mut bench = Bench::without_delay();
    let (ids, generation) = bench.stable(2);
    let (third, third_token) = bench.enter();
    for id in &ids {
        assert_eq!(bench.heartbeat(generation, id), ErrorCode::REBALANCE_IN_PROGRESS);
    }
    // Commits of the old generation still count while it ends.
    assert_eq!(bench.commit(generation, &ids[1], 5), ErrorCode::NONE);
    let tokens: Vec<Token> = ids.iter().map(|id| bench.join(9, &join_request(id))).collect();
    for token in tokens.into_iter().chain([third_token]) {
        let response = bench.joined(token);
        assert_eq!(response.generation_id, generation + 1);
        assert_eq!(response.leader, ids[0]);
        assert_eq!(response.members.len(), if response.member_id == ids[0] { 3 } else { 0 });
    }
    assert_eq!(bench.commit(generation, &ids[1], 6), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(bench.commit(generation + 1, &third, 6), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(bench.offset(), 5);
}

#[test]
fn a_member_that_leaves_out_the_leader_gets_an_empty_assignment() {
    let mut bench = Bench::without_delay();
    let (id, token) = bench.enter();
    assert_eq!(bench.joined(token).generation_id, 1);
    let token = bench.sync(1, &id, &[]);
    let response = bench.synced(token);
    assert_eq!((response.error_code, response.assignment.len()), (0, 0));
    assert_eq!(response.protocol_name.as_deref(), Some("range"));
}

#[test]
fn sync_group_is_checked() {
    let mut bench = Bench::without_delay();
    let (ids, generation) = bench.stable(1);
    let base = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: generation,
        member_id: ids[0].clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        ..Default::default()
    };
    for (version, request, expected) in [
        (5, base.clone(), ErrorCode::NONE),
        (4, SyncGroupRequest { protocol_type: None, protocol_name: None, ..base.clone() }, ErrorCode::NONE),
        (5, SyncGroupRequest { protocol_name: None, ..base.clone() }, ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
        (
            5,
            SyncGroupRequest { protocol_name: Some("x".into()), ..base.clone() },
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ),
        (5, SyncGroupRequest { generation_id: 77, ..base.clone() }, ErrorCode::ILLEGAL_GENERATION),
        (5, SyncGroupRequest { member_id: "ghost".into(), ..base.clone() }, ErrorCode::UNKNOWN_MEMBER_ID),
        (5, SyncGroupRequest { group_id: "other".into(), ..base.clone() }, ErrorCode::UNKNOWN_MEMBER_ID),
        (5, SyncGroupRequest { group_id: "".into(), ..base }, ErrorCode::INVALID_GROUP_ID),
    ] {
        let token = bench.sync_request(version, &request);
        assert_eq!(ErrorCode(bench.synced(token).error_code), expected, "{request:?}");
    }
}

#[test]
fn a_silent_member_is_dropped_and_the_others_rebalance() {
    let mut bench = Bench::without_delay();
    let (ids, generation) = bench.stable(2);
    for _ in 0..3 {
        bench.wait(4_000);
        bench.heartbeat(generation, &ids[0]);
    }
    assert_eq!(bench.state(), "PreparingRebalance");
    let token = bench.join(9, &join_request(&ids[0]));
    let response = bench.joined(token);
    assert_eq!((response.generation_id, response.members.len()), (generation + 1, 1));
    assert_eq!(bench.heartbeat(generation, &ids[1]), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_member_that_does_not_join_again_is_left_out_after_the_rebalance_timeout() {
    let mut bench = Bench::without_delay();
    let (ids, generation) = bench.stable(2);
    let token = bench.join(9, &join_request(&ids[0]));
    // The other one is alive but does not join.
    for _ in 0..12 {
        bench.wait(5_000);
        bench.heartbeat(generation, &ids[1]);
    }
    let response = bench.joined(token);
    assert_eq!((response.generation_id, response.members.len()), (generation + 1, 1));
}

#[test]
fn members_that_never_sync_are_dropped() {
    let mut bench = Bench::new(GroupConfig::default());
    let (first, token) = bench.enter();
    let (second, _) = bench.enter();
    bench.wait(6_100);
    let response = bench.joined(token);
    assert_eq!(response.members.len(), 2);
    let sync = bench.sync(1, &first, &[]);
    assert_eq!(bench.synced(sync).error_code, 0);
    for _ in 0..12 {
        bench.wait(5_000);
        bench.heartbeat(1, &first);
        bench.heartbeat(1, &second);
    }
    assert_eq!(bench.state(), "PreparingRebalance");
    assert_eq!(bench.heartbeat(1, &second), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_repeated_join_answers_the_first_one_too() {
    let mut bench = Bench::new(GroupConfig::default());
    let (id, first) = bench.enter();
    let second = bench.join(9, &join_request(&id));
    assert_eq!(ErrorCode(bench.joined(first).error_code), ErrorCode::REBALANCE_IN_PROGRESS);
    bench.wait(3_000);
    assert_eq!(bench.joined(second).generation_id, 1);
}

#[test]
fn a_follower_that_joins_again_unchanged_does_not_disturb_the_group() {
    let mut bench = Bench::without_delay();
    let (ids, generation) = bench.stable(2);
    let token = bench.join(9, &join_request(&ids[1]));
    assert_eq!(bench.joined(token).generation_id, generation);
    assert_eq!(bench.state(), "Stable");
    bench.join(9, &join_request(&ids[0]));
    assert_eq!(bench.state(), "PreparingRebalance");
}

#[test]
fn when_the_last_member_leaves_the_group_is_empty_and_keeps_its_offsets() {
    let mut bench = Bench::without_delay();
    let (ids, generation) = bench.stable(1);
    assert_eq!(bench.commit(generation, &ids[0], 42), ErrorCode::NONE);
    let response =
        bench.leave(2, &LeaveGroupRequest { group_id: "g".into(), member_id: ids[0].clone(), ..Default::default() });
    assert_eq!(response.error_code, 0);
    assert_eq!(bench.state(), "Empty");
    assert_eq!(bench.offset(), 42);
    // And a new broker learns all that from the log.
    let mut replay = Replay::default();
    for (at, record) in bench.log.iter().enumerate() {
        replay.record(at as i64, record.key.clone(), record.value.clone(), None).unwrap();
    }
    let groups = Groups::load(3, Arc::new(GroupConfig::default()), replay, bench.now, &mut Vec::new());
    assert_eq!(groups.describe("g"), bench.groups.describe("g"));
    assert_eq!(groups.fetch_offsets("g", None, true), bench.groups.fetch_offsets("g", None, true));
}

#[test]
fn leaving_in_batches_answers_member_by_member() {
    let mut bench = Bench::without_delay();
    let token = bench.join(9, &static_request("", "i"));
    let id = bench.joined(token).member_id;
    let (other, _) = bench.enter();
    let request = leave_request(&[("", Some("i")), ("ghost", None), (&other, None), (&id, Some("i"))]);
    let response = bench.leave(5, &request);
    let errors: Vec<ErrorCode> = response.members.iter().map(|member| ErrorCode(member.error_code)).collect();
    let unknown = ErrorCode::UNKNOWN_MEMBER_ID;
    assert_eq!(errors, [ErrorCode::NONE, unknown, ErrorCode::NONE, unknown]);
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn a_static_member_that_comes_back_causes_no_rebalance_and_fences_its_former_self() {
    let mut bench = Bench::without_delay();
    let token = bench.join(9, &static_request("", "i"));
    let old = bench.joined(token);
    let token = bench.sync(1, &old.member_id, &[(&old.member_id, "mine")]);
    bench.synced(token);

    for (version, skip) in [(9, true), (8, false)] {
        let before = bench.groups.describe("g").members[0].member_id.clone();
        let token = bench.join(version, &static_request("", "i"));
        let new = bench.joined(token);
        assert_eq!((new.error_code, new.generation_id, new.skip_assignment), (0, 1, skip));
        assert_ne!(new.member_id, before);
        // An older client must not think that it leads.
        assert_eq!(new.leader == new.member_id, skip);
        assert_eq!(bench.state(), "Stable");
        let fenced = bench.join(version, &static_request(&before, "i"));
        assert_eq!(ErrorCode(bench.joined(fenced).error_code), ErrorCode::FENCED_INSTANCE_ID);
        let sync = bench.sync(1, &new.member_id, &[]);
        assert_eq!(&bench.synced(sync).assignment[..], b"mine");
    }
}

#[test]
fn a_static_member_whose_new_id_cannot_be_written_keeps_the_old_one() {
    let mut bench = Bench::without_delay();
    let token = bench.join(9, &static_request("", "i"));
    let old = bench.joined(token).member_id;
    let token = bench.sync(1, &old, &[]);
    bench.synced(token);
    bench.held = Some(Vec::new());
    let token = bench.join(9, &static_request("", "i"));
    bench.release(Err(ErrorCode::NOT_ENOUGH_REPLICAS));
    assert_eq!(ErrorCode(bench.joined(token).error_code), ErrorCode::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(bench.heartbeat(1, &old), ErrorCode::NONE);
}

#[test]
fn a_full_group_turns_newcomers_away() {
    let mut bench = Bench::new(GroupConfig { max_size: 1, initial_rebalance_delay_ms: 0, ..GroupConfig::default() });
    let (_, generation) = bench.stable(1);
    let token = bench.join(9, &join_request(""));
    assert_eq!(ErrorCode(bench.joined(token).error_code), ErrorCode::GROUP_MAX_SIZE_REACHED);
    assert_eq!((bench.state().as_str(), generation), ("Stable", 1));
}

#[test]
fn an_assignment_that_cannot_be_written_starts_the_rebalance_anew() {
    let mut bench = Bench::without_delay();
    let (id, token) = bench.enter();
    bench.joined(token);
    bench.held = Some(Vec::new());
    let token = bench.sync(1, &id, &[]);
    bench.release(Err(ErrorCode::REQUEST_TIMED_OUT));
    assert_eq!(ErrorCode(bench.synced(token).error_code), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(bench.state(), "PreparingRebalance");
}

#[test]
fn an_assignment_is_not_handed_out_before_it_is_written() {
    let mut bench = Bench::without_delay();
    let (id, token) = bench.enter();
    bench.joined(token);
    bench.held = Some(Vec::new());
    let token = bench.sync(1, &id, &[]);
    assert!(bench.replies.is_empty());
    bench.release(Ok(0));
    assert_eq!(bench.synced(token).error_code, 0);
}

#[test]
fn commits_follow_kafkas_rules() {
    let mut bench = Bench::without_delay();
    assert_eq!(bench.commit(3, "ghost", 1), ErrorCode::ILLEGAL_GENERATION);
    // A client that manages its partitions itself.
    assert_eq!(bench.commit(-1, "", 1), ErrorCode::NONE);
    let (ids, generation) = bench.stable(1);
    assert_eq!(bench.commit(-1, "", 2), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(bench.commit(generation, "ghost", 2), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(bench.commit(generation - 1, &ids[0], 2), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(bench.commit(generation, &ids[0], 3), ErrorCode::NONE);
    assert_eq!(bench.offset(), 3);
    let mut long = commit_request(generation, &ids[0], 4);
    long.topics[0].partitions[0].committed_metadata = Some("ä".repeat(4_096).into());
    assert_eq!(bench.commit_request(&long), ErrorCode::NONE, "Kafka counts characters");
    long.topics[0].partitions[0].committed_metadata = Some("a".repeat(4_097).into());
    assert_eq!(bench.commit_request(&long), ErrorCode::OFFSET_METADATA_TOO_LARGE);
}

#[test]
fn a_commit_that_is_not_written_is_not_seen() {
    let mut bench = Bench::without_delay();
    bench.held = Some(Vec::new());
    let token = bench.token();
    let mut effects = Vec::new();
    bench.groups.commit(token, &commit_request(-1, "", 9), |_, _| None, bench.now, &mut effects);
    bench.absorb(effects);
    let asked = [OffsetFetchRequestTopics { name: "t".into(), partition_indexes: vec![0] }];
    let fetched = bench.groups.fetch_offsets("g", Some(&asked), true);
    assert_eq!(ErrorCode(fetched.topics[0].partitions[0].error_code), ErrorCode::UNSTABLE_OFFSET_COMMIT);
    assert_eq!(bench.offset(), -1);
    bench.release(Err(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    assert_eq!(bench.offset(), -1);
    let Some(Response::OffsetCommit(response)) = bench.replies.remove(&token) else { panic!("no answer") };
    assert_eq!(ErrorCode(response.topics[0].partitions[0].error_code), ErrorCode::NOT_COORDINATOR);
}

fn delete_group(bench: &mut Bench) -> ErrorCode {
    let token = bench.token();
    let mut effects = Vec::new();
    bench.groups.delete_group(token, "g", &mut effects);
    bench.absorb(effects);
    match bench.replies.remove(&token) {
        Some(Response::DeleteGroup(error)) => error,
        other => panic!("no answer but {other:?}"),
    }
}

fn delete_offset(bench: &mut Bench, topic: &str) -> (ErrorCode, OffsetDeleteResponse) {
    let token = bench.token();
    let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
    let topics = vec![OffsetDeleteRequestTopic { name: topic.into(), partitions }];
    let request = OffsetDeleteRequest { group_id: "g".into(), topics };
    let mut effects = Vec::new();
    bench.groups.delete_offsets(token, &request, |_, _| None, &mut effects);
    bench.absorb(effects);
    match bench.replies.remove(&token) {
        Some(Response::OffsetDelete(response)) => (ErrorCode(response.error_code), response),
        other => panic!("no answer but {other:?}"),
    }
}

#[test]
fn only_empty_groups_can_be_deleted() {
    let mut bench = Bench::without_delay();
    assert_eq!(delete_group(&mut bench), ErrorCode::GROUP_ID_NOT_FOUND);
    let (ids, generation) = bench.stable(1);
    bench.commit(generation, &ids[0], 42);
    assert_eq!(delete_group(&mut bench), ErrorCode::NON_EMPTY_GROUP);
    bench.leave(5, &leave_request(&[(&ids[0], None)]));
    let before = bench.log.len();
    assert_eq!(delete_group(&mut bench), ErrorCode::NONE);
    assert!(bench.log[before..].iter().all(|record| record.value.is_none()));
    assert_eq!(bench.log.len() - before, 2, "a tombstone for the offset and one for the group");
    assert_eq!((bench.state().as_str(), bench.offset(), bench.groups.len()), ("Dead", -1, 0));
}

#[test]
fn offsets_of_topics_in_use_cannot_be_deleted() {
    let mut bench = Bench::without_delay();
    assert_eq!(delete_offset(&mut bench, "t").0, ErrorCode::GROUP_ID_NOT_FOUND);
    let (ids, generation) = bench.stable(1);
    bench.commit(generation, &ids[0], 42);
    let (_, response) = delete_offset(&mut bench, "t");
    assert_eq!(ErrorCode(response.topics[0].partitions[0].error_code), ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC);
    assert_eq!(delete_offset(&mut bench, "other").0, ErrorCode::NONE);
    bench.leave(5, &leave_request(&[(&ids[0], None)]));
    assert_eq!(delete_offset(&mut bench, "t").0, ErrorCode::NONE);
    assert_eq!(bench.offset(), -1);
}

fn expire(bench: &mut Bench) {
    let mut effects = Vec::new();
    bench.groups.expire(bench.now, &mut effects);
    bench.absorb(effects);
}

#[test]
fn offsets_expire_after_the_group_was_empty_for_the_retention() {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let mut bench = Bench::without_delay();
    let (ids, generation) = bench.stable(1);
    bench.commit(generation, &ids[0], 42);
    bench.leave(5, &leave_request(&[(&ids[0], None)]));
    bench.wait(7 * DAY - 1);
    expire(&mut bench);
    assert_eq!(bench.offset(), 42);
    bench.wait(1);
    expire(&mut bench);
    assert_eq!((bench.offset(), bench.groups.len()), (-1, 0));
}

#[test]
fn offsets_of_a_group_without_members_expire_after_their_last_commit() {
    let mut bench = Bench::new(GroupConfig { offsets_retention_ms: 1_000, ..GroupConfig::default() });
    bench.commit(-1, "", 1);
    bench.wait(900);
    bench.commit(-1, "", 2);
    bench.wait(900);
    expire(&mut bench);
    assert_eq!(bench.offset(), 2);
    let mut own_retention = commit_request(-1, "", 3);
    own_retention.retention_time_ms = 10;
    bench.commit_request(&own_retention);
    bench.wait(10);
    expire(&mut bench);
    assert_eq!((bench.offset(), bench.groups.len()), (-1, 0));
}

#[test]
fn deleted_topics_take_their_offsets_along() {
    let mut bench = Bench::without_delay();
    bench.commit(-1, "", 1);
    let mut effects = Vec::new();
    bench.groups.forget_topics(|topic| topic == "t", &mut effects);
    bench.absorb(effects);
    assert_eq!((bench.offset(), bench.groups.len()), (-1, 0));
}

#[test]
fn groups_are_listed_by_state() {
    let mut bench = Bench::without_delay();
    bench.stable(1);
    for (states, expected) in [(&[][..], 1), (&["stable"], 1), (&["Empty", "STABLE"], 1), (&["Empty"], 0)] {
        assert_eq!(bench.groups.list(states).len(), expected, "{states:?}");
    }
}

#[test]
fn unloading_answers_everyone_who_waits() {
    let mut bench = Bench::new(GroupConfig::default());
    let (_, joining) = bench.enter();
    let groups = std::mem::replace(&mut bench.groups, Bench::without_delay().groups);
    let mut effects = Vec::new();
    groups.unload(bench.now, &mut effects);
    bench.absorb(effects);
    assert_eq!(ErrorCode(bench.joined(joining).error_code), ErrorCode::NOT_COORDINATOR);
}
