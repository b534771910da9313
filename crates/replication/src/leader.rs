//! What only the leader of a partition keeps: how far each follower is, and the ISR with the one change that may be in flight.
//!
//! The *committed* ISR is the one the metadata store has accepted. The *maximal* ISR adds replicas whose expansion is in flight: they count at once, because
//! the store may already have accepted them, whereas a shrink counts only once it is accepted. So whatever ISR a controller reads, all its members hold
//! everything below the high watermark (Kafka `PartitionState`, `Replica`).

use protocol::types::{BrokerId, LeaderEpoch, Offset};

use crate::effect::IsrProposal;
use crate::election::eligible;
use crate::state::{BrokerEpoch, LeaderAndIsr, LeaderRecoveryState, LiveBrokers};

/// A leader's view of its partition.
#[derive(Debug, Clone)]
pub struct Leadership {
    /// The epoch it leads in.
    pub epoch: LeaderEpoch,
    /// First offset of that epoch.
    pub epoch_start: Offset,
    /// The epoch in which this uninterrupted leadership began. Records appended since have never left the log.
    pub leading_since: LeaderEpoch,
    /// Whether an unclean election made it leader and the ISR has not changed since.
    pub recovery_state: LeaderRecoveryState,
    isr: Vec<BrokerId>,
    /// Out of the ISR, but known to hold all that is committed.
    elr: Vec<BrokerId>,
    last_known_elr: Vec<BrokerId>,
    in_flight: Option<InFlight>,
    followers: Vec<Follower>,
}

/// A proposal whose fate is not known.
#[derive(Debug, Clone)]
struct InFlight {
    isr: Vec<BrokerId>,
    elr: Vec<BrokerId>,
    last_known_elr: Vec<BrokerId>,
    /// The answer was lost or contradicted; the state znode is being read again.
    uncertain: bool,
}

/// How far a follower is, as its fetches tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    /// The broker.
    pub id: BrokerId,
    /// Its log end; not known before its first fetch in this leadership.
    pub log_end: Option<Offset>,
    /// Its first offset.
    pub log_start: Option<Offset>,
    /// When it last had all there was, in ms.
    pub last_caught_up_ms: i64,
    /// Our log end at its last fetch.
    last_fetch_leader_log_end: Option<Offset>,
    last_fetch_ms: i64,
    broker_epoch: Option<BrokerEpoch>,
}

impl Follower {
    fn new(id: BrokerId, last_caught_up_ms: i64) -> Follower {
        Follower {
            id,
            log_end: None,
            log_start: None,
            last_caught_up_ms,
            last_fetch_leader_log_end: None,
            last_fetch_ms: i64::MIN,
            broker_epoch: None,
        }
    }

    /// Has everything, or had everything within the last `lag_ms_max` (KAFKA-1546: time counts, not messages).
    #[must_use]
    pub fn is_caught_up(&self, leader_log_end: Offset, now_ms: i64, lag_ms_max: i64) -> bool {
        self.log_end == Some(leader_log_end) || now_ms.saturating_sub(self.last_caught_up_ms) <= lag_ms_max
    }

    /// May be in an ISR: registered, not stopping, and fetching in the life it is registered with (KIP-903). Fetches below v15 name no broker epoch.
    fn is_eligible(&self, live: &LiveBrokers) -> bool {
        live.is_eligible(self.id) && self.broker_epoch.is_none_or(|epoch| live.epoch(self.id) == Some(epoch))
    }
}

impl Leadership {
    /// Begins or continues a leadership. `before` is the one this replica held until now, if it did: what it knows of its followers stays true.
    pub(crate) fn begin(
        state: &LeaderAndIsr,
        epoch_start: Offset,
        log_end: Offset,
        others: impl Iterator<Item = BrokerId>,
        before: Option<Leadership>,
        now_ms: i64,
    ) -> Leadership {
        let leading_since = before.as_ref().map_or(state.leader_epoch, |before| before.leading_since);
        let mut known = before.map_or_else(Vec::new, |before| before.followers);
        let followers = others.map(|id| {
            // Who is in sync gets a full time-out to make its first fetch.
            let in_sync = state.isr.contains(&id);
            let caught_up_ms = if in_sync { now_ms } else { i64::MIN };
            let Some(at) = known.iter().position(|follower| follower.id == id) else {
                return Follower::new(id, caught_up_ms);
            };
            Follower {
                last_fetch_leader_log_end: Some(log_end),
                last_fetch_ms: caught_up_ms,
                last_caught_up_ms: caught_up_ms,
                ..known.swap_remove(at)
            }
        });
        Leadership {
            epoch: state.leader_epoch,
            epoch_start,
            leading_since,
            recovery_state: state.leader_recovery_state,
            followers: followers.collect(),
            isr: state.isr.clone(),
            elr: state.elr.clone(),
            last_known_elr: state.last_known_elr.clone(),
            in_flight: None,
        }
    }

