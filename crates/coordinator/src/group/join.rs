//! JoinGroup: who comes in, and who is turned away.

use std::sync::Arc;

use bytes::Bytes;
use protocol::error::ErrorCode;
use protocol::messages::join_group::{JoinGroupResponse, JoinGroupResponseMember};

use super::{Context, Gathering, Group, State};
use crate::config::{MEMBER_ID_PREFIX_MAX, PENDING_MEMBERS_MAX};
use crate::event::{Client, Response};
use crate::groups::writes::{Pending, StaticRejoin};
use crate::member::{Assignor, Member, Waiter};
use crate::timers::Timer;

/// A JoinGroup as a group sees it.
pub(crate) struct Joining<'a> {
    pub(crate) waiter: Waiter,
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    pub(crate) protocol_type: &'a str,
    pub(crate) assignors: Vec<Assignor>,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) client: &'a Client,
    pub(crate) reason: &'a str,
}

/// From here on a client without an id is given one first, so that a lost answer leaves no ghost in the group (KIP-394).
const REQUIRE_MEMBER_ID_VERSION: i16 = 4;
/// From here on a leader can be told to leave the assignment as it is (KIP-814).
const SKIP_ASSIGNMENT_VERSION: i16 = 9;

/// The answer to a JoinGroup that fails.
pub(crate) fn join_error(version: i16, member_id: &str, error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error.0,
        protocol_name: if version >= 7 { None } else { Some(Default::default()) },
        member_id: member_id.into(),
        ..Default::default()
    }
}

impl Group {
    /// A client wants in, or in again.
    pub(crate) fn join(&mut self, cx: &mut Context<'_>, joining: Joining<'_>) {
        if !self.has_room_for(cx, &joining) {
            if !joining.member_id.is_empty() {
                self.remove_member(cx, joining.member_id);
            }
            self.refuse_join(cx, &joining, "", ErrorCode::GROUP_MAX_SIZE_REACHED);
        } else if joining.member_id.is_empty() {
            self.join_new(cx, joining);
        } else {
            self.join_known(cx, joining);
        }
        self.maybe_complete_join(cx);
    }

    fn refuse_join(&mut self, cx: &mut Context<'_>, joining: &Joining<'_>, member_id: &str, error: ErrorCode) {
        let response = join_error(joining.waiter.version, member_id, error);
        cx.reply(joining.waiter.token, Response::JoinGroup(response));
    }

