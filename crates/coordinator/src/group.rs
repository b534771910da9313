//! One group: who is in it, in which generation, and what it waits for.
//!
//! Always true: every member's assignors share at least one name with all other members'; a group in PreparingRebalance has a Join deadline; the leader is a member.
//!
//! # Layout
//! - [`join`](mod@join): JoinGroup
//! - [`rebalance`]: from one generation to the next
//! - [`sync`](mod@sync): SyncGroup
//! - [`leave`]: heartbeats, leaving, silence
//! - [`describe`]: what others are told of the group

mod describe;
mod join;
mod leave;
mod rebalance;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use protocol::error::ErrorCode;
use protocol::messages::consumer_protocol::{self, ConsumerProtocolSubscription};
use protocol::wire::WireError;

pub(crate) use join::{Joining, join_error};
pub(crate) use sync::sync_error;

use crate::config::{GroupConfig, NEW_MEMBER_JOIN_TIMEOUT_MS};
use crate::event::{Effect, Now, OffsetsRecord, Response, Token};
use crate::groups::writes::Writes;
use crate::member::{Assignor, Member, Waiter};
use crate::offsets::OffsetStore;
use crate::record::{GroupValue, group_key};
use crate::timers::{Timer, Timers};

/// Protocol type of consumers, whose subscriptions can be read.
pub const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// What a group is doing (`ClassicGroupState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No members; it may still hold offsets.
    Empty,
    /// Members are to join anew; heartbeats are answered with REBALANCE_IN_PROGRESS.
    PreparingRebalance,
    /// The new generation waits for its leader's assignment.
    CompletingRebalance,
    /// Everyone knows its assignment.
    Stable,
    /// It is being deleted, or was moved to another broker.
    Dead,
}

impl State {
    /// Kafka's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
            State::Dead => "Dead",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a rebalance waits for its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gathering {
    /// A group that was empty waits for more to come, and again while more do.
    Initial { delay_ms: i64, remaining_ms: i64 },
    /// All members are known; it ends as soon as they are there.
    Known,
}

/// One group.
#[derive(Debug, Clone)]
pub struct Group {
    pub(crate) id: Arc<str>,
    pub(crate) state: State,
    /// Since when, in milliseconds since 1970; retention counts from it. None in records of Kafka before 2.1.
    pub(crate) state_since_ms: Option<i64>,
    pub(crate) protocol_type: Option<Arc<str>>,
    /// The assignor of this generation.
    pub(crate) protocol_name: Option<Arc<str>>,
    pub(crate) generation: i32,
    pub(crate) leader: Option<Arc<str>>,
    pub(crate) members: BTreeMap<Arc<str>, Member>,
    /// Member ids by instance id.
    static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were handed out and not joined with yet (KIP-394).
    pending: BTreeSet<Arc<str>>,
    /// Members of this generation that have not synced yet.
    pending_sync: BTreeSet<Arc<str>>,
    /// Members with a JoinGroup that waits.
    joining: usize,
    /// How many members support each assignor.
    supported: BTreeMap<Arc<str>, usize>,
    /// Topics the members read; none where that is not known.
    subscribed: Option<BTreeSet<Arc<str>>>,
    gathering: Gathering,
    /// Somebody came while the group gathered its first generation.
    member_added: bool,
    /// The leader's assignment is being written.
    assignment_in_flight: bool,
    pub(crate) timers: Timers,
    pub(crate) offsets: OffsetStore,
    /// The deadline under which the group is listed.
    pub(crate) armed: Option<i64>,
}

/// What a group needs from around it during a call.
pub(crate) struct Context<'a> {
    pub(crate) config: &'a GroupConfig,
    pub(crate) now: Now,
    /// Number of the partition of `__consumer_offsets`, for notices.
    pub(crate) partition: i32,
    pub(crate) effects: &'a mut Vec<Effect>,
    pub(crate) writes: &'a mut Writes,
}

impl Context<'_> {
    pub(crate) fn reply(&mut self, token: Token, response: Response) {
        self.effects.push(Effect::Reply { token, response });
    }

    pub(crate) fn notice(&mut self, text: String) {
        self.effects.push(Effect::Notice(text));
    }
}

