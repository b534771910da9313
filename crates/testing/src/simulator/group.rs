//! What the members of the consumer group were seen to do, and what must be true of it (I8 and I9).

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Partition, Violation, broken};

/// A member: the number of its program, and which of that program's lives.
pub type Member = (usize, u64);

/// What was seen of the group so far.
#[derive(Debug, Default)]
pub struct Group {
    /// Who was given a partition in a generation.
    owners: BTreeMap<(i32, Partition), Member>,
    /// The offset behind the last record that any member has read.
    read_up_to: BTreeMap<Partition, i64>,
    /// What was read by any member.
    read: BTreeSet<(Partition, i64)>,
    /// The highest offset whose commit was confirmed, by generation.
    committed: BTreeMap<(Partition, i32), i64>,
    /// The offset whose commit was confirmed last.
    newest: BTreeMap<Partition, i64>,
}

impl Group {
    /// A member was given partitions, with the offsets committed for them. `keeps`: what was committed before still counts.
    ///
    /// # Errors
    /// I8: another member was given one of them in the same generation. I9: an offset is behind one that was confirmed in an earlier generation, or beyond all that was read.
    pub fn assigned(
        &mut self,
        member: Member,
        generation: i32,
        partitions: &[(Partition, Option<i64>)],
        keeps: bool,
    ) -> Result<(), Violation> {
        for (partition, from) in partitions {
            let first = *self.owners.entry((generation, *partition)).or_insert(member);
            if first != member {
                return broken(
                    "I8",
                    format!("partition {partition}: {first:?} and {member:?} own it in generation {generation}"),
                );
            }
            let earlier = self.committed.range((*partition, i32::MIN)..(*partition, generation));
            let confirmed = earlier.map(|(_, offset)| *offset).max().unwrap_or(0);
            let from = from.unwrap_or(0);
            if keeps && from < confirmed {
                return broken(
                    "I9",
                    format!(
                        "partition {partition}: {confirmed} was committed, and generation {generation} goes on at {from}"
                    ),
                );
            }
            let read = self.read_up_to.get(partition).copied().unwrap_or(0);
            if from > read {
                return broken(
                    "I9",
                    format!("partition {partition}: read up to {read}, and generation {generation} goes on at {from}"),
                );
            }
        }
        Ok(())
    }

    /// A member has read a record.
    pub fn read(&mut self, partition: Partition, offset: i64) {
        self.read.insert((partition, offset));
        let up_to = self.read_up_to.entry(partition).or_default();
        *up_to = (*up_to).max(offset + 1);
    }

    /// A member's commit was confirmed.
    pub fn committed(&mut self, generation: i32, offsets: &[(Partition, i64)]) {
        for (partition, offset) in offsets {
            let highest = self.committed.entry((*partition, generation)).or_default();
            *highest = (*highest).max(*offset);
            self.newest.insert(*partition, *offset);
        }
    }

    /// How far a partition was committed last.
    #[must_use]
    pub fn committed_up_to(&self, partition: Partition) -> i64 {
        self.newest.get(&partition).copied().unwrap_or(0)
    }

    /// The first offset below `end` that no member has read. `all`: whatever stands there was never anything else; otherwise only how far it was read counts, as a log that lost what
    /// could be read already may have grown past a reader again.
    #[must_use]
    pub fn first_unread(&self, partition: Partition, end: i64, all: bool) -> Option<i64> {
        let read_up_to = self.read_up_to.get(&partition).copied().unwrap_or(0);
        let mut offsets = if all { 0..end } else { read_up_to..end };
        offsets.find(|offset| !self.read.contains(&(partition, *offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_group_must_not_do_is_named() {
        let mut group = Group::default();
        let invariant = |result: Result<(), Violation>| result.map_err(|violation| violation.invariant);
        assert_eq!(invariant(group.assigned((1, 1), 1, &[(0, None), (1, None)], true)), Ok(()));
        (0..5).for_each(|offset| group.read(0, offset));
        group.committed(1, &[(0, 3)]);
        assert_eq!(invariant(group.assigned((2, 1), 1, &[(0, Some(3))], true)), Err("I8"));
        assert_eq!(invariant(group.assigned((2, 1), 2, &[(0, Some(2))], true)), Err("I9"));
        assert_eq!(invariant(group.assigned((2, 1), 2, &[(0, None)], false)), Ok(()));
        assert_eq!(invariant(group.assigned((2, 1), 2, &[(0, Some(6))], true)), Err("I9"));
        assert_eq!(invariant(group.assigned((2, 1), 2, &[(0, Some(5))], true)), Ok(()));
        assert_eq!((group.committed_up_to(0), group.committed_up_to(1)), (3, 0));
        assert_eq!((group.first_unread(0, 5, true), group.first_unread(0, 6, true)), (None, Some(5)));
        group.read(0, 8);
        assert_eq!((group.first_unread(0, 9, true), group.first_unread(0, 9, false)), (Some(5), None));
    }
}
