//! All groups of one partition of `__consumer_offsets`: what the broker that leads the partition talks to.
//!
//! Each call takes the time, changes the groups, and appends what is to be done to `effects`. Group ids are checked here as Kafka checks them: joining needs one, committing
//! works with the empty one too.
//!
//! # Layout
//! - [`writes`]: writes under way
//! - [`commit`]: offsets in and out
//! - [`remove`]: deleting groups and offsets, and what has expired
//! - [`snapshot`]: for those who count

pub mod commit;
pub mod remove;
pub mod snapshot;
pub(crate) mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::describe_groups::DescribedGroup;
use protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use protocol::messages::join_group::JoinGroupRequest;
use protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};
use protocol::messages::list_groups::ListedGroup;
use protocol::messages::sync_group::SyncGroupRequest;

use crate::config::{GROUPS_MAX, GroupConfig};
use crate::event::{Client, Effect, Now, Response, Token, WriteId};
use crate::group::{Context, Group, Joining, State, join_error, sync_error};
use crate::member::{Waiter, assignors};
use crate::replay::Replay;
use writes::{Pending, Writes};

/// From here on LeaveGroup names several members (KIP-345).
const LEAVE_BATCH_VERSION: i16 = 3;

/// All groups of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct Groups {
    partition: i32,
    config: Arc<GroupConfig>,
    groups: BTreeMap<Arc<str>, Group>,
    deadlines: BTreeSet<(i64, Arc<str>)>,
    writes: Writes,
}

impl Groups {
    /// The groups of partition number `partition`, as its records describe them.
    #[must_use]
    pub fn load(
        partition: i32,
        config: Arc<GroupConfig>,
        replay: Replay,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Groups {
        let mut groups = Groups {
            partition,
            config,
            groups: replay.into_groups(now),
            deadlines: BTreeSet::new(),
            writes: Writes::default(),
        };
        let ids: Vec<Arc<str>> = groups.groups.keys().cloned().collect();
        for id in ids {
            groups.with(&id, now, effects, |group, cx| group.loaded(cx));
        }
        groups
    }

    /// Answers all who wait: another broker serves these groups from now on.
    pub fn unload(mut self, now: Now, effects: &mut Vec<Effect>) {
        for pending in self.writes.take_all() {
            self.finish(pending, Err(ErrorCode::NOT_COORDINATOR), now, effects);
        }
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            self.with(&id, now, effects, |group, cx| group.unload(cx));
        }
    }

    /// JoinGroup v0 to v9. The answer comes as [`Response::JoinGroup`].
    pub fn join(
        &mut self,
        token: Token,
        version: i16,
        request: &JoinGroupRequest,
        client: &Client,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let mut refuse = |member_id: &str, error: ErrorCode| {
            let response = Response::JoinGroup(join_error(version, member_id, error));
            effects.push(Effect::Reply { token, response });
        };
        let (group_id, member_id) = (&*request.group_id, &*request.member_id);
        let session_timeouts = self.config.min_session_timeout_ms..=self.config.max_session_timeout_ms;
        if group_id.is_empty() {
            return refuse(member_id, ErrorCode::INVALID_GROUP_ID);
        }
        if !session_timeouts.contains(&request.session_timeout_ms) {
            return refuse(member_id, ErrorCode::INVALID_SESSION_TIMEOUT);
        }
        if !self.groups.contains_key(group_id) {
            if !member_id.is_empty() {
                return refuse(member_id, ErrorCode::UNKNOWN_MEMBER_ID);
            }
            if !self.create(group_id, now) {
                return refuse(member_id, ErrorCode::COORDINATOR_NOT_AVAILABLE);
            }
        }
        let rebalance_timeout_ms = if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
        let joining = Joining {
            waiter: Waiter { token, version },
            member_id,
            instance_id: request.group_instance_id.as_deref(),
            protocol_type: &request.protocol_type,
            assignors: assignors(&request.protocols),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: rebalance_timeout_ms.max(0),
            client,
            reason: request.reason.as_deref().unwrap_or("not provided"),
        };
        self.with(group_id, now, effects, |group, cx| group.join(cx, joining));
    }

    /// SyncGroup v0 to v5. The answer comes as [`Response::SyncGroup`].
    pub fn sync(
        &mut self,
        token: Token,
        version: i16,
        request: &SyncGroupRequest,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let error =
            if request.group_id.is_empty() { ErrorCode::INVALID_GROUP_ID } else { ErrorCode::UNKNOWN_MEMBER_ID };
        let waiter = Waiter { token, version };
        if self.with(&request.group_id, now, effects, |group, cx| group.sync(cx, waiter, request)).is_none() {
            effects.push(Effect::Reply { token, response: Response::SyncGroup(sync_error(error)) });
        }
    }

    /// Heartbeat v0 to v4.
    pub fn heartbeat(&mut self, request: &HeartbeatRequest, now: Now, effects: &mut Vec<Effect>) -> HeartbeatResponse {
        let error = if request.group_id.is_empty() {
            ErrorCode::INVALID_GROUP_ID
        } else {
            self.with(&request.group_id, now, effects, |group, cx| group.heartbeat(cx, request))
                .unwrap_or(ErrorCode::UNKNOWN_MEMBER_ID)
        };
        HeartbeatResponse { error_code: error.0, ..Default::default() }
    }

