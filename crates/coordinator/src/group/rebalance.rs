//! From one generation to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::error::ErrorCode;

use super::{Context, Gathering, Group, State};
use crate::event::Response;
use crate::groups::writes::Pending;
use crate::timers::Timer;

/// How long a rebalance that nobody joined waits at least before it looks again.
const REBALANCE_AGAIN_MS_MIN: i64 = 1_000;

impl Group {
    pub(super) fn maybe_prepare_rebalance(&mut self, cx: &mut Context<'_>, reason: &str) {
        if matches!(self.state, State::Empty | State::CompletingRebalance | State::Stable) {
            self.prepare_rebalance(cx, reason);
        }
    }

    /// Asks all members to join anew.
    pub(super) fn prepare_rebalance(&mut self, cx: &mut Context<'_>, reason: &str) {
        if self.state == State::CompletingRebalance {
            self.propagate_assignment_error(cx, ErrorCode::REBALANCE_IN_PROGRESS);
        }
        self.pending_sync.clear();
        self.timers.cancel(&Timer::Sync);
        self.assignment_in_flight = false;
        let wait_ms = if self.state == State::Empty {
            let delay_ms = cx.config.initial_rebalance_delay_ms;
            let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            self.gathering = Gathering::Initial { delay_ms, remaining_ms };
            delay_ms
        } else {
            self.gathering = Gathering::Known;
            self.rebalance_timeout_ms()
        };
        self.timers.set(Timer::Join, cx.now.monotonic_ms + wait_ms);
        self.transition_to(cx, State::PreparingRebalance);
        cx.notice(format!(
            "Preparing to rebalance group {} in state {} with old generation {} (__consumer_offsets-{}) (reason: {reason})",
            self.id, self.state, self.generation, cx.partition
        ));
        self.maybe_complete_join(cx);
    }

    /// Ends the wait if everybody is there.
    pub(super) fn maybe_complete_join(&mut self, cx: &mut Context<'_>) {
        if self.state != State::PreparingRebalance {
            return;
        }
        let complete = match self.gathering {
            Gathering::Initial { delay_ms, .. } => delay_ms == 0,
            Gathering::Known => self.joining == self.members.len() && self.pending.is_empty(),
        };
        if complete {
            self.complete_join(cx);
        }
    }

    /// The time for joining is over.
    pub(super) fn on_join_deadline(&mut self, cx: &mut Context<'_>) {
        if self.state != State::PreparingRebalance {
            return;
        }
        match self.gathering {
            Gathering::Initial { delay_ms, remaining_ms } if self.member_added && remaining_ms > 0 => {
                self.member_added = false;
                let next_ms = cx.config.initial_rebalance_delay_ms.min(remaining_ms);
                let remaining_ms = (remaining_ms - delay_ms).max(0);
                self.gathering = Gathering::Initial { delay_ms: next_ms, remaining_ms };
                self.timers.set(Timer::Join, cx.now.monotonic_ms + next_ms);
            }
            _ => self.complete_join(cx),
        }
    }

    fn complete_join(&mut self, cx: &mut Context<'_>) {
        self.remove_late_members(cx);
        if !self.members.is_empty() && !self.elect_joined_leader(cx) {
            // Only static members are left, and none has come back yet: their sessions decide.
            cx.notice(format!("Group {} could not complete rebalance because no members rejoined", self.id));
            self.gathering = Gathering::Known;
            let wait_ms = self.rebalance_timeout_ms().max(REBALANCE_AGAIN_MS_MIN);
            self.timers.set(Timer::Join, cx.now.monotonic_ms + wait_ms);
            return;
        }
        self.timers.cancel(&Timer::Join);
        self.gathering = Gathering::Known;
        self.member_added = false;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.pending_sync.clear();
        if self.members.is_empty() {
            self.become_empty(cx);
        } else {
            self.begin_generation(cx);
        }
    }

    /// Static members may be away for as long as their session lasts; all others had to be here.
    fn remove_late_members(&mut self, cx: &mut Context<'_>) {
        let is_late = |member: &&crate::member::Member| member.joining.is_none() && member.instance_id.is_none();
        let late: Vec<Arc<str>> = self.members.values().filter(is_late).map(|member| member.id.clone()).collect();
        if late.is_empty() {
            return;
        }
        cx.notice(format!("Group {} removed dynamic members who haven't joined: {}", self.id, late.join(", ")));
        for id in late {
            self.remove_member(cx, &id);
        }
    }

    /// Makes sure that the leader is somebody who is here. False if nobody is.
    fn elect_joined_leader(&mut self, cx: &mut Context<'_>) -> bool {
        let has_joined =
            |group: &Group, id: &Arc<str>| group.members.get(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(|leader| has_joined(self, leader)) {
            return true;
        }
        let joined = self.members.values().find(|member| member.joining.is_some()).map(|member| member.id.clone());
        let Some(joined) = joined else { return false };
        cx.notice(format!(
            "Group leader {} of {} failed to join before rebalance timeout, while new leader {joined} was elected",
            self.leader.as_deref().unwrap_or("none"),
            self.id
        ));
        self.leader = Some(joined);
        true
    }

    fn become_empty(&mut self, cx: &mut Context<'_>) {
        self.protocol_name = None;
        self.leader = None;
        self.subscribed = self.read_subscriptions();
        self.transition_to(cx, State::Empty);
        cx.notice(format!(
            "Group {} with generation {} is now empty (__consumer_offsets-{})",
            self.id, self.generation, cx.partition
        ));
        // If this record is lost, the generation before it comes back after a crash and times out: harmless, so nobody waits for it.
        if let Ok(record) = self.record(|_| Bytes::new()) {
            cx.write(vec![record], Pending::EmptyGroup { group: self.id.clone() });
        }
    }

    fn begin_generation(&mut self, cx: &mut Context<'_>) {
        self.protocol_name = self.select_assignor();
        self.subscribed = self.read_subscriptions();
        self.transition_to(cx, State::CompletingRebalance);
        cx.notice(format!(
            "Stabilized group {} generation {} (__consumer_offsets-{}) with {} members",
            self.id,
            self.generation,
            cx.partition,
            self.members.len()
        ));
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            if let Some(waiter) = self.take_joining(&id) {
                let response = self.join_result(waiter.version, &id);
                cx.reply(waiter.token, Response::JoinGroup(response));
            }
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.expect_heartbeat(cx, &id);
            self.pending_sync.insert(id);
        }
        self.timers.set(Timer::Sync, cx.now.monotonic_ms + self.rebalance_timeout_ms());
    }

    /// The assignor most members prefer among those that all support; of equals the first by name.
    pub(super) fn select_assignor(&self) -> Option<Arc<str>> {
        let members = self.members.len();
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.assignors.iter().find(|assignor| self.supported.get(&assignor.name) == Some(&members));
            if let Some(assignor) = vote {
                *votes.entry(&assignor.name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }
}
