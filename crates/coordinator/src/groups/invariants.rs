//! Whatever clients do, in whatever order, these hold.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use protocol::messages::join_group::JoinGroupRequestProtocol;
use protocol::messages::offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::sync_group::SyncGroupRequestAssignment;
use protocol::wire::Str;

use super::*;

const CLIENTS: usize = 5;
const SESSION_MS: i64 = 10_000;
const REBALANCE_MS: i64 = 20_000;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Deed {
    Join {
        client: usize,
        fresh: bool,
        protocols: usize,
    },
    Sync {
        client: usize,
    },
    Heartbeat {
        client: usize,
    },
    Leave {
        client: usize,
    },
    Commit {
        client: usize,
        stale: bool,
    },
    Wait {
        ms: i64,
    },
    /// Reports the write that has waited longest.
    Written {
        ok: bool,
    },
    Expire,
    Delete,
}

fn deed() -> impl Strategy<Value = Deed> {
    let client = 0..CLIENTS;
    prop_oneof![
        4 => (client.clone(), any::<bool>(), 0..3usize)
            .prop_map(|(client, fresh, protocols)| Deed::Join { client, fresh, protocols }),
        4 => client.clone().prop_map(|client| Deed::Sync { client }),
        2 => client.clone().prop_map(|client| Deed::Heartbeat { client }),
        1 => client.clone().prop_map(|client| Deed::Leave { client }),
        2 => (client, any::<bool>()).prop_map(|(client, stale)| Deed::Commit { client, stale }),
        3 => (0..8_000i64).prop_map(|ms| Deed::Wait { ms }),
        5 => prop::bool::weighted(0.8).prop_map(|ok| Deed::Written { ok }),
        1 => Just(Deed::Expire),
        1 => Just(Deed::Delete),
    ]
}

#[derive(Debug, Clone, Default)]
struct Known {
    member_id: Str,
    generation: i32,
    leader: bool,
    members: Vec<Str>,
}

enum Asked {
    Join { client: usize },
    Sync,
    Commit { is_current: bool, offset: i64 },
    Delete,
}

struct World {
    groups: Groups,
    now: Now,
    clients: Vec<Known>,
    waiting: BTreeMap<Token, (Asked, i64)>,
    writes: Vec<WriteId>,
    tokens: u64,
    log_offset: i64,
    /// Who led each generation, as the clients were told.
    leaders: BTreeMap<i32, Str>,
    /// Offsets whose commit was answered as done.
    done: BTreeSet<i64>,
    newest_generation: i32,
}

impl World {
    fn new() -> World {
        let now = Now::default();
        let config = GroupConfig { initial_rebalance_delay_ms: 500, max_size: 4, ..GroupConfig::default() };
        World {
            groups: Groups::load(0, Arc::new(config), Replay::default(), now, &mut Vec::new()),
            now,
            clients: vec![Known::default(); CLIENTS],
            waiting: BTreeMap::new(),
            writes: Vec::new(),
            tokens: 0,
            log_offset: 0,
            leaders: BTreeMap::new(),
            done: BTreeSet::new(),
            newest_generation: 0,
        }
    }