    /// Takes another set of replicas; what is known of those that stay remains.
    pub(crate) fn set_followers(&mut self, others: impl Iterator<Item = BrokerId>, now_ms: i64) {
        let mut known = std::mem::take(&mut self.followers);
        for id in others {
            let at = known.iter().position(|follower| follower.id == id);
            let caught_up_ms = if self.isr.contains(&id) { now_ms } else { i64::MIN };
            self.followers.push(at.map_or_else(|| Follower::new(id, caught_up_ms), |at| known.swap_remove(at)));
        }
    }

    /// The ISR the metadata store has accepted.
    #[must_use]
    pub fn isr(&self) -> &[BrokerId] {
        &self.isr
    }

    /// Somebody outside the ISR may lead next, because the high watermark has stood still since they left it.
    #[must_use]
    pub fn has_eligible(&self) -> bool {
        !self.elr.is_empty()
    }

    /// All followers, in sync or not.
    #[must_use]
    pub fn followers(&self) -> &[Follower] {
        &self.followers
    }

    /// A change of the ISR waits for the store's answer.
    #[must_use]
    pub fn has_change_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// In the committed ISR or about to be.
    #[must_use]
    pub fn is_in_maximal_isr(&self, broker: BrokerId) -> bool {
        self.isr.contains(&broker) || self.in_flight.as_ref().is_some_and(|change| change.isr.contains(&broker))
    }

    /// Size of the maximal ISR.
    #[must_use]
    pub fn maximal_isr_len(&self) -> usize {
        let joining = |change: &InFlight| change.isr.iter().filter(|broker| !self.isr.contains(broker)).count();
        self.isr.len() + self.in_flight.as_ref().map_or(0, joining)
    }

    /// Notes an append at `log_end`: who had everything until now was caught up until now. A follower's session does not fetch again what has no news, so its fetches
    /// alone would not tell.
    pub(crate) fn note_append(&mut self, log_end: Offset, now_ms: i64) {
        for follower in &mut self.followers {
            if follower.log_end == Some(log_end) {
                follower.last_caught_up_ms = follower.last_caught_up_ms.max(now_ms);
            }
        }
    }

    /// Notes a fetch, and says whether the follower's log begins later than it did; `None` for a stranger.
    pub(crate) fn note_fetch(
        &mut self,
        replica: BrokerId,
        broker_epoch: Option<BrokerEpoch>,
        offset: Offset,
        log_start: Option<Offset>,
        leader_log_end: Offset,
        now_ms: i64,
    ) -> Option<bool> {
        let follower = self.followers.iter_mut().find(|follower| follower.id == replica)?;
        // Reaching what was the log end at its last fetch means that it had everything then, even if more has come since.
        if offset >= leader_log_end {
            follower.last_caught_up_ms = follower.last_caught_up_ms.max(now_ms);
        } else if follower.last_fetch_leader_log_end.is_some_and(|end| offset >= end) {
            follower.last_caught_up_ms = follower.last_caught_up_ms.max(follower.last_fetch_ms);
        }
        follower.last_fetch_leader_log_end = Some(leader_log_end);
        follower.last_fetch_ms = now_ms;
        follower.log_end = Some(offset);
        let start_before = follower.log_start;
        follower.log_start = log_start.or(start_before);
        follower.broker_epoch = broker_epoch;
        Some(follower.log_start > start_before)
    }

    /// The smallest log end over the maximal ISR and over caught-up replicas that are about to join it, so that joining never has to wait for a gap to close.
    /// `None` while one of them has not fetched yet.
    pub(crate) fn committed_end(
        &self,
        log_end: Offset,
        live: &LiveBrokers,
        now_ms: i64,
        lag_ms_max: i64,
    ) -> Option<Offset> {
        let mut end = log_end;
        for follower in &self.followers {
            let about_to_join = || {
                follower.log_end.is_some()
                    && follower.is_caught_up(log_end, now_ms, lag_ms_max)
                    && follower.is_eligible(live)
            };
            if self.is_in_maximal_isr(follower.id) || about_to_join() {
                end = end.min(follower.log_end?);
            }
        }
        Some(end)
    }

    /// Every member of the maximal ISR whose log end is known has everything before `offset`.
    #[must_use]
    pub fn all_in_sync_have(&self, offset: Offset) -> bool {
        let mut in_sync = self.followers.iter().filter(|follower| self.is_in_maximal_isr(follower.id));
        in_sync.all(|follower| follower.log_end.is_none_or(|end| end >= offset))
    }

    /// Every member of the maximal ISR has fetched since this leadership began, and has everything before `offset`.
    #[must_use]
    pub fn all_in_sync_reached(&self, offset: Offset) -> bool {
        let mut in_sync = self.followers.iter().filter(|follower| self.is_in_maximal_isr(follower.id));
        in_sync.all(|follower| follower.log_end.is_some_and(|end| end >= offset))
    }

