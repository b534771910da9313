//! The groups as somebody who counts them wants to see them: states, members, offsets.

use std::sync::Arc;

use super::Groups;
use crate::group::State;

/// A group at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSnapshot {
    /// Its id.
    pub id: Arc<str>,
    /// Its state.
    pub state: State,
    /// How many members it has.
    pub members: usize,
    /// How many offsets it has committed.
    pub offsets_total: usize,
    /// Topic, partition and offset of those that were asked for.
    pub offsets: Vec<(Arc<str>, i32, i64)>,
}

impl Groups {
    /// Every group, by id, with `offsets_max` committed offsets in all at most.
    #[must_use]
    pub fn snapshot(&self, offsets_max: usize) -> Vec<GroupSnapshot> {
        let mut room = offsets_max;
        let groups = self.groups.values().map(|group| {
            let committed = group.offsets.committed();
            let taken = committed.iter().take(room);
            let offsets: Vec<_> =
                taken.map(|(topic, partition, stored)| (topic.clone(), partition, stored.value.offset)).collect();
            room -= offsets.len();
            GroupSnapshot {
                id: group.id.clone(),
                state: group.state,
                members: group.members.len(),
                offsets_total: committed.len(),
                offsets,
            }
        });
        groups.collect()
    }
}