    /// LeaveGroup v0 to v5.
    pub fn leave(
        &mut self,
        version: i16,
        request: &LeaveGroupRequest,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> LeaveGroupResponse {
        let error = |error: ErrorCode| LeaveGroupResponse { error_code: error.0, ..LeaveGroupResponse::default() };
        if request.group_id.is_empty() {
            return error(ErrorCode::INVALID_GROUP_ID);
        }
        let single = [MemberIdentity { member_id: request.member_id.clone(), ..Default::default() }];
        let leaving = if version < LEAVE_BATCH_VERSION { &single[..] } else { &request.members };
        let left = self.with(&request.group_id, now, effects, |group, cx| match group.state {
            State::Dead => Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
            _ => Ok(group.leave(cx, leaving)),
        });
        let members = match left {
            Some(Ok(members)) => members,
            Some(Err(code)) => return error(code),
            None => leaving
                .iter()
                .map(|identity| MemberResponse {
                    member_id: identity.member_id.clone(),
                    group_instance_id: identity.group_instance_id.clone(),
                    error_code: ErrorCode::UNKNOWN_MEMBER_ID.0,
                })
                .collect(),
        };
        if version < LEAVE_BATCH_VERSION {
            return error(ErrorCode(members.first().map_or(0, |member| member.error_code)));
        }
        LeaveGroupResponse { members, ..LeaveGroupResponse::default() }
    }

    /// One group of a DescribeGroups. A group that is not there is Dead, without an error.
    #[must_use]
    pub fn describe(&self, group_id: &str) -> DescribedGroup {
        match self.groups.get(group_id) {
            Some(group) => group.describe(),
            None => DescribedGroup {
                group_id: group_id.into(),
                group_state: State::Dead.name().into(),
                ..Default::default()
            },
        }
    }

    /// The groups in one of the states (any case), or in any where none is named.
    #[must_use]
    pub fn list(&self, states: &[&str]) -> Vec<ListedGroup> {
        let is_asked = |group: &&Group| {
            states.is_empty() || states.iter().any(|state| group.state.name().eq_ignore_ascii_case(state))
        };
        self.groups.values().filter(is_asked).map(Group::overview).collect()
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// When [`Groups::on_tick`] is to be called next, in milliseconds of the monotonic clock.
    #[must_use]
    pub fn next_deadline(&self) -> Option<i64> {
        self.deadlines.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    /// Does what is due.
    pub fn on_tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some((deadline_ms, id)) = self.deadlines.first().cloned() {
            if deadline_ms > now.monotonic_ms {
                break;
            }
            self.with(&id, now, effects, |group, cx| {
                if let Some(timer) = group.timers.take_due(now.monotonic_ms) {
                    group.on_timer(cx, timer);
                }
            });
        }
    }

    /// A write has ended: with the offset of its first record, or with the error that the log gave.
    pub fn on_written(&mut self, id: WriteId, result: Result<i64, ErrorCode>, now: Now, effects: &mut Vec<Effect>) {
        if let Some(pending) = self.writes.take(id) {
            self.finish(pending, result, now, effects);
        }
    }

    fn finish(&mut self, pending: Pending, result: Result<i64, ErrorCode>, now: Now, effects: &mut Vec<Effect>) {
        match pending {
            Pending::Assignment { group, generation, assignment } => {
                let result = result.map(drop).map_err(writes::group_error);
                self.with(&group, now, effects, |group, cx| {
                    group.on_assignment_written(cx, generation, assignment, result);
                });
            }
            Pending::StaticRejoin { group, rejoin } => {
                let result = result.map(drop).map_err(writes::group_error);
                self.with(&group, now, effects, |group, cx| group.on_static_rejoin_written(cx, rejoin, result));
            }
            Pending::EmptyGroup { group } => {
                if let Err(error) = result {
                    let text = format!("Failed to write empty metadata for group {group}: {}", error.message());
                    effects.push(Effect::Notice(text));
                }
            }
            Pending::Commit(commit) => self.on_commit_written(commit, result, effects),
            Pending::Removal(removal) => self.on_removal_written(removal, result, effects),
        }
    }

    /// Makes a group. False where there are too many.
    fn create(&mut self, group_id: &str, now: Now) -> bool {
        if self.groups.len() >= GROUPS_MAX {
            return false;
        }
        let id: Arc<str> = Arc::from(group_id);
        self.groups.insert(id.clone(), Group::new(id, now));
        true
    }

    /// Forgets a group.
    fn forget(&mut self, group_id: &str) {
        if let Some(group) = self.groups.remove(group_id)
            && let Some(deadline_ms) = group.armed
        {
            self.deadlines.remove(&(deadline_ms, group.id));
        }
    }

    /// Calls `act` with a group, and lists the group's soonest deadline afterwards. None where there is no such group.
    fn with<R>(
        &mut self,
        group_id: &str,
        now: Now,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Group, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(group_id)?;
        let config = &self.config;
        let mut cx = Context { config, now, partition: self.partition, effects, writes: &mut self.writes };
        let result = act(group, &mut cx);
        let next = group.timers.next();
        if next != group.armed {
            if let Some(former) = group.armed {
                self.deadlines.remove(&(former, group.id.clone()));
            }
            if let Some(next) = next {
                self.deadlines.insert((next, group.id.clone()));
            }
            group.armed = next;
        }
        Some(result)
    }
}

#[cfg(test)]
mod invariants;
#[cfg(test)]
mod tests;
