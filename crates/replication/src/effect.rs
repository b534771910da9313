//! What a replica asks its broker to do. No event asks for more than a handful of things, so they travel without allocation.

use protocol::types::{BrokerId, LeaderEpoch, Offset};

use crate::state::LeaderAndIsr;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Consumers may read up to here (exclusive); acks and fetches that wait for it can be looked at.
    AdvanceHighWatermark(Offset),
    /// Something else than the high watermark changed on which acknowledgements depend: ask [`crate::Partition::ack_state`] again for all that wait.
    CheckAcks,
    /// Write this ISR to the state znode by compare-and-set and report with [`crate::Partition::on_isr_update`].
    ProposeIsr(IsrProposal),
    /// Read the state znode again and report with [`crate::Partition::on_state`].
    RereadState,
    /// Write this state, which differs from the current one by its leader epoch, by compare-and-set on its `partition_epoch`, and report with
    /// [`crate::Partition::on_state`]: this replica started unclean and must not lead on in the epoch it led in before.
    RaiseLeaderEpoch(LeaderAndIsr),
    /// Lead: enter the epoch into the leader epoch cache, stop fetching, fail nothing.
    BecomeLeader {
        /// The new epoch.
        leader_epoch: LeaderEpoch,
        /// First offset of that epoch: the log end.
        start_offset: Offset,
    },
    /// Follow: truncate by epoch where that is needed, then fetch. Producers and fetches that wait here are answered NOT_LEADER_OR_FOLLOWER.
    BecomeFollower {
        /// Whom to fetch from.
        leader: BrokerId,
        /// With which epoch.
        leader_epoch: LeaderEpoch,
    },
    /// Stop fetching and serving: the partition has no leader.
    BecomeOffline,
}

/// A change of the ISR that its leader wants the metadata store to accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrProposal {
    /// Epoch of the proposing leader.
    pub leader_epoch: LeaderEpoch,
    /// Version the state znode must still have.
    pub expected_partition_epoch: i32,
    /// The whole new ISR.
    pub isr: Vec<BrokerId>,
    /// The eligible leader replicas beside it.
    pub elr: Vec<BrokerId>,
    /// Members that are in neither now.
    pub last_known_elr: Vec<BrokerId>,
}

/// What became of an [`IsrProposal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsrUpdate {
    /// It is written; the znode has this version now.
    Accepted {
        /// New version of the state znode.
        partition_epoch: i32,
    },
    /// It is certain that it was not and will not be written, for instance because it was never sent.
    NotWritten,
    /// The znode has another version: someone else wrote it.
    VersionConflict,
    /// The connection was lost before the answer: it may be written or may still be.
    Unknown,
}

/// Most effects one event can have.
const MAX_EFFECTS: usize = 4;

/// The effects of one event, in the order they are to be carried out. Iterate over it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "an effect that is not carried out leaves requests waiting"]
pub struct Effects {
    effects: [Option<Effect>; MAX_EFFECTS],
}

impl Effects {
    /// Nothing to do.
    pub const NONE: Effects = Effects { effects: [const { None }; MAX_EFFECTS] };

    /// There is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.effects[0].is_none()
    }

    /// Looks at them without taking them.
    pub fn iter(&self) -> impl Iterator<Item = &Effect> {
        self.effects.iter().flatten()
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        let free = self.effects.iter_mut().find(|slot| slot.is_none());
        *free.expect("one event has at most four effects") = Some(effect);
    }

    pub(crate) fn extend(&mut self, effect: Option<Effect>) {
        if let Some(effect) = effect {
            self.push(effect);
        }
    }
}

impl IntoIterator for Effects {
    type Item = Effect;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<Effect>, MAX_EFFECTS>>;

    fn into_iter(self) -> Self::IntoIter {
        self.effects.into_iter().flatten()
    }
}
