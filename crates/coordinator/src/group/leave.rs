//! Heartbeats, leaving, and silence.

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::heartbeat::HeartbeatRequest;
use protocol::messages::leave_group::{MemberIdentity, MemberResponse};

use super::{Context, Group, State};

impl Group {
    /// A member is alive.
    pub(crate) fn heartbeat(&mut self, cx: &mut Context<'_>, request: &HeartbeatRequest) -> ErrorCode {
        if self.state == State::Dead {
            return ErrorCode::COORDINATOR_NOT_AVAILABLE;
        }
        if let Err(error) = self.check_member(&request.member_id, request.group_instance_id.as_deref()) {
            return error;
        }
        if request.generation_id != self.generation {
            return ErrorCode::ILLEGAL_GENERATION;
        }
        self.expect_heartbeat(cx, &request.member_id);
        match self.state {
            State::PreparingRebalance => ErrorCode::REBALANCE_IN_PROGRESS,
            State::CompletingRebalance | State::Stable => ErrorCode::NONE,
            State::Empty | State::Dead => ErrorCode::UNKNOWN_MEMBER_ID,
        }
    }

    /// Members leave; an administrator may name static members by their instance id alone.
    pub(crate) fn leave(&mut self, cx: &mut Context<'_>, leaving: &[MemberIdentity]) -> Vec<MemberResponse> {
        let mut responses = Vec::with_capacity(leaving.len());
        for identity in leaving {
            responses.push(MemberResponse {
                member_id: identity.member_id.clone(),
                group_instance_id: identity.group_instance_id.clone(),
                error_code: self.leave_one(cx, identity).0,
            });
        }
        responses
    }

    fn leave_one(&mut self, cx: &mut Context<'_>, identity: &MemberIdentity) -> ErrorCode {
        let instance_id = identity.group_instance_id.as_deref();
        let id: Arc<str> = if identity.member_id.is_empty() {
            match instance_id.and_then(|instance_id| self.static_members.get(instance_id)) {
                Some(id) => id.clone(),
                None => return ErrorCode::UNKNOWN_MEMBER_ID,
            }
        } else if self.remove_pending(&identity.member_id) {
            self.maybe_complete_join(cx);
            return ErrorCode::NONE;
        } else {
            match self.check_member(&identity.member_id, instance_id) {
                Ok(()) => Arc::from(&*identity.member_id),
                Err(error) => return error,
            }
        };
        let reason = identity.reason.as_deref().unwrap_or("not provided");
        cx.notice(format!(
            "Member {id} has left group {} through explicit `LeaveGroup`; client reason: {reason}",
            self.id
        ));
        let reason = format!("Removing member {id} on LeaveGroup; client reason: {reason}");
        self.remove_member_and_rebalance(cx, &id, &reason);
        ErrorCode::NONE
    }

    /// A member's session timeout has passed.
    pub(super) fn on_silence(&mut self, cx: &mut Context<'_>, id: &str) {
        match self.members.get(id) {
            // Its next deadline begins when it is answered.
            Some(member) if member.is_waiting() => {}
            Some(_) => {
                cx.notice(format!("Member {id} in group {} has failed, removing it from the group", self.id));
                self.remove_member_and_rebalance(cx, id, &format!("removing member {id} on heartbeat expiration"));
            }
            None => {}
        }
    }

    fn remove_member_and_rebalance(&mut self, cx: &mut Context<'_>, id: &str, reason: &str) {
        self.remove_member(cx, id);
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(cx, reason),
            State::PreparingRebalance if !self.is_gathering_first() => self.maybe_complete_join(cx),
            State::PreparingRebalance | State::Empty | State::Dead => {}
        }
    }
}