impl Group {
    /// A group without members.
    #[must_use]
    pub fn new(id: Arc<str>, now: Now) -> Group {
        Group {
            id,
            state: State::Empty,
            state_since_ms: Some(now.wall_ms),
            protocol_type: None,
            protocol_name: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            joining: 0,
            supported: BTreeMap::new(),
            subscribed: None,
            gathering: Gathering::Known,
            member_added: false,
            assignment_in_flight: false,
            timers: Timers::default(),
            offsets: OffsetStore::default(),
            armed: None,
        }
    }

    /// A group as its record describes it: Stable with the members of its last generation, or Empty.
    #[must_use]
    pub fn from_value(id: Arc<str>, value: GroupValue) -> Group {
        let mut group = Group::new(id, Now::default());
        group.state_since_ms = value.state_since_ms;
        group.protocol_type = Some(value.protocol_type).filter(|protocol_type| !protocol_type.is_empty());
        group.protocol_name = value.protocol;
        group.generation = value.generation;
        for member in value.members {
            let member = Member::from_value(member, group.protocol_name.as_ref());
            if group.members.contains_key(&member.id) {
                continue;
            }
            if let Some(instance_id) = &member.instance_id {
                group.static_members.insert(instance_id.clone(), member.id.clone());
            }
            group.count_assignors(&member.assignors);
            group.members.insert(member.id.clone(), member);
        }
        group.leader = value.leader.filter(|leader| group.members.contains_key(leader));
        if group.leader.is_none() {
            group.leader = group.members.keys().next().cloned();
        }
        if !group.members.is_empty() {
            group.state = State::Stable;
        }
        group.subscribed = group.read_subscriptions();
        group
    }