    /// Kafka's `acceptJoiningMember`: during a rebalance those count who are there already, so that the last to come back are left out when the limit was lowered. Static members
    /// keep their places while they are away, which Kafka does not count: newcomers would make the group larger than it may be.
    fn has_room_for(&self, cx: &Context<'_>, joining: &Joining<'_>) -> bool {
        let limit = cx.config.members_max();
        let known = self.members.get(joining.member_id);
        match self.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance if known.is_some_and(|member| member.joining.is_some()) => true,
            State::PreparingRebalance => {
                let away = |id: &Arc<str>| self.members.get(id).is_some_and(|member| member.joining.is_none());
                let comes_back = joining.instance_id.is_some_and(|instance| self.static_members.contains_key(instance));
                let kept = if comes_back { 0 } else { self.static_members.values().filter(|id| away(id)).count() };
                self.joining + kept < limit
            }
            State::CompletingRebalance | State::Stable => known.is_some() || self.members.len() < limit,
        }
    }

    fn supports(&self, joining: &Joining<'_>) -> bool {
        if self.state == State::Empty {
            return !joining.protocol_type.is_empty() && !joining.assignors.is_empty();
        }
        let members = self.members.len();
        self.protocol_type.as_deref() == Some(joining.protocol_type)
            && joining
                .assignors
                .iter()
                .any(|assignor| self.supported.get(&assignor.name).copied().unwrap_or(0) == members)
    }

    fn join_new(&mut self, cx: &mut Context<'_>, joining: Joining<'_>) {
        if self.state == State::Dead {
            return self.refuse_join(cx, &joining, "", ErrorCode::COORDINATOR_NOT_AVAILABLE);
        }
        if !self.supports(&joining) {
            return self.refuse_join(cx, &joining, "", ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        let prefix = joining.instance_id.unwrap_or(&joining.client.id);
        let prefix = &prefix[..prefix.floor_char_boundary(MEMBER_ID_PREFIX_MAX)];
        let new_id: Arc<str> = Arc::from(format!("{prefix}-{}", joining.client.id_suffix));
        if let Some(instance_id) = joining.instance_id {
            match self.static_members.get(instance_id).cloned() {
                Some(old_id) => self.rejoin_static(cx, joining, &old_id, new_id),
                None => self.add_member(cx, joining, new_id),
            }
        } else if joining.waiter.version < REQUIRE_MEMBER_ID_VERSION {
            self.add_member(cx, joining, new_id);
        } else if self.pending.len() >= PENDING_MEMBERS_MAX {
            self.refuse_join(cx, &joining, "", ErrorCode::GROUP_MAX_SIZE_REACHED);
        } else {
            self.pending.insert(new_id.clone());
            let deadline = cx.now.monotonic_ms + i64::from(joining.session_timeout_ms);
            self.timers.set(Timer::PendingMember(new_id.clone()), deadline);
            self.refuse_join(cx, &joining, &new_id, ErrorCode::MEMBER_ID_REQUIRED);
        }
    }

    fn join_known(&mut self, cx: &mut Context<'_>, joining: Joining<'_>) {
        let id = joining.member_id;
        if self.state == State::Dead {
            return self.refuse_join(cx, &joining, id, ErrorCode::COORDINATOR_NOT_AVAILABLE);
        }
        if !self.supports(&joining) {
            return self.refuse_join(cx, &joining, id, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if self.pending.contains(id) {
            // Ids are handed out in advance to dynamic members only; a static member with one is not who it says.
            if joining.instance_id.is_some() {
                return self.refuse_join(cx, &joining, id, ErrorCode::UNKNOWN_MEMBER_ID);
            }
            let id = Arc::from(id);
            return self.add_member(cx, joining, id);
        }
        if let Err(error) = self.check_member(id, joining.instance_id) {
            return self.refuse_join(cx, &joining, id, error);
        }
        let same = self.members.get(id).is_some_and(|member| member.assignors == joining.assignors);
        match self.state {
            State::PreparingRebalance => {
                self.update_member(cx, joining);
            }
            // It may not have received the first answer.
            State::CompletingRebalance if same => {
                let response = self.join_result(joining.waiter.version, id);
                cx.reply(joining.waiter.token, Response::JoinGroup(response));
            }
            // The leader joins anew to have topics that came or grew assigned.
            State::Stable if same && !self.is_leader(id) => {
                let response = self.join_result(joining.waiter.version, id);
                cx.reply(joining.waiter.token, Response::JoinGroup(response));
            }
            State::CompletingRebalance | State::Stable => {
                let what = if self.is_leader(id) { "Leader" } else { "Updating metadata for member" };
                let reason =
                    format!("{what} {id} re-joining group during {}; client reason: {}", self.state, joining.reason);
                self.update_member(cx, joining);
                self.prepare_rebalance(cx, &reason);
            }
            State::Empty | State::Dead => self.refuse_join(cx, &joining, id, ErrorCode::UNKNOWN_MEMBER_ID),
        }
    }

    fn add_member(&mut self, cx: &mut Context<'_>, joining: Joining<'_>, id: Arc<str>) {
        let instance_id: Option<Arc<str>> = joining.instance_id.map(Arc::from);
        let reason = format!(
            "Adding new member {id} with group instance id {}; client reason: {}",
            instance_id.as_deref().unwrap_or("None"),
            joining.reason
        );
        if self.members.is_empty() {
            self.protocol_type = Some(Arc::from(joining.protocol_type));
        }
        if let Some(instance_id) = &instance_id {
            self.static_members.insert(instance_id.clone(), id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(id.clone());
        }
        self.member_added |= self.state == State::PreparingRebalance && self.generation == 0;
        self.remove_pending(&id);
        self.count_assignors(&joining.assignors);
        self.joining += 1;
        let member = Member {
            id: id.clone(),
            instance_id,
            client_id: Arc::from(joining.client.id.as_str()),
            client_host: Arc::from(joining.client.host.as_str()),
            rebalance_timeout_ms: joining.rebalance_timeout_ms,
            session_timeout_ms: joining.session_timeout_ms,
            assignors: joining.assignors,
            assignment: Bytes::new(),
            joining: Some(joining.waiter),
            syncing: None,
            is_new: true,
        };
        self.members.insert(id.clone(), member);
        self.expect_join(cx, &id);
        self.maybe_prepare_rebalance(cx, &reason);
    }

    /// Takes over what a member says of itself, and lets it wait.
    fn update_member(&mut self, cx: &mut Context<'_>, joining: Joining<'_>) {
        let id = joining.member_id.to_owned();
        // The client has sent it anew, so nobody reads the former answer any more; but no request stays open for ever.
        if let Some(former) = self.take_joining(&id) {
            let response = join_error(former.version, &id, ErrorCode::REBALANCE_IN_PROGRESS);
            cx.reply(former.token, Response::JoinGroup(response));
        }
        let Some(member) = self.members.get_mut(&*id) else { return };
        member.rebalance_timeout_ms = joining.rebalance_timeout_ms;
        member.session_timeout_ms = joining.session_timeout_ms;
        member.joining = Some(joining.waiter);
        let former = std::mem::replace(&mut member.assignors, joining.assignors.clone());
        self.joining += 1;
        self.uncount_assignors(&former);
        self.count_assignors(&joining.assignors);
    }

    /// A static member has started anew: it takes over its place under a new id.
    fn rejoin_static(&mut self, cx: &mut Context<'_>, joining: Joining<'_>, old_id: &Arc<str>, new_id: Arc<str>) {
        let leader_before = self.leader.clone();
        let Some(before) = self.members.get(old_id).cloned() else { return };
        self.rename_member(cx, old_id, &new_id);
        self.expect_heartbeat(cx, &new_id);
        let waiter = joining.waiter;
        let reason = joining.reason.to_owned();
        self.update_member(cx, Joining { member_id: &new_id, ..joining });
        match self.state {
            State::Stable if self.select_assignor() == self.protocol_name => {
                let rejoin = StaticRejoin {
                    generation: self.generation,
                    old_id: old_id.clone(),
                    new_id,
                    before: Box::new(before),
                    waiter,
                    leader_before,
                };
                match self.record(|member| member.assignment.clone()) {
                    Ok(record) => {
                        cx.write(vec![record], Pending::StaticRejoin { group: self.id.clone(), rejoin });
                    }
                    Err(_) => self.on_static_rejoin_written(cx, rejoin, Err(ErrorCode::UNKNOWN_SERVER_ERROR)),
                }
            }
            State::Stable => {
                let reason = format!(
                    "Group's selectedProtocol will change because static member {new_id} joined with change of protocol; client reason: {reason}"
                );
                self.prepare_rebalance(cx, &reason);
            }
            // The leader may have been given the old id: what it assigns to that would be lost.
            State::CompletingRebalance => {
                let reason = format!("Updating metadata for static member {new_id}; client reason: {reason}");
                self.prepare_rebalance(cx, &reason);
            }
            State::PreparingRebalance | State::Empty | State::Dead => {}
        }
    }

    /// The new id of a static member was written, or not.
    pub(crate) fn on_static_rejoin_written(
        &mut self,
        cx: &mut Context<'_>,
        rejoin: StaticRejoin,
        result: Result<(), ErrorCode>,
    ) {
        let StaticRejoin { generation, old_id, new_id, before, waiter, leader_before } = rejoin;
        // A rebalance may have answered it in between.
        if self.members.get(&new_id).and_then(|member| member.joining) != Some(waiter) {
            return;
        }
        self.take_joining(&new_id);
        if let Err(error) = result {
            if self.state == State::Stable && self.generation == generation {
                self.restore_member(cx, &new_id, &old_id, *before);
            }
            cx.reply(waiter.token, Response::JoinGroup(join_error(waiter.version, "", error)));
            return;
        }
        let mut response = self.join_result(waiter.version, &new_id);
        if waiter.version >= SKIP_ASSIGNMENT_VERSION {
            response.skip_assignment = self.is_leader(&new_id);
        } else {
            // An older client that hears that it leads would assign; nobody would listen. So it hears of the leader before.
            response.leader = leader_before.as_deref().unwrap_or_default().into();
            response.members.clear();
        }
        cx.reply(waiter.token, Response::JoinGroup(response));
    }

    fn rename_member(&mut self, cx: &mut Context<'_>, old_id: &Arc<str>, new_id: &Arc<str>) {
        self.answer_waiting(cx, old_id, ErrorCode::FENCED_INSTANCE_ID);
        let Some(mut member) = self.members.remove(old_id) else { return };
        self.timers.cancel(&Timer::Member(old_id.clone()));
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(new_id.clone());
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), new_id.clone());
        }
        member.id = new_id.clone();
        self.members.insert(new_id.clone(), member);
    }

    fn restore_member(&mut self, cx: &mut Context<'_>, new_id: &Arc<str>, old_id: &Arc<str>, before: Member) {
        self.rename_member(cx, new_id, old_id);
        if let Some(member) = self.members.get_mut(old_id) {
            let assignors = std::mem::replace(&mut member.assignors, before.assignors.clone());
            member.rebalance_timeout_ms = before.rebalance_timeout_ms;
            member.session_timeout_ms = before.session_timeout_ms;
            self.uncount_assignors(&assignors);
            self.count_assignors(&before.assignors);
        }
        self.expect_heartbeat(cx, old_id);
    }

    /// The answer to a JoinGroup of a member of this generation; the leader is told who else is in it.
    pub(super) fn join_result(&self, version: i16, id: &str) -> JoinGroupResponse {
        let assignor = self.protocol_name.as_deref();
        let members = if self.is_leader(id) {
            let metadata = |member: &Member| assignor.and_then(|assignor| member.metadata(assignor)).cloned();
            let members = self.members.values().map(|member| JoinGroupResponseMember {
                member_id: (&member.id).into(),
                group_instance_id: member.instance_id.as_ref().map(Into::into),
                metadata: metadata(member).unwrap_or_default(),
            });
            members.collect()
        } else {
            Vec::new()
        };
        let protocol_name = match assignor {
            None if version >= 7 => None,
            assignor => Some(assignor.unwrap_or_default().into()),
        };
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.as_ref().map(Into::into),
            protocol_name,
            leader: self.leader.as_deref().unwrap_or_default().into(),
            member_id: id.into(),
            members,
            ..Default::default()
        }
    }

    /// A rebalance that waits for the first members of a group.
    pub(super) fn is_gathering_first(&self) -> bool {
        matches!(self.gathering, Gathering::Initial { .. })
    }
}