    /// Proposes to add `replica` if it may join: no change in flight, everything below the high watermark, and a log that reaches into this epoch. A replica
    /// below the epoch's start might still have to truncate.
    pub(crate) fn propose_expansion(
        &mut self,
        replica: BrokerId,
        high_watermark: Offset,
        live: &LiveBrokers,
        partition_epoch: i32,
        min_isr: usize,
    ) -> Option<IsrProposal> {
        let follower = self.followers.iter().find(|follower| follower.id == replica)?;
        let end = follower.log_end?;
        if self.in_flight.is_some() || self.isr.contains(&replica) || !follower.is_eligible(live) {
            return None;
        }
        if end < high_watermark || end < self.epoch_start {
            return None;
        }
        let mut isr = self.isr.clone();
        isr.push(replica);
        Some(self.propose(isr, partition_epoch, min_isr, &[]))
    }

    /// Proposes to drop the members of the ISR that have not caught up for too long, and those that lack committed records: they lost part of their log, and
    /// as leader they would lose it for all.
    pub(crate) fn propose_shrink(
        &mut self,
        log_end: Offset,
        high_watermark: Offset,
        now_ms: i64,
        lag_ms_max: i64,
        partition_epoch: i32,
        min_isr: usize,
    ) -> Option<IsrProposal> {
        if self.in_flight.is_some() {
            return None;
        }
        let lacks = |follower: &Follower| follower.log_end.is_some_and(|end| end < high_watermark);
        let is_out = |follower: &Follower| lacks(follower) || !follower.is_caught_up(log_end, now_ms, lag_ms_max);
        let those = |which: &dyn Fn(&Follower) -> bool| -> Vec<BrokerId> {
            self.followers.iter().filter(|follower| which(follower)).map(|follower| follower.id).collect()
        };
        let (out, lack) = (those(&is_out), those(&lacks));
        let isr: Vec<BrokerId> = self.isr.iter().copied().filter(|broker| !out.contains(broker)).collect();
        (isr.len() < self.isr.len()).then(|| self.propose(isr, partition_epoch, min_isr, &lack))
    }

    /// Proposes an ISR. Below `min_isr`, where that is more than one, whoever leaves it stays eligible (KIP-966), because nothing is committed without them; but not
    /// those who `lack` committed records.
    fn propose(&mut self, isr: Vec<BrokerId>, partition_epoch: i32, min_isr: usize, lack: &[BrokerId]) -> IsrProposal {
        let others: Vec<BrokerId> = self.followers.iter().map(|follower| follower.id).collect();
        let keeps = (min_isr > 1 && isr.len() < min_isr).then_some(&others[..]);
        let (elr, last_known_elr) = eligible([&self.elr, &self.isr], &self.last_known_elr, &isr, keeps, lack);
        let change = InFlight { isr, elr, last_known_elr, uncertain: false };
        let proposal = self.proposal(&change, partition_epoch);
        self.in_flight = Some(change);
        proposal
    }

    fn proposal(&self, change: &InFlight, expected_partition_epoch: i32) -> IsrProposal {
        let InFlight { isr, elr, last_known_elr, .. } = change.clone();
        IsrProposal { leader_epoch: self.epoch, expected_partition_epoch, isr, elr, last_known_elr }
    }

    /// The store accepted the change in flight.
    pub(crate) fn commit_in_flight(&mut self) -> bool {
        let Some(change) = self.in_flight.take() else { return false };
        self.isr = change.isr;
        self.elr = change.elr;
        self.last_known_elr = change.last_known_elr;
        self.recovery_state = LeaderRecoveryState::Recovered;
        true
    }

    /// The change in flight will never be written.
    pub(crate) fn drop_in_flight(&mut self) -> bool {
        self.in_flight.take().is_some()
    }

    /// The change in flight may or may not be written.
    pub(crate) fn doubt_in_flight(&mut self) -> bool {
        self.in_flight.as_mut().map(|change| change.uncertain = true).is_some()
    }

    /// The znode was read again and is as old as we thought: a doubtful change is written once more, under the same version, so at most one of the two
    /// writes can land and both say the same.
    pub(crate) fn repropose(&mut self, partition_epoch: i32) -> Option<IsrProposal> {
        let change = self.in_flight.as_mut().filter(|change| change.uncertain)?;
        change.uncertain = false;
        let change = change.clone();
        Some(self.proposal(&change, partition_epoch))
    }

    /// Someone wrote the znode within this epoch; what it says now is what holds.
    pub(crate) fn adopt(&mut self, state: &LeaderAndIsr) {
        self.isr.clone_from(&state.isr);
        self.elr.clone_from(&state.elr);
        self.last_known_elr.clone_from(&state.last_known_elr);
        self.recovery_state = state.leader_recovery_state;
        self.in_flight = None;
    }
}
