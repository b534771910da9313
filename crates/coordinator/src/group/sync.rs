//! SyncGroup: the leader's assignment reaches the members.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::error::ErrorCode;
use protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::{Context, Group, State};
use crate::event::Response;
use crate::groups::writes::Pending;
use crate::member::Waiter;
use crate::timers::Timer;

/// From here on a client must say which protocol it believes in (KIP-559).
const PROTOCOL_REQUIRED_VERSION: i16 = 5;

/// The answer to a SyncGroup that fails.
pub(crate) fn sync_error(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error.0, ..Default::default() }
}

impl Group {
    /// A member asks for its assignment; the leader brings everybody's.
    pub(crate) fn sync(&mut self, cx: &mut Context<'_>, waiter: Waiter, request: &SyncGroupRequest) {
        if let Err(error) = self.check_sync(waiter.version, request) {
            return cx.reply(waiter.token, Response::SyncGroup(sync_error(error)));
        }
        let id = &*request.member_id;
        match self.state {
            State::Empty | State::Dead => {
                cx.reply(waiter.token, Response::SyncGroup(sync_error(ErrorCode::UNKNOWN_MEMBER_ID)));
            }
            State::PreparingRebalance => {
                cx.reply(waiter.token, Response::SyncGroup(sync_error(ErrorCode::REBALANCE_IN_PROGRESS)));
            }
            State::CompletingRebalance => {
                self.synced(id);
                let former = self.members.get_mut(id).and_then(|member| member.syncing.replace(waiter));
                if let Some(former) = former {
                    cx.reply(former.token, Response::SyncGroup(sync_error(ErrorCode::REBALANCE_IN_PROGRESS)));
                }
                // A leader that repeats itself while its assignment is being written just waits for that.
                if self.is_leader(id) && !self.assignment_in_flight {
                    self.write_assignment(cx, request);
                }
            }
            State::Stable => {
                self.synced(id);
                self.expect_heartbeat(cx, id);
                let response = self.sync_result(id);
                cx.reply(waiter.token, Response::SyncGroup(response));
            }
        }
    }

    fn check_sync(&self, version: i16, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        let (protocol_type, protocol_name) = (request.protocol_type.as_deref(), request.protocol_name.as_deref());
        if version >= PROTOCOL_REQUIRED_VERSION && (protocol_type.is_none() || protocol_name.is_none()) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if self.state == State::Dead {
            return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
        }
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let differs = |said: Option<&str>, ours: &Option<Arc<str>>| said.is_some() && said != ours.as_deref();
        if differs(protocol_type, &self.protocol_type) || differs(protocol_name, &self.protocol_name) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        Ok(())
    }

    fn write_assignment(&mut self, cx: &mut Context<'_>, request: &SyncGroupRequest) {
        let mut assignment: BTreeMap<Arc<str>, Bytes> = BTreeMap::new();
        for given in &request.assignments {
            if let Some((id, _)) = self.members.get_key_value(&*given.member_id) {
                assignment.insert(id.clone(), Bytes::copy_from_slice(&given.assignment));
            }
        }
        let missing: Vec<&str> =
            self.members.keys().filter(|id| !assignment.contains_key(*id)).map(|id| &**id).collect();
        if !missing.is_empty() {
            cx.notice(format!(
                "Setting empty assignments for members {} of {} for generation {}",
                missing.join(", "),
                self.id,
                self.generation
            ));
        }
        cx.notice(format!(
            "Assignment received from leader {} for group {} for generation {}. The group has {} members, {} of which are static.",
            request.member_id,
            self.id,
            self.generation,
            self.members.len(),
            self.static_members.len()
        ));
        let (group, generation) = (self.id.clone(), self.generation);
        match self.record(|member| assignment.get(&member.id).cloned().unwrap_or_default()) {
            Ok(record) => {
                self.assignment_in_flight = true;
                cx.write(vec![record], Pending::Assignment { group, generation, assignment });
            }
            Err(_) => self.on_assignment_written(cx, generation, assignment, Err(ErrorCode::UNKNOWN_SERVER_ERROR)),
        }
    }

    /// The leader's assignment was written, or not.
    pub(crate) fn on_assignment_written(
        &mut self,
        cx: &mut Context<'_>,
        generation: i32,
        mut assignment: BTreeMap<Arc<str>, Bytes>,
        result: Result<(), ErrorCode>,
    ) {
        // A rebalance that began in between has told the members already.
        if self.state != State::CompletingRebalance || self.generation != generation {
            return;
        }
        self.assignment_in_flight = false;
        if let Err(error) = result {
            self.propagate_assignment_error(cx, error);
            let reason = format!("Error {} when storing group assignment during SyncGroup", error.name());
            return self.prepare_rebalance(cx, &reason);
        }
        for member in self.members.values_mut() {
            member.assignment = assignment.remove(&member.id).unwrap_or_default();
        }
        self.transition_to(cx, State::Stable);
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            if let Some(waiter) = self.members.get_mut(&id).and_then(|member| member.syncing.take()) {
                let response = self.sync_result(&id);
                cx.reply(waiter.token, Response::SyncGroup(response));
                self.expect_heartbeat(cx, &id);
            }
        }
    }

    /// Tells those who wait for their assignment that there is none.
    pub(super) fn propagate_assignment_error(&mut self, cx: &mut Context<'_>, error: ErrorCode) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.assignment = Bytes::new();
            if let Some(waiter) = member.syncing.take() {
                cx.reply(waiter.token, Response::SyncGroup(sync_error(error)));
                self.expect_heartbeat(cx, &id);
            }
        }
    }

    fn sync_result(&self, id: &str) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type.as_ref().map(Into::into),
            protocol_name: self.protocol_name.as_ref().map(Into::into),
            assignment: self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
            ..Default::default()
        }
    }

    fn synced(&mut self, id: &str) {
        self.pending_sync.remove(id);
        if self.pending_sync.is_empty() {
            self.timers.cancel(&Timer::Sync);
        }
    }

    /// Members of the new generation that never asked for their assignment are out.
    pub(super) fn on_sync_deadline(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.state, State::CompletingRebalance | State::Stable) || self.pending_sync.is_empty() {
            return;
        }
        let late: Vec<Arc<str>> = std::mem::take(&mut self.pending_sync).into_iter().collect();
        for id in &late {
            self.remove_member(cx, id);
        }
        let reason = format!("Removing {} on pending sync request expiration", late.join(", "));
        self.prepare_rebalance(cx, &reason);
    }
}