    /// Starts the deadlines of a group that was just loaded.
    pub(crate) fn loaded(&mut self, cx: &mut Context<'_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in &ids {
            self.expect_heartbeat(cx, id);
        }
        if self.members.len() > cx.config.members_max() {
            let reason = format!("Freshly-loaded group is over capacity ({})", cx.config.members_max());
            self.prepare_rebalance(cx, &reason);
        }
    }

    /// Answers all who wait: the group is served by another broker from now on.
    pub(crate) fn unload(&mut self, cx: &mut Context<'_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in &ids {
            self.answer_waiting(cx, id, ErrorCode::NOT_COORDINATOR);
        }
        self.timers.clear();
        self.state = State::Dead;
    }

    /// A deadline has passed.
    pub(crate) fn on_timer(&mut self, cx: &mut Context<'_>, timer: Timer) {
        match timer {
            Timer::Join => self.on_join_deadline(cx),
            Timer::Sync => self.on_sync_deadline(cx),
            Timer::Member(id) => self.on_silence(cx, &id),
            Timer::PendingMember(id) => {
                if self.pending.remove(&id) {
                    cx.notice(format!(
                        "Pending member {id} in group {} has been removed after session timeout expiration.",
                        self.id
                    ));
                    self.maybe_complete_join(cx);
                }
            }
        }
    }

    /// Whether it only keeps offsets, or nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state == State::Empty && self.members.is_empty() && self.pending.is_empty()
    }

    /// Whether its members are consumers.
    #[must_use]
    pub fn is_consumer_group(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// Whether a member reads the topic. Where that is not known it may be so.
    #[must_use]
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed.as_ref().is_none_or(|topics| topics.contains(topic))
    }

    /// Whether it is known which topics the members read.
    pub(crate) fn knows_subscriptions(&self) -> bool {
        self.subscribed.is_some()
    }

    /// Checks that a request comes from a member under its present id.
    pub(crate) fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                Some(current) if **current != *member_id => return Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => {}
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }

    /// Restarts a member's session timeout.
    pub(crate) fn expect_heartbeat(&mut self, cx: &Context<'_>, id: &str) {
        if let Some(member) = self.members.get(id) {
            let deadline = cx.now.monotonic_ms + i64::from(member.session_timeout_ms);
            self.timers.set(Timer::Member(member.id.clone()), deadline);
        }
    }

    fn expect_join(&mut self, cx: &Context<'_>, id: &Arc<str>) {
        self.timers.set(Timer::Member(id.clone()), cx.now.monotonic_ms + NEW_MEMBER_JOIN_TIMEOUT_MS);
    }

    fn transition_to(&mut self, cx: &Context<'_>, state: State) {
        self.state = state;
        self.state_since_ms = Some(cx.now.wall_ms);
    }

    fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms.max(0))).max().unwrap_or(0)
    }

    /// Takes a member out of the group, and answers what it waits for.
    fn remove_member(&mut self, cx: &mut Context<'_>, id: &str) {
        self.answer_waiting(cx, id, ErrorCode::UNKNOWN_MEMBER_ID);
        if let Some(member) = self.members.remove(id) {
            self.uncount_assignors(&member.assignors);
            if let Some(instance_id) = &member.instance_id {
                self.static_members.remove(instance_id);
            }
            self.timers.cancel(&Timer::Member(member.id.clone()));
            self.pending_sync.remove(id);
            if self.is_leader(id) {
                self.leader = self.members.keys().next().cloned();
            }
        }
        self.remove_pending(id);
    }

    /// Takes an id back that was handed out. True if there was such a one.
    fn remove_pending(&mut self, id: &str) -> bool {
        match self.pending.take(id) {
            Some(id) => {
                self.timers.cancel(&Timer::PendingMember(id));
                true
            }
            None => false,
        }
    }

    /// Answers a member's waiting JoinGroup and SyncGroup with an error.
    fn answer_waiting(&mut self, cx: &mut Context<'_>, id: &str, error: ErrorCode) {
        // A member that is told it is unknown starts without an id.
        let told_id = if error == ErrorCode::UNKNOWN_MEMBER_ID { "" } else { id };
        if let Some(waiter) = self.take_joining(id) {
            cx.reply(waiter.token, Response::JoinGroup(join_error(waiter.version, told_id, error)));
        }
        if let Some(waiter) = self.members.get_mut(id).and_then(|member| member.syncing.take()) {
            cx.reply(waiter.token, Response::SyncGroup(sync_error(error)));
        }
    }

    fn take_joining(&mut self, id: &str) -> Option<Waiter> {
        let waiter = self.members.get_mut(id)?.joining.take()?;
        self.joining -= 1;
        Some(waiter)
    }

    fn count_assignors(&mut self, assignors: &[Assignor]) {
        for assignor in assignors {
            *self.supported.entry(assignor.name.clone()).or_default() += 1;
        }
    }

    fn uncount_assignors(&mut self, assignors: &[Assignor]) {
        for assignor in assignors {
            if let Some(count) = self.supported.get_mut(&assignor.name) {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(&assignor.name);
                }
            }
        }
    }

    /// The topics that consumers subscribe to; none while it is not known, or for other protocol types.
    fn read_subscriptions(&self) -> Option<BTreeSet<Arc<str>>> {
        if !self.is_consumer_group() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let assignor = self.protocol_name.as_deref()?;
        let mut topics: BTreeSet<Arc<str>> = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(assignor)?;
            let (_, subscription) = consumer_protocol::decode::<ConsumerProtocolSubscription>(metadata.clone()).ok()?;
            for topic in &subscription.topics {
                if !topics.contains(&**topic) {
                    topics.insert(Arc::from(&**topic));
                }
            }
        }
        Some(topics)
    }

    /// The record of this generation with the given assignments.
    fn record(&self, assignment: impl Fn(&Member) -> Bytes) -> Result<OffsetsRecord, WireError> {
        let assignor = self.protocol_name.as_deref();
        let members = self.members.values().map(|member| member.to_value(assignor, assignment(member))).collect();
        let value = GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol_name.clone(),
            leader: self.leader.clone(),
            state_since_ms: self.state_since_ms,
            members,
        };
        Ok(OffsetsRecord { key: group_key(&self.id)?, value: Some(value.encode()?) })
    }
}