    fn ask(&mut self, asked: Asked) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.waiting.insert(token, (asked, self.now.monotonic_ms));
        token
    }

    fn act(&mut self, deed: &Deed) {
        let mut effects = Vec::new();
        match *deed {
            Deed::Join { client, fresh, protocols } => {
                let names = [&["a"][..], &["a", "b"], &["b", "a"]][protocols];
                let member_id = if fresh { Str::default() } else { self.clients[client].member_id.clone() };
                let request = JoinGroupRequest {
                    group_id: "g".into(),
                    session_timeout_ms: SESSION_MS as i32,
                    rebalance_timeout_ms: REBALANCE_MS as i32,
                    member_id,
                    // One client is a static member.
                    group_instance_id: (client == 0).then(|| "static".into()),
                    protocol_type: "consumer".into(),
                    protocols: names
                        .iter()
                        .map(|name| JoinGroupRequestProtocol { name: (*name).into(), metadata: Bytes::new() })
                        .collect(),
                    ..Default::default()
                };
                let token = self.ask(Asked::Join { client });
                let who = Client { id: format!("c{client}"), host: "/h".into(), id_suffix: token.0.to_string() };
                self.groups.join(token, 9, &request, &who, self.now, &mut effects);
            }
            Deed::Sync { client } => {
                let known = self.clients[client].clone();
                let assignments = known.members.iter().filter(|_| known.leader).map(|member| {
                    let assignment = Bytes::from(format!("{}:{member}", known.generation));
                    SyncGroupRequestAssignment { member_id: member.clone(), assignment }
                });
                let request = SyncGroupRequest {
                    group_id: "g".into(),
                    generation_id: known.generation,
                    member_id: known.member_id.clone(),
                    assignments: assignments.collect(),
                    ..Default::default()
                };
                let token = self.ask(Asked::Sync);
                self.groups.sync(token, 4, &request, self.now, &mut effects);
            }
            Deed::Heartbeat { client } => {
                let known = &self.clients[client];
                let request = HeartbeatRequest {
                    group_id: "g".into(),
                    generation_id: known.generation,
                    member_id: known.member_id.clone(),
                    ..Default::default()
                };
                self.groups.heartbeat(&request, self.now, &mut effects);
            }
            Deed::Leave { client } => {
                let identity =
                    MemberIdentity { member_id: self.clients[client].member_id.clone(), ..Default::default() };
                let request = LeaveGroupRequest { group_id: "g".into(), members: vec![identity], ..Default::default() };
                self.groups.leave(5, &request, self.now, &mut effects);
            }
            Deed::Commit { client, stale } => {
                let generation = self.clients[client].generation - i32::from(stale);
                let offset = self.tokens as i64 + 1;
                let is_current = match self.groups.groups.get("g") {
                    Some(group) => group.generation == generation || (generation < 0 && group.state == State::Empty),
                    None => generation < 0,
                };
                let token = self.ask(Asked::Commit { is_current, offset });
                let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
                let request = OffsetCommitRequest {
                    group_id: "g".into(),
                    generation_id_or_member_epoch: generation,
                    member_id: self.clients[client].member_id.clone(),
                    topics: vec![OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition] }],
                    ..Default::default()
                };
                self.groups.commit(token, &request, |_, _| None, self.now, &mut effects);
            }
            Deed::Wait { ms } => {
                let until = self.now.monotonic_ms + ms;
                while let Some(deadline) = self.groups.next_deadline().filter(|deadline| *deadline <= until) {
                    self.set_time(deadline.max(self.now.monotonic_ms));
                    let mut effects = Vec::new();
                    self.groups.on_tick(self.now, &mut effects);
                    assert!(self.groups.next_deadline().is_none_or(|next| next > deadline), "a deadline stays due");
                    self.absorb(effects);
                }
                self.set_time(until);
            }
            Deed::Written { ok } => {
                if !self.writes.is_empty() {
                    let id = self.writes.remove(0);
                    self.log_offset += 1;
                    let result = if ok { Ok(self.log_offset) } else { Err(ErrorCode::NOT_ENOUGH_REPLICAS) };
                    self.groups.on_written(id, result, self.now, &mut effects);
                }
            }
            Deed::Expire => self.groups.expire(self.now, &mut effects),
            Deed::Delete => {
                let token = self.ask(Asked::Delete);
                self.groups.delete_group(token, "g", &mut effects);
            }
        }
        self.absorb(effects);
        self.check();
    }

    fn set_time(&mut self, monotonic_ms: i64) {
        self.now = Now { monotonic_ms, wall_ms: monotonic_ms };
    }

    fn absorb(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Write { id, records } => {
                    assert!(!records.is_empty());
                    self.writes.push(id);
                }
                Effect::Reply { token, response } => {
                    let (asked, _) = self.waiting.remove(&token).expect("an answer to a request that waits");
                    self.answered(asked, response);
                }
                Effect::Notice(_) => {}
            }
        }
    }

    fn answered(&mut self, asked: Asked, response: Response) {
        match (asked, response) {
            (Asked::Join { client }, Response::JoinGroup(response)) => {
                let known = &mut self.clients[client];
                match ErrorCode(response.error_code) {
                    ErrorCode::NONE => {
                        known.member_id = response.member_id.clone();
                        known.generation = response.generation_id;
                        known.leader = response.leader == response.member_id && !response.skip_assignment;
                        known.members = response.members.iter().map(|member| member.member_id.clone()).collect();
                        let leads = !response.members.is_empty() && !response.skip_assignment;
                        if leads {
                            let leader = self.leaders.entry(response.generation_id).or_insert(response.leader.clone());
                            assert_eq!(*leader, response.member_id, "two leaders of one generation");
                            assert!(response.members.len() <= 4, "more members than group.max.size");
                        }
                    }
                    ErrorCode::MEMBER_ID_REQUIRED => known.member_id = response.member_id,
                    ErrorCode::UNKNOWN_MEMBER_ID => known.member_id = Str::default(),
                    _ => {}
                }
            }
            (Asked::Sync, Response::SyncGroup(response)) => {
                if response.error_code != 0 {
                    assert!(response.assignment.is_empty(), "an assignment beside an error");
                }
            }
            (Asked::Commit { is_current, offset }, Response::OffsetCommit(response)) => {
                if response.topics[0].partitions[0].error_code == 0 {
                    assert!(is_current, "a commit of another generation was taken");
                    self.done.insert(offset);
                }
            }
            (Asked::Delete, Response::DeleteGroup(_)) => {}
            (_, response) => panic!("answer to another request: {response:?}"),
        }
    }

    fn check(&mut self) {
        let described = self.groups.describe("g");
        if let Some(group) = self.groups.groups.get("g") {
            // A group that was deleted starts again at 0, and so do its generations.
            if group.generation < self.newest_generation {
                self.leaders.clear();
            }
            self.newest_generation = group.generation;
            if let Some(leader) = &group.leader {
                assert!(group.members.contains_key(leader), "the leader is no member");
            }
            if group.state == State::Empty {
                assert!(group.members.is_empty());
            }
            if matches!(group.state, State::PreparingRebalance) {
                assert!(group.timers.next().is_some(), "a rebalance without a deadline");
            }
        } else {
            self.leaders.clear();
            self.newest_generation = 0;
        }
        // One assignment belongs to one generation and one member.
        for member in &described.members {
            if let Some((_, owner)) = std::str::from_utf8(&member.member_assignment).unwrap().split_once(':')
                && member.group_instance_id.is_none()
            {
                assert_eq!(owner, &*member.member_id, "an assignment of somebody else");
            }
        }
        let fetched = self.groups.fetch_offsets("g", None, false);
        for partition in fetched.topics.iter().flat_map(|topic| &topic.partitions) {
            assert!(self.done.contains(&partition.committed_offset), "an offset nobody was told is stored");
        }
        // Joining takes no longer than a few rounds of its time-outs; only commits and the like wait for the log.
        let limit = 300_000 + 2 * (SESSION_MS + REBALANCE_MS);
        for (asked, since) in self.waiting.values() {
            if matches!(asked, Asked::Join { .. }) {
                assert!(self.now.monotonic_ms - since <= limit, "a JoinGroup without an answer");
            }
        }
    }

    /// Nothing more happens but time and the log: all must be answered.
    fn settle(&mut self) {
        for _ in 0..200 {
            while !self.writes.is_empty() {
                self.act(&Deed::Written { ok: true });
            }
            self.act(&Deed::Wait { ms: REBALANCE_MS });
        }
        assert!(self.waiting.is_empty(), "{} requests were never answered", self.waiting.len());
        let state = self.groups.describe("g").group_state;
        assert!(matches!(&*state, "Empty" | "Dead"), "a group of silent members is {state}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_group_keeps_its_promises(deeds in prop::collection::vec(deed(), 1..120)) {
        let mut world = World::new();
        for deed in &deeds {
            world.act(deed);
        }
        world.settle();
    }
}
